"""Every setting of a session as a form: titles, explanations, texts that are checked as typed.

Owns the way from the configuration's models to texts and back; rules and explanations are the
models' own, so a new setting appears by itself. Knows nothing of Qt.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from configs import SessionConfig
from configs.described import described

_KNOWN: Mapping[str, str] = {
    "source": "EEG stream",
    "markers": "Markers",
    "filter": "Filter",
    "epochs": "Epochs",
    "decoder": "Decoder",
    "recording": "Recording",
    "stimuli": "Stimuli",
    "simulation": "Virtual headset",
    "outlets": "Own streams",
    "outputs": "Other programs",
}
ELSEWHERE = frozenset({"schema_version", "preset", "subject"})
"""What has its place in the window, or none."""
TITLES: Mapping[str, str] = {
    "ch_names": "Channel names",
    "picks": "Channels used",
    "sfreq": "Rate, Hz",
    "source_id": "source_id",
    "counter_channel": "Counter channel",
    "resolve_timeout": "Search time, s",
    "chunk_ms": "Longest wait, ms",
    "stimulus_offset_ms": "Display lag, ms",
    "event_id": "Labels to decode",
    "l_freq": "Lower edge, Hz",
    "h_freq": "Upper edge, Hz",
    "notch_freqs": "Notches, Hz",
    "notch_q": "Notch quality",
    "tmin": "From, s",
    "tmax": "To, s",
    "baseline": "Baseline, s",
    "reject_uv": "Largest peak-to-peak, µV",
    "flat_uv": "Smallest peak-to-peak, µV",
    "step": "Step, s",
    "max_future": "Furthest ahead, s",
    "max_pending": "Markers that may wait",
    "smoothing": "Smoothing",
    "between": "Pictures between two",
    "num_inference_steps": "Steps",
    "guidance_scale": "Guidance",
    "queue_size": "Epochs that may wait",
    "control": "Noise control",
    "align": "Follow the person",
    "clock_offset_interval": "Clock probes, s",
    "boundary_interval": "Boundaries, s",
    "min_free_mb": "Low disk, MB",
    "soa": "Onset to onset, s",
    "duration": "Duration, s",
    "jitter": "Jitter, s",
    "snr": "Strength of responses",
    "subject_number": "Virtual person",
    "buffer": "Buffer, s",
    "codes": "Markers as numbers",
    "osc": "OSC to",
    "feed": "Picture feed, port",
    "lab_recorder": "LabRecorder",
}


def _is_table(name: str) -> bool:
    annotation = SessionConfig.model_fields[name].annotation
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


SECTIONS: Mapping[str, str] = {
    **{name: title for name, title in _KNOWN.items() if name in SessionConfig.model_fields},
    **{
        name: name.replace("_", " ").capitalize()
        for name in SessionConfig.model_fields
        if name not in _KNOWN and _is_table(name)
    },
    "": "Session",
}
"""Tables of the configuration in the order of the form; the empty one holds the rest."""


class Kind(StrEnum):
    """How a setting is entered."""

    SWITCH = "switch"
    CHOICE = "choice"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class SettingField:
    """One setting; `path` is its dotted key, `choices` the words of a choice."""

    path: str
    title: str
    about: str
    kind: Kind
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SettingSection:
    """Settings that belong together."""

    title: str
    fields: tuple[SettingField, ...]


class SettingsForm:
    """Texts of every setting, begun from `config`; `defaults` is what a reset goes back to.

    `known` holds words that a free text may well be, by path.
    """

    def __init__(
        self,
        config: SessionConfig,
        defaults: SessionConfig,
        *,
        known: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._config, self._defaults = config, defaults
        self.known = {} if known is None else known
        self.sections = tuple(_sections())
        self._annotations = {
            field.path: annotation for name in SECTIONS for field, annotation in _fields(name)
        }
        self.texts = {path: to_text(_get(config, path)) for path in self._annotations}
        self.problems: dict[str, str] = {}
        """What is wrong, by path; a rule between two settings stands at its table's first."""
        self._built: SessionConfig | None = config

    def set_text(self, path: str, text: str) -> None:
        """Take a text, and check the whole form with it."""
        self.texts[path] = text
        self._check()

    def reset(self) -> None:
        """Go back to the defaults."""
        self.texts = {path: to_text(_get(self._defaults, path)) for path in self._annotations}
        self._check()

    def is_changed(self, path: str) -> bool:
        """Whether a setting differs from its default."""
        return self.texts[path].strip() != to_text(_get(self._defaults, path))

    @property
    def result(self) -> SessionConfig | None:
        """The configuration; None while something is wrong."""
        return self._built

    def _check(self) -> None:
        self.problems, self._built = {}, None
        table = self._config.model_dump()
        for path, annotation in self._annotations.items():
            try:
                value = from_text(self.texts[path], annotation)
            except ValueError as error:
                self.problems[path] = str(error)
                continue
            *parents, name = path.split(".")
            (table[parents[0]] if parents else table)[name] = value
        if self.problems:
            return
        try:
            self._built = SessionConfig.model_validate(table)
        except ValidationError as error:
            for each in error.errors():
                words = str(each["msg"]).removeprefix("Value error, ")
                words = words.replace("Input should be", "It must be")
                self.problems.setdefault(self._path_of(each["loc"]), words)

    def _path_of(self, place: tuple[int | str, ...]) -> str:
        for length in (2, 1):
            path = ".".join(str(part) for part in place[:length])
            if path in self.texts:
                return path
        prefix = f"{place[0]}." if place else "epochs."
        return next(path for path in self.texts if path.startswith(prefix))


def to_text(value: object) -> str:
    """Return a setting as a person types it; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {to_text(each)}" for key, each in value.items())
    if isinstance(value, tuple):
        return ", ".join(to_text(each) for each in value)
    return str(value)


def from_text(text: str, annotation: Any) -> object:
    """Return what `text` says for a setting of type `annotation`; raise `ValueError` in words."""
    text = text.strip()
    options = _options(annotation)
    if not text and type(None) in options:
        return None
    kind = next((each for each in options if each is not type(None)), str)
    origin = get_origin(kind)
    if kind is bool:
        return text == "on"
    if origin is tuple:
        return _tuple_from(text, get_args(kind))
    if origin is dict:
        return _table_from(text)
    if origin is Literal:
        # Words and numbers alike are chosen by how they are written.
        return next((each for each in get_args(kind) if str(each) == text), text)
    if kind in (int, float):
        return _number_from(text, kind)
    return text


def _tuple_from(text: str, args: tuple[Any, ...]) -> tuple[object, ...]:
    parts = [part.strip() for part in text.replace(";", ",").split(",") if part.strip()]
    if args[0] is float:
        return tuple(_number_from(part, float) for part in parts)
    return tuple(parts)


def _table_from(text: str) -> dict[str, object]:
    table: dict[str, object] = {}
    for part in text.split(","):
        if not part.strip():
            continue
        name, _, number = part.strip().replace(":", " ").partition(" ")
        table[name] = _number_from(number.strip(), float)
    return table


def _number_from(text: str, kind: type) -> float | int:
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        expected = "a whole number" if kind is int else "a number"
        raise ValueError(f"{text!r} is given, expected {expected}.") from None


def _sections() -> list[SettingSection]:
    return [
        SettingSection(title, tuple(field for field, _ in _fields(name)))
        for name, title in SECTIONS.items()
    ]


def _fields(table: str) -> list[tuple[SettingField, Any]]:
    """Settings of a table with their types."""
    model: type[BaseModel] = SessionConfig
    if table:
        annotation = SessionConfig.model_fields[table].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            raise ValueError(f"{table!r} is no table of the configuration: mend SECTIONS.")
        model = annotation
    prefix = f"{table}." if table else ""
    about = described(model)
    return [
        (_field(f"{prefix}{name}", name, info, about.get(name, "")), info.annotation)
        for name, info in model.model_fields.items()
        if not (not table and (name in ELSEWHERE or name in SECTIONS))
    ]


def _field(path: str, name: str, info: FieldInfo, about: str) -> SettingField:
    title = TITLES.get(name, name.replace("_", " ").capitalize())
    # What a person types for it.
    about = about.replace("`", "").replace("None:", "empty:")
    options = [each for each in _options(info.annotation) if each is not type(None)]
    if options == [bool]:
        return SettingField(path, title, about, Kind.SWITCH)
    if options and get_origin(options[0]) is Literal:
        choices = tuple(str(word) for word in get_args(options[0]))
        return SettingField(path, title, about, Kind.CHOICE, choices)
    return SettingField(path, title, about, Kind.TEXT)


def _options(annotation: Any) -> tuple[Any, ...]:
    """Members of a union, or the type itself."""
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def _get(config: BaseModel, path: str) -> object:
    value: object = config
    for name in path.split("."):
        value = getattr(value, name)
    return value
