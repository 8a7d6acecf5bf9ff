"""What a step's processes and parts compute together: contrasts, mixes, batch norms of all items.

DDP averages gradients, which makes the gradient of one large batch for losses that are means over
items. What compares items needs those of all processes. A module calls `gathered` and `own`
without knowing of either: outside `joined` (one process, validation) both return what they got.
Gradients go through: every process computes the same loss of all items, and DDP's mean of what
each one contributes is then that loss' gradient exactly.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

_place: ContextVar[tuple[int, int]] = ContextVar("place", default=(0, 1))
"""Number of this process, and count of processes that have a step in common."""
_parts: ContextVar[Parts | None] = ContextVar("parts", default=None)


@contextlib.contextmanager
def joined(rank: int, n_processes: int, parts: Parts | None = None) -> Iterator[None]:
    """Within: the forward passes of `n_processes`, and of `parts`, belong to one step."""
    tokens = _place.set((rank, n_processes)), _parts.set(parts)
    try:
        yield
    finally:
        _place.reset(tokens[0])
        _parts.reset(tokens[1])


class Parts:
    """What the parts of one step, computed one after the other, have in common.

    Parts are run without gradients until what each one gathers is what it gathers when it has the
    others' rows; then with gradients, each beside those rows (Gao et al. 2021, arXiv 2101.06983,
    for rows that depend on rows as well). Gradients of the parts then add up to the whole step's.
    """

    def __init__(self, n_parts: int) -> None:
        self.n_parts = n_parts
        self.part = 0
        self._call = 0
        self._before: list[list[Tensor]] = []
        self._rows: list[list[Tensor]] = []

    def settle(self, run: Callable[[int], object]) -> bool:
        """Run each part, until rows stay; return whether anything is gathered at all."""
        self._before, n_passes = [], 0
        while True:
            self._rows, n_passes = [], n_passes + 1
            for part in range(self.n_parts):
                self.begin(part)
                with torch.no_grad():
                    run(part)
                if not self._rows:
                    return False
            before, self._before = self._before, self._rows
            is_same = bool(before) and all(
                torch.equal(a, b)
                for old, new in zip(before, self._rows, strict=True)
                for a, b in zip(old, new, strict=True)
            )
            # After as many passes as there are calls all that one depends on has arrived, also
            # where a device does not repeat its sums to the bit.
            if is_same or n_passes > len(self._rows):
                return True

    def begin(self, part: int) -> None:
        """Be at the start of a part's forward pass."""
        self.part, self._call = part, 0

    def join(self, rows: Tensor) -> Tensor:
        """Put a part's rows among those of all parts."""
        call, self._call = self._call, self._call + 1
        if not torch.is_grad_enabled():
            if call == len(self._rows):
                self._rows.append([])
            self._rows[call].append(rows)
        known = self._before[call] if call < len(self._before) else [rows] * self.n_parts
        if rows.requires_grad:
            # Each part has the loss of all, of which the step takes the mean.
            rows = rows.view_as(rows)
            rows.register_hook(lambda grad: grad * self.n_parts)  # type: ignore[no-untyped-call]
        return torch.cat([*known[: self.part], rows, *known[self.part + 1 :]])


def gathered(rows: Tensor) -> Tensor:
    """Rows (n, ...) of every process and part below each other, in the order of the items.

    Of parts, gradients come back from what every part computes of all rows alike, as a contrast.
    """
    rank, n_processes = _place.get()
    if n_processes > 1:
        rows = _Gather.apply(rows, rank, n_processes)  # type: ignore[no-untyped-call]
    parts = _parts.get()
    return rows if parts is None else parts.join(rows)


def own(rows: Tensor) -> Tensor:
    """The rows of this process and part among those of all."""
    (rank, n_processes), parts = _place.get(), _parts.get()
    n_parts, part = (1, 0) if parts is None else (parts.n_parts, parts.part)
    n = len(rows) // (n_processes * n_parts)
    at = part * n_processes + rank
    return rows[at * n : (at + 1) * n]


def has_norms(module: nn.Module) -> bool:
    """Whether a module normalises by its batch, of which each part has its own."""
    return any(isinstance(each, _BatchNorm) for each in module.modules())


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
