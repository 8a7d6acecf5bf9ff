"""The way out of torch: images become pixels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import PhospheneError


class DrawingError(PhospheneError):
    """What was drawn is no picture."""


def to_pixels(images: Tensor) -> NDArray[np.uint8]:
    """Pixels (n, height, width, 3) of images (n, 3, height, width), about -1..1.

    Rounded where they were drawn; the copy to the CPU is the one time that a picture waits for
    its device.

    Raises
    ------
    DrawingError
        A number is none: the weights are damaged, or their precision is too low.
    """
    # Asked before the copy, known when it is there; of two numbers, NaN among them if there is one.
    is_finite = torch.isfinite(torch.stack(torch.aminmax(images))).all()
    pixels = images.float().clamp(-1, 1).add_(1).mul_(127.5).round_().to(torch.uint8)
    made = pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    if not bool(is_finite):
        raise DrawingError(
            "the generator drew NaN or infinity, expected a picture: its weights are damaged (get "
            "or import them again), or their precision is too low for them (decoder.dtype)."
        )
    return np.asarray(made)
