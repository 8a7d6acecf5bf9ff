"""From collected epochs to what an adapter is trained on.

Owns the step from `Epoch`s to `models.adapters.CalibrationData`: one array, labels, and what each
label means in the gallery's space where it means something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.errors import AppError
from configs import SessionConfig
from models.adapters.data import CalibrationData
from models.registry import find_system
from pipeline.gallery import load_gallery
from pipeline.values import Epoch, Info


def calibration_data(epochs: Sequence[tuple[str, Epoch]], config: SessionConfig) -> CalibrationData:
    """Stack epochs in order of time.

    Parameters
    ----------
    epochs : sequence of (str, Epoch)
        Class and epoch, in order of onset; those of another length or rate than the first are
        refused. A channel that was left out of some is left out of all.
    config : SessionConfig
        The session that cut them.

    Raises
    ------
    AppError
        There are none, or they do not fit each other.
    """
    if not epochs:
        raise AppError("there are no good epochs, expected some: record longer.")
    shared = set.intersection(*(set(epoch.info.ch_names) for _, epoch in epochs))
    epochs = [(name, _only(epoch, shared)) for name, epoch in epochs]
    first = epochs[0][1]
    odd = [e for _, e in epochs if e.data.shape != first.data.shape or e.info != first.info]
    if odd or not shared:
        raise AppError(
            f"{len(odd)} of {len(epochs)} epochs have another shape or other channels than the "
            "first, expected one montage and one rate: calibrate on one recording."
        )
    gallery = load_gallery(config.gallery)
    labels = tuple(name for name, _ in epochs)
    shown = set(labels)
    # All or none: classes of events have no place in the space of pictures.
    known = tuple(label for label in gallery.labels if label in shown)
    pictures = len(known) == len(shown)
    if pictures:
        # An encoder of a space of its own is refused when it is fitted.
        system = find_system(config.decoder.system).descriptor
        gallery = gallery.demand(system.space or gallery.space, what=f"the system {system.name}")
    rows = [gallery.index(label) for label in known]
    return CalibrationData(
        epochs=np.stack([epoch.data for _, epoch in epochs]),
        labels=labels,
        onsets=np.array([epoch.t_onset for _, epoch in epochs]),
        channels=first.info.ch_names,
        sfreq=first.info.sfreq,
        tmin=first.tmin,
        filter=config.filter,
        targets=gallery.embeddings[rows].copy() if pictures else None,
        target_labels=known if pictures else (),
        space=gallery.space,
    )


def _only(epoch: Epoch, names: set[str]) -> Epoch:
    """The epoch with those of its channels that every epoch has."""
    info = epoch.info
    if len(names) == info.n_channels or not names:
        return epoch
    rows = [k for k, name in enumerate(info.ch_names) if name in names]
    kept = Info(
        tuple(info.ch_names[k] for k in rows), info.sfreq, tuple(info.ch_types[k] for k in rows)
    )
    return replace(epoch, data=np.ascontiguousarray(epoch.data[rows]), info=kept)
