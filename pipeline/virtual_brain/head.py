"""How sources inside and outside the brain reach the electrodes.

Owns the shipped leadfield, references, and the rough fields of eyes and muscles, which lie
outside the sphere's brain. Knows nothing of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from configs.montages import AVERAGE
from pipeline.electrodes import canonical_name, electrode_names, unit_positions
from pipeline.errors import InfoError, ShapeError
from pipeline.values import Float64, read_only
from pipeline.virtual_brain.sources import N_SOURCES

_TABLE = Path(__file__).with_name("leadfield.safetensors")
_EYES = np.array([[-0.33, 0.86, -0.42], [0.33, 0.86, -0.42]])
"""Eyeballs, in head radii from the centre."""
_MUSCLES = ("FT9", "FT10", "PO9", "PO10", "Fp1", "Fp2")
"""Electrodes next to the temporal, neck and frontal muscles."""


@cache
def _shipped() -> tuple[dict[str, int], Float64]:
    rows = {name: row for row, name in enumerate(electrode_names())}
    return rows, read_only(load_file(_TABLE)["leadfield"].astype(np.float64))


def table_leadfield(ch_names: Sequence[str]) -> Float64:
    """Look up the leadfield that MNE computed once for every electrode of the 10-05 system.

    Returns
    -------
    ndarray, shape (n_channels, N_SOURCES, 3), float64, microvolts per nanoampere metre
        Within 0.1 % of `devices.virtual.forward.montage_leadfield`.

    Raises
    ------
    InfoError
        A label has no position.
    """
    unit_positions(ch_names)  # names every unknown label at once
    rows, table = _shipped()
    chosen: Float64 = table[[rows[str(canonical_name(name))] for name in ch_names]]
    return chosen


def oriented(leadfield: Float64, orientations: Float64) -> Float64:
    """Return what each dipole, pointing its own way, gives: (n_channels, N_SOURCES), uV/nAm."""
    if leadfield.shape[1:] != (N_SOURCES, 3):
        raise ShapeError(
            f"leadfield has shape {leadfield.shape}, expected (n_channels, {N_SOURCES}, 3): "
            "compute it with devices.virtual.forward.montage_leadfield."
        )
    return np.asarray(np.einsum("csx,sx->cs", leadfield, orientations))


def reference_labels(ch_names: Sequence[str], reference: str | Sequence[str]) -> tuple[str, ...]:
    """Return the electrodes that must be computed besides `ch_names` for a reference."""
    if reference == AVERAGE:
        return ()
    labels = (reference,) if isinstance(reference, str) else tuple(reference)
    if not labels:
        raise InfoError("the reference is empty, expected 'average' or labels such as 'M1'.")
    return tuple(label for label in labels if label not in ch_names)


def reference_matrix(ch_names: Sequence[str], reference: str | Sequence[str]) -> Float64:
    """Return what turns potentials of `ch_names` + `reference_labels` into referenced channels.

    Returns
    -------
    ndarray, shape (n_channels, n_channels + n_extra), float64
    """
    everything = (*ch_names, *reference_labels(ch_names, reference))
    if reference == AVERAGE:
        labels: tuple[str, ...] = tuple(ch_names)
    else:
        labels = (reference,) if isinstance(reference, str) else tuple(reference)
    matrix = np.eye(len(ch_names), len(everything))
    for label in labels:
        matrix[:, everything.index(label)] -= 1 / len(labels)
    return matrix


def blink_field(ch_names: Sequence[str]) -> Float64:
    """Return a blink's potential at electrodes, 1 at Fp1/Fp2, shape (n_channels,).

    The cornea's charge as two dipoles pointing up and forward in a homogeneous volume.
    """
    moment = np.array([0.0, 0.6, 0.8])

    def field(labels: Sequence[str]) -> Float64:
        away = unit_positions(labels)[:, None, :] - _EYES
        cubed = np.linalg.norm(away, axis=2) ** 3
        return np.asarray((away @ moment / cubed).sum(axis=1))

    return np.asarray(field(ch_names) / field(("Fp1", "Fp2")).mean())


def muscle_fields(ch_names: Sequence[str]) -> Float64:
    """Return each muscle's reach, 1 right beside it, shape (n_channels, n_muscles)."""
    away = unit_positions(ch_names)[:, None, :] - unit_positions(_MUSCLES)[None, :, :]
    return np.asarray(1 / (1 + (np.linalg.norm(away, axis=2) / 0.35) ** 3))
