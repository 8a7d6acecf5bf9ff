"""What a calibration found, in numbers and in sentences.

Owns the report's fields and its words; frozen, and JSON without anything executable. Knows
nothing of how they were computed.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["found", "nothing found", "leak"]


class _Strict(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, allow_inf_nan=False)


class MethodScore(_Strict):
    """One method in cross-validation."""

    name: str
    title: str
    accuracy: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    """Lower end of Wilson's 95 % interval over epochs."""
    high: float = Field(ge=0, le=1)
    chance: float = Field(ge=0, le=1)
    """Accuracy with labels dealt out anew."""
    top5: float = Field(ge=0, le=1)
    surprise: float
    """Mean negative log likelihood at its own best temperature, nats an epoch: what methods are
    chosen by."""
    gain: float = 0.0
    """Surprise that it takes away from the zero-shot encoder, nats an epoch."""
    gain_error: float = 0.0
    """Standard error of `gain` over epochs."""
    seconds: float = Field(ge=0)
    """Time to fit it once, s."""


class CurvePoint(_Strict):
    """Accuracy after some minutes of this recording, cross-validated."""

    minutes: float = Field(gt=0)
    accuracy: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)


class LearningCurve(_Strict):
    """How accuracy grew, and what more minutes would probably give."""

    points: tuple[CurvePoint, ...] = ()
    more_minutes: float = 2.0
    expected_gain: float = 0.0
    """In accuracy."""
    sentence: str = ""


class LeakCheck(_Strict):
    """Whether what was shown can be told without any response to it."""

    p_pre_stimulus: float = Field(ge=0, le=1)
    """Of a decoder that sees only what lies before onset, split at random."""
    accuracy: float = Field(ge=0, le=1)
    """Of that decoder."""
    chance: float = Field(ge=0, le=1)
    p_order: float = Field(ge=0, le=1)
    """Of how alike successive pictures are, against a shuffled order."""
    is_leak: bool
    sentence: str


class SessionScore(_Strict):
    """A session that was left out whole and then decoded."""

    session: str
    subject: str = ""
    n_epochs: int = Field(ge=1)
    accuracy: float = Field(ge=0, le=1)
    balanced_accuracy: float = Field(ge=0, le=1)
    auc: float = Field(ge=0, le=1)


class RepetitionPoint(_Strict):
    """What the summed evidence of `n` epochs of one class gives."""

    n: int = Field(ge=1)
    n_groups: int = Field(ge=1)
    accuracy: float = Field(ge=0, le=1)
    balanced_accuracy: float = Field(ge=0, le=1)
    auc: float = Field(ge=0, le=1)


class ClassScores(_Strict):
    """Plain classes, out of fold, the choice of decoders included (nested cross-validation)."""

    names: tuple[str, ...]
    counts: tuple[int, ...]
    """Epochs of each class."""
    auc: float = Field(ge=0, le=1)
    """Of two classes, or the mean of each against the rest."""
    auc_low: float = Field(ge=0, le=1)
    """Lower end of its 95 % bootstrap interval over epochs."""
    auc_high: float = Field(ge=0, le=1)
    balanced_accuracy: float = Field(ge=0, le=1)
    """Mean over classes of the part that is right where classes count as equally frequent."""
    majority: float = Field(ge=0, le=1)
    """Accuracy of always giving the commonest class."""
    p_below_majority: float = Field(ge=0, le=1)
    """Of accuracy against that, one-sided, exact McNemar: small where the majority is better."""
    calibration_error: float = Field(ge=0, le=1)
    """Expected calibration error of the probabilities, ten bins."""
    confusion: tuple[tuple[int, ...], ...]
    """Rows: what was shown; columns: what was decoded; in the order of `names`."""
    sessions: tuple[SessionScore, ...] = ()
    """Each session, decoded by what was fitted on the others."""
    repetitions: tuple[RepetitionPoint, ...] = ()


class TransferScore(_Strict):
    """One way to put recordings together, by what was left out."""

    name: str
    accuracy: float = Field(ge=0, le=1)
    gain: float
    """In log likelihood an epoch over the first way, nats."""
    error: float = Field(ge=0)
    """Standard error of that."""


class TransferReport(_Strict):
    """How several recordings were put together, and why."""

    chosen: str
    scores: tuple[TransferScore, ...]
    sentence: str


class CalibrationReport(_Strict):
    """Everything the result page shows."""

    verdict: Verdict
    sentence: str
    """The verdict for people."""
    method: str
    reason: str
    n_epochs: int = Field(ge=0)
    minutes: float = Field(ge=0)
    n_candidates: int = Field(ge=2)
    is_classes: bool
    split: str
    """How epochs were kept apart."""
    methods: tuple[MethodScore, ...]
    p_value: float = Field(ge=0, le=1)
    """Permutation test, the choice of the method included."""
    n_permutations: int = Field(ge=0)
    with_adapter: float = Field(ge=0, le=1)
    without_adapter: float = Field(ge=0, le=1)
    """Accuracy of the zero-shot encoder on the same epochs; chance for plain classes."""
    difference_low: float
    difference_high: float
    """95 % bootstrap interval of with minus without, over minutes."""
    comparison: str
    curve: LearningCurve
    leak: LeakCheck
    losses: tuple[tuple[float, float], ...] = ()
    """Training and held-out loss of each pass of the chosen method, if it makes passes."""
    seconds: float = Field(ge=0)
    """The whole calibration, s."""
    transfer: TransferReport | None = None
    """Of several recordings of plain classes; None where there was one."""
    classes: ClassScores | None = None
    """More about plain classes; None for pictures and for reports of earlier versions."""

    def score(self, name: str) -> MethodScore | None:
        """Return a method's line; None for one that was not tried."""
        return next((each for each in self.methods if each.name == name), None)
