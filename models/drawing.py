"""Drawing outside of a session: every mode of a system, its known faults on request.

Owns what `phosphene generate` asks of any system: embed an epoch, draw it in a mode, say what was
done. A system with one vector an epoch has one mode; the multimodal system has three. Knows
nothing of files or streams.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch

from configs import DecoderConfig
from models.api import EncoderSpec
from models.atm.live import AtmEncoder, AtmSampler
from models.multimodal.live import MultimodalSampler
from models.multimodal.modalities import ACCUMULATION, Faults, Modality
from models.systems import System, load_system
from pipeline.errors import ConfigurationError
from pipeline.values import Embedding, Epoch, Float32, Uint8

SINGLE = "single"
"""The one mode of a system without modalities."""
MODES = ("separate", "fused", "progressive")
"""Of the multimodal system."""
DRAWING_FAULTS = ("blocks_without_attention", "unit_norm_embeddings")
"""Faults of the original that act when it draws, but for the label in its prompt, which has an
option of its own; `pair_all_conditions` acts in training."""


@dataclass(frozen=True, slots=True)
class DrawingOptions:
    """How to draw.

    Attributes
    ----------
    adaptive : bool
        Share the modalities' strength by how sure each prior is.
    oracle_prompt : bool
        Give the true label away in the text prompt.
    faults : tuple of str
        Of `DRAWING_FAULTS`, to repeat.
    prior_steps : int or None
        Steps of the priors; None: as the weights' settings say.
    """

    adaptive: bool = False
    oracle_prompt: bool = False
    faults: tuple[str, ...] = ()
    prior_steps: int | None = None


class Drawer(ABC):
    """A system that embeds and draws one epoch after the other."""

    modes: tuple[str, ...] = (SINGLE,)

    def __init__(self, system: System) -> None:
        self.system = system

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
            The system is not of the ATM family.
        """
        if not isinstance(self.system.encoder, AtmEncoder):
            raise ConfigurationError(
                f"{self.system.name} does not take prepared THINGS-EEG2: give a recording, a "
                "session folder or MNE epochs."
            )
        return self.system.encoder.encode_prepared(
            eeg, ch_names, subject_id=subject_id, index=index
        )

    @abstractmethod
    def draw(
        self, embedding: Embedding, *, seed: int, mode: str, label: str
    ) -> tuple[dict[str, Uint8], dict[str, Any]]:
        """Pictures (height, width, 3) by name in the mode's order, and facts about them.

        `label` reaches the picture only with `oracle_prompt`.
        """

    def facts(self) -> dict[str, Any]:
        """What provenance says of every picture."""
        return {
            "system": self.system.name,
            "encoder_sha256": self.spec.sha256,
            "sampler_sha256": self.system.sampler.spec.sha256,
            "versions": dict(self.system.versions),
            **self.system.options,
        }


class _SingleDrawer(Drawer):
    def draw(
        self, embedding: Embedding, *, seed: int, mode: str, label: str
    ) -> tuple[dict[str, Uint8], dict[str, Any]]:
        del mode, label
        return {"picture": self.system.sampler.sample(embedding, seed=seed).pixels}, {}


class _MultimodalDrawer(Drawer):
    modes = MODES

    def __init__(self, system: System, sampler: MultimodalSampler, options: DrawingOptions) -> None:
        super().__init__(system)
        self._sampler, self._options = sampler, options
        generator = sampler.generator
        named = dict.fromkeys(options.faults, True)
        generator.faults = Faults(oracle_prompt=options.oracle_prompt, **named)
        if options.prior_steps is not None:
            generator.prior_steps = options.prior_steps

    @torch.inference_mode()
    def draw(
        self, embedding: Embedding, *, seed: int, mode: str, label: str
    ) -> tuple[dict[str, Uint8], dict[str, Any]]:
        generator = self._sampler.generator
        condition = self._sampler.condition(embedding)
        vectors = generator.clip_vectors(condition, seed=seed)
        confidence = generator.confidence(condition, seed=seed) if self._options.adaptive else None
        facts = {} if confidence is None else {"confidence": _plain(confidence)}
        if mode == "separate":
            separate = generator.separate(vectors, seed=seed, label=label)
            return {str(m): separate[m] for m in ACCUMULATION}, facts
        if mode == "progressive":
            pictures = generator.progressive(vectors, seed=seed, label=label, confidence=confidence)
            names = [f"{'+' if i else ''}{m}" for i, m in enumerate(ACCUMULATION)]
            return dict(zip(names, pictures, strict=True)), facts
        fused = generator.fused(vectors, seed=seed, label=label, confidence=confidence)
        return {"fused": fused}, facts

    def facts(self) -> dict[str, Any]:
        generator = self._sampler.generator
        faults = {f.name: getattr(generator.faults, f.name) for f in fields(Faults)}
        del faults["pair_all_conditions"]
        return super().facts() | {
            "adaptive": self._options.adaptive,
            "faults": [name for name, is_on in faults.items() if is_on],
        }


def _plain(table: Mapping[Modality, float]) -> dict[str, float]:
    return {str(modality): round(value, 6) for modality, value in table.items()}


def open_drawer(config: DecoderConfig, options: DrawingOptions) -> Drawer:
    """Load a system for drawing.

    Raises
    ------
    PhospheneError
        As `load_system`, or an option that the system has not.
    """
    unknown = [name for name in options.faults if name not in DRAWING_FAULTS]
    if unknown:
        raise ConfigurationError(
            f"fault {unknown[0]!r} is unknown, expected {', '.join(DRAWING_FAULTS)}."
        )
    system = load_system(config)
    if isinstance(system.sampler, MultimodalSampler):
        return _MultimodalDrawer(system, system.sampler, options)
    own = {"adaptive": options.adaptive, "oracle_prompt": options.oracle_prompt}
    own["faults"] = bool(options.faults)
    asked = [name.replace("_", "-") for name, is_on in own.items() if is_on]
    if asked:
        raise ConfigurationError(
            f"{config.system} has one modality and no {asked[0]}: leave the option out, or choose "
            "atm-multimodal."
        )
    if options.prior_steps is not None:
        if not isinstance(system.sampler, AtmSampler) or not system.sampler.has_prior:
            raise ConfigurationError(f"{config.system} has no prior: leave --prior-steps out.")
        system.sampler.prior_steps = options.prior_steps
    return _SingleDrawer(system)
