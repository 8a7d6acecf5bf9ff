"""Damage to a saved adapter's files, as a test wants it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from models.adapters.store import MANIFEST_NAME, WEIGHTS_NAME


def edit_manifest(folder: Path, **fields: object) -> None:
    """Set `fields` of the manifest."""
    table = json.loads((folder / MANIFEST_NAME).read_text())
    (folder / MANIFEST_NAME).write_text(json.dumps(table | fields))


def edit_weights(folder: Path, change: Callable[[dict[str, NDArray[np.generic]]], None]) -> None:
    """Let `change` alter the arrays; the manifest's hash follows."""
    arrays = load((folder / WEIGHTS_NAME).read_bytes())
    change(arrays)
    put_weights(folder, save(arrays))


def put_weights(folder: Path, weights: bytes) -> None:
    """Replace the weights' file; the manifest's hash follows."""
    (folder / WEIGHTS_NAME).write_bytes(weights)
    edit_manifest(folder, weights_sha256=hashlib.sha256(weights).hexdigest())
