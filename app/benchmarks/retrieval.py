"""Retrieval at scale: the nearest of a million vectors by the index, beside the exact search.

Owns the made-up vectors and the measure. They are like image embeddings in that they lie in few
directions (96, falling off) with noise around; a query is one of them, turned to a cosine of 0.7
by noise of its own, as a decoder would. Times are single searches, interleaved with their peer;
what a search computes stands beside how long it took, since others may want the cores.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import AppError
from models.retrieval.making import make_store
from models.retrieval.store import VectorStore
from pipeline.values import Float32

N_VECTORS, WIDTH, N_QUERIES = 1_000_000, 768, 100
GOAL_MS, GOAL_RECALL = 10.0, 0.95
COSINE = 0.7
"""Between a query and the vector that it was made of."""
EXACT_EVERY = 50
"""Every so many queries are searched exactly too, for the time; the truth is one pass over all."""
_N_DIRECTIONS = 96
_NOISE = 0.3
_BLOCK = 50_000


def run_retrieval_bench(*, quick: bool = False, seed: int = 0) -> dict[str, Any]:
    """Make a store of a million vectors and search it; `quick`: of fifty thousand.

    Returns
    -------
    dict
        `rows` as every benchmark has them; sizes and times of making beside.
    """
    import faiss

    n = N_VECTORS // 20 if quick else N_VECTORS
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _measured(Path(folder), n, seed)
    finally:
        faiss.omp_set_num_threads(threads)


def _measured(folder: Path, n: int, seed: int) -> dict[str, Any]:
    table, queries, sources = _make_up(folder / "table.npy", n, seed)
    began = time.perf_counter()
    labels = [str(row) for row in range(n)]
    fast = make_store(table, labels, folder / "store", name="bench", space="made-up", indexed=True)
    made = time.perf_counter() - began
    slow = VectorStore(folder / "store", exact=True)
    fast.search(queries[0])
    times: dict[str, list[float]] = {"index": [], "exact": [], "cpu": []}
    truths = _nearest(table, queries)
    n_same = n_source = n_top10 = 0
    for number, (query, truth) in enumerate(zip(queries, truths, strict=True)):
        if number % EXACT_EVERY == 0:  # first, so that both find the vectors in memory
            began = time.perf_counter()
            exact = slow.search(query)
            times["exact"].append(1000 * (time.perf_counter() - began))
            n_agreeing = sum(hit.row == row for hit, row in zip(exact, truth, strict=True))
            if n_agreeing < len(truth) - 1:
                raise AppError(f"the exact search found {n_agreeing} of {len(truth)}: a fault.")
        began, worked = time.perf_counter(), time.process_time()
        found = fast.search(query)
        times["cpu"].append(1000 * (time.process_time() - worked))
        times["index"].append(1000 * (time.perf_counter() - began))
        n_same += found[0].row == truth[0]
        n_source += truth[0] == sources[number]
        n_top10 += len({hit.row for hit in found} & set(truth.tolist()))
    ours, peer = (float(np.median(times[name])) for name in ("index", "exact"))
    recall = n_same / len(queries)
    size = sum(path.stat().st_size for path in (folder / "store").iterdir())
    return {
        "vectors": n,
        "features": WIDTH,
        "queries": len(queries),
        "made_s": round(made, 1),
        "on_disk_mb": round(size / 1e6),
        "index_mb": round((folder / "store" / "index.faiss").stat().st_size / 1e6),
        "cpu_ms": round(float(np.median(times["cpu"])), 2),
        "p95_ms": round(float(np.percentile(times["index"], 95)), 2),
        "recall_at_10": round(n_top10 / (10 * len(queries)), 3),
        "exact_finds_the_source": n_source / len(queries),
        "rows": [
            {
                "what": f"one search among {n} vectors, ms (median; peer: exact)",
                "ours": round(ours, 2),
                "peer": round(peer, 1),
                "ratio": round(peer / ours, 1),
                "goal": f"at most {GOAL_MS:g} ms",
                "met": bool(ours <= GOAL_MS),
            },
            {
                "what": "recall at 1 (peer: exact)",
                "ours": recall,
                "peer": 1.0,
                "ratio": recall,
                "goal": f"at least {GOAL_RECALL:g}",
                "met": bool(recall >= GOAL_RECALL),
            },
        ],
    }


def _nearest(table: Any, queries: Float32) -> NDArray[np.int64]:
    """Rows of the ten nearest vectors of each query, (n_queries, 10), by comparing all with all."""
    best = np.zeros((len(queries), 0), dtype=np.int64)
    cosines = np.zeros((len(queries), 0), dtype=np.float32)
    for low in range(0, len(table), _BLOCK):
        part = queries @ table[low : low + _BLOCK].astype(np.float32).T
        rows = np.argpartition(-part, 10, axis=1)[:, :10]
        best = np.concatenate((best, rows + low), axis=1)
        cosines = np.concatenate((cosines, np.take_along_axis(part, rows, axis=1)), axis=1)
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :10]
        best = np.take_along_axis(best, order, axis=1)
        cosines = np.take_along_axis(cosines, order, axis=1)
    return best


def _make_up(path: Path, n: int, seed: int) -> tuple[Any, Float32, Any]:
    """A table on disk (n, WIDTH) float16, queries, and the row that each was made of."""
    rng = np.random.default_rng(seed)
    falls = np.arange(1, _N_DIRECTIONS + 1, dtype=np.float32)[:, np.newaxis] ** -0.5
    directions = rng.standard_normal((_N_DIRECTIONS, WIDTH), dtype=np.float32) * falls
    table = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(n, WIDTH))
    for low in range(0, n, _BLOCK):
        k = min(_BLOCK, n - low)
        block = rng.standard_normal((k, _N_DIRECTIONS), dtype=np.float32) @ directions
        block += _NOISE * rng.standard_normal((k, WIDTH), dtype=np.float32)
        table[low : low + k] = block / np.linalg.norm(block, axis=1, keepdims=True)
    sources = np.sort(rng.permutation(n)[:N_QUERIES])
    noise = rng.standard_normal((N_QUERIES, WIDTH), dtype=np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    beside = (1 - COSINE**2) ** 0.5
    queries: Float32 = COSINE * table[sources].astype(np.float32) + beside * noise
    return table, queries, sources
