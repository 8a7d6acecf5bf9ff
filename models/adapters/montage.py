"""From the electrodes at hand to the electrodes a decoder wants.

Owns matching by name (aliases included) and spherical splines for what is missing (Perrin et al.
1989, the settings of MNE's `interpolate_bads`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.polynomial import legendre

from models.adapters.errors import AdapterError
from pipeline.electrodes import canonical_name, unit_positions
from pipeline.values import Float64, read_only

STIFFNESS = 4
N_TERMS = 50
WHITE = 1e-5
"""Variance of the electrodes' own noise in the spline, as in MNE."""
MIN_MATCHED = 4
"""Fewer electrodes than this cannot carry a spline."""
MAX_INTERPOLATED = 0.34
"""A decoder made for a person's channels is refused when more than this part of them is absent."""


@dataclass(frozen=True, slots=True, eq=False)
class MontageMap:
    """How given channels become wanted ones.

    Attributes
    ----------
    matrix : ndarray, shape (n_wanted, n_given), float64
        Rows of matched channels have a single one; the others are splines.
    matched, interpolated : tuple of str
        Wanted channels, by how they are had.
    unused : tuple of str
        Given channels that have no place on the head, or a place twice.
    """

    matrix: Float64
    matched: tuple[str, ...]
    interpolated: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What was done, for people."""
        n = len(self.matched) + len(self.interpolated)
        words = f"{len(self.matched)} of {n} channels found by name"
        if self.interpolated:
            words += f", {', '.join(self.interpolated[:8])} interpolated over the head"
        if self.unused:
            words += f", {', '.join(self.unused[:8])} not used (no such place on the head)"
        return words + "."


def placed_names(ch_names: Sequence[str]) -> tuple[str, ...]:
    """Canonical labels of the channels that have a place on the head, each once."""
    return tuple(dict.fromkeys(n for n in map(canonical_name, ch_names) if n is not None))


def check_channels(found: MontageMap) -> None:
    """Raise `AdapterError` when too many of a person's channels would be interpolated."""
    n_wanted = len(found.matched) + len(found.interpolated)
    if len(found.interpolated) > MAX_INTERPOLATED * n_wanted:
        raise AdapterError(
            f"the montage lacks {', '.join(found.interpolated[:8])} of the adapter's {n_wanted} "
            "channels, too many to interpolate: give the labels with source.ch_names, or "
            "calibrate again."
        )


@lru_cache(maxsize=256)
def map_montage(given: tuple[str, ...], wanted: tuple[str, ...]) -> MontageMap:
    """Map channels by name, and by splines over the head where a name is missing.

    Parameters
    ----------
    given, wanted : tuple of str
        Labels in any spelling that `pipeline.electrodes.canonical_name` reads.

    Raises
    ------
    AdapterError
        A wanted label has no place on the head, or splines are needed and fewer than
        `MIN_MATCHED` given electrodes have one.
    """
    columns: dict[str, int] = {}
    for column, label in enumerate(given):
        name = canonical_name(label)
        if name is not None:
            columns.setdefault(name, column)
    names = [canonical_name(label) for label in wanted]
    lost = [label for label, name in zip(wanted, names, strict=True) if name is None]
    if lost:
        raise AdapterError(
            f"{', '.join(lost[:8])} are no labels of the 10-05 system, expected such as 'PO7': "
            "give the channels their places with source.ch_names."
        )
    known = [str(name) for name in names]
    missing = [name for name in known if name not in columns]
    matrix = np.zeros((len(known), len(given)))
    for row, name in enumerate(known):
        if name in columns:
            matrix[row, columns[name]] = 1.0
    if missing:
        rows = [known.index(name) for name in missing]
        matrix[np.ix_(rows, list(columns.values()))] = spline_matrix(tuple(columns), missing)
    return MontageMap(
        matrix=read_only(matrix),
        matched=tuple(name for name in known if name in columns),
        interpolated=tuple(missing),
        unused=tuple(label for column, label in enumerate(given) if column not in columns.values()),
    )


def spline_matrix(known: Sequence[str], wanted: Sequence[str]) -> Float64:
    """Spherical-spline interpolation (Perrin et al. 1989, eq. 1-4), (n_wanted, n_known) float64.

    Raises
    ------
    AdapterError
        Fewer than `MIN_MATCHED` electrodes to interpolate from.
    """
    if len(known) < MIN_MATCHED:
        raise AdapterError(
            f"{', '.join(wanted[:8])} cannot be interpolated from {len(known)} electrodes, "
            f"expected at least {MIN_MATCHED} with a place on the head."
        )
    source, place = unit_positions(known), unit_positions(wanted)
    n = len(source)
    system = np.ones((n + 1, n + 1))
    system[:n, :n] = _spline(source @ source.T) + WHITE * np.eye(n)
    system[n, n] = 0.0
    basis = np.c_[_spline(place @ source.T), np.ones(len(place))]
    return np.asarray(basis @ np.linalg.pinv(system)[:, :n])


def _spline(cosines: Float64) -> Float64:
    order = np.arange(1, N_TERMS + 1, dtype=np.float64)
    factors = (2 * order + 1) / (order * (order + 1)) ** STIFFNESS / (4 * np.pi)
    return np.asarray(
        legendre.legval(np.clip(cosines, -1, 1), np.r_[0.0, factors]), dtype=np.float64
    )
