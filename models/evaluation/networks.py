"""Networks that pictures are judged by: the packaged one, and published ones that are here.

Owns what a network's name, input and layers are, and how each is loaded: as data, never as code.
Nothing is downloaded and none stands in for another: a measure says which network it used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from configs.guard import read_text
from models.metrics.perceptual import load_alexnet, load_lpips
from models.metrics.pictures import SIDE
from models.metrics.pictures import prepared as suite_prepared
from models.pictures.shipped import load_quick_network, network_input
from pipeline.errors import ConfigurationError
from pipeline.values import Float32, Uint8

PACKAGED = "efficientnet-lite0"
_LIMIT = 2**20
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network that gives features, and maybe classes.

    Attributes
    ----------
    name, title : str
    layers : tuple of str
        Names of what `features` returns, in its order.
    features : callable
        Pictures (n, height, width, 3) uint8 to one array (n, n_features) float32 a layer.
    classes : str
        The layer that is the logits of ImageNet's 1000 classes; empty: none is.
    note : str
        What a reader of its figures must know.
    is_distance : bool
        Whether the squared distance of features is a measure by itself, as in LPIPS.
    """

    name: str
    title: str
    layers: tuple[str, ...]
    features: Callable[[Uint8], tuple[Float32, ...]] = field(repr=False)
    classes: str = ""
    note: str = ""
    is_distance: bool = False


def packaged() -> Network:
    """Load the network that ships: EfficientNet-Lite0 with ImageNet's weights."""
    # Several pictures are judged at a time, a thread each.
    network = load_quick_network(threads=1)

    @torch.inference_mode()
    def features(pictures: Uint8) -> tuple[Float32, ...]:
        pooled, logits = network(network_input(pictures))
        return pooled.numpy(), logits.numpy()

    return Network(
        PACKAGED,
        "EfficientNet-Lite0",
        ("pooled", "logits"),
        features,
        "logits",
        "Packaged, not one of the published protocols. The shipped gallery's own vectors were made "
        "with its help, so that it is no independent judge of the embedded system.",
    )


def alexnet(path: Path) -> Network:
    """Load AlexNet from a checkpoint in torchvision's layout.

    Raises
    ------
    CheckpointError
        The file cannot be read or is no AlexNet.
    """
    network = load_alexnet(path)

    @torch.inference_mode()
    def features(pictures: Uint8) -> tuple[Float32, ...]:
        early, late = network(prepared(pictures, 256, _MEAN, _STD))
        return early.numpy(), late.numpy()

    return Network("alexnet", "AlexNet", ("AlexNet(2)", "AlexNet(5)"), features)


def lpips(alexnet_path: Path, path: Path) -> Network:
    """Load LPIPS: AlexNet and the published weights of its channels.

    Raises
    ------
    CheckpointError
        A file cannot be read or is something else.
    """
    measure = load_lpips(load_alexnet(alexnet_path), path)
    return Network(
        "lpips",
        "LPIPS",
        ("AlexNet",),
        lambda pictures: (np.asarray(measure(_to_256(pictures)).numpy(), np.float32),),
        is_distance=True,
    )


def clip(folder: Path) -> Network:
    """Load an image tower of CLIP from a folder in transformers' layout."""
    from models.pictures.clip import load_tower_from

    encode = load_tower_from(folder)
    return Network(
        "clip", "CLIP", ("image embedding",), lambda pictures: (encode(_first(pictures)),)
    )


def onnx_network(path: Path) -> Network:
    """Load any network that was exported to ONNX, with a description beside it.

    `NAME.onnx` takes (n, 3, side, side) float32 and gives one (n, ...) float32 a layer. The
    `NAME.json` beside it says `title`, `side`, `layers`, where they are not ImageNet's `mean` and
    `std`, and as `classes` which layer is the logits of ImageNet's 1000 classes.

    Raises
    ------
    ConfigurationError
        The description is missing or wrong, or the file is no such network.
    """
    import onnxruntime

    words = _description(path.with_suffix(".json"))
    side, layers = words["side"], tuple(words["layers"])
    mean, std = tuple(words.get("mean", _MEAN)), tuple(words.get("std", _STD))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # noqa: BLE001 - its errors share no base but this one
        reason = str(error).splitlines()[0][:120]
        raise ConfigurationError(f"{path} is no network in ONNX ({reason}).") from None
    outputs = [each.name for each in session.get_outputs()]
    if len(session.get_inputs()) != 1 or len(outputs) != len(layers):
        raise ConfigurationError(
            f"{path} has {len(session.get_inputs())} inputs and {len(outputs)} outputs, expected "
            f"1 and the {len(layers)} layers that {path.stem}.json names."
        )
    entry = session.get_inputs()[0].name

    def features(pictures: Uint8) -> tuple[Float32, ...]:
        given = prepared(pictures, side, mean, std).numpy()
        found = session.run(outputs, {entry: given})
        return tuple(np.asarray(each, np.float32).reshape(len(pictures), -1) for each in found)

    return Network(path.stem, words["title"], layers, features, words.get("classes", ""))


def _description(path: Path) -> dict[str, Any]:
    try:
        words = json.loads(read_text(path, limit=_LIMIT))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error}), expected title, side and layers of the network."
        ) from None
    is_right = (
        isinstance(words, dict)
        and isinstance(words.get("title"), str)
        and isinstance(words.get("side"), int)
        and 8 <= words["side"] <= 1024
        and isinstance(words.get("layers"), list)
        and words["layers"]
        and all(isinstance(each, str) for each in words["layers"])
        and all(_is_triple(words[key]) for key in ("mean", "std") if key in words)
        and words.get("classes", "") in ("", *words["layers"])
    )
    if not is_right:
        raise ConfigurationError(
            f'{path} does not describe a network, expected such as {{"title": "Inception-v3", '
            '"side": 342, "layers": ["avgpool"]}.'
        )
    return dict(words)


def _is_triple(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(v, int | float) for v in value)
    )


PUBLISHED = {
    "alexnet": ("AlexNet(2), AlexNet(5)", "alexnet.safetensors, .pth (torchvision)"),
    "lpips": ("LPIPS", "alexnet as above, lpips-alex.safetensors, .pth (LPIPS v0.1)"),
    "clip": ("CLIP two-way", "clip/ (openai/clip-vit-large-patch14, transformers)"),
    "inception-v3": ("Inception two-way", "inception-v3.onnx and .json (node avgpool, side 342)"),
    "efficientnet-b1": ("EffNet-B distance", "efficientnet-b1.onnx and .json (avgpool, side 255)"),
    "swav": ("SwAV distance", "swav.onnx and .json (ResNet-50 SwAV, avgpool, side 224)"),
    "vit-h-14": ("n-way top-k as published", "vit-h-14.onnx and .json (logits, side 518)"),
    "fid-inception": ("FID 2048-d and 64-d, IS", "fid-inception.onnx and .json (side 299)"),
}
"""Networks of the published protocols: measures that need them, and the files looked for."""


def networks(folder: Path | None) -> tuple[list[Network], list[str]]:
    """Load the packaged network and those in a folder; say which published ones are not there.

    Returns
    -------
    found : list of Network
    absent : list of str
        A sentence each: which measure is left out, and what would bring it.

    Raises
    ------
    PhospheneError
        The folder is none, or a file in it cannot be used.
    """
    found = [packaged()]
    if folder is not None:
        if not folder.is_dir():
            raise ConfigurationError(f"{folder} is no folder, expected one with networks' weights.")
        trunk, channels = (_weights(folder, name) for name in ("alexnet", "lpips-alex"))
        if trunk is not None:
            found.append(alexnet(trunk))
        if trunk is not None and channels is not None:
            found.append(lpips(trunk, channels))
        if (folder / "clip").is_dir():
            found.append(clip(folder / "clip"))
        found += [onnx_network(path) for path in sorted(folder.glob("*.onnx"))]
    names = {each.name for each in found}
    absent = [
        f"{measure}: left out, {name} is not here (looked for {files})"
        for name, (measure, files) in PUBLISHED.items()
        if name not in names
    ]
    return found, absent


def _weights(folder: Path, name: str) -> Path | None:
    """The file of a network in a folder."""
    paths = (folder / f"{name}{suffix}" for suffix in (".safetensors", ".pth"))
    return next((path for path in paths if path.is_file()), None)


def prepared(
    pictures: Uint8, side: int, mean: Sequence[float] = _MEAN, std: Sequence[float] = _STD
) -> Tensor:
    """Squares as a network takes them: to 256, to `side`, normalised; (n, 3, side, side).

    Bilinear with antialias, as torchvision resizes tensors.
    """
    part = _to_256(pictures)
    if side != SIDE:
        part = functional.interpolate(part, (side, side), mode="bilinear", antialias=True)
    centre, spread = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]
    return (part - centre) / spread


def _to_256(pictures: Uint8) -> Tensor:
    return suite_prepared(torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 255.0)


def _first(pictures: Uint8) -> Uint8:
    """Pictures of side 256, uint8."""
    part = (_to_256(pictures) * 255.0).round().to(torch.uint8)
    return np.asarray(part.permute(0, 2, 3, 1).numpy(), dtype=np.uint8)
