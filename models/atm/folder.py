"""Encoders and priors on disk: `config.json` beside `model.safetensors`, nothing to unpickle.

Owns writing and checked reading. A missing file gives one
sentence with the file, its source and its place. Knows nothing of training or live epochs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from configs.guard import read_text
from models.atm.encoder import AtmsConfig, AtmsEncoder
from models.atm.errors import AtmError
from models.atm.nice import NiceConfig, NiceEncoder
from models.atm.prior import DiffusionPriorUNet, PriorConfig
from models.checkpoints import load_checkpoint, load_into, save_tensors, tensors_of

MODEL, CONFIG = "model.safetensors", "config.json"
SETTINGS = "system.json"
"""How a system's parts are run; a field that it lacks keeps its default."""
BLOCK = 1 << 22
"""Bytes that are hashed at a time."""
AnyEncoder = AtmsEncoder | NiceEncoder
SOURCES = {
    "encoder": "an ATM-S encoder: train it with `phosphene train atm encoder` (for atm-multimodal "
    "with `phosphene train atm-multimodal train`), or import a checkpoint of "
    "github.com/dongyangli-del/EEG_Image_decode with `phosphene import atm`",
    "prior": "a diffusion prior: train it with `phosphene train atm prior` (or `train "
    "atm-multimodal train`)",
    "generator": "a pipeline in diffusers' layout: huggingface.co/stabilityai/sdxl-turbo (for atm) "
    "or huggingface.co/stabilityai/stable-diffusion-xl-base-1.0 (for atm-multimodal), the folder "
    "as it is or its single file through `phosphene import`",
    "adapter": "sdxl_models/ip-adapter_sdxl_vit-h.safetensors from huggingface.co/h94/IP-Adapter",
}
"""What belongs at each place below a folder of weights."""


@dataclass(frozen=True, slots=True)
class EncoderFacts:
    """What an encoder's folder says beside its sizes.

    `ch_names` in the order of the input; `sfreq` Hz; `l_freq`/`h_freq` Hz, None: none;
    `subject_id` used live, -1: the shared token. `space` names the space that the vectors
    live in; folders of earlier versions say `clip` and `gallery`. `output_scale` multiplies vectors
    as they leave the encoder; samplers undo it.
    """

    ch_names: tuple[str, ...]
    sfreq: float = 250.0
    l_freq: float | None = 0.1
    h_freq: float | None = 100.0
    subject_id: int = -1
    space: str = "clip"
    output_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class VectorFacts:
    """What a generator must know of the vectors that it takes; defaults: of OpenCLIP ViT-H/14."""

    n_features: int = 1024
    space: str = "clip"
    output_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class SystemSettings:
    """How the parts are run live; defaults are those of the base system.

    `has_prior` False is the prior-free preset: the encoder's vectors go straight into the
    adapter. `prior_guidance` None is the conditional prediction alone.
    """

    has_prior: bool = True
    prior_steps: int = 50
    prior_guidance: float | None = 5.0
    guidance_scale: float = 0.0
    size: int = 512


def load_settings(folder: Path, default: SystemSettings | None = None) -> SystemSettings:
    """Read `system.json`; a field that it lacks is as in `default` (the base system's).

    Raises
    ------
    AtmError
        It is not JSON or has a field that is unknown.
    """
    path = folder / SETTINGS
    default = SystemSettings() if default is None else default
    if not path.is_file():
        return default
    try:
        return replace(default, **json.loads(read_text(path)))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise AtmError(f"{path} cannot be used ({error}): mend or delete it.") from None


def require(path: Path, part: str) -> Path:
    """Return `path` where it exists.

    Raises
    ------
    AtmError
        Says which file is missing, where it comes from and where it belongs.
    """
    if not path.exists():
        raise AtmError(f"{path} is missing, expected {SOURCES[part]}; put it there.")
    return path


def save_encoder(
    folder: Path, model: AnyEncoder, facts: EncoderFacts, *, whitening: Tensor | None = None
) -> None:
    """Write an encoder; `whitening` (n_channels, n_channels) is of its training data."""
    state = dict(model.state_dict())
    if whitening is not None:
        state["whitening"] = whitening
    kind = "nice" if isinstance(model, NiceEncoder) else "atm-s"
    sizes = {"kind": kind, "network": asdict(model.config), "facts": asdict(facts)}
    _write(folder, state, sizes)


def load_encoder(folder: Path) -> tuple[AnyEncoder, EncoderFacts, Tensor | None]:
    """Read an encoder, ready to run, with its facts and its whitening matrix if it has one.

    Raises
    ------
    AtmError, CheckpointError
        A file is missing or damaged.
    """
    config, state = _read(folder, "encoder")
    whitening = state.pop("whitening", None)
    try:
        facts = EncoderFacts(**{**config["facts"], "ch_names": tuple(config["facts"]["ch_names"])})
        model = _network(config.get("kind", "atm-s"), config["network"])
    except (KeyError, TypeError) as error:
        raise AtmError(f"{folder / CONFIG} describes no encoder ({error}).") from None
    load_into(model, state, what=str(folder / MODEL))
    return model.eval(), facts, whitening


def load_vector_facts(folder: Path) -> VectorFacts:
    """Read what the encoder in `folder` gives; where there is none, CLIP's own.

    Raises
    ------
    AtmError
        Its `config.json` describes no encoder.
    """
    if not (folder / CONFIG).is_file():
        return VectorFacts()
    config = _read_config(folder / CONFIG)
    try:
        facts = config["facts"]
        return VectorFacts(
            int(config["network"]["n_features"]),
            str(facts.get("space", "clip")),
            float(facts.get("output_scale", 1.0)),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise AtmError(f"{folder / CONFIG} describes no encoder ({error}).") from None


def _network(kind: str, sizes: Mapping[str, Any]) -> AnyEncoder:
    if kind == "nice":
        return NiceEncoder(**asdict(NiceConfig(**sizes)))
    return AtmsEncoder(AtmsConfig(**sizes))


def save_prior(
    folder: Path, model: DiffusionPriorUNet, *, target_norm: float | None = None
) -> None:
    """Write a prior; `target_norm` is the norm to restore where targets were brought to norm 1."""
    sizes = {"network": asdict(model.config), "target_norm": target_norm}
    _write(folder, model.state_dict(), sizes)


def load_prior(folder: Path) -> tuple[DiffusionPriorUNet, float | None]:
    """Read a prior, ready to run, with the norm to restore (None: targets were not normalised).

    Raises
    ------
    AtmError, CheckpointError
        A file is missing or damaged.
    """
    config, state = _read(folder, "prior")
    try:
        model = DiffusionPriorUNet(PriorConfig(**config["network"]))
        norm = config["target_norm"]
        target_norm = None if norm is None else float(norm)
    except (KeyError, TypeError, ValueError) as error:
        raise AtmError(f"{folder / CONFIG} describes no diffusion prior ({error}).") from None
    load_into(model, state, what=str(folder / MODEL))
    return model.eval(), target_norm


def hash_of(*paths: Path) -> str:
    """SHA-256 over the contents of files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:  # a generator's files do not fit into memory at once
            while block := stream.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()


def _write(folder: Path, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / MODEL, state)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _read(folder: Path, part: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    state = tensors_of(load_checkpoint(require(folder / MODEL, part)))
    return _read_config(require(folder / CONFIG, part)), state


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise AtmError(f"{path} is not JSON ({error}).") from None
    if not isinstance(config, dict):
        raise AtmError(f"{path} holds no table of settings.")
    return config
