"""Makes the graphs of the embedded model for ONNX Runtime: `python -m research.embedded.graphs`.

A graph holds no weights, so it changes only when an architecture does. `hashes.json` of the
weights is written anew.
"""

from __future__ import annotations

import torch

from models.embedded.generator import WEIGHTS, load_generator
from models.embedded.sampler import EmbeddedSampler
from models.sampling.backends.base import Target
from models.sampling.backends.onnxruntime import OnnxRuntime
from models.sampling.parts import Flat
from models.weights import write_hashes


def main() -> None:
    """Draw one picture, export what drew it."""
    sampler = EmbeddedSampler(load_generator())
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        vector = torch.randn(1, 64, generator=generator)
        sampler.draw(vector.numpy(), seeds=(0,))
        for part in sampler.parts:
            if part.seen is None or part.graph is None:
                raise SystemExit(f"{part.name} took no part in the picture")
            # Not of inference mode, which exporting cannot record.
            examples = tuple(each.clone() for each in part.seen.tensors)
            graph = OnnxRuntime().build(Flat(part.module, part.seen).eval(), examples, Target())
            part.graph.write_bytes(graph)
            print(f"{part.graph}: {len(graph)} bytes")
    write_hashes(WEIGHTS)


if __name__ == "__main__":
    main()
