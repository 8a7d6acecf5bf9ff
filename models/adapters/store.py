"""Adapters as two files in a folder: `adapter.json` to read, `adapter.safetensors` to compute.

Owns writing, reading and refusing. Numbers come through safetensors, words through JSON and
pydantic: nothing in an adapter can run. What is damaged is refused in one sentence.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from models.adapters.encoder import AdapterEncoder
from models.adapters.errors import AdapterError
from models.adapters.lda import SpatioTemporalLda
from models.adapters.manifest import SCHEMA_VERSION, AdapterManifest
from pipeline.gallery import Gallery, load_gallery

MANIFEST_NAME = "adapter.json"
WEIGHTS_NAME = "adapter.safetensors"
_DTYPES = {
    "filters": np.float64,
    "coef": np.float64,
    "intercept": np.float64,
    "prototypes": np.float32,
}


def save_adapter(adapter: AdapterEncoder, folder: Path) -> AdapterEncoder:
    """Write an adapter into `folder` (made if need be); the adapter with its hash comes back.

    The manifest comes last and by renaming: a folder that has one is complete.
    """
    arrays = {
        "filters": adapter.lda.filters,
        "coef": adapter.lda.coef,
        "intercept": adapter.lda.intercept,
        "prototypes": adapter.prototypes,
    }
    weights = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    manifest = adapter.manifest.model_copy(
        update={"weights_sha256": hashlib.sha256(weights).hexdigest()}
    )
    text = manifest.model_dump_json(indent=1).encode() + b"\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in ((WEIGHTS_NAME, weights), (MANIFEST_NAME, text)):
            part = folder / f"{name}.part"
            part.write_bytes(content)
            os.replace(part, folder / name)  # noqa: PTH105 - replaces on every system
    except OSError as error:
        raise AdapterError(f"cannot write the adapter to {folder} ({error}).") from error
    return AdapterEncoder(manifest, adapter.lda, adapter.prototypes, _hash(text, weights))


def load_adapter(folder: Path, *, gallery: Gallery | None = None) -> AdapterEncoder:
    """Read an adapter.

    Parameters
    ----------
    folder : Path
        As `save_adapter` wrote it.
    gallery : Gallery, optional
        Whose space is meant; the installed one if not given.

    Raises
    ------
    AdapterError
        A file is missing, damaged, of an unknown version, or made for another gallery.
    """
    text, weights = _read(folder / MANIFEST_NAME), _read(folder / WEIGHTS_NAME)
    manifest = _parse(text, folder / MANIFEST_NAME)
    if hashlib.sha256(weights).hexdigest() != manifest.weights_sha256:
        raise AdapterError(
            f"{folder / WEIGHTS_NAME} is not the file that its manifest was written with (another "
            "SHA-256): it is damaged or mixed up, so restore it or calibrate again."
        )
    if manifest.gallery_sha256 != (gallery or load_gallery()).sha256:
        raise AdapterError(
            f"the adapter in {folder} was made for another gallery, so its vectors mean other "
            "pictures: calibrate again."
        )
    arrays = _tensors(weights, folder / WEIGHTS_NAME)
    prototypes = arrays.pop("prototypes")
    lda = SpatioTemporalLda(**arrays, temperature=manifest.temperature)
    return AdapterEncoder(manifest, lda, prototypes, _hash(text, weights))


def _hash(text: bytes, weights: bytes) -> str:
    return hashlib.sha256(text + weights).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AdapterError(
            f"cannot read {path} ({error.strerror}), expected an adapter's folder with "
            f"{MANIFEST_NAME} and {WEIGHTS_NAME}."
        ) from error


def _parse(text: bytes, path: Path) -> AdapterManifest:
    try:
        return AdapterManifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise AdapterError(
            f"{path}: {where} is wrong ({first['msg']}), expected an adapter of schema version "
            f"{SCHEMA_VERSION}: calibrate again, or use the version that wrote it."
        ) from error


def _tensors(weights: bytes, path: Path) -> dict[str, NDArray[Any]]:
    try:
        arrays: dict[str, NDArray[Any]] = load(weights)
    except SafetensorError as error:
        raise AdapterError(
            f"{path} is not a readable safetensors file ({error}): restore it or calibrate again."
        ) from error
    found = {name: array.dtype for name, array in arrays.items()}
    if found != {name: np.dtype(dtype) for name, dtype in _DTYPES.items()}:
        raise AdapterError(
            f"{path} holds {', '.join(sorted(found)) or 'nothing'}, expected "
            f"{', '.join(sorted(_DTYPES))} in their dtypes: restore it or calibrate again."
        )
    return arrays
