"""Pictures of CLIP tokens: the prior, Versatile Diffusion's image path, and the choice.

Owns the way from an embedding of `models.mindeye.live` to pixels. Knows nothing of scans or files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from configs.mindeye import BackboneConfig
from models.api import SamplerSpec
from models.mindeye.errors import MindEyeError
from models.mindeye.folder import DRAWING_SOURCE, TOWER, Settings
from models.mindeye.low_level import LATENT_CHANNELS
from models.mindeye.prior import TokenPrior
from models.mindeye.prior_diffusion import by_cls_norm, prior_states
from models.mindeye.reconstruction import SCALING_FACTOR, Drawing, best_of
from models.mindeye.targets import ClipTokens, clip_normalised
from models.sampling.decoding import Decoding
from models.sampling.noise import seeded_noise
from models.sampling.parts import Part
from models.sampling.pictures import to_pixels
from models.sampling.solvers import last
from pipeline.errors import ShapeError
from pipeline.values import Embedding, GeneratedImage

CLS_ROOM = 1e-6


@dataclass(frozen=True, slots=True)
class Networks:
    """What draws: U-Net and autoencoder of diffusers, prior and judge where they are there."""

    unet: Any
    vae: Any
    prior: TokenPrior | None
    judge: ClipTokens | None

    @property
    def factor(self) -> int:
        """Pixels of a latent's side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))


class TokenSampler:
    """Prior, Versatile Diffusion's image path and the choice; satisfies `models.api.Sampler`."""

    def __init__(
        self,
        networks: Networks,
        sizes: BackboneConfig,
        *,
        drawing: Drawing,
        settings: Settings,
        spec: SamplerSpec,
    ) -> None:
        self._networks, self._sizes = networks, sizes
        self._drawing, self._settings, self._spec = drawing, settings, spec
        self._unet = Part(networks.unet, "unet")
        self._decoder = Part(Decoding(networks.vae), "decoder")

    @property
    def spec(self) -> SamplerSpec:
        """What it takes and draws."""
        return self._spec

    @property
    def parts(self) -> tuple[Part, ...]:
        """What an engine can take the place of; prior and judge take little of a picture."""
        return self._unet, self._decoder

    @property
    def options(self) -> Mapping[str, str | int | float]:
        """What acts on its pictures."""
        prior = self._networks.prior
        return {
            "steps": self._spec.steps,
            "guidance": self._drawing.guidance_scale,
            "strength": self._drawing.strength if self._settings.has_low_level else 1.0,
            "samples": self._settings.n_samples,
            "prior_steps": 0 if prior is None else prior.config.n_steps,
            "solver": "UniPC",
        }

    @property
    def remarks(self) -> tuple[str, ...]:
        """None: every setting acts."""
        return ()

    @torch.inference_mode()
    def sample(self, embedding: Embedding, *, seed: int) -> GeneratedImage:
        """Draw `n_samples` pictures of an embedding, and keep the one that fits it best.

        Raises
        ------
        ShapeError
            The embedding has other sizes than this model's tokens.
        """
        brain, start = self._parts(embedding)
        seeds = _seeds(seed, self._settings.n_samples)
        tokens = self._tokens(brain, seeds, embedding)
        images = [
            self._draw(each[None], start, one) for each, one in zip(tokens, seeds, strict=True)
        ]
        best = 0 if len(images) == 1 else self._choose(torch.cat(images), embedding)
        return GeneratedImage(
            pixels=to_pixels(images[best])[0],
            seed=seed,
            index=embedding.index,
            t_onset=embedding.t_onset,
        )

    def _parts(self, embedding: Embedding) -> tuple[Tensor | None, Tensor | None]:
        """The prior's brain tokens (1, n_tokens, width) and a latent to begin from, if any."""
        n_tokens, width = self._sizes.n_tokens, self._sizes.width
        n, side = n_tokens * width, self._spec.size[0] // self._networks.factor
        if embedding.vector.size != n or embedding.vector.shape[-1] != width:
            raise ShapeError(
                f"the embedding has shape {embedding.vector.shape}, expected "
                f"{(n_tokens, width)}: use an encoder of the space {self._spec.space}."
            )
        if embedding.condition is None:
            return None, None
        given = torch.from_numpy(np.array(embedding.condition)).to(self._networks.unet.device)
        shape = (1, LATENT_CHANNELS, side, side)
        if len(given) not in (n, n + LATENT_CHANNELS * side**2):
            raise ShapeError(
                f"the embedding's condition has {len(given)} numbers, expected {n} of brain "
                f"tokens and, with a low-level network, {LATENT_CHANNELS * side**2} of a latent: "
                "take encoder and generator of one folder."
            )
        start = given[n:].view(shape) if len(given) > n else None
        return given[:n].view(1, n_tokens, width), start

    def _tokens(self, brain: Tensor | None, seeds: Sequence[int], embedding: Embedding) -> Tensor:
        """CLIP tokens (n, n_tokens, width), one draw of the prior a seed."""
        unet, prior = self._networks.unet, self._networks.prior
        shape = (self._sizes.n_tokens, self._sizes.width)
        if brain is None or prior is None:
            given = torch.from_numpy(np.array(embedding.vector)).view(1, *shape).to(unet.device)
            return by_cls_norm(given if brain is None else brain, eps=CLS_ROOM).expand(
                len(seeds), -1, -1
            )
        noise = seeded_noise(seeds, shape, like=prior.proj_out.weight)
        drawn = last(prior_states(prior, brain.expand(len(seeds), -1, -1), noise=noise))
        return by_cls_norm(drawn, eps=CLS_ROOM)

    def _draw(self, tokens: Tensor, start: Tensor | None, seed: int) -> Tensor:
        """Image (1, 3, height, width), about -1..1."""
        weight = self._networks.unet.conv_in.weight
        shape = (LATENT_CHANNELS, *(side // self._networks.factor for side in self._spec.size))
        # Not the prior's numbers again: those are drawn from the seed itself.
        noise = next(seeded_noise(_seeds(seed, 2)[1:], shape, like=weight))

        def network(x: Tensor, time: Tensor, context: Tensor) -> Tensor:
            made = self._unet(x, time, encoder_hidden_states=context, return_dict=False)
            return torch.as_tensor(made[0])

        begun = None if start is None else self._begun(start).to(noise)
        states = self._drawing.states(network, tokens.to(weight), noise=noise, start=begun)
        latents = last(states).to(weight) / SCALING_FACTOR
        return torch.as_tensor(self._decoder(latents))

    def _begun(self, latents: Tensor) -> Tensor:
        """The latent itself; as published its picture, prepared for CLIP, encoded again."""
        if not self._settings.clip_normalised_img2img:
            return latents
        vae, weight = self._networks.vae, self._networks.unet.conv_in.weight
        image = vae.decode(latents.to(weight) / SCALING_FACTOR, return_dict=False)[0]
        prepared = clip_normalised((image.float() / 2 + 0.5).clamp(0, 1)).to(weight)
        return torch.as_tensor(vae.encode(prepared).latent_dist.mode() * SCALING_FACTOR)

    def _choose(self, images: Tensor, embedding: Embedding) -> int:
        judge = self._networks.judge
        if judge is None:
            raise MindEyeError(f"{TOWER} is missing, expected {DRAWING_SOURCE}.")
        seen = judge((images.float() / 2 + 0.5).clamp(0, 1))
        wanted = torch.from_numpy(np.array(embedding.vector)).reshape(1, -1).to(seen)
        return best_of(seen, wanted)


def _seeds(seed: int, n: int) -> tuple[int, ...]:
    """`n` seeds of one, itself first."""
    more: Iterator[Any] = iter(np.random.SeedSequence(seed).generate_state(max(1, n), np.uint64))
    return (seed, *(int(next(more)) for _ in range(n - 1)))
