"""How published encoders come in: one checkpoint, checked against its network, as safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from models.checkpoints import (
    CheckpointError,
    load_checkpoint,
    load_into,
    save_tensors,
    sizes_read,
    tensors_of,
)
from models.foundation.encoder import NETWORKS
from models.foundation.system import CBRAMOD, LABRAM, MODEL_NAME, STEEGFORMER
from models.weights import hash_file, write_hashes

_STATES = ("model", "state_dict", "model_state_dict", "module")
"""Under what a training put its network's state."""


def run_import(name: str, files: Sequence[Path], out: Path) -> dict[str, Any]:
    """Turn a published checkpoint into our folder.

    Raises
    ------
    CheckpointError
        Several files, or one that is damaged, unsafe or another network's.
    """
    if len(files) != 1:
        raise CheckpointError(f"{name} is one file, {len(files)} were given: give the checkpoint.")
    kind, path = NETWORKS[name], files[0]
    given = _unwrap(load_checkpoint(path))
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


import_labram = partial(run_import, LABRAM.name)
import_cbramod = partial(run_import, CBRAMOD.name)
import_steegformer = partial(run_import, STEEGFORMER.name)
