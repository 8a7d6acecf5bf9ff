"""What a check of the auditor found, in one line with its evidence.

Owns the value and the level at which a statistical check speaks of a leak. Knows no check.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

ALPHA = 0.001
"""Level of each statistical check: a warning in red must be rare where nothing leaks."""
N_PERMUTATIONS = 2000


class Verdict(StrEnum):
    """How a check ended."""

    LEAK = "leak"
    CLEAN = "clean"
    NOTE = "note"
    """No leak, but it bounds what the figures may be said to show."""
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes
    ----------
    name : str
        Such as `before onset`.
    verdict : Verdict
    evidence : str
        What was measured, or why nothing could be.
    p_value : float or None
        Of a permutation test; None for a check that counts.
    figures : mapping of str to float
    """

    name: str
    verdict: Verdict
    evidence: str
    p_value: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_leak(self) -> bool:
        """Whether it found a leak."""
        return self.verdict is Verdict.LEAK


def missing(name: str, why: str) -> Check:
    """Return the check that could not be made."""
    return Check(name, Verdict.NOT_CHECKED, why)


def judged(p_value: float) -> Verdict:
    """Return leak or clean by a p-value."""
    return Verdict.LEAK if p_value < ALPHA else Verdict.CLEAN
