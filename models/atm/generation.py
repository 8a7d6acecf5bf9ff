"""CLIP vectors become pictures: SDXL with one or more IP-Adapters, through diffusers' pipeline.

Owns loading from local files only, the empty prompt, and the adapters' scales a layer. Knows
nothing of EEG. A picture is a pure function of vectors, seed and settings.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.atm.errors import AtmError
from models.atm.folder import require

ADAPTER_FILE = "ip-adapter_sdxl_vit-h.safetensors"
PROMPTS = "phosphene.json"
"""In `generator/`, where its tokenizer is not whole: only the empty prompt can be used."""


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """How pictures are drawn.

    Defaults are those of SDXL-Turbo in the base system: 4 steps, no guidance, 512 px. Seed 002
    with SDXL: 30 steps, guidance 5, 768 px.
    """

    num_inference_steps: int = 4
    guidance_scale: float = 0.0
    size: int = 512


class AdapterGenerator:
    """SDXL and `n_adapters` copies of one IP-Adapter.

    Parameters
    ----------
    folder : Path
        Holds `generator/` (diffusers' layout) and the adapter's file.
    n_adapters : int
        One, or five for the multimodal system.

    Raises
    ------
    AtmError
        A file is missing or cannot be read; the sentence says which and where it comes from.
    """

    def __init__(
        self, folder: Path, *, n_adapters: int = 1, settings: GenerationSettings | None = None
    ) -> None:
        self.settings = GenerationSettings() if settings is None else settings
        self._n_adapters = n_adapters
        adapter = require(folder / ADAPTER_FILE, "adapter")
        generator = require(folder / "generator", "generator")
        require(generator / "model_index.json", "generator")
        try:
            # Published files are in half precision; parts left so would not fit the others.
            self._pipeline: Any = _pipeline_class().from_pretrained(
                generator, local_files_only=True, add_watermarker=False, torch_dtype=torch.float32
            )
            self._pipeline.load_ip_adapter(
                [str(folder)] * n_adapters,
                subfolder=[""] * n_adapters,
                weight_name=[ADAPTER_FILE] * n_adapters,
                image_encoder_folder=None,
                local_files_only=True,
            )
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            reason = " ".join(str(error).split()[:30])
            raise AtmError(f"{folder} holds no usable generator ({reason}).") from None
        self._pipeline.set_progress_bar_config(disable=True)
        self._prompts: dict[str, tuple[Any, ...]] = {}
        self._only_empty = (generator / PROMPTS).is_file()
        self.files = (adapter, *sorted(generator.glob("**/*.safetensors")))

    @property
    def options(self) -> Mapping[str, int | float]:
        """What acts on its pictures; without guidance it is 1."""
        settings = self.settings
        return {
            "steps": settings.num_inference_steps,
            "guidance": max(1.0, settings.guidance_scale),
            "size": settings.size,
        }

    @property
    def layer_names(self) -> list[str]:
        """Cross-attention layers that the adapters act in."""
        processors = self._pipeline.unet.attn_processors
        return [name for name, value in processors.items() if hasattr(value, "scale")]

    def set_scales(self, scales: float | Sequence[Mapping[str, float]]) -> None:
        """Set how much each adapter acts: a number, or for each adapter a table by layer."""
        processors = self._pipeline.unet.attn_processors
        for name in self.layer_names:
            if isinstance(scales, float):
                processors[name].scale = [scales] * self._n_adapters
            else:
                processors[name].scale = [table[name] for table in scales]

    @torch.inference_mode()
    def draw(self, vectors: Sequence[Tensor], *, seed: int, prompt: str = "") -> NDArray[np.uint8]:
        """Draw one picture.

        Parameters
        ----------
        vectors : sequence of Tensor, each shape (n_features,)
            One for each adapter, on CLIP's own scale.
        seed : int
        prompt : str
            Empty, unless the label of the item is deliberately given away.

        Returns
        -------
        ndarray, shape (height, width, 3), uint8
        """
        if len(vectors) != self._n_adapters:
            raise AtmError(
                f"{len(vectors)} vectors for {self._n_adapters} adapters: give one each."
            )
        settings = self.settings
        guided = settings.guidance_scale > 1.0
        embeds, negative, pooled, negative_pooled = self._encoded(prompt)
        images = self._pipeline(
            prompt_embeds=embeds,
            pooled_prompt_embeds=pooled,
            negative_prompt_embeds=negative,
            negative_pooled_prompt_embeds=negative_pooled,
            ip_adapter_image_embeds=[_with_empty(v, guided=guided) for v in vectors],
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            height=settings.size,
            width=settings.size,
            generator=torch.Generator().manual_seed(seed),
            output_type="np",
        ).images
        return np.asarray(np.rint(images[0] * 255), dtype=np.uint8)

    def _encoded(self, prompt: str) -> tuple[Any, ...]:
        if prompt and self._only_empty:
            raise AtmError(
                f"the prompt is {prompt!r}, but this generator came from a single file without a "
                "tokenizer: import it again together with vocab.json and merges.txt."
            )
        # The same prompt for every picture: the text encoders run once.
        if prompt not in self._prompts:
            self._prompts[prompt] = self._pipeline.encode_prompt(
                prompt=prompt, negative_prompt="", do_classifier_free_guidance=True
            )
        return self._prompts[prompt]


def quiet_libraries() -> None:
    """Turn off the libraries' chatter on standard error: a session has a line of its own."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    # Even a bar that is off starts tqdm's watching thread, which never ends.
    bar: Any = importlib.import_module("tqdm").tqdm
    bar.monitor_interval = 0


def _pipeline_class() -> Any:
    import diffusers

    quiet_libraries()
    return diffusers.StableDiffusionXLPipeline


def _with_empty(vector: Tensor, *, guided: bool) -> Tensor:
    """(1, 1, n_features), or (2, 1, n_features) with zeros for the unconditional half in front."""
    one = vector.reshape(1, 1, -1)
    return torch.cat([torch.zeros_like(one), one]) if guided else one
