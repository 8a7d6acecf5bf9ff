"""The multimodal system behind the ports: one encoder, five priors, one fused picture.

Owns the sampler and its loading. Knows nothing of streams or of training. Layout of a folder of
weights: `encoder/`, `priors/MODALITY/` for each of the five, `generator/` (SDXL base in diffusers'
layout), the IP-Adapter's file, `system.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from configs import DecoderConfig
from models.atm.folder import MODEL, SystemSettings, hash_of, load_prior, load_settings
from models.atm.generation import AdapterGenerator, GenerationSettings, quiet_libraries
from models.atm.live import (
    AtmEncoder,
    VectorSampler,
    open_encoder,
    refuse_damaged,
    weights_folder,
)
from models.multimodal.errors import MultimodalError
from models.multimodal.generation import PRIOR_STEPS, MultimodalGenerator
from models.multimodal.modalities import Faults, Modality
from pipeline.gallery import load_gallery

PUBLISHED = SystemSettings(prior_steps=PRIOR_STEPS, guidance_scale=5.0, size=768)


class MultimodalSampler(VectorSampler):
    """Five modalities fused in one picture."""

    def __init__(
        self,
        generator: MultimodalGenerator,
        *,
        n_features: int,
        input_scale: float,
        sha256: str,
    ) -> None:
        super().__init__(n_features=n_features, input_scale=input_scale, sha256=sha256)
        self.generator = generator

    @property
    def options(self) -> Mapping[str, str | int | float]:
        """What acts on its pictures."""
        return {**self.generator.options}

    def draw(self, condition: Tensor, *, seed: int) -> NDArray[np.uint8]:
        """Draw the fused picture (height, width, 3) of an EEG vector (n_features,)."""
        return self.generator.fused(self.generator.clip_vectors(condition, seed=seed), seed=seed)


def load(config: DecoderConfig) -> tuple[AtmEncoder, MultimodalSampler]:
    """Load from `config.weights`, or from the user's data folder.

    Raises
    ------
    PhospheneError
        A file is missing or damaged: which, where it comes from and where it belongs.
    """
    folder = weights_folder(config, "atm-multimodal")
    return load_folder(
        folder,
        num_inference_steps=config.num_inference_steps,
        guidance_scale=config.guidance_scale,
    )


def load_toy(config: DecoderConfig) -> tuple[AtmEncoder, MultimodalSampler]:
    """Load the toy: random weights in the published layouts, in the bundled gallery's width."""
    quiet_libraries()  # before diffusers' pipelines load, which remark on what they lack
    from models.multimodal.toy import toy_folder

    made = toy_folder(n_features=load_gallery().n_features)
    folder = Path(config.weights) if config.weights else made
    return load_folder(
        folder,
        num_inference_steps=config.num_inference_steps,
        guidance_scale=config.guidance_scale,
    )


def load_folder(
    folder: Path,
    *,
    num_inference_steps: int,
    guidance_scale: float | None = None,
    faults: Faults | None = None,
) -> tuple[AtmEncoder, MultimodalSampler]:
    """Load the encoder and the sampler of a folder of weights.

    `guidance_scale` None: as the folder's settings say.

    Raises
    ------
    PhospheneError
        As `load`.
    """
    settings = load_settings(folder, PUBLISHED)
    encoder, facts = open_encoder(folder / "encoder")
    priors, norms = {}, {}
    for modality in Modality:
        prior, norm = load_prior(folder / "priors" / modality)
        if norm is None:
            raise MultimodalError(
                f"{folder / 'priors' / modality} says no target_norm, expected the norm of its "
                "targets before they were brought to 1: train it with `phosphene train "
                "atm-multimodal train`."
            )
        priors[modality], norms[modality] = prior, norm
    refuse_damaged(folder)
    adapters = AdapterGenerator(
        folder,
        n_adapters=len(Modality),
        settings=GenerationSettings(
            num_inference_steps,
            settings.guidance_scale if guidance_scale is None else guidance_scale,
            settings.size,
        ),
    )
    sampler = MultimodalSampler(
        MultimodalGenerator(
            priors, adapters, target_norms=norms, prior_steps=settings.prior_steps, faults=faults
        ),
        n_features=encoder.spec.n_features,
        input_scale=1.0 / facts.output_scale,
        sha256=hash_of(*(folder / "priors" / m / MODEL for m in Modality), *adapters.files),
    )
    return encoder, sampler
