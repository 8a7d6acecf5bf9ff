"""From an adapter's report to the result that is shown.

Owns the translation only; the numbers and the verdict are `models.adapters`'.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.calibration.results import CalibrationResult, LeakCheck, MethodScore, Verdict
from app.formatting import percent
from models.adapters.class_scores import is_unequal
from models.adapters.report import CalibrationReport, ClassScores

ZERO_SHOT = "zero-shot"


def result_of(report: CalibrationReport) -> CalibrationResult:
    """Translate a report."""
    scores = tuple(
        MethodScore(
            name=each.title or each.name,
            accuracy=each.accuracy,
            low=each.low,
            high=each.high,
            chance=each.chance,
            n=report.n_epochs,
            chosen=each.name == report.method,
        )
        for each in report.methods
    )
    without = next(
        (s for s, each in zip(scores, report.methods, strict=True) if each.name == ZERO_SHOT), None
    )
    return CalibrationResult(
        verdict=Verdict(report.verdict),
        headline=report.sentence,
        method=report.method,
        reason=report.reason,
        scores=scores,
        without=without,
        comparison=report.comparison,
        split=report.split,
        permutation_p=report.p_value,
        n_permutations=report.n_permutations,
        curve=tuple((point.minutes, point.accuracy) for point in report.curve.points),
        curve_sentence=report.curve.sentence,
        leak=LeakCheck(
            accuracy=report.leak.accuracy,
            chance=report.leak.chance,
            p_value=report.leak.p_pre_stimulus,
            is_leak=report.leak.is_leak,
            sentence=report.leak.sentence,
        ),
        losses=tuple((float(i), held_out) for i, (_, held_out) in enumerate(report.losses)),
        n_epochs=report.n_epochs,
        n_classes=report.n_candidates,
        minutes=report.minutes,
        seconds=report.seconds,
        classes=() if report.classes is None else tuple(_of_classes(report.classes, report)),
    )


def _of_classes(found: ClassScores, report: CalibrationReport) -> Iterator[str]:
    """Say what accuracy alone does not."""
    if report.transfer is not None:
        yield report.transfer.sentence
    if not is_unequal(found):  # else the headline says it
        yield (
            f"Area under the curve {found.auc:.2f} (95 % interval {found.auc_low:.2f} to "
            f"{found.auc_high:.2f}; chance 0.50)."
        )
    yield f"Confidence is off by {percent(found.calibration_error)} on average."
    if found.sessions:
        each = ", ".join(f"{s.session} {percent(s.accuracy)} ({s.auc:.2f})" for s in found.sessions)
        yield f"Each recording by what the others teach (area under the curve): {each}."
    if len(found.repetitions) > 1:
        summed = ", ".join(f"{p.n}: {percent(p.accuracy)}" for p in found.repetitions)
        yield f"Right with the evidence of several trials of one class added up: {summed}."
