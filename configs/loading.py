"""Reading TOML into a `SessionConfig`.

Owns the one loader; its error gives file, key, value and rule in one line. A `session.toml` of
an earlier run is accepted: the tables that describe the run (`run`, `streams`) are set aside.

A file by hand is taken strictly: a misspelt key is an error. Where it names a preset that exists,
what it leaves out is that preset's. A file that the app wrote states its `schema_version` and every
setting that is not its default, so that it takes nothing from a preset. A file that another version
wrote is taken as far as this one knows it: what is unknown is left out, what is not allowed gets
its default, and each is named in a warning. No file is ever written here.
"""

from __future__ import annotations

import difflib
import logging
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from configs.guard import read_text
from configs.models import SCHEMA_VERSION, SessionConfig
from configs.plugins import PluginError, find_plugins

DESCRIPTIVE_TABLES = ("run", "streams")
"""Tables of `session.toml` that say what happened; not settings."""


if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """Settings, and one sentence for each thing in their file that this version left out.

    `run` is what a `session.toml` says of the run that wrote it: versions and hashes.
    """

    config: SessionConfig
    warnings: tuple[str, ...] = ()
    run: Mapping[str, Any] = field(default_factory=dict)


class ConfigError(Exception):
    """A setting that cannot be used; one line with file, key, value and rule."""


PRESETS = "phosphene.presets"
"""Entry points of other distributions' presets: each is TOML text."""


def _shipped() -> dict[str, Traversable]:
    folder = resources.files("configs") / "presets"
    return {p.name[:-5]: p for p in folder.iterdir() if p.name.endswith(".toml")}


def list_presets() -> tuple[str, ...]:
    """Names of the presets that ship with the app, sorted, then those of other distributions."""
    shipped = _shipped()
    others = find_plugins(PRESETS).found
    return (*sorted(shipped), *(name for name in others if name not in shipped))


def load_preset(name: str) -> SessionConfig:
    """Load a preset by name; raise `ConfigError` naming the known ones."""
    return validate(_preset(name), where=f"preset {name}")


def _preset(name: str) -> dict[str, Any]:
    """Read a preset's own settings, its name among them."""
    shipped, others = _shipped(), find_plugins(PRESETS).found
    try:
        if name in shipped:
            text = shipped[name].read_text(encoding="utf-8")
        elif name in others:
            text = others[name].load(str)
        else:
            raise ConfigError(
                f"preset {name!r} is unknown, expected one of {', '.join(list_presets())}: "
                "choose one with --preset, or give a file with --config."
            )
        table = tomllib.loads(text)
    except (PluginError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"preset {name} cannot be used: {error}") from None
    return {"preset": name, **table}


def load_config(path: Path) -> SessionConfig:
    """Load a TOML file, an earlier run's `session.toml` included; its warnings go to the log.

    Raises
    ------
    ConfigError
        The file is missing, is not TOML, or a setting breaks its rule.
    """
    loaded = read_config(path)
    for sentence in loaded.warnings:
        _LOG.warning("%s", sentence)
    return loaded.config


def read_config(path: Path) -> LoadedConfig:
    """Load a TOML file as `load_config` does, and hand its warnings on."""
    try:
        text = read_text(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file, expected a TOML configuration.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}), expected TOML text.") from None
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error}); mend that line.") from None
    writer, run = _other_version(table), table.get("run")
    run = run if isinstance(run, dict) else {}
    _fill_in_past(table, run)
    for name in DESCRIPTIVE_TABLES:
        table.pop(name, None)
    if run and "options" not in run:
        _forget_idle_guidance(table)
    if not run and "schema_version" not in table:
        table = _on_preset(table, where=str(path))
    if writer is None:
        return LoadedConfig(validate(table, where=str(path)), run=run)
    return replace(_take_known(table, where=f"{path} (written by {writer})"), run=run)


def _on_preset(table: dict[str, Any], *, where: str) -> dict[str, Any]:
    """A file by hand over the preset that it names; a name of its own stays one.

    Raises
    ------
    ConfigError
        Its name is nearly that of a preset.
    """
    name, known = table.get("preset"), list_presets()
    if name in known:
        return _changed(_preset(name), table)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.8) if isinstance(name, str) else []
    if near:
        raise ConfigError(
            f"{where}: preset = {name!r}, expected a preset's name, such as {near[0]!r}, or one "
            "that is like none: mend it."
        )
    return table


def _changed(preset: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    """Lay a file's settings over a preset's, one by one within their tables."""
    both = {**preset, **table}
    for name, theirs in preset.items():
        if isinstance(theirs, dict) and isinstance(both[name], dict):
            both[name] = {**theirs, **both[name]}
    return both


def _forget_idle_guidance(table: dict[str, Any]) -> None:
    """Leave out the guidance of an old `session.toml` whose system drew as its weights said."""
    decoder = table.get("decoder")
    if isinstance(decoder, dict) and str(decoder.get("system")).startswith("atm"):
        decoder.pop("guidance_scale", None)


def _fill_in_past(table: dict[str, Any], run: Mapping[str, Any]) -> None:
    """Turn off what a session of an earlier version did not do, so that it repeats itself.

    A `session.toml` holds every setting: one that is missing did not exist yet.
    """
    epochs = table.get("epochs")
    if run and isinstance(epochs, dict):
        epochs.setdefault("leave_out", False)
    source = table.get("source")
    if run and isinstance(source, dict):
        source.setdefault("own_names", False)
        source.setdefault("follow_arrival", False)
    decoder = table.get("decoder")
    if run and isinstance(decoder, dict):
        decoder.setdefault("rank_classes", False)
        decoder.setdefault("doubt_session", False)
        decoder.setdefault("generator_revision", 1)
        decoder.setdefault("blend", False)
        decoder.setdefault("graph_revision", 1)
        decoder.setdefault("own_pictures", False)
        # A recording that is read again sends nobody's EEG anywhere: that is asked for anew.
        decoder.pop("remote", None)


def _other_version(table: dict[str, Any]) -> str | None:
    """Say which other version wrote a file; None for this one's, and for a file by hand."""
    schema = table.get("schema_version", SCHEMA_VERSION)
    if isinstance(schema, int) and schema != SCHEMA_VERSION:
        return f"a version with settings of schema {schema}"
    run = table.get("run")
    wrote = run.get("phosphene") if isinstance(run, dict) else None
    try:
        here = version("phosphene")
    except PackageNotFoundError:
        return None
    return f"phosphene {wrote}" if isinstance(wrote, str) and wrote != here else None


def _take_known(table: dict[str, Any], *, where: str) -> LoadedConfig:
    """Take what can be used; each thing that cannot be is dropped and named."""
    table["schema_version"] = SCHEMA_VERSION
    warnings: list[str] = []
    while True:
        try:
            return LoadedConfig(SessionConfig.model_validate(table), tuple(warnings))
        except ValidationError as error:
            first = error.errors()[0]
        key = _drop(table, first["loc"])
        if first["type"] == "extra_forbidden":
            rest = "this version does not know it, so it is left out."
        else:
            rest = f"{first['msg']}; its default holds."
        warnings.append(f"{where}: {key} = {_shown(first.get('input'))}: {rest}")


def _drop(table: dict[str, Any], loc: tuple[int | str, ...]) -> str:
    """Take the setting at `loc` out of the table; a rule about a whole table takes all of it."""
    parent: Any = table
    path = [part for part in loc if isinstance(part, str)]
    for depth, part in enumerate(path):
        if not isinstance(parent, dict) or part not in parent:
            break
        if depth == len(path) - 1 or not isinstance(parent[part], dict):
            del parent[part]
            return ".".join(path[: depth + 1])
        parent = parent[part]
    table.clear()
    return "(whole file)"


def validate(table: dict[str, Any], *, where: str) -> SessionConfig:
    """Check a table of settings; `where` is what an error names first."""
    try:
        return SessionConfig.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(whole file)"
        shown = _shown(first.get("input"))
        more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ConfigError(f"{where}: {key} = {shown}: {first['msg']}{more}") from None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
