"""What an adapter says of itself: the readable half of its two files.

Owns names, units and rules of the fields. Frozen, strict, versioned; nothing here is executable.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from configs import FilterConfig
from models.adapters.errors import AdapterError
from models.adapters.report import CalibrationReport
from models.adapters.targets import Target

SCHEMA_VERSION = 1


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


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


class AdapterManifest(_Strict):
    """Everything about an adapter but its numbers."""

    schema_version: Literal[1] = 1
    kind: Literal["spatio-temporal-lda"] = "spatio-temporal-lda"
    subject: str = Field(default="anonymous", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Subject code, no name."""
    created: str = ""
    """ISO date; free text otherwise."""
    ch_names: tuple[str, ...] = Field(min_length=1)
    sfreq: float = Field(gt=0, le=1e6)
    """Hz."""
    tmin: float = Field(ge=-100, le=100)
    """Start of the window, s from onset."""
    tmax: float = Field(ge=-100, le=100)
    """End of the window, s from onset; nothing later is seen."""
    filter: FilterConfig
    """The causal filter in front of the epochs it was fitted to."""
    targets: tuple[Target, ...] = Field(min_length=2)
    """Classes, in the order of the weights' rows."""
    n_filters: int = Field(ge=1)
    temperature: float = Field(gt=0)
    gallery_sha256: str
    """Of the gallery whose space the prototypes lie in."""
    scores: Scores
    data_sha256: str = ""
    """Over the calibration epochs' samples and labels."""
    recordings: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of the files that the calibration came from, by name."""
    weights_sha256: str = ""
    """Of the weights' file; filled in when saved."""
    montage: tuple[str, ...] = ()
    """Labels of the calibration's channels as the headset gave them."""
    preset: str = ""
    report: CalibrationReport | None = None
    """What the calibration found; None for an adapter fitted by `calibrate` alone."""

    @model_validator(mode="after")
    def _unique_names(self) -> AdapterManifest:
        for what, names in (("ch_names", self.ch_names), ("targets", self.events)):
            if len(set(names)) != len(names):
                raise ValueError(f"{what} holds a name twice")
        return self

    @property
    def events(self) -> tuple[str, ...]:
        """Markers' labels of the classes."""
        return tuple(target.event for target in self.targets)


class PersonalManifest(_Strict):
    """Everything about a picture adapter but its numbers."""

    schema_version: Literal[1] = 1
    kind: Literal["personal"] = "personal"
    method: str
    """Name of the part; see `models.adapters.parts`."""
    subject: str = Field(default="anonymous", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Subject code, no name."""
    created: str = ""
    """ISO date and time, UTC."""
    ch_names: tuple[str, ...] = Field(min_length=2)
    """Canonical labels, in the order of the numbers."""
    montage: tuple[str, ...] = ()
    """Labels as the headset gave them."""
    sfreq: float = Field(gt=0, le=1e6)
    """Of the recording, Hz; other rates are resampled."""
    filter: FilterConfig
    preset: str = ""
    encoder: str = "embedded"
    encoder_sha256: str
    n_features: int = Field(ge=1)
    report: CalibrationReport
    data_sha256: str = ""
    """Of the calibration's epochs."""
    recordings: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of the files that the calibration came from, by name."""
    weights_sha256: str = ""
    """Of the weights' file; filled in when saved."""


def check_filter(wanted: FilterConfig, config: FilterConfig) -> None:
    """Raise `AdapterError` naming the first setting of the filter that differs."""
    for name in type(wanted).model_fields:
        given, expected = getattr(config, name), getattr(wanted, name)
        if given != expected:
            raise AdapterError(
                f"filter.{name} is {given}, the adapter was fitted with {expected}: set it so "
                "in the session, or calibrate again."
            )
