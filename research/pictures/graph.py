"""Makes the graph of the packaged network for ONNX Runtime: `python -m research.pictures.graph`.

It holds no weights, so it changes only when the architecture does. `hashes.json` of the weights is
written anew.
"""

from __future__ import annotations

import torch

from models.pictures.shipped import (
    GRAPH,
    GRAPH_BATCH,
    SIDE,
    WEIGHTS,
    JoinedOutputs,
    load_network,
)
from models.sampling.backends.base import Target
from models.sampling.backends.onnxruntime import OnnxRuntime
from models.weights import write_hashes


def main() -> None:
    """Export."""
    example = torch.zeros(GRAPH_BATCH, 3, SIDE, SIDE)
    graph = OnnxRuntime().build(JoinedOutputs(load_network()).eval(), (example,), Target())
    (WEIGHTS / GRAPH).write_bytes(graph)
    write_hashes(WEIGHTS)
    print(f"{WEIGHTS / GRAPH}: {len(graph)} bytes")


if __name__ == "__main__":
    main()
