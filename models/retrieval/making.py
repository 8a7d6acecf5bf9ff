"""Makes a store of vectors out of a table: rows of unit length, labels, an index where it pays.

Owns the order of the work. Knows nothing of how an index is learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from configs.arrays import array_errors
from configs.guard import check_file, read_text
from configs.plain import plain
from models.pictures import WIDTHS, picture_encoder
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
    make_facts,
)
from pipeline.gallery import pictures
from pipeline.gallery.making import SIDE, made_whole

_BLOCK: Final = 1 << 24
"""Numbers that are brought to unit length at a time."""
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
        with array_errors():
            vectors = np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
        # Not splitlines(): a label may hold U+2028 and others that end a line there.
        lines = read_text(labels, limit=_LABELS_LIMIT).removesuffix("\n").split("\n")
    except (OSError, ValueError) as error:
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
    # A name may hold what no line and no text can.
    labels = [plain(path.relative_to(folder).as_posix(), limit=None) for path in files]
    labels_below(labels)
    rows = []
    for low in range(0, len(files), _PICTURES):
        squares = [
            pictures.square(pictures.read_picture(path)).resize((SIDE, SIDE))
            for path in files[low : low + _PICTURES]
        ]
        rows.append(encode(np.stack([np.array(each, dtype=np.uint8) for each in squares])))
        on_progress(low + len(squares), len(files))
    return np.concatenate(rows), labels


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
        The folder is not empty, the labels are not one a row, a row has no direction, or the width
        is not the space's; nothing is left in the folder then.
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
    n, width = len(vectors), int(np.prod(vectors.shape[1:]))
    if WIDTHS.get(space, width) != width:
        raise RetrievalError(
            f"the table has {width} numbers a row, expected {WIDTHS[space]} of the space {space}: "
            "give --space NAME of the space that its vectors are of."
        )
    facts = make_facts(name=name, space=space, n_vectors=n, n_features=width, licence=licence)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RetrievalError(f"{out} is not empty, expected a new or empty folder: name another.")
    wants = n >= LEAST_INDEXED and _has_faiss() if indexed is None else indexed
    with made_whole(out) as partial:
        rows = _write_rows(vectors, partial / VECTORS, (n, width), on_progress)
        _write_labels(partial, labels)
        if wants:
            digest = write_index(rows, partial / INDEX)
            facts = facts.model_copy(update={"index_sha256": digest})
        del rows  # what is mapped cannot be renamed everywhere
        (partial / FACTS).write_text(facts.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return VectorStore(out)


def _write_rows(
    vectors: NDArray[Any], path: Path, shape: tuple[int, int], say: Callable[[int, int], None]
) -> NDArray[np.float16]:
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    n, step = shape[0], max(1, _BLOCK // shape[1])
    for low in range(0, n, step):
        rows[low : low + step] = _unit(vectors[low : low + step], low)
        say(min(low + step, n), n)
    rows.flush()
    return rows


def _unit(block: NDArray[Any], first: int) -> NDArray[np.float16]:
    with np.errstate(all="ignore"):  # what overflows is refused below
        values = np.asarray(block, dtype=np.float64).reshape(len(block), -1)
    largest = np.abs(values).max(axis=1)
    bad = np.flatnonzero(~(largest > 0) | ~np.isfinite(largest))
    if len(bad):
        why = "zeros only" if largest[bad[0]] == 0 else "values that are not finite"
        raise RetrievalError(
            f"row {first + int(bad[0])} of the table has no direction ({why}): leave it out."
        )
    # By the largest first: neither a square of 1e300 nor one of 1e-300 is a number.
    values = values / largest[:, np.newaxis]
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    rows: NDArray[np.float16] = values.astype(np.float16)
    return rows


def _write_labels(out: Path, labels: Iterable[str]) -> None:
    lines = [f"{label}\n".encode() for label in labels]
    offsets = np.concatenate(([0], np.cumsum([len(line) for line in lines], dtype=np.int64)))
    np.save(out / OFFSETS, offsets.astype(np.int64))
    (out / LABELS).write_bytes(b"".join(lines))


def _has_faiss() -> bool:
    from importlib.util import find_spec

    return find_spec("faiss") is not None
