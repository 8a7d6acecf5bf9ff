"""Stage B's examples: trials of EEG-ImageNet40, their pictures, and CLIP's vectors of these.

Owns nothing of training: `models.latent_diffusion.finetuning` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from models.dreamdiffusion.imagenet40 import Trial, item_of
from models.training.errors import DatasetError
from pipeline.extras import extras_named
from pipeline.values import Float32


class Pictures:
    """The pictures of the trials: `<folder>/<synset>/<name>.JPEG`, read when they are needed."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._paths = {name: folder / name.split("_")[0] / f"{name}.JPEG" for name in set(names)}
        absent = [path for path in sorted(self._paths.values()) if not path.is_file()]
        if absent:
            # The published code trained on random noise here, and said nothing.
            raise DatasetError(
                f"{absent[0]} is missing ({len(absent)} of {len(self._paths)} pictures are): get "
                f"them from ImageNet into {folder}/<synset>/."
            )

    def open(self, name: str) -> Image.Image:
        """Picture of a name, RGB."""
        with Image.open(self._paths[name]) as picture:
            return picture.convert("RGB")

    @property
    def names(self) -> list[str]:
        """Every picture once, sorted."""
        return sorted(self._paths)


class TrialExamples:
    """Trials as `models.latent_diffusion.finetuning.Examples`."""

    def __init__(
        self,
        trials: Sequence[Trial],
        *,
        pictures: Pictures,
        targets: Mapping[str, Tensor] | None,
        n_times: int,
    ) -> None:
        self._trials, self._pictures = trials, pictures
        self._targets, self._n_times = targets, n_times

    def __len__(self) -> int:
        return len(self._trials)

    def signal(self, index: int) -> Float32:
        """Signal (n_channels, n_times) of a trial."""
        return item_of(self._trials[index], n_times=self._n_times)

    def picture(self, index: int) -> Image.Image:
        """Picture that was seen, RGB."""
        return self._pictures.open(self._trials[index].image)

    def target(self, index: int) -> Tensor | None:
        """CLIP's vector of it; None: no alignment."""
        return None if self._targets is None else self._targets[self._trials[index].image]


@torch.no_grad()
def clip_targets(pictures: Pictures, folder: Path) -> dict[str, Tensor]:
    """CLIP image embeddings (image_embed_dim,) of every picture, from a local Hugging Face folder.

    Frozen and made once: the published code thawed parts of CLIP by accident, and its target
    drifted.

    Raises
    ------
    DatasetError
        No CLIP in the folder.
    MissingExtraError
        transformers is not installed.
    """
    with extras_named("CLIP"):
        from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection
    try:
        tower = CLIPVisionModelWithProjection.from_pretrained(folder, local_files_only=True).eval()
        processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError):
        raise DatasetError(
            f"{folder} holds no CLIP vision model, expected Hugging Face's folder of "
            "openai/clip-vit-large-patch14: download it there and name it with `clip`."
        ) from None
    targets: dict[str, Tensor] = {}
    for name in pictures.names:
        given: Any = processor(images=pictures.open(name), return_tensors="pt")
        targets[name] = tower(**given).image_embeds[0].float()
    return targets
