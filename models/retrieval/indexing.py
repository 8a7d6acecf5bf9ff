"""Learns an index of vectors: lists of rows that lie together, and coarse codes of each row.

Owns its settings, which were chosen by measurement (`phosphene bench retrieval`, docs/fmri.md), and
the choice of how many lists a search scans. Knows nothing of the store's other files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.retrieval.store import N_CANDIDATES
from models.weights import hash_file
from pipeline.extras import extras_named
from pipeline.values import Float32

CODE_WIDTH: Final = 8
"""Numbers of a vector that one 4-bit code stands for."""
N_TRAINING: Final = 40_000
"""Rows that lists and codes are learnt from."""
ROWS_A_LIST: Final = 39
"""Rows that the middle of a list is learnt from at least: fewer, and faiss warns."""
LEAST_SHARE: Final = 32
"""A search scans one of so many lists at least: the nearest row needs fewer, the ten do not."""
N_TRIALS: Final = 200
COSINE: Final = 0.7
"""Between a row and the query made of it, of those that choose how many lists are scanned."""
AS_GOOD: Final = 0.99
"""So many of the rows that a scan of all lists proposes have to be proposed."""
_BLOCK: Final = 1 << 15


def write_index(rows: NDArray[np.float16], path: Path) -> str:
    """Learn an index of unit rows and write it.

    Scanning the codes of a million rows takes some 6 ms of computing, and the tenfold where others
    want the core as well; of a thirty-second part of the lists, half a millisecond.

    Returns
    -------
    str
        The file's SHA-256.
    """
    with extras_named("An index of vectors"):
        import faiss
    n, width = rows.shape
    n_codes = max(1, width // CODE_WIDTH)
    while width % n_codes:
        n_codes -= 1
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(n)[: min(n, N_TRAINING)])
    most = max(1, len(chosen) // ROWS_A_LIST)
    n_lists = 1 << int(np.log2(min(most, max(1.0, n**0.5 * 1.05))))
    lists = faiss.IndexFlatIP(width)
    index = faiss.IndexIVFPQFastScan(lists, width, n_lists, n_codes, 4, faiss.METRIC_INNER_PRODUCT)
    for clustering in (index.cp, index.pq.cp):
        clustering.niter = 8
        clustering.seed = 1234
    index.train(rows[chosen].astype(np.float32))
    for low in range(0, n, _BLOCK):
        index.add(rows[low : low + _BLOCK].astype(np.float32))
    index.nprobe = _n_scanned(index, rows, rng)
    faiss.write_index(index, str(path))
    return hash_file(path)


def _n_scanned(index: Any, rows: NDArray[np.float16], rng: np.random.Generator) -> int:
    """The fewest lists that find as many rows again as all lists do; doubled from the least on."""
    sources = np.sort(rng.permutation(len(rows))[:N_TRIALS])
    noise = rng.standard_normal((len(sources), rows.shape[1]), dtype=np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    queries: Float32 = COSINE * rows[sources].astype(np.float32) + (1 - COSINE**2) ** 0.5 * noise
    k = min(N_CANDIDATES, len(rows))

    def n_found(n_lists: int) -> int:
        index.nprobe = n_lists
        proposed = index.search(queries, k)[1]
        return int((proposed == sources[:, np.newaxis]).any(axis=1).sum())

    n_lists = int(index.nlist)  # a power of two
    enough = AS_GOOD * n_found(n_lists)
    scanned = max(1, n_lists // LEAST_SHARE)
    while scanned < n_lists and n_found(scanned) < enough:
        scanned *= 2
    return scanned
