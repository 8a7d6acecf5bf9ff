"""What a virtual head gives without any stimulus: brain noise, alpha, eyes, muscles, line, drift.

Owns the running background of one montage, made in blocks of a fixed length from one seeded
generator, so that how the stream is read cannot change it. Knows nothing of stimuli.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from configs.montages import AVERAGE
from pipeline.values import Float64
from pipeline.virtual_brain.head import (
    blink_field,
    muscle_fields,
    oriented,
    reference_labels,
    reference_matrix,
)
from pipeline.virtual_brain.noise import Shaper, band_sos, pink_sos, resonator_sos
from pipeline.virtual_brain.sources import ALPHA, BACKGROUND, N_BACKGROUND
from pipeline.virtual_brain.subject import Subject

BLOCK_SECONDS = 0.2
BURN_IN_SECONDS = 8.0
"""Run before the first sample, so that the slowest shaping filter has forgotten its start."""
SENSOR_UV = 0.6
"""White noise of electrode and amplifier, RMS, microvolts."""
LINE_HZ = 50.0
DRIFT_UV = 15.0
"""Standard deviation of the drift, microvolts."""
_DRIFT_SECONDS = 20.0
_SMOOTH_SECONDS = 1.0
_BLINK_SECONDS = 0.5


def background_mixing(oriented_field: Float64, referencing: Float64, subject: Subject) -> Float64:
    """Return what N_BACKGROUND unit series give at the channels, microvolts.

    Scaled so that the mean RMS over channels against the *average* reference is the subject's
    `background_uv`; shape (n_channels, N_BACKGROUND).
    """
    return _scaled_mixing(oriented_field[:, BACKGROUND], referencing, subject.background_uv, "mean")


def alpha_mixing(oriented_field: Float64, referencing: Float64, subject: Subject) -> Float64:
    """Return what the alpha dipoles' unit series give: `alpha_uv` RMS at the best channel."""
    return _scaled_mixing(oriented_field[:, ALPHA], referencing, subject.alpha_uv, "max")


ALPHA_SHARED = 0.7
"""Part of an alpha dipole's amplitude that all alpha dipoles share."""
N_ALPHA = ALPHA.stop - ALPHA.start
_MOMENT_NAM = {"mean": 1.91, "max": 1.31}
"""Moments that give 1 uV RMS on a whole cap: worked out once on 63 channels, the same for every
montage, so that a small montage is not scaled up."""


def _scaled_mixing(field: Float64, referencing: Float64, rms_uv: float, kind: str) -> Float64:
    return np.asarray(referencing @ field * (_MOMENT_NAM[kind] * rms_uv))


class Background:
    """The endless background of one person under one montage.

    Parameters
    ----------
    ch_names : sequence of str
    sfreq : float
        Hz.
    subject : Subject
    leadfield : ndarray, shape (n_channels + n_extra, N_SOURCES, 3)
        Of `ch_names` and then of `reference_labels(ch_names, reference)`.
    seed : int
        Of everything random.
    reference : str or sequence of str
        `"average"`, or labels whose mean is subtracted.
    """

    def __init__(
        self,
        *,
        ch_names: Sequence[str],
        sfreq: float,
        subject: Subject,
        leadfield: Float64,
        seed: int,
        reference: str | Sequence[str] = AVERAGE,
    ) -> None:
        everything = (*ch_names, *reference_labels(ch_names, reference))
        referencing = reference_matrix(ch_names, reference)
        field = oriented(leadfield, subject.orientations)
        self.n_block = max(8, round(BLOCK_SECONDS * sfreq))
        self._sfreq = sfreq
        self._subject = subject
        self._rng = np.random.default_rng([seed, subject.number, 1])
        self._brain = background_mixing(field, referencing, subject)
        self._alpha = alpha_mixing(field, referencing, subject)
        self._eyes = referencing @ blink_field(everything) * subject.blink_uv
        self._muscles = referencing @ muscle_fields(everything) * subject.muscle_uv
        n_channels, n_muscles = self._muscles.shape
        self._pink = Shaper(pink_sos(sfreq, subject.exponent), N_BACKGROUND)
        self._rhythm = Shaper(resonator_sos(sfreq, subject.alpha_hz, 1.5), N_ALPHA + 1)
        self._emg = Shaper(band_sos(sfreq, 20.0, 120.0), n_muscles)
        self._line_uv = np.asarray(self._rng.uniform(0.5, 3.0, n_channels))
        self._line_phase = np.asarray(self._rng.uniform(0, 0.4, n_channels))
        self._offset = 100.0 * np.asarray(self._rng.standard_normal(n_channels))
        self._drift = Drift(n_channels, seconds=self.n_block / sfreq, rng=self._rng)
        self._blinks: list[float] = []
        self._bursts: list[tuple[float, float, int]] = []
        n_burn = int(np.ceil(BURN_IN_SECONDS / BLOCK_SECONDS))
        self._start = -n_burn * self.n_block
        for _ in range(n_burn):
            self.next_block()

    def next_block(self) -> Float64:
        """Make the next `n_block` samples: shape (n_channels, n_block), float64, microvolts."""
        index = self._start + np.arange(self.n_block)
        self._start += self.n_block
        times = index / self._sfreq
        block = self._brain @ self._pink(self._white(N_BACKGROUND))
        block += self._alpha @ self._alpha_sources()
        block += SENSOR_UV * self._white(len(block))
        block += np.outer(self._eyes, self._blink_course(times))
        block += self._muscles @ self._muscle_course(times)
        block += self._line(times)
        block += self._slow()
        return block

    def _white(self, n_series: int) -> Float64:
        return self._rng.standard_normal((n_series, self.n_block))

    def _alpha_sources(self) -> Float64:
        series = self._rhythm(self._white(N_ALPHA + 1))
        own = np.sqrt(1 - ALPHA_SHARED**2)
        return np.asarray(ALPHA_SHARED * series[-1] + own * series[:-1])

    def _happens(self, per_minute: float) -> bool:
        return bool(self._rng.random() < per_minute / 60 * self.n_block / self._sfreq)

    def _blink_course(self, times: Float64) -> Float64:
        onset = times[0] + self._rng.uniform(0, BLOCK_SECONDS)
        if self._happens(self._subject.blinks_per_minute):
            self._blinks.append(onset)
        self._blinks = [t for t in self._blinks if t + _BLINK_SECONDS > times[0]]
        course = np.zeros(len(times))
        for t in self._blinks:
            course += blink_course(times - t)
        return course

    def _muscle_course(self, times: Float64) -> Float64:
        n_muscles = self._muscles.shape[1]
        emg = self._emg(self._white(n_muscles))
        which = int(self._rng.integers(n_muscles))
        end = times[0] + self._rng.uniform(0.4, 1.6)
        if self._happens(self._subject.bursts_per_minute):
            self._bursts.append((times[0], end, which))
        self._bursts = [burst for burst in self._bursts if burst[1] > times[0]]
        envelope = np.full((n_muscles, len(times)), 0.05)
        for start, stop, muscle in self._bursts:
            inside = np.clip((times - start) / (stop - start), 0, 1)
            envelope[muscle] += np.sin(np.pi * inside) ** 2
        return np.asarray(envelope * emg)

    def _line(self, times: Float64) -> Float64:
        phase = 2 * np.pi * LINE_HZ * times + self._line_phase[:, None]
        wave = np.sin(phase)
        if self._sfreq > 6.5 * LINE_HZ:
            wave += 0.2 * np.sin(3 * phase)
        return np.asarray(self._line_uv[:, None] * wave)

    def _slow(self) -> Float64:
        """Electrode drift around a constant offset, straight within a block."""
        before = self._drift.value
        after = self._drift.step(self._rng)
        part = (np.arange(self.n_block) + 1) / self.n_block
        drift = before[:, None] + (after - before)[:, None] * part
        return np.asarray(self._offset[:, None] + drift)


class Drift:
    """Slow drift of `n` electrodes: a random walk that comes back, smoothed over a second.

    Unsmoothed, its power would reach into the evoked responses' band, which an electrode that
    settles does not do. `seconds` is the time from one `step` to the next.
    """

    def __init__(self, n: int, *, seconds: float, rng: np.random.Generator) -> None:
        self._keep = np.exp(-seconds / _DRIFT_SECONDS)
        self._follow = 1 - np.exp(-seconds / _SMOOTH_SECONDS)
        self._target: Float64 = DRIFT_UV * np.asarray(rng.standard_normal(n))
        self.value = self._target.copy()
        """Microvolts, shape (n,)."""

    def step(self, rng: np.random.Generator) -> Float64:
        """Move on and return the new value."""
        kick = DRIFT_UV * np.sqrt(1 - self._keep**2) * rng.standard_normal(len(self.value))
        self._target = self._keep * self._target + kick
        self.value = self.value + self._follow * (self._target - self.value)
        return self.value


def blink_course(since: Float64) -> Float64:
    """Return a blink's time course, peak 1 at 0.15 s after its start (`since`, s)."""
    width = np.where(since < 0.15, 0.045, 0.085)
    return np.asarray(np.exp(-0.5 * ((since - 0.15) / width) ** 2) * (np.abs(since - 0.2) < 0.3))
