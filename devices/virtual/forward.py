"""The forward model of the virtual headset: dipoles in a spherical head, through MNE.

Owns the call into MNE (offline: nothing is fetched) and the border between its volts and our
microvolts. Knows nothing of what the dipoles emit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from pipeline.electrodes import unit_positions
from pipeline.values import Float64, read_only
from pipeline.virtual_brain.sources import HEAD_RADIUS, source_positions

_UV_PER_NAM = 1e6 * 1e-9
"""MNE's volts per ampere metre as microvolts per nanoampere metre."""


def free_leadfield(ch_names: Sequence[str], positions: Float64) -> Float64:
    """Compute the potential of unit dipoles along x, y and z at electrodes.

    Four-shell sphere (brain, fluid, skull, scalp) after Berg and Scherg, as in
    `mne.make_sphere_model`.

    Parameters
    ----------
    ch_names : sequence of str
        Labels of the 10-05 system.
    positions : ndarray, shape (n_sources, 3)
        Dipoles, m from the sphere's centre.

    Returns
    -------
    ndarray, shape (n_channels, n_sources, 3), float64, microvolts per nanoampere metre
        Against infinity: a reference is the caller's choice.

    Raises
    ------
    InfoError
        A label has no position.
    """
    import mne

    places = HEAD_RADIUS * unit_positions(ch_names)
    names = [f"E{i}" for i in range(len(places))]  # the table may name one place twice (T3, T7)
    montage = mne.channels.make_dig_montage(
        dict(zip(names, places, strict=True)), coord_frame="head"
    )
    info = mne.create_info(names, 250.0, "eeg", verbose="error")
    info.set_montage(montage, verbose="error")
    sphere = mne.make_sphere_model((0.0, 0.0, 0.0), HEAD_RADIUS, verbose="error")
    upward = np.tile([0.0, 0.0, 1.0], (len(positions), 1))
    space = mne.setup_volume_source_space(
        pos={"rr": np.asarray(positions), "nn": upward}, sphere_units="m", verbose="error"
    )
    forward = mne.make_forward_solution(
        info, trans=None, src=space, bem=sphere, meg=False, mindist=0.0, verbose="error"
    )
    gain = forward["sol"]["data"].reshape(len(places), len(positions), 3)
    return np.asarray(gain * _UV_PER_NAM, dtype=np.float64)


@lru_cache(maxsize=8)
def montage_leadfield(ch_names: tuple[str, ...]) -> Float64:
    """Compute the leadfield of the virtual brain's own sources for a montage, and keep it.

    Returns
    -------
    ndarray, shape (n_channels, N_SOURCES, 3), float64, microvolts per nanoampere metre
    """
    return read_only(free_leadfield(ch_names, source_positions()))
