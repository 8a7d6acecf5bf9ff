"""A calibration in sentences: for a terminal, and for the heads of pages.

Owns the wording only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app import formatting
from app.calibration.results import CalibrationResult, MethodScore
from app.calibration.signal_check import Light
from app.calibration.steps import FlowView, Step

STEP_WORDS = {
    Step.OPENING: "Connecting",
    Step.READING: "Reading",
    Step.CLASSES: "Classes and pictures",
    Step.CHECK: "Signal check",
    Step.CHOOSE: "Pictures and time",
    Step.COLLECT: "Pictures",
    Step.TRAIN: "Training",
    Step.CANCELLED: "Training cancelled",
    Step.RESULT: "Result",
    Step.SAVED: "Saved",
    Step.DISCARDED: "Not stored",
    Step.STOPPED: "Given up",
    Step.FAILED: "Failed",
}


def progress_line(view: FlowView) -> str:
    """Where it stands, in one line."""
    word = STEP_WORDS[view.step]
    if view.step is Step.CHECK:
        mark = {Light.GREEN: "green", Light.RED: "red", Light.WAITING: "…"}[view.check.light]
        return f"{word} [{mark}] {view.check.sentence}"
    if view.step is Step.COLLECT:
        rest = "" if view.remaining is None else f", {formatting.duration(view.remaining)} left"
        pause = "" if view.break_left is None else f"  [break, {view.break_left:.0f} s]"
        counts = view.counts
        return (
            f"{word} {view.n_shown} of {view.n_planned}{rest}: {counts.n_good} good epochs, "
            f"{counts.n_refused} refused{pause}"
        )
    if view.step is Step.READING:
        counts, share = view.counts, view.training.fraction
        far = f" {share:4.0%}" if share else ""
        return f"{word}{far}: {counts.n_good} good epochs, {counts.n_refused} refused"
    if view.step is Step.TRAIN:
        return f"{word} {view.training.fraction:4.0%}  {view.training.message}"
    return f"{word}: {view.message}"


def score_words(score: MethodScore) -> str:
    """One score with its interval."""
    p = "" if score.p_value is None else f", {formatting.p_value(score.p_value)}"
    percent = formatting.percent
    return (
        f"{percent(score.accuracy)} (95 % interval {percent(score.low)} to {percent(score.high)}; "
        f"chance {percent(score.chance)}{p})"
    )


def beside_verdict(result: CalibrationResult) -> str:
    """Return the headline without the words that stand above it."""
    said, _, rest = result.headline.partition(": ")
    return formatting.sentence(rest) if said in ("Found", "Nothing was found") else result.headline


def never_came(wanted: Sequence[str], others: Mapping[str, int]) -> str:
    """Name the labels that no marker has, beside those that came and were not wanted."""
    most = sorted(others.items(), key=lambda each: -each[1])[:8]
    named = ", ".join(f"{label!r} ({n})" for label, n in most)
    missing = ", ".join(map(repr, wanted[:8])) + (", ..." if len(wanted) > 8 else "")
    return f"No marker is called {missing}: nothing is learnt of it." + (
        f" Not asked for were {named}." if named else ""
    )


def result_lines(result: CalibrationResult) -> list[str]:
    """What came out, line by line, the most important first."""
    lines = [result.headline]
    picked, without = result.picked, result.without
    if picked is not None:
        lines.append(f"Method: {result.reason or score_words(picked)}")
    if without is not None and without is not picked:
        lines.append(f"Without an adapter: {score_words(without)}.")
    if result.comparison:
        lines.append(result.comparison)
    lines += result.classes
    if result.permutation_p is not None:
        times = f", {result.n_permutations} times" if result.n_permutations else ""
        p = formatting.p_value(result.permutation_p)
        lines.append(f"Labels shuffled{times}: {p} (permutation test).")
    if result.leak is not None and result.leak.sentence:
        lines.append(f"Leak check: {result.leak.sentence}")
    if result.curve_sentence:
        lines.append(result.curve_sentence)
    return lines + [f"Note: {sentence}" for sentence in result.warnings]


def closing_lines(view: FlowView) -> list[str]:
    """What a terminal shows at the end."""
    counts = view.counts
    refused = ", ".join(f"{n} {reason}" for reason, n in counts.refused.items())
    lines = [
        f"Epochs: {counts.n_good} good of {sum(map(bool, counts.good.values()))} classes"
        + (f"; refused: {refused}." if refused else ".")
    ]
    lines += view.notes
    if view.result is not None:
        lines += result_lines(view.result)
    lines.append(view.message)
    if view.adapter_id is not None:
        lines.append(f"Use it: phosphene run --adapter {view.adapter_id}")
    lines.append(f"Folder: {view.out} (open calibration.html in a browser).")
    return lines
