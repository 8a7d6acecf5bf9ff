"""Reading XDF: our reader beside pyxdf, the same file, interleaved, equal arrays.

Owns the file (written by our own recorder's writer, chunks as a headset sends them) and the
comparison. pyxdf runs without its clock and jitter repairs, so that both do the same work.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from devices.files import open_recording
from devices.xdf import XdfFile, XdfWriter
from pipeline.values import StreamInfo


def run_xdf_bench(
    *,
    n_channels: int = 64,
    sfreq: float = 1000.0,
    minutes: float = 5.0,
    chunk_ms: float = 20.0,
    repeats: int = 5,
) -> dict[str, Any]:
    """Compare reading a whole file, and seek in it.

    Returns
    -------
    dict
        `rows` as every benchmark has them; sizes and counts beside.
    """
    import pyxdf

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.xdf"
        _write(path, n_channels, sfreq, minutes, max(1, round(chunk_ms * sfreq / 1000)))

        def peer() -> Any:
            return pyxdf.load_xdf(path, synchronize_clocks=False, dejitter_timestamps=False)[0][0]

        def ours() -> Any:
            with XdfFile(path) as file:
                return file.load()[1]

        logging.getLogger("pyxdf").setLevel(logging.ERROR)
        theirs, mine = peer(), ours()
        equal = bool(
            np.array_equal(mine.samples, theirs["time_series"])
            and np.array_equal(mine.timestamps, theirs["time_stamps"])
        )
        times = _interleave(ours, peer, repeats)
        seek = min(_seek_once(path, 60 * minutes * 0.9) for _ in range(3))
        size = path.stat().st_size
    best = [min(column) for column in times]
    return {
        "file_mb": round(size / 1e6, 1),
        "equal_arrays": equal,
        "median_s": [round(statistics.median(column), 4) for column in times],
        "rows": [
            {
                "what": f"read {n_channels} ch x {sfreq:g} Hz x {minutes:g} min, CPU s",
                "ours": round(best[0], 4),
                "peer": round(best[1], 4),
                "ratio": round(best[1] / best[0], 2),
                "goal": ">= 3",
                "met": equal and best[1] / best[0] >= 3,
            },
            {
                "what": "open and seek to 90 %, first samples, s",
                "ours": round(seek, 4),
                "peer": None,
                "ratio": None,
                "goal": "<= 0.2",
                "met": seek <= 0.2,
            },
        ],
    }


def _write(path: Path, n_channels: int, sfreq: float, minutes: float, per_chunk: int) -> None:
    rng = np.random.default_rng(0)
    block = rng.standard_normal((per_chunk, n_channels)).astype(np.float32)
    info = StreamInfo("bench", "EEG", "bench", n_channels, sfreq, "float32")
    with XdfWriter(path) as writer:
        writer.add_stream(1, info)
        for first in range(0, int(60 * minutes * sfreq), per_chunk):
            stamps = 1000.0 + np.arange(first, first + per_chunk) / sfreq
            writer.write_samples(1, block + np.float32(first), stamps)
            if writer.bytes_pending > 1 << 20:
                writer.flush()


def _interleave(
    ours: Callable[[], Any], peer: Callable[[], Any], repeats: int
) -> tuple[list[float], list[float]]:
    """CPU seconds of both, one after the other in turn, so that a busy machine is fair to both."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for column, call in zip(times, (ours, peer), strict=True):
            began = time.process_time()
            call()
            column.append(time.process_time() - began)
    return times


def _seek_once(path: Path, t: float) -> float:
    began = time.perf_counter()
    recording = open_recording(path)
    next(recording.blocks(start=t))
    elapsed = time.perf_counter() - began
    recording.close()
    return elapsed
