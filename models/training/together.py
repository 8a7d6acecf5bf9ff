"""What a step's processes compute together: contrasts, mixes and batch norms over all their items.

DDP averages gradients, which makes the gradient of one large batch for losses that are means over
items. What compares items needs those of all processes. A module calls `gathered` and `own`
without knowing of processes: outside `joined` (one process, validation) both return what they got.
Gradients go through: every process computes the same loss of all items, and DDP's mean of what
each one contributes is then that loss' gradient exactly.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

_place: ContextVar[tuple[int, int]] = ContextVar("place", default=(0, 1))
"""Number of this process, and count of processes that have a step in common."""


@contextlib.contextmanager
def joined(rank: int, n_processes: int) -> Iterator[None]:
    """Within: the forward passes of `n_processes` belong to one step."""
    token = _place.set((rank, n_processes))
    try:
        yield
    finally:
        _place.reset(token)


def gathered(rows: Tensor) -> Tensor:
    """Rows (n, ...) of every process below each other, in the order of the step's items."""
    rank, n_processes = _place.get()
    if n_processes == 1:
        return rows
    made: Tensor = _Gather.apply(rows, rank, n_processes)  # type: ignore[no-untyped-call]
    return made


def own(rows: Tensor) -> Tensor:
    """The rows of this process among those of all."""
    rank, n_processes = _place.get()
    n = len(rows) // n_processes
    return rows[rank * n : (rank + 1) * n]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, rank: int, n_processes: int) -> Tensor:
        rows = rows.contiguous()
        ctx.own = slice(rank * len(rows), (rank + 1) * len(rows))
        parts = [torch.empty_like(rows) for _ in range(n_processes)]
        distributed.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        # A sum and a slice: gloo has no reduce-scatter.
        total = grad.contiguous().clone()
        distributed.all_reduce(total)
        return total[ctx.own], None, None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        del ctx
        total = values.contiguous().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        del ctx
        total = grad.contiguous().clone()
        distributed.all_reduce(total)
        return total


def _summed(values: Tensor) -> Tensor:
    made: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return made


class JoinedBatchNorm(_BatchNorm):
    """Batch norm over the items of all processes, for CPUs: torch's own needs a GPU."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected (n, n_features, ...), got {tuple(input.shape)}.")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (n, n_features, ...)."""
        _, n_processes = _place.get()
        if n_processes == 1 or not self.training:
            return super().forward(input)
        axes = [0, *range(2, input.ndim)]
        n = input.numel() // input.shape[1] * n_processes
        given = input.float()
        mean = _summed(given.sum(axes)) / n
        shape = (1, -1, *[1] * (input.ndim - 2))
        centred = given - mean.view(shape)
        var = _summed(centred.square().sum(axes)) / n
        with torch.no_grad():
            self._remember(mean, var * n / (n - 1))
        made = centred * (var + self.eps).rsqrt().view(shape)
        if self.affine:
            made = made * self.weight.view(shape) + self.bias.view(shape)
        return made.to(input.dtype)

    def _remember(self, mean: Tensor, var: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        rate = self.momentum
        if rate is None:  # the mean over all batches
            rate = 1 / float(self.num_batches_tracked or 1)
        self.running_mean.lerp_(mean.to(self.running_mean), rate)
        self.running_var.lerp_(var.to(self.running_var), rate)


def join_norms(module: nn.Module, device: torch.device) -> None:
    """Have every batch norm below a module take its statistics over all processes."""
    convert: Any = nn.SyncBatchNorm.convert_sync_batchnorm  # untyped
    for name, child in module.named_children():
        if not isinstance(child, _BatchNorm):
            join_norms(child, device)
        elif device.type == "cuda":
            setattr(module, name, convert(child))
        else:
            setattr(module, name, _on_cpu(child))


def _on_cpu(norm: _BatchNorm) -> JoinedBatchNorm:
    made = JoinedBatchNorm(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    # The very parameters and buffers: an optimiser holds them already.
    for name, parameter in norm.named_parameters(recurse=False):
        made.register_parameter(name, parameter)
    for name, buffer in norm.named_buffers(recurse=False):
        made.register_buffer(name, buffer)
    return made.train(norm.training)
