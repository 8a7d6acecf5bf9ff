"""The autoencoder as it is trained: its sizes, its losses, and how latents become unit normal.

Owns diffusers' `AutoencoderDC` for object renders. Of diffusers' autoencoders this one has linear
shortcuts (pixel shuffles) through every level and no layer at full resolution: it reached in 150
steps what `AutoencoderTiny` of equal cost reached in 1000 (docs/decisions/0003). Knows nothing of
where pictures come from or of how long it is trained.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderDC
from torch import Tensor, nn

CONFIG = {
    "latent_channels": 16,
    "encoder_block_types": "ResBlock",
    "decoder_block_types": "ResBlock",
    # Nothing at full resolution: the first level is a convolution and a pixel (un)shuffle.
    "encoder_block_out_channels": (32, 32, 64, 128),
    "decoder_block_out_channels": (32, 32, 64, 128),
    "encoder_layers_per_block": (0, 1, 1, 1),
    "decoder_layers_per_block": (0, 1, 2, 2),
    "encoder_qkv_multiscales": ((), (), (), ()),
    "decoder_qkv_multiscales": ((), (), (), ()),
}
FINE = 0.25
"""Cycles a pixel from which on a pattern is fine: half of what a grid of pixels can hold."""


def new_autoencoder() -> AutoencoderDC:
    """An untrained one whose residual blocks are almost silent: what is left is linear."""
    vae = AutoencoderDC(**CONFIG)
    for name, parameter in vae.named_parameters():
        if name.endswith("norm.weight"):
            nn.init.constant_(parameter, 0.1)
    return vae


@torch.no_grad()
def fold(vae: AutoencoderDC, sample: Tensor) -> AutoencoderDC:
    """Return the same autoencoder with normalised latents and without shortcuts at the latents.

    The latents' means and spreads over `sample` are folded into the encoder's last and the
    decoder's first convolution, so that every channel has mean 0 and spread 1 without a word in
    the config. Exact but for the one-latent border, where the decoder's zero padding now means the
    mean.
    """
    latents = torch.cat([vae.encoder(batch) for batch in torch.split(sample, 16)])
    mean, spread = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    folded = AutoencoderDC(
        **{**CONFIG, "encoder_out_shortcut": False, "decoder_in_shortcut": False},
        scaling_factor=1.0,
    )
    folded.load_state_dict(vae.state_dict())
    last, first = folded.encoder.conv_out, folded.decoder.conv_in
    group = last.in_channels // last.out_channels
    for channel in range(last.out_channels):
        members = slice(channel * group, (channel + 1) * group)
        last.weight[channel, members, 1, 1] += 1.0 / group
        first.weight[members, channel, 1, 1] += 1.0
    last.weight.div_(spread[:, None, None, None])
    last.bias.sub_(mean).div_(spread)
    first.bias.add_(first.weight.sum((2, 3)) @ mean)
    first.weight.mul_(spread[None, :, None, None])
    return folded.to(memory_format=torch.channels_last)


def reconstruction_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Absolute and squared error, and the error of the gradients."""
    error = made - wanted
    dx = error[..., 1:] - error[..., :-1]
    dy = error[..., 1:, :] - error[..., :-1, :]
    edges = dx.abs().mean() + dy.abs().mean()
    return error.abs().mean() + 2.0 * error.square().mean() + edges


def decibel_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Logarithm of each picture's squared error: a decibel counts alike in every picture."""
    return (made - wanted).square().mean((1, 2, 3)).add(1e-4).log().mean()


def texture_loss(made: Tensor, wanted: Tensor, *, side: int = 16) -> Tensor:
    """Difference of the fine amplitudes in windows of `side` pixels, wherever they lie in them.

    A squared error takes fine detail that it cannot place exactly away; this one asks for as much
    of it as there was.
    """
    window = torch.hann_window(side, periodic=False)
    window = window[:, None] * window
    across = torch.fft.rfftfreq(side)[None, :]
    down = torch.fft.fftfreq(side)[:, None]
    fine = ((across.square() + down.square()).sqrt() >= FINE).float()

    def amplitude(pictures: Tensor) -> Tensor:
        grey = pictures.mean(1)
        patches = grey.unfold(1, side, side // 2).unfold(2, side, side // 2) * window
        # The root of a power of zero has no slope.
        return torch.as_tensor(
            torch.fft.rfft2(patches, norm="ortho").abs().square().add(1e-6).sqrt() * fine
        )

    difference = (amplitude(made) - amplitude(wanted)).abs()
    return torch.as_tensor(difference.sum() / (fine.sum() * difference[..., 0, 0].numel()))


class Reconstruction(nn.Module):
    """Crops through the autoencoder and back; its forward gives the losses.

    Parameters
    ----------
    texture : float
        Weight of `texture_loss`.
    decibels : bool
        `decibel_loss` in place of `reconstruction_loss`.
    """

    def __init__(self, vae: AutoencoderDC, *, texture: float, decibels: bool) -> None:
        super().__init__()
        self.vae = vae
        self._texture = texture
        self._error = decibel_loss if decibels else reconstruction_loss

    def forward(self, crops: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Losses of crops (n, 3, height, width) in [-1, 1]; `noise` is added to the latents."""
        crops = crops.contiguous(memory_format=torch.channels_last)
        latents = self.vae.encoder(crops)
        made = self.vae.decoder(latents + noise).float()
        losses = {"reconstruction": self._error(made, crops)}
        losses["texture"] = texture_loss(made, crops)
        # A leash on the latents' size.
        leash = 1e-4 * latents.float().square().mean()
        losses["loss"] = losses["reconstruction"] + self._texture * losses["texture"] + leash
        return losses


@torch.no_grad()
def round_trip(vae: AutoencoderDC, wanted: Tensor) -> Tensor:
    """Pictures through the encoder and the decoder, in [-1, 1]."""
    return torch.cat(
        [vae.decoder(vae.encoder(batch)).clamp(-1, 1) for batch in torch.split(wanted, 16)]
    )


def psnr(made: Tensor, wanted: Tensor) -> Tensor:
    """(n,) peak signal-to-noise ratio of each picture in [-1, 1], dB, peak 255."""
    return -10 * torch.log10((made - wanted).square().mean((1, 2, 3)) / 4)
