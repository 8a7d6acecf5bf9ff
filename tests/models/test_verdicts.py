"""The sentence of a verdict never claims a name that is not in the figures beside it."""

from __future__ import annotations

import numpy as np
import pytest

from models.adapters.evaluation import Scored, verdict_of
from models.adapters.report import LeakCheck, MethodScore

NO_LEAK = LeakCheck(
    p_pre_stimulus=0.5, accuracy=0.1, chance=0.1, p_order=0.5, is_leak=False, sentence="none"
)


@pytest.mark.parametrize(
    ("accuracy", "p_value", "starts"),
    [
        (0.4, 0.001, "Found: 40.0 % "),
        (0.01, 0.001, "Found a trace, too little to name what was seen: 1.0 % "),
        (0.4, 0.2, "Nothing was found: 40.0 % "),
    ],
)
def test_what_is_found_is_what_the_figures_say(
    accuracy: float, p_value: float, starts: str
) -> None:
    rows = np.zeros(20, dtype=np.intp)
    scores = np.zeros((20, 60))
    best = Scored("own", "own", 2, scores, scores, rows, np.ones(20, dtype=bool), 0.0)
    score = MethodScore(
        name="own",
        title="own",
        accuracy=accuracy,
        low=0.0,
        high=1.0,
        chance=0.0164,
        top5=0.1,
        surprise=1.0,
        seconds=0.0,
    )
    _, sentence = verdict_of(p_value, NO_LEAK, best, [score])
    assert sentence.startswith(starts)
