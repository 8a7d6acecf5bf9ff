"""Looks at a grid as frames of a screen: which frame of the codes each refresh shows.

Owns the way of a look (the cue, the flicker, the rest) and its markers, which say what was really
shown: a frame that came late stretches the one before it, none is skipped, and a marker counts
anew from its flip. `app.views.attend.grid` paints; the session asks for looks from its own thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

from app.presentation import Frame, Show
from app.view_models.attend.warning import Answered
from pipeline.codes import FLASH_FRAMES, FRAME_RATE, flash_codes, gold_codes
from pipeline.looks import Grid, Kind, LookMarker
from pipeline.values import Uint8

CUE_SECONDS: Final = 1.0
"""How long the cue, or the empty grid, stands before the flicker: the eyes move."""
REST_SECONDS: Final = 1.2
"""How long the answer stands before the next look."""
NEAR: Final = 0.25
"""A flip this far from where the markers before it put it (in frames of 60 Hz, or of a faster
screen's codes) is told by one of its own."""
PENDING: Final = "?"
"""Marker of a frame whose label is known at its flip."""


class Stage(Enum):
    """What the grid does."""

    REST = "rest"
    CUE = "cue"
    FLICKER = "flicker"
    STOPPED = "stopped"


class GridFrames:
    """Steps through looks; satisfies the calls of a stimulus window's `Frames`.

    Parameters
    ----------
    grid : Grid
        Codes; its frame rate is the screen's over `hold`, see `grid_for`.
    hold : int
        Refreshes that each frame of a code lasts.
    push : callable
        Takes `(label, stamp)` of each marker.
    answered : Answered
        That the person answered the warning.
    shown : callable, optional
        Takes `(stamp, states)` of each frame that came to the screen, None at the end of a look;
        for a virtual person.
    """

    upcoming: str | None = None

    def __init__(
        self,
        grid: Grid,
        *,
        hold: int,
        push: Callable[[str, float], None],
        answered: Answered,
        shown: Callable[[float, Uint8 | None], None] = lambda _at, _states: None,
    ) -> None:
        if not isinstance(answered, Answered):
            raise TypeError("answered is no Answered: somebody has to answer the warning.")
        self.grid, self.hold, self.answered = grid, hold, answered
        self._push, self._shown = push, shown
        self._rate = grid.frame_rate
        # Guards what the session's thread asks and the window's thread does.
        self._lock = threading.Lock()
        self.stage = Stage.REST
        self.look = -1
        self.target: int | None = None
        self._asks_begin = self._asks_end = False
        self._stage_since = 0
        self._entered: int | None = None
        self._frame = -1
        self._anchor: tuple[int, float] | None = None
        self.is_held_back = False
        """Nothing begins while this holds: the window shows something else."""

    # For the session, from any thread

    @property
    def wants_look(self) -> bool:
        """Whether nothing flickers and a look may begin."""
        with self._lock:
            is_at_rest = self.stage is Stage.REST and not self._asks_begin
            return is_at_rest and not self.is_held_back

    def begin_look(self, target: int | None) -> None:
        """Begin a look, after its cue; `target` None: nobody is asked for anything."""
        with self._lock:
            if self.stage is not Stage.STOPPED:
                self._asks_begin, self._asks_end, self.target = True, False, target

    def end_look(self) -> None:
        """Flicker no more."""
        with self._lock:
            self._asks_end = self.stage in (Stage.CUE, Stage.FLICKER) or self._asks_begin

    # For the window

    @property
    def finished(self) -> bool:
        """Whether nothing more comes."""
        return self.stage is Stage.STOPPED

    @property
    def states(self) -> Uint8 | None:
        """Which pictures are bright, (n_targets,) uint8; None while nothing flickers."""
        if self.stage is not Stage.FLICKER:
            return None
        codes = self.grid.codes
        states: Uint8 = codes[:, self._frame % codes.shape[1]]
        return states

    def advance(self, frame_index: int, due: float | None = None) -> Frame:
        """Say what refresh `frame_index` shows."""
        del due
        with self._lock:
            before = self.stage
            marker = self._advance(frame_index)
            has_changed = before is not self.stage or self.stage is Stage.FLICKER
            return Frame(frame_index, Show.BLANK, marker=marker, changed=has_changed)

    def _advance(self, index: int) -> str | None:
        if self.stage is Stage.REST and self._is_over(index, REST_SECONDS) and self._asks_begin:
            self._asks_begin = False
            self.look += 1
            self._enter(Stage.CUE, index)
        elif self.stage in (Stage.CUE, Stage.FLICKER) and self._asks_end:
            self._asks_end = False
            was = self.stage
            self._enter(Stage.REST, index)
            return PENDING if was is Stage.FLICKER else None
        elif self.stage is Stage.CUE and self._is_over(index, CUE_SECONDS):
            self._enter(Stage.FLICKER, index)
            self._frame, self._entered, self._anchor = 0, None, None
            return PENDING
        elif self.stage is Stage.FLICKER:
            if self._entered is None:
                self._entered = index - 1  # the refresh at which it came, late or not
            if index - self._entered >= self.hold:
                self._frame, self._entered = self._frame + 1, None
                return PENDING
        return None

    def _enter(self, stage: Stage, index: int) -> None:
        self.stage, self._stage_since = stage, index

    def _is_over(self, index: int, seconds: float) -> bool:
        if self.stage is Stage.REST and self.look < 0:
            return True
        return index - self._stage_since >= round(seconds * self._rate * self.hold)

    def stamped(self, label: str, stamp: float) -> None:
        """Take the flip of a frame that asked for a marker; push one where it says anything."""
        del label
        self._shown(stamp, self.states)
        if self.stage is not Stage.FLICKER:
            self._push(LookMarker(self.look, None).label, stamp)
            return
        is_told = self._anchor is None or self._frame % self.grid.codes.shape[1] == 0
        if self._anchor is not None:
            frame, at = self._anchor
            off = stamp - at - (self._frame - frame) / self._rate
            is_told |= abs(off) * max(self._rate, FRAME_RATE) > NEAR
        if is_told:
            self._anchor = (self._frame, stamp)
            cue = self.target if self._frame == 0 else None
            self._push(LookMarker(self.look, self._frame, cue).label, stamp)

    def stop(self, stamp: float) -> None:
        """End for good, at once: what is painted next does not flicker."""
        with self._lock:
            was, self.stage = self.stage, Stage.STOPPED
        if was is Stage.FLICKER:
            self._shown(stamp, None)
            self._push(LookMarker(self.look, None).label, stamp)

    def respond(self) -> None:
        """There is nothing to answer."""

    def end(self) -> None:
        """The window ended it; `stop` said when."""
        with self._lock:
            self.stage = Stage.STOPPED


def holds(refresh_hz: float, kind: Kind = "flicker") -> int:
    """Refreshes that a frame of a code lasts on this screen: about 60 frames, or 7 flashes, a s."""
    held = max(1, round(refresh_hz / FRAME_RATE))
    return held if kind == "flicker" else held * FLASH_FRAMES


def grid_for(labels: Sequence[str], refresh_hz: float, kind: Kind = "flicker") -> Grid:
    """Make the grid of so many pictures on this screen."""
    codes = gold_codes(len(labels)) if kind == "flicker" else flash_codes(len(labels))
    return Grid(codes, tuple(labels), refresh_hz / holds(refresh_hz, kind), kind)
