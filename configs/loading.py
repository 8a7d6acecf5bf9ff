"""Reading TOML into a `SessionConfig`.

Owns the one loader; its error gives file, key, value and rule in one line. A `session.toml` of
an earlier run is accepted: the tables that describe the run (`run`, `streams`) are set aside.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from configs.models import SessionConfig

DESCRIPTIVE_TABLES = ("run", "streams")
"""Tables of `session.toml` that say what happened; not settings."""


class ConfigError(Exception):
    """A setting that cannot be used; one line with file, key, value and rule."""


def list_presets() -> tuple[str, ...]:
    """Names of the presets that ship with the app, sorted."""
    folder = resources.files("configs") / "presets"
    return tuple(sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".toml")))


def load_preset(name: str) -> SessionConfig:
    """Load a preset by name; raise `ConfigError` naming the known ones."""
    if name not in list_presets():
        raise ConfigError(
            f"preset {name!r} is unknown, expected one of {', '.join(list_presets())}: "
            "choose one with --preset, or give a file with --config."
        )
    text = (resources.files("configs") / "presets" / f"{name}.toml").read_text(encoding="utf-8")
    return _validate(tomllib.loads(text), where=f"preset {name}")


def load_config(path: Path) -> SessionConfig:
    """Load a TOML file, an earlier run's `session.toml` included.

    Raises
    ------
    ConfigError
        The file is missing, is not TOML, or a setting breaks its rule.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file, expected a TOML configuration.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}), expected TOML text.") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML ({error}); mend that line.") from None
    for name in DESCRIPTIVE_TABLES:
        table.pop(name, None)
    return _validate(table, where=str(path))


def _validate(table: dict[str, Any], *, where: str) -> SessionConfig:
    try:
        return SessionConfig.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(whole file)"
        value = repr(first.get("input"))
        shown = value if len(value) <= 80 else value[:77] + "..."
        more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ConfigError(f"{where}: {key} = {shown}: {first['msg']}{more}") from None
