"""Inductor: `torch.compile`, with CUDA graphs on NVIDIA GPUs."""

from __future__ import annotations

import importlib.util
import shutil
from typing import TYPE_CHECKING, Any, cast

from models.sampling.backends.base import BackendError, Target

if TYPE_CHECKING:
    from torch import Tensor, nn

    from models.sampling.parts import Run


class Inductor:
    """Compiles for one size; the first picture after that is a usual one."""

    name = "inductor"
    packages: tuple[str, ...] = ()
    extra = ""

    def dtypes(self, kind: str) -> tuple[str, ...]:
        """Half precision on a GPU; on a CPU its bfloat16 is slower than float32 without AMX."""
        if kind == "mps":
            return ()
        wide = ("float32", "bfloat16")
        return wide if kind == "cpu" else ("float16", "bfloat16", "float32")

    def prepare(self, module: nn.Module, examples: tuple[Tensor, ...], target: Target) -> Run:
        """Compile; takes from one to several minutes.

        Raises
        ------
        BackendError
            There is nothing to compile with.
        """
        if target.kind == "cpu" and shutil.which("c++") is None and shutil.which("cl") is None:
            raise BackendError(
                "Inductor needs a C++ compiler and found none: install one, or choose another "
                "decoder.backend."
            )
        if target.kind == "cuda" and importlib.util.find_spec("triton") is None:
            raise BackendError(
                "Inductor needs Triton, which PyTorch's CUDA builds bring: install one of them, or "
                "choose another decoder.backend."
            )
        import torch

        # CUDA graphs: one launch a network instead of one a kernel.
        mode = "reduce-overhead" if target.kind == "cuda" else "default"
        compiled = cast("Any", torch.compile(module, mode=mode, fullgraph=True, dynamic=False))

        def run(*tensors: Tensor) -> Tensor:
            output = torch.as_tensor(compiled(*tensors))
            # The next replay of a CUDA graph writes over what this one gave.
            return output.clone() if target.kind == "cuda" else output

        for _ in range(2):  # compiles, then records the graph
            run(*examples)
        return run
