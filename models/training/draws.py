"""What chance decides in one training step: drawn for the whole step, handed out by rows.

A step's items are divided among processes and, within each, among parts whose gradients add up.
Everything here is drawn for all of them in one order, so that a step is the same however it is
divided: a pure function of (seed, step). Knows nothing of what the numbers are for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Indices = NDArray[np.int64]
_Drawn = TypeVar("_Drawn")

DRAWN_WHOLE = 2**21
"""Numbers of one kind that a step draws in one go (15 ms); of more, each row has a seed of its
own, and a process draws its rows alone."""
ITEMS_WHOLE = 1024
"""Items that `Draws.each` calls for in turn (10 us each); of more, likewise."""


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """The draws of one part of a step in one process.

    Attributes
    ----------
    generator : torch.Generator
        Of the whole step; every draw moves it on, by as much in every part and process.
    items : ndarray, shape (n_items,), int64
        Indices of the step's items: part by part, and in each process by process.
    n_parts : int
        Parts that the step is divided into.
    part : int
        This one.
    start, stop : int
        Rows of `items` that this process has of it.
    """

    generator: torch.Generator
    items: Indices
    n_parts: int
    part: int
    start: int
    stop: int

    @classmethod
    def of(cls, items: Indices, seed: int) -> Draws:
        """The draws of a step that is not divided."""
        generator = torch.Generator().manual_seed(seed)
        return cls(generator, items, n_parts=1, part=0, start=0, stop=len(items))

    @property
    def indices(self) -> Indices:
        """Indices of the items of this part in this process, (n,)."""
        return self.items[self.start : self.stop]

    def rand(self, *shape: int) -> Tensor:
        """Draw from 0..1 for each item, (n, *shape) float32."""
        return self._rows(torch.rand, shape)

    def randn(self, *shape: int) -> Tensor:
        """Draw from the normal distribution for each item, (n, *shape) float32."""
        return self._rows(torch.randn, shape)

    def randint(self, high: int) -> Tensor:
        """Draw from 0..high-1 for each item, (n,) int64."""
        drawn = torch.randint(0, high, (len(self.items),), generator=self.generator)
        return drawn[self.start : self.stop]

    def one_rand(self) -> Tensor:
        """Draw from 0..1 for all items together, () float32."""
        return torch.rand((), generator=self.generator)

    def one_randint(self, high: int) -> int:
        """Draw from 0..high-1 for all items together."""
        return int(torch.randint(0, high, (), generator=self.generator))

    def seed(self) -> Tensor:
        """Seed of what a module draws by itself (dropout), () int64; another for other rows."""
        return torch.tensor(self.one_randint(2**62) + self.start)

    def each(self, draw: Callable[[int, torch.Generator], _Drawn]) -> list[_Drawn]:
        """Call `draw` with each item's index and a generator; return what is this process's."""
        if len(self.items) <= ITEMS_WHOLE:
            drawn = [draw(int(index), self.generator) for index in self.items]
            return drawn[self.start : self.stop]
        own = zip(self.indices, self._generators(), strict=True)
        return [draw(int(index), generator) for index, generator in own]

    def for_step(self, draw: Callable[[int, torch.Generator], _Drawn]) -> _Drawn:
        """Call `draw` with the step's count of items; the same in every part and process."""
        return draw(len(self.items), self.generator)

    def _rows(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        n = len(self.items)
        if n * math.prod(shape) <= DRAWN_WHOLE:
            return draw((n, *shape), generator=self.generator)[self.start : self.stop]
        return torch.stack([draw(shape, generator=each) for each in self._generators()])

    def _generators(self) -> Iterator[torch.Generator]:
        """One for each row of this process."""
        first = self.one_randint(2**62)
        return (torch.Generator().manual_seed(first + n) for n in range(self.start, self.stop))
