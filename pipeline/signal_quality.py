"""How good each electrode's signal is, once a second of stream time, with a reason.

Owns the measures (flat, railed, line noise, muscle, pops), their limits and the verdicts by
sample number. Looks at raw samples, before the filter hides what is wrong with them. Knows
nothing of streams: the live path says where a gap-free run starts. Windows are counted from the
first sample of a run and never cross a border, so any cut of the stream gives the same verdicts.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.ring import Ring
from pipeline.values import Float32, Info
from pipeline.volumes import KIND

FLAT_UV = 0.5
"""An electrode with less peak to peak in a second is not connected, or shorted, microvolts."""
RAIL_UV = 100_000.0
"""A flat channel this far out sits at its amplifier's rail (Cyton, gain 24: 187 500 microvolts)."""
RAIL_SHARE = 0.10
"""Part of the samples that stand exactly at the second's highest or lowest value, when clipped."""
RAIL_LEAST_UV = 50.0
"""Below this peak to peak, equal extremes are the converter's steps, microvolts."""
LINE_RATIO = (0.85, 0.98)
"""Part of the amplitude that is line noise: doubtful, bad (the notch cannot be trusted)."""
LINE_UV = (15.0, 60.0)
"""Line noise below this does no harm, whatever its part: doubtful, bad; RMS, microvolts."""
MUSCLE_HZ = (65.0, 150.0)
"""Band of muscles, above the EEG's and beside the line's, Hz."""
MUSCLE_UV = (12.0, 40.0)
"""RMS in that band: doubtful, bad, microvolts."""
POP_UV = 75.0
"""A step from sample to sample that no brain makes, microvolts."""
POP_FACTOR = 10.0
"""A pop is this many times the second's mean step as well."""
MANY_POPS = 3
"""As many pops in a second make it bad, fewer doubtful."""
MOVEMENT_UV = 1000.0
"""Peak to peak in one second beyond this is movement, microvolts."""
MOSTLY = 0.5
"""A channel that is bad for a larger part of the session is named in its summary."""


class Grade(StrEnum):
    """A verdict on one channel."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    BAD = "bad"


GRADES: Final[Mapping[Grade, float]] = {Grade.GOOD: 1.0, Grade.DOUBTFUL: 0.5, Grade.BAD: 0.0}
"""Grades as numbers, for programs that take no words."""


@dataclass(frozen=True, slots=True)
class ChannelQuality:
    """One channel's newest second.

    Attributes
    ----------
    ch_name : str
    ptp_uv : float
        Peak to peak, microvolts.
    railed : float
        Part of the samples at the extremes, 0 to 1.
    line_ratio : float
        Line noise over the whole amplitude, 0 to 1.
    line_uv, muscle_uv : float
        RMS, microvolts; 0 where the rate does not reach that high.
    n_pops : int
    level_uv : float
        The newest value, microvolts.
    grade : Grade
    reason : str
        A few words; empty when good.
    """

    ch_name: str
    ptp_uv: float
    railed: float
    line_ratio: float
    line_uv: float
    muscle_uv: float
    n_pops: int
    level_uv: float
    grade: Grade = Grade.GOOD
    reason: str = ""


@dataclass(frozen=True, slots=True)
class QualityShare:
    """How often one channel was not good; `reason` is the commonest one of its bad seconds."""

    ch_name: str
    bad: float
    doubtful: float
    reason: str = ""


class SignalQuality:
    """Judges the channels of a stream, second by second.

    Parameters
    ----------
    info : Info
    ring : Ring
        Raw microvolts; must hold at least two seconds.
    line_freqs : tuple of float
        Hz; empty: 50 and 60.

    Attributes
    ----------
    applies : bool
        Whether the channels are electrodes: of voxels none of the measures means anything, and
        nothing is judged.
    newest : tuple of ChannelQuality
        One a channel; empty before the first whole second, and where nothing is judged.
        Replaced as a whole: any thread may read it.
    n_seconds : int
        Seconds that were judged.
    """

    def __init__(self, info: Info, ring: Ring, *, line_freqs: tuple[float, ...] = ()) -> None:
        self.newest: tuple[ChannelQuality, ...] = ()
        self.n_seconds = 0
        self.applies = KIND not in info.ch_types
        self._info = info
        self._ring = ring
        n_window = self._n_window = max(8, round(info.sfreq))
        self._run_start = self._next = 0
        # Number after the window's last sample, and which channels were bad in it.
        self._past: deque[tuple[int, NDArray[np.bool_]]] = deque(
            maxlen=ring.capacity // n_window + 2
        )
        self._n_bad = np.zeros(info.n_channels, dtype=np.int64)
        self._n_doubtful = np.zeros(info.n_channels, dtype=np.int64)
        self._reasons: list[Counter[str]] = [Counter() for _ in info.ch_names]
        taper = np.hanning(n_window + 1)[:-1].astype(np.float32)
        self._taper = taper[:, np.newaxis]
        self._power_scale = 2.0 / (n_window * float(np.square(taper).sum()))
        freqs = np.fft.rfftfreq(n_window, 1 / info.sfreq)
        lines = np.array([f for f in line_freqs or (50.0, 60.0) if f < info.sfreq / 2 - 2])
        near = [np.abs(freqs - line) <= 2.0 for line in lines]
        harmonics = [np.abs(freqs - k * line) <= 2.0 for line in lines for k in (1, 2, 3)]
        beside = ~np.any(harmonics, axis=0) if harmonics else np.ones(len(freqs), dtype=bool)
        top = min(MUSCLE_HZ[1], 0.45 * info.sfreq)
        self._lines = [np.flatnonzero(flags) for flags in near]
        self._muscle = np.flatnonzero((freqs >= MUSCLE_HZ[0]) & (freqs <= top) & beside)
        self._whole = int(np.searchsorted(freqs, 1.5))

    def start_run(self) -> None:
        """Start a gap-free run with the next sample of the ring."""
        self._run_start = self._next = self._ring.n_written

    def update(self) -> None:
        """Judge every whole second that the ring has got since the last call."""
        n_written = self._ring.n_written if self.applies else 0
        while self._next + self._n_window <= n_written:
            self._judge(self._next)
            self._next += self._n_window

    def n_bad_channels(self, start: int, stop: int) -> int:
        """Channels that were bad in a second that ended within samples `start` to `stop`.

        Of a shorter stretch, in the last second that ended before it. Never looks past `stop`,
        so that an epoch gets the same number however its samples came.
        """
        found: NDArray[np.bool_] | None = None
        for end, bad in reversed(self._past):
            if end > stop or (found is not None and end <= start):
                continue
            if end <= start:
                return int(bad.sum())
            found = bad if found is None else found | bad
        return 0 if found is None else int(found.sum())

    def shares(self) -> tuple[QualityShare, ...]:
        """How often each channel was bad or doubtful; empty before the first second."""
        n_seconds = self.n_seconds
        if not n_seconds:
            return ()
        return tuple(
            QualityShare(
                name,
                int(self._n_bad[i]) / n_seconds,
                int(self._n_doubtful[i]) / n_seconds,
                next((word for word, _ in self._reasons[i].most_common(1)), ""),
            )
            for i, name in enumerate(self._info.ch_names)
        )

    def _judge(self, start: int) -> None:
        """Measure and judge the second that begins with sample `start`."""
        stop = start + self._n_window
        before = max(start - 1, self._run_start, self._ring.oldest)
        rows = self._ring.data_view(before, stop).T
        newest = tuple(_graded(one) for one in self._measure(rows, rows[start - before :]))
        bad = np.array([each.grade is Grade.BAD for each in newest])
        self._n_bad += bad
        self._n_doubtful += [each.grade is Grade.DOUBTFUL for each in newest]
        for i in np.flatnonzero(bad).tolist():
            self._reasons[i][newest[i].reason.split(":")[0]] += 1
        self._past.append((stop, bad))
        self.n_seconds += 1
        self.newest = newest

    def _measure(self, rows: Float32, window: Float32) -> list[ChannelQuality]:
        """Measure each channel, without a grade yet.

        Parameters
        ----------
        rows : ndarray, shape (n_times or n_times + 1, n_channels)
            The window, after the sample before it if that belongs to the run.
        window : ndarray, shape (n_times, n_channels), microvolts
        """
        high, low = window.max(axis=0), window.min(axis=0)
        ptp = high - low
        at_edge = np.count_nonzero((window == high) | (window == low), axis=0) / len(window)
        railed = np.where(ptp >= RAIL_LEAST_UV, at_edge, 0.0)
        steps = np.abs(np.diff(rows, axis=0))
        limit = np.maximum(POP_UV, POP_FACTOR * steps.mean(axis=0))
        pops = np.count_nonzero(steps > limit, axis=0)
        centred = window - window[:1]
        centred -= centred.mean(axis=0)
        centred *= self._taper
        from scipy import fft  # the window imports this module, and needs none of SciPy to stand

        spectrum = fft.rfft(centred, axis=0, overwrite_x=True)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        power *= self._power_scale
        whole = np.maximum(power[self._whole :].sum(axis=0), 1e-9)
        line = np.zeros(len(ptp), dtype=np.float32)
        for bins in self._lines:
            line = np.maximum(line, power[bins].sum(axis=0))
        muscle = power[self._muscle].sum(axis=0)
        ratio = np.minimum(1.0, np.sqrt(line / whole))
        columns = (ptp, railed, ratio, np.sqrt(line), np.sqrt(muscle), pops, window[-1])
        values = zip(*(column.tolist() for column in columns), strict=True)
        return [
            ChannelQuality(name, *each)
            for name, each in zip(self._info.ch_names, values, strict=True)
        ]


def _bad(one: ChannelQuality) -> str:
    """Why a channel cannot be used; empty when it can."""
    if one.ptp_uv < FLAT_UV:
        if abs(one.level_uv) >= RAIL_UV:
            return f"railed: stands at {one.level_uv / 1000:.0f} mV"
        return f"flat: swings {one.ptp_uv:.2g} µV in a second"
    if one.railed >= RAIL_SHARE:
        return f"railed: {one.railed:.0%} of the samples at the limits"
    if one.n_pops >= MANY_POPS:
        return f"pops: {one.n_pops} in a second"
    if one.line_ratio >= LINE_RATIO[1] and one.line_uv >= LINE_UV[1]:
        return f"line noise: {one.line_uv:.0f} µV, {one.line_ratio:.0%} of the signal"
    if one.muscle_uv >= MUSCLE_UV[1]:
        return f"muscle: {one.muscle_uv:.0f} µV above {MUSCLE_HZ[0]:.0f} Hz"
    return ""


def _doubt(one: ChannelQuality) -> str:
    """Why a channel that can be used is not good; empty when it is."""
    if one.n_pops:
        return f"pops: {one.n_pops} in a second"
    if one.ptp_uv >= MOVEMENT_UV:
        return f"movement: swings {one.ptp_uv:.0f} µV in a second"
    if one.line_ratio >= LINE_RATIO[0] and one.line_uv >= LINE_UV[0]:
        return f"line noise: {one.line_uv:.0f} µV, {one.line_ratio:.0%} of the signal"
    if one.muscle_uv >= MUSCLE_UV[0]:
        return f"muscle: {one.muscle_uv:.0f} µV above {MUSCLE_HZ[0]:.0f} Hz"
    return ""


def _graded(one: ChannelQuality) -> ChannelQuality:
    """Judge one channel's measures: the worst grade, with its first reason."""
    reason = _bad(one)
    if reason:
        return replace(one, grade=Grade.BAD, reason=reason)
    reason = _doubt(one)
    return replace(one, grade=Grade.DOUBTFUL, reason=reason) if reason else one


def mostly_bad(shares: tuple[QualityShare, ...]) -> str:
    """Name the channels that were bad most of the time, in one sentence; empty when none was."""
    worst = sorted((each for each in shares if each.bad > MOSTLY), key=lambda each: -each.bad)
    if not worst:
        return ""
    named = ", ".join(f"{each.ch_name} {each.bad:.0%} ({each.reason})" for each in worst[:8])
    more = f" and {len(worst) - 8} more" if len(worst) > 8 else ""
    return (
        f"{len(worst)} of {len(shares)} channels were bad for most of the session: {named}{more}."
    )
