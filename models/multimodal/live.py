"""The multimodal system behind the ports: one encoder, five priors, one fused picture.

Owns the sampler and its loading. Knows nothing of streams or of training. Layout of a folder of
weights: `encoder/`, `priors/MODALITY/` for each of the five, `generator/` (SDXL base in diffusers'
layout), the IP-Adapter's file, `system.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs import DecoderConfig
from models.accelerators import choose_device, choose_dtype
from models.api import DrawingOptions, SamplerSpec
from models.atm.folder import (
    MODEL,
    SystemSettings,
    VectorFacts,
    hash_of,
    load_prior,
    load_settings,
    load_vector_facts,
)
from models.atm.generation import AdapterGenerator
from models.atm.live import (
    AtmEncoder,
    VectorSampler,
    generation_settings,
    in_folder,
    open_encoder,
    refuse_damaged,
    sampler_spec,
    weights_folder,
)
from models.multimodal.errors import MultimodalError
from models.multimodal.generation import PRIOR_STEPS, MultimodalGenerator
from models.multimodal.modalities import ACCUMULATION, DRAWING_FAULTS, MODES, Faults, Modality
from models.sampling.parts import Part
from models.stable_diffusion.libraries import quiet_libraries
from pipeline.errors import ConfigurationError
from pipeline.gallery import load_gallery
from pipeline.values import Embedding, Uint8

NAME = "atm-multimodal"
PUBLISHED = SystemSettings(prior_steps=PRIOR_STEPS, guidance_scale=5.0, size=768)


class MultimodalSampler(VectorSampler):
    """Five modalities fused in one picture."""

    def __init__(
        self,
        generator: MultimodalGenerator,
        *,
        vectors: VectorFacts,
        spec: SamplerSpec,
    ) -> None:
        super().__init__(vectors=vectors, spec=spec)
        self.generator = generator
        self._is_adaptive = False

    @property
    def options(self) -> Mapping[str, str | int | float]:
        """What acts on its pictures."""
        return {**self.generator.options}

    @property
    def parts(self) -> tuple[Part, ...]:
        """What an engine can take the place of; priors are too small to gain."""
        return self.generator.latent.parts

    @property
    def can_save_memory(self) -> bool:
        """Whether `decoder.low_memory` changes anything."""
        return self.generator.latent.can_save_memory

    @property
    def modes(self) -> tuple[str, ...]:
        """The three ways to draw an embedding."""
        return MODES

    def apply(self, options: DrawingOptions) -> Mapping[str, Any]:
        """Draw so from now on; return what the provenance of a picture says of it.

        Raises
        ------
        ConfigurationError
            A fault is unknown.
        """
        unknown = [name for name in options.faults if name not in DRAWING_FAULTS]
        if unknown:
            raise ConfigurationError(
                f"fault {unknown[0]!r} is unknown, expected {', '.join(DRAWING_FAULTS)}."
            )
        named = dict.fromkeys(options.faults, True)
        self.generator.faults = Faults(oracle_prompt=options.oracle_prompt, **named)
        if options.prior_steps is not None:
            self.generator.prior_steps = options.prior_steps
        self._is_adaptive = options.adaptive
        oracle = ["oracle_prompt"] if options.oracle_prompt else []
        faults = [name for name in DRAWING_FAULTS if name in options.faults]
        return {"adaptive": options.adaptive, "faults": oracle + faults}

    @torch.inference_mode()
    def draw_mode(
        self, embedding: Embedding, *, mode: str, seed: int, label: str
    ) -> tuple[dict[str, Uint8], dict[str, Any]]:
        """Pictures (height, width, 3) by name in the mode's order, and facts about them."""
        generator, condition = self.generator, self.condition(embedding)
        vectors = generator.clip_vectors(condition, seed=seed)
        confidence = generator.confidence(condition, seed=seed) if self._is_adaptive else None
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

    def draw(self, condition: Tensor, *, seed: int) -> NDArray[np.uint8]:
        """Draw the fused picture (height, width, 3) of an EEG vector (n_features,)."""
        return self.generator.fused(self.generator.clip_vectors(condition, seed=seed), seed=seed)


def _plain(table: Mapping[Modality, float]) -> dict[str, float]:
    return {str(modality): round(value, 6) for modality, value in table.items()}


def load_encoder(config: DecoderConfig) -> AtmEncoder:
    """Load the encoder below `config.weights`, or in the user's data folder.

    Raises
    ------
    PhospheneError
        A file is missing or damaged: which, where it comes from and where it belongs.
    """
    return open_encoder(weights_folder(config, NAME))


def load_sampler(config: DecoderConfig, *, faults: Faults | None = None) -> MultimodalSampler:
    """Load the five priors and the diffusion model; as `load_encoder`."""
    folder = weights_folder(config, NAME)
    settings = load_settings(folder, PUBLISHED)
    vectors = load_vector_facts(folder / "encoder")
    device = choose_device(config.device)
    priors, norms = {}, {}
    for modality in Modality:
        prior, norm = load_prior(folder / "priors" / modality)
        if norm is None:
            raise MultimodalError(
                f"{folder / 'priors' / modality} says no target_norm, expected the norm of its "
                "targets before they were brought to 1: train it with `phosphene train "
                "atm-multimodal train`."
            )
        priors[modality], norms[modality] = prior.to(device), norm
    refuse_damaged(folder)
    adapters = AdapterGenerator(
        folder,
        n_adapters=len(Modality),
        settings=generation_settings(config, settings),
        device=device,
        dtype=choose_dtype(config),
        low_memory=config.low_memory,
        tile=config.tile,
    )
    sha256 = hash_of(*(folder / "priors" / m / MODEL for m in Modality), *adapters.files)
    return MultimodalSampler(
        MultimodalGenerator(
            priors, adapters, target_norms=norms, prior_steps=settings.prior_steps, faults=faults
        ),
        vectors=vectors,
        spec=sampler_spec(NAME, vectors, adapters.settings, sha256=sha256, device=device),
    )


def load_toy_encoder(config: DecoderConfig) -> AtmEncoder:
    """Load the toy's encoder: random weights in the published layouts."""
    return load_encoder(_toy(config))


def load_toy_sampler(config: DecoderConfig) -> MultimodalSampler:
    """Load the toy's generator, in the bundled gallery's width."""
    return load_sampler(_toy(config))


def _toy(config: DecoderConfig) -> DecoderConfig:
    quiet_libraries()  # before diffusers' pipelines load, which remark on what they lack
    from models.multimodal.toy import toy_folder

    return in_folder(config, toy_folder(n_features=load_gallery().n_features))
