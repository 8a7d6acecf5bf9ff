"""Stable Diffusion behind the ports: an embedding of a fitting space becomes a picture.

Owns loading from a folder or a file, and which space it draws: that of its IP-Adapter's vectors,
or of its text encoder's. Knows nothing of streams or of training.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from configs import DecoderConfig
from configs.guard import read_text
from models.accelerators import choose_device, choose_dtype
from models.api import SamplerSpec, installed_weights
from models.registry import find_system
from models.stable_diffusion import adapters
from models.stable_diffusion.errors import StableDiffusionError
from models.stable_diffusion.folder_sampler import FolderSampler
from models.stable_diffusion.generation import Condition, GenerationSettings, LatentGenerator
from models.stable_diffusion.parts import (
    ADAPTERS,
    Parts,
    find_adapter,
    find_loras,
    find_tiny_vae,
    read_folder,
)
from models.stable_diffusion.single_file import read_file
from models.weights import hash_files
from pipeline.errors import ShapeError
from pipeline.values import Embedding, Uint8

SETTINGS = "system.json"
"""In the folder; every field is optional."""
FEW_STEPS = 8
Kind = Literal["image", "context", "pooled", "class"]
KINDS = ("image", "context", "pooled", "class")


@dataclass(frozen=True, slots=True)
class FolderSettings:
    """What a folder's `system.json` may say.

    Attributes
    ----------
    generator : str
        Name of the system that opens it.
    condition : str
        How a vector enters: `image` (IP-Adapter), `context` (in place of the prompt's tokens),
        `pooled` (of its pooled vector, XL), `class` (the U-Net's class embedding); empty:
        `image` where there is an adapter, else `pooled` for XL and `context` for the others.
    space : str
        Name of the space of the vectors; empty: by the parts.
    n_adapters : int
        IP-Adapters, each with a vector of its own.
    scale : float
        How much they act.
    size : int
        Side of a picture, pixels; 0: the model's own.
    guidance_scale : float or None
        None: the published one of its kind.
    """

    generator: str = ""
    condition: str = ""
    space: str = ""
    n_adapters: int = 1
    scale: float = 1.0
    size: int = 0
    guidance_scale: float | None = None


class StableDiffusionSampler(FolderSampler[Condition]):
    """A generator of the family; satisfies `models.api.Sampler`.

    Parameters
    ----------
    generator : LatentGenerator
    kind : str
        How vectors enter.
    shape : tuple of int
        Of a vector.
    spec : SamplerSpec
    remarks : tuple of str
    read : callable
        Reads its parts anew: the text encoders were given up.
    """

    def __init__(
        self,
        generator: LatentGenerator,
        *,
        kind: Kind,
        shape: tuple[int, ...],
        spec: SamplerSpec,
        facts: Mapping[str, str | int | float],
        remarks: tuple[str, ...] = (),
        read: Callable[[], Parts],
    ) -> None:
        super().__init__(generator, spec=spec, facts=facts, remarks=remarks)
        self.generator, self._kind, self._shape = generator, kind, shape
        self._read = read

    @property
    def can_save_memory(self) -> bool:
        """Whether `decoder.low_memory` changes anything."""
        return self.generator.can_save_memory

    def draw_prompt(self, prompt: str, embedding: Embedding, *, seed: int) -> Uint8:
        """Draw a prompt, and a vector beside it where one enters apart from the prompt's tokens.

        Reads the text encoders once more for it.

        Raises
        ------
        PhospheneError
            There are none, or the vector is none of this generator's space.
        """
        condition = replace(self.condition(embedding), prompt=prompt, context=None)
        self.generator.learn_prompt(prompt, self._read())
        return self.generator.draw(condition, seed=seed)

    def condition(self, embedding: Embedding) -> Condition:
        """Bind a vector to what it is to the U-Net.

        Raises
        ------
        ShapeError
            As `sample`.
        """
        vector = np.squeeze(embedding.vector)
        fits = vector.ndim == len(self._shape) and vector.shape[-1] == self._shape[-1]
        if not fits or (self._kind == "image" and vector.shape != self._shape):
            raise ShapeError(
                f"the embedding has shape {embedding.vector.shape}, expected {self._shape}: use "
                f"an encoder of the space {self._spec.space!r}."
            )
        value: Tensor = torch.from_numpy(np.array(vector, dtype=np.float32))
        if self._kind == "image":
            return Condition(images=tuple(value.reshape(-1, self._shape[-1])))
        if self._kind == "context":
            return Condition(context=value)
        return Condition(pooled=value) if self._kind == "pooled" else Condition(added=value)


def load_sampler(config: DecoderConfig) -> StableDiffusionSampler:
    """Load the generator that `config.weights` names: a folder, or a .safetensors file.

    Raises
    ------
    PhospheneError
        A part is missing, unsafe, or does not fit the others.
    """
    path = _place(config)
    read = partial(read_folder if path.is_dir() else read_file, path)
    parts = read()
    beside = path if path.is_dir() else path.parent
    settings = read_settings(path) if path.is_dir() else FolderSettings()
    kind = _put_in(parts, beside, settings, config)
    guidance = config.guidance_scale or settings.guidance_scale or usual_guidance(parts)
    steps = config.num_inference_steps
    drawing = GenerationSettings(steps, guidance, settings.size or own_size(parts))
    device = choose_device(config.device)
    generator = LatentGenerator(
        parts,
        settings=drawing,
        device=device,
        dtype=choose_dtype(config),
        low_memory=config.low_memory,
        tile=config.tile,
    )
    if parts.n_adapters:
        generator.set_scales(float(settings.scale))
    space, shape = _space_of(parts, kind, settings)
    generator.keep_empty_prompt()
    name = "sdxl" if parts.is_xl else "stable-diffusion"
    return StableDiffusionSampler(
        generator,
        kind=kind,
        shape=shape,
        spec=SamplerSpec(
            name=name,
            space=space,
            size=(drawing.size, drawing.size),
            steps=steps,
            sha256=hash_files(parts.files),
            device=str(device),
        ),
        facts=_facts(parts, kind),
        remarks=_remarks(parts, steps, name),
        read=read,
    )


def read_settings(folder: Path) -> FolderSettings:
    """Read a folder's `system.json`, where it has one.

    Raises
    ------
    StableDiffusionError
        It is not JSON, or a field is unknown or of another type.
    """
    path = folder / SETTINGS
    if not path.is_file():
        return FolderSettings()
    try:
        made = replace(FolderSettings(), **json.loads(read_text(path)))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise StableDiffusionError(f"{path} cannot be used ({error}): mend or delete it.") from None
    if made.condition and made.condition not in KINDS:
        raise StableDiffusionError(
            f"{path} has condition {made.condition!r}, expected {', '.join(KINDS)}."
        )
    if made.size % 8 or not 1 <= made.n_adapters <= 16:
        raise StableDiffusionError(
            f"{path}: size is {made.size}, n_adapters {made.n_adapters}, expected a multiple of 8 "
            "and 1 to 16."
        )
    return made


def own_size(parts: Parts) -> int:
    """Side of the pictures that a model was trained on, pixels."""
    pipeline = parts.pipeline
    return int(pipeline.unet.config.sample_size) * int(pipeline.vae_scale_factor)


def usual_guidance(parts: Parts) -> float:
    """Guidance that a kind is published with; distilled models take none."""
    if parts.pipeline.unet.config.time_cond_proj_dim is not None:
        return 8.5
    if is_distilled(parts):
        return 1.0
    return 5.0 if parts.is_xl else 7.5


def is_distilled(parts: Parts) -> bool:
    """Whether its scheduler says that it was made for few steps."""
    scheduler = parts.pipeline.scheduler
    is_lcm = type(scheduler).__name__ == "LCMScheduler"
    return is_lcm or scheduler.config.get("timestep_spacing") == "trailing"


def _place(config: DecoderConfig) -> Path:
    if config.weights is not None:
        return Path(config.weights)
    name = config.generator or "stable-diffusion"
    return installed_weights(name)


def _put_in(parts: Parts, beside: Path, settings: FolderSettings, config: DecoderConfig) -> Kind:
    """Put in what lies beside; return how vectors enter."""
    for lora, is_lcm in find_loras(beside):
        parts.fuse(lora, is_lcm=is_lcm)
    tiny = find_tiny_vae(beside)
    if config.vae == "tiny" and tiny is None:
        raise StableDiffusionError(
            f"decoder.vae is tiny, but {beside} has no vae_tiny/, expected an AutoencoderTiny "
            f"there: huggingface.co/madebyollin/{'taesdxl' if parts.is_xl else 'taesd'}."
        )
    if tiny is not None and config.vae != "full":
        parts.use_tiny_vae(tiny)
    adapter = find_adapter(beside, is_xl=parts.is_xl)
    kind: Any = settings.condition or ("image" if adapter else "")
    if not kind:
        _ask_for_adapter(parts, beside, config)
        kind = "pooled" if parts.is_xl else "context"
    if kind == "image":
        if adapter is None:
            raise StableDiffusionError(_adapter_wanted(parts, beside))
        parts.add_adapter(adapter, copies=settings.n_adapters)
    return kind  # type: ignore[no-any-return]


def _ask_for_adapter(parts: Parts, beside: Path, config: DecoderConfig) -> None:
    """Say what is missing, where the system's vectors are an IP-Adapter's."""
    space = find_system(config.system).descriptor.space
    if space in adapters.SPACES.values():
        raise StableDiffusionError(_adapter_wanted(parts, beside))


def _adapter_wanted(parts: Parts, beside: Path) -> str:
    return (
        f"{beside} has no IP-Adapter, which draws CLIP image vectors: put "
        f"{ADAPTERS[parts.is_xl][0]} of huggingface.co/h94/IP-Adapter into it, or into "
        f"{installed_weights('ip-adapter')}."
    )


def _space_of(parts: Parts, kind: Kind, settings: FolderSettings) -> tuple[str, tuple[int, ...]]:
    """Name of the space of its vectors, and their shape."""
    unet = parts.pipeline.unet.config
    if kind == "image":
        width, n = parts.n_features, settings.n_adapters
        name = adapters.SPACES.get(width, f"image-{width}")
        own, shape = (name if n == 1 else f"{name}-x{n}"), ((width,) if n == 1 else (n, width))
    elif kind == "context":
        own, shape = f"text-context-{unet.cross_attention_dim}", (77, unet.cross_attention_dim)
    elif kind == "pooled":
        if not parts.is_xl:
            raise StableDiffusionError("only XL takes a pooled vector: choose another condition.")
        width = parts.pipeline.text_encoder_2.config.projection_dim
        own, shape = f"pooled-text-{width}", (width,)
    else:
        if unet.class_embed_type is None:
            raise StableDiffusionError(
                "this U-Net has no class embedding: choose another condition."
            )
        width = unet.projection_class_embeddings_input_dim or 4 * unet.block_out_channels[0]
        own, shape = f"class-{width}", (width,)
    return settings.space or own, tuple(int(n) for n in shape)


def _facts(parts: Parts, kind: Kind) -> dict[str, str | int | float]:
    facts: dict[str, str | int | float] = {
        "solver": type(parts.pipeline.scheduler).__name__.removesuffix("Scheduler"),
        "vae": "tiny" if parts.has_tiny_vae else "full",
        "condition": kind,
    }
    return facts | ({"lora": ", ".join(parts.lora)} if parts.lora else {})


def _remarks(parts: Parts, steps: int, name: str) -> tuple[str, ...]:
    if is_distilled(parts) or steps > FEW_STEPS:
        return ()
    return (
        f"{name} draws in {steps} steps, but its weights do not say that they were made for so "
        "few (no LCM-LoRA, no LCM or trailing scheduler): set decoder.num_inference_steps to 25 "
        "or more, or put an LCM-LoRA into its folder (lcm-lora/).",
    )
