"""The parts of a Stable Diffusion from a folder in diffusers' layout, and what lies beside them.

Owns what may be loaded (safetensors and settings, never code), which pipeline a folder is of, and
where IP-Adapter, LoRA and tiny autoencoder are looked for. Single files are `single_file`'s.
Knows nothing of steps or conditions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.guard import read_text
from models.api import installed_weights
from models.latent_diffusion.lora import fuse_lora
from models.stable_diffusion import adapters
from models.stable_diffusion.errors import StableDiffusionError
from models.stable_diffusion.libraries import quiet_libraries

INDEX = "model_index.json"
PROMPTS = "phosphene.json"
"""Beside it, where its tokenizer is not whole: only the empty prompt can be used."""
PIPELINES = (
    "StableDiffusionPipeline",
    "StableDiffusionXLPipeline",
    "LatentConsistencyModelPipeline",
)
LIBRARIES = ("diffusers", "transformers", "stable_diffusion", None)
"""What the parts of a pipeline may be of; a folder that names another would import it."""
NOT_NEEDED = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts that draw nothing here: vectors come from an encoder of ours."""
WEIGHTS = "diffusion_pytorch_model"
TINY_FOLDERS = ("vae_tiny", "taesd", "taesdxl")
"""Below a generator's folder: an AutoencoderTiny in diffusers' layout (madebyollin/taesd)."""
LCM_LORA = ("lcm-lora/pytorch_lora_weights.safetensors", "lcm-lora.safetensors")
LORA_FOLDER = "lora"
ADAPTERS = {
    False: ("ip-adapter_sd15.safetensors", "ip-adapter_sd15_light.safetensors"),
    True: ("ip-adapter_sdxl_vit-h.safetensors", "ip-adapter_sdxl.safetensors"),
}
"""By whether the generator is XL: published names, the first that is there is taken."""
ADAPTER_FOLDERS = ("", "ip-adapter", "models", "sdxl_models", "ip-adapter/models",
                   "ip-adapter/sdxl_models")  # fmt: skip


TEXT_ENCODERS = ("text_encoder", "text_encoder_2")
"""Of a pipeline; the second one is XL's."""


@dataclass(slots=True)
class Parts:
    """A pipeline of diffusers with what was put into it.

    Attributes
    ----------
    pipeline : StableDiffusionPipeline or StableDiffusionXLPipeline
    is_xl : bool
    files : tuple of Path
        That its pictures depend on, for their hash.
    only_empty : bool
        Whether only the empty prompt can be encoded.
    scheduler_place : str
        What an error names.
    n_adapters, n_features : int
        IP-Adapters, and the width of the vectors that they take.
    lora : tuple of str
        Names of the LoRAs that were fused.
    has_tiny_vae : bool
        Whether a tiny autoencoder stands for the full one.
    """

    pipeline: Any
    is_xl: bool
    files: tuple[Path, ...]
    only_empty: bool = False
    scheduler_place: str = ""
    n_adapters: int = 0
    n_features: int = 0
    lora: tuple[str, ...] = ()
    has_tiny_vae: bool = False

    def add_adapter(self, path: Path, *, copies: int = 1) -> None:
        """Put an IP-Adapter in, as often as there are vectors."""
        adapter = adapters.read_adapter(path)
        adapters.attach(self.pipeline.unet, adapter, copies=copies)
        self.n_adapters, self.n_features = copies, adapter.n_features
        self.files = (path, *self.files)

    def fuse(self, path: Path, *, is_lcm: bool) -> None:
        """Add a LoRA to the U-Net; after LCM-LoRA its scheduler is LCM's."""
        fuse_lora(self.pipeline.unet, path)
        if is_lcm:
            from diffusers import LCMScheduler

            self.pipeline.scheduler = LCMScheduler.from_config(self.pipeline.scheduler.config)
        self.lora, self.files = (*self.lora, path.stem), (*self.files, path)

    def use_tiny_vae(self, folder: Path) -> None:
        """Decode with the tiny autoencoder in `folder`."""
        from diffusers import AutoencoderTiny

        file = require_safetensors(folder)
        with usable(folder):
            vae = AutoencoderTiny.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
        if vae.config.latent_channels != self.pipeline.unet.config.in_channels:
            raise StableDiffusionError(
                f"{folder} decodes {vae.config.latent_channels} latent channels, this generator "
                f"has {self.pipeline.unet.config.in_channels}: take taesd for Stable Diffusion "
                "1.x and 2.x, taesdxl for XL."
            )
        self.pipeline.vae = vae.eval()
        self.has_tiny_vae, self.files = True, (*self.files, file)

    def forget_text(self) -> None:
        """Give up the text encoders, whose empty prompt is kept: gigabytes, for XL."""
        for name in TEXT_ENCODERS:
            if name in self.pipeline.components:
                setattr(self.pipeline, name, None)


class usable:  # noqa: N801 - a context that reads as a word
    """Turn what diffusers says of a folder that it cannot use into one line."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        """Nothing to do before."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Name the folder."""
        from safetensors import SafetensorError

        known = (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError)
        if isinstance(error, known) and not isinstance(error, StableDiffusionError):
            reason = " ".join(str(error).split()[:30])
            raise StableDiffusionError(
                f"{self._folder} holds no usable generator ({reason})."
            ) from None


def read_folder(folder: Path) -> Parts:
    """Read a pipeline in diffusers' layout.

    Raises
    ------
    StableDiffusionError
        It is of another pipeline, lacks a part, or holds what is not data.
    """
    quiet_libraries()
    import diffusers

    index = read_index(folder)
    name = index["_class_name"]
    is_xl = name == "StableDiffusionXLPipeline"
    kind = diffusers.StableDiffusionXLPipeline if is_xl else diffusers.StableDiffusionPipeline
    options: dict[str, Any] = {"add_watermarker": False} if is_xl else {}
    options |= {part: None for part in NOT_NEEDED if part in index}
    if not is_xl:
        options |= {"requires_safety_checker": False, "safety_checker": None}
        options |= {"feature_extractor": None, "image_encoder": None}
    with usable(folder):
        pipeline = kind.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            variant=_variant(folder),
            **options,
        )
    return Parts(
        pipeline=pipeline,
        is_xl=is_xl,
        files=tuple(
            sorted(
                file
                for part in ("unet", "vae", "text_encoder", "text_encoder_2")
                for file in (folder / part).glob("*.safetensors")
            )
        ),
        only_empty=(folder / PROMPTS).is_file(),
        scheduler_place=str(folder / "scheduler"),
    )


def read_index(folder: Path) -> dict[str, Any]:
    """Read `model_index.json`, whose parts have to be of known libraries.

    Raises
    ------
    StableDiffusionError
        It is missing, of another pipeline, or names code of its own.
    """
    path = folder / INDEX
    try:
        index = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise StableDiffusionError(
            f"{path} cannot be read ({error}), expected a generator in diffusers' layout."
        ) from None
    name = index.get("_class_name") if isinstance(index, dict) else None
    if name not in PIPELINES:
        raise StableDiffusionError(
            f"{path} is of {name!r}, expected {', '.join(PIPELINES)}: `phosphene systems` lists "
            "the other generators."
        )
    check_libraries(path, index)
    require_safetensors(folder / "unet")
    require_safetensors(folder / "vae")
    return dict(index)


def check_libraries(path: Path, index: Mapping[str, Any]) -> None:
    """Refuse a pipeline whose parts are of a library that is none of diffusers' own.

    Raises
    ------
    StableDiffusionError
        It names one; loading it would import that module.
    """
    for part, value in index.items():
        if part.startswith("_") or not isinstance(value, list):
            continue
        library = value[0] if value else None
        if library not in LIBRARIES:
            raise StableDiffusionError(
                f"{path} takes its {part} from {str(library)[:40]!r}, expected diffusers or "
                "transformers: code of others is not run."
            )


def require_safetensors(folder: Path) -> Path:
    """Return the first weight file of a part.

    Raises
    ------
    StableDiffusionError
        There is none, or only a pickle.
    """
    found = sorted(folder.glob("*.safetensors"))
    if found:
        return found[0]
    refused = sorted([*folder.glob("*.bin"), *folder.glob("*.ckpt")])
    if refused:
        raise StableDiffusionError(
            f"{refused[0]} can run code when it is opened, and there is no .safetensors beside "
            "it: fetch the safetensors file of the same repository."
        )
    raise StableDiffusionError(f"{folder} holds no weights, expected {WEIGHTS}.safetensors there.")


def _variant(folder: Path) -> str | None:
    """`fp16` where the U-Net is there in half precision alone, under that name."""
    names = [file.name for file in (folder / "unet").glob("*.safetensors")]
    return "fp16" if names and all(".fp16." in name for name in names) else None


def find_adapter(folder: Path, *, is_xl: bool) -> Path | None:
    """Find an IP-Adapter beside a generator, or among the user's installed ones."""
    for root in (folder, installed_weights("ip-adapter")):
        for below in ADAPTER_FOLDERS:
            for name in ADAPTERS[is_xl]:
                if (root / below / name).is_file():
                    return root / below / name
    return None


def find_loras(folder: Path) -> list[tuple[Path, bool]]:
    """LoRAs beside a generator, and whether each is LCM's."""
    lcm = [(folder / name, True) for name in LCM_LORA if (folder / name).is_file()][:1]
    return [*((path, False) for path in sorted((folder / LORA_FOLDER).glob("*.safetensors"))), *lcm]


def find_tiny_vae(folder: Path) -> Path | None:
    """Find a tiny autoencoder beside a generator."""
    found = [folder / name for name in TINY_FOLDERS if (folder / name / "config.json").is_file()]
    return found[0] if found else None
