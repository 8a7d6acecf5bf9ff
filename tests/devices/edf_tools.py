"""Writes small EDF files: any labels, units and transducers, annotations, pauses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

TAL_BYTES = 120


def write_edf(
    path: Path,
    labels: Sequence[str],
    *,
    units: Sequence[str] = (),
    transducers: Sequence[str] = (),
    sfreq: int = 100,
    n_records: int = 10,
    starts: Sequence[float] | None = None,
    events: Sequence[tuple[float, str]] = (),
    scale: float = 200.0,
    digital: Mapping[int, np.ndarray] | None = None,
) -> np.ndarray:
    """Write one-second records of noise; return it as written, shape (n_channels, n_times).

    `starts` makes it EDF+D with records at these times; `events` makes it EDF+.
    `digital`: whole numbers of signals that are counts.
    """
    digital = digital or {}
    has_notes = starts is not None or bool(events) or not labels
    n_signals = len(labels) + has_notes
    units = units or ["uV"] * len(labels)
    transducers = transducers or [""] * len(labels)
    kind = "EDF+D" if starts is not None else "EDF+C" if has_notes else ""

    def column(size: int, cells: Sequence[object], note: object) -> str:
        return "".join(str(c)[:size].ljust(size) for c in [*cells, *([note] if has_notes else [])])

    n = len(labels)
    head = "0".ljust(8) + "X X X X".ljust(80) + "Startdate 01-JAN-2024 X X X".ljust(80)
    head += "01.01.2410.00.00" + str(256 * (n_signals + 1)).ljust(8) + kind.ljust(44)
    head += str(n_records).ljust(8) + "1".ljust(8) + str(n_signals).ljust(4)
    head += column(16, labels, "EDF Annotations") + column(80, transducers, "")
    head += column(8, units, "") + column(
        8, [-32768 if k in digital else -scale for k in range(n)], -1
    )
    head += column(8, [32767 if k in digital else scale for k in range(n)], 1)
    head += column(8, [-32768] * n, -32768) + column(8, [32767] * n, 32767)
    head += column(80, [""] * n, "") + column(8, [sfreq] * n, TAL_BYTES // 2) + " " * 32 * n_signals
    counts = np.random.default_rng(0).integers(-3000, 3000, (n, n_records * sfreq))
    for k, values in digital.items():
        counts[k] = values
    body = b""
    times = list(range(n_records)) if starts is None else list(starts)
    for k, start in enumerate(times):
        body += counts[:, k * sfreq : (k + 1) * sfreq].astype("<i2").tobytes()
        if has_notes:
            notes = f"+{start:g}\x14\x14\0"
            if k == 0:
                notes += "".join(f"+{onset:g}\x14{text}\x14\0" for onset, text in events)
            body += notes.encode().ljust(TAL_BYTES, b"\0")
    path.write_bytes(head.encode("latin-1") + body)
    return (counts + 32768) * (2 * scale / 65535) - scale
