"""TensorRT through torch-tensorrt: engines for NVIDIA GPUs. Not measured: no GPU was at hand.

Kept thin, and written against the signatures of torch-tensorrt 2.13's wheel
(`tests/models/test_tensorrt.py` compares them with it). Its own engine cache is never on: that one
unpickles what it finds, by default in the shared temporary folder.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from models.sampling.backends.base import BackendError, Target

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from models.sampling.parts import Run

_SETTINGS: dict[str, Any] = {
    # Weights can be put in anew (LoRA, adapters).
    "immutable_weights": False,
    "cache_built_engines": False,
    "reuse_cached_engines": False,
    # One engine a network: what falls back to torch in between would cost what was won.
    "require_full_compilation": True,
}
_HEAD = struct.Struct("<Q")


class TensorRt:
    """An engine is the serialised TensorRT engine behind the names of its bindings."""

    name = "tensorrt"
    packages = ("torch-tensorrt",)
    extra = "tensorrt"
    takes_graphs = False

    def dtypes(self, kind: str) -> tuple[str, ...]:
        """Half precision: modules come in it, for torch-tensorrt takes the modules' own type."""
        return ("float16", "bfloat16", "float32") if kind == "cuda" else ()

    def build(self, module: nn.Module, examples: tuple[Tensor, ...], target: Target) -> bytes:
        """Compile; takes minutes at full size."""
        import torch
        from torch_tensorrt.dynamo import compile as compile_program

        program = torch.export.export(module, examples)
        compiled = compile_program(
            program, arg_inputs=examples, device=torch.device(target.device), **_SETTINGS
        )
        return _packed(compiled)

    def load(self, engine: bytes, weights: Mapping[str, Tensor], target: Target) -> Run:  # noqa: ARG002
        """Deserialise by TensorRT itself, and run in a CUDA graph."""
        import torch
        from torch_tensorrt.runtime import set_cudagraphs_mode

        graph = _unpacked(engine, target)
        # For the whole process, which does nothing but decode.
        set_cudagraphs_mode(True)

        def run(*tensors: Tensor) -> Tensor:
            # The next replay of the graph writes over what this one gave.
            return torch.as_tensor(graph(*tensors)).clone()

        return run

    def refit(
        self, engine: bytes, module: nn.Module, examples: tuple[Tensor, ...], target: Target
    ) -> bytes:
        """Put other weights into an engine: a few percent of the time of building one."""
        import torch
        from torch_tensorrt.dynamo import refit_module_weights

        program = torch.export.export(module, examples)
        refitted = refit_module_weights(
            _unpacked(engine, target), program, arg_inputs=examples, verify_output=False
        )
        return _packed(refitted)


def _packed(compiled: Any) -> bytes:
    """The one engine of a compiled module, with the names of its bindings in front."""
    from torch_tensorrt.dynamo.runtime import TorchTensorRTModule

    found = [each for each in compiled.modules() if isinstance(each, TorchTensorRTModule)]
    if len(found) != 1:
        raise BackendError(
            f"torch-tensorrt made {len(found)} engines of the network, expected one: choose "
            "inductor (decoder.backend)."
        )
    names = {"in": list(found[0].input_binding_names), "out": list(found[0].output_binding_names)}
    head = json.dumps(names).encode()
    return _HEAD.pack(len(head)) + head + bytes(found[0].serialized_engine)


def _unpacked(engine: bytes, target: Target) -> torch.fx.GraphModule:
    import torch
    from torch_tensorrt.dynamo import CompilationSettings
    from torch_tensorrt.dynamo.runtime import TorchTensorRTModule

    (length,) = _HEAD.unpack_from(engine)
    names = json.loads(engine[_HEAD.size : _HEAD.size + length])
    module = TorchTensorRTModule(
        serialized_engine=engine[_HEAD.size + length :],
        input_binding_names=names["in"],
        output_binding_names=names["out"],
        name="_run_on_acc_0",
        settings=CompilationSettings(**_SETTINGS, device=torch.device(target.device)),
    )
    graph = torch.fx.Graph()
    inputs = tuple(graph.placeholder(name) for name in names["in"])
    graph.output(graph.call_module("_run_on_acc_0", inputs))
    return torch.fx.GraphModule({"_run_on_acc_0": module}, graph)
