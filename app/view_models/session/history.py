"""The pictures of a session, newest last: what the strip shows and a click opens.

Owns a bounded list of results and the one that is looked at. Knows nothing of Qt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.port import Result
from pipeline.values import Outcome

MAX_RESULTS = 500
MAX_EPOCHS = 64
"""Only the newest keep their epoch: 64 channels at 1 kHz are a quarter of a megabyte each."""


class HistoryModel:
    """Results in order of completion."""

    def __init__(self, *, max_results: int = MAX_RESULTS, max_epochs: int = MAX_EPOCHS) -> None:
        self._max_results = max_results
        self._max_epochs = max_epochs
        self._results: list[Result] = []
        self._taken = 0
        self.revision = 0
        self.selected: int | None = None
        """Index (the marker's) of the result that is looked at."""

    def __len__(self) -> int:
        """Count of results that are kept."""
        return len(self._results)

    @property
    def taken(self) -> int:
        """Running count of results seen, those that were dropped included."""
        return self._taken

    @property
    def results(self) -> Sequence[Result]:
        """All that are kept, oldest first."""
        return self._results

    @property
    def pictures(self) -> list[Result]:
        """Those that led to a picture, oldest first."""
        return [result for result in self._results if result.outcome is Outcome.DECODED]

    @property
    def latest(self) -> Result | None:
        """The newest picture."""
        for result in reversed(self._results):
            if result.outcome is Outcome.DECODED:
                return result
        return None

    def clear(self) -> None:
        """Begin anew."""
        self._results.clear()
        self._taken = 0
        self.selected = None
        self.revision += 1

    def extend(self, results: Sequence[Result]) -> bool:
        """Add new results; return whether there were any."""
        if not results:
            return False
        self._results.extend(results)
        self._taken += len(results)
        del self._results[: -self._max_results]
        for at in range(len(self._results) - self._max_epochs):
            if self._results[at].epoch_data is not None:
                self._results[at] = replace(self._results[at], epoch_data=None)
        self.revision += 1
        return True

    def find(self, index: int) -> Result | None:
        """Return the result of marker `index`, None when it is not kept."""
        for result in reversed(self._results):
            if result.index == index:
                return result
        return None

    def neighbour(self, index: int, step: int) -> Result | None:
        """Return the picture `step` places after (before: negative) the one of `index`."""
        pictures = self.pictures
        for at, result in enumerate(pictures):
            if result.index == index and 0 <= at + step < len(pictures):
                return pictures[at + step]
        return None
