"""What a person likes the window to be: theme, size of text, what is asked and opened.

Owns these settings and their file, TOML in the user's folder of settings. Sessions have settings of
their own (`configs`); geometry and recent files are the view's. Knows nothing of Qt.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from configs.guard import read_text

TEXT_SCALES = (0.85, 1.0, 1.15, 1.3, 1.5)
"""Sizes of text that are offered; 1 is the window's own."""


SESSIONS = "Phosphene"
"""Folder of sessions where none was chosen, below the person's folder of documents."""


class Preferences(BaseModel):
    """Everything that is liked; defaults stand here."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    theme: Literal["dark", "light"] = "dark"
    """Colours of the window."""
    text_scale: float = Field(default=1.0, ge=0.75, le=2.0)
    """Size of all text, times its usual size."""
    open_report: bool = True
    """Open the report in the browser when a session has ended."""
    sessions_folder: str = Field(default=SESSIONS, min_length=1)
    """Folder in which each session gets a folder of its own, with recording, pictures and report;
    a relative one is below the person's folder of documents."""
    confirm: bool = True
    """Ask before a recording is ended, or a session by closing the window."""

    @property
    def sessions_path(self) -> Path:
        """Where sessions go, wherever the window was started."""
        from platformdirs import user_documents_path

        return user_documents_path() / Path(self.sessions_folder).expanduser()


class PreferencesStore:
    """Preferences in memory, and in a file when there is one.

    Parameters
    ----------
    path : Path or None
        The file; None keeps nothing.
    value : Preferences, optional
        What holds where there is no file.
    """

    def __init__(self, path: Path | None, value: Preferences | None = None) -> None:
        self._path = path
        self.value = value or Preferences()
        self.problem = ""
        """A sentence when the file could not be read or written."""
        if path is not None and path.exists():
            self._read(path)

    def change(self, **fields: object) -> None:
        """Set fields and write the file; a value that breaks its rule raises `ValueError`."""
        self.value = Preferences.model_validate({**self.value.model_dump(), **fields})
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(tomli_w.dumps(self.value.model_dump()), encoding="utf-8")
            self.problem = ""
        except OSError as error:
            self.problem = (
                f"{self._path}: cannot be written ({error.strerror}); the window's settings hold "
                "until it is closed."
            )

    def step_text(self, steps: int) -> None:
        """Take the next larger (`steps` > 0) or smaller size of text."""
        at = min(range(len(TEXT_SCALES)), key=lambda k: abs(TEXT_SCALES[k] - self.value.text_scale))
        self.change(text_scale=TEXT_SCALES[min(max(at + steps, 0), len(TEXT_SCALES) - 1)])

    def _read(self, path: Path) -> None:
        try:
            table = tomllib.loads(read_text(path))
            self.value = Preferences.model_validate(table)
        except (OSError, ValidationError, ValueError, RecursionError) as error:
            reason = str(error).splitlines()[0]
            self.problem = (
                f"{path}: cannot be used ({reason}), so the window has its usual settings; mend or "
                "delete the file."
            )


def preferences_path() -> Path:
    """Where a person's preferences lie."""
    from platformdirs import user_config_path

    return user_config_path("phosphene", appauthor=False) / "window.toml"
