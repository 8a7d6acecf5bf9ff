"""Makes a store of vectors out of a table: rows of unit length, labels, an index where it pays.

Owns the order of the work. Knows nothing of how an index is learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from configs.guard import check_file, read_text
from models.pictures import picture_encoder
from models.retrieval.indexing import write_index
from models.retrieval.store import (
    FACTS,
    INDEX,
    LABELS,
    LEAST_INDEXED,
    OFFSETS,
    VECTORS,
    RetrievalError,
    StoreFacts,
    VectorStore,
    labels_below,
)
from pipeline.gallery import pictures
from pipeline.gallery.making import SIDE

_BLOCK: Final = 1 << 15
_SHORTEST: Final = 1e-6
_PICTURES: Final = 64
"""Pictures that are read at a time."""
_LABELS_LIMIT: Final = 4 << 30
"""Largest file of labels, bytes."""


def read_table(path: Path) -> tuple[NDArray[Any], list[str]]:
    """Map a table of vectors (`.npy`) and read the labels beside it (`.txt`, one a line).

    Raises
    ------
    RetrievalError
        The table is none, or the labels are missing.
    """
    if path.suffix.lower() != ".npy":
        raise RetrievalError(
            f"{path} is neither a folder of pictures nor a table of vectors (.npy): save it with "
            "numpy.save as (n_vectors, n_features)."
        )
    labels = path.with_suffix(".txt")
    try:
        check_file(path)
        vectors = np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
        lines = read_text(labels, limit=_LABELS_LIMIT).splitlines()
    except (OSError, ValueError, EOFError) as error:
        raise RetrievalError(
            f"{path} cannot be read as a table of vectors ({error}), expected plain numbers "
            f"(n_vectors, n_features) and {labels.name} beside it with a label a line."
        ) from None
    return vectors, lines


def read_store(folder: Path) -> tuple[StoreFacts, NDArray[Any], list[str]]:
    """The facts, the vectors (mapped) and the labels of a store, to make another one of.

    Raises
    ------
    RetrievalError
        It is damaged.
    """
    store = VectorStore(folder, exact=True)
    lines = read_text(folder / LABELS, limit=_LABELS_LIMIT).split("\n")[:-1]
    return store.facts, store.vectors, lines


def picture_table(
    folder: Path, *, space: str, on_progress: Callable[[int, int], None]
) -> tuple[NDArray[Any], list[str]]:
    """Vectors in `space` of all pictures in a folder, and their paths below it.

    Raises
    ------
    PhospheneError
        A picture cannot be read, or nothing makes vectors of that space here.
    """
    encode = picture_encoder(space)
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in pictures.SUFFIXES and path.is_file() and not path.is_symlink()
    )
    if not files:
        raise RetrievalError(
            f"{folder} holds no picture ({', '.join(pictures.SUFFIXES)}): name another folder."
        )
    rows = []
    for low in range(0, len(files), _PICTURES):
        squares = [
            pictures.square(pictures.read_picture(path)).resize((SIDE, SIDE))
            for path in files[low : low + _PICTURES]
        ]
        rows.append(encode(np.stack([np.array(each, dtype=np.uint8) for each in squares])))
        on_progress(low + len(squares), len(files))
    return np.concatenate(rows), [path.relative_to(folder).as_posix() for path in files]


def make_store(
    vectors: NDArray[Any],
    labels: Sequence[str],
    out: Path,
    *,
    name: str,
    space: str,
    licence: str = "",
    indexed: bool | None = None,
    on_progress: Callable[[int, int], None] = lambda _n, _of: None,
) -> VectorStore:
    """Write a store into a new or empty folder, and open it.

    Parameters
    ----------
    vectors : ndarray, shape (n_vectors, ...)
        Finite numbers, no row of zeros; may be mapped. Each row is flattened and brought to unit
        length.
    labels : sequence of str
        One a row; need not differ.
    indexed : bool or None
        Whether to make an index (needs faiss); None: from `LEAST_INDEXED` vectors on, where faiss
        is installed.
    on_progress : callable
        Called with the rows that are done, of how many.

    Raises
    ------
    RetrievalError
        The folder is not empty, the labels are not one a row, or a row has no direction.
    """
    if vectors.ndim < 2 or not len(vectors) or vectors.dtype.kind not in "fiu":
        raise RetrievalError(
            f"the table has shape {vectors.shape} and type {vectors.dtype}, expected numbers "
            "(n_vectors, n_features)."
        )
    if len(labels) != len(vectors):
        raise RetrievalError(
            f"there are {len(labels)} labels for {len(vectors)} vectors, expected one a row."
        )
    labels_below(labels)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RetrievalError(f"{out} is not empty, expected a new or empty folder: name another.")
    out.mkdir(parents=True, exist_ok=True)
    n, width = len(vectors), int(np.prod(vectors.shape[1:]))
    rows = np.lib.format.open_memmap(out / VECTORS, mode="w+", dtype=np.float16, shape=(n, width))
    for low in range(0, n, _BLOCK):
        rows[low : low + _BLOCK] = _unit(vectors[low : low + _BLOCK], low)
        on_progress(min(low + _BLOCK, n), n)
    rows.flush()
    _write_labels(out, labels)
    wants = n >= LEAST_INDEXED and _has_faiss() if indexed is None else indexed
    digest = write_index(rows, out / INDEX) if wants else ""
    facts = StoreFacts(
        name=name, space=space, n_vectors=n, n_features=width, licence=licence, index_sha256=digest
    )
    (out / FACTS).write_text(facts.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return VectorStore(out)


def _unit(block: NDArray[Any], first: int) -> NDArray[np.float16]:
    values = np.asarray(block, dtype=np.float32).reshape(len(block), -1)
    lengths = np.linalg.norm(values, axis=1)
    bad = np.flatnonzero(~(lengths > _SHORTEST) | ~np.isfinite(lengths))
    if len(bad):
        raise RetrievalError(
            f"row {first + int(bad[0])} of the table has no direction (zeros, or values that are "
            "not finite): leave it out."
        )
    rows: NDArray[np.float16] = (values / lengths[:, np.newaxis]).astype(np.float16)
    return rows


def _write_labels(out: Path, labels: Iterable[str]) -> None:
    lines = [f"{label}\n".encode() for label in labels]
    offsets = np.concatenate(([0], np.cumsum([len(line) for line in lines], dtype=np.int64)))
    np.save(out / OFFSETS, offsets.astype(np.int64))
    (out / LABELS).write_bytes(b"".join(lines))


def _has_faiss() -> bool:
    from importlib.util import find_spec

    return find_spec("faiss") is not None
