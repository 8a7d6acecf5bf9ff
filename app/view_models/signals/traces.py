"""The traces as a model: what is drawn where, at which scale, and what is known of time.

Owns the display filter, the columns, markers and gaps, scale, mode and pause. Knows nothing of
Qt or colours; it asks a session for samples and never keeps one back.

Positions count samples of time since the first one, lost ones included: a gap of a second is a
second wide.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.port import TraceBlock, TraceMarker
from app.view_models.signals.columns import ColumnStore
from app.view_models.signals.display_filter import (
    DISPLAY_FILTERS,
    DisplayFilter,
    DisplayFilterConfig,
)
from app.view_models.signals.lanes import Lanes
from pipeline.values import Info

WINDOWS = (2.0, 5.0, 10.0, 20.0, 30.0)
"""Window lengths that are offered, s."""
SCALES_UV = (5.0, 10.0, 20.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1000.0, 2000.0, 5000.0)
"""Microvolts from lane to lane that + and - step through."""
HEADROOM = 1.3
"""Height of a lane over what a trace usually spans when the scale is chosen by itself."""
GAINS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Factors of a single channel."""
AUTO_SCALE_AFTER = 1.5
"""Length of data that the first scale is chosen from, s."""
FLAT_UV = 0.5
WILD_UV = 1500.0
MAX_BEGIN = 2_000_000
"""Samples, all channels together, that are fetched again when the plot begins anew."""
HISTORY_WINDOWS = 6
"""How many windows of columns are kept to scroll back through."""


class TraceSource(Protocol):
    """The part of a session that the traces need."""

    def traces(self, since: int, limit: int) -> TraceBlock | None:
        """Return new samples."""
        ...

    def trace_markers(self, since: int) -> Sequence[TraceMarker]:
        """Return new markers."""
        ...


class TraceMode(StrEnum):
    """Sweep: a cursor writes over the old; scroll: everything moves."""

    SWEEP = "sweep"
    SCROLL = "scroll"


@dataclass(frozen=True, slots=True)
class PlacedMarker:
    """A marker and the position it belongs to."""

    index: int
    position: float
    t_onset: float
    label: str


class TraceModel:
    """What the trace widget paints.

    `changed_from` is the first column that differs from what was last painted; `revision` rises
    whenever everything must be painted again.
    """

    def __init__(self, *, n_pixels: int = 800) -> None:
        self.info: Info | None = None
        self.mode = TraceMode.SWEEP
        self.window = 10.0
        self.scale_uv = 100.0
        self.gains: NDArray[np.float32] = np.ones(0, dtype=np.float32)
        self.selected: int | None = None
        self.paused = False
        self.back = 0
        """Columns scrolled back while paused."""
        self.lanes = Lanes()
        self.filter_config = DISPLAY_FILTERS[0]
        self.store: ColumnStore | None = None
        self.markers: deque[PlacedMarker] = deque(maxlen=512)
        self.bad: dict[int, str] = {}
        """Channels that are wrong, by number, with the reason."""
        self.revision = 0
        self.marker_revision = 0
        self.changed_from = 0
        self._n_pixels = max(1, n_pixels)
        self._filter: DisplayFilter | None = None
        self._next_sample = 0
        self._next_marker = 0
        self._last_time: float | None = None
        self._looks_bad: dict[int, str] = {}
        self._judged_bad: dict[int, str] = {}
        self._anchors: deque[tuple[int, float]] = deque(maxlen=4096)
        self._judged_at = 0
        self._misplaced = False
        self._auto_scale = True
        self._filter_chosen = False

    @property
    def n_pixels(self) -> int:
        """Width of the plot in columns."""
        return self._n_pixels

    @property
    def newest(self) -> int:
        """Absolute number of the newest column; -1 before the first sample."""
        return -1 if self.store is None else self.store.newest

    @property
    def view_end(self) -> int:
        """Absolute number of the last column in view."""
        return self.newest - self.back

    @property
    def next_sample(self) -> int:
        """Number of the sample that is asked for next."""
        return self._next_sample

    @property
    def n_lanes(self) -> int:
        """How many channels are in view."""
        return self.lanes.n_lanes

    @property
    def shown(self) -> range:
        """Numbers of the channels in view."""
        return self.lanes.shown

    def set_lanes(self, lanes: int | None) -> None:
        """Show `lanes` channels at once; None all, 0 as many as can be read."""
        self.revision += self.lanes.want(lanes)

    def fit_lanes(self, n_lanes: int) -> None:
        """Say how many channels can be read in the room there is."""
        self.revision += self.lanes.fit(n_lanes)

    def turn(self, pages: int) -> None:
        """Go to the channels after (before: negative) those in view."""
        self.revision += self.lanes.turn(pages)

    def reset(self, info: Info | None) -> None:
        """Begin anew: another stream, other channels."""
        self.info = info
        n_channels = 0 if info is None else info.n_channels
        self.gains = np.ones(n_channels, dtype=np.float32)
        self.selected = None
        self.lanes.reset(n_channels)
        self.bad, self._looks_bad, self._judged_bad = {}, {}, {}
        self.markers.clear()
        self._next_marker = 0
        self.paused = False
        self._auto_scale = True
        self._begin()

    def resize(self, n_pixels: int) -> None:
        """Take another width; the columns are computed again from the session's buffer."""
        if n_pixels != self._n_pixels:
            self._n_pixels = max(1, n_pixels)
            self._begin()

    def set_window(self, window: float) -> None:
        """Show `window` seconds."""
        if window != self.window:
            self.window = window
            self._begin()

    def set_filter(self, config: DisplayFilterConfig) -> None:
        """Filter the traces otherwise; the pipeline is not touched."""
        self._filter_chosen = True
        if config != self.filter_config:
            self.filter_config = config
            self._begin()

    def suggest_notch(self, notch_freqs: Sequence[float]) -> None:
        """Take the session's line frequency out of the picture, unless somebody has chosen."""
        if self._filter_chosen:
            return
        fitting = (
            config
            for config in DISPLAY_FILTERS
            if config.notch_freq in notch_freqs and config.h_freq is None
        )
        self.filter_config = next(fitting, DISPLAY_FILTERS[0])

    def set_mode(self, mode: TraceMode) -> None:
        """Sweep or scroll; nothing needs computing again."""
        if mode != self.mode:
            self.mode = mode
            self.revision += 1

    def set_scale(self, scale_uv: float) -> None:
        """Set the microvolts from lane to lane."""
        self.scale_uv = float(scale_uv)
        self._auto_scale = False
        self.revision += 1

    def zoom(self, steps: int) -> None:
        """Make traces larger (`steps` > 0) or smaller: the selected channel, else all."""
        if self.selected is not None:
            at = int(np.argmin(np.abs(np.array(GAINS) - self.gains[self.selected]))) + steps
            self.gains[self.selected] = GAINS[min(max(at, 0), len(GAINS) - 1)]
        else:
            self._auto_scale = False
            at = int(np.argmin(np.abs(np.array(SCALES_UV) - self.scale_uv))) - steps
            self.scale_uv = SCALES_UV[min(max(at, 0), len(SCALES_UV) - 1)]
        self.revision += 1

    def select(self, channel: int | None) -> None:
        """Choose the channel that + and - act on; None: all."""
        self.selected = None if channel == self.selected else channel
        self.revision += 1

    def set_paused(self, paused: bool) -> None:
        """Freeze the picture; samples are caught up with when it goes on."""
        if paused != self.paused:
            self.paused = paused
            if self.back:
                self.back = 0
                self.revision += 1

    def scroll_back(self, n_columns: int) -> None:
        """Move the view towards the past (positive) while paused."""
        if self.store is None or not self.paused:
            return
        furthest = max(0, self.store.newest - self.store.oldest - self._n_pixels + 1)
        back = min(max(0, self.back + n_columns), furthest)
        if back != self.back:
            self.back = back
            self.revision += 1

    def poll(self, source: TraceSource) -> bool:
        """Take what is new; return whether anything was."""
        # Paused, but computed anew (another filter, another width): an empty plot helps nobody.
        begins = self._next_sample == 0
        if self.info is None or (self.paused and not begins):
            return False
        limit = max(1, round(self.window * self.info.sfreq))
        if begins:
            # What can be scrolled back to is fetched at once, as far as no frame is held up.
            kept = min(HISTORY_WINDOWS * limit, MAX_BEGIN // self.info.n_channels)
            limit = max(limit, kept)
        block = source.traces(self._next_sample, limit)
        if block is not None and block.data.shape[1]:
            self._consume(block)
        markers = source.trace_markers(self._next_marker)
        for marker in markers:
            self._place(marker)
        return block is not None or bool(markers)

    def drain_changes(self) -> tuple[int, int] | None:
        """Return the columns to paint again (first, last), and forget them."""
        if self.store is None or self.changed_from > self.store.newest:
            return None
        first = max(self.changed_from, self.store.newest - self._n_pixels + 1, 0)
        self.changed_from = self.store.newest + 1
        return first, self.store.newest

    def seconds_of(self, column: int) -> float:
        """Time of a column's left edge since the first sample, s."""
        if self.store is None or self.info is None:
            return 0.0
        return column * self.store.samples_per_column / self.info.sfreq

    def visible_markers(self) -> list[tuple[int, PlacedMarker]]:
        """Markers in view with their columns, oldest first."""
        if self.store is None:
            return []
        end = self.view_end
        placed = [(self.store.column_of(marker.position), marker) for marker in self.markers]
        return [item for item in placed if end - self._n_pixels < item[0] <= end]

    def marker_columns(self, first: int, last: int) -> list[int]:
        """Columns between `first` and `last` that hold a marker's line."""
        if self.store is None:
            return []
        columns = [self.store.column_of(marker.position) for marker in self.markers]
        return [column for column in columns if first <= column <= last]

    def _begin(self) -> None:
        self.back = 0
        self.revision += 1
        self.changed_from = 0
        self._next_sample = 0
        self._last_time = None
        self._judged_at = 0
        self._misplaced = True
        self._anchors.clear()
        self.store = None
        self._filter = None
        if self.info is not None:
            per_column = self.window * self.info.sfreq / self._n_pixels
            self.store = ColumnStore(
                self.info.n_channels, per_column, self._n_pixels * HISTORY_WINDOWS
            )
            self._filter = DisplayFilter(
                self.filter_config, n_channels=self.info.n_channels, sfreq=self.info.sfreq
            )

    def _consume(self, block: TraceBlock) -> None:
        """Push a block piece by piece between its gaps."""
        if self.info is None or block.data.shape[0] != self.info.n_channels:
            return  # The stream changed under us; the next snapshot brings the new info.
        if self._last_time is not None and block.start > self._next_sample:
            self._begin()  # Samples have left the buffer unseen: not a gap of the stream's.
        begins = sorted({b - block.start for b in block.breaks if b > block.start} | {0})
        ends = [*begins[1:], block.data.shape[1]]
        for begin, end in zip(begins, ends, strict=True):
            if self._last_time is not None and (begin + block.start) in block.breaks:
                self._gap(float(block.timestamps[begin]), self.info.sfreq)
            self._push(block.data[:, begin:end], block.timestamps[begin:end])
        self._next_sample = block.start + block.data.shape[1]
        if self._misplaced:
            self._misplaced = False
            self._replace_markers()
        self._judge()

    def _push(self, data: NDArray[np.float32], timestamps: NDArray[np.float64]) -> None:
        if self.store is None or self._filter is None:
            return
        if not self._anchors:
            self._anchors.append((self.store.position, float(timestamps[0])))
        first = self.store.push(self._filter(data))
        self.changed_from = min(self.changed_from, first)
        self._last_time = float(timestamps[-1])
        self._anchors.append((self.store.position - 1, self._last_time))

    def _gap(self, t_next: float, sfreq: float) -> None:
        if self.store is None or self._filter is None or self._last_time is None:
            return
        longest = int(self.window * sfreq)
        lost = round((t_next - self._last_time) * sfreq) - 1
        self.changed_from = min(self.changed_from, max(0, self.store.newest))
        self.store.skip(min(max(1, lost), longest))
        self._filter.reset()

    def _place(self, marker: TraceMarker) -> None:
        self._next_marker = max(self._next_marker, marker.index + 1)
        position = self._position_of(marker.t_onset)
        self.markers.append(PlacedMarker(marker.index, position, marker.t_onset, marker.label))
        self.marker_revision += 1
        if self.store is not None:
            column = self.store.column_of(position)
            if column <= self.store.newest:
                self.changed_from = min(self.changed_from, max(0, column))

    def _replace_markers(self) -> None:
        """Positions were counted anew: find the markers' places again."""
        placed = [
            PlacedMarker(m.index, self._position_of(m.t_onset), m.t_onset, m.label)
            for m in self.markers
        ]
        self.markers.clear()
        self.markers.extend(placed)
        self.marker_revision += 1

    def _position_of(self, t_onset: float) -> float:
        sfreq = 1.0 if self.info is None else self.info.sfreq
        if not self._anchors:
            return -1.0
        before = (anchor for anchor in reversed(self._anchors) if anchor[1] <= t_onset)
        position, at = next(before, self._anchors[0])
        return position + (t_onset - at) * sfreq

    def _judge(self) -> None:
        """Name flat and wild channels, once a second."""
        if self.info is None or self.store is None:
            return
        if self.store.position - self._judged_at < self.info.sfreq:
            return
        self._judged_at = self.store.position
        span = round(self.info.sfreq / 2 / self.store.samples_per_column) or 1
        slots = self.store.slots(max(0, self.store.newest - span + 1), self.store.newest)
        filled = slots[~self.store.gaps[slots]]
        if filled.size < 2:
            return
        self._fit_scale()
        peak = self.store.high[:, filled].max(axis=1) - self.store.low[:, filled].min(axis=1)
        bad = {int(c): "flat" for c in np.flatnonzero(peak < FLAT_UV)}
        bad |= {int(c): "off scale" for c in np.flatnonzero(peak > WILD_UV)}
        self._looks_bad = bad
        self._take_verdicts()

    def set_verdicts(self, bad: dict[int, str]) -> None:
        """Take the session's verdict on channels, by number; its reason wins over a look."""
        if bad != self._judged_bad:
            self._judged_bad = bad
            self._take_verdicts()

    def _take_verdicts(self) -> None:
        bad = {**self._looks_bad, **self._judged_bad}
        if bad != self.bad:
            self.bad = bad
            self.revision += 1

    def _fit_scale(self) -> None:
        """Choose the scale once, from the first seconds, unless somebody has chosen."""
        if not self._auto_scale or self.store is None or self.info is None:
            return
        if self.store.position < AUTO_SCALE_AFTER * self.info.sfreq:
            return
        self._auto_scale = False
        slots = self.store.slots(self.store.oldest, self.store.newest)
        low, high = self.store.low[:, slots], self.store.high[:, slots]
        with np.errstate(all="ignore"):
            spans = np.nanquantile(high, 0.9, axis=1) - np.nanquantile(low, 0.1, axis=1)
        typical = float(np.median(spans))
        if np.isfinite(typical) and typical > 0:
            fitting = [scale for scale in SCALES_UV if scale >= HEADROOM * typical]
            self.scale_uv = fitting[0] if fitting else SCALES_UV[-1]
            self.revision += 1
