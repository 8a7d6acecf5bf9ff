"""CLIP tokens of pictures: what MindEye predicts, and what its samples are judged by.

Owns the preparation of a picture and the tokens' scale. The tower is `transformers`'.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.mindeye.prior_diffusion import by_cls_norm

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
CLAMP = 1.5
"""Bound of the variant without norms."""


class ClipTokens(nn.Module):
    """CLIP's image tower with all of its tokens projected, not the first alone.

    Parameters
    ----------
    tower : CLIPVisionModelWithProjection
        Frozen.
    """

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower.eval().requires_grad_(False)

    @property
    def side(self) -> int:
        """Of the pictures that the tower reads."""
        return int(self.tower.config.image_size)

    @property
    def shape(self) -> tuple[int, int]:
        """Tokens of a picture, and their width."""
        config = self.tower.config
        return (self.side // config.patch_size) ** 2 + 1, int(config.projection_dim)

    def prepare(self, images: Tensor) -> Tensor:
        """Resize the shorter side (bicubic), crop the middle, normalise; 0..1 in, (n, 3, s, s)."""
        height, width = images.shape[-2:]
        ratio = self.side / min(height, width)
        size = (max(self.side, int(height * ratio)), max(self.side, int(width * ratio)))
        if size != (height, width):
            images = functional.interpolate(images, size, mode="bicubic", antialias=True)
        top, left = (round((each - self.side) / 2) for each in size)
        return clip_normalised(images[..., top : top + self.side, left : left + self.side])

    def vectors(self, images: Tensor) -> Tensor:
        """Image vectors (n, width) of pictures (n, 3, height, width) in 0..1, as CLIP gives."""
        vectors: Tensor = self.tower(pixel_values=self._prepared(images)).image_embeds
        return vectors

    def forward(self, images: Tensor, *, is_normed: bool = True, clamped: bool = False) -> Tensor:
        """Tokens (n, n_tokens, width) of pictures (n, 3, height, width) in 0..1.

        `is_normed` divides each picture's by the norm of its first; `clamped` bounds what is not
        divided.
        """
        vision = self.tower.vision_model
        hidden = vision(pixel_values=self._prepared(images)).last_hidden_state
        tokens: Tensor = self.tower.visual_projection(vision.post_layernorm(hidden))
        if clamped:
            tokens = tokens.clamp(-CLAMP, CLAMP)
        return by_cls_norm(tokens) if is_normed else tokens

    def _prepared(self, images: Tensor) -> Tensor:
        return self.prepare(images).to(self.tower.visual_projection.weight.dtype)


def clip_normalised(images: Tensor) -> Tensor:
    """Images (n, 3, height, width) in 0..1 with CLIP's mean and deviation."""
    mean, std = (torch.tensor(each, device=images.device) for each in (CLIP_MEAN, CLIP_STD))
    return (images - mean[:, None, None]) / std[:, None, None]
