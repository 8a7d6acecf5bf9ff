"""From the items of a source to steps and decisions: the live path, cut into looks.

Owns which samples belong to which look, and when a step is due. A pure function of the items in
their order: a recording of them gives every decision again, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from app.errors import AppError
from configs import SessionConfig
from models.adapters.looks import LooksAdapter
from models.attend.decoder import N_WRONG, STEP, AttendDecoder, Decision, Step, thinning
from models.attend.evidence import Covariances
from models.attend.learning import REVISION
from models.attend.response import RESPONSES
from models.attend.stopping import Stopping
from pipeline.errors import InfoError
from pipeline.live import LivePath
from pipeline.looks import Grid, LookMarker, ShownFrames, read_grid, read_label
from pipeline.values import Float64, SourceItem, StreamInfo, StreamRole

WAIT = 0.05
"""How long a step waits for markers of frames that came late, s."""
FLASH_FILTER: Mapping[str, float] = MappingProxyType({"l_freq": 0.5, "h_freq": 12.0})
"""The filter's edges where pictures flash in turn, Hz: a P300 is slow."""


@dataclass(frozen=True, slots=True)
class LookOptions:
    """How looks are decided; see `AttendDecoder`."""

    error_rate: float = 0.05
    trial_seconds: float | None = None
    adapt: bool = True
    revision: int = REVISION


def past_seconds(table: Mapping[str, Any]) -> float | None:
    """Length of every look of an earlier session, by its `[run.attend]`.

    Before `exact` was written, a look went on to the end of the step in which its time was up.
    """
    seconds: float | None = table.get("trial_seconds")
    if seconds is None or table.get("exact"):
        return seconds
    return round(math.ceil(round(seconds / STEP, 6)) * STEP, 6)


def past_revision(
    table: Mapping[str, Any], *, key: str = "revision", newest: int = REVISION
) -> int:
    """Revision of an earlier session's rules, by its `[run.attend]`: 1 where none stands.

    `key` and `newest`: of what; the rules of deciding unless another is named.
    """
    revision = table.get(key, 1)
    if not isinstance(revision, int) or not 1 <= revision <= newest:
        raise AppError(
            f"[run.attend] {key} is {revision!r}, expected 1 to {newest}: replay this session "
            "with the version of Phosphene that made it."
        )
    return revision


@dataclass(frozen=True, slots=True, eq=False)
class Stepped:
    """A look goes on."""

    look: int
    step: Step


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """A look is over.

    `decision` is None where it could not be read; `reason` then says why. `cue` is the target that
    was asked for, where somebody was asked; `sums` what the look taught, under each answer.
    """

    look: int
    t_onset: float
    cue: int | None
    decision: Decision | None
    n_late: int = 0
    reason: str = ""
    sums: Covariances | None = None


def stopping_of(grid: Grid, error_rate: float) -> Stopping:
    """Say when looks at a grid end: where pictures flash, after one round of them at the first."""
    if grid.kind == "flicker":
        return Stopping(error_rate=error_rate)
    last = RESPONSES[grid.kind].seconds
    return Stopping(
        error_rate=error_rate,
        first=grid.n_targets / grid.frame_rate + last,
        limit=grid.codes.shape[1] / grid.frame_rate + last,
    )


def _check_kind(grid: Grid, config: SessionConfig, adapter: LooksAdapter | None) -> None:
    """Refuse a grid of another kind than the session's filter, or its adapter, is for."""
    needed = None if grid.kind == "flicker" else FLASH_FILTER["l_freq"]
    lower = config.filter.l_freq
    if needed is not None and lower is not None and lower > needed:
        raise InfoError(
            f"The pictures of this grid flash in turn, and the filter begins at {lower:g} Hz, "
            f"expected {needed:g} Hz or less: give --flash."
        )
    looks = None if adapter is None else adapter.manifest.looks
    if looks is not None and looks.kind != grid.kind:
        raise InfoError(
            f"The adapter is of looks at pictures that {looks.kind}, those of this grid "
            f"{grid.kind}: calibrate with this kind of grid."
        )


class _Open:
    """The look under way."""

    def __init__(self, marker: LookMarker, onset: float, grid: Grid) -> None:
        self.marker, self.onset = marker, onset
        self.shown = ShownFrames(grid, onset)
        self.next: int | None = None
        """Number of the next sample in the ring; None until its onset is there."""
        self.first = 0
        """Number of the onset's sample."""


class LookReader:
    """Reads looks out of a source's items.

    Parameters
    ----------
    config : SessionConfig
    streams : mapping of StreamRole to StreamInfo
    options : LookOptions
    adapter : LooksAdapter, optional
        The person's calibration.

    Raises
    ------
    InfoError
        No marker stream, or one that describes no codes.
    """

    def __init__(
        self,
        config: SessionConfig,
        streams: Mapping[StreamRole, StreamInfo],
        options: LookOptions,
        *,
        adapter: LooksAdapter | None = None,
    ) -> None:
        if StreamRole.MARKERS not in streams:
            raise InfoError(
                "The source has no marker stream, expected one that describes the codes of a "
                "noise-tagged grid: choose it with --markers."
            )
        self.grid = read_grid(streams[StreamRole.MARKERS])
        _check_kind(self.grid, config, adapter)
        self._with_decoys = self.grid.with_decoys(N_WRONG)
        self.path = LivePath(config, streams)
        sfreq = self.path.info.sfreq
        self._thin = thinning(sfreq)
        self.rate = sfreq / self._thin
        self._n_step = max(1, round(STEP * self.rate)) * self._thin
        seconds = options.trial_seconds
        self._n_whole = None if seconds is None else math.ceil(seconds * self.rate) * self._thin
        self._n_wait = round(WAIT * sfreq)
        self._n_settle = round(self.path.filter.settling_time * sfreq)
        self.decoder = AttendDecoder(
            n_targets=self.grid.n_targets,
            n_channels=self.path.info.n_channels,
            n_decoys=self._with_decoys.n_targets - self.grid.n_targets,
            rate=self.rate,
            stopping=stopping_of(self.grid, options.error_rate),
            response=RESPONSES[self.grid.kind],
            trial_seconds=options.trial_seconds,
            adapt=options.adapt,
            revision=options.revision,
            known=None if adapter is None else adapter.known_of(self.path.info.ch_names),
        )
        self._open: _Open | None = None

    def feed(self, item: SourceItem) -> list[Stepped | Ended]:
        """Take the next item."""
        self.path.feed(item)
        found: list[Stepped | Ended] = []
        for marker in self.path.take_new_markers():
            said = read_label(marker.label)
            if said is not None:
                found += self._take(said, marker.t_onset)
        return found + self._advance()

    def finish(self) -> list[Stepped | Ended]:
        """The source is over: so is the look."""
        return self._end("the stream ended before the look was decided") if self._open else []

    def _take(self, said: LookMarker, at: float) -> list[Stepped | Ended]:
        look = self._open
        found: list[Stepped | Ended] = []
        if said.frame == 0 or (look is None and said.cue is not None):
            if look is not None:
                found = self._end("the next look began")
            self._open = _Open(said, at, self._with_decoys)
            self.decoder.begin()
        elif look is not None and said.look == look.marker.look:
            if said.frame is None:
                return self._end("the flicker was stopped")
            look.shown.mark(said.frame, at)
        return found

    def _advance(self) -> list[Stepped | Ended]:
        found: list[Stepped | Ended] = []
        while self._open is not None:
            look = self._open
            if look.next is None and not self._locate(look):
                return found
            if look.next is None:
                return found + self._end("the filter had not settled, or samples were lost")
            stop = look.next + self._n_step
            if self._n_whole is not None:
                stop = min(stop, look.first + self._n_whole)
            if stop + self._n_wait > self.path.ring.n_written:
                return found
            step = self._take_samples(look, stop)
            if step is None:
                return found + self._end("samples were lost")
            found.append(Stepped(look.marker.look, step))
            if step.is_decided or step.seconds >= self.decoder.longest - 0.5 / self.rate:
                found += self._end("")
        return found

    def _locate(self, look: _Open) -> bool:
        """Find the onset's sample once it is there; False while it is not."""
        ring = self.path.ring
        if not ring.n_written:
            return False
        times = ring.timestamps_view(ring.oldest, ring.n_written)
        if times[-1] < look.onset:
            return False
        onset = ring.oldest + int(np.searchsorted(times, look.onset - 0.5 / self.path.info.sfreq))
        run = max((b.sample for b in self.path.breaks if b.sample <= onset), default=0)
        if onset - run >= self._n_settle:
            look.next = look.first = onset
        return True

    def _take_samples(self, look: _Open, stop: int) -> Step | None:
        start = look.next
        if start is None or start < self.path.ring.oldest:
            return None
        if any(start < b.sample < stop for b in self.path.breaks):
            return None
        found = self.path.ring.read(start, stop)
        if found is None:
            return None
        data, stamps = found
        times: Float64 = stamps[:: self._thin] - look.onset
        states, flips = look.shown.until(float(stamps[-1]) + 1 / self.path.info.sfreq)
        self.decoder.show(states, flips - look.onset)
        look.next = stop
        return self.decoder.step(data[:, :: self._thin].astype(np.float64), times)

    def _end(self, reason: str) -> list[Stepped | Ended]:
        look = self._open
        self._open = None
        if look is None:
            return []
        is_read = look.next is not None and not reason.startswith(("samples", "the filter"))
        decision = self.decoder.end() if is_read else None
        if decision is not None and decision.seconds == 0.0:
            decision = None
        if decision is not None and decision.answer is not None:
            reason = ""
        ended = Ended(
            look.marker.look,
            look.onset,
            look.marker.cue,
            decision,
            look.shown.n_late,
            reason,
            None if decision is None else self.decoder.sums,
        )
        return [ended]
