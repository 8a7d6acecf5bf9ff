"""The generator's networks, loaded from a folder: autoencoder, UNet, projection, prior.

Owns where the weights lie and what makes a set of them fit together. Knows nothing of how a
picture is drawn with them (`sampler.py`) or how they were trained (`training/`). Every network lies
in diffusers' layout, so `from_pretrained` of its class there reads each one alone; here each is
`unet`'s and `networks`' own, which is loaded in a third of the time and draws the same to the bit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, nn

from configs.guard import read_text
from models.checkpoints import CheckpointError, load_checkpoint, load_into
from models.embedded.networks import Autoencoder, AutoencoderConfig, Encoder, Prior, Projection
from models.embedded.unet import UNet, UNetConfig
from models.embedded.upscaler import Upscaler, UpscalerConfig
from pipeline.errors import PhospheneError

if TYPE_CHECKING:
    from diffusers import AutoencoderDC, UNet2DConditionModel

    from models.embedded import parts

WEIGHTS = Path(__file__).with_name("weights")
PARTS = ("vae", "unet", "projection", "prior")
REVISION = 4
"""What ships now; earlier ones stay, so that recorded sessions draw what they drew."""
_SCALED = 3
"""First revision that takes the UNet's correction only in part."""
FILE = "diffusion_pytorch_model.safetensors"
_Module = TypeVar("_Module", bound=nn.Module)


class GeneratorError(PhospheneError):
    """The generator's weights are missing, damaged, or do not fit each other."""


@dataclass(frozen=True, slots=True, eq=False)
class Generator:
    """Four networks that belong together, on one device, in one precision, in evaluation mode.

    Each may be ours or its class in diffusers.

    Attributes
    ----------
    vae : Autoencoder or AutoencoderDC
        Latents to pictures in [-1, 1]; its `scaling_factor` makes latents unit variance.
    unet : UNet or UNet2DConditionModel
        Corrects the prior's guess at time `1000 * sigma`; takes the embedding as `class_labels`
        and the projection's tokens as `encoder_hidden_states`; its input is the sample with the
        prior's guess concatenated.
    projection : Projection
        Embedding (n, n_features) to tokens (n, n_tokens, cross_attention_dim).
    prior : Prior
        Embedding (n, n_features) to a guess of its latents, flat: what it may stand for, averaged.
    sha256 : str
        Over the four weight files, and over `correction_scale` where it is not 1.
    correction_scale : float
        Part of the UNet's correction that is added to the prior's guess, 0 to 1.
    """

    vae: Autoencoder | AutoencoderDC
    unet: UNet | UNet2DConditionModel
    projection: Projection | parts.Projection
    prior: Prior | parts.Prior
    sha256: str
    correction_scale: float = 1.0

    @property
    def n_features(self) -> int:
        """Length of the embedding that the generator draws."""
        return int(self.unet.config.projection_class_embeddings_input_dim)

    @property
    def like(self) -> Tensor:
        """A tensor on the networks' device, in their precision."""
        return torch.as_tensor(self.unet.conv_in.weight)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one picture's latents."""
        side = int(self.unet.config.sample_size)
        return int(self.unet.config.out_channels), side, side


def part_folder(part: str, revision: int = REVISION) -> Path:
    """Where a part of the shipped weights lies; what a later revision kept lies there once."""
    earlier = (WEIGHTS / f"revision_{n}" / part for n in range(revision, REVISION))
    return next((path for path in earlier if path.is_dir()), WEIGHTS / part)


def load_generator(
    folder: Path | None = None,
    *,
    revision: int = REVISION,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> Generator:
    """Load the generator.

    Parameters
    ----------
    folder : Path or None
        With the folders `vae`, `unet`, `projection` and `prior`; None: the weights that ship.
    revision : int
        Which of the weights that ship.
    device, dtype
        Where and in which precision they compute, whatever they are stored in; None: the CPU.

    Raises
    ------
    GeneratorError
        If a file is missing or unreadable, or the parts do not fit each other.
    """
    root = WEIGHTS if folder is None else folder
    paths = {p: part_folder(p, revision) if folder is None else root / p for p in PARTS}
    digest = hashlib.sha256()
    for part in PARTS:
        path = paths[part] / FILE
        if not path.is_file():
            raise GeneratorError(
                f"{path} is missing, expected the generator's weights there: reinstall Phosphene, "
                "or train them as docs/models/generator.md says."
            )
        digest.update(path.read_bytes())
    try:
        vae = _load(paths["vae"], _make_autoencoder, below_name="decoder.")
        unet = _load(paths["unet"], lambda table: UNet(UNetConfig.of(table)))
        projection = _load(paths["projection"], lambda table: Projection(**_sizes(table)))
        prior = _load(paths["prior"], lambda table: Prior(**_sizes(table)))
        scale = _correction_scale(root) if revision >= _SCALED else 1.0
    except (CheckpointError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise GeneratorError(
            f"the generator in {root} cannot be read ({reason}): reinstall Phosphene."
        ) from error
    if scale != 1:
        digest.update(repr(scale).encode())
    _check(root, vae, unet, projection, prior)
    # Convolutions are fastest on CPUs with channels last.
    for module in (vae, unet, projection, prior):
        module.to(device, dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        module.eval().requires_grad_(False)
    return Generator(vae, unet, projection, prior, digest.hexdigest(), scale)


def load_upscaler(*, like: Tensor) -> tuple[Upscaler, str]:
    """Load the upscaler that ships, for the device and precision of `like`, and its SHA-256.

    Raises
    ------
    GeneratorError
        Its weights are missing or damaged.
    """
    path = WEIGHTS / "upscaler"
    try:
        upscaler = _load(path, lambda table: Upscaler(UpscalerConfig(**_sizes(table))))
        digest = hashlib.sha256((path / FILE).read_bytes()).hexdigest()
    except (CheckpointError, OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise GeneratorError(
            f"the upscaler in {path} cannot be read ({reason}): reinstall Phosphene, or set "
            "decoder.size = 128."
        ) from error
    upscaler.to(like.device, like.dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return upscaler.eval().requires_grad_(False), digest


def load_picture_encoder(
    folder: Path | None = None, *, revision: int = REVISION, like: Tensor
) -> Encoder:
    """Load the autoencoder's other half, for the device and precision of `like`.

    Raises
    ------
    GeneratorError
        The weights hold none that can be read.
    """
    path = part_folder("vae", revision) if folder is None else folder / "vae"
    try:
        half = _load(path, _make_encoder, below_name="encoder.")
    except (CheckpointError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        reason = str(error).splitlines()[0]
        raise GeneratorError(
            f"{path} has no encoder of pictures ({reason}), expected an AutoencoderDC's: turn "
            "decoder.own_pictures off, or take the autoencoder whole."
        ) from error
    encoder = cast("Encoder", half["encoder"])
    encoder.to(like.device, like.dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return encoder.eval().requires_grad_(False)


def _load(
    folder: Path, make: Callable[[dict[str, Any]], _Module], *, below_name: str = ""
) -> _Module:
    """Make a network of its settings and give it its weights, or those `below_name` only."""
    table = json.loads(read_text(folder / "config.json"))
    if not isinstance(table, dict):
        raise ValueError(f"{folder / 'config.json'} holds no table")
    with torch.device("meta"):  # nothing is initialised that is overwritten at once
        module = make(table)
    state = load_checkpoint(folder / FILE)
    named = {name: value for name, value in state.items() if name.startswith(below_name)}
    load_into(module, named, what=str(folder / FILE), assign=True)
    return module


def _correction_scale(root: Path) -> float:
    """What `model_index.json` says of it; weights that name none take all of the correction."""
    index = root / "model_index.json"
    scale = json.loads(read_text(index)).get("correction_scale", 1.0) if index.is_file() else 1.0
    if not isinstance(scale, int | float) or not 0 <= scale <= 1:
        raise ValueError(f"correction_scale is {scale!r}, expected 0 to 1")
    return float(scale)


def _make_autoencoder(table: dict[str, Any]) -> Autoencoder:
    return Autoencoder(AutoencoderConfig.of(table))


def _make_encoder(table: dict[str, Any]) -> nn.ModuleDict:
    return nn.ModuleDict({"encoder": Encoder(AutoencoderConfig.of(table, encodes=True))})


def _sizes(table: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in table.items() if not name.startswith("_")}


def _check(
    root: Path,
    vae: Autoencoder,
    unet: UNet,
    projection: Projection,
    prior: Prior,
) -> None:
    latents = unet.config.out_channels
    pairs = {
        "latent channels of vae and unet": (vae.config.latent_channels, latents),
        "numbers in the prior's guess and the latents": (
            prior.linear_2.out_features,
            latents * unet.config.sample_size**2,
        ),
        "input channels of the unet and of sample with guess": (
            unet.config.in_channels,
            2 * latents,
        ),
        "features of prior and unet": (
            prior.linear_1.in_features,
            unet.config.projection_class_embeddings_input_dim,
        ),
        "features of projection and unet": (
            projection.image_embeds.in_features,
            unet.config.projection_class_embeddings_input_dim,
        ),
        "token width of projection and unet": (
            projection.norm.normalized_shape[0],
            unet.config.cross_attention_dim,
        ),
    }
    for what, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise GeneratorError(
                f"{what} differ in {root} ({ours} and {theirs}), expected the same: "
                "take all four folders from one training run."
            )
