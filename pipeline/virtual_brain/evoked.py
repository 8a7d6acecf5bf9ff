"""What a picture evokes: the same P1-N1-P2-P3 for every picture, and a pattern that is its own.

Owns the fixed code from embedding to sources and latencies (shared by all people), and how a
person's gain, latencies and rotations bend it. Knows nothing of background noise or streams.

With `snr` 0 nothing depends on the embedding any more; the common response stays, as a response
to "something appeared" that carries no identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from configs.montages import AVERAGE
from pipeline.errors import ShapeError
from pipeline.values import Float32, Float64, read_only
from pipeline.virtual_brain.head import oriented, reference_matrix
from pipeline.virtual_brain.sources import (
    CODE,
    CODE_UNDER,
    COMMON,
    COMMON_UNDER,
    N_CODE_SOURCES,
)
from pipeline.virtual_brain.subject import N_FEATURES, Subject

CODE_LATENCIES = read_only(
    0.001 * np.array([85, 115, 145, 175, 205, 240, 275, 310, 350, 390, 435, 480, 530, 580])
)
"""Centres of the code's time courses, s after onset."""
CODE_WIDTHS = read_only(np.linspace(0.012, 0.022, len(CODE_LATENCIES)))
"""Standard deviations of the code's time courses, s."""
CODE_NAM = 31.0
"""RMS moment of a code source at its latency, nAm, for a unit embedding and gain 1."""
RESPONSE_SECONDS = 1.0
"""Length of a response, s; nothing happens before `ONSET_SECONDS` (retina to cortex)."""
ONSET_SECONDS = 0.04

_WAVES: tuple[tuple[str, float, float, dict[str, float]], ...] = (
    ("P1", 0.100, 0.014, {"PO7": 18.0, "PO8": 18.0, "O1": 10.0, "O2": 10.0}),
    ("N1", 0.168, 0.019, {"P7": -26.0, "P8": -28.0, "PO7": -12.0, "PO8": -13.0}),
    ("P2", 0.225, 0.026, {"Oz": 14.0, "FCz": 26.0, "PO7": 6.0, "PO8": 6.0}),
    ("P3", 0.380, 0.065, {"Pz": 52.0, "CPz": 34.0}),
)
"""Name, latency (s), width (s) and moments (nAm, outward positive) of the common waves."""
N_WAVES = len(_WAVES)
WAVE_LATENCIES = read_only(np.array([wave[1] for wave in _WAVES]))
WAVE_WIDTHS = read_only(np.array([wave[2] for wave in _WAVES]))
N_KERNELS = len(CODE_LATENCIES)
_CODE_SEED = 64


@cache
def code_matrix() -> Float64:
    """Return the code: moments of (source, latency) for each feature of the embedding.

    Returns
    -------
    ndarray, shape (N_CODE_SOURCES, N_KERNELS, N_FEATURES), float64
        Early latencies weigh occipital sources, 150-250 ms the occipito-temporal ones, later ones
        parietal cortex; its RMS row norm is 1 (times `CODE_NAM` for a unit embedding).
    """
    rng = np.random.default_rng(_CODE_SEED)
    code = rng.standard_normal((N_CODE_SOURCES, N_KERNELS, N_FEATURES)) / np.sqrt(N_FEATURES)
    code *= _weights()[:, :, None]
    return read_only(code / np.sqrt((code**2).sum(axis=2).mean()))


def _weights() -> Float64:
    late = (CODE_LATENCIES - CODE_LATENCIES[0]) / np.ptp(CODE_LATENCIES)
    rows = []
    for name in CODE_UNDER:
        if name.startswith(("O", "PO")):
            rows.append(1.1 - 0.7 * late)
        elif name in {"P7", "P8", "P5", "P6", "TP7", "TP8"}:
            rows.append(0.35 + np.exp(-0.5 * ((CODE_LATENCIES - 0.2) / 0.09) ** 2))
        else:
            rows.append(0.25 + 0.7 * late)
    return np.array(rows)


def personal_code(subject: Subject) -> Float64:
    """Return a person's own code, in nAm: shape (N_CODE_SOURCES, N_KERNELS, N_FEATURES)."""
    turned = code_matrix() @ subject.embedding_rotation
    mixed = np.tensordot(subject.source_rotation, turned, axes=1)
    return np.asarray(CODE_NAM * subject.gain * mixed)


def code_kernels(times: Float64, subject: Subject, *, jitter: float = 0.0) -> Float64:
    """Return the code's time courses at `times` (s from onset): (N_KERNELS, n_times)."""
    return _kernels(times, CODE_LATENCIES, CODE_WIDTHS, subject, jitter)


def common_kernels(times: Float64, subject: Subject, *, jitter: float = 0.0) -> Float64:
    """Return the common waves' time courses at `times` (s from onset): (N_WAVES, n_times)."""
    return _kernels(times, WAVE_LATENCIES, WAVE_WIDTHS, subject, jitter)


def _kernels(
    times: Float64, latencies: Float64, widths: Float64, subject: Subject, jitter: float
) -> Float64:
    centres = latencies * subject.latency_scale + subject.latency_shift + jitter
    courses = np.exp(-0.5 * ((times - centres[:, None]) / widths[:, None]) ** 2)
    opening = np.clip((times - ONSET_SECONDS) / 0.03, 0, 1)
    closing = np.clip((RESPONSE_SECONDS - times) / 0.1, 0, 1)
    return np.asarray(courses * opening**2 * (3 - 2 * opening) * closing)


def common_moments(subject: Subject) -> Float64:
    """Return the waves' moments at the common sources, nAm: (n_common, N_WAVES)."""
    moments = np.zeros((len(COMMON_UNDER), N_WAVES))
    for column, (_, _, _, under) in enumerate(_WAVES):
        for name, moment in under.items():
            moments[COMMON_UNDER.index(name), column] = moment
    return subject.gain * moments


class EvokedModel:
    """A person's evoked responses under one montage (parameters as in `Background`)."""

    def __init__(
        self,
        *,
        ch_names: Sequence[str],
        subject: Subject,
        leadfield: Float64,
        snr: float = 1.0,
        reference: str | Sequence[str] = AVERAGE,
    ) -> None:
        field = reference_matrix(ch_names, reference) @ oriented(leadfield, subject.orientations)
        self._subject = subject
        self._snr = snr
        self._common = field[:, COMMON] @ common_moments(subject)
        self._code_field = field[:, CODE]
        self._code = personal_code(subject)

    def response(
        self,
        times: Float64,
        embedding: Float32 | Float64 | None,
        *,
        rng: np.random.Generator | None = None,
    ) -> Float64:
        """Return one response.

        Parameters
        ----------
        times : ndarray, shape (n_times,)
            s from the stimulus's onset, on any grid.
        embedding : ndarray, shape (N_FEATURES,), or None
            Unit vector of the picture; None gives the common response alone.
        rng : numpy.random.Generator, optional
            Of the trial's own gain and latency; None: the person's typical response.

        Returns
        -------
        ndarray, shape (n_channels, n_times), float64, microvolts
        """
        gain, jitter = trial_variation(rng)
        waves = self._common @ common_kernels(times, self._subject, jitter=jitter)
        if embedding is None or self._snr == 0:
            return np.asarray(gain * waves)
        if embedding.shape != (N_FEATURES,):
            raise ShapeError(
                f"embedding has shape {embedding.shape}, expected ({N_FEATURES},): "
                "give one row of the gallery's embeddings."
            )
        moments = self._code @ embedding.astype(np.float64)
        pattern = self._code_field @ moments @ code_kernels(times, self._subject, jitter=jitter)
        return np.asarray(gain * (waves + self._snr * pattern))


def trial_variation(rng: np.random.Generator | None) -> tuple[float, float]:
    """Draw one trial's factor on the response and its latency jitter (s)."""
    if rng is None:
        return 1.0, 0.0
    normal = np.clip(rng.standard_normal(2), -2.5, 2.5)
    return float(np.exp(0.15 * normal[0])), float(0.006 * normal[1])
