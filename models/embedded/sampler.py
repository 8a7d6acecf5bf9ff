"""Draws the picture of an embedding in a few steps: rectified flow, Euler, no overhead.

Owns the loop from noise to pixels. Knows nothing of EEG: the embedding's length is its
confidence, and the generator was trained to draw fog where there is none. A picture is a pure
function of (embedding, seed, steps, guidance, thread count); nothing is kept between calls, so a
picture always belongs to its own epoch.

The convention is that of diffusers' `FlowMatchEulerDiscreteScheduler`: x = (1 - sigma) x0 + sigma
noise, velocity noise - x0, time 1000 sigma. The network gives the correction from the prior's guess
to x0, from which the velocity follows. `tests/models/test_generator.py` holds the loop against that
scheduler.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from models.api import SamplerSpec
from models.embedded.generator import Generator, load_generator
from pipeline.errors import ConfigurationError, ShapeError
from pipeline.gallery import SPACE
from pipeline.values import Embedding, GeneratedImage

MAX_STEPS = 50
MAX_SEED = 2**63


def sigmas_of(num_inference_steps: int) -> tuple[float, ...]:
    """Noise levels of n Euler steps: evenly from 1 to 1/n, then 0 (n + 1 numbers).

    diffusers' default schedule ends at 0.001 before 0 and so wastes its last step, which matters
    when there are four.
    """
    levels = np.linspace(1.0, 1.0 / num_inference_steps, num_inference_steps, dtype=np.float32)
    return (*levels.tolist(), 0.0)


class EmbeddedSampler:
    """The `Sampler` of the embedded model.

    Parameters
    ----------
    generator : Generator
        The networks.
    num_inference_steps : int
        Euler steps, 1 to 50.
    guidance_scale : float
        1 draws the conditional picture; above 1, away from fog: each step also asks for the
        picture of an empty embedding, which doubles the cost. What this weight does is to
        exaggerate, so a decoded picture should be shown with 1.
    """

    def __init__(
        self, generator: Generator, *, num_inference_steps: int = 1, guidance_scale: float = 1.0
    ) -> None:
        if not 1 <= num_inference_steps <= MAX_STEPS:
            raise ConfigurationError(
                f"num_inference_steps is {num_inference_steps}, expected 1 to {MAX_STEPS}: "
                "the embedded model needs no more than 4."
            )
        if not guidance_scale >= 1.0:
            raise ConfigurationError(
                f"guidance_scale is {guidance_scale}, expected at least 1: 1 means no guidance."
            )
        self._generator = generator
        self._guidance = float(guidance_scale)
        self._sigmas = sigmas_of(num_inference_steps)
        # The network is told float32 times; made once, not at every picture.
        self._times = [torch.tensor(1000.0 * sigma) for sigma in self._sigmas[:-1]]
        self._scaling = float(generator.vae.config.scaling_factor)

    @property
    def spec(self) -> SamplerSpec:
        """What it takes and draws."""
        _, height, width = self._generator.latent_shape
        scale = self._generator.vae.spatial_compression_ratio
        return SamplerSpec(
            name="embedded",
            space=SPACE,
            size=(scale * height, scale * width),
            steps=len(self._times),
            sha256=self._generator.sha256,
        )

    @property
    def options(self) -> Mapping[str, str | int | float]:
        """What acts on its pictures."""
        return {"steps": len(self._times), "guidance": self._guidance}

    @property
    def remarks(self) -> tuple[str, ...]:
        """None: every setting acts."""
        return ()

    def sample(self, embedding: Embedding, *, seed: int) -> GeneratedImage:
        """Draw the picture of an embedding.

        Parameters
        ----------
        embedding : Embedding
            `vector` (n_features,) float32.
        seed : int
            Of the noise, 0 to 2**63 - 1; the same seed shows the same pose.

        Raises
        ------
        ShapeError
            If the vector has another length than the generator's.
        """
        pixels = self.draw(embedding.vector[None], seeds=(seed,))[0]
        return GeneratedImage(
            pixels=pixels, seed=seed, index=embedding.index, t_onset=embedding.t_onset
        )

    @torch.inference_mode()
    def draw(
        self, vectors: npt.NDArray[np.float32], *, seeds: tuple[int, ...]
    ) -> npt.NDArray[np.uint8]:
        """Draw several pictures at once.

        Parameters
        ----------
        vectors : ndarray, shape (n, n_features), float32
            One embedding a picture.
        seeds : tuple of int
            One a picture.

        Returns
        -------
        ndarray, shape (n, height, width, 3), uint8
            sRGB.
        """
        expected = (len(seeds), self._generator.n_features)
        if vectors.shape != expected:
            raise ShapeError(
                f"embeddings have shape {vectors.shape}, expected {expected}: "
                "use an encoder that was trained for this generator."
            )
        conditions = torch.from_numpy(np.array(vectors, dtype=np.float32))
        noise = torch.cat([self.noise(seed) for seed in seeds])
        return self.decode(self._denoise(noise, conditions))

    def noise(self, seed: int) -> torch.Tensor:
        """Noise of a seed, (1, channels, height, width) float32, from a CPU generator."""
        if not 0 <= seed < MAX_SEED:
            raise ConfigurationError(f"seed is {seed}, expected 0 to 2**63 - 1.")
        source = torch.Generator().manual_seed(seed)
        return torch.randn(1, *self._generator.latent_shape, generator=source)

    def _denoise(self, latents: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Euler steps of the probability flow from noise to scaled latents."""
        guided = self._guidance > 1.0
        if guided:
            conditions = torch.cat([torch.zeros_like(conditions), conditions])
        tokens = self._generator.projection(conditions)
        guess = self._generator.prior(conditions).view(-1, *self._generator.latent_shape)
        latents = latents.contiguous(memory_format=torch.channels_last)
        unet = self._generator.unet
        for i, time in enumerate(self._times):
            sample = torch.cat([latents, latents]) if guided else latents
            correction = unet(
                torch.cat([sample, guess], dim=1),
                time,
                encoder_hidden_states=tokens,
                class_labels=conditions,
                return_dict=False,
            )[0]
            clean = guess + correction
            if guided:
                empty, full = clean.chunk(2)
                clean = empty + self._guidance * (full - empty)
            # An Euler step along v = (x - x0) / sigma; the last one, to 0, lands on x0 itself.
            latents = clean + (self._sigmas[i + 1] / self._sigmas[i]) * (latents - clean)
        return latents

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> npt.NDArray[np.uint8]:
        """Pixels (n, height, width, 3) uint8 of scaled latents (n, channels, height, width)."""
        made = self._generator.vae.decoder(latents / self._scaling)
        pixels = (made.clamp(-1, 1) + 1).mul(127.5).round().to(torch.uint8)
        array: npt.NDArray[np.uint8] = pixels.permute(0, 2, 3, 1).contiguous().numpy()
        return array


def load_sampler(
    folder: Path | None = None, *, num_inference_steps: int = 1, guidance_scale: float = 1.0
) -> EmbeddedSampler:
    """Load the sampler with its weights (None: those that ship)."""
    return EmbeddedSampler(
        load_generator(folder),
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
    )
