"""A store of labelled vectors on disk: mapped, never read whole, searched exactly or by an index.

Owns the folder's layout, its checks, and the two ways of searching it. Knows nothing of sessions,
or of where the vectors came from. The folder:

`vectors.json` (what it is), `vectors.npy` (float16, unit rows), `labels.txt` (one a line) with
`labels.npy` (where each begins), and `index.faiss` where it has an index.

An index finds a few hundred candidates among all by coarse codes; they are then compared exactly
with the mapped vectors, so that what is said is the true cosine.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from configs.arrays import array_errors
from configs.guard import check_file, read_text
from models.weights import hash_file
from pipeline.errors import PhospheneError
from pipeline.extras import extras_named
from pipeline.values import Float32

FACTS, VECTORS, LABELS, OFFSETS, INDEX = (
    "vectors.json",
    "vectors.npy",
    "labels.txt",
    "labels.npy",
    "index.faiss",
)
N_CANDIDATES: Final = 200
"""Vectors that an index proposes, which are then compared exactly."""
LEAST_INDEXED: Final = 100_000
"""Fewer vectors are compared with all of them within a tenth of a second."""
EXACT_RATE: Final = 250e6
"""Numbers that an exact search compares in a second, about, on one core."""
_BLOCK: Final = 1 << 16
"""Rows that an exact search compares at a time."""
_LONGEST_LABEL: Final = 1024
_UNIT: Final = 1e-3
"""How far a row's length may be from 1: the numbers are of half precision."""
_N_LOOKED_AT: Final = 512
"""Rows whose length is measured when a large store is opened."""
_SMALL: Final = 1 << 26
"""Numbers of a store of which all rows are measured."""


class RetrievalError(PhospheneError):
    """A store cannot be made, read or searched."""


class StoreFacts(BaseModel):
    """What `vectors.json` says."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    schema_version: int = Field(default=1, ge=1, le=1)
    name: str = Field(max_length=64)
    space: str = Field(max_length=64)
    n_vectors: int = Field(ge=1)
    n_features: int = Field(ge=1, le=1_000_000)
    licence: str = ""
    index_sha256: str = ""
    """Of `index.faiss`; empty: there is none, every search is exact."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One vector that was found: its row, its label and the cosine."""

    row: int
    label: str
    cosine: float


def is_store(folder: Path) -> bool:
    """Whether a folder says that it is one."""
    return (folder / FACTS).is_file()


class VectorStore:
    """An open store; safe from any thread.

    Parameters
    ----------
    folder : Path
    exact : bool
        Compare with every vector; an index is not opened.

    Raises
    ------
    RetrievalError
        A file is missing, damaged, or does not fit the others; rows are not of unit length; or it
        has an index and faiss is not installed.
    """

    def __init__(self, folder: Path, *, exact: bool = False) -> None:
        self.folder = folder
        self.facts = _read_facts(folder)
        self.vectors = _mapped(folder / VECTORS)
        self._offsets = _mapped(folder / OFFSETS)
        shape = (self.facts.n_vectors, self.facts.n_features)
        if self.vectors.shape != shape or self.vectors.dtype != np.float16:
            raise RetrievalError(
                f"{folder / VECTORS} holds {self.vectors.dtype} of {self.vectors.shape}, "
                f"expected float16 of {shape} as {FACTS} says: make the store anew."
            )
        if self._offsets.shape != (shape[0] + 1,) or self._offsets.dtype != np.int64:
            raise RetrievalError(
                f"{folder / OFFSETS} does not number the {shape[0]} labels: make the store anew."
            )
        try:
            check_file(folder / LABELS)
            self._labels = np.memmap(folder / LABELS, dtype=np.uint8, mode="r")
        except (OSError, ValueError) as error:
            raise RetrievalError(f"{folder / LABELS} cannot be read ({error}).") from None
        self._check_labels()
        self._check_rows()
        self._lock = threading.Lock()
        has_index = bool(self.facts.index_sha256) and not exact
        self._index = _read_index(folder, self.facts) if has_index else None

    def __len__(self) -> int:
        return self.facts.n_vectors

    @property
    def is_exact(self) -> bool:
        """Whether a search compares with every vector."""
        return self._index is None

    @property
    def advice(self) -> str:
        """What to do about a store that is slow to search; empty: it is not."""
        if self._index is not None or len(self) < LEAST_INDEXED:
            return ""
        seconds = self.facts.n_vectors * self.facts.n_features / EXACT_RATE
        return (
            f"The store {self.folder} has {len(self)} vectors and no index: each search compares "
            f"all of them, {seconds:.1f} s on a core that is free. Make one with an index: "
            f"`phosphene gallery make {self.folder} --out DIR` (phosphene[retrieval])."
        )

    def misfit(self, *, space: str, n_features: int) -> str:
        """Why vectors of that space cannot be searched here; empty: they can, or are of another."""
        if space != self.facts.space or n_features == self.facts.n_features:
            return ""
        return (
            f"{self.folder} has vectors of {self.facts.n_features} numbers, expected the decoder's "
            f"{n_features} of the space {space}: name another store, or make this one anew with "
            "the --space that its vectors are of."
        )

    def search(self, vector: Float32, k: int = 10) -> tuple[Hit, ...]:
        """The `k` nearest vectors by cosine, best first.

        Parameters
        ----------
        vector : ndarray of n_features numbers
            Any length; its direction counts.

        Raises
        ------
        RetrievalError
            It has another count of numbers, or none that is finite; or a row that was found is not
            of unit length.
        """
        query = np.asarray(vector, dtype=np.float32).reshape(-1)
        if query.size != self.facts.n_features or not np.isfinite(query).all():
            raise RetrievalError(
                f"a vector of shape {np.shape(vector)} cannot be searched in {self.facts.name}, "
                f"expected {self.facts.n_features} finite numbers of the space {self.facts.space}."
            )
        query = query / max(float(np.linalg.norm(query)), 1e-12)
        k = min(k, len(self))
        with np.errstate(all="ignore"):  # what overflows is refused below
            search = self._all if self._index is None else self._proposed
            rows, cosines = search(query, k)
        self._check_lengths(rows)
        return tuple(
            Hit(int(row), self.label(int(row)), float(cosine))
            for row, cosine in zip(rows, np.clip(cosines, -1.0, 1.0), strict=True)
        )

    def label(self, row: int) -> str:
        """Label of a row."""
        start, stop = (int(each) for each in self._offsets[row : row + 2])
        return self._labels[start:stop].tobytes().decode("utf-8", "replace").rstrip("\n")

    def _check_labels(self) -> None:
        """Refuse an index of labels that does not cut the file into its lines."""
        size, longest = len(self._labels), 4 * _LONGEST_LABEL + 1
        is_right = self._offsets[0] == 0 and self._offsets[-1] == size
        for low in range(0, len(self) if is_right else 0, _BLOCK):
            bounds = np.asarray(self._offsets[low : low + _BLOCK + 1])
            # Within the file first (neither overflows then), so that what they name can be read.
            is_right = (
                bool(((bounds >= 0) & (bounds <= size)).all())
                and bool(((lengths := np.diff(bounds)) > 0).all())
                and int(lengths.max()) <= longest
                and bool((self._labels[bounds[1:] - 1] == ord("\n")).all())
            )
            if not is_right:
                break
        if not is_right:
            raise RetrievalError(
                f"{self.folder / OFFSETS} does not say where the lines of {LABELS} begin: make the "
                "store anew."
            )

    def _check_rows(self) -> None:
        """Refuse a store whose rows are not of unit length; of a large one, some are looked at."""
        n, width = self.vectors.shape
        if self.vectors.size <= _SMALL:
            step = max(1, (1 << 22) // width)
            for low in range(0, n, step):
                self._check_lengths(np.arange(low, min(low + step, n)))
            return
        for row in np.unique(np.linspace(0, n - 1, min(n, _N_LOOKED_AT)).astype(np.int64)):
            self._check_lengths(np.array([row]))

    def _check_lengths(self, rows: NDArray[np.int64]) -> None:
        with np.errstate(all="ignore"):
            lengths = np.linalg.norm(self.vectors[rows].astype(np.float32), axis=1)
        # Asked this way round, so that NaN is refused.
        wrong = np.flatnonzero(~(np.abs(lengths - 1) <= _UNIT))
        if len(wrong):
            raise RetrievalError(
                f"{self.folder / VECTORS} has a row {int(rows[wrong[0]])} of length "
                f"{lengths[wrong[0]]:.3g}, expected 1: it was changed or made by something else; "
                "make the store anew from its table."
            )

    def _all(self, query: Float32, k: int) -> tuple[NDArray[np.int64], Float32]:
        best = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        for low in range(0, len(self), _BLOCK):
            cosines = self.vectors[low : low + _BLOCK].astype(np.float32) @ query
            rows = np.argpartition(-cosines, min(k, len(cosines)) - 1)[:k]
            best = _merged(best, (rows + low, cosines[rows]), k)
        return best

    def _proposed(self, query: Float32, k: int) -> tuple[NDArray[np.int64], Float32]:
        n = max(k, N_CANDIDATES)
        with self._lock:
            found = self._index.search(query[np.newaxis], n)[1][0]  # type: ignore[union-attr]
        rows = np.sort(found[(found >= 0) & (found < len(self))])
        # Not by BLAS: its threads would wait for each other longer than this takes one of them.
        cosines = np.einsum("ij,j->i", self.vectors[rows].astype(np.float32), query)
        none = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        return _merged(none, (rows, cosines), k)


def _merged(
    one: tuple[NDArray[np.int64], Float32], two: tuple[NDArray[np.int64], Float32], k: int
) -> tuple[NDArray[np.int64], Float32]:
    """The `k` best of both; of equal ones the lower row first."""
    rows = np.concatenate((one[0], two[0]))
    cosines = np.concatenate((one[1], two[1]))
    order = np.lexsort((rows, -cosines))[:k]
    return rows[order], cosines[order]


def _read_facts(folder: Path) -> StoreFacts:
    try:
        return StoreFacts.model_validate(json.loads(read_text(folder / FACTS)))
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        said = str(error).splitlines()[0]
        raise RetrievalError(
            f"{folder} is no store of vectors ({said}), expected {FACTS}: make one with "
            "`phosphene gallery make TABLE --out DIR`."
        ) from None


def make_facts(
    *, name: str, space: str, n_vectors: int, n_features: int, licence: str
) -> StoreFacts:
    """Facts of a store without an index.

    Raises
    ------
    RetrievalError
        One is longer or larger than a store's can be, or no text.
    """
    try:
        return StoreFacts(
            name=name, space=space, n_vectors=n_vectors, n_features=n_features, licence=licence
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        option = "" if field.startswith("n_") else f": give another --{field}"
        raise RetrievalError(
            f"the store's {field} is {str(first['input'])[:100]!r}, expected otherwise "
            f"({first['msg']}){option}."
        ) from None


def _mapped(path: Path) -> NDArray[Any]:
    try:
        check_file(path)
        with array_errors():
            return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError) as error:
        raise RetrievalError(f"{path} is damaged ({error}): make the store anew.") from None


def _read_index(folder: Path, facts: StoreFacts) -> Any:
    """Read the index that this store was made with, and no other."""
    path = folder / INDEX
    try:
        digest = hash_file(path)
    except OSError as error:
        raise RetrievalError(f"{path} cannot be read ({error.strerror}): make it anew.") from None
    if digest != facts.index_sha256:
        raise RetrievalError(
            f"{path} has SHA-256 {digest[:12]}..., expected {facts.index_sha256[:12]}...: it was "
            "changed; make the store anew."
        )
    with extras_named("A store with an index"):
        import faiss
    try:
        index = faiss.read_index(str(path))
    except RuntimeError:
        raise RetrievalError(f"{path} is no index of faiss: make the store anew.") from None
    if index.d != facts.n_features or index.ntotal != facts.n_vectors:
        raise RetrievalError(
            f"{path} has {index.ntotal} vectors of {index.d} numbers, expected {facts.n_vectors} "
            f"of {facts.n_features}: make the store anew."
        )
    return index


def labels_below(labels: Sequence[str]) -> None:
    """Refuse labels that no line can hold.

    Raises
    ------
    RetrievalError
        One is empty, too long, or has a line end.
    """
    for number, label in enumerate(labels):
        is_text = not any("\ud800" <= c <= "\udfff" for c in label)
        one_line = not any(c in label for c in "\r\n\0")
        if not label or len(label) > _LONGEST_LABEL or not one_line or not is_text:
            raise RetrievalError(
                f"label {number} is {label[:60]!r}, expected 1 to {_LONGEST_LABEL} characters of "
                "text on one line."
            )
