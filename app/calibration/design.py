"""Whether the order of stimuli itself gives them away: the block-design check.

Owns the test. Where the trials of a class stand together in time, slow drifts name the class and
any decoder shines (Li et al. 2021). A mixed order has few neighbours alike; the count is compared
with shuffles of the very labels. Owns as well what becomes of a result whose order is blocked.
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.calibration.results import CalibrationResult, Verdict

N_SHUFFLES = 500
BLOCKED = 2.0
"""So many times as many alike neighbours as a shuffled order has mean blocks."""


@dataclass(frozen=True, slots=True)
class Design:
    """How mixed an order is.

    Attributes
    ----------
    alike : float
        Share of neighbours with the same label.
    expected : float
        The same in shuffled orders, mean.
    p_value : float
        Share of the shuffles with at least as many (plus one over plus one).
    """

    alike: float
    expected: float
    p_value: float

    @property
    def is_blocked(self) -> bool:
        """Whether classes stand together in time."""
        return self.p_value < 0.01 and self.alike > max(BLOCKED * self.expected, 0.1)

    @property
    def sentence(self) -> str:
        """What to tell; empty when the order is mixed."""
        if not self.is_blocked:
            return ""
        return (
            f"The stimuli came in blocks: {self.alike:.0%} of neighbours are alike, "
            f"{self.expected:.0%} in a mixed order. A decoder can read the time instead of the "
            "brain, so no score of this recording can be trusted: show the stimuli in mixed order."
        )


def examine(labels: Sequence[str], *, seed: int = 0) -> Design:
    """Examine labels in order of time."""
    codes = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)[1]
    if len(codes) < 2:
        return Design(0.0, 0.0, 1.0)
    rng = np.random.default_rng(seed)
    alike = float((codes[1:] == codes[:-1]).mean())
    shuffled = [rng.permutation(codes) for _ in range(N_SHUFFLES)]
    found = np.array([(each[1:] == each[:-1]).mean() for each in shuffled])
    p_value = (1 + int((found >= alike).sum())) / (1 + N_SHUFFLES)
    return Design(alike, float(found.mean()), p_value)


def blocked(design: Design, reason: str) -> CalibrationResult:
    """What is told of a recording whose order alone forbids any score."""
    return CalibrationResult(Verdict.LEAK, design.sentence, method="", reason=reason, scores=())


def judged(result: CalibrationResult, design: Design) -> CalibrationResult:
    """Take back a finding that the order of the stimuli explains."""
    if not design.is_blocked:
        return result
    found = result.verdict is Verdict.FOUND
    return replace(
        result,
        verdict=Verdict.LEAK if found else result.verdict,
        headline=design.sentence if found else result.headline,
        warnings=(design.sentence, *result.warnings),
    )
