"""What a calibration recorded: epochs, what was shown when, and what it means.

Owns the value and its two files (safetensors and JSON), so that flows, commands and tests share
recordings. Knows nothing of how it was recorded or what is fitted to it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from configs import FilterConfig
from models.adapters.atomic import write_pair
from models.adapters.errors import AdapterError
from models.adapters.targets import Target
from pipeline.gallery import SPACE
from pipeline.values import Epoch, Float32, Float64, Info, read_only

DATA_NAME = "calibration.safetensors"
DATA_MANIFEST = "calibration.json"
DATA_SCHEMA = 1


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationData:
    """Labelled epochs of one person, exactly as the live path cuts them.

    Attributes
    ----------
    epochs : ndarray, shape (n_epochs, n_channels, n_times), float32, microvolts
        In order of time, the part before the stimulus included (`tmin` < 0).
    labels : tuple of str
        What was shown, one an epoch.
    onsets : ndarray, shape (n_epochs,), float64
        s, rising.
    channels : tuple of str
        Labels of the channels.
    sfreq : float
        Hz.
    tmin : float
        First sample's time from onset, s.
    filter : FilterConfig
        The causal filter the epochs came through.
    targets : ndarray, shape (n_labels, n_features), float32, or None
        Embedding of each of `target_labels`; None for plain classes of events.
    target_labels : tuple of str
        Labels that the rows of `targets` stand for; all of them are candidates.
    space : str
        Name of the space that `targets` lie in.
    classes : tuple of Target
        For plain classes: what each means in the gallery, for drawing; may stay empty.
    sessions, subjects : tuple of str
        One an epoch, where several recordings were joined (`models.adapters.pooling`); else empty.

    Raises
    ------
    AdapterError
        Shapes that do not fit each other, values that are not finite, onsets that fall, or a
        label without a target.
    """

    epochs: Float32
    labels: tuple[str, ...]
    onsets: Float64
    channels: tuple[str, ...]
    sfreq: float
    tmin: float
    filter: FilterConfig = field(default_factory=FilterConfig)
    targets: Float32 | None = None
    target_labels: tuple[str, ...] = ()
    space: str = SPACE
    classes: tuple[Target, ...] = ()
    sessions: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be learnt from."""
        n_epochs = len(self.labels)
        _check_shape("epochs", self.epochs, (n_epochs, len(self.channels), None))
        _check_shape("onsets", self.onsets, (n_epochs,))
        if self.epochs.dtype != np.float32 or not np.isfinite(self.epochs).all():
            raise AdapterError(
                f"epochs are {self.epochs.dtype} or hold NaN, expected finite float32 microvolts: "
                "reject such epochs before calibrating."
            )
        if n_epochs and (np.diff(self.onsets) < 0).any():
            raise AdapterError("onsets fall, expected them in order of time: sort the epochs.")
        for name in ("sessions", "subjects"):
            n_named = len(getattr(self, name))
            if n_named not in (0, n_epochs):
                raise AdapterError(f"{name} has {n_named} names, expected one an epoch or none.")
        if self.targets is not None:
            self._check_targets(self.targets)
        for name in ("epochs", "onsets", "targets"):
            array = getattr(self, name)
            if array is not None:
                object.__setattr__(self, name, read_only(array))

    def _check_targets(self, targets: Float32) -> None:
        _check_shape("targets", targets, (len(self.target_labels), None))
        unknown = sorted(set(self.labels) - set(self.target_labels))
        if unknown or len(set(self.target_labels)) != len(self.target_labels):
            raise AdapterError(
                f"labels without a target: {', '.join(unknown[:5]) or 'none, but some repeat'}; "
                "expected target_labels to name every label once."
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def n_channels(self) -> int:
        """Count of channels."""
        return len(self.channels)

    @property
    def minutes(self) -> float:
        """From the first onset to the end of the last epoch, min."""
        if not len(self):
            return 0.0
        length = self.epochs.shape[2] / self.sfreq + self.tmin
        return float(self.onsets[-1] - self.onsets[0] + length) / 60

    @property
    def is_classes(self) -> bool:
        """Whether the labels are plain classes of events."""
        return self.targets is None

    @property
    def rows(self) -> NDArray[np.intp]:
        """Each epoch's row among `candidates`, (n_epochs,)."""
        order = {label: row for row, label in enumerate(self.candidates)}
        return np.array([order[label] for label in self.labels], dtype=np.intp)

    @property
    def candidates(self) -> tuple[str, ...]:
        """What a decoder chooses among."""
        return self.target_labels if self.targets is not None else self.class_names

    @property
    def class_names(self) -> tuple[str, ...]:
        """Plain classes: in the order of `classes`, else sorted."""
        return tuple(t.event for t in self.classes) or tuple(sorted(set(self.labels)))

    @property
    def sha256(self) -> str:
        """Over samples, labels and onsets."""
        digest = hashlib.sha256(np.ascontiguousarray(self.epochs, dtype="<f4").tobytes())
        digest.update(np.ascontiguousarray(self.onsets, dtype="<f8").tobytes())
        digest.update(json.dumps([self.labels, self.channels, self.sfreq, self.tmin]).encode())
        return digest.hexdigest()

    def take(self, rows: NDArray[np.intp]) -> CalibrationData:
        """Return those epochs only, in order of time."""
        rows = np.sort(rows)
        return replace(
            self,
            epochs=np.ascontiguousarray(self.epochs[rows]),
            labels=tuple(self.labels[row] for row in rows),
            onsets=self.onsets[rows].copy(),
            sessions=tuple(self.sessions[row] for row in rows) if self.sessions else (),
            subjects=tuple(self.subjects[row] for row in rows) if self.subjects else (),
        )

    def first_minutes(self, minutes: float) -> CalibrationData:
        """Return the epochs of the first `minutes`."""
        return self.take(np.flatnonzero(self.onsets - self.onsets[0] < 60 * minutes))

    def epoch(self, row: int) -> Epoch:
        """Return one epoch as the live path gave it."""
        data = self.epochs[row]
        return Epoch(
            data=data,
            tmin=self.tmin,
            tmax=self.tmin + (data.shape[1] - 1) / self.sfreq,
            t_onset=float(self.onsets[row]),
            event=self.labels[row],
            info=Info(self.channels, self.sfreq),
            index=row,
        )

    def save(self, folder: Path) -> Path:
        """Write into `folder` (made if need be) atomically; returns the folder."""
        arrays: dict[str, NDArray[Any]] = {"epochs": self.epochs, "onsets": self.onsets}
        if self.targets is not None:
            arrays["targets"] = self.targets
        words = {
            "schema_version": DATA_SCHEMA,
            "labels": self.labels,
            "channels": self.channels,
            "sfreq": self.sfreq,
            "tmin": self.tmin,
            "filter": self.filter.model_dump(),
            "target_labels": self.target_labels,
            "space": self.space,
            "classes": [each.model_dump() for each in self.classes],
            "sessions": self.sessions,
            "subjects": self.subjects,
        }
        weights = save({k: np.ascontiguousarray(v) for k, v in arrays.items()})
        words["weights_sha256"] = hashlib.sha256(weights).hexdigest()
        text = json.dumps(words, indent=1).encode() + b"\n"
        write_pair(folder, (DATA_NAME, weights), (DATA_MANIFEST, text))
        return folder

    @classmethod
    def load(cls, folder: Path) -> CalibrationData:
        """Read what `save` wrote.

        Raises
        ------
        AdapterError
            Missing, damaged or of another version.
        """
        try:
            words = json.loads((folder / DATA_MANIFEST).read_text(encoding="utf-8"))
            weights = (folder / DATA_NAME).read_bytes()
            if words["schema_version"] != DATA_SCHEMA:
                raise AdapterError(
                    f"{folder / DATA_MANIFEST} has schema_version {words['schema_version']}, "
                    f"expected {DATA_SCHEMA}: use the version that wrote it."
                )
            if hashlib.sha256(weights).hexdigest() != words["weights_sha256"]:
                raise AdapterError(
                    f"{folder / DATA_NAME} is not the file its manifest was written with: it is "
                    "damaged or mixed up; restore it or record again."
                )
            arrays = load(weights)
            return cls(
                epochs=arrays["epochs"],
                labels=tuple(words["labels"]),
                onsets=arrays["onsets"],
                channels=tuple(words["channels"]),
                sfreq=float(words["sfreq"]),
                tmin=float(words["tmin"]),
                filter=FilterConfig.model_validate(words["filter"]),
                targets=arrays.get("targets"),
                target_labels=tuple(words["target_labels"]),
                space=str(words.get("space", SPACE)),
                classes=tuple(Target.model_validate(each) for each in words["classes"]),
                sessions=tuple(words.get("sessions", ())),
                subjects=tuple(words.get("subjects", ())),
            )
        except (OSError, ValueError, KeyError, TypeError, SafetensorError, ValidationError) as e:
            raise AdapterError(
                f"cannot read a calibration from {folder} ({type(e).__name__}: {e}), expected "
                f"{DATA_MANIFEST} and {DATA_NAME}."
            ) from e


def _check_shape(name: str, array: NDArray[Any], expected: tuple[int | None, ...]) -> None:
    fits = array.ndim == len(expected) and all(
        want is None or have == want for have, want in zip(array.shape, expected, strict=True)
    )
    if not fits:
        words = ", ".join("n" if want is None else str(want) for want in expected)
        raise AdapterError(f"{name} have shape {array.shape}, expected ({words}).")
