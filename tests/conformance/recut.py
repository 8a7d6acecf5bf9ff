"""A source whose EEG comes in other pieces than it was sent in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.ports import Source
from pipeline.values import Packet, SourceItem, StreamInfo, StreamRole


class Recut:
    """Cuts each packet of EEG in up to three, at places that `seed` draws."""

    def __init__(self, source: Source, seed: int) -> None:
        self._source, self._rng = source, np.random.default_rng(seed)
        self.is_live = source.is_live

    @property
    def streams(self) -> Mapping[StreamRole, StreamInfo]:
        return self._source.streams

    def read(self, timeout: float) -> list[SourceItem]:
        return [piece for item in self._source.read(timeout) for piece in self._cut(item)]

    def _cut(self, item: SourceItem) -> Iterator[SourceItem]:
        if not isinstance(item, Packet) or item.role is not StreamRole.EEG:
            yield item
            return
        n = len(item.timestamps)
        cuts = sorted({0, n, *self._rng.integers(0, n + 1, 2).tolist()})
        for low, high in pairwise(cuts):
            part: Any = item.samples[low:high]
            yield replace(item, samples=part, timestamps=item.timestamps[low:high])

    def close(self) -> None:
        self._source.close()
