"""OpenVINO: engines for CPUs, in bfloat16 where the CPU computes in it."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from models.sampling.backends.base import Target
from models.sampling.backends.machine import has_bfloat16
from models.sampling.backends.trace import traced

if TYPE_CHECKING:
    from torch import Tensor, nn

    from models.sampling.parts import Run

_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


class OpenVino:
    """Converts a trace; the compiled network is what is kept, so that loading compiles nothing."""

    name = "openvino"
    packages = ("openvino",)
    extra = "fast"
    takes_graphs = False

    def dtypes(self, kind: str) -> tuple[str, ...]:
        """Bfloat16 first where the CPU has instructions for it."""
        if kind != "cpu":
            return ()
        return ("bfloat16", "float32") if has_bfloat16() else ("float32",)

    def build(self, module: nn.Module, examples: tuple[Tensor, ...], target: Target) -> bytes:
        """Convert from torch, fix the sizes, compile."""
        openvino = _library()
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        frontend = FrontEndManager().load_by_framework("pytorch")
        trace = traced(module, tuple(each.contiguous() for each in examples))
        decoder = TorchScriptPythonDecoder(trace)  # kept: OpenVINO holds it by no reference
        model = frontend.convert(frontend.load(decoder))
        sizes = [openvino.PartialShape(list(each.shape)) for each in examples]
        model.reshape(dict(zip(model.inputs, sizes, strict=True)))
        compiled = openvino.Core().compile_model(model, "CPU", _settings(target))
        stream = io.BytesIO()
        compiled.export_model(stream)
        return stream.getvalue()

    def load(self, engine: bytes, weights: Mapping[str, Tensor], target: Target) -> Run:  # noqa: ARG002
        """Import a compiled network."""
        import torch

        openvino = _library()

        compiled = openvino.Core().import_model(io.BytesIO(engine), "CPU", _settings(target))
        request = compiled.create_infer_request()

        def run(*tensors: Tensor) -> Tensor:
            given = [each.contiguous().numpy() for each in tensors]
            return torch.from_numpy(request.infer(given)[0])

        return run


def _library() -> Any:
    """Import OpenVINO, without what tells its maker of each import.

    That is sent from a forked process, which may never end.
    """
    # To Python such a module is absent, and OpenVINO then has nothing to send with.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _settings(target: Target) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": _HINTS[target.dtype],
        "INFERENCE_NUM_THREADS": target.threads,
        "NUM_STREAMS": 1,
        # Cores are left to the system's choice: acquisition and the window share them.
        "ENABLE_CPU_PINNING": False,
        # OpenVINO 2026.4.1 crashes when it fuses attention in float32, by AVX2 and by AVX-512.
        "SNIPPETS_MODE": "DISABLE",
    }
