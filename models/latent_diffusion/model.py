"""The whole conditioned latent diffusion model: its losses, and what is trained.

Owns the join of diffusers' U-Net and autoencoder with a condition stage; knows nothing of files,
data sets, optimisers or of the steps that draw a picture. The context enters twice: as keys and
values of every cross-attention, and as a vector that is added to the time embedding after its MLP
(the U-Net's class embedding of type `identity`, which adds in the same place).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel, VQModel
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn
from torch.nn import functional

from models.latent_diffusion.conditioning import ConditionStage, TimeCondition, alignment_loss
from models.sampling.schedules import SD15

FirstStage: TypeAlias = AutoencoderKL | VQModel
"""What turns pictures into latents; a VQ one quantises where it decodes, never before."""
UNUSED = ("mae.pos_embed",)
"""Of the condition stage, not trained: fixed positions are a code, not a weight."""


class Losses(NamedTuple):
    """Scalars of one batch: the sum that is trained, and its two parts."""

    total: Tensor
    noise: Tensor
    alignment: Tensor


class LatentDiffusion(nn.Module):
    """U-Net, autoencoder, condition stage and time condition of one system."""

    def __init__(
        self,
        *,
        unet: UNet2DConditionModel,
        vae: FirstStage,
        condition_stage: ConditionStage,
        time_condition: TimeCondition | None,
        betas: Mapping[str, float] = SD15,
    ) -> None:
        super().__init__()
        self.unet = unet
        self.vae = vae
        self.condition_stage = condition_stage
        self.time_condition = time_condition
        self.betas = dict(betas)
        self.scheduler = DDPMScheduler(beta_schedule="scaled_linear", **betas)

    def latent_shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """Shape (channels, height, width) of the latents of pictures of a size."""
        config = self.vae.config
        shrink = 2 ** (len(config.block_out_channels) - 1)
        channels = config.vq_embed_dim if isinstance(self.vae, VQModel) else config.latent_channels
        return int(channels), size[0] // shrink, size[1] // shrink

    def time_vector(self, context: Tensor) -> Tensor:
        """What `context` (n, n_tokens, dim) adds to the time embedding, (n, time_embed_dim)."""
        if self.time_condition is None:
            return context.new_zeros(len(context), self.unet.config.block_out_channels[0] * 4)
        return torch.as_tensor(self.time_condition(context))

    def predict_noise(self, latents: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        """Noise in `latents` (n, channels, height, width) at `timesteps` (n,) or a scalar."""
        predicted = self.unet(
            latents,
            timesteps,
            encoder_hidden_states=context,
            class_labels=self.time_vector(context),
            return_dict=False,
        )
        return torch.as_tensor(predicted[0])

    @torch.no_grad()
    def encode_image(self, image: Tensor, noise: Tensor) -> Tensor:
        """Scaled latents of images (n, 3, height, width) in -1..1, sampled with given noise.

        A VQ first stage has nothing to sample, and takes no notice of the noise.
        """
        if isinstance(self.vae, VQModel):
            return torch.as_tensor(self.vae.encode(image).latents * self.vae.config.scaling_factor)
        posterior = self.vae.encode(image).latent_dist
        return torch.as_tensor(
            (posterior.mean + posterior.std * noise) * self.vae.config.scaling_factor
        )

    def unscaled(self, latents: Tensor) -> Tensor:
        """Latents on the autoencoder's own scale."""
        return latents / float(self.vae.config.scaling_factor)

    def losses(
        self,
        *,
        latents: Tensor,
        signal: Tensor,
        timesteps: Tensor,
        noise: Tensor,
        image_embeds: Tensor | None = None,
        alignment_weight: float = 1.0,
        kept: Tensor | None = None,
    ) -> Losses:
        """Noise prediction plus CLIP alignment, from given draws.

        Parameters
        ----------
        latents, noise : Tensor, shape (n, channels, height, width)
        signal : Tensor, shape (n, n_channels, n_times)
        timesteps : Tensor, shape (n,), int64
        image_embeds : Tensor, shape (n, image_embed_dim), optional
            CLIP targets; None leaves the alignment out.
        alignment_weight : float
            Its weight (published: 1).
        kept : Tensor, shape (n,), bool, optional
            False where the context is dropped (zeros).
        """
        context, tokens = self.condition_stage(signal)
        if kept is not None:
            context = context * kept[:, None, None].to(context.dtype)
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        error = functional.mse_loss(self.predict_noise(noisy, timesteps, context), noise)
        aligned = torch.zeros_like(error)
        if image_embeds is not None and self.condition_stage.mapping is not None:
            aligned = alignment_loss(self.condition_stage.mapping(tokens), image_embeds)
        return Losses(error + alignment_weight * aligned, error, aligned)

    def select_trained(self) -> list[str]:
        """Freeze all but what stage B trains; return the trained names, each once.

        By type and path, not by parts of names as published: that rule also thaws norms of the
        autoencoder and of CLIP, and lists the encoder's norms twice.
        """
        self.requires_grad_(False)
        for module in self.unet.modules():
            if isinstance(module, BasicTransformerBlock):
                module.attn2.requires_grad_(True)
                module.norm2.requires_grad_(True)
        for name, parameter in self.condition_stage.named_parameters():
            parameter.requires_grad_(name not in UNUSED)
        if self.time_condition is not None:
            self.time_condition.requires_grad_(True)
        return [name for name, parameter in self.named_parameters() if parameter.requires_grad]
