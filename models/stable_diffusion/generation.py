"""Conditions become pictures: a U-Net of Stable Diffusion, any kind, with what it takes bound.

Owns the conditions and how each one enters the U-Net; the steps are `models.sampling`'s. The
parts are those of diffusers' pipeline, and a picture is that of the pipeline for the same weights,
seed and settings (in the tests, before rounding). Knows nothing of EEG or of files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.sampling import denoisers, solvers
from models.sampling.decoding import Decoding, has_tiles
from models.sampling.denoisers import Network
from models.sampling.noise import seeded_noise
from models.sampling.parts import Part
from models.sampling.pictures import to_pixels
from models.stable_diffusion import adapters
from models.stable_diffusion.errors import StableDiffusionError
from models.stable_diffusion.memory import save_memory
from models.stable_diffusion.parts import TEXT_ENCODERS, Parts
from models.stable_diffusion.plans import plan_of


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """How pictures are drawn.

    Defaults are those of SDXL-Turbo in the base system: 4 steps, no guidance, 512 px. Seed 002
    with SDXL: 30 steps, guidance 5, 768 px.
    """

    num_inference_steps: int = 4
    guidance_scale: float = 0.0
    size: int = 512


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """What a picture is of; whatever is not given is the empty prompt's.

    Attributes
    ----------
    images : tuple of Tensor, each shape (n_features,)
        One for each IP-Adapter, on CLIP's own scale.
    context : Tensor, shape (n_tokens, width), or None
        In place of the prompt's tokens.
    pooled : Tensor, shape (width,), or None
        In place of the prompt's pooled vector, which XL takes beside the tokens.
    added : Tensor, shape (width,), or None
        Class embedding: added to the time embedding, alone or beside a context.
    prompt : str
        Empty, unless the label of the item is deliberately given away.
    """

    images: tuple[Tensor, ...] = ()
    context: Tensor | None = None
    pooled: Tensor | None = None
    added: Tensor | None = None
    prompt: str = ""


class LatentGenerator:
    """A U-Net, an autoencoder and a scheduler that belong together.

    Parameters
    ----------
    parts : Parts
    settings : GenerationSettings
    device, dtype
        Where and in which precision it draws; None: the CPU.
    low_memory : bool
        Decode in tiles; on a GPU parts that do not work wait on the CPU.
    tile : int
        Side of the tiles, pixels; 0: as the autoencoder was made.

    Raises
    ------
    StableDiffusionError
        The scheduler is not known here.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        settings: GenerationSettings | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        low_memory: bool = False,
        tile: int = 0,
    ) -> None:
        self.settings = GenerationSettings() if settings is None else settings
        self._parts = parts
        self._pipeline: Any = parts.pipeline
        # Published files are in half precision; parts left so would not fit the others.
        self._pipeline.to(dtype)
        self._device = torch.device("cpu") if device is None else device
        memory = save_memory(
            self._pipeline,
            device=self._device,
            size=self.settings.size,
            is_asked=low_memory,
            tile=tile,
        )
        if not memory.offload:
            self._pipeline.to(self._device)
        vae = self._pipeline.vae
        if dtype == torch.float16 and vae.config.get("force_upcast"):
            vae.to(torch.float32)
        self._unet = Part(self._pipeline.unet, "unet")
        self._decoder = Part(Decoding(vae), "decoder")
        self._is_whole = not (memory.offload or memory.tiling)
        unet = self._pipeline.unet
        # Distilled U-Nets take the guidance as a number, and are asked once.
        self._takes_guidance = unet.config.time_cond_proj_dim is not None
        self._is_guided = self.settings.guidance_scale > 1.0 and not self._takes_guidance
        self._plan = plan_of(
            self._pipeline.scheduler,
            steps=self.settings.num_inference_steps,
            device=self._device,
            where=parts.scheduler_place,
        )
        self._prompts: dict[str, tuple[Any, ...]] = {}
        self.files = parts.files

    @property
    def options(self) -> Mapping[str, int | float]:
        """What acts on its pictures; without guidance it is 1."""
        settings = self.settings
        return {
            "steps": settings.num_inference_steps,
            "guidance": max(1.0, settings.guidance_scale),
            "size": settings.size,
        }

    @property
    def parts(self) -> tuple[Part, ...]:
        """What an engine can take the place of: none while memory is saved."""
        return (self._unet, self._decoder) if self._is_whole else ()

    @property
    def can_save_memory(self) -> bool:
        """Whether `low_memory` changes anything."""
        return has_tiles(self._pipeline.vae)

    @property
    def layer_names(self) -> list[str]:
        """Cross-attention layers that the adapters act in."""
        return adapters.layer_names(self._pipeline.unet)

    def set_scales(self, scales: float | Sequence[Mapping[str, float]]) -> None:
        """Set how much each adapter acts: a number, or for each adapter a table by layer."""
        adapters.set_scales(self._pipeline.unet, scales, copies=self._parts.n_adapters)
        self._unet.change(repr(scales))

    @property
    def _like(self) -> Tensor:
        """A tensor where the U-Net computes, in its precision."""
        return torch.empty(0, device=self._device, dtype=self._pipeline.unet.dtype)

    def keep_empty_prompt(self) -> None:
        """Encode the empty prompt, and give up the text encoders."""
        self._encoded("")
        self._parts.forget_text()

    def learn_prompt(self, prompt: str, text: Parts) -> None:
        """Encode a prompt by the text encoders of parts that were read anew, and give them up."""
        like = self._like
        for name in TEXT_ENCODERS:
            encoder = text.pipeline.components.get(name)
            if encoder is not None and name in self._pipeline.components:
                setattr(self._pipeline, name, encoder.to(like.device, like.dtype))
        self._encoded(prompt)
        self._parts.forget_text()

    def draw(self, condition: Condition, *, seed: int) -> NDArray[np.uint8]:
        """Draw one picture (height, width, 3)."""
        return np.asarray(to_pixels(self.images(condition, seed=seed))[0])

    @torch.inference_mode()
    def images(self, condition: Condition, *, seed: int) -> Tensor:
        """Draw one picture as it leaves the decoder: (1, 3, height, width), about -1..1."""
        unet = self._pipeline.unet
        network = denoisers.in_dtype(self._network(condition), unet.dtype)
        if self._is_guided:
            network = denoisers.guided(denoisers.together(network), self.settings.guidance_scale)
        side = self.settings.size // self._pipeline.vae_scale_factor
        shape = (unet.config.in_channels, side, side)
        noise = seeded_noise((seed,), shape, like=self._like)
        return self._decode(solvers.last(self._plan.run(network, noise)))

    def _decode(self, latents: Tensor) -> Tensor:
        vae = self._pipeline.vae
        latents = latents / vae.config.scaling_factor
        mean, std = vae.config.get("latents_mean"), vae.config.get("latents_std")
        if mean is not None and std is not None:  # of fine-tuned XL models with an EDM scaling
            shape = (1, -1, 1, 1)
            latents = latents * torch.tensor(std).view(shape).to(latents)
            latents = latents + torch.tensor(mean).view(shape).to(latents)
        return torch.as_tensor(self._decoder(latents.to(vae.dtype)))

    def _network(self, condition: Condition) -> Network:
        """The U-Net with its conditions bound; the empty ones first where it is guided."""
        self._check(condition)
        embeds, empty, pooled, empty_pooled = self._encoded(condition.prompt)
        if embeds is None and condition.context is None:
            raise StableDiffusionError(
                "this generator has no text encoder, so it draws contexts alone: take the whole "
                "folder, text_encoder/ and tokenizer/ included."
            )
        like = self._like
        if condition.context is not None:
            embeds = condition.context[None].to(like, non_blocking=True)
            empty = torch.zeros_like(embeds) if empty is None else empty
        if condition.pooled is not None:
            pooled = condition.pooled[None].to(like, non_blocking=True)
        named: dict[str, Any] = {"encoder_hidden_states": self._pair(empty, embeds)}
        added = self._added(condition, pooled, empty_pooled)
        if added:
            named["added_cond_kwargs"] = added
        if condition.added is not None:
            vector = condition.added[None].to(like, non_blocking=True)
            named["class_labels"] = self._pair(torch.zeros_like(vector), vector)
        if self._takes_guidance:
            named["timestep_cond"] = self._guidance_code().to(like)

        def predict(x: Tensor, time: Tensor) -> Tensor:
            return torch.as_tensor(self._unet(x, time, return_dict=False, **named)[0])

        return predict

    def _added(self, condition: Condition, pooled: Any, empty_pooled: Any) -> dict[str, Any]:
        added: dict[str, Any] = {}
        like = self._like
        if pooled is not None:
            size = self.settings.size
            times = torch.tensor([[size, size, 0, 0, size, size]]).to(like, non_blocking=True)
            empty_pooled = torch.zeros_like(pooled) if empty_pooled is None else empty_pooled
            added |= {
                "text_embeds": self._pair(empty_pooled, pooled),
                "time_ids": self._pair(times, times),
            }
        if condition.images:
            images = [v.reshape(1, 1, -1).to(like, non_blocking=True) for v in condition.images]
            added["image_embeds"] = [self._pair(torch.zeros_like(v), v) for v in images]
        return added

    def _pair(self, empty: Tensor, full: Tensor) -> Tensor:
        return torch.cat([empty, full]) if self._is_guided else full

    def _guidance_code(self) -> Tensor:
        """The guidance as a sinusoidal code (Meng et al., arXiv 2210.03142)."""
        width = self._pipeline.unet.config.time_cond_proj_dim
        w = torch.tensor([self.settings.guidance_scale - 1.0])
        code = self._pipeline.get_guidance_scale_embedding(w, embedding_dim=width)
        return torch.as_tensor(code)

    def _check(self, condition: Condition) -> None:
        unet, n_images = self._pipeline.unet, len(condition.images)
        if n_images != self._parts.n_adapters:
            raise StableDiffusionError(
                f"{n_images} vectors for {self._parts.n_adapters} adapters: give one each."
            )
        if (condition.added is None) != (unet.config.class_embed_type is None):
            has = "no" if unet.config.class_embed_type is None else "a"
            raise StableDiffusionError(f"this U-Net takes {has} class embedding.")
        if condition.context is None:
            return
        if condition.context.shape[-1] != unet.config.cross_attention_dim:
            raise StableDiffusionError(
                f"the context has shape {tuple(condition.context.shape)}, expected (n_tokens, "
                f"{unet.config.cross_attention_dim})."
            )

    def _encoded(self, prompt: str) -> tuple[Any, ...]:
        """Tokens of a prompt and of the empty one, and their pooled vectors (None: not XL)."""
        if prompt and self._parts.only_empty:
            raise StableDiffusionError(
                f"the prompt is {prompt!r}, but this generator came from a single file without a "
                "tokenizer: import it again together with vocab.json and merges.txt."
            )
        # The same prompt for every picture: the text encoders run once.
        if prompt in self._prompts:
            return self._prompts[prompt]
        if self._pipeline.text_encoder is None:
            return None, None, None, None
        options: dict[str, Any] = {"prompt": prompt, "do_classifier_free_guidance": True}
        if not self._parts.is_xl:
            options |= {"device": self._device, "num_images_per_prompt": 1}
        with torch.inference_mode():
            made = self._pipeline.encode_prompt(**options, negative_prompt="")
        self._prompts[prompt] = (*made, None, None)[:4]
        return self._prompts[prompt]
