"""ONNX Runtime: engines for CPUs in float32; the default there.

An engine is the network's graph alone: it takes the module's weights when it is loaded, so that one
graph serves every set of weights of an architecture, on every machine, and ships with the
embedded model. Building one needs `onnxscript`; loading does not.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from models.sampling.backends.base import BackendError, Target
from pipeline.extras import extras_named

if TYPE_CHECKING:
    from torch import Tensor, nn

    from models.sampling.parts import Run


class OnnxRuntime:
    """Exports with torch's exporter, and leaves the weights out."""

    name = "onnxruntime"
    packages = ("onnxruntime",)
    extra = ""
    takes_graphs = True

    def dtypes(self, kind: str) -> tuple[str, ...]:
        """Float32 on CPUs; the builds for GPUs are other distributions."""
        return ("float32",) if kind == "cpu" else ()

    def build(self, module: nn.Module, examples: tuple[Tensor, ...], target: Target) -> bytes:  # noqa: ARG002
        """Export; the names of inputs are `x0`, `x1`, ...

        Raises
        ------
        MissingExtraError
            What exports is not installed.
        """
        with extras_named("building an engine for ONNX Runtime"):
            import onnxscript  # noqa: F401 - what torch exports with
        return without_weights(exported(module, examples), module)

    def load(self, engine: bytes, weights: Mapping[str, Tensor], target: Target) -> Run:
        """Open a session on the graph and the weights; optimising it takes about 0.1 s."""
        import onnxruntime
        import torch

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = target.threads, 1
        options.use_deterministic_compute = True
        # Threads that wait without sleeping take the core from acquisition and the window.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        values = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(value.detach().contiguous().numpy())
            for name, value in weights.items()
            if name.encode() in engine
        }
        options.add_external_initializers(list(values), list(values.values()))
        session: Any = onnxruntime.InferenceSession(
            engine, options, providers=["CPUExecutionProvider"]
        )
        names = [each.name for each in session.get_inputs()]

        def run(*tensors: Tensor) -> Tensor:
            given = {
                name: each.contiguous().numpy() for name, each in zip(names, tensors, strict=True)
            }
            return torch.from_numpy(session.run(None, given)[0])

        return run


def exported(module: nn.Module, examples: tuple[Tensor, ...]) -> Any:
    """A network as an ONNX model by torch: inputs `x0`, `x1`, ..., output `y`.

    Raises
    ------
    BackendError
        Torch makes none of it.
    """
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            tuple(each.contiguous() for each in examples),
            input_names=[f"x{i}" for i in range(len(examples))],
            output_names=["y"],
            dynamo=True,
            # Its optimiser would fold weights into new ones; ONNX Runtime has its own.
            optimize=False,
            verbose=False,
        )
    if program is None:
        raise BackendError("torch exported nothing.")
    return program.model_proto


def without_weights(model: Any, module: nn.Module) -> bytes:
    """Write an ONNX model as bytes; weights of `module` are left out, to be given at loading."""
    from onnx import TensorProto

    weights = module.state_dict()
    # A module may have layers that its part does not ask: ONNX Runtime knows no weights of them.
    asked = {name for node in model.graph.node for name in node.input}
    kept = [each for each in model.graph.initializer if each.name in asked]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    for each in model.graph.initializer:
        if each.name in weights:
            each.ClearField("raw_data")
            each.data_location = TensorProto.EXTERNAL
            place = {"location": "weights", "offset": "0", "length": str(weights[each.name].nbytes)}
            for key, value in place.items():
                entry = each.external_data.add()
                entry.key, entry.value = key, value
    # Where in which source file a node came from, and what torch called it.
    for notes in (model.graph.value_info, model.graph.metadata_props, model.metadata_props):
        del notes[:]
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    return bytes(model.SerializeToString())
