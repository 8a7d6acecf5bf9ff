"""Parameters that processes hold shards of (torch's FSDP2), made of whole ones and back.

Owns which parts of a network are gathered together. Knows nothing of steps or files. A shard is a
DTensor: what computes with parameters or an optimiser alone needs to know nothing of it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

LEAST = 1_000_000
"""Parameters of a block that is gathered by itself: smaller ones are gathered with the rest."""


def shard(module: nn.Module, device: torch.device, n_processes: int) -> None:
    """Have each process keep its part of every parameter of a module, in place, on `device`.

    The values are those of the first process. Blocks of a repeated stack (`nn.ModuleList`) are
    gathered one by one, when they are computed; the rest is gathered at the beginning of a step.
    """
    mesh = init_device_mesh(device.type, (n_processes,))
    single = {value for value in module.parameters() if value.ndim == 0}  # nothing to divide
    for value in (*module.parameters(), *module.buffers()):
        there = value.detach().to(device).contiguous()
        distributed.broadcast(there, src=0)
        value.data.copy_(there)
    blocks = [
        block
        for stack in module.modules()
        if isinstance(stack, nn.ModuleList)
        for block in stack
        if any(block.children()) and sum(value.numel() for value in block.parameters()) >= LEAST
    ]
    for block in reversed(blocks):  # what is within another comes first
        fully_shard(block, mesh=mesh, ignored_params=single)
    fully_shard(module, mesh=mesh, ignored_params=single)
    for value in single:
        value.data = value.data.to(device)
        if value.requires_grad:
            value.register_post_accumulate_grad_hook(_average)  # type: ignore[no-untyped-call]


def _average(parameter: Tensor) -> None:
    """Average the gradient of a parameter that every process holds."""
    if parameter.grad is not None:
        parameter.grad /= distributed.get_world_size()
        distributed.all_reduce(parameter.grad)


def unshard(module: nn.Module) -> None:
    """Make a module whole again, as it was before `shard`, on the CPU."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()  # a forward pass without a backward one leaves it gathered
    made: dict[Tensor, nn.Parameter] = {}  # tied weights stay one
    for part in module.modules():
        for name, value in part.named_parameters(recurse=False, remove_duplicate=False):
            if isinstance(value, DTensor):
                if value not in made:
                    full = whole(value.detach()).cpu()
                    made[value] = nn.Parameter(full, requires_grad=value.requires_grad)
                setattr(part, name, made[value])
    for part in module.modules():
        if isinstance(part, FSDPModule):
            # torch has no public way back: its hooks would gather what is no longer divided.
            state: Any = part._get_fsdp_state()  # noqa: SLF001
            for name in ("_pre_forward_hook_handle", "_post_forward_hook_handle"):
                getattr(state, name).remove()
            part.__class__ = type(part).__mro__[2]
    module.cpu()


def whole(value: Tensor) -> Tensor:
    """All of a tensor; where processes hold shards of it, every one of them has to ask."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def share(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor as `like` is held: this process' shard of it, or the tensor itself."""
    if not isinstance(like, DTensor):
        return value
    value = value.to(like.device, like.dtype)
    # Every process has the whole: nothing is sent.
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)
