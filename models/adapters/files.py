"""Adapters as two files in a folder: `adapter.json` to read, `adapter.safetensors` to compute.

Owns writing, reading and refusing. Numbers come through
safetensors, words through JSON and pydantic: nothing in an adapter can run. What is damaged is
refused in one sentence. No torch until an adapter is loaded that stands behind an encoder.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from configs.guard import read_bytes
from models.adapters.adapter import COVARIANCE, INTERPOLATION, Adapter, open_base
from models.adapters.atomic import write_pair
from models.adapters.errors import AdapterError
from models.adapters.looks import LooksAdapter
from models.adapters.manifest import LOOKS, AdapterManifest, parse_manifest
from models.adapters.methods import find_method
from models.adapters.online import OnlineAligned
from models.api import Encoder

MANIFEST_NAME = "adapter.json"
WEIGHTS_NAME = "adapter.safetensors"
MANIFEST_LIMIT = 4 * 2**20
WEIGHTS_LIMIT = 64 * 2**20
"""Largest file of an adapter, bytes: what claims more is refused before it is read."""


A = TypeVar("A", bound=Adapter | LooksAdapter)


def save_adapter(adapter: A, folder: Path) -> A:
    """Write an adapter into `folder` (made if need be); the adapter with its hash comes back."""
    # Not `ascontiguousarray` alone, which makes a vector of one out of a single number.
    weights = save(
        {n: np.ascontiguousarray(a).reshape(np.shape(a)) for n, a in adapter.arrays().items()}
    )
    manifest = adapter.manifest.model_copy(
        update={"weights_sha256": hashlib.sha256(weights).hexdigest()}
    )
    text = manifest.model_dump_json(indent=1).encode() + b"\n"
    write_pair(folder, (WEIGHTS_NAME, weights), (MANIFEST_NAME, text))
    return replace(adapter, manifest=manifest, sha256=hash_of(text, weights))


def load_adapter(folder: Path, *, encoder: Encoder | None = None) -> Adapter:
    """Read an adapter that decodes epochs; see `load_any`.

    Raises
    ------
    AdapterError
        It cannot be read, or is one of looks.
    """
    adapter = load_any(folder, encoder=encoder)
    if isinstance(adapter, LooksAdapter):
        raise AdapterError(
            f"{folder} is an adapter of looks at noise-tagged pictures, expected one that decodes "
            "epochs: use it with `phosphene attend --adapter`."
        )
    return adapter


def load_looks(folder: Path) -> LooksAdapter:
    """Read an adapter of looks; see `load_any`.

    Raises
    ------
    AdapterError
        It cannot be read, or is of another kind.
    """
    kind = read_manifest(folder).kind
    if kind != LOOKS:
        raise AdapterError(
            f"{folder} is an adapter of the kind {kind}, expected {LOOKS}: make one with "
            "`phosphene attend --calibrate`."
        )
    adapter = load_any(folder)
    if not isinstance(adapter, LooksAdapter):
        raise AdapterError(f"{folder} changed while it was read: read it again.")
    return adapter


def load_any(folder: Path, *, encoder: Encoder | None = None) -> Adapter | LooksAdapter:
    """Read an adapter of whichever kind.

    Parameters
    ----------
    folder : Path
        As `save_adapter` wrote it, this version's or the one's before.
    encoder : Encoder, optional
        What it is to stand behind, if it needs one; the installed one that it names by default.

    Raises
    ------
    AdapterError
        A file is missing, damaged, of an unknown version, or made for another encoder or gallery.
    """
    text = _read(folder / MANIFEST_NAME, MANIFEST_LIMIT)
    weights = _read(folder / WEIGHTS_NAME, WEIGHTS_LIMIT)
    manifest = parse_manifest(text, folder / MANIFEST_NAME)
    if hashlib.sha256(weights).hexdigest() != manifest.weights_sha256:
        raise AdapterError(
            f"{folder / WEIGHTS_NAME} is not the file that its manifest was written with (another "
            "SHA-256): it is truncated, damaged or mixed up, so restore it or calibrate again."
        )
    arrays = _tensors(weights, folder / WEIGHTS_NAME)
    if manifest.looks is not None:
        return LooksAdapter.from_arrays(arrays, manifest, hash_of(text, weights))
    kind = find_method(manifest.kind)
    covariance, interpolation = arrays.pop(COVARIANCE, None), arrays.pop(INTERPOLATION, None)
    base = open_base(manifest, arrays, encoder)
    method = kind.from_arrays(arrays, manifest)
    return Adapter(manifest, method, base, covariance, interpolation, hash_of(text, weights))


def load_live(
    folder: Path, *, encoder: Encoder | None = None, is_bounded: bool = True
) -> OnlineAligned:
    """Read an adapter behind (frozen) online alignment, as sessions use it."""
    adapter = load_adapter(folder, encoder=encoder)
    classes = adapter.manifest.classes
    return OnlineAligned(
        adapter,
        ch_names=adapter.manifest.ch_names,
        reference=adapter.covariance,
        average=adapter.covariance is not None and classes is None,
        # What was fitted behind alignment knows nothing of epochs without it.
        is_bounded=is_bounded and not (classes and classes.is_aligned),
        begins_running=classes is not None and classes.is_aligned,
    )


def read_manifest(folder: Path) -> AdapterManifest:
    """Read what an adapter says of itself; its weights are not looked at.

    Raises
    ------
    AdapterError
        Missing, not JSON, or of an unknown kind or version.
    """
    path = folder / MANIFEST_NAME
    return parse_manifest(_read(path, MANIFEST_LIMIT), path)


def hash_of(text: bytes, weights: bytes) -> str:
    """What an adapter of these two files is known by."""
    return hashlib.sha256(text + weights).hexdigest()


def _read(path: Path, limit: int) -> bytes:
    try:
        return read_bytes(path, limit=limit)
    except OSError as error:
        raise AdapterError(
            f"cannot read {path} ({error.strerror}), expected an adapter's folder with "
            f"{MANIFEST_NAME} and {WEIGHTS_NAME}."
        ) from error


def _tensors(weights: bytes, path: Path) -> dict[str, NDArray[Any]]:
    try:
        arrays: dict[str, NDArray[Any]] = load(weights)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        # Not only its own error: a dtype that NumPy lacks is a KeyError.
        raise AdapterError(
            f"{path} is not a readable safetensors file ({error}): restore it or calibrate again."
        ) from error
    return arrays
