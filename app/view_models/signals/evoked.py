"""Averaged responses by category of stimulus, built up epoch by epoch.

Owns the running sums. Knows nothing of Qt; whoever makes it says which category a label is of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from app.port import Result
from pipeline.values import Float32, Float64, Outcome

MAX_CATEGORIES = 6
"""The commonest are shown: more lines are not told apart."""
PREFERRED = ("PO8", "P8", "PO7", "P7", "Oz", "O2", "O1")
"""Channels over the visual cortex, the first that exists is shown."""


@dataclass(frozen=True, slots=True, eq=False)
class Evoked:
    """One category's average, (n_channels, n_times) microvolts, of `n` epochs."""

    category: str
    n: int
    average: Float64


class EvokedModel:
    """Averages of the epochs behind the pictures."""

    def __init__(self, category_of: Callable[[str], str]) -> None:
        self._category_of = category_of
        self._sums: dict[str, Float64] = {}
        self._counts: dict[str, int] = {}
        self._shape: tuple[int, ...] = ()
        self.ch_names: tuple[str, ...] = ()
        self.channel = 0
        self.revision = 0

    def reset(self, ch_names: Sequence[str] = ()) -> None:
        """Begin anew with these channels."""
        self._sums.clear()
        self._counts.clear()
        self._shape = ()
        self.ch_names = tuple(ch_names)
        wanted = [self.ch_names.index(name) for name in PREFERRED if name in self.ch_names]
        self.channel = wanted[0] if wanted else 0
        self.revision += 1

    def choose(self, channel: int) -> None:
        """Show channel number `channel`."""
        if 0 <= channel < len(self.ch_names):
            self.channel = channel
            self.revision += 1

    def extend(self, results: Sequence[Result]) -> bool:
        """Add the epochs of `results` that were decoded; return whether there were any."""
        added = False
        for result in results:
            data = result.epoch_data
            if result.outcome is not Outcome.DECODED or data is None:
                continue
            data = self._placed(data, result.epoch_channels)
            if not self._shape:
                self._shape = data.shape
            if data.shape != self._shape:
                continue
            category = self._category_of(result.label)
            total = self._sums.get(category)
            self._sums[category] = data.astype(np.float64) if total is None else total + data
            self._counts[category] = self._counts.get(category, 0) + 1
            added = True
        self.revision += added
        return added

    def _placed(self, data: Float32, names: tuple[str, ...]) -> Float32:
        """Rows in the order of all channels; one that was left out of the epoch has no values."""
        if not names or names == self.ch_names or not set(names) <= set(self.ch_names):
            return data
        whole: Float32 = np.full((len(self.ch_names), data.shape[1]), np.nan, dtype=np.float32)
        whole[[self.ch_names.index(name) for name in names]] = data
        return whole

    @property
    def evoked(self) -> list[Evoked]:
        """Averages of the commonest categories, the commonest first."""
        order = sorted(self._counts, key=lambda name: (-self._counts[name], name))
        return [
            Evoked(name, self._counts[name], self._sums[name] / self._counts[name])
            for name in order[:MAX_CATEGORIES]
        ]

    @property
    def n_epochs(self) -> int:
        """Epochs averaged, of all categories."""
        return sum(self._counts.values())

    @property
    def n_categories(self) -> int:
        """Categories seen."""
        return len(self._counts)
