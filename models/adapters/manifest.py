"""What an adapter says of itself: the readable half of its two files.

Owns names, units and rules of the fields, and reads what earlier versions wrote. Frozen, strict,
versioned; nothing here is executable.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from configs import FilterConfig
from models.adapters.errors import AdapterError
from models.adapters.report import CalibrationReport
from models.adapters.targets import Target

SCHEMA_VERSION = 2
CLASSES = "spatio-temporal-lda"
"""Kind of the adapter of plain classes of events."""
ENSEMBLE = "class-ensemble"
"""Kind of the adapter that chose among several decoders of classes."""
CLASS_KINDS = (CLASSES, ENSEMBLE)
LOOKS = "noise-tagged"
"""Kind of the adapter of looks at noise-tagged pictures."""
_OLD_PICTURES = "personal"
"""What version 1 called every picture adapter; its `method` is the kind now."""


class _Strict(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Scores(_Strict):
    """What cross-validation over blocks of the calibration gave, before any test."""

    n_epochs: int = Field(ge=1)
    accuracy: float = Field(ge=0, le=1)
    chance: float = Field(gt=0, lt=1)
    p_value: float = Field(ge=0, le=1)
    """Of the accuracy against guessing, one-sided binomial."""
    nll: float = Field(ge=0)
    """Mean negative log-likelihood, nats an epoch; guessing gives log(n_classes)."""
    n_blocks: int = Field(ge=2)


class EncoderReference(_Strict):
    """The encoder that an adapter stands behind."""

    system: str
    """As `decoder.system` takes it."""
    sha256: str
    """Of its weights."""
    space: str = ""
    """Of its vectors; empty: as the encoder says."""
    n_features: int = Field(ge=1)


class EventClasses(_Strict):
    """What an adapter of plain classes of events tells apart, and from which samples."""

    targets: tuple[Target, ...] = Field(min_length=2)
    """Classes, in the order of the weights' rows."""
    tmin: float = Field(ge=-100, le=100)
    """Start of the window, s from onset."""
    tmax: float = Field(ge=-100, le=100)
    """End of the window, s from onset; nothing later is seen."""
    n_filters: int = Field(ge=1)
    temperature: float = Field(gt=0)
    gallery_sha256: str
    """Of the gallery whose space the prototypes lie in."""
    scores: Scores
    is_aligned: bool = False
    """Whether sessions are brought to the calibration's covariance before they are decoded."""
    encoders: tuple[EncoderReference, ...] = ()
    """Pretrained encoders whose features heads were fitted to."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Class by marker's label; empty: each class is called as its markers are."""

    @model_validator(mode="after")
    def _unique_names(self) -> EventClasses:
        if len(set(self.events)) != len(self.events):
            raise ValueError("targets holds a name twice")
        if not set(self.labels.values()) <= set(self.events):
            raise ValueError("labels names a class that targets has not")
        return self

    @property
    def events(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(target.event for target in self.targets)

    @property
    def class_of(self) -> dict[str, str]:
        """Class by marker's label."""
        return self.labels or {name: name for name in self.events}


class LookResponse(_Strict):
    """What calibration looks at noise-tagged pictures were, and what a part of them told."""

    n_looks: int = Field(ge=1)
    n_targets: int = Field(ge=2)
    seconds: float = Field(gt=0)
    """Of all looks together."""
    n_times: int = Field(ge=1)
    """Samples in the sums."""
    accuracy: float = Field(ge=0, le=1)
    """Looks that the response of the other fifths reads right; "none" counts as wrong."""
    p_value: float = Field(ge=0, le=1)
    """Of the accuracy against guessing, one-sided binomial."""
    is_simulated: bool = False
    kind: Literal["flicker", "flash"] = "flicker"
    """How the pictures changed."""

    @property
    def chance(self) -> float:
        """Of guessing."""
        return 1 / self.n_targets


class Learnt(_Strict):
    """Which part of a recording an adapter was fitted to: what it says there is no test of it."""

    sha256: str
    """Of the recording."""
    start: float
    """First moment that was looked at, s on the recording's clock as a replay gives it."""
    stop: float
    """The last one."""


class AdapterManifest(_Strict):
    """Everything about an adapter but its numbers."""

    schema_version: Literal[2] = 2
    kind: str
    """Name of the method; see `models.adapters.methods`."""
    subject: str = Field(default="anonymous", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Subject code, no name."""
    created: str = ""
    """ISO date and time, UTC."""
    ch_names: tuple[str, ...] = Field(min_length=1)
    """Channels, in the order of the numbers."""
    montage: tuple[str, ...] = ()
    """Labels of the calibration's channels as the headset gave them."""
    sfreq: float = Field(gt=0, le=1e6)
    """Of the calibration, Hz."""
    filter: FilterConfig
    """The causal filter in front of the epochs that it was fitted to."""
    preset: str = ""
    encoder: EncoderReference | None = None
    """What it stands behind; None: raw epochs."""
    classes: EventClasses | None = None
    """What is told apart where no encoder stands before it."""
    looks: LookResponse | None = None
    """What noise-tagged looks taught; it stands behind no encoder and decodes no classes."""
    report: CalibrationReport | None = None
    """What the calibration found; None for one that was fitted without being judged."""
    data_sha256: str = ""
    """Over the calibration epochs' samples and labels."""
    recordings: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of the files that the calibration came from, by name."""
    learnt: tuple[Learnt, ...] = ()
    """The parts of them that were learnt from; empty with `recordings`: the whole of each."""
    weights_sha256: str = ""
    """Of the weights' file; filled in when saved."""

    @model_validator(mode="after")
    def _is_whole(self) -> AdapterManifest:
        if len(set(self.ch_names)) != len(self.ch_names):
            raise ValueError("ch_names holds a name twice")
        if (self.kind in CLASS_KINDS) != (self.classes is not None):
            raise ValueError(f"kind {self.kind!r} and classes do not go together")
        if (self.kind == LOOKS) != (self.looks is not None):
            raise ValueError(f"kind {self.kind!r} and looks do not go together")
        if [self.encoder, self.classes, self.looks].count(None) != 2:
            raise ValueError("one of encoder, classes and looks is needed")
        return self

    @property
    def parts(self) -> tuple[tuple[str, float, float], ...]:
        """What was learnt from: SHA-256 of the recording, first and last moment."""
        if self.learnt:
            return tuple((each.sha256, each.start, each.stop) for each in self.learnt)
        # Written before the parts were: all of each recording may have been.
        return tuple((sha256, -math.inf, math.inf) for sha256 in self.recordings.values())

    @property
    def event_classes(self) -> EventClasses:
        """The classes of an adapter that has some."""
        if self.classes is None:
            raise AdapterError(f"an adapter of the kind {self.kind!r} decodes no classes.")
        return self.classes

    @property
    def n_features(self) -> int:
        """Size of the vectors of the encoder that it stands behind."""
        if self.encoder is None:
            raise AdapterError(f"an adapter of the kind {self.kind!r} stands behind no encoder.")
        return self.encoder.n_features

    def check_filter(self, config: FilterConfig) -> None:
        """Raise `AdapterError` naming the first setting of a session's filter that differs."""
        for name in type(self.filter).model_fields:
            given, expected = getattr(config, name), getattr(self.filter, name)
            if given != expected:
                raise AdapterError(
                    f"filter.{name} is {given}, the adapter was fitted with {expected}: set it so "
                    "in the session, or calibrate again."
                )


def parse_manifest(text: bytes, path: Path) -> AdapterManifest:
    """Read a manifest's text, of this version or the one before; `path` is named in errors.

    Raises
    ------
    AdapterError
        Not JSON, or of an unknown kind or version.
    """
    try:
        table = json.loads(text)
        if not isinstance(table, dict):
            raise ValueError("no table")
    except (ValueError, RecursionError) as error:
        raise AdapterError(
            f"{path}: Invalid JSON ({error}), expected an adapter's manifest: restore it or "
            "calibrate again."
        ) from error
    try:
        # Validated as JSON: strict tuples come as lists.
        return AdapterManifest.model_validate_json(json.dumps(_upgraded(table)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise AdapterError(
            f"{path}: {where} is wrong ({first['msg']}), expected an adapter of schema version "
            f"{SCHEMA_VERSION} or 1: calibrate again, or use the version that wrote it."
        ) from error


def _upgraded(table: dict[str, Any]) -> dict[str, Any]:
    """A table of version 1 in the fields of this one; any other as it is."""
    if table.get("schema_version", 1) != 1:
        return table
    table = table | {"schema_version": SCHEMA_VERSION}
    if table.get("kind", CLASSES) == _OLD_PICTURES:
        names = {"encoder": "system", "encoder_sha256": "sha256", "n_features": "n_features"}
        found = {"system": "embedded"} | _moved(table, names)
        return table | {"kind": table.pop("method", ""), "encoder": found}
    names = {name: name for name in EventClasses.model_fields}
    return table | {"kind": table.get("kind", CLASSES), "classes": _moved(table, names)}


def _moved(table: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Take fields out of `table`, under their new names."""
    return {new: table.pop(old) for old, new in names.items() if old in table}
