"""Noise by seed: the same numbers on every device, in every precision, in any batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pipeline.errors import ConfigurationError

MAX_SEED = 2**64


def seeded_noise(seeds: Sequence[int], shape: Sequence[int], *, like: Tensor) -> Iterator[Tensor]:
    """Yield standard normal noise without end: first for the start, then for each step.

    Parameters
    ----------
    seeds : sequence of int
        One an item, 0 to 2**64 - 1: an item does not depend on the others of its batch.
    shape : sequence of int
        Of one item.
    like : Tensor
        Of the network: noise lies on its device and has its precision, but float32 at least, or
        small steps would be lost. The numbers are drawn in float32 by the CPU, whose generator is
        the only one that is the same everywhere.

    Yields
    ------
    Tensor, shape (n, *shape)
    """
    for seed in seeds:
        if not 0 <= seed < MAX_SEED:
            raise ConfigurationError(f"seed is {seed}, expected 0 to 2**64 - 1.")
    dtype = torch.promote_types(like.dtype, torch.float32)
    sources = [torch.Generator().manual_seed(seed) for seed in seeds]
    while True:
        drawn = torch.cat([torch.randn(1, *shape, generator=source) for source in sources])
        # Pageable memory is copied before the call returns: nothing is waited for, nothing torn.
        yield drawn.to(like.device, dtype, non_blocking=True)
