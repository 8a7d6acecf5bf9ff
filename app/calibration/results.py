"""What a calibration found, in plain values: for the window, for JSON, for the report.

Owns the layout of `calibration.json`'s result and the rule of what may be saved as good. Values
only: no torch, no arrays, nothing of `models`, so that it crosses processes and files.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What the numbers say."""

    FOUND = "found"
    NOTHING = "nothing found"
    LEAK = "leak"


@dataclass(frozen=True, slots=True)
class MethodScore:
    """One method's cross-validated accuracy; interval of 95 %; `chosen` marks the one picked."""

    name: str
    accuracy: float
    low: float
    high: float
    chance: float
    n: int
    p_value: float | None = None
    chosen: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class LeakCheck:
    """A decoder of what came before the stimuli; it must be at chance."""

    accuracy: float
    chance: float
    p_value: float
    is_leak: bool
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """The whole result page.

    Attributes
    ----------
    verdict : Verdict
    headline : str
        One sentence for a person.
    method, reason : str
        What was picked, and why.
    scores : tuple of MethodScore
        Every method that was tried.
    without : MethodScore or None
        The decoder of everybody (zero-shot) on the same epochs.
    comparison : str
        With the adapter against without, in one sentence.
    split : str
        How epochs were kept apart.
    permutation_p : float or None
        Of the picked method, by shuffling labels `n_permutations` times, the choice included.
    curve : tuple of (float, float)
        Minutes and accuracy.
    curve_sentence : str
        What more minutes would probably give.
    leak : LeakCheck or None
    losses : tuple of (float, float)
        Passes and loss of a trained method; empty for closed forms.
    n_epochs, n_classes, minutes
        What it was made of.
    seconds : float
        Time of the training.
    classes : tuple of str
        What accuracy alone does not say of plain classes, in sentences; empty for pictures.
    warnings : tuple of str
    """

    verdict: Verdict
    headline: str
    method: str
    reason: str
    scores: tuple[MethodScore, ...]
    without: MethodScore | None = None
    comparison: str = ""
    split: str = ""
    permutation_p: float | None = None
    n_permutations: int = 0
    curve: tuple[tuple[float, float], ...] = ()
    curve_sentence: str = ""
    leak: LeakCheck | None = None
    losses: tuple[tuple[float, float], ...] = ()
    by_concept: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Right and all epochs by concept, where the method says so."""
    n_epochs: int = 0
    n_classes: int = 0
    minutes: float = 0.0
    seconds: float = 0.0
    classes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def picked(self) -> MethodScore | None:
        """Score of the picked method."""
        return next((score for score in self.scores if score.chosen), None)

    @property
    def may_be_saved(self) -> bool:
        """Whether it is offered as an adapter: only what was found, and not by a leak."""
        return self.verdict is Verdict.FOUND

    def to_table(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)
