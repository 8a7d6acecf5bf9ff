"""CLIP vectors become pictures: SDXL with one or more IP-Adapters, from a system's folder.

Owns where the parts lie; drawing is `models.stable_diffusion`'s. Knows nothing of EEG.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.atm.folder import require
from models.stable_diffusion.generation import Condition, GenerationSettings, LatentGenerator
from models.stable_diffusion.parts import read_folder

ADAPTER_FILE = "ip-adapter_sdxl_vit-h.safetensors"


class AdapterGenerator:
    """SDXL and `n_adapters` copies of one IP-Adapter.

    Parameters
    ----------
    folder : Path
        Holds `generator/` (diffusers' layout) and the adapter's file.
    n_adapters : int
        One, or five for the multimodal system.
    settings, device, dtype, backend
        As `LatentGenerator`.

    Raises
    ------
    PhospheneError
        A file is missing or cannot be read; the sentence says which and where it comes from.
    """

    def __init__(
        self,
        folder: Path,
        *,
        n_adapters: int = 1,
        settings: GenerationSettings | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        low_memory: bool = False,
        tile: int = 0,
    ) -> None:
        adapter = require(folder / ADAPTER_FILE, "adapter")
        generator = require(folder / "generator", "generator")
        require(generator / "model_index.json", "generator")
        parts = read_folder(generator)
        parts.add_adapter(adapter, copies=n_adapters)
        self.latent = LatentGenerator(
            parts,
            settings=settings,
            device=device,
            dtype=dtype,
            low_memory=low_memory,
            tile=tile,
        )
        self.settings, self.files = self.latent.settings, parts.files

    @property
    def options(self) -> Mapping[str, int | float]:
        """What acts on its pictures; without guidance it is 1."""
        return self.latent.options

    @property
    def layer_names(self) -> list[str]:
        """Cross-attention layers that the adapters act in."""
        return self.latent.layer_names

    def set_scales(self, scales: float | Sequence[Mapping[str, float]]) -> None:
        """Set how much each adapter acts: a number, or for each adapter a table by layer."""
        self.latent.set_scales(scales)

    def draw(self, vectors: Sequence[Tensor], *, seed: int, prompt: str = "") -> NDArray[np.uint8]:
        """Draw one picture (height, width, 3) of a vector (n_features,) for each adapter.

        `prompt` is empty, unless the label of the item is deliberately given away.
        """
        return self.latent.draw(Condition(images=tuple(vectors), prompt=prompt), seed=seed)
