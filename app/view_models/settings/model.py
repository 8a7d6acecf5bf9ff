"""The settings a person changes in the window, and the configuration they make.

Owns preset, subject code and recording switch. Knows nothing of Qt; the loader is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from app.view_models.settings.form import SettingsForm
from app.view_models.settings.presets import PresetFiles
from app.view_models.sources.model import SourceChoice, SourceKind
from configs import ConfigError, SessionConfig
from models.registry import names_with

SUBJECT_RULE = re.compile(r"[A-Za-z0-9_-]{1,64}")


class SettingsModel:
    """What the next session will be set to."""

    def __init__(
        self,
        config: SessionConfig,
        *,
        presets: Sequence[str] = (),
        load: Callable[[str], SessionConfig] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.problem = ""
        """A sentence when the changed preset could not be read."""
        self.files = None if load is None else PresetFiles(presets, load, folder)
        self._base = self._as_changed(config)
        config = self._base
        self.presets: tuple[str, ...] = tuple(presets) or (config.preset,)
        if config.preset not in self.presets:
            self.presets = (config.preset, *self.presets)
        self.subject = config.subject
        self.record = config.recording.enabled
        self.control = config.decoder.control
        """Whether the next session draws a noise control beside each picture."""
        self.adapter = config.decoder.adapter
        """Folder or id of the adapter that the next session begins with; None: none."""

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
        if name != self._base.preset and self.files is not None:
            self._base = self.files.load(name)
            self.control = self.control or self._base.decoder.control
            # An adapter belongs to one system's encoder.
            self.adapter = self._base.decoder.adapter

    def form(self) -> SettingsForm:
        """Return every setting of the preset to be changed."""
        recording = self._base.recording.model_copy(update={"enabled": self.record})
        chosen = {"control": self.control, "adapter": self.adapter}
        decoder = self._base.decoder.model_copy(update=chosen)
        now = self._base.model_copy(update={"recording": recording, "decoder": decoder})
        shipped = self._base
        if self.files is not None and self.preset in self.files.names:
            shipped = self.files.shipped(self.preset)
        known = {
            "decoder.system": names_with("encoder"),
            "decoder.generator": names_with("sampler"),
        }
        return SettingsForm(now, shipped, known=known)

    def take(self, config: SessionConfig) -> None:
        """Use `config` from the next session on, and keep it for its preset.

        Raises
        ------
        AppError
            It cannot be kept; it is used all the same.
        """
        self._base = config
        self.record = config.recording.enabled
        self.control = config.decoder.control
        self.adapter = config.decoder.adapter
        if self.files is not None:
            self.files.save(config)

    def _as_changed(self, config: SessionConfig) -> SessionConfig:
        """Return a preset as it was changed; settings that were given stay as given."""
        files = self.files
        if files is None or config.preset not in files.names:
            return config
        if not files.is_changed(config.preset) or config != files.shipped(config.preset):
            return config
        try:
            return files.load(config.preset)
        except ConfigError as error:
            self.problem = str(error)
            return config

    def build(self, choice: SourceChoice) -> SessionConfig:
        """Return the configuration of the next session on `choice`."""
        update: dict[str, object] = {
            "subject": self.subject,
            "recording": self._base.recording.model_copy(update={"enabled": self.record}),
            "decoder": self._base.decoder.model_copy(
                update={"control": self.control, "adapter": self.adapter}
            ),
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
        return choice.options.applied(
            self._base.model_copy(update=update), is_replay=choice.kind is SourceKind.REPLAY
        )
