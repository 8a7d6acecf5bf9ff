"""The session's books: every marker, its one outcome, ranks and latencies.

Owns the counts that must add up; written by the acquisition and the decoder thread, read by any.
Knows nothing of streams, files or processes.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.accuracy import Accuracy, Identification
from app.class_scores import ClassScores
from app.port import Result, TraceMarker
from app.runtime.statistics import Latencies
from pipeline.values import Marker, Outcome

N_KEPT_EPOCHS = 64
"""Recent results that keep their epoch and picture in memory for the window."""
N_KEPT_WHOLE = 1000
"""Recent results that keep all the rest; of older ones `events.jsonl` knows more than memory."""


class Ledger:
    """Markers in, results in, consistent views out."""

    def __init__(self, n_candidates: int) -> None:
        self._lock = threading.Lock()
        self._markers: list[TraceMarker] = []
        self._results: list[Result] = []
        self._heavy: deque[int] = deque()
        self._whole: deque[int] = deque()
        self._outcomes: Counter[str] = Counter()
        self._n_pictures = n_candidates
        self._identification = Identification(n_candidates)
        self._accuracy: Accuracy | None = None
        self._groups: dict[int, Identification] = {}
        self._repetitions: dict[int, Accuracy] = {}
        self._classes = ClassScores(())
        self._n_learnt = 0
        self.latencies = Latencies()

    def add_marker(self, marker: Marker) -> None:
        """Note a marker that arrived."""
        with self._lock:
            self._markers.append(TraceMarker(marker.index, marker.t_onset, marker.label))

    def conclude(self, result: Result) -> None:
        """Note a marker's end; old results let go of their picture and epoch."""
        with self._lock:
            self._outcomes[str(result.outcome)] += 1
            self._results.append(result)
            self._heavy.append(len(self._results) - 1)
            self._whole.append(len(self._results) - 1)
            if len(self._heavy) > N_KEPT_EPOCHS:
                old = self._heavy.popleft()
                self._results[old] = replace(
                    self._results[old], pixels=None, epoch_data=None, control_pixels=None
                )
            if len(self._whole) > N_KEPT_WHOLE:
                old = self._whole.popleft()
                self._results[old] = _outcome_of(self._results[old])
            self._n_learnt += result.learnt
            if result.rank is not None and not result.learnt:
                self._score(result, result.rank)
            if result.stages is not None:
                self.latencies.add(result.stages)

    def _score(self, result: Result, rank: int) -> None:
        """Count an answer; among other candidates than before, the count begins anew."""
        names = tuple(sorted(name for name, _ in result.classes))
        n = len(names) or self._n_pictures
        if n != self._identification.n_candidates or names != self._classes.classes:
            self._identification, self._classes = Identification(n), ClassScores(names)
            self._groups, self._repetitions = {}, {}
        self._identification.add(result.truth or result.label, result.top[0][0], rank)
        self._accuracy = None
        for each in result.summed:
            count = self._groups.setdefault(each.n, Identification(each.n_candidates))
            count.add(result.truth or result.label, each.top[0][0], each.rank)
            if (found := count.accuracy) is not None:
                self._repetitions = self._repetitions | {each.n: found}
        if names:
            self._classes.add(result.truth, dict(result.classes))

    @property
    def n_learnt(self) -> int:
        """Epochs that the decoder was fitted to: decoded, and counted in no score."""
        with self._lock:
            return self._n_learnt

    def class_scores(self) -> dict[str, Any]:
        """Scores of the classes, in the summary's layout; empty where none are decoded."""
        with self._lock:
            return self._classes.table()

    @property
    def n_markers(self) -> int:
        """Markers that arrived."""
        with self._lock:
            return len(self._markers)

    @property
    def n_concluded(self) -> int:
        """Markers that have ended."""
        with self._lock:
            return sum(self._outcomes.values())

    @property
    def last_onset(self) -> float | None:
        """Onset of the newest marker, s; None before the first."""
        with self._lock:
            return self._markers[-1].t_onset if self._markers else None

    def outcomes(self) -> Mapping[str, int]:
        """Counts by outcome, in the outcomes' order of name."""
        with self._lock:
            return dict(sorted(self._outcomes.items()))

    def shared_failure(self) -> str:
        """Why every epoch of the decoder failed, by the most frequent reason; "": one did not."""
        with self._lock:
            tried = [r for r in self._results if r.outcome in (Outcome.DECODED, Outcome.FAILED)]
        if not tried or any(r.outcome is Outcome.DECODED for r in tried):
            return ""
        reason, n = Counter(r.reason for r in tried).most_common(1)[0]
        often = "" if n == len(tried) else f" (so {n} of {len(tried)}; the others in events.jsonl)"
        return reason.removeprefix("InfoError: ") + often

    def accuracy(self) -> Accuracy | None:
        """Identification so far; worked out once for each new rank, not at every look."""
        with self._lock:
            if self._accuracy is None:
                self._accuracy = self._identification.accuracy
            return self._accuracy

    def repetitions(self) -> Mapping[int, Accuracy]:
        """Identification by summed evidence, by the number of repetitions in a group."""
        with self._lock:
            return self._repetitions

    def recent_stages(self) -> Mapping[str, tuple[float, float]]:
        """p50 and p95 by stage over the last pictures, ms."""
        with self._lock:
            return self.latencies.recent()

    def markers_since(self, index: int) -> Sequence[TraceMarker]:
        """Markers from `index` on, as they arrived."""
        with self._lock:
            return tuple(self._markers[index:])

    def results_since(self, count: int) -> Sequence[Result]:
        """Results in order of completion from the `count`-th on."""
        with self._lock:
            return tuple(self._results[count:])


def _outcome_of(result: Result) -> Result:
    """Return what a long session can afford to keep of a result for good."""
    return Result(
        result.index,
        result.t_onset,
        sys.intern(result.label),
        result.outcome,
        reason=sys.intern(result.reason),
        chance=result.chance,
        rank=result.rank,
        learnt=result.learnt,
    )
