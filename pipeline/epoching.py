"""The epoch engine: samples and markers in any order in, one verdict a marker out.

Owns the ring of filtered samples, the runs inside it, and the markers that wait. A pure function
of the samples, their times and the order of arrival: every decision falls at a certain sample or
at a marker's arrival, never at the end of a chunk, so any cut of the stream gives the same
verdicts in the same order.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.models import EpochsConfig
from pipeline.errors import ConfigurationError
from pipeline.quality import peak_to_peak, rejection
from pipeline.ring import Ring
from pipeline.screening import ABSURD, NOT_FINITE
from pipeline.stretches import Bool, Flags
from pipeline.values import Epoch, Float32, Float64, Info, Marker, Outcome, Verdict
from pipeline.volumes import KIND

JUMPED = "the sender's clock jumped, by how much is open"


@dataclass(slots=True)
class _Run:
    """A gap-free run: absolute numbers of its samples and its first and last time, s."""

    number: int
    start: int
    stop: int
    t_first: float
    t_last: float
    is_doubtful: bool = False


@dataclass(slots=True)
class _Plan:
    """What will become of a marker once sample number `ready` - 1 is there."""

    marker: Marker
    start: int = 0
    onset_error: float = 0.0
    outcome: Outcome = Outcome.DECODED
    reason: str = ""


_SLACK = 0.01
"""Of a sample's period: so little after a sample a marker of fMRI is at it."""


def _nearest_int(value: float) -> int:
    return math.floor(value + 0.5)


class EpochEngine:
    """Cuts epochs around markers, or sliding windows, out of a filtered stream.

    Parameters
    ----------
    config : EpochsConfig
    info : Info
    capacity : int
        Samples of the ring; at least two epochs.
    event_id : tuple of str
        Labels to decode; empty: all.
    settling_time : float
        Of the filter, s: an epoch that starts earlier in its run is refused.
    measure : callable, optional
        More entries of an epoch's quality from its first and last (exclusive) sample number.

    Attributes
    ----------
    ring : Ring
        Filtered samples, microvolts.
    """

    def __init__(
        self,
        config: EpochsConfig,
        info: Info,
        *,
        capacity: int,
        event_id: tuple[str, ...] = (),
        settling_time: float = 0.0,
        measure: Callable[[int, int], dict[str, float]] | None = None,
    ) -> None:
        sfreq = info.sfreq
        self.info = info
        self.n_times = _nearest_int((config.tmax - config.tmin) * sfreq) + 1
        self.n_before = _nearest_int(-config.tmin * sfreq)
        if capacity < 2 * self.n_times:
            raise ConfigurationError(
                f"The buffer holds {capacity} samples, expected at least {2 * self.n_times} (two "
                "epochs): raise buffer, or shorten epochs.tmin to epochs.tmax."
            )
        self.ring = Ring(info.n_channels, capacity)
        self._config = config
        self._event_id = frozenset(event_id)
        self._measure = measure
        self._tmin = -self.n_before / sfreq
        self._half = 0.5 / sfreq
        # Voxels come seconds apart: one that lies at its marker, but for two clocks' disagreement,
        # is not kept waiting for the next.
        self._slack = _SLACK / sfreq if KIND in info.ch_types else 0.0
        self._n_settle = math.ceil(settling_time * sfreq)
        self._n_block = max(1, capacity // 4)
        self._runs: deque[_Run] = deque()
        self._n_runs = 0
        # Stretches that somebody marked as unusable: first and last time, s, and the mark.
        self._refused: deque[tuple[float, float, str]] = deque()
        # Sample numbers with unusable values, and what was wrong in each channel.
        self._bad: deque[tuple[int, NDArray[np.uint8]]] = deque()
        # From which sample on which channels are left out.
        self._left_out: deque[tuple[int, Bool]] = deque([(0, np.zeros(info.n_channels, bool))])
        self._parts: dict[tuple[bool, ...], Info] = {}
        self._t_first_ever = math.nan
        self._n_markers = 0
        # Markers whose onset is not there yet, by time; markers whose end is not, by sample.
        self._ahead: list[tuple[float, int, Marker]] = []
        self._planned: list[tuple[int, int, _Plan]] = []
        self._free_first = self._n_free = 0
        self._arrived: list[Marker] = []
        self.is_silent = False
        """Whether the stream sends nothing now: markers wait for it, however far ahead they lie."""

    def take_arrived(self) -> list[Marker]:
        """Give the markers (and free-running windows) that arrived since the last call."""
        arrived, self._arrived = self._arrived, []
        return arrived

    @property
    def n_pending(self) -> int:
        """Markers that wait for samples."""
        return len(self._ahead) + len(self._planned)

    # -- samples --------------------------------------------------------------------------------

    def feed_samples(
        self,
        data: Float32,
        timestamps: Float64,
        bad: Flags,
        *,
        is_first: bool,
        is_doubtful: bool = False,
    ) -> list[Verdict]:
        """Take the next samples of the current run, or the first ones of a new run.

        Parameters
        ----------
        data : ndarray, shape (n_channels, n_times), float32, microvolts, filtered
        timestamps : ndarray, shape (n_times,), float64, s, increasing within a run
        bad : ndarray, shape (n_times,) or (n_times, n_channels)
            Not 0 where a sample, or a channel's value in it, is unusable.
        is_first : bool
            Whether a new run starts with the first of them.
        is_doubtful : bool
            Whether the run's times may be wrong: its epochs are refused.
        """
        verdicts: list[Verdict] = []
        if not len(timestamps):
            return verdicts
        if is_first or not self._runs:
            verdicts += self._start_run(float(timestamps[0]))
            self._runs[-1].is_doubtful = is_doubtful
        # In blocks, so that a huge packet cannot push samples out before they were cut.
        for low in range(0, len(timestamps), self._n_block):
            block = slice(low, low + self._n_block)
            verdicts += self._take(data[:, block], timestamps[block], bad[block])
        return verdicts

    def refuse(self, t_first: float, t_last: float, label: str) -> None:
        """Refuse every epoch over these times (s), which `label` marks as unusable.

        Told before the samples of `t_first` come.
        """
        self._refused.append((t_first, t_last, label))

    def leave_out(self, channels: Bool) -> None:
        """From the next sample on, leave these channels (bool, one each) out of epochs."""
        if not np.array_equal(channels, self._left_out[-1][1]):
            self._left_out.append((self.ring.n_written, channels))

    def _start_run(self, t_first: float) -> list[Verdict]:
        """Refuse what the border cuts, in order of arrival."""
        at = self.ring.n_written
        is_very_first = not self._n_runs
        border = "the samples around it are not in one piece: a gap"
        lost: list[tuple[int, Verdict]] = []
        for _, index, plan in self._planned:
            lost.append((index, Verdict(plan.marker, Outcome.GAP, reason=border)))
        self._planned.clear()
        keep: list[tuple[float, int, Marker]] = []
        for t_onset, index, marker in self._ahead:
            if t_onset < t_first - self._half:
                verdict = (
                    Verdict(marker, Outcome.NO_DATA, reason="it lies before the first sample")
                    if is_very_first
                    else Verdict(marker, Outcome.GAP, reason=border)
                )
                lost.append((index, verdict))
            elif is_very_first and t_onset > t_first + self._config.max_future:
                lost.append((index, self._too_far(marker, t_first)))
            else:
                keep.append((t_onset, index, marker))
        heapq.heapify(keep)
        self._ahead = keep
        if is_very_first:
            self._t_first_ever = t_first
        self._runs.append(_Run(self._n_runs, at, at, t_first, t_first))
        self._n_runs += 1
        self._free_first, self._n_free = at + self._n_settle + self.n_before, 0
        return [verdict for _, verdict in sorted(lost, key=lambda pair: pair[0])]

    def _take(self, data: Float32, timestamps: Float64, bad: Flags) -> list[Verdict]:
        ring, run = self.ring, self._runs[-1]
        before = ring.n_written
        ring.append(data, timestamps)
        run.stop, run.t_last = ring.n_written, float(timestamps[-1])
        oldest = ring.oldest
        while self._runs[0].stop <= oldest:
            self._runs.popleft()
        if bad.any():
            self._note_bad(before, bad)
        while self._bad and self._bad[0][0] < oldest:
            self._bad.popleft()
        while len(self._left_out) > 1 and self._left_out[1][0] <= oldest:
            self._left_out.popleft()
        if self._config.mode == "free":
            return self._windows()
        while self._ahead and self._ahead[0][0] <= run.t_last + self._slack:
            _, _, marker = heapq.heappop(self._ahead)
            self._plan(marker, run, max(run.start, before - 1))
        return self._due()

    def _note_bad(self, before: int, bad: Flags) -> None:
        rows = bad if bad.ndim == 2 else np.repeat(bad[:, np.newaxis], self.info.n_channels, axis=1)
        rows = rows.astype(np.uint8) * ~self._left_out[-1][1]
        self._bad.extend((before + k, rows[k]) for k in np.flatnonzero(rows.any(axis=1)).tolist())

    def _windows(self) -> list[Verdict]:
        verdicts: list[Verdict] = []
        step = self._config.step * self.info.sfreq
        while True:
            onset = self._free_first + _nearest_int(self._n_free * step)
            start = onset - self.n_before
            if start + self.n_times > self.ring.n_written:
                return verdicts
            t_onset = float(self.ring.timestamps_view(onset, onset + 1)[0])
            marker = self._arrive(t_onset, "")
            verdicts.append(self._cut(_Plan(marker, start)))
            # A step shorter than a sample would never get on.
            self._n_free = max(self._n_free + 1, math.ceil((onset + 1 - self._free_first) / step))

    # -- markers --------------------------------------------------------------------------------

    def feed_marker(self, t_onset: float, label: str, *, invalid: str = "") -> list[Verdict]:
        """Take a marker; its own verdict if it falls now, else nothing yet.

        Parameters
        ----------
        t_onset : float
            s, this machine's LSL clock.
        label : str
        invalid : str
            Why it cannot be read; empty when it can.
        """
        marker = self._arrive(t_onset, label)
        if not invalid and not math.isfinite(t_onset):
            invalid = "its time stamp is not finite"
        if invalid:
            return [Verdict(marker, Outcome.INVALID, reason=invalid)]
        if self._config.mode == "free":
            return [Verdict(marker, Outcome.IGNORED, reason="free-running: markers are not used")]
        if self._event_id and label not in self._event_id:
            reason = f"{label!r} is not among markers.event_id"
            return [Verdict(marker, Outcome.IGNORED, reason=reason)]
        newest = self._runs[-1].t_last if self._runs else math.nan
        if t_onset > newest + self._config.max_future and not self.is_silent:
            if self._runs[-1].is_doubtful:
                return [Verdict(marker, Outcome.GAP, reason=JUMPED)]
            return [self._too_far(marker, newest)]
        is_ahead = not self._runs or t_onset > newest + self._slack
        if not is_ahead:
            refusal = self._place(marker)
            if refusal is not None:
                return [refusal]
            verdicts = self._due()
            if verdicts:
                return verdicts
        if self.n_pending - (not is_ahead) >= self._config.max_pending:
            self._planned = [item for item in self._planned if item[1] != marker.index]
            heapq.heapify(self._planned)
            reason = f"{self._config.max_pending} markers were waiting already"
            return [Verdict(marker, Outcome.OVERLOAD, reason=reason)]
        if is_ahead:
            heapq.heappush(self._ahead, (t_onset, marker.index, marker))
        return []

    def finish(self) -> list[Verdict]:
        """Nothing more comes: every marker that still waits ends here, in order of arrival."""
        waiting = [marker for _, _, marker in self._ahead]
        waiting += [plan.marker for _, _, plan in self._planned]
        self._ahead, self._planned = [], []
        reason = "the session ended before its samples came"
        return [
            Verdict(marker, Outcome.NO_DATA, reason=reason)
            for marker in sorted(waiting, key=lambda marker: marker.index)
        ]

    def _arrive(self, t_onset: float, label: str) -> Marker:
        marker = Marker(self._n_markers, t_onset, label)
        self._n_markers += 1
        self._arrived.append(marker)
        return marker

    def _too_far(self, marker: Marker, newest: float) -> Verdict:
        reason = (
            f"it lies {marker.t_onset - newest:.1f} s ahead of the newest sample, expected at "
            f"most {self._config.max_future:g} s"
        )
        return Verdict(marker, Outcome.FUTURE, reason=reason)

    def _place(self, marker: Marker) -> Verdict | None:
        """Plan a marker whose onset has passed; a verdict if its samples are not (all) there."""
        oldest, t_onset = self.ring.oldest, marker.t_onset
        gone = "its samples had left the buffer"
        for run in reversed(self._runs):
            first = max(run.start, oldest)
            t_first = float(self.ring.timestamps_view(first, first + 1)[0])
            if t_onset >= t_first - self._half:
                if t_onset > run.t_last + self._half:
                    return Verdict(marker, Outcome.GAP, reason="it lies in a gap")
                self._plan(marker, run, first)
                return None
            if t_onset >= run.t_first - self._half:
                return Verdict(marker, Outcome.LATE, reason=gone)
        if oldest > 0 and t_onset >= self._t_first_ever - self._half:
            return Verdict(marker, Outcome.LATE, reason=gone)
        return Verdict(marker, Outcome.NO_DATA, reason="it lies before the first sample")

    def _plan(self, marker: Marker, run: _Run, first: int) -> None:
        """Find the sample nearest to the onset; `first` is where to begin to look."""
        times = self.ring.timestamps_view(first, run.stop)
        t_onset = marker.t_onset
        after = bisect_left(times, t_onset - self._slack)
        nearest = min(after, len(times) - 1)
        if after > 0 and t_onset - times[after - 1] <= times[nearest] - t_onset:
            nearest = after - 1
        nearest = min(nearest, len(times) - 1)
        onset = first + nearest
        start = onset - self.n_before
        plan = _Plan(marker, start, float(times[nearest]) - t_onset)
        ready = start + self.n_times
        is_open = run is self._runs[-1]
        if run.is_doubtful:
            plan.outcome, plan.reason = Outcome.GAP, JUMPED
        elif start < self.ring.oldest and start >= run.start:
            plan.outcome, plan.reason = Outcome.LATE, "its samples had left the buffer"
        elif start < run.start and run.number > 0:
            plan.outcome, plan.reason = Outcome.GAP, "samples are missing before its onset: a gap"
        elif not is_open and ready > run.stop:
            plan.outcome, plan.reason = Outcome.GAP, "samples are missing after its onset: a gap"
        elif start < run.start + self._n_settle or start < run.start:
            plan.outcome = Outcome.SETTLING
            plan.reason = (
                f"it begins {(start - run.start) / self.info.sfreq:.2f} s after a start, expected "
                f"at least {self._n_settle / self.info.sfreq:.2f} s for the filter to settle"
            )
        if plan.outcome is not Outcome.DECODED:
            ready = first + after + 1  # known as soon as the onset's place is
        heapq.heappush(self._planned, (max(ready, first + after + 1), marker.index, plan))

    # -- verdicts -------------------------------------------------------------------------------

    def _due(self) -> list[Verdict]:
        verdicts: list[Verdict] = []
        newest = self.ring.n_written
        while self._planned and self._planned[0][0] <= newest:
            plan = heapq.heappop(self._planned)[2]
            verdicts.append(
                self._cut(plan)
                if plan.outcome is Outcome.DECODED
                else Verdict(plan.marker, plan.outcome, reason=plan.reason)
            )
        return verdicts

    def _cut(self, plan: _Plan) -> Verdict:
        """Cut an epoch whose samples are all there, and judge it."""
        stop = plan.start + self.n_times
        kept = self._kept(plan.start, stop)
        problem = self._unusable(plan.start, stop, kept)
        if problem:
            return Verdict(plan.marker, Outcome.ARTIFACT, reason=problem)
        mark = self._mark_over(plan.start, stop)
        if mark:
            reason = f"the recording marks samples of it as unusable ({mark})"
            return Verdict(plan.marker, Outcome.ARTIFACT, reason=reason)
        data, info = self.ring.data_view(plan.start, stop).copy(), self.info
        if self._config.leave_out_share:
            kept = self._spared(data, kept)
        if not kept.all():
            data, info = data[kept], self._part(tuple(kept.tolist()))
        spread = peak_to_peak(data)
        quality = {"ptp_uv": float(spread.max()), "n_bad": 0.0}
        if self._measure is not None:
            quality |= self._measure(plan.start, stop)
        epoch = Epoch(
            data=self._without_baseline(data),
            tmin=self._tmin,
            tmax=self._tmin + (self.n_times - 1) / self.info.sfreq,
            t_onset=plan.marker.t_onset,
            event=plan.marker.label,
            info=info,
            index=plan.marker.index,
            onset_error=plan.onset_error,
            quality=quality,
        )
        config = self._config
        reason = rejection(spread, info, reject_uv=config.reject_uv, flat_uv=config.flat_uv)
        outcome = Outcome.ARTIFACT if reason else Outcome.DECODED
        return Verdict(plan.marker, outcome, epoch, reason)

    def _spared(self, data: Float32, kept: Bool) -> Bool:
        """Channels without the few that alone would refuse the epoch; all where those are many."""
        limits = [self._config.reject_uv.get(kind, math.inf) for kind in self.info.ch_types]
        over = kept & (peak_to_peak(data) > np.array(limits))
        few = np.count_nonzero(over) <= self._config.leave_out_share * np.count_nonzero(kept)
        return kept & ~over if few else kept

    def _mark_over(self, start: int, stop: int) -> str:
        """The mark that refuses samples `start` to `stop`, or ""."""
        if not self._refused:
            return ""
        times = self.ring.timestamps_view(start, stop)
        oldest = float(self.ring.timestamps_view(self.ring.oldest, self.ring.oldest + 1)[0])
        while self._refused and self._refused[0][1] < oldest - self._half:
            self._refused.popleft()
        low, high = float(times[0]) - self._half, float(times[-1]) + self._half
        marks = (mark for first, last, mark in self._refused if first < high and last > low)
        return next(marks, "")

    def _kept(self, start: int, stop: int) -> Bool:
        """Channels that no decision within samples `start` to `stop` left out."""
        kept = np.ones(self.info.n_channels, dtype=bool)
        for k, (first, out) in enumerate(self._left_out):
            is_over = k + 1 < len(self._left_out) and self._left_out[k + 1][0] <= start
            if first < stop and not is_over:
                kept &= ~out
        # All in turn: then none can be spared, and the epoch is judged as it is.
        return kept if kept.any() else np.ones_like(kept)

    def _unusable(self, start: int, stop: int, kept: Bool) -> str:
        """Why the samples cannot be an epoch; empty when they can."""
        rows = [flags for number, flags in self._bad if start <= number < stop]
        found = np.array(rows)[:, kept] if rows else np.zeros((0, 1), dtype=np.uint8)
        n_bad = int(np.count_nonzero(found.any(axis=1)))
        if not n_bad:
            return ""
        names = np.array(self.info.ch_names)[kept][found.any(axis=0)].tolist()
        named = "" if len(names) == self.info.n_channels else f" ({', '.join(names[:8])})"
        if (found == ABSURD).any() and not (found == NOT_FINITE).any():
            return (
                f"{n_bad} of its samples held numbers beyond 10 V, which no electrode gives{named}"
            )
        return f"{n_bad} of its samples held values that were not finite{named}"

    def _part(self, kept: tuple[bool, ...]) -> Info:
        info = self._parts.get(kept)
        if info is None:
            info = self._parts[kept] = Info(
                tuple(name for name, on in zip(self.info.ch_names, kept, strict=True) if on),
                self.info.sfreq,
                tuple(kind for kind, on in zip(self.info.ch_types, kept, strict=True) if on),
            )
        return info

    def _without_baseline(self, data: Float32) -> Float32:
        if self._config.baseline is None:
            return data
        low, high = (
            _nearest_int((edge - self._tmin) * self.info.sfreq) for edge in self._config.baseline
        )
        mean = data[:, low : high + 1].mean(axis=1, dtype=np.float64, keepdims=True)
        result: Float32 = (data - mean).astype(np.float32)
        return result
