"""Latency and ranks of a session so far.

Owns percentiles of stages and the list of ranks; knows nothing of where they come from.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from app.accuracy import INTERVAL, TEST, Accuracy, Identification
from app.port import StageTimes
from pipeline.values import Outcome

STAGES = tuple(StageTimes.__slots__)
N_RECENT = 200
"""Newest pictures whose times are shown while a session runs."""
PARTS = tuple(name for name in STAGES if name != "total_after_epoch")


class Latencies:
    """Stage times of the pictures so far: all of them for the summary, the last 200 for display."""

    def __init__(self, n_recent: int = N_RECENT) -> None:
        # Plain doubles: hours of pictures as tuples of floats would be megabytes.
        self._all = array("d")
        self._recent: deque[tuple[float, ...]] = deque(maxlen=n_recent)

    def add(self, stages: StageTimes) -> None:
        """Note one picture's stages."""
        row = tuple(float(getattr(stages, name)) for name in STAGES)
        self._all.extend(row)
        self._recent.append(row)

    def recent(self) -> dict[str, tuple[float, float]]:
        """p50 and p95 by stage over the last pictures, ms."""
        rows = list(self._recent)
        if not rows:
            return {}
        values = np.percentile(np.array(rows), [50, 95], axis=0)
        return {
            name: (float(values[0, i]), float(values[1, i]))
            for i, name in enumerate(STAGES)
            if name != "network" or values[1, i]
        }

    def summary(self) -> dict[str, Any]:
        """p50, p95, p99 by stage; whether the stages add up; in the summary's layout."""
        if not self._all:
            return {}
        rows = np.array(self._all).reshape(-1, len(STAGES))
        table: dict[str, Any] = {}
        for i, name in enumerate(STAGES):
            if name == "network" and not rows[:, i].any():
                continue  # this machine decoded every one
            p50, p95, p99 = (round(float(v), 3) for v in np.percentile(rows[:, i], [50, 95, 99]))
            table[name] = {"p50": p50, "p95": p95, "p99": p99, "n": len(rows)}
        return table

    def check(self) -> dict[str, float]:
        """Compare the sum of the stages with the measured total, picture by picture."""
        if not self._all:
            return {}
        rows = np.array(self._all).reshape(-1, len(STAGES))
        total = rows[:, STAGES.index("total_after_epoch")]
        parts = rows[:, [STAGES.index(name) for name in PARTS]].sum(axis=1)
        error = np.abs(parts - total) / np.maximum(np.abs(total), 1e-9)
        return {
            "sum_of_stages_p50": round(float(np.median(parts)), 3),
            "total_p50": round(float(np.median(total)), 3),
            "relative_error": round(float(error.max()), 6),
        }

    def compute_p50(self) -> float | None:
        """Median of encode + sample, ms."""
        if not self._all:
            return None
        rows = np.array(self._all).reshape(-1, len(STAGES))
        both = rows[:, STAGES.index("encode")] + rows[:, STAGES.index("sample")]
        return float(np.median(both))


def accuracy_of_events(lines: Iterable[Mapping[str, Any]]) -> Accuracy | None:
    """Identification by lines of `events.jsonl`, in their order; what cannot be counted is not."""
    found: Identification | None = None
    for line in lines:
        rank, chance, top = line.get("rank"), line.get("chance"), line.get("top")
        if line.get("learnt") or line.get("outcome") == Outcome.UNSURE:
            continue
        if not isinstance(rank, int) or not isinstance(chance, float) or not 0 < chance <= 1:
            continue
        found = found or Identification(round(1 / chance))
        if isinstance(top, list) and top and 1 <= rank <= found.n_candidates:
            found.add(str(line.get("class") or line.get("label")), str(top[0][0]), rank)
    return None if found is None else found.accuracy


def repetitions_of_events(lines: Iterable[Mapping[str, Any]]) -> Mapping[int, Accuracy]:
    """Identification by summed evidence, from lines of `events.jsonl`; see `app.repetitions`."""
    groups: dict[int, list[Mapping[str, Any]]] = {}
    for line in lines:
        given = line.get("repetitions")
        for part in given if isinstance(given, list) else ():
            if isinstance(part, Mapping) and isinstance(part.get("n"), int):
                label = line.get("class") or line.get("label")
                groups.setdefault(part["n"], []).append({**part, "label": label})
    found = {n: accuracy_of_events(parts) for n, parts in sorted(groups.items())}
    return {n: each for n, each in found.items() if each is not None}


def repetitions_table(found: Mapping[int, Accuracy]) -> list[dict[str, Any]]:
    """Accuracies of summed evidence in the summary's layout, `n` counting groups."""
    return [{"n_repetitions": n, **(accuracy_table(each) or {})} for n, each in found.items()]


def accuracy_table(value: Accuracy | None) -> Mapping[str, Any] | None:
    """`Accuracy` in the summary's layout."""
    if value is None:
        return None
    return {
        "n": value.n,
        "n_correct": value.n_correct,
        "n_top5": value.n_top5,
        "n_candidates": value.n_candidates,
        "chance": value.chance,
        "accuracy": value.n_correct / value.n,
        "low": value.low,
        "high": value.high,
        "interval": INTERVAL,
        "p_value": value.p_value,
        "test": TEST,
        "mean_rank": value.mean_rank,
    }
