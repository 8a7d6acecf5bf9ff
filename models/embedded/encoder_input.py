"""From an epoch of any labelled montage to what the encoder's network sees.

Owns the fixed grid (64 virtual electrodes, 125 Hz, -0.2 to 0.8 s) and every step towards it:
average reference, bad channels out, polyphase resampling, interpolation over the head, one robust
scale an epoch. NumPy and SciPy only, deterministic; training and live decoding share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache

import numpy as np

from pipeline.electrodes import canonical_name
from pipeline.errors import InfoError
from pipeline.values import Epoch, Float32, Float64, read_only
from pipeline.virtual_brain.head import table_leadfield
from pipeline.virtual_brain.sources import BACKGROUND

SFREQ = 125.0
TMIN, TMAX = -0.2, 0.8
N_TIMES = 126
_VIRTUAL = (
    "Fp1 Fp2 AF7 AF3 AFz AF4 AF8 F7 F5 F3 F1 Fz F2 F4 F6 F8 FT7 FC5 FC3 FC1 FCz FC2 FC4 FC6 "
    "FT8 T7 C5 C3 C1 Cz C2 C4 C6 T8 TP9 TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 TP10 P7 P5 P3 P1 "
    "Pz P2 P4 P6 P8 PO7 PO3 POz PO4 PO8 O1 Oz O2 PO9 PO10"
)
VIRTUAL_NAMES = tuple(_VIRTUAL.split())
N_VIRTUAL = len(VIRTUAL_NAMES)
N_CONDITIONS = N_VIRTUAL + 2
"""Coverage of each virtual electrode, log of the scale, log of the count of channels."""
CLIP = 8.0
"""Largest value after scaling, in robust standard deviations."""
_NOISE = 0.002
"""Variance of the electrodes' own noise against the mean signal variance, in the interpolation."""


@dataclass(frozen=True, slots=True, eq=False)
class Interpolation:
    """What turns a montage's channels into virtual electrodes.

    `matrix` (N_VIRTUAL, n_channels), average reference included; `coverage` (N_VIRTUAL,): the part
    of each virtual electrode's variance that the montage can see, 0 to 1.
    """

    matrix: Float32
    coverage: Float32


@cache
def _kernel_fields() -> Float64:
    """Fields of evenly spread, freely turning dipoles at the virtual electrodes."""
    fields = table_leadfield(VIRTUAL_NAMES)[:, BACKGROUND]
    return read_only(fields.reshape(N_VIRTUAL, -1))


@lru_cache(maxsize=256)
def interpolation(ch_names: tuple[str, ...]) -> Interpolation:
    """Work out the minimum-norm interpolation over the head for a montage.

    The electrodes' covariance under white, evenly spread dipoles in the sphere model serves as
    kernel (Gaussian-process regression over the head): unlike spherical splines it takes any
    count of electrodes and says what it cannot see.
    """
    fields = table_leadfield(ch_names)[:, BACKGROUND].reshape(len(ch_names), -1)
    fields = fields - fields.mean(axis=0)
    target = _kernel_fields() - _kernel_fields().mean(axis=0)
    seen = fields @ fields.T
    seen += _NOISE * np.trace(seen) / len(seen) * np.eye(len(seen))
    cross = target @ fields.T
    matrix = np.linalg.solve(seen, cross.T).T
    matrix = matrix - matrix.mean(axis=1, keepdims=True)
    coverage = (matrix * cross).sum(axis=1) / (target**2).sum(axis=1)
    return Interpolation(
        matrix=read_only(matrix.astype(np.float32)),
        coverage=read_only(np.clip(coverage, 0, 1).astype(np.float32)),
    )


def resample(data: Float32 | Float64, *, sfreq: float, tmin: float) -> Float64:
    """Bring the last axis to the encoder's grid; linear in `data`.

    Parameters
    ----------
    data : ndarray, shape (..., n_times)
        First sample at `tmin` s from onset.
    sfreq : float
        Hz.

    Returns
    -------
    ndarray, shape (..., N_TIMES), float64
        From TMIN at SFREQ; zero where `data` does not reach.
    """
    ratio = Fraction(SFREQ / sfreq).limit_denominator(1000)
    even = np.asarray(data, dtype=np.float64)
    if ratio != 1:
        from scipy import signal  # costs as much as torch to import; most boards' rate needs it

        even = signal.resample_poly(
            even, ratio.numerator, ratio.denominator, axis=-1, padtype="line"
        )
    grid = np.zeros((*even.shape[:-1], N_TIMES))
    shift = round((tmin - TMIN) * SFREQ)
    low, high = max(0, shift), min(N_TIMES, shift + even.shape[-1])
    if low < high:
        grid[..., low:high] = even[..., low - shift : high - shift]
    return grid


def robust_scale(channels: Float32 | Float64) -> Float64:
    """Return the robust standard deviation over time: (..., n_channels, n_times) to (..., n)."""
    middle = np.median(channels, axis=-1, keepdims=True)
    return np.asarray(1.4826 * np.median(np.abs(channels - middle), axis=-1))


def normalise(
    virtual: Float64 | Float32, scale: Float64 | float, n_channels: int, coverage: Float32
) -> tuple[Float32, Float32]:
    """Scale virtual electrodes and state the conditions.

    Parameters
    ----------
    virtual : ndarray, shape (..., N_VIRTUAL, N_TIMES), microvolts
    scale : ndarray, shape (...,), microvolts
        One robust scale an epoch.

    Returns
    -------
    ndarray, shape (..., N_VIRTUAL, N_TIMES), float32
        In units of the scale, clipped to CLIP.
    ndarray, shape (..., N_CONDITIONS), float32
    """
    spread = np.maximum(np.asarray(scale, dtype=np.float64), 1e-3)
    scaled = np.clip(virtual / spread[..., None, None], -CLIP, CLIP).astype(np.float32)
    conditions = np.empty((*spread.shape, N_CONDITIONS), dtype=np.float32)
    conditions[..., :N_VIRTUAL] = coverage
    conditions[..., N_VIRTUAL] = np.clip(np.log(spread / 8.0), -2, 2)
    conditions[..., N_VIRTUAL + 1] = np.log(n_channels / 32.0)
    return scaled, conditions


def usable_channels(epoch: Epoch) -> tuple[list[int], tuple[str, ...]]:
    """Return rows and canonical labels of the EEG channels whose place on the head is known."""
    rows: list[int] = []
    names: list[str] = []
    for row, (label, kind) in enumerate(zip(epoch.info.ch_names, epoch.info.ch_types, strict=True)):
        name = canonical_name(label) if kind == "eeg" else None
        if name is not None and name not in names:
            rows.append(row)
            names.append(name)
    if len(rows) < 2:
        raise InfoError(
            f"the montage {', '.join(epoch.info.ch_names[:8])} has {len(rows)} EEG labels of the "
            "10-05 system, expected at least two: name them by --montage, or "
            "source.ch_names."
        )
    return rows, tuple(names)


FLAT_UV = 0.02
"""A channel that moves less than this is not connected, microvolts."""
LOUD = 6.0
"""A channel louder than this many times the median one is left out."""


def _good(data: Float64) -> list[int]:
    """Rows that are neither flat nor far louder than the others; all when few would remain."""
    alive = robust_scale(data) > FLAT_UV
    spread = robust_scale(data - np.median(data, axis=0))
    quiet = spread < LOUD * np.median(spread)
    keep = np.flatnonzero(alive & quiet).tolist()
    return keep if len(keep) >= max(2, len(data) // 2) else list(range(len(data)))


def prepare(epoch: Epoch) -> tuple[Float32, Float32]:
    """Turn an epoch (causally filtered, microvolts) into the network's input.

    Returns
    -------
    ndarray, shape (N_VIRTUAL, N_TIMES), float32
    ndarray, shape (N_CONDITIONS,), float32

    Raises
    ------
    InfoError
        Fewer than two channels have a known place.
    """
    rows, names = usable_channels(epoch)
    data = resample(epoch.data[rows], sfreq=epoch.info.sfreq, tmin=epoch.tmin)
    keep = _good(data)
    names = tuple(names[i] for i in keep)
    data = data[keep]
    data = data - data.mean(axis=0)
    scale = float(np.median(robust_scale(data)))
    bridge = interpolation(names)
    return normalise(bridge.matrix @ data, scale, len(names), bridge.coverage)
