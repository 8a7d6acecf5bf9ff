"""Where the dipoles of the virtual brain sit, and what each group of them does.

Owns positions, resting orientations and the groups (background, alpha, evoked); knows nothing of
how a dipole reaches an electrode (`head`) nor of what it emits over time.

Positions are metres from the centre of a spherical head of radius `HEAD_RADIUS`; the electrodes
stand on its surface along `pipeline.electrodes.unit_positions`.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from pipeline.electrodes import unit_positions
from pipeline.values import Float64, read_only

HEAD_RADIUS = 0.095
"""Outer radius of the sphere, m."""
CORTEX_RADIUS = 0.071
"""Depth at which most dipoles lie, m from the centre (the brain of the model ends at 0.0855)."""

N_BACKGROUND = 128
ALPHA_UNDER = ("O1", "Oz", "O2", "PO3", "PO4", "POz", "P3", "Pz", "P4", "PO7", "PO8", "C3", "C4")
CODE_UNDER = (
    *("O1", "Oz", "O2", "PO7", "PO3", "POz", "PO4", "PO8", "PO9", "PO10", "P7", "P8"),
    *("P5", "P6", "P3", "Pz", "P4", "TP7", "TP8", "P1", "P2", "CP3", "CPz", "CP4"),
)
"""Occipital, occipito-temporal and parietal cortex: the sources that carry the picture."""
COMMON_UNDER = ("PO7", "PO8", "O1", "O2", "P7", "P8", "Oz", "FCz", "Pz", "CPz")
"""Sources of P1, N1, P2 and P3, the part that is the same for every picture."""

BACKGROUND = slice(0, N_BACKGROUND)
ALPHA = slice(BACKGROUND.stop, BACKGROUND.stop + len(ALPHA_UNDER))
CODE = slice(ALPHA.stop, ALPHA.stop + len(CODE_UNDER))
COMMON = slice(CODE.stop, CODE.stop + len(COMMON_UNDER))
N_SOURCES = COMMON.stop
N_CODE_SOURCES = len(CODE_UNDER)


def _fibonacci_directions(n: int, *, lowest: float) -> Float64:
    """Spread `n` unit vectors evenly over the sphere above z = `lowest`."""
    z = 1 - (1 - lowest) * (np.arange(n) + 0.5) / n
    angle = np.pi * (1 + np.sqrt(5)) * np.arange(n)
    ring = np.sqrt(1 - z**2)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)


@cache
def source_positions() -> Float64:
    """Return the places of all dipoles, shape (N_SOURCES, 3), m from the centre."""
    rng = np.random.default_rng(1005)
    depth = rng.uniform(0.045, 0.074, N_BACKGROUND)[:, None]
    background = depth * _fibonacci_directions(N_BACKGROUND, lowest=-0.55)
    alpha = 0.066 * unit_positions(ALPHA_UNDER)
    code = CORTEX_RADIUS * unit_positions(CODE_UNDER)
    radius = np.where(np.isin(COMMON_UNDER, ("Pz", "CPz", "FCz")), 0.050, 0.068)[:, None]
    common = radius * unit_positions(COMMON_UNDER)
    places: Float64 = np.concatenate([background, alpha, code, common])
    return read_only(places)


@cache
def source_orientations() -> Float64:
    """Return the average head's dipole directions, unit vectors, shape (N_SOURCES, 3).

    Background dipoles point anywhere (gyri and sulci); alpha and common ones are radial; code
    sources are radial with a tangential part of their own, as folds give.
    """
    rng = np.random.default_rng(2010)
    radial = source_positions() / np.linalg.norm(source_positions(), axis=1, keepdims=True)
    tilt = np.zeros((N_SOURCES, 1))
    tilt[BACKGROUND] = 2.0
    tilt[CODE] = 0.7
    directions = radial + tilt * rng.standard_normal((N_SOURCES, 3)) / np.sqrt(3)
    return read_only(directions / np.linalg.norm(directions, axis=1, keepdims=True))
