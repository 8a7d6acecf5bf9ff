"""Training epochs by the thousand from the virtual brain's own physics.

Owns banks of noise that went through the live path's causal filter, and their assembly into
batches. Filtering is linear, so filtered noise and filtered responses are added instead of
filtering each epoch's sum anew; nothing else differs from the stream of `VirtualBrain` (line
noise, which the filter removes, is left out). Knows nothing of networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import signal

from configs.models import FilterConfig
from models.embedded.encoder_input import (
    N_TIMES,
    SFREQ,
    TMIN,
    interpolation,
    normalise,
    resample,
    robust_scale,
)
from pipeline.electrodes import electrode_names
from pipeline.filters import design
from pipeline.values import Float32, Float64
from pipeline.virtual_brain.background import (
    ALPHA_SHARED,
    BLOCK_SECONDS,
    N_ALPHA,
    SENSOR_UV,
    Drift,
    alpha_mixing,
    background_mixing,
    blink_course,
)
from pipeline.virtual_brain.evoked import (
    CODE_LATENCIES,
    CODE_WIDTHS,
    N_KERNELS,
    WAVE_LATENCIES,
    WAVE_WIDTHS,
    common_moments,
    personal_code,
    trial_variation,
)
from pipeline.virtual_brain.head import blink_field, muscle_fields, oriented, table_leadfield
from pipeline.virtual_brain.noise import Shaper, band_sos, pink_sos, resonator_sos
from pipeline.virtual_brain.sources import CODE, COMMON, N_BACKGROUND
from pipeline.virtual_brain.subject import Subject, draw_subject

RATES = (125.0, 250.0, 500.0)
EXPONENTS = (1.0, 1.1, 1.2, 1.3, 1.4)
ALPHA_HZ = tuple(float(x) for x in np.arange(8.0, 12.6, 0.5))
_EPOCH_SECONDS = 1.0
_SOA = (1.25, 1.4)
_LATENCIES = np.concatenate([CODE_LATENCIES, WAVE_LATENCIES])
_WIDTHS = np.concatenate([CODE_WIDTHS, WAVE_WIDTHS])
_FINE = 8
"""Steps between two native samples in the table of filtered responses."""
_LAG = 0.25
"""Earliest lag from a response's centre in that table, s."""


def _cut(series: Float64, sfreq: float, *, every: float = 1.1) -> Float32:
    """Cut filtered series (n_series, n_times) into baselined epochs on the encoder's grid."""
    n_times = round(_EPOCH_SECONDS * sfreq) + 1
    starts = np.arange(round(12 * sfreq), series.shape[1] - n_times, round(every * sfreq))
    epochs = np.stack([series[:, s : s + n_times] for s in starts], axis=1)
    return _to_grid(epochs.reshape(-1, n_times), sfreq)


def _to_grid(epochs: Float64, sfreq: float) -> Float32:
    n_before = round(-TMIN * sfreq)
    level = epochs[..., : n_before + 1].mean(axis=-1, keepdims=True)
    return resample(epochs - level, sfreq=sfreq, tmin=TMIN).astype(np.float32)


class NoiseBank:
    """Epochs of unit noise of each kind, as the live filter leaves them, for one rate."""

    def __init__(self, sfreq: float, *, seed: int, seconds: float = 240.0) -> None:
        self.sfreq = sfreq
        self.sos = design(FilterConfig(), sfreq)
        self._rng = np.random.default_rng([seed, round(sfreq)])
        n_times = round(seconds * sfreq)
        self.pink = [self._shaped(pink_sos(sfreq, x), 48, n_times) for x in EXPONENTS]
        self.alpha = [self._shaped(resonator_sos(sfreq, x, 1.5), 24, n_times) for x in ALPHA_HZ]
        self.white = self._filtered(self._rng.standard_normal((48, n_times)))
        self.emg = self._shaped(band_sos(sfreq, 20.0, 120.0), 24, n_times)
        self.burst = self._bursts(2000)
        self.blink = self._blinks(3000)
        self.drift = self._drifts(48, n_times)
        self._table = self._response_table()

    def _filtered(self, series: Float64) -> Float32:
        return _cut(np.asarray(signal.sosfilt(self.sos, series, axis=1)), self.sfreq)

    def _shaped(self, sos: Float64, n_series: int, n_times: int) -> Float32:
        white = self._rng.standard_normal((n_series, n_times))
        return self._filtered(Shaper(sos, n_series)(white))

    def _drifts(self, n_series: int, n_times: int) -> Float32:
        n_block = round(BLOCK_SECONDS * self.sfreq)
        drift = Drift(n_series, seconds=n_block / self.sfreq, rng=self._rng)
        knots = [drift.value] + [drift.step(self._rng) for _ in range(n_times // n_block)]
        at = np.arange(n_times) / n_block
        low = np.minimum(at.astype(int), len(knots) - 2)
        values = np.stack(knots, axis=1)
        return self._filtered(values[:, low] + (values[:, low + 1] - values[:, low]) * (at - low))

    def _response_table(self) -> Float32:
        """Each kernel's bell through the filter, by lag from its centre: (n_kernels, n_lags).

        The filter runs at the native rate, once for each of `_FINE` onsets between samples.
        """
        n = round(2.6 * self.sfreq)
        phases = np.arange(_FINE)[:, None] / (_FINE * self.sfreq)
        lags = np.arange(n) / self.sfreq - _LAG + phases
        bells = np.exp(-0.5 * (lags / _WIDTHS[:, None, None]) ** 2)
        filtered = np.asarray(signal.sosfilt(self.sos, bells, axis=-1))
        return filtered.transpose(0, 2, 1).reshape(len(_WIDTHS), -1).astype(np.float32)

    def responses(self, shift: Float64) -> Float32:
        """Look up filtered kernels on the encoder's grid, baselined.

        Parameters
        ----------
        shift : ndarray, shape (n_epochs, n_responses, n_kernels)
            Time 0 of the epoch less the kernel's centre, s.

        Returns
        -------
        ndarray, shape (n_epochs, n_responses, n_kernels, N_TIMES), float32
        """
        times = TMIN + np.arange(N_TIMES) / SFREQ
        at = (shift[..., None] + times + _LAG) * self.sfreq * _FINE
        index = np.clip(at.astype(np.int64), 0, self._table.shape[1] - 2)
        part = np.clip(at - index, 0, 1).astype(np.float32)
        kernel = np.arange(len(_WIDTHS))[:, None]
        low, high = self._table[kernel, index], self._table[kernel, index + 1]
        values = low + (high - low) * part
        values[at < 0] = 0
        level = values[..., : round(-TMIN * SFREQ) + 1].mean(axis=-1, keepdims=True)
        return np.asarray(values - level, dtype=np.float32)

    def _window(self) -> Float64:
        """Times from 2.5 s before onset, so that what came earlier has its after-effects."""
        return np.asarray(-2.5 + np.arange(round(3.3 * self.sfreq) + 1) / self.sfreq)

    def _last_second(self, series: Float64) -> Float32:
        out = np.asarray(signal.sosfilt(self.sos, series, axis=1))
        return _to_grid(out[:, -(round(_EPOCH_SECONDS * self.sfreq) + 1) :], self.sfreq)

    def _blinks(self, n: int) -> Float32:
        starts = self._rng.uniform(-2.0, 0.7, n)
        return self._last_second(blink_course(self._window()[None, :] - starts[:, None]))

    def _bursts(self, n: int) -> Float32:
        times = self._window()
        starts = self._rng.uniform(-1.5, 0.7, n)[:, None]
        lengths = self._rng.uniform(0.4, 1.6, n)[:, None]
        emg = Shaper(band_sos(self.sfreq, 20.0, 120.0), n)(
            self._rng.standard_normal((n, len(times)))
        )
        inside = np.clip((times - starts) / lengths, 0, 1)
        return self._last_second(np.sin(np.pi * inside) ** 2 * emg)


@dataclass(frozen=True, slots=True, eq=False)
class PoolEpochs:
    """Epochs of one person, and the timing that made each.

    `channels` (n, n_channels, N_TIMES), float32, against infinity, microvolts; `scale`, `shift`
    (n,): what happens at t seconds in the average person happened at `scale * t + shift`.
    """

    channels: Float32
    scale: Float64
    shift: Float64


@dataclass(frozen=True, slots=True, eq=False)
class _Person:
    """What of a subject does not depend on the montage: rows are all electrodes of the table."""

    subject: Subject
    brain: Float32
    alpha: Float32
    code_field: Float32
    common_field: Float32
    code: Float32


@lru_cache(maxsize=1)
def _everywhere() -> tuple[dict[str, int], Float64, Float64, Float64]:
    names = electrode_names()
    rows = {name: i for i, name in enumerate(names)}
    return rows, table_leadfield(names), blink_field(names), muscle_fields(names)


@lru_cache(maxsize=1200)
def _person(number: int) -> _Person:
    subject = draw_subject(number)
    field = oriented(_everywhere()[1], subject.orientations)
    whole = np.eye(len(field))
    alpha = alpha_mixing(field, whole, subject)
    shared = ALPHA_SHARED * alpha.sum(axis=1, keepdims=True)
    return _Person(
        subject=subject,
        brain=background_mixing(field, whole, subject).astype(np.float32),
        alpha=np.c_[np.sqrt(1 - ALPHA_SHARED**2) * alpha, shared].astype(np.float32),
        code_field=field[:, CODE].astype(np.float32),
        common_field=(field[:, COMMON] @ common_moments(subject)).astype(np.float32),
        code=personal_code(subject).astype(np.float32),
    )


class EpochPool:
    """Makes batches of epochs of virtual people.

    Parameters
    ----------
    seed : int
        Of the noise banks; batches take their own generator.
    rates : sequence of float
        Native rates, Hz.
    """

    def __init__(
        self, *, seed: int, rates: Sequence[float] = RATES, seconds: float = 240.0
    ) -> None:
        self._banks = {rate: NoiseBank(rate, seed=seed, seconds=seconds) for rate in rates}

    def channels(
        self,
        *,
        rng: np.random.Generator,
        ch_names: tuple[str, ...],
        sfreq: float,
        subject_number: int,
        embeddings: Float32,
        snr: Float64,
    ) -> PoolEpochs:
        """Make epochs of one person under one montage.

        Parameters
        ----------
        embeddings : ndarray, shape (n_epochs, N_FEATURES)
        snr : ndarray, shape (n_epochs,)
        """
        bank, person = self._banks[sfreq], _person(subject_number)
        index, _, eyes, muscles = _everywhere()
        rows = [index[name] for name in ch_names]
        n = len(embeddings)
        data = self._noise(rng, bank, person, rows, n)
        evoked, jitter = self._evoked(rng, bank, person, rows, embeddings=embeddings, snr=snr)
        data += evoked
        data += self._artifacts(
            rng, bank, person.subject, eyes=eyes[rows], muscles=muscles[rows], n=n
        )
        scale = np.full(n, person.subject.latency_scale)
        return PoolEpochs(data, scale, person.subject.latency_shift + jitter)

    @staticmethod
    def _draw(rng: np.random.Generator, bank: Float32, shape: tuple[int, ...]) -> Float32:
        return bank[rng.integers(len(bank), size=shape)]

    def _noise(
        self, rng: np.random.Generator, bank: NoiseBank, person: _Person, rows: list[int], n: int
    ) -> Float32:
        subject = person.subject
        slope = int(np.argmin(np.abs(np.array(EXPONENTS) - subject.exponent)))
        rhythm = int(np.argmin(np.abs(np.array(ALPHA_HZ) - subject.alpha_hz)))
        data = person.brain[rows] @ self._draw(rng, bank.pink[slope], (n, N_BACKGROUND))
        data += person.alpha[rows] @ self._draw(rng, bank.alpha[rhythm], (n, N_ALPHA + 1))
        data += np.float32(SENSOR_UV) * self._draw(rng, bank.white, (n, len(rows)))
        data += self._draw(rng, bank.drift, (n, len(rows)))
        return np.asarray(data, dtype=np.float32)

    def _evoked(
        self,
        rng: np.random.Generator,
        bank: NoiseBank,
        person: _Person,
        rows: list[int],
        *,
        embeddings: Float32,
        snr: Float64,
    ) -> tuple[Float32, Float64]:
        """Responses, and each one's own latency jitter, s."""
        n = len(embeddings)
        variation = [trial_variation(rng) for _ in range(2 * n)]
        gain, jitter = (np.array(x).reshape(n, 2) for x in zip(*variation, strict=True))
        # Column 0: this picture, its onset between two samples; column 1: the one before, whose
        # slow after-effect in a causal high-pass reaches into this epoch.
        since = rng.uniform(-0.5, 0.5, (n, 2)) / bank.sfreq
        since[:, 1] += rng.uniform(*_SOA, n)
        subject = person.subject
        centres = _LATENCIES * subject.latency_scale + subject.latency_shift
        shift = since[:, :, None] - centres - jitter[:, :, None]
        grid = bank.responses(shift) * gain[:, :, None, None].astype(np.float32)
        code = grid[:, :, :N_KERNELS] * snr[:, None, None, None].astype(np.float32)
        both = np.stack([embeddings, embeddings[rng.permutation(n)]], axis=1)
        moments = np.einsum("slf,nwf->nswl", person.code, both, optimize=True)
        sources = moments.reshape(n, -1, 2 * N_KERNELS) @ code.reshape(n, 2 * N_KERNELS, -1)
        waves = person.common_field[rows] @ grid[:, :, N_KERNELS:].sum(axis=1)
        fields = np.asarray(person.code_field[rows] @ sources + waves, dtype=np.float32)
        return fields, jitter[:, 0]

    def _artifacts(
        self,
        rng: np.random.Generator,
        bank: NoiseBank,
        subject: Subject,
        *,
        eyes: Float64,
        muscles: Float64,
        n: int,
    ) -> Float32:
        n_muscles = muscles.shape[1]
        emg = 0.05 * self._draw(rng, bank.emg, (n, n_muscles))
        # A burst or blink counts when it starts within about 2.5 s before the epoch's end.
        for i in np.flatnonzero(rng.random(n) < subject.bursts_per_minute / 60 * 2.2):
            emg[i, rng.integers(n_muscles)] += self._draw(rng, bank.burst, ())
        data = (subject.muscle_uv * muscles).astype(np.float32) @ emg
        field = (subject.blink_uv * eyes).astype(np.float32)
        for i in np.flatnonzero(rng.random(n) < subject.blinks_per_minute / 60 * 2.7):
            data[i] += field[:, None] * self._draw(rng, bank.blink, ())
        return np.asarray(data, dtype=np.float32)


def network_input(channels: Float32, ch_names: tuple[str, ...]) -> tuple[Float32, Float32]:
    """Turn epochs (n, n_channels, N_TIMES) into the network's batch, as `prepare` does for one."""
    centred = channels - channels.mean(axis=1, keepdims=True)
    scale = np.median(robust_scale(centred), axis=-1)
    bridge = interpolation(ch_names)
    return normalise(bridge.matrix @ centred, scale, len(ch_names), bridge.coverage)


__all__ = ["N_TIMES", "EpochPool", "NoiseBank", "PoolEpochs", "network_input"]
