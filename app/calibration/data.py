"""From collected epochs to what an adapter is trained on.

Owns the step from `Epoch`s to `models.adapters.CalibrationData`: one array, labels, and what each
label means in the gallery's space where it means something.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np

from app.calibration.channels import use_of, with_channels
from app.errors import AppError
from configs import SessionConfig
from models.adapters.data import CalibrationData
from models.adapters.pooling import Recorded, pool_recordings
from models.adapters.suggesting import NO_PICTURE, suggestion, target_of
from models.adapters.targets import Target
from models.registry import find_system
from pipeline.gallery import Gallery, load_gallery
from pipeline.values import Epoch


def calibration_data(
    epochs: Sequence[tuple[str, Epoch]],
    config: SessionConfig,
    *,
    pictures: Mapping[str, str] | None = None,
    shown: Set[str] = frozenset(),
) -> CalibrationData:
    """Stack epochs in order of time.

    Parameters
    ----------
    epochs : sequence of (str, Epoch)
        Class and epoch, in order of onset; those of another length or rate than the first are
        refused. Which channels are used says `app.calibration.channels`.
    config : SessionConfig
        The session that cut them.
    pictures : mapping of str to str, optional
        Picture by class, by its label in the gallery: the labels are classes of events then, and a
        class that is not named here is drawn as its name suggests. None: labels that are all
        pictures of the gallery stand for these.
    shown : set of str
        What other recordings that will be joined with these show as well.

    Raises
    ------
    AppError
        There are none, or they do not fit each other, or a picture is none of the gallery's.
    """
    if not epochs:
        raise AppError("there are no good epochs, expected some: record longer.")
    use = use_of([epoch for _, epoch in epochs])
    whole = with_channels([epoch for _, epoch in epochs], use.used) if use.used else []
    kept = [(name, e) for (name, _), e in zip(epochs, whole, strict=False) if e is not None]
    first = kept[0][1] if kept else epochs[0][1]
    odd = [e for _, e in kept if e.data.shape != first.data.shape or e.info != first.info]
    if odd or not kept:
        raise AppError(
            f"{len(odd) or len(epochs)} of {len(epochs)} epochs have another shape or other "
            "channels than the first, expected one montage and one rate: calibrate on one "
            "recording."
        )
    return CalibrationData(
        epochs=np.stack([epoch.data for _, epoch in kept]),
        labels=tuple(name for name, _ in kept),
        onsets=np.array([epoch.t_onset for _, epoch in kept]),
        channels=first.info.ch_names,
        sfreq=first.info.sfreq,
        tmin=first.tmin,
        filter=config.filter,
        **_meaning({name for name, _ in kept} | shown, config, pictures),
    )


def joined_data(
    recordings: Sequence[tuple[str, str, Sequence[tuple[str, Epoch]]]],
    config: SessionConfig,
    *,
    pictures: Mapping[str, str] | None = None,
    before: Sequence[Recorded] = (),
) -> CalibrationData:
    """Put several recordings together, each a session: its name, its person, its epochs.

    `before` are sessions of an earlier calibration, which come first.

    Raises
    ------
    PhospheneError
        As `calibration_data` of one, or `models.adapters.pooling.pool_recordings` of them.
    """
    kept = [each for each in recordings if each[2]]
    shown = {name for _, _, epochs in kept for name, _ in epochs}
    shown |= {name for each in before for name in each.data.labels}
    parts = [
        *before,
        *(
            Recorded(calibration_data(chosen, config, pictures=pictures, shown=shown), name, who)
            for name, who, chosen in kept
        ),
    ]
    if len(parts) == len(before):
        raise AppError("there are no good epochs, expected some: record longer.")
    return parts[0].data if len(parts) == len(recordings) == 1 else pool_recordings(parts)


def _meaning(
    shown: set[str], config: SessionConfig, pictures: Mapping[str, str] | None
) -> dict[str, Any]:
    """What the labels mean: pictures of the gallery, or classes with one that stands for each."""
    gallery = load_gallery(config.gallery)
    # All or none: classes of events have no place in the space of pictures.
    known = tuple(label for label in gallery.labels if label in shown)
    if pictures is None and len(known) == len(shown):
        # An encoder of a space of its own is refused when it is fitted.
        system = find_system(config.decoder.system).descriptor
        gallery = gallery.demand(system.space or gallery.space, what=f"the system {system.name}")
        rows = [gallery.index(label) for label in known]
        return {
            "targets": gallery.embeddings[rows].copy(),
            "target_labels": known,
            "space": gallery.space,
        }
    return {"classes": class_pictures(sorted(shown), gallery, pictures or {})}


def class_pictures(
    classes: Sequence[str], gallery: Gallery, pictures: Mapping[str, str]
) -> tuple[Target, ...]:
    """What stands for each class: the picture that was named, else the one its name suggests.

    Raises
    ------
    PhospheneError
        A picture that the gallery has not, or one for a class that nobody has.
    """
    strange = sorted(set(pictures) - set(classes))
    if strange:
        raise AppError(
            f"--pictures names the class {strange[0]!r}, expected one of {', '.join(classes)}: "
            "correct the name (its case counts)."
        )
    return tuple(
        target_of(name, pictures.get(name) or suggestion(name, gallery) or NO_PICTURE, gallery)
        for name in classes
    )


def said_of(data: CalibrationData) -> list[str]:
    """Say how each class will be drawn; nothing of pictures, which stand for themselves."""
    if not data.classes:
        return []
    words = "; ".join(
        f"{each.event} as {each.picture or 'fog (no picture)'}" for each in data.classes
    )
    return [f"Drawn: {words}. --pictures CLASS=PICTURE,... says it otherwise."]
