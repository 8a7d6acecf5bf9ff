"""A trained or imported masked autoencoder on disk.

Owns the folder: `model.safetensors` under the published names, `config.json`, `hashes.json`. Knows
nothing of training or of the published checkpoints.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from configs.guard import read_text
from configs.published import MaskedAutoencoderConfig
from models.checkpoints import CheckpointError, load_checkpoint, save_tensors
from models.masked_autoencoder.importing import import_autoencoder, import_encoder
from models.masked_autoencoder.network import MaskedAutoencoder, SignalEncoder
from models.weights import write_hashes


def save_autoencoder(
    model: MaskedAutoencoder | SignalEncoder,
    folder: Path,
    *,
    facts: dict[str, Any] | None = None,
) -> None:
    """Write the folder, of an encoder alone too; `facts` say what it was trained on."""
    save_tensors(folder / "model.safetensors", model.state_dict())
    config = {"schema": 1, "model": model.config.model_dump(), **(facts or {})}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_hashes(folder)


def load_autoencoder(
    folder: Path, *, made_by: str, n_times: int | None = None
) -> MaskedAutoencoder:
    """Load the whole autoencoder of a folder, its positions fitted to `n_times`.

    `made_by` is the command that makes one.

    Raises
    ------
    CheckpointError
        No such folder, or of something else.
    """
    config = read_sizes(folder, made_by=made_by)
    state = load_checkpoint(folder / "model.safetensors")
    heads = {"num_heads": config.num_heads, "decoder_num_heads": config.decoder_num_heads}
    return import_autoencoder(state, **heads, n_times=n_times)


def load_trained_encoder(
    folder: Path, *, made_by: str, n_times: int | None = None
) -> SignalEncoder:
    """Load the encoder alone; as `load_autoencoder`."""
    config = read_sizes(folder, made_by=made_by)
    state = load_checkpoint(folder / "model.safetensors")
    return import_encoder(state, num_heads=config.num_heads, n_times=n_times)


def read_sizes(folder: Path, *, made_by: str) -> MaskedAutoencoderConfig:
    """Read the sizes of a folder's autoencoder; as `load_autoencoder`."""
    try:
        table = json.loads(read_text(folder / "config.json"))
        return MaskedAutoencoderConfig.model_validate(table["model"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{folder} holds no trained encoder ({error}), expected config.json and "
            f"model.safetensors: make it with `{made_by}`."
        ) from None
