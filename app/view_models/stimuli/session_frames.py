"""A session's own stimuli as frames of a screen.

Owns the change from seconds to frames: a cue begins at the flip nearest to its planned onset and
stays for whole frames. The session makes the plan, `app.views.stimuli.window` paints it.
"""

from __future__ import annotations

from app.port import Cue, StimulusFeed
from app.presentation import CATCH_LABEL, Frame, Show, frames_of

TOO_LATE = 0.2
"""A cue that is this much over is not begun: the session gives up waiting soon after, s."""


class SessionFrames:
    """Steps through what a session shows; satisfies the same calls as `presentation.Player`."""

    finished = False

    def __init__(self, feed: StimulusFeed, *, refresh_hz: float) -> None:
        self._feed = feed
        self._refresh_hz = refresh_hz
        self._on: Cue | None = None
        self._entered = 0
        self._last_number = -1
        self._index: int | None = None

    @property
    def upcoming(self) -> str | None:
        """Label of the picture to have ready."""
        cue = self._feed.cue
        return None if cue is None or cue.label == CATCH_LABEL else cue.label

    def advance(self, frame_index: int, due: float | None = None) -> Frame:
        """Say what refresh `frame_index` shows, expected on the screen at `due` (session clock)."""
        if frame_index == self._index:
            return self._frame(frame_index)
        first, self._index = self._index is None, frame_index
        ended = self._end(frame_index)
        began = self._begin(frame_index, self._feed.clock() if due is None else due)
        marker = self._on.label if began and self._on is not None else None
        return self._frame(frame_index, marker=marker, changed=first or ended or began)

    def stamped(self, label: str, stamp: float) -> None:
        """Report the flip of the picture on the screen."""
        if self._on is not None and self._on.label == label:
            self._feed.flipped(self._on.number, stamp)

    def respond(self) -> None:
        """There is nothing to answer."""

    def end(self) -> None:
        """The session goes on without a window."""

    def _end(self, frame_index: int) -> bool:
        on = self._on
        if on is None:
            return False
        n_frames = max(1, frames_of(on.duration, refresh_hz=self._refresh_hz))
        # No cue any more: the session pauses its stimuli, this one with them.
        if frame_index - self._entered < n_frames and self._feed.cue is not None:
            return False
        self._on = None
        return True

    def _begin(self, frame_index: int, due: float) -> bool:
        cue = self._feed.cue
        if self._on is not None or cue is None or cue.number <= self._last_number:
            return False
        # The nearest flip: half a frame early is closer than half a frame late.
        if due < cue.at - 0.5 / self._refresh_hz:
            return False
        self._last_number = cue.number
        if due > cue.at + TOO_LATE:
            return False
        self._on, self._entered = cue, frame_index
        return True

    def _frame(
        self, frame_index: int, *, marker: str | None = None, changed: bool = False
    ) -> Frame:
        if self._on is None:
            return Frame(frame_index, Show.FIXATION, changed=changed)
        show = Show.CATCH if self._on.label == CATCH_LABEL else Show.STIMULUS
        return Frame(frame_index, show, self._on.label, marker, changed)
