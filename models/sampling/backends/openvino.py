"""OpenVINO: engines for CPUs, in bfloat16 where the CPU computes in it.

Below float32 a network is split in two: what its sines and cosines are computed from, a noise level
of up to 1000 times a frequency, keeps float32. OpenVINO rounds everything, and a rounded angle of
hundreds of radians is another angle: the shipped U-Net then deviates by up to 0.19 of its largest
value, with the split by 0.02.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from models.sampling.backends.base import BackendError, Target
from models.sampling.backends.machine import has_bfloat16
from models.sampling.backends.trace import traced

if TYPE_CHECKING:
    from torch import Tensor, nn

    from models.sampling.parts import Run

_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_SIZE = struct.Struct("<Q")
_INPUT, _ANGLE = "input_", "angle_"


class OpenVino:
    """Converts a trace; the compiled network is what is kept, so that loading compiles nothing."""

    name = "openvino"
    packages = ("openvino",)
    extra = "fast"
    takes_graphs = False
    revision = 2

    def dtypes(self, kind: str) -> tuple[str, ...]:
        """Bfloat16 first where the CPU has instructions for it."""
        if kind != "cpu":
            return ()
        return ("bfloat16", "float32") if has_bfloat16() else ("float32",)

    def build(self, module: nn.Module, examples: tuple[Tensor, ...], target: Target) -> bytes:
        """Convert from torch, fix the sizes, compile."""
        import openvino
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        frontend = FrontEndManager().load_by_framework("pytorch")
        trace = traced(module, tuple(each.contiguous() for each in examples))
        decoder = TorchScriptPythonDecoder(trace)  # kept: OpenVINO holds it by no reference
        model = frontend.convert(frontend.load(decoder))
        sizes = [openvino.PartialShape(list(each.shape)) for each in examples]
        model.reshape(dict(zip(model.inputs, sizes, strict=True)))
        for i, each in enumerate(model.inputs):
            each.set_names({f"{_INPUT}{i}"})
        angles = _split(model) if target.dtype != "float32" else None
        made = b"" if angles is None else _compiled(angles, replace(target, dtype="float32"))
        return _SIZE.pack(len(made)) + made + _compiled(model, target)

    def load(self, engine: bytes, weights: Mapping[str, Tensor], target: Target) -> Run:  # noqa: ARG002
        """Import a compiled network."""
        import torch

        if len(engine) < _SIZE.size:
            raise BackendError("the engine is cut short.")
        end = _SIZE.size + _SIZE.unpack_from(engine)[0]
        exact = replace(target, dtype="float32")
        angles = _Request(engine[_SIZE.size : end], exact) if end > _SIZE.size else None
        network = _Request(engine[end:], target)

        def run(*tensors: Tensor) -> Tensor:
            given = {f"{_INPUT}{i}": each.contiguous().numpy() for i, each in enumerate(tensors)}
            if angles is not None:
                found = angles.infer(given)
                given |= {f"{_ANGLE}{i}": found[i] for i in range(len(found))}
            return torch.from_numpy(network.infer(given)[0])

        return run


class _Request:
    """A compiled network that takes arrays by name."""

    def __init__(self, engine: bytes, target: Target) -> None:
        import openvino

        compiled = openvino.Core().import_model(io.BytesIO(engine), "CPU", _settings(target))
        # OpenVINO may have given an input a name of its own beside ours.
        self._names = [
            next(name for name in each.get_names() if name.startswith((_INPUT, _ANGLE)))
            for each in compiled.inputs
        ]
        self._request = compiled.create_infer_request()

    def infer(self, given: Mapping[str, Any]) -> Any:
        return self._request.infer([given[name] for name in self._names])


def _compiled(model: Any, target: Target) -> bytes:
    import openvino

    stream = io.BytesIO()
    openvino.Core().compile_model(model, "CPU", _settings(target)).export_model(stream)
    return stream.getvalue()


def _split(model: Any) -> Any:
    """Take what leads to a network's sines and cosines out of it; None: nothing does.

    The network has their values as inputs from then on. Angles that a layer with weights has a part
    in stay: they are computed as the layer is.
    """
    import openvino
    from openvino import opset13

    ends: list[Any] = []
    inputs: dict[str, Any] = {}
    for node in model.get_ordered_ops():
        before = _before(node) if node.get_type_name() in {"Sin", "Cos"} else []
        own = {each.get_name(): each for each in before if each.get_type_name() == "Parameter"}
        if own and not {each.get_type_name() for each in before} & {"MatMul", "Convolution"}:
            ends.append(node.output(0))
            inputs |= own
    if not ends:
        return None
    angles = openvino.Model(ends, list(inputs.values()), "angles").clone()
    given = []
    for i, end in enumerate(ends):
        readers = list(end.get_target_inputs())
        made = opset13.parameter(list(end.get_shape()), end.get_element_type())
        made.output(0).set_names({f"{_ANGLE}{i}"})
        for reader in readers:
            reader.replace_source_output(made.output(0))
        given.append(made)
    model.add_parameters(given)
    used = {found.get_name() for each in model.get_results() for found in _before(each)}
    for each in inputs.values():
        if each.get_name() not in used:
            model.remove_parameter(each)
    return angles


def _before(node: Any) -> Sequence[Any]:
    """Every node that a node is computed from."""
    found: dict[str, Any] = {}
    left = [node]
    while left:
        for each in left.pop().input_values():
            source = each.get_node()
            if source.get_name() not in found:
                found[source.get_name()] = source
                left.append(source)
    return list(found.values())


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
