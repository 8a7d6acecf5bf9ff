"""Where EEG can come from: streams in reach, the virtual headset, a recording.

Owns the list of streams, the search in the background and the choice. Knows nothing of Qt or
LSL: it calls the factory in a worker thread and is polled.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from app.session_factory import SessionFactory
from app.source_options import NO_OPTIONS, SourceOptions
from pipeline.errors import PhospheneError
from pipeline.values import StreamInfo

MARKER_TYPES = ("markers", "marker", "stimulation", "events")
SEARCH_EVERY = 3.0
"""Pause between two searches while the list is in view, s."""


class SourceKind(StrEnum):
    """What kind of source was chosen."""

    DEMO = "demo"
    LIVE = "live"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True)
class SourceChoice:
    """A source as chosen: `stream` for live, `path` for a recording."""

    kind: SourceKind = SourceKind.DEMO
    stream: StreamInfo | None = None
    markers: StreamInfo | None = None
    path: Path | None = None
    ch_names: tuple[str, ...] = ()
    unit: str = ""
    options: SourceOptions = NO_OPTIONS
    key: str | None = None
    """What names the stream where its `source_id` does not: two outlets may share one."""

    @property
    def title(self) -> str:
        """A few words for the button."""
        if self.kind is SourceKind.LIVE:
            return "Stream of the settings" if self.stream is None else self.stream.name
        if self.kind is SourceKind.REPLAY and self.path is not None:
            return self.path.name
        return "Virtual headset"

    @property
    def needs_montage(self) -> bool:
        """Whether the stream lacks labels or a unit that were not given either."""
        if self.kind is not SourceKind.LIVE or self.stream is None:
            return False
        no_names = not self.stream.ch_names and not self.ch_names
        no_unit = not any(self.stream.ch_units) and not self.unit
        return no_names or no_unit


@dataclass
class _Search:
    """One search: filled in by its thread, read once it is done."""

    done: threading.Event = field(default_factory=threading.Event)
    streams: Sequence[StreamInfo] = ()
    error: str = ""


class SourcesModel:
    """The streams in reach and the chosen source."""

    def __init__(
        self, factory: SessionFactory, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._factory = factory
        self._clock = clock
        self._ended_at = -math.inf
        self._search: _Search | None = None
        self._thread: threading.Thread | None = None
        self.streams: tuple[StreamInfo, ...] = ()
        self.error = ""
        self.searched = False
        """Whether a search has ended yet."""
        self.choice = SourceChoice()
        self.options = NO_OPTIONS
        self.revision = 0

    @property
    def searching(self) -> bool:
        """Whether a search is under way."""
        return self._search is not None

    @property
    def eeg_streams(self) -> list[StreamInfo]:
        """Streams that may hold EEG: regular and not text."""
        return [s for s in self.streams if not _is_marker(s)]

    @property
    def marker_streams(self) -> list[StreamInfo]:
        """Streams of markers."""
        return [s for s in self.streams if _is_marker(s)]

    def keep_current(self) -> None:
        """Search again when the last search is `SEARCH_EVERY` ago; for a list that is in view."""
        if self._search is None and self._clock() - self._ended_at >= SEARCH_EVERY:
            self.refresh()

    def refresh(self) -> None:
        """Search in the background; `poll` brings the result."""
        if self._search is not None:
            return
        search = _Search()
        self._search = search
        self._thread = threading.Thread(
            target=self._discover, args=(search,), name="discover", daemon=True
        )
        self.revision += 1
        self._thread.start()

    def poll(self) -> bool:
        """Take the result of a finished search; return whether there was one."""
        search = self._search
        if search is None or not search.done.is_set():
            return False
        self._search = None
        self._ended_at = self._clock()
        self.searched = True
        self.error = search.error
        self.streams = tuple(sorted(search.streams, key=lambda s: (s.type, s.name, s.source_id)))
        self.revision += 1
        return True

    def key_of(self, stream: StreamInfo) -> str | None:
        """Return what tells `stream` from the others: its `source_id`, or its `uid`."""
        twins = [s for s in self.streams if s.source_id == stream.source_id]
        if stream.source_id and len(twins) == 1:
            return stream.source_id
        return stream.uid or None

    def choose(self, choice: SourceChoice) -> None:
        """Take `choice` as the source of the next session."""
        self.choice = choice
        self.revision += 1

    def set_options(self, options: SourceOptions) -> None:
        """Use these channels, column and streams from the next choice on."""
        self.options = options
        self.revision += 1

    def answer(self, options: SourceOptions) -> None:
        """Take the chosen source with these options; for a recording that raised a question."""
        self.choose(replace(self.choice, options=options))

    def close(self, timeout: float = 2.0) -> None:
        """Wait up to `timeout` seconds for a search that is under way."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _discover(self, search: _Search) -> None:
        try:
            search.streams = self._factory.discover()
        except PhospheneError as error:
            search.error = str(error)
        except Exception as error:  # noqa: BLE001  the top of a thread: becomes a sentence
            search.error = f"The search for streams failed ({error}); try Refresh."
        finally:
            search.done.set()


def _is_marker(stream: StreamInfo) -> bool:
    return (
        stream.channel_format == "string"
        or stream.type.lower() in MARKER_TYPES
        or (stream.sfreq == 0 and stream.n_channels == 1)
    )
