"""Who a virtual person is: every number that makes one differ from the next.

Owns how those numbers are drawn from the person's number alone, and how far people are spread
(argued in `docs/virtual_headset.md`, fixed before anything was trained). Knows nothing of
electrodes or time series.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.linalg import expm

from pipeline.values import Float64, read_only
from pipeline.virtual_brain.sources import N_CODE_SOURCES, N_SOURCES, source_orientations

N_FEATURES = 64
"""Size of the stimulus embedding that the code carries."""
SOURCE_ANGLE = 0.50
"""Typical angle by which a person's source patterns are turned from the average, rad."""
EMBEDDING_ANGLE = 0.40
"""Typical angle by which a person's embedding axes are turned from the average, rad."""
TILT = 0.22
"""Typical tilt of a person's dipoles from the average head's, rad."""
LATENCY_SPREAD = 0.010
"""Standard deviation of a person's latency shift, s."""

_SALT = 20_260_101


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One virtual person.

    Attributes
    ----------
    number : int
        The person's number; everything else follows from it.
    gain : float
        Factor on the evoked responses.
    latency_shift : float
        Added to every latency, s.
    latency_scale : float
        Factor on every latency.
    source_rotation : ndarray, shape (N_CODE_SOURCES, N_CODE_SOURCES)
        Mixes the source patterns of the code; orthogonal.
    embedding_rotation : ndarray, shape (N_FEATURES, N_FEATURES)
        Turns the embedding before the code reads it; orthogonal.
    orientations : ndarray, shape (N_SOURCES, 3)
        Unit vectors of the person's dipoles.
    background_uv, alpha_uv : float
        Typical RMS of 1/f background and of posterior alpha, microvolts at 0.5-40 Hz.
    exponent : float
        Slope of the background's power, 1/f**exponent.
    alpha_hz : float
        Centre of the alpha rhythm, Hz.
    blinks_per_minute, blink_uv : float
        Rate of blinks and their peak at Fp1/Fp2, microvolts.
    bursts_per_minute, muscle_uv : float
        Rate of muscle bursts and their RMS beside the muscle, microvolts.
    """

    number: int
    gain: float
    latency_shift: float
    latency_scale: float
    source_rotation: Float64
    embedding_rotation: Float64
    orientations: Float64
    background_uv: float
    alpha_uv: float
    exponent: float
    alpha_hz: float
    blinks_per_minute: float
    blink_uv: float
    bursts_per_minute: float
    muscle_uv: float


def _rotation(rng: np.random.Generator, n: int, angle: float) -> Float64:
    """Draw an orthogonal matrix that turns a typical vector by about `angle` rad."""
    noise = rng.standard_normal((n, n))
    skew = (noise - noise.T) / np.sqrt(2 * n)
    return read_only(np.asarray(expm(angle * skew), dtype=np.float64))


def _tilted(rng: np.random.Generator) -> Float64:
    turned = source_orientations() + TILT * rng.standard_normal((N_SOURCES, 3)) / np.sqrt(2)
    return read_only(turned / np.linalg.norm(turned, axis=1, keepdims=True))


@lru_cache(maxsize=64)
def draw_subject(number: int) -> Subject:
    """Draw a virtual person.

    Parameters
    ----------
    number : int
        0-999 are the pool that encoders are trained on; 1000 and above were never trained on.

    Returns
    -------
    Subject
        The same for the same number, on every machine.
    """
    rng = np.random.default_rng([_SALT, number])

    def lognormal(median: float, sigma: float) -> float:
        return float(median * np.exp(sigma * np.clip(rng.standard_normal(), -2, 2)))

    return Subject(
        number=number,
        gain=lognormal(1.0, 0.10),
        latency_shift=float(LATENCY_SPREAD * rng.standard_normal()),
        latency_scale=float(1 + 0.04 * np.clip(rng.standard_normal(), -2, 2)),
        source_rotation=_rotation(rng, N_CODE_SOURCES, SOURCE_ANGLE),
        embedding_rotation=_rotation(rng, N_FEATURES, EMBEDDING_ANGLE),
        orientations=_tilted(rng),
        background_uv=lognormal(7.0, 0.10),
        alpha_uv=lognormal(3.5, 0.35),
        exponent=float(rng.uniform(1.0, 1.4)),
        alpha_hz=float(np.clip(10 + 0.9 * rng.standard_normal(), 8, 12.5)),
        blinks_per_minute=float(rng.uniform(4, 14)),
        blink_uv=float(rng.uniform(70, 140)),
        bursts_per_minute=float(rng.uniform(0.5, 3)),
        muscle_uv=float(rng.uniform(6, 18)),
    )
