"""The settings a person changes in the window, and the configuration they make.

Owns preset, subject code and recording switch. Knows nothing of Qt; the loader is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from app.view_models.sources import SourceChoice, SourceKind
from configs import SessionConfig

SUBJECT_RULE = re.compile(r"[A-Za-z0-9_-]{1,64}")


class SettingsModel:
    """What the next session will be set to."""

    def __init__(
        self,
        config: SessionConfig,
        *,
        presets: Sequence[str] = (),
        load: Callable[[str], SessionConfig] | None = None,
    ) -> None:
        self._base = config
        self._load = load
        self.presets: tuple[str, ...] = tuple(presets) or (config.preset,)
        if config.preset not in self.presets:
            self.presets = (config.preset, *self.presets)
        self.subject = config.subject
        self.record = config.recording.enabled
        self.control = config.decoder.control
        """Whether the next session draws a noise control beside each picture."""

    @property
    def preset(self) -> str:
        """Name of the chosen preset."""
        return self._base.preset

    @property
    def base(self) -> SessionConfig:
        """The preset as loaded."""
        return self._base

    @property
    def subject_error(self) -> str:
        """Why the subject code cannot be used; empty when it can."""
        if SUBJECT_RULE.fullmatch(self.subject):
            return ""
        return (
            f"Subject code {self.subject!r} cannot be used: take 1 to 64 letters, digits, "
            "- or _, and no name of a person."
        )

    def choose_preset(self, name: str) -> None:
        """Load another preset; `ConfigError` passes through."""
        if name != self._base.preset and self._load is not None:
            self._base = self._load(name)
            self.control = self.control or self._base.decoder.control

    def build(self, choice: SourceChoice) -> SessionConfig:
        """Return the configuration of the next session on `choice`."""
        update: dict[str, object] = {
            "subject": self.subject,
            "recording": self._base.recording.model_copy(update={"enabled": self.record}),
            "decoder": self._base.decoder.model_copy(update={"control": self.control}),
        }
        if choice.kind is SourceKind.LIVE and choice.stream is not None:
            source: dict[str, object] = {
                "name": choice.stream.name,
                "type": choice.stream.type,
                "source_id": choice.key or choice.stream.source_id or None,
            }
            if choice.ch_names:
                source["ch_names"] = choice.ch_names
            if choice.unit:
                source["unit"] = choice.unit
            update["source"] = self._base.source.model_copy(update=source)
            if choice.markers is not None:
                update["markers"] = self._base.markers.model_copy(
                    update={
                        "name": choice.markers.name,
                        "source_id": choice.markers.source_id or None,
                    }
                )
        return self._base.model_copy(update=update)
