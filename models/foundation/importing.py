"""How published encoders come in: one checkpoint, checked against its network, as safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from configs.guard import TABLE_LIMIT, read_text
from configs.plain import plain
from models.checkpoints import (
    CheckpointError,
    load_checkpoint,
    load_into,
    save_tensors,
    sizes_read,
    tensors_of,
)
from models.foundation.encoder import NETWORKS
from models.foundation.reve import POSITIONS, SITE_NAMES
from models.foundation.system import BIOT, CBRAMOD, EEGPT, LABRAM, MODEL_NAME, REVE, STEEGFORMER
from models.weights import hash_file, write_hashes

_STATES = ("model", "state_dict", "model_state_dict", "module")
"""Under what a training put its network's state."""


NOTHING: Mapping[str, Tensor] = MappingProxyType({})


def run_import(
    name: str,
    files: Sequence[Path],
    out: Path,
    *,
    more: Mapping[str, Tensor] = NOTHING,
) -> dict[str, Any]:
    """Turn a published checkpoint into our folder; `more` tensors go with it.

    Raises
    ------
    CheckpointError
        Several files, or one that is damaged, unsafe or another network's.
    """
    if len(files) != 1:
        raise CheckpointError(f"{name} is one file, {len(files)} were given: give the checkpoint.")
    kind, path = NETWORKS[name], files[0]
    given = _unwrap(load_checkpoint(path)) | dict(more)
    with sizes_read(path):
        state = kind.rename(given)
        network = kind.build(state)
    load_into(network, state, what=str(path))
    about = {"system": name, "source": path.name, "source_sha256": hash_file(path)}
    target = out / MODEL_NAME
    save_tensors(target, state, meta=json.dumps(about))
    write_hashes(out)
    return {
        "files": {str(target): kind.title},
        "parameters": sum(each.numel() for each in network.parameters()),
        "width": network.width,
        "patch": network.patch,
        **about,
    }


def _unwrap(content: Mapping[str, Any]) -> dict[str, Tensor]:
    inner = next((content[key] for key in _STATES if isinstance(content.get(key), dict)), content)
    return tensors_of(inner)


def import_reve(files: Sequence[Path], out: Path) -> dict[str, Any]:
    """Turn a checkpoint and the table of electrodes (JSON: name to x, y, z) into our folder.

    Raises
    ------
    CheckpointError
        Not these two files, or one that is damaged, unsafe or another's.
    """
    tables = [each for each in files if each.suffix == ".json"]
    rest = [each for each in files if each.suffix != ".json"]
    if len(tables) != 1 or len(rest) != 1:
        raise CheckpointError(
            f"reve is two files, {', '.join(map(str, files))} given: give its checkpoint and "
            "positions.json of huggingface.co/brain-bzh/reve-positions."
        )
    return run_import(REVE.name, rest, out, more=_positions(tables[0]))


def _positions(path: Path) -> dict[str, Tensor]:
    """Names and places of a table of electrodes."""
    try:
        table = json.loads(read_text(path, limit=TABLE_LIMIT))
        where = torch.tensor(list(table.values()), dtype=torch.float32)
        fits = where.ndim == 2 and where.shape[1] == 3 and bool(where.isfinite().all())
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read as a table ({plain(str(error))}).") from None
    if not fits or not all(name and "\n" not in name for name in table):
        raise CheckpointError(
            f"{path} is no table of electrodes, expected JSON with three finite numbers a name: "
            "give positions.json of huggingface.co/brain-bzh/reve-positions."
        )
    names = "\n".join(table).encode("utf-8", "replace")
    return {POSITIONS: where, SITE_NAMES: torch.frombuffer(bytearray(names), dtype=torch.uint8)}


import_biot = partial(run_import, BIOT.name)
import_eegpt = partial(run_import, EEGPT.name)
import_labram = partial(run_import, LABRAM.name)
import_cbramod = partial(run_import, CBRAMOD.name)
import_steegformer = partial(run_import, STEEGFORMER.name)
