"""Twice the pixels: the same picture, cleaner, and told apart from the small one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from models.embedded.generator import load_upscaler
from models.embedded.sampler import load_sampler
from models.embedded.upscaler import Upscaler, UpscalerConfig, bicubic
from pipeline.gallery import load_gallery


def test_it_adds_to_bicubic() -> None:
    network = Upscaler(UpscalerConfig(width=8, n_blocks=1))
    for parameter in network.conv_out.parameters():
        torch.nn.init.zeros_(parameter)
    pictures = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    assert torch.equal(network(pictures), bicubic(pictures))


def test_one_colour_stays_one() -> None:
    upscaler, _ = load_upscaler(like=torch.zeros(1))
    flat = torch.tensor([210.0, 214.0, 220.0]).div(127.5).sub(1)[None, :, None, None]
    with torch.inference_mode():
        made = upscaler(flat.expand(1, 3, 32, 32).contiguous())[..., 8:-8, 8:-8]
    assert (made - flat).abs().max() < 1.5 / 127.5


def test_a_large_picture_is_the_small_one() -> None:
    """And its hash is another: other pixels, other weights."""
    small, large = load_sampler(), load_sampler(size=256)
    assert (small.spec.size, large.spec.size) == ((128, 128), (256, 256))
    assert small.spec.sha256 != large.spec.sha256
    rows = load_gallery().embedding("umbrella")[None]
    made = large.draw(rows, seeds=(1,))[0]
    shrunk = Image.fromarray(made).resize((128, 128), Image.Resampling.BOX)
    away = np.asarray(shrunk, np.float64) - small.draw(rows, seeds=(1,))[0]
    assert made.shape == (256, 256, 3)
    assert np.sqrt(np.square(away).mean()) == pytest.approx(0, abs=6)
