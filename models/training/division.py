"""How a step's items are divided among processes, and in each among parts.

Owns the counts; a run that continues with another number of processes divides the same steps anew.
Knows nothing of data or devices.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.training.draws import Draws, Indices
from models.training.errors import TrainingError

DIVIDES = ("batch_size", "gradient_accumulation_steps")
"""Settings of a loop that say how a step is divided: what is trained does not depend on them."""


@dataclass(frozen=True, slots=True)
class Division:
    """A step of `n_items`, in `n_parts` for each process, whose gradients add up."""

    n_items: int
    rank: int
    n_processes: int
    n_parts: int

    @classmethod
    def fit(cls, n_items: int, *, rank: int, n_processes: int, at_most: int) -> Division:
        """Divide into the fewest parts of at most `at_most` items a process.

        Raises
        ------
        TrainingError
            The processes cannot have equal shares.
        """
        share, rest = divmod(n_items, n_processes)
        if rest:
            fitting = [str(n) for n in range(1, n_items + 1) if n_items % n == 0]
            raise TrainingError(
                f"the steps of this run have {n_items} items, of which {n_processes} processes "
                f"cannot have equal shares: start {_listed(fitting)}."
            )
        n_parts = next(n for n in range(1, share + 1) if share % n == 0 and share // n <= at_most)
        return cls(n_items, rank, n_processes, n_parts)

    @property
    def size(self) -> int:
        """Items of a process in a part."""
        return self.n_items // (self.n_parts * self.n_processes)

    def draws(self, items: Indices, seed: int, *, part: int) -> Draws:
        """Return this process's draws of a part; `seed` is the step's."""
        start = (part * self.n_processes + self.rank) * self.size
        whole = Draws.of(items, seed)
        return Draws(whole.generator, items, self.n_parts, part, start, start + self.size)

    def __str__(self) -> str:
        made = f"{self.n_processes} process{'es' * (self.n_processes > 1)} of {self.size}"
        return made if self.n_parts == 1 else f"{made}, {self.n_parts} parts each"


def _listed(numbers: list[str]) -> str:
    return numbers[0] if len(numbers) == 1 else f"{', '.join(numbers[:-1])} or {numbers[-1]}"
