"""Drawing outside of a session: every mode of a system, its known faults on request.

Owns what `phosphene generate` asks of any system: embed an epoch, draw it in a mode, say what was
done. A sampler has one mode unless it says otherwise (`DrawsModes`). Knows no system by name, and
nothing of files or streams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from configs import DecoderConfig
from models.api import DrawingOptions, DrawsModes, EncoderSpec, EncodesPrepared, HasPrior
from models.systems import System, load_system
from pipeline.errors import ConfigurationError
from pipeline.values import Embedding, Epoch, Float32, Uint8

SINGLE = "single"
"""The one mode of a sampler without modes."""


class Drawer:
    """A system that embeds and draws one epoch after the other.

    Raises
    ------
    ConfigurationError
        An option that the system has not.
    """

    def __init__(self, system: System, options: DrawingOptions) -> None:
        self.system = system
        self._facts: Mapping[str, Any] = {}
        sampler = system.sampler
        if isinstance(sampler, DrawsModes):
            self.modes: tuple[str, ...] = sampler.modes
            self._facts = sampler.apply(options)
            return
        self.modes = (SINGLE,)
        asked = [name for name, value in _asked(options) if value]
        if asked:
            raise ConfigurationError(
                f"{system.name} has one modality and no {asked[0]}: leave the option out, or "
                "choose a system with several (`phosphene systems`)."
            )
        if options.prior_steps is not None:
            if not isinstance(sampler, HasPrior) or not sampler.has_prior:
                raise ConfigurationError(f"{system.name} has no prior: leave --prior-steps out.")
            sampler.prior_steps = options.prior_steps

    @property
    def spec(self) -> EncoderSpec:
        """What its encoder wants."""
        return self.system.encoder.spec

    def encode(self, epoch: Epoch) -> Embedding:
        """Embed an epoch of any labelled montage, as a session does."""
        return self.system.encoder.encode(epoch)

    def encode_prepared(
        self, eeg: Float32, ch_names: Sequence[str], *, subject_id: int, index: int
    ) -> Embedding:
        """Embed an epoch of prepared THINGS-EEG2, (n_channels, n_times).

        Raises
        ------
        ConfigurationError
            The system was not trained on it.
        """
        encoder = self.system.encoder
        if not isinstance(encoder, EncodesPrepared):
            raise ConfigurationError(
                f"{self.system.name} does not take prepared THINGS-EEG2: give a recording, a "
                "session folder or MNE epochs."
            )
        return encoder.encode_prepared(eeg, ch_names, subject_id=subject_id, index=index)

    def draw(
        self, embedding: Embedding, *, seed: int, mode: str, label: str
    ) -> tuple[dict[str, Uint8], dict[str, Any]]:
        """Pictures (height, width, 3) by name in the mode's order, and facts about them.

        `label` reaches the picture only with `oracle_prompt`.
        """
        sampler = self.system.sampler
        if isinstance(sampler, DrawsModes):
            return sampler.draw_mode(embedding, mode=mode, seed=seed, label=label)
        return {"picture": sampler.sample(embedding, seed=seed).pixels}, {}

    def facts(self) -> dict[str, Any]:
        """What provenance says of every picture."""
        return {
            "system": self.system.name,
            "encoder_sha256": self.spec.sha256,
            "sampler_sha256": self.system.sampler.spec.sha256,
            "versions": dict(self.system.versions),
            **self.system.options,
            **self._facts,
        }


def _asked(options: DrawingOptions) -> list[tuple[str, bool]]:
    """What only a sampler with modes has."""
    return [
        ("adaptive", options.adaptive),
        ("oracle-prompt", options.oracle_prompt),
        ("faults", bool(options.faults)),
    ]


def open_drawer(
    config: DecoderConfig, options: DrawingOptions, *, gallery: str | None = None
) -> Drawer:
    """Load a system for drawing.

    Raises
    ------
    PhospheneError
        As `load_system`, or an option that the system has not.
    """
    return Drawer(load_system(config, gallery=gallery), options)
