"""The shipped image encoder: a picture becomes a unit vector of the shipped gallery's space.

Owns its weights and how a vector is put together. The space joins the looks of an object on a plain
background, its layout and the meaning of its name; a linear map guesses all three from a network's
features and coarse colours by place. The meaning is guessed a second time from the classes of
ImageNet that the network takes the picture for; the more the likely ones agree, the more that
counts. A picture is taken to stand upright.
Trained by `research/pictures/train.py`; figures in `docs/models/pictures.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

from configs.guard import read_bytes
from models.pictures.network import N_CLASSES, N_POOLED, PictureNetwork
from models.sampling.backends.base import Target
from models.sampling.backends.onnxruntime import OnnxRuntime
from models.weights import WeightState, check_weights
from pipeline.errors import GalleryError
from pipeline.gallery.making import PictureVectors
from pipeline.values import Float32, Uint8

WEIGHTS = Path(__file__).parent / "weights"
FILE, GRAPH = "model.safetensors", "graph.onnx"
GRAPH_BATCH = 8
"""Pictures that one run of the graph takes."""
SIDE = 192
"""Side that the network sees, pixels; the table's own features were made at it."""
CELLS = 8
N_SEEN, N_MEANING = 39, 24
"""Coordinates of looks and layout together, and of meaning."""
N_FEATURES = N_SEEN + N_MEANING + 1
BATCH = 16
_LIMIT = 64 * 2**20
_MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
_STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
M = TypeVar("M", bound=nn.Module)


class PictureReadout(nn.Module):
    """From features, layout and classes to a unit vector; linear but for the classes' softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(N_POOLED + CELLS * CELLS * 3, N_SEEN + N_MEANING)
        self.class_meaning = nn.Parameter(torch.zeros(N_CLASSES, N_MEANING))
        """Where the name of each class lies among the gallery's names."""
        self.trust = nn.Parameter(torch.zeros(2))
        """Weight of the classes' meaning: a logistic function of how far the likely ones agree."""
        self.upright = nn.Parameter(torch.zeros(1))
        self.centre = nn.Parameter(torch.zeros(N_FEATURES))

    def forward(self, pooled: Tensor, logits: Tensor, layout: Tensor) -> Tensor:
        """Unit vectors (n, 64) of features (n, 1280), logits (n, 1000) and layout (n, 192)."""
        guessed = self.linear(torch.cat([pooled, layout], dim=1))
        seen, meaning = guessed.split([N_SEEN, N_MEANING], dim=1)
        shares = logits.softmax(dim=1)
        named = shares @ self.class_meaning
        # Near 1 where the likely classes mean the same, whatever their number.
        agreement = named.norm(dim=1, keepdim=True) / (
            shares @ self.class_meaning.norm(dim=1, keepdim=True)
        )
        trust = torch.sigmoid(self.trust[0] * agreement + self.trust[1])
        meaning = torch.lerp(meaning, named, trust)
        joined = torch.cat([seen, meaning, self.upright.expand(len(pooled), 1)], dim=1)
        return functional.normalize(joined - self.centre, dim=1)


def layout_of(pictures: Uint8) -> Tensor:
    """Coarse colours by place, (n, 192) in [0, 1], of squares (n, height, width, 3)."""
    small = [
        np.asarray(Image.fromarray(each).resize((CELLS, CELLS), Image.Resampling.BOX))
        for each in pictures
    ]
    return torch.from_numpy(np.stack(small).reshape(len(small), -1).astype(np.float32) / 255.0)


def network_input(pictures: Uint8) -> Tensor:
    """Squares (n, height, width, 3) as the network takes them."""
    part = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float()
    part = functional.interpolate(part, size=(SIDE, SIDE), mode="bicubic", antialias=True)
    return part.div_(255.0).sub_(_MEAN).div_(_STD)


def load_shipped() -> PictureVectors:
    """Load the encoder that ships with Phosphene.

    Raises
    ------
    GalleryError
        Its file is missing or not the one that was shipped.
    """
    network, readout = load_network(), _load(PictureReadout(), "readout.")

    @torch.inference_mode()
    def encode(pictures: Uint8) -> Float32:
        rows = []
        for start in range(0, len(pictures), BATCH):
            part = pictures[start : start + BATCH]
            rows.append(readout(*network(network_input(part)), layout_of(part)))
        return np.asarray(torch.cat(rows).numpy(), dtype=np.float32)

    return encode


def load_network() -> PictureNetwork:
    """Load the network alone; raises as `load_shipped`."""
    return _load(PictureNetwork(), "network.")


class JoinedOutputs(nn.Module):
    """The network with one output: pooled features and logits beside each other."""

    def __init__(self, network: PictureNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Rows (n, 2280) of pictures (n, 3, SIDE, SIDE)."""
        return torch.cat(self.network(x), dim=1)


def load_quick_network(*, threads: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Load the network on ONNX Runtime: the same features to some 1e-5, in a third of the time.

    What makes vectors of galleries stays on torch, so that they are the same to the bit.

    Raises
    ------
    GalleryError
        A file is missing or not the one that was shipped.
    """
    module = JoinedOutputs(load_network())
    weights = {name: value.detach() for name, value in module.state_dict().items()}
    run = OnnxRuntime().load((WEIGHTS / GRAPH).read_bytes(), weights, Target(threads=threads))

    def network(x: Tensor) -> tuple[Tensor, Tensor]:
        parts = []
        for first in range(0, len(x), GRAPH_BATCH):
            part = x[first : first + GRAPH_BATCH]
            missing = GRAPH_BATCH - len(part)
            whole = functional.pad(part, (0, 0, 0, 0, 0, 0, 0, missing)) if missing else part
            parts.append(run(whole)[: len(part)])
        rows = torch.cat(parts)
        return rows[:, :N_POOLED], rows[:, N_POOLED:]

    return network


def _load(module: M, prefix: str) -> M:
    status = check_weights(WEIGHTS, [FILE, GRAPH])
    if status.state is not WeightState.READY:
        raise GalleryError(f"the shipped image encoder cannot be used: {status.problems[0]}.")
    state = load(read_bytes(WEIGHTS / FILE, limit=_LIMIT))
    own = {k.removeprefix(prefix): v.float() for k, v in state.items() if k.startswith(prefix)}
    module.load_state_dict(own)
    module.eval()
    return module
