"""Frozen traces: torch's own kernels without Python between them (`torch.jit`)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, cast

from models.sampling.backends.base import Target, torch_dtypes

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from models.sampling.parts import Run

_SETTLING = 3
"""Runs after which TorchScript's executor changes its graph no more."""


def traced(module: nn.Module, examples: tuple[Tensor, ...]) -> torch.jit.ScriptModule:
    """Record what `module` does with `examples`."""
    import torch

    with warnings.catch_warnings():
        # What depends on sizes becomes fixed, and an engine is used for these sizes only; whatever
        # else a trace gets wrong, the check against eager finds.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.simplefilter("ignore", DeprecationWarning)
        return cast(
            "torch.jit.ScriptModule",
            torch.jit.trace(module.eval(), examples, check_trace=False),  # type: ignore[no-untyped-call]
        )


class Trace:
    """A trace, frozen: weights are constants, modules are gone."""

    name = "trace"
    packages: tuple[str, ...] = ()
    extra = ""

    def dtypes(self, kind: str) -> tuple[str, ...]:
        """As eager, for the same kernels run."""
        return torch_dtypes(kind)

    def prepare(self, module: nn.Module, examples: tuple[Tensor, ...], target: Target) -> Run:  # noqa: ARG002
        """Trace, freeze, and run until the executor has settled."""
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            run = torch.jit.freeze(traced(module, examples))
        for _ in range(_SETTLING):
            run(*examples)
        return cast("Run", run)
