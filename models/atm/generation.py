"""CLIP vectors become pictures: SDXL with one or more IP-Adapters.

Owns loading from local files only, the empty prompt, and the adapters' scales a layer. The parts
are those of diffusers' pipeline; `models.sampling` takes the steps. Knows nothing of EEG. A picture
is a pure function of vectors, seed and settings.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.attention_processor import (
    IPAdapterAttnProcessor,
    IPAdapterAttnProcessor2_0,
)
from numpy.typing import NDArray
from torch import Tensor

from models.atm.errors import AtmError
from models.atm.folder import require
from models.sampling import denoisers, schedules, solvers
from models.sampling.denoisers import Backend, Level, Network, eager
from models.sampling.noise import seeded_noise
from models.sampling.pictures import to_pixels

_ADAPTERS = (IPAdapterAttnProcessor, IPAdapterAttnProcessor2_0)
"""What an IP-Adapter puts into each cross-attention."""
ADAPTER_FILE = "ip-adapter_sdxl_vit-h.safetensors"
PROMPTS = "phosphene.json"
"""In `generator/`, where its tokenizer is not whole: only the empty prompt can be used."""
PREDICTIONS = {
    "epsilon": denoisers.epsilon,
    "v_prediction": denoisers.velocity,
    "sample": denoisers.clean,
}
"""Adapters by a scheduler's `prediction_type`."""


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

    settings : GenerationSettings
    device, dtype
        Where and in which precision it draws; None: the CPU.
    backend : Backend
        Makes callables of the U-Net and the decoder; by default they are themselves.

    Raises
    ------
    AtmError
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
        backend: Backend = eager,
    ) -> None:
        self.settings = GenerationSettings() if settings is None else settings
        self._n_adapters = n_adapters
        adapter = require(folder / ADAPTER_FILE, "adapter")
        generator = require(folder / "generator", "generator")
        require(generator / "model_index.json", "generator")
        try:
            self._pipeline: Any = _pipeline_class().from_pretrained(
                generator, local_files_only=True, add_watermarker=False
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
        # Published files are in half precision; parts left so would not fit the others.
        self._pipeline.to(device, dtype)
        vae = self._pipeline.vae
        if dtype == torch.float16 and vae.config.force_upcast:
            vae.to(torch.float32)
        self._unet = backend(self._pipeline.unet)
        self._is_guided = self.settings.guidance_scale > 1.0
        self._levels = self._levels_of(self._pipeline.scheduler, folder)
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
        return [name for name, value in processors.items() if isinstance(value, _ADAPTERS)]

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
        unet, vae, scheduler = self._pipeline.unet, self._pipeline.vae, self._pipeline.scheduler
        network = denoisers.in_dtype(self._network(vectors, prompt), unet.dtype)
        if self._is_guided:
            network = denoisers.guided(denoisers.together(network), self.settings.guidance_scale)
        denoise = PREDICTIONS[scheduler.config.prediction_type](network)
        side = self.settings.size // self._pipeline.vae_scale_factor
        shape = (unet.config.in_channels, side, side)
        noise = seeded_noise((seed,), shape, like=unet.conv_in.weight)
        start = next(noise) * scheduler.init_noise_sigma
        if _is_ancestral(scheduler):
            states = solvers.euler_ancestral(denoise, start, self._levels, noise)
        else:
            states = solvers.euler(denoise, start, self._levels)
        latents = (solvers.last(states) / vae.config.scaling_factor).to(vae.dtype)
        return np.asarray(to_pixels(vae.decode(latents, return_dict=False)[0])[0])

    def _levels_of(self, scheduler: Any, folder: Path) -> list[Level]:
        """Levels of the folder's own scheduler, which has to be of SDXL's or SDXL-Turbo's class."""
        name = type(scheduler).__name__
        if name != "EulerDiscreteScheduler" and not _is_ancestral(scheduler):
            raise AtmError(
                f"{folder / 'generator' / 'scheduler'} is of {name}, expected "
                "EulerDiscreteScheduler (SDXL) or EulerAncestralDiscreteScheduler (SDXL-Turbo): "
                "take scheduler_config.json from one of them."
            )
        scheduler.set_timesteps(self.settings.num_inference_steps)
        device = self._pipeline.unet.device
        return schedules.ve_levels(scheduler.sigmas, scheduler.timesteps, device=device)

    def _network(self, vectors: Sequence[Tensor], prompt: str) -> Network:
        """The U-Net with its conditions bound; the empty ones first where it is guided."""
        size = self.settings.size
        embeds, empty, pooled, empty_pooled = self._encoded(prompt)
        times = torch.tensor([[size, size, 0, 0, size, size]]).to(embeds, non_blocking=True)
        images = [v.reshape(1, 1, -1).to(embeds, non_blocking=True) for v in vectors]
        if self._is_guided:
            embeds, pooled = torch.cat([empty, embeds]), torch.cat([empty_pooled, pooled])
            times = torch.cat([times, times])
            images = [torch.cat([torch.zeros_like(image), image]) for image in images]
        added = {"text_embeds": pooled, "time_ids": times, "image_embeds": images}

        def predict(x: Tensor, time: Tensor) -> Tensor:
            predicted = self._unet(
                x, time, encoder_hidden_states=embeds, added_cond_kwargs=added, return_dict=False
            )
            return torch.as_tensor(predicted[0])

        return predict

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


def _is_ancestral(scheduler: Any) -> bool:
    return type(scheduler).__name__ == "EulerAncestralDiscreteScheduler"


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
