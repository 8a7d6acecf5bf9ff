"""How long pictures take here: a plain value, measured before a session and told to everybody.

Owns the arithmetic. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """What one picture takes on this machine, s, measured on noise.

    Attributes
    ----------
    encode : float
        To embed an epoch.
    n_steps : int
        Steps that are counted, of the longest run of steps; 0: the sampler does not show any.
    step : float
        One of them.
    rest : float
        All else of a picture: to condition and to decode it.
    run : int
        Which of a picture's runs of steps is the one that is counted.
    n_runs : int
        Runs of steps that a picture has.
    """

    encode: float
    n_steps: int
    step: float
    rest: float
    run: int = 0
    n_runs: int = 1

    @property
    def picture(self) -> float:
        """From an epoch to its picture."""
        return self.encode + self.n_steps * self.step + self.rest

    @property
    def longest(self) -> float:
        """Longest time without a sign of life."""
        return max(self.encode, self.step, self.rest)

    def steps_within(self, seconds: float) -> int:
        """How many steps a picture may have to take no longer than `seconds`; below 1: none."""
        if self.n_steps == 0:
            return 0
        return int((seconds - self.encode - self.rest) // self.step)
