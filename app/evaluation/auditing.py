"""What an audit finds in a session or a recording.

Owns the way from files to `models.evaluation.audit.Material`: epochs before onset as the live path
cuts them, labels in order of time, prompts from the pictures, pictures of a training set. Knows
nothing of the checks.
"""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from app.calibration.collection import Collection, by_markers
from app.calibration.reading import read_recording, settings_of
from app.errors import AppError
from app.evaluation.sets import SUFFIXES, SessionPictures
from app.recordings import file_sha256
from app.report.record import Event, read_picture
from configs import SessionConfig
from devices.choosing import StreamChoice
from models.evaluation.audit import Material
from models.evaluation.checks import Check, Verdict
from pipeline.gallery.pictures import read_picture as read_file
from pipeline.values import Epoch, Uint8

BEFORE = -0.2
"""Time before onset that epochs get for the audit, s, where the settings have less."""


def of_recording(
    recording: Path,
    config: SessionConfig,
    *,
    classes: Mapping[str, str] | None = None,
    choice: StreamChoice | None = None,
    board: str | None = None,
    stop: threading.Event | None = None,
) -> Material:
    """Cut a recording's epochs as the live path does, and keep what is before each onset.

    Parameters
    ----------
    classes : mapping of str to str, optional
        Class by marker's label; other markers do not count. None: each label is a class.

    Raises
    ------
    PhospheneError
        The file cannot be read, or does not say enough of itself.
    """
    used = by_markers(config if choice is not None else settings_of(recording, config))
    if used.epochs.tmin > BEFORE:
        longer = used.epochs.model_copy(update={"tmin": BEFORE, "baseline": None})
        used = used.model_copy(update={"epochs": longer})
    collection = Collection(classes)
    with tempfile.TemporaryDirectory() as folder:
        read_recording(
            recording,
            used,
            collection,
            out=Path(folder) / "session",
            stop=stop or threading.Event(),
            board=board,
            choice=choice or StreamChoice(used.source, used.markers),
        )
    return of_epochs(collection.epochs())


def of_epochs(epochs: Sequence[tuple[str, Epoch]]) -> Material:
    """Return the material of labelled epochs in order of time."""
    if not epochs:
        return Material()
    first = epochs[0][1]
    alike = [(label, e) for label, e in epochs if e.data.shape == first.data.shape]
    return Material(
        labels=[label for label, _ in alike],
        epochs=np.stack([epoch.data for _, epoch in alike]),
        sfreq=first.info.sfreq,
        tmin=first.tmin,
    )


def joined(parts: Sequence[Material]) -> Material:
    """Return the epochs of several recordings as one material's.

    Raises
    ------
    AppError
        They have other channels or lengths.
    """
    found = [each for each in parts if each.epochs is not None and len(each.epochs)]
    shapes = {each.epochs.shape[1:] for each in found if each.epochs is not None}
    if len(shapes) > 1:
        raise AppError(
            f"the recordings have epochs of shapes {', '.join(map(str, sorted(shapes)))}, expected "
            "the same channels and rate in all."
        )
    if not found:
        return Material()
    epochs = np.concatenate([each.epochs for each in found if each.epochs is not None])
    return replace(found[0], labels=[k for each in found for k in each.labels], epochs=epochs)


def with_prompts(material: Material, pictures: SessionPictures) -> Material:
    """Add the text prompts that a session's pictures say they were drawn with."""
    prompts, labels, answers = [], [], []
    for event in pictures.events:
        prompts.append(_prompt(pictures, event))
        labels.append(event.label)
        answers.append(event.top[0][0] if event.top else "")
    known = answers if any(answers) else []
    return replace(material, prompts=prompts, prompt_labels=labels, answers=known)


def _prompt(pictures: SessionPictures, event: Event) -> str:
    data = read_picture(pictures.record, event)
    if data is None:
        return ""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            return str(picture.info.get("phosphene:prompt", ""))[:1000]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ""


def with_training_pictures(material: Material, train: Path, test: Path) -> Material:
    """Add the pictures of a training set, and of what was shown in the test."""
    return replace(
        material,
        train_stimuli=_hashes(train),
        test_stimuli=_hashes(test),
        train_pictures=_Folder(train),
        test_pictures=_Folder(test),
    )


def learnt_trials(pictures: SessionPictures) -> Check:
    """Say how many trials a session's decoder had learnt from."""
    n = sum(event.learnt for event in pictures.record.decoded)
    text = (
        f"{n} of {len(pictures.record.decoded)} decoded trials were learnt from: they are left out "
        "of every figure."
        if n
        else "the decoder says of no trial that it learnt from it."
    )
    return Check("learnt trials", Verdict.NOTE if n else Verdict.CLEAN, text)


def closed_set(pictures: SessionPictures) -> Check:
    """Say among what a session's answers were ranked."""
    n = [round(1 / e.chance) for e in pictures.events if e.chance]
    if not n:
        return Check("known set", Verdict.NOT_CHECKED, "no answer was ranked among candidates.")
    return Check(
        "known set",
        Verdict.NOTE,
        f"answers were chosen among {max(n)} known pictures of the gallery: identification, not "
        "free reconstruction.",
        figures={"candidates": float(max(n))},
    )


class _Folder:
    """Pictures of a folder, each read when its turn comes."""

    def __init__(self, folder: Path) -> None:
        self._files = _pictures(folder)

    def __iter__(self) -> Iterator[Uint8]:
        for path in self._files:
            yield np.asarray(read_file(path).convert("RGB"), dtype=np.uint8)


def _hashes(folder: Path) -> list[str]:
    return [file_sha256(path) for path in _pictures(folder)]


def _pictures(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise AppError(
            f"{folder} holds no pictures, expected {', '.join(SUFFIXES)} in it or below."
        )
    return files
