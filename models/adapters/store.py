"""Adapters as two files in a folder: `adapter.json` to read, `adapter.safetensors` to compute.

Owns writing, reading and refusing. Numbers come through safetensors, words through JSON and
pydantic: nothing in an adapter can run. What is damaged is refused in one sentence.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from configs.guard import read_bytes
from models.adapters.encoder import AdapterEncoder
from models.adapters.errors import AdapterError
from models.adapters.files import write_pair
from models.adapters.lda import SpatioTemporalLda
from models.adapters.manifest import SCHEMA_VERSION, AdapterManifest, PersonalManifest
from models.adapters.online import OnlineAligned
from pipeline.gallery import Gallery, load_gallery

if TYPE_CHECKING:
    from models.adapters.personal import PersonalEncoder
    from models.api import Encoder
    from models.embedded.encoder import EmbeddedEncoder

_Manifest = TypeVar("_Manifest", bound=BaseModel)
MANIFEST_NAME = "adapter.json"
WEIGHTS_NAME = "adapter.safetensors"
MANIFEST_LIMIT = 4 * 2**20
WEIGHTS_LIMIT = 64 * 2**20
"""Largest file of an adapter, bytes: what claims more is refused before it is read."""
_COVARIANCE = "covariance"
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
    write_pair(folder, (WEIGHTS_NAME, weights), (MANIFEST_NAME, text))
    return AdapterEncoder(manifest, adapter.lda, adapter.prototypes, _hash(text, weights))


def load_adapter(folder: Path, *, gallery: Gallery | None = None) -> AdapterEncoder:
    """Read an adapter of plain classes.

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
    text, weights = _read_pair(folder)
    manifest = _parse_as(AdapterManifest, text, folder / MANIFEST_NAME)
    _check_hash(weights, manifest.weights_sha256, folder)
    gallery = gallery or load_gallery()
    if manifest.gallery_sha256 != gallery.sha256:
        raise AdapterError(
            f"the adapter in {folder} was made for another gallery, so its vectors mean other "
            "pictures: calibrate again."
        )
    arrays = _tensors(weights, folder / WEIGHTS_NAME)
    prototypes = arrays.pop("prototypes")
    if prototypes.shape != (len(manifest.targets), gallery.embeddings.shape[1]):
        raise AdapterError(
            f"the adapter's prototypes have shape {prototypes.shape}, expected "
            f"{(len(manifest.targets), gallery.embeddings.shape[1])}: restore the file or "
            "calibrate again."
        )
    lda = SpatioTemporalLda(**arrays, temperature=manifest.temperature)
    return AdapterEncoder(manifest, lda, prototypes, _hash(text, weights))


def save_personal(adapter: PersonalEncoder, folder: Path) -> PersonalEncoder:
    """Write a picture adapter into `folder`; the adapter with its hash comes back."""
    arrays = {name: np.ascontiguousarray(array) for name, array in adapter.part.arrays().items()}
    arrays[_COVARIANCE] = np.ascontiguousarray(adapter.covariance)
    weights = save(arrays)
    manifest = adapter.manifest.model_copy(
        update={"weights_sha256": hashlib.sha256(weights).hexdigest()}
    )
    text = manifest.model_dump_json(indent=1).encode() + b"\n"
    write_pair(folder, (WEIGHTS_NAME, weights), (MANIFEST_NAME, text))
    return replace(adapter, manifest=manifest, sha256=_hash(text, weights))


def load_personal(folder: Path, *, encoder: EmbeddedEncoder | None = None) -> PersonalEncoder:
    """Read a picture adapter onto `encoder` (the shipped one if not given).

    Raises
    ------
    AdapterError
        A file is missing, damaged, of an unknown version, or made for another encoder.
    """
    # torch comes with these, and listing adapters must not wait for it.
    from models.adapters.parts import find_method
    from models.adapters.personal import PersonalEncoder
    from models.adapters.prepared import EncoderView
    from models.embedded.encoder import load_encoder

    manifest, text, weights = _read_personal(folder)
    arrays = _any_tensors(weights, folder / WEIGHTS_NAME)
    view = EncoderView(encoder or load_encoder())
    covariance = arrays.pop(_COVARIANCE, np.zeros((0, 0)))
    part = find_method(manifest.method).from_arrays(
        arrays, n_channels=len(manifest.ch_names), n_features=manifest.n_features
    )
    return PersonalEncoder(manifest, part, view, covariance, _hash(text, weights))


def _read_personal(folder: Path) -> tuple[PersonalManifest, bytes, bytes]:
    text, weights = _read_pair(folder)
    manifest = _parse_as(PersonalManifest, text, folder / MANIFEST_NAME)
    _check_hash(weights, manifest.weights_sha256, folder)
    return manifest, text, weights


def read_manifest(folder: Path) -> AdapterManifest | PersonalManifest:
    """Read what an adapter says of itself; its weights are not looked at.

    Raises
    ------
    AdapterError
        Missing, not JSON, or of an unknown kind or version.
    """
    path = folder / MANIFEST_NAME
    return parse_manifest(_read(path, MANIFEST_LIMIT), path)


def parse_manifest(text: bytes, path: Path) -> AdapterManifest | PersonalManifest:
    """Read a manifest's text; `path` is named where it cannot be.

    Raises
    ------
    AdapterError
        Not JSON, or of an unknown kind or version.
    """
    try:
        words = json.loads(text)
        kind = words.get("kind", "spatio-temporal-lda")
    except (ValueError, AttributeError, RecursionError) as error:
        raise AdapterError(
            f"{path}: Invalid JSON ({error}), expected an adapter's manifest: restore it or "
            "calibrate again."
        ) from error
    if kind == "personal":
        return _parse_as(PersonalManifest, text, path)
    return _parse_as(AdapterManifest, text, path)


def load_any(folder: Path, *, encoder: Encoder | None = None) -> AdapterEncoder | PersonalEncoder:
    """Read an adapter of either kind."""
    if isinstance(read_manifest(folder), PersonalManifest):
        from models.embedded.encoder import EmbeddedEncoder

        if encoder is not None and not isinstance(encoder, EmbeddedEncoder):
            raise AdapterError(
                f"the adapter in {folder} stands behind Phosphene's own encoder, not behind "
                f"{encoder.spec.name}: leave out decoder.adapter, or choose that system."
            )
        return load_personal(folder, encoder=encoder)
    return load_adapter(folder)


def load_live(folder: Path, *, encoder: Encoder | None = None) -> OnlineAligned:
    """Read an adapter of either kind behind (frozen) online alignment, as sessions use it."""
    adapter = load_any(folder, encoder=encoder)
    if isinstance(adapter, AdapterEncoder):
        names = adapter.manifest.ch_names
        return OnlineAligned(adapter, ch_names=names, average=False)
    return OnlineAligned(adapter, ch_names=adapter.manifest.ch_names, reference=adapter.covariance)


def _check_hash(weights: bytes, expected: str, folder: Path) -> None:
    if hashlib.sha256(weights).hexdigest() != expected:
        raise AdapterError(
            f"{folder / WEIGHTS_NAME} is not the file that its manifest was written with (another "
            "SHA-256): it is truncated, damaged or mixed up, so restore it or calibrate again."
        )


def _hash(text: bytes, weights: bytes) -> str:
    return hashlib.sha256(text + weights).hexdigest()


def _read_pair(folder: Path) -> tuple[bytes, bytes]:
    """The manifest's text and the weights."""
    text = _read(folder / MANIFEST_NAME, MANIFEST_LIMIT)
    return text, _read(folder / WEIGHTS_NAME, WEIGHTS_LIMIT)


def _read(path: Path, limit: int) -> bytes:
    try:
        return read_bytes(path, limit=limit)
    except OSError as error:
        raise AdapterError(
            f"cannot read {path} ({error.strerror}), expected an adapter's folder with "
            f"{MANIFEST_NAME} and {WEIGHTS_NAME}."
        ) from error


def _parse_as(kind: type[_Manifest], text: bytes, path: Path) -> _Manifest:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise AdapterError(
            f"{path}: {where} is wrong ({first['msg']}), expected an adapter of schema version "
            f"{SCHEMA_VERSION}: calibrate again, or use the version that wrote it."
        ) from error


def _any_tensors(weights: bytes, path: Path) -> dict[str, NDArray[Any]]:
    try:
        arrays: dict[str, NDArray[Any]] = load(weights)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        # Not only its own error: a dtype that NumPy lacks is a KeyError.
        raise AdapterError(
            f"{path} is not a readable safetensors file ({error}): restore it or calibrate again."
        ) from error
    return arrays


def _tensors(weights: bytes, path: Path) -> dict[str, NDArray[Any]]:
    arrays = _any_tensors(weights, path)
    found = {name: array.dtype for name, array in arrays.items()}
    if found != {name: np.dtype(dtype) for name, dtype in _DTYPES.items()}:
        raise AdapterError(
            f"{path} holds {', '.join(sorted(found)) or 'nothing'}, expected "
            f"{', '.join(sorted(_DTYPES))} in their dtypes: restore it or calibrate again."
        )
    return arrays
