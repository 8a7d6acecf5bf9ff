"""Presets as a person has changed them: a file each, in the user's folder of settings.

Owns these files. The presets that ship are never written to. Knows nothing of Qt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import tomli_w

from app.errors import AppError
from configs import ConfigError, SessionConfig, load_config

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
Load = Callable[[str], SessionConfig]


class PresetFiles:
    """Presets by name.

    Parameters
    ----------
    names : sequence of str
    load : callable
        Loads one as it ships.
    folder : Path or None
        Where changed ones are kept; None keeps nothing.
    """

    def __init__(self, names: Sequence[str], load: Load, folder: Path | None) -> None:
        self.names = tuple(names)
        self.shipped = load
        self._folder = folder

    def load(self, name: str) -> SessionConfig:
        """Load a preset as the person has changed it; `ConfigError` passes through."""
        path = self._path(name)
        if path is None or not path.is_file():
            return self.shipped(name)
        try:
            return load_config(path)
        except ConfigError as error:
            raise ConfigError(f"{error} Mend or delete that file.") from None

    def is_changed(self, name: str) -> bool:
        """Whether the person has changed a preset."""
        path = self._path(name)
        return path is not None and path.is_file()

    def save(self, config: SessionConfig) -> None:
        """Keep `config` as its preset; equal to what ships, the file goes.

        Raises
        ------
        AppError
            The folder cannot be written to.
        """
        path = self._path(config.preset)
        if path is None:
            if self._folder is not None:
                raise AppError(
                    f"preset = {config.preset!r} cannot name a file, expected letters, digits, "
                    "'_' and '-': the settings hold until the window is closed."
                )
            return
        try:
            if config.preset in self.names and config == self.shipped(config.preset):
                path.unlink(missing_ok=True)
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(tomli_w.dumps(config.to_table()), encoding="utf-8")
        except OSError as error:
            raise AppError(
                f"{path}: cannot be written ({error.strerror}): the settings hold until the window "
                "is closed."
            ) from None

    def _path(self, name: str) -> Path | None:
        """Its file; None where nothing is kept, or a stranger's settings name another place."""
        if self._folder is None or not _NAME.fullmatch(name):
            return None
        return self._folder / f"{name}.toml"


def presets_folder() -> Path:
    """Where changed presets lie."""
    from platformdirs import user_config_path

    return user_config_path("phosphene", appauthor=False) / "presets"
