"""Fitting a pipeline into the memory of a device.

Owns the decision, from bytes alone, and what it turns on: the autoencoder in tiles or slices, and
parts that wait on the CPU. The CPU itself needs neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from models.sampling.decoding import use_tiles

TILE_FROM = 768
"""Side of a picture, pixels, from which the autoencoder decodes in tiles where memory is short."""
ROOM = 1.3
"""What drawing takes beside the weights, as a factor of them."""
SHORT = 12 << 30
"""Below so many free bytes memory counts as short: fp16 XL fits into 8 GB with both measures."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What is turned on: parts that wait on the CPU, the autoencoder in tiles."""

    offload: bool = False
    tiling: bool = False


def plan_memory(*, weights: int, largest: int, free: int, size: int) -> MemoryPlan:
    """Decide from bytes.

    Parameters
    ----------
    weights : int
        Of all parts, in the precision that they run in.
    largest : int
        Of the largest part, which has to fit whatever is done.
    free : int
        On the device.
    size : int
        Side of a picture, pixels.

    Raises
    ------
    torch.OutOfMemoryError
        Not even the largest part fits.
    """
    if largest * ROOM > free:
        raise torch.OutOfMemoryError(
            f"the largest part needs {largest * ROOM / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are "
            "free: draw on the CPU (decoder.device), or with a smaller generator."
        )
    return MemoryPlan(
        offload=weights * ROOM > free,
        tiling=free < SHORT and size >= TILE_FROM,
    )


def save_memory(
    pipeline: Any, *, device: torch.device, size: int, is_asked: bool = False, tile: int = 0
) -> MemoryPlan:
    """Turn on what a CUDA device needs for a pipeline, or all there is, where it is asked for.

    `tile` is the side of a tile, pixels; 0: as the autoencoder was made.
    """
    if is_asked:
        plan = MemoryPlan(offload=device.type == "cuda", tiling=True)
        apply(pipeline, plan, device=device, tile=tile)
        return plan
    if device.type != "cuda":
        return MemoryPlan()
    sizes = [
        _bytes_of(part) for part in pipeline.components.values() if isinstance(part, nn.Module)
    ]
    free, _ = torch.cuda.mem_get_info(device)
    plan = plan_memory(weights=sum(sizes), largest=max(sizes), free=free, size=size)
    apply(pipeline, plan, device=device)
    return plan


def apply(pipeline: Any, plan: MemoryPlan, *, device: torch.device, tile: int = 0) -> None:
    """Turn on what a plan says."""
    if plan.tiling:
        use_tiles(pipeline.vae, side=tile)
        pipeline.vae.enable_slicing()
    if plan.offload:
        pipeline.enable_model_cpu_offload(device=device)


def _bytes_of(module: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters())
