"""CLIP vectors of pictures, of their superpixel versions, and of their concepts' names.

Owns the pictures' order (a manifest, sorted), CLIP's preprocessing and the writing of targets for
training. CLIP is a folder in Hugging Face's layout; nothing is fetched. Vectors keep their norm:
training normalises where it needs to, and remembers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from models.multimodal.errors import MultimodalError
from models.multimodal.modalities import SUPERPIXELS, Modality
from models.multimodal.superpixels import LEVELS, superpixel_image
from models.stages import StageRequest, check_tables

Float32 = NDArray[np.float32]
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
SIDE = 500
"""Side of the pictures that superpixels are made of, pixels, as published."""
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
CLIP_SOURCE = "huggingface.co/laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
NAMES = ("ViT-H-14", "ViT-L-14")
"""CLIP models in Hugging Face's layout; RN50 has none: import its cached features."""
PROMPT = "This picture is {}"
BATCH = 32


def list_pictures(folder: Path) -> list[Path]:
    """Pictures below `folder`, one folder a concept, sorted: row n of the targets is picture n.

    Raises
    ------
    MultimodalError
        There is none.
    """
    found = sorted(p for p in folder.glob("*/*") if p.suffix.lower() in SUFFIXES)
    if not found:
        raise MultimodalError(
            f"{folder} holds no picture, expected CONCEPT/NAME.jpg as the image set of "
            "THINGS-EEG2 (osf.io/y63gw) has them."
        )
    return found


def concept_of(picture: Path) -> str:
    """Name of a picture's concept: its folder's name after the first underscore, if any."""
    name = picture.parent.name
    return name.partition("_")[2].replace("_", " ") or name


class ClipFeatures:
    """CLIP's two towers.

    Raises
    ------
    MultimodalError
        The folder is missing or is no CLIP model.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import CLIPModel, CLIPTokenizer

        if not (folder / "config.json").is_file():
            raise MultimodalError(
                f"{folder / 'config.json'} is missing, expected CLIP's folder from {CLIP_SOURCE}; "
                "put it there."
            )
        try:
            self._model: Any = CLIPModel.from_pretrained(folder, local_files_only=True)
            self._model = self._model.float().eval()  # published in half precision here and there
            self._tokenizer: Any = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split()[:30])
            raise MultimodalError(f"{folder} holds no usable CLIP model ({reason}).") from None
        self._side = int(self._model.config.vision_config.image_size)

    @torch.inference_mode()
    def of_pictures(self, pictures: Sequence[NDArray[np.uint8]]) -> Float32:
        """Vectors (n, n_features) of RGB pictures (height, width, 3)."""
        pixels = torch.stack([self._prepared(picture) for picture in pictures])
        pooled = self._model.vision_model(pixel_values=pixels).pooler_output
        return np.asarray(self._model.visual_projection(pooled).numpy(), dtype=np.float32)

    @torch.inference_mode()
    def of_layers(
        self, pictures: Sequence[NDArray[np.uint8]], layers: Sequence[int]
    ) -> list[Float32]:
        """Class tokens (n, width) after these blocks of the vision tower, counted from 1.

        Raises
        ------
        MultimodalError
            It has fewer blocks.
        """
        n_blocks = int(self._model.config.vision_config.num_hidden_layers)
        if not all(1 <= layer <= n_blocks for layer in layers):
            raise MultimodalError(
                f"layers are {', '.join(map(str, layers))}, expected some of 1 to {n_blocks}: the "
                "blocks of this CLIP model's vision tower."
            )
        pixels = torch.stack([self._prepared(picture) for picture in pictures])
        found = self._model.vision_model(pixel_values=pixels, output_hidden_states=True)
        return [
            np.asarray(found.hidden_states[layer][:, 0].numpy(), dtype=np.float32)
            for layer in layers
        ]

    @torch.inference_mode()
    def of_texts(self, texts: Sequence[str]) -> Float32:
        """Vectors (n, n_features) of sentences."""
        tokens = self._tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=77, return_tensors="pt"
        )
        pooled = self._model.text_model(input_ids=tokens.input_ids).pooler_output
        return np.asarray(self._model.text_projection(pooled).numpy(), dtype=np.float32)

    def _prepared(self, picture: NDArray[np.uint8]) -> torch.Tensor:
        image = Image.fromarray(picture)
        scale = self._side / min(image.size)
        size = (
            max(self._side, round(image.width * scale)),
            max(self._side, round(image.height * scale)),
        )
        image = image.resize(size, Image.Resampling.BICUBIC)
        left, top = (image.width - self._side) // 2, (image.height - self._side) // 2
        image = image.crop((left, top, left + self._side, top + self._side))
        values = (np.asarray(image, dtype=np.float32) / 255 - CLIP_MEAN) / CLIP_STD
        return torch.from_numpy(values.transpose(2, 0, 1).astype(np.float32))


def read_picture(path: Path, *, side: int = SIDE) -> NDArray[np.uint8]:
    """Read a picture as RGB, `side` pixels square.

    Raises
    ------
    MultimodalError
        It cannot be read.
    """
    try:
        with Image.open(path) as image:
            square = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
            return np.array(square)
    except OSError as error:
        raise MultimodalError(f"{path} is no readable picture ({error}).") from None


def run_features(request: StageRequest) -> dict[str, Any]:
    """Write the targets of all pictures below DATA/images to OUT/features.

    Settings: `clip`, CLIP's folder (DATA/clip); `superpixels`, whether to make those (true);
    `name` of the CLIP model (`ViT-H-14`; only its vectors are targets of the multimodal system);
    `layers`, numbers of blocks whose class tokens are written too; `blur`, radius of the Gaussian
    blur of another version of each picture, pixels of 500 (0: none).
    """
    check_tables(request.table, ("clip", "superpixels", "name", "layers", "blur"))
    layers, blur = _wanted(request.table)
    model = str(request.table.get("name", "ViT-H-14"))
    if model not in NAMES:
        raise MultimodalError(f"name is {model!r}, expected one of {', '.join(NAMES)}.")
    pictures = list_pictures(request.data / "images")
    clip = ClipFeatures(Path(request.table.get("clip", request.data / "clip")))
    has_superpixels = model == NAMES[0] and request.table.get("superpixels", True)
    names = [Modality.IMAGE, *(SUPERPIXELS if has_superpixels else ())]
    vectors: dict[Modality, list[Float32]] = {name: [] for name in names}
    others: dict[str, list[Float32]] = {}
    for start in range(0, len(pictures), BATCH):
        images = [read_picture(path) for path in pictures[start : start + BATCH]]
        for name in names:
            shown = images if name is Modality.IMAGE else _superpixels(images, name)
            vectors[name].append(clip.of_pictures(shown))
        for layer, tokens in zip(layers, clip.of_layers(images, layers), strict=True):
            others.setdefault(f"{model}.layer-{layer}", []).append(tokens)
        if blur:
            soft = [_blurred(image, blur) for image in images]
            others.setdefault(f"{model}.blurred", []).append(clip.of_pictures(soft))
    texts = clip.of_texts([PROMPT.format(concept_of(path)) for path in pictures])
    out = request.out / "features"
    out.mkdir(parents=True, exist_ok=True)
    made = {name.published_name: np.concatenate(parts) for name, parts in vectors.items()}
    made[Modality.TEXT.published_name] = texts
    own = {model: made[Modality.IMAGE.published_name], f"{model}.text": texts}
    made = made | own if model == NAMES[0] else own
    made |= {name: np.concatenate(parts) for name, parts in others.items()}
    for file_name, values in made.items():
        np.save(out / f"{file_name}.npy", values)
    manifest = [f"{path.parent.name}/{path.name}" for path in pictures]
    (out / "pictures.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return {"pictures": len(pictures), "features": str(out), "targets": sorted(made)}


def _wanted(table: Mapping[str, Any]) -> tuple[list[int], float]:
    """Layers and blur that the settings ask for."""
    layers, blur = table.get("layers", []), table.get("blur", 0.0)
    if not isinstance(layers, list) or not all(type(layer) is int for layer in layers):
        raise MultimodalError(f"layers is {layers!r}, expected a list of numbers such as [20, 24].")
    if isinstance(blur, bool) or not isinstance(blur, int | float) or not 0 <= blur <= SIDE / 4:
        raise MultimodalError(f"blur is {blur!r}, expected pixels from 0 to {SIDE / 4:g}.")
    return layers, float(blur)


def _blurred(picture: NDArray[np.uint8], radius: float) -> NDArray[np.uint8]:
    return np.array(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


def _superpixels(images: Sequence[NDArray[np.uint8]], name: Modality) -> list[NDArray[np.uint8]]:
    return [superpixel_image(image, LEVELS[name]) for image in images]
