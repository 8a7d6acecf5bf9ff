"""Makes the graphs of the embedded model for ONNX Runtime: `python -m research.embedded.graphs`.

A graph holds no weights, so it changes only when an architecture does. What is made is the newest
revision; those of before, and parts that are the same in it, stay. `hashes.json` of the
weights is written anew.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from models.embedded.generator import WEIGHTS, load_generator
from models.embedded.sampler import EmbeddedSampler
from models.sampling.backends.onnxruntime import exported, without_weights
from models.sampling.parts import Flat
from models.weights import write_hashes
from research.embedded.lean import lean


def main() -> None:
    """Draw one picture, export what drew it and is not there yet."""
    sampler = EmbeddedSampler(load_generator())
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        vector = torch.randn(1, 64, generator=generator)
        sampler.draw(vector.numpy(), seeds=(0,))
        for part in sampler.parts:
            if part.seen is None or part.graph is None:
                raise SystemExit(f"{part.name} took no part in the picture")
            if part.graph.is_file():
                continue
            # Not of inference mode, which exporting cannot record.
            examples = tuple(each.clone() for each in part.seen.tensors)
            graph = _graph(Flat(lean(part.compiled), part.seen).eval(), examples)
            part.graph.write_bytes(graph)
            print(f"{part.graph}: {len(graph)} bytes")
    write_hashes(WEIGHTS)


def _graph(module: nn.Module, examples: tuple[Tensor, ...]) -> bytes:
    """Export; what depends on no input and no weight is computed once and for all."""
    model = _folded(exported(module, examples), set(module.state_dict()))
    return without_weights(model, module)


def _folded(model: Any, weights: set[str]) -> Any:
    """Let constants be folded, but none of weights, which are inputs meanwhile."""
    from onnx import helper
    from onnxscript import optimizer

    graph = model.graph
    theirs = [each for each in graph.initializer if each.name in weights]
    others = [each for each in graph.initializer if each.name not in weights]
    n_inputs = len(graph.input)
    for each in theirs:
        graph.input.append(helper.make_tensor_value_info(each.name, each.data_type, each.dims))
    del graph.initializer[:]
    graph.initializer.extend(others)
    model = optimizer.optimize(model, num_iterations=4)
    inputs = list(model.graph.input)[:n_inputs]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.graph.initializer.extend(theirs)
    return model


if __name__ == "__main__":
    main()
