"""Choosing among methods and saying why: comparisons, learning curve, verdict.

Owns the rules and their sentences. Works on out-of-fold scores only: knows nothing of how they
were fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from models.adapters.class_scores import is_beaten, is_unequal
from models.adapters.report import (
    ClassScores,
    CurvePoint,
    LeakCheck,
    LearningCurve,
    MethodScore,
    Verdict,
)
from models.adapters.scoring import Ints, fit_temperature, log_likelihoods, ranks
from pipeline.values import Float64

ALPHA = 0.01
"""Largest p that counts as found, and as a leak."""
MORE_MINUTES = 2.0
TIE = 0.25
"""Standard errors of the difference within which two methods count as equally good."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One method's scores of epochs that it was not fitted on.

    `scores` (n, n_candidates) as a session ranks, larger is likelier; `logits`, the same shape, the
    decoder's log likelihoods up to a temperature; `rows` (n,) the true candidates; `tested` (n,)
    False where no fold could be fitted.
    """

    name: str
    title: str
    cost: int
    scores: Float64
    logits: Float64
    rows: Ints
    tested: np.ndarray
    seconds: float

    @property
    def ranks(self) -> Ints:
        """Rank of the true candidate of each tested epoch, 0 for the best."""
        return ranks(self.scores[self.tested], self.rows[self.tested])

    @property
    def accuracy(self) -> float:
        """Part of the tested epochs whose true candidate came first."""
        return float((self.ranks == 0).mean()) if self.tested.any() else 0.0

    @property
    def likelihoods(self) -> Float64:
        """Log likelihood of the true candidate of each tested epoch, at the best temperature."""
        scores, rows = self.logits[self.tested], self.rows[self.tested]
        found = log_likelihoods(scores, fit_temperature(scores, rows))
        return np.asarray(found[np.arange(len(rows)), rows])


def interval(n_right: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion."""
    found = binomtest(n_right, max(n, 1)).proportion_ci(confidence_level=0.95, method="wilson")
    return float(found.low), float(found.high)


def _gain(each: Scored, base: Scored) -> tuple[float, float]:
    """Mean gain in log likelihood over `base` and its standard error over epochs, nats."""
    difference = each.likelihoods - base.likelihoods
    error = float(difference.std(ddof=1) / np.sqrt(len(difference))) if len(difference) > 1 else 0.0
    return float(difference.mean()), error


def choose(found: Sequence[Scored]) -> Scored:
    """Choose the best method; a richer one must earn its place.

    A method counts when it takes away more surprise than the zero-shot encoder (the first) by
    more than one standard error, and does not identify fewer epochs by more than noise. Of
    those the one with the least surprise, or the cheapest that is as good but for a hair
    (`TIE` standard errors: with one whole, an hour's recording would still take the cheapest).
    """
    base = found[0]
    worthy = [base]
    for each in found[1:]:
        gain, error = _gain(each, base)
        slack = float(np.sqrt(base.accuracy * (1 - base.accuracy) / max(len(base.ranks), 1)))
        if gain > error and each.accuracy >= base.accuracy - slack:
            worthy.append(each)
    best = max(worthy, key=lambda each: float(each.likelihoods.mean()))
    for each in sorted(worthy, key=lambda one: one.cost):
        lead, error = _gain(best, each)
        if lead <= TIE * error:
            return each
    return best


def method_score(each: Scored, base: Scored, chance: float) -> MethodScore:
    """Turn scores into a line of the report."""
    rank = each.ranks
    low, high = interval(int((rank == 0).sum()), len(rank))
    gain, error = _gain(each, base)
    return MethodScore(
        name=each.name,
        title=each.title,
        accuracy=each.accuracy,
        low=low,
        high=high,
        chance=chance,
        top5=float((rank < 5).mean()),
        surprise=float(-each.likelihoods.mean()),
        gain=gain,
        gain_error=error,
        seconds=each.seconds,
    )


def describe_choice(best: Scored, scores: Sequence[MethodScore]) -> str:
    """Say which method was chosen and why."""
    by_name = {score.name: score for score in scores}
    chosen, base = by_name[best.name], scores[0]
    if chosen is base:
        return (
            f"{base.title}: no adapter was better by more than noise on epochs that it had not "
            f"seen ({100 * base.accuracy:.1f} % identified), so nothing is changed."
        )
    others = [score for score in scores if score.name not in (best.name, base.name)]
    words = (
        f"{chosen.title}: {100 * chosen.accuracy:.1f} % of epochs that it had not seen identified, "
        f"{100 * base.accuracy:.1f} % without it, and {chosen.gain:.3f} ± {chosen.gain_error:.3f} "
        "nats less surprise an epoch"
    )
    if others:
        listed = ", ".join(f"{o.title} {100 * o.accuracy:.1f} %" for o in others)
        words += f"; the others: {listed}"
    return words + "."


@dataclass(frozen=True, slots=True)
class Comparison:
    """With minus without an adapter, in accuracy: 95 % bootstrap interval over minutes."""

    difference: float
    low: float
    high: float
    sentence: str


def compare(best: Scored, base: Scored, onsets: Float64, *, seed: int) -> Comparison:
    """Compare on the same epochs; whole minutes are drawn, as neighbours share their noise."""
    keep = best.tested & base.tested
    minutes = np.floor((onsets[keep] - onsets[0]) / 60).astype(np.intp)
    with_it = ranks(best.scores[keep], best.rows[keep]) == 0
    without = ranks(base.scores[keep], base.rows[keep]) == 0
    each = with_it.astype(np.float64) - without
    difference = float(each.mean())
    low, high = _bootstrap(each, minutes, seed=seed)
    if best is base:
        sentence = "The encoder stays as it is, so with and without are the same."
    else:
        sure = "more than chance would do" if low > 0 else "not sure: the interval holds zero"
        sentence = (
            f"With the adapter {100 * with_it.mean():.1f} %, without {100 * without.mean():.1f} %: "
            f"{100 * difference:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}), {sure}."
        )
    return Comparison(difference, low, high, sentence)


def _bootstrap(values: Float64, groups: Ints, *, seed: int, n: int = 1000) -> tuple[float, float]:
    rng = np.random.default_rng([seed, 59])
    names = np.unique(groups)
    if len(names) < 3:
        groups, names = np.arange(len(values)), np.arange(len(values))
    sums = np.array([values[groups == g].sum() for g in names])
    sizes = np.array([(groups == g).sum() for g in names])
    drawn = rng.integers(len(names), size=(n, len(names)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def learning_curve(
    run: Callable[[float], Scored], minutes: float, best: Scored, *, is_fixed: bool = False
) -> LearningCurve:
    """Cross-validate the chosen method on fewer minutes, and extrapolate.

    Accuracy is taken to grow with the logarithm of the minutes, which flatters late minutes
    less than a straight line; the fit is by least squares on the last points.
    """
    fitted = minutes * (1 - 1 / max(2, min(5, int(minutes))))
    points = [_point(fitted, best)]
    for part in (1.0, 2.0, 4.0, 8.0):
        if part < 0.8 * fitted and not is_fixed:
            points.append(_point(part, run(part)))
    points.sort(key=lambda point: point.minutes)
    if len(points) < 2 or best.cost == 0:
        return LearningCurve(
            points=tuple(points),
            more_minutes=MORE_MINUTES,
            sentence="Too short to say what more minutes would give."
            if best.cost
            else "Without an adapter more minutes change nothing yet; record again if unsure.",
        )
    x = np.log(np.array([point.minutes for point in points]))
    y = np.array([point.accuracy for point in points])
    slope = float(np.polyfit(x, y, 1)[0])
    ahead = float(np.log((minutes + MORE_MINUTES) / minutes))
    gain = float(np.clip(slope * ahead, 0.0, 1 - best.accuracy))
    if gain < 0.005:
        sentence = f"{MORE_MINUTES:.0f} more minutes would probably change little."
    else:
        sentence = (
            f"{MORE_MINUTES:.0f} more minutes would probably give {100 * gain:+.1f} points "
            f"(from {100 * best.accuracy:.1f} %)."
        )
    return LearningCurve(
        points=tuple(points), more_minutes=MORE_MINUTES, expected_gain=gain, sentence=sentence
    )


def _point(minutes: float, each: Scored) -> CurvePoint:
    rank = each.ranks
    low, high = interval(int((rank == 0).sum()), len(rank))
    return CurvePoint(minutes=minutes, accuracy=each.accuracy, low=low, high=high)


def verdict_of(
    p_value: float,
    leak: LeakCheck,
    best: Scored,
    scores: Sequence[MethodScore],
    classes: ClassScores | None = None,
) -> tuple[Verdict, str]:
    """Judge: a leak first, then chance, then what the commonest class alone would give."""
    score = next(each for each in scores if each.name == best.name)
    n = best.scores.shape[1]
    words = (
        f"{100 * score.accuracy:.1f} % ({100 * score.low:.1f}-{100 * score.high:.1f}) of "
        f"{int(best.tested.sum())} epochs identified among {n} (chance "
        f"{100 * score.chance:.1f} %), p = {p_value:.4g}"
    )
    if classes is not None and is_unequal(classes):
        words = _unequal_words(score, classes, p_value)
    if leak.is_leak:
        return "leak", f"Not to be trusted: {leak.sentence} ({words}.)"
    if p_value >= ALPHA:
        return "nothing found", f"Nothing was found: {words}; this may well be chance."
    if classes is not None and is_beaten(classes):
        return "nothing found", f"Nothing was found beyond the commonest class: {words}."
    if score.accuracy <= score.chance:
        # The test asks how near the true ones come; the figure, how often one is named.
        return "found", (
            f"Found a trace, too little to name what was seen: {words}, of how the true ones score "
            "among all; record longer."
        )
    return "found", f"Found: {words}."


def _unequal_words(score: MethodScore, classes: ClassScores, p_value: float) -> str:
    commonest = classes.names[classes.counts.index(max(classes.counts))]
    return (
        f"AUC {classes.auc:.2f} ({classes.auc_low:.2f}-{classes.auc_high:.2f}, chance 0.50), "
        f"balanced accuracy {100 * classes.balanced_accuracy:.1f} % (chance "
        f"{100 / len(classes.names):.1f} %), accuracy {100 * score.accuracy:.1f} % where always "
        f"answering {commonest!r} gives {100 * classes.majority:.1f} %, p = {p_value:.4g}"
    )
