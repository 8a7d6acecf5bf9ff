"""Where a calibration stands, and what may follow; what a watcher sees of it.

Owns the transition table and the frozen view. Pure.

    OPENING -> CHECK -> CHOOSE -> COLLECT -> TRAIN -> RESULT -> SAVED | DISCARDED
    READING -> (CLASSES) ------------------>   |
                                           CANCELLED -> TRAIN (again)

Any step that is not an end may fail or be given up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from app.calibration.collection import Counts
from app.calibration.results import CalibrationResult
from app.calibration.schedule import Choices
from app.calibration.signal_check import SignalCheck


class Step(StrEnum):
    """The steps of a calibration."""

    OPENING = "opening"
    READING = "reading"
    CLASSES = "classes"
    CHECK = "check"
    CHOOSE = "choose"
    COLLECT = "collect"
    TRAIN = "train"
    CANCELLED = "cancelled"
    RESULT = "result"
    SAVED = "saved"
    DISCARDED = "discarded"
    STOPPED = "stopped"
    FAILED = "failed"


ENDS = frozenset({Step.SAVED, Step.DISCARDED, Step.STOPPED, Step.FAILED})
"""Steps after which nothing comes."""

TRANSITIONS: Mapping[Step, frozenset[Step]] = MappingProxyType(
    {
        Step.OPENING: frozenset({Step.CHECK, Step.COLLECT}),
        Step.READING: frozenset({Step.TRAIN, Step.CLASSES}),
        Step.CLASSES: frozenset({Step.TRAIN}),
        Step.CHECK: frozenset({Step.CHOOSE}),
        Step.CHOOSE: frozenset({Step.COLLECT}),
        Step.COLLECT: frozenset({Step.TRAIN}),
        Step.TRAIN: frozenset({Step.RESULT, Step.CANCELLED}),
        Step.CANCELLED: frozenset({Step.TRAIN}),
        Step.RESULT: frozenset({Step.SAVED, Step.DISCARDED}),
        **{end: frozenset() for end in ENDS},
    }
)


def may_follow(step: Step, to: Step) -> bool:
    """Whether `to` may come after `step`."""
    if step in ENDS:
        return False
    return to in TRANSITIONS[step] or to in (Step.FAILED, Step.STOPPED)


@dataclass(frozen=True, slots=True)
class Training:
    """How far the training is: 0 to 1, what it does, (pass, loss) so far."""

    fraction: float = 0.0
    message: str = ""
    losses: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class FlowView:
    """The whole visible state of a calibration at one moment.

    `elapsed` and `remaining` are of the presentation, s; `break_left` is how long a break goes on,
    s, None outside of one.
    """

    step: Step = Step.OPENING
    message: str = ""
    check: SignalCheck = field(default_factory=SignalCheck)
    overridden: bool = False
    choices: Choices | None = None
    counts: Counts = field(default_factory=lambda: Counts({}, {}, {}))
    n_shown: int = 0
    n_planned: int = 0
    elapsed: float = 0.0
    remaining: float | None = None
    break_left: float | None = None
    stimulus: str | None = None
    training: Training = field(default_factory=Training)
    result: CalibrationResult | None = None
    adapter_id: str | None = None
    save_error: str = ""
    out: Path | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self.step in ENDS
