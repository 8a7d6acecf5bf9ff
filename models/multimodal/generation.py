"""Pictures of five modalities: one at a time, all together, or one after the other.

Owns the way from an EEG vector through five priors to five adapters, and the three modes. Knows
nothing of epochs or of training. The text prompt is empty unless the fault
`oracle_prompt` is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.atm.generation import AdapterGenerator
from models.atm.prior import DiffusionPriorUNet
from models.atm.prior_sampling import prior_states
from models.multimodal.adapter_scales import (
    adaptive_weights,
    fused_scales,
    progressive_weights,
    separate_scales,
)
from models.multimodal.errors import MultimodalError
from models.multimodal.modalities import FUSION_WEIGHTS, Faults, Modality
from models.sampling.solvers import last
from models.stable_diffusion.generation import LatentGenerator

Uint8 = NDArray[np.uint8]
PRIOR_STEPS = 30
Vectors = Mapping[Modality, Tensor]


class MultimodalGenerator:
    """Five priors and five adapters on one U-Net.

    Parameters
    ----------
    priors : mapping of Modality to DiffusionPriorUNet
    generator : AdapterGenerator
        With five adapters.
    target_norms : mapping of Modality to float
        Norm that each modality's CLIP vectors had before they were brought to 1 for training;
        IP-Adapter was trained on that scale.
    faults : Faults
        The original's faults to repeat; none by default.
    """

    def __init__(
        self,
        priors: Mapping[Modality, DiffusionPriorUNet],
        generator: AdapterGenerator,
        *,
        target_norms: Mapping[Modality, float],
        prior_steps: int = PRIOR_STEPS,
        faults: Faults | None = None,
    ) -> None:
        missing = [m for m in Modality if m not in priors or m not in target_norms]
        if missing:
            raise MultimodalError(f"no prior or no norm for {', '.join(missing)}: give all five.")
        self._priors, self._generator = priors, generator
        self._norms, self.prior_steps = target_norms, prior_steps
        self.faults = Faults() if faults is None else faults

    @property
    def options(self) -> Mapping[str, int | float]:
        """What acts on its pictures; the priors take no guidance."""
        return {**self._generator.options, "prior_steps": self.prior_steps}

    @property
    def latent(self) -> LatentGenerator:
        """What draws."""
        return self._generator.latent

    def clip_vectors(self, condition: Tensor, *, seed: int) -> dict[Modality, Tensor]:
        """Draw each modality's CLIP vector (n_features,) for an EEG vector (n_features,)."""
        vectors: dict[Modality, Tensor] = {}
        for place, modality in enumerate(Modality):
            states = prior_states(
                self._priors[modality],
                condition[None],
                num_inference_steps=self.prior_steps,
                guidance_scale=None,
                generator=torch.Generator().manual_seed(5 * seed + place),
            )
            made = last(states)[0]
            norm = 1.0 if self.faults.unit_norm_embeddings else self._norms[modality]
            vectors[modality] = functional.normalize(made, dim=0) * norm
        return vectors

    def confidence(
        self, condition: Tensor, *, seed: int, n_draws: int = 4
    ) -> dict[Modality, float]:
        """How much several draws of each prior agree: their mean cosine, not below 0.

        A prior that follows its condition draws nearly the same vector each time.
        """
        draws = [self.clip_vectors(condition, seed=seed + i) for i in range(n_draws)]
        return {m: _agreement(torch.stack([d[m] for d in draws])) for m in Modality}

    def separate(self, vectors: Vectors, *, seed: int, label: str = "") -> dict[Modality, Uint8]:
        """Draw one picture for each modality alone, at full strength."""
        layers = self._generator.layer_names
        return {
            m: self._draw(vectors, separate_scales(layers, m, faults=self.faults), seed, label)
            for m in Modality
        }

    def fused(
        self,
        vectors: Vectors,
        *,
        seed: int,
        label: str = "",
        confidence: Mapping[Modality, float] | None = None,
    ) -> Uint8:
        """Draw one picture of all five; `confidence` shares the strength among them."""
        weights = FUSION_WEIGHTS if confidence is None else adaptive_weights(confidence)
        layers = self._generator.layer_names
        scales = fused_scales(layers, faults=self.faults, weights=weights)
        return self._draw(vectors, scales, seed, label)

    def progressive(
        self,
        vectors: Vectors,
        *,
        seed: int,
        label: str = "",
        confidence: Mapping[Modality, float] | None = None,
    ) -> list[Uint8]:
        """Draw five pictures, each with one modality more: few, middle, large, text, image.

        The last one is the fused picture, `confidence` and all.
        """
        shares = FUSION_WEIGHTS if confidence is None else adaptive_weights(confidence)
        layers = self._generator.layer_names
        return [
            self._draw(
                vectors, fused_scales(layers, faults=self.faults, weights=weights), seed, label
            )
            for weights in progressive_weights(shares)
        ]

    def _draw(
        self,
        vectors: Vectors,
        scales: Mapping[Modality, Mapping[str, float]],
        seed: int,
        label: str,
    ) -> Uint8:
        self._generator.set_scales([scales[m] for m in Modality])
        prompt = label if self.faults.oracle_prompt else ""
        return self._generator.draw([vectors[m] for m in Modality], seed=seed, prompt=prompt)


def _agreement(vectors: Tensor) -> float:
    unit = functional.normalize(vectors, dim=-1)
    n = len(unit)
    cosines = (unit @ unit.T).sum() - n
    return max(0.0, float(cosines) / (n * (n - 1)))
