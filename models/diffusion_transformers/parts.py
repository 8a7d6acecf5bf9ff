"""A few-step transformer from a folder in diffusers' layout: its three parts that draw.

Owns what may be loaded (safetensors and settings, never code) and which family a folder is of. The
language model is not read: tokens come from a projector, or from an encoder of ours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.guard import read_text
from models.diffusion_transformers.family import Family
from models.diffusion_transformers.flux2 import Flux2Klein
from models.diffusion_transformers.sana_sprint import SanaSprint
from models.diffusion_transformers.z_image import ZImage
from models.stable_diffusion.errors import StableDiffusionError
from models.stable_diffusion.libraries import quiet_libraries
from models.stable_diffusion.parts import INDEX, check_libraries, require_safetensors, usable

FAMILIES: Sequence[Family] = (SanaSprint(), ZImage(), Flux2Klein())
_FOLDERS = ("transformer", "vae", "scheduler")


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What draws.

    Attributes
    ----------
    family : Family
    transformer, vae, scheduler
        Of diffusers.
    files : tuple of Path
        That its pictures depend on.
    folder : Path
    """

    family: Family
    transformer: Any
    vae: Any
    scheduler: Any
    files: tuple[Path, ...]
    folder: Path


def read_parts(folder: Path) -> Parts:
    """Read the parts of a pipeline in diffusers' layout.

    Raises
    ------
    StableDiffusionError
        It is of another pipeline, lacks a part, or holds what is not data.
    """
    index = _read_index(folder)
    family = next(each for each in FAMILIES if each.pipeline == index["_class_name"])
    quiet_libraries()
    import diffusers

    for part, expected in zip(_FOLDERS, family.classes, strict=True):
        named = index.get(part)
        if not isinstance(named, list) or named[-1] != expected:
            raise StableDiffusionError(
                f"{folder / INDEX} has {part} {str(named)[:60]}, expected {expected} of diffusers."
            )
    found: list[Any] = []
    with usable(folder):
        for part, name in zip(_FOLDERS[:2], family.classes[:2], strict=True):
            require_safetensors(folder / part)
            kind = getattr(diffusers, name)
            made = kind.from_pretrained(folder / part, local_files_only=True, use_safetensors=True)
            found.append(made.eval().requires_grad_(requires_grad=False))
        scheduler = getattr(diffusers, family.classes[2]).from_pretrained(
            folder / "scheduler", local_files_only=True
        )
    files = (file for part in _FOLDERS[:2] for file in (folder / part).glob("*.safetensors"))
    return Parts(family, found[0], found[1], scheduler, tuple(sorted(files)), folder)


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    try:
        index = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise StableDiffusionError(
            f"{path} cannot be read ({error}), expected a generator in diffusers' layout."
        ) from None
    name = index.get("_class_name") if isinstance(index, dict) else None
    known = [each.pipeline for each in FAMILIES]
    if name not in known:
        raise StableDiffusionError(f"{path} is of {str(name)[:60]!r}, expected {', '.join(known)}.")
    check_libraries(path, index)
    return dict(index)
