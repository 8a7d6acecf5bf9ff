"""The published files of the ATM family: which one is which, and what becomes of it.

Owns the recognition by content (names of keys; of feature caches, which name their level nowhere
else, by file name). Everything is read as data and written as safetensors, JSON or plain arrays,
at the place where a system looks for it. Knows nothing of training.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.torch import save_file
from torch import Tensor

from models.atm.encoder import AtmsConfig, AtmsEncoder
from models.atm.errors import AtmError
from models.atm.folder import EncoderFacts, save_encoder, save_prior
from models.atm.generation import ADAPTER_FILE
from models.atm.nice import NiceEncoder, from_published
from models.atm.prior import DiffusionPriorUNet, PriorConfig
from models.checkpoints import (
    CheckpointError,
    below,
    load_checkpoint,
    load_into,
    shape_of,
    sizes_read,
    tensors_of,
)
from models.multimodal.features import list_pictures
from models.multimodal.modalities import ENCODER_KEYS, SUPERPIXELS, Modality
from models.stable_diffusion.libraries import quiet_libraries
from models.stable_diffusion.parts import PROMPTS
from models.things_eeg2.montage import CH_NAMES, POSTERIOR
from models.weights import write_hashes

TARGET_NORM = 27.5
"""Norm of ViT-H vectors where no file tells it: the middle of 25 to 30, as is reported."""
TOKENIZER_FILES = ("vocab.json", "merges.txt")
EXPECTED = (
    "an ATM-S or multimodal training checkpoint, NICE's Enc_eeg and Proj_eeg, a diffusion prior, "
    "an IP-Adapter of SDXL, a single-file SDXL (with vocab.json and merges.txt), or cached CLIP "
    "features (ViT-H-14_features_train.pt, training_images_few_slic.pt)"
)
_SPATIAL = "enc_eeg.0.tsconv.4.weight"
_LEVEL = re.compile(r"_(few|middle|large)_slic")
_CACHE = re.compile(r"(.+)_features_(?:train|test)")
_NICE_PARTS = {"0.tsconv.0.weight": "Enc_eeg.", "1.fn.1.weight": "Proj_eeg."}


@dataclass(slots=True)
class _Import:
    """One call: where things go, and what was found so far."""

    out: Path
    scheduler: Literal["turbo", "base"]
    target_norm: float | None
    images: Path | None
    tokenizer: list[Path]
    nice: dict[str, Tensor] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def import_files(
    files: Sequence[Path],
    out: Path,
    *,
    scheduler: Literal["turbo", "base"] = "turbo",
    target_norm: float | None = None,
    images: Path | None = None,
) -> dict[str, Any]:
    """Turn published files into a folder of weights.

    Parameters
    ----------
    files : sequence of Path
        In any order; see `EXPECTED`.
    out : Path
    scheduler : {"turbo", "base"}
        Of a single-file SDXL.
    target_norm : float or None
        Norm of the CLIP vectors that multimodal priors were trained on after division by it;
        None: of the feature cache among the files, else `TARGET_NORM`.
    images : Path or None
        Folder of the image set, which says the order of cached superpixel features.

    Raises
    ------
    AtmError, CheckpointError
        A file is missing, unsafe, damaged or none of these kinds.
    """
    tokenizer = [path for path in files if path.name in TOKENIZER_FILES]
    state = _Import(out, scheduler, target_norm, images, tokenizer)
    made: dict[str, str] = {}
    # Caches first: they tell the norm that a checkpoint's priors need.
    others = [path for path in files if path not in tokenizer]
    for path, content in _caches_first([(path, load_checkpoint(path)) for path in others]):
        with sizes_read(path):
            made[str(path)] = _import_one(path, content, state)
    if state.nice:
        with sizes_read("NICE's Enc_eeg and Proj_eeg"):
            _save_nice(state.nice, out)
    if tokenizer and not any(kind.startswith("SDXL") for kind in made.values()):
        raise AtmError(f"{tokenizer[0]} belongs to a single-file SDXL: give that file too.")
    if out.is_dir():
        write_hashes(out)
    return {"out": str(out), "files": made, "notes": state.notes}


def _caches_first(
    loaded: list[tuple[Path, dict[str, Any]]],
) -> list[tuple[Path, dict[str, Any]]]:
    return sorted(loaded, key=lambda item: "img_features" not in item[1])


def _import_one(path: Path, content: Mapping[str, Any], state: _Import) -> str:
    tensors = _plain(content)
    kinds: tuple[tuple[bool, Callable[[], str]], ...] = (
        (any(key in content for key in ENCODER_KEYS), lambda: _multimodal(path, content, state)),
        ("img_features" in content, lambda: _clip_cache(path, content, state)),
        (bool(_LEVEL.search(path.name)), lambda: _superpixel_cache(path, content, state)),
        (any(k.startswith("ip_adapter") for k in content), lambda: _adapter(path, content, state)),
        (_is_sdxl(tensors), lambda: _generator(tensors, state)),
        ("input_layer.0.weight" in tensors, lambda: _prior(path, tensors, state)),
        (
            any(k.startswith("encoder.enc_embedding.") for k in tensors),
            lambda: _atms(path, tensors, state),
        ),
        (bool(_nice_prefix(tensors)), lambda: _nice(tensors, state)),
    )
    for is_kind, function in kinds:
        if is_kind:
            return function()
    raise CheckpointError(f"{path} is no file of the ATM family, expected {EXPECTED}.")


def _plain(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors of a state, also below a key that holds it, also with names below `module.`."""
    for key in ("model_state_dict", "state_dict"):
        if isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = tensors_of(content)
    if tensors and all(name.startswith("module.") for name in tensors):
        return below(tensors, "module.")
    return tensors


def _atms(path: Path, state: dict[str, Tensor], to: _Import) -> str:
    made = published_encoder(state, what=path)
    save_encoder(to.out / "encoder", made, _facts(made.config.n_channels))
    return "ATM-S encoder"


def published_encoder(state: Mapping[str, Tensor], *, what: Path | str) -> AtmsEncoder:
    """Build the network of a published state, of whatever sizes it has."""
    n_layers = sum(name.startswith("subject_wise_linear") for name in state) // 2
    subjects = "encoder.enc_embedding.subject_embedding.subject_embedding.weight"
    try:
        config = replace(
            AtmsConfig.published(n_subject_layers=n_layers),
            n_channels=shape_of(state, _SPATIAL, "n_filters, n_in, n_channels, 1")[2],
            n_times=shape_of(
                state, "encoder.enc_embedding.value_embedding.weight", "width, n_times"
            )[1],
            n_features=shape_of(state, "proj_eeg.0.weight", "n_features, width")[0],
            n_subjects=shape_of(state, subjects, "n_subjects, width")[0],
            feedforward=int(state["encoder.encoder.attn_layers.0.conv1.weight"].shape[0]),
        )
    except KeyError as error:
        raise CheckpointError(f"{what} lacks {error}, expected ATM-S.") from None
    model = AtmsEncoder(config)
    load_into(model, state, what=str(what))
    return model


def _facts(n_channels: int) -> EncoderFacts:
    names = {len(each): each for each in (CH_NAMES, POSTERIOR)}.get(n_channels)
    if names is None:
        raise AtmError(
            f"the checkpoint has {n_channels} channels, expected the {len(CH_NAMES)} of "
            f"THINGS-EEG2 or its {len(POSTERIOR)} posterior ones: their names are not in the file."
        )
    return EncoderFacts(ch_names=names)


def _prior(path: Path, state: dict[str, Tensor], to: _Import) -> str:
    save_prior(to.out / "prior", published_prior(state, what=path))
    return "diffusion prior"


def published_prior(state: Mapping[str, Tensor], *, what: Path | str) -> DiffusionPriorUNet:
    """Build the prior of a published state, of whatever sizes it has."""
    try:
        n_levels = 1 + max(int(k.split(".")[1]) for k in state if k.startswith("encode_layers."))
        widths = [
            shape_of(state, f"encode_layers.{i}.0.weight", "n_out, n_in")[::-1]
            for i in range(n_levels)
        ]
        config = PriorConfig(
            embed_dim=shape_of(state, "output_layer.weight", "embed_dim, hidden")[0],
            cond_dim=shape_of(state, "encode_cond_embedding.0.weight", "hidden, cond_dim")[1],
            hidden_dim=(widths[0][0], *(out for _, out in widths)),
            time_embed_dim=shape_of(
                state, "encode_time_embedding.0.linear_1.weight", "n_out, time_embed_dim"
            )[1],
        )
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{what} lacks {error}, expected a diffusion prior.") from None
    prior = DiffusionPriorUNet(config)
    load_into(prior, state, what=str(what))
    return prior


def _multimodal(path: Path, content: Mapping[str, Any], to: _Import) -> str:
    key = next(key for key in ENCODER_KEYS if key in content)
    missing = [m.checkpoint_key for m in Modality if m.checkpoint_key not in content]
    if missing:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}, expected five priors.")
    encoder = published_encoder(_plain(content[key]), what=path)
    save_encoder(to.out / "encoder", encoder, _facts(encoder.config.n_channels))
    norm = TARGET_NORM if to.target_norm is None else to.target_norm
    if to.target_norm is None:
        to.notes.append(
            f"no cache of un-normalised CLIP features tells the norm of the targets: vectors are "
            f"brought to {TARGET_NORM}, about that of ViT-H; say it with --target-norm."
        )
    for modality in Modality:
        prior = published_prior(_plain(content[modality.checkpoint_key]), what=path)
        save_prior(to.out / "priors" / modality, prior, target_norm=norm)
    return "ATM-S encoder and five priors"


def _adapter(path: Path, content: Mapping[str, Any], to: _Import) -> str:
    state = tensors_of(content)
    for part in ("image_proj", "ip_adapter"):
        inner = content.get(part)
        if isinstance(inner, Mapping):
            state |= {f"{part}.{name}": value for name, value in tensors_of(inner).items()}
    state = {k: v for k, v in state.items() if k.startswith(("image_proj.", "ip_adapter."))}
    if "image_proj.proj.weight" not in state or not any(".to_k_ip." in k for k in state):
        raise CheckpointError(
            f"{path} is an IP-Adapter of another kind, expected image_proj.proj and to_k_ip: give "
            f"{ADAPTER_FILE} of Hugging Face h94/IP-Adapter, sdxl_models/."
        )
    to.out.mkdir(parents=True, exist_ok=True)
    plain = {name: value.contiguous().clone() for name, value in state.items()}
    save_file(plain, to.out / ADAPTER_FILE)
    width = shape_of(state, "image_proj.proj.weight", "n_out, n_in")[1]
    return f"IP-Adapter of CLIP vectors of {width}"


def _is_sdxl(state: Mapping[str, Any]) -> bool:
    parts = ("model.diffusion_model.", "conditioner.embedders.1.model.")
    return all(any(name.startswith(part) for name in state) for part in parts)


def _generator(state: dict[str, Tensor], to: _Import) -> str:
    quiet_libraries()
    from models.latent_diffusion.sdxl import import_sdxl  # diffusers' pipelines load for seconds

    folder = to.out / "generator"
    import_sdxl(state, folder, scheduler=to.scheduler, tokenizer_files=to.tokenizer)
    if not to.tokenizer:
        text = json.dumps({"prompts": "empty"}) + "\n"
        (folder / PROMPTS).write_text(text, encoding="utf-8")
        to.notes.append(
            "the single file holds no tokenizer, so only the empty prompt can be used (which is "
            "all that decoding needs): for --oracle-prompt give vocab.json and merges.txt too."
        )
    return f"SDXL ({to.scheduler})"


def _nice_prefix(state: Mapping[str, Tensor]) -> str:
    if any(name.startswith("Enc_eeg.") for name in state):
        return "whole"
    return next((prefix for name, prefix in _NICE_PARTS.items() if name in state), "")


def _nice(state: dict[str, Tensor], to: _Import) -> str:
    prefix = _nice_prefix(state)
    if prefix == "whole":
        to.nice |= state
        return "NICE"
    # Its image projector looks like its EEG projector, but is square, and its forward is identity.
    if prefix == "Proj_eeg." and state["0.weight"].shape[0] == state["0.weight"].shape[1]:
        return "NICE's image projector (not used)"
    to.nice |= {prefix + name: value for name, value in state.items()}
    return f"NICE's {prefix.rstrip('.')}"


def _save_nice(state: Mapping[str, Tensor], out: Path) -> None:
    renamed = from_published(state)
    for part, name in ((_SPATIAL, "Enc_eeg"), ("proj_eeg.0.weight", "Proj_eeg")):
        if part not in renamed:
            raise AtmError(f"NICE's {name} is not among the files: give both parts.")
    n_channels = shape_of(renamed, _SPATIAL, "n_filters, n_in, n_channels, 1")[2]
    n_features = shape_of(renamed, "proj_eeg.0.weight", "n_features, width")[0]
    model = NiceEncoder(n_channels=n_channels, n_features=n_features)
    renamed.setdefault("logit_scale", model.logit_scale)
    load_into(model, renamed, what="NICE's state")
    save_encoder(out / "encoder", model, _facts(n_channels))


def _clip_cache(path: Path, content: Mapping[str, Any], to: _Import) -> str:
    """Write `features/MODEL.npy` and `.text.npy`, one row an image; the file's name says MODEL."""
    match = _CACHE.match(path.name)
    model = match[1] if match else "ViT-H-14"
    image, text = (_rows(content, key, path) for key in ("img_features", "text_features"))
    if len(image) % len(text):
        raise AtmError(f"{path} has {len(image)} pictures of {len(text)} concepts, which differ.")
    _write_features(to.out, model, image)
    _write_features(to.out, f"{model}.text", np.repeat(text, len(image) // len(text), axis=0))
    norm = float(np.linalg.norm(image, axis=1).mean())
    # Normalised for retrieval, as they are for reconstruction: the norm says which.
    if to.target_norm is None and model == "ViT-H-14" and norm > 1.5:
        to.target_norm = norm
    return f"CLIP features of {len(image)} pictures, norm {norm:.2f}"


def _superpixel_cache(path: Path, content: Mapping[str, Any], to: _Import) -> str:
    """Write `features/superpixel_LEVEL.npy`, in the order of the image set."""
    match = _LEVEL.search(path.name)
    level = Modality(match[1]) if match else SUPERPIXELS[0]
    if to.images is None:
        raise AtmError(f"{path} has vectors by picture: give --images, which says their order.")
    rows = {Path(name).stem: _rows(content, name, path).reshape(1, -1) for name in content}
    names = [picture.stem for picture in list_pictures(to.images)]
    missing = [name for name in names if name not in rows]
    if missing:
        raise AtmError(f"{path} lacks {missing[0]} and {len(missing) - 1} others of {to.images}.")
    _write_features(to.out, level.published_name, np.concatenate([rows[n] for n in names]))
    return f"superpixel features, {level}, of {len(names)} pictures"


def _rows(
    content: Mapping[str, Any], key: str, path: Path
) -> np.ndarray[Any, np.dtype[np.float32]]:
    value = content.get(key)
    if not isinstance(value, Tensor) or value.ndim != 2:
        raise AtmError(f"{path}: {key} is no table of vectors, expected (n, n_features).")
    return np.asarray(value.float().numpy(), dtype=np.float32)


def _write_features(out: Path, name: str, rows: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    target = out / "features" / f"{name}.npy"
    if target.exists():
        raise AtmError(
            f"{target} is there already: import training and test features into folders of their "
            "own (OUT/train, OUT/test)."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    np.save(target, rows)
