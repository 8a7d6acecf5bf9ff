"""The best of several sets, named by stimuli that its figure does not count.

Owns the halves and the refusals. A choice on the test itself is made only where it was asked for by
name, and the report then says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from app.errors import AppError
from app.evaluation.figures import SetFigures
from models.evaluation.measuring import Measure
from models.evaluation.protocol import score
from pipeline.values import Float64

Split = Literal["stimulus", "block", "session", "person", "test"]
SPLITS: dict[Split, str] = {
    "stimulus": "half of the stimuli",
    "block": "the first half of the items in time",
    "session": "half of the sessions",
    "person": "half of the people",
    "test": "the test itself",
}
"""What the choice is made on; the figure is of the rest, but for the last."""
CHOSEN_ON_TEST = (
    "The best set was chosen on the items that its figure counts (--choose-on-test): the figure is "
    "too good, and no figure of a test."
)


def choose(
    found: Sequence[SetFigures],
    measure: str,
    *,
    split: Split = "stimulus",
    groups: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Choose the set that is best by a measure; give its figure on what did not choose.

    Parameters
    ----------
    groups : sequence of str
        Session or person of each item, for these splits.

    Raises
    ------
    AppError
        There is nothing to choose among, or the sets cannot be told by that measure.
    """
    if len(found) < 2:
        raise AppError("--choose was given one set of pictures, expected two or more.")
    first = found[0].measured
    for each in found[1:]:
        other = each.measured
        if other.keys != first.keys or not np.array_equal(other.shown, first.shown):
            raise AppError(
                f"{found[0].name} and {each.name} do not show the same pictures as often, expected "
                "that for --choose: leave it out, and nothing is chosen."
            )
    rows = np.stack([_values(each, measure) for each in found])
    known = np.isfinite(rows).all(axis=0)
    if split in ("session", "person") and len(set(groups)) < 2:
        raise AppError(
            f"--choose-split {split} was given items of one {split} ({groups[0]}), expected two or "
            "more: choose on some, test on others."
        )
    units = np.array([groups[k] for k in first.items]) if groups else first.shown
    choosing = _choosing(units, first.items, split, seed) & known
    testing = known if split == "test" else known & ~choosing
    if len(np.unique(first.shown[choosing])) < 2 or len(np.unique(first.shown[testing])) < 2:
        raise AppError(
            f"{len(first.keys)} stimuli are too few to choose on some and to test on others, "
            "expected four or more."
        )
    means = rows[:, choosing].mean(axis=1)
    lines = {each.name: each for each in first.measures}
    best = int(means.argmax() if lines[measure].better == "higher" else means.argmin())
    figure = score(rows[best, testing], first.shown[testing], seed=seed)
    return {
        "measure": measure,
        "title": lines[measure].title,
        "on": SPLITS[split],
        "candidates": [
            {"name": each.name, "value": float(mean)}
            for each, mean in zip(found, means, strict=True)
        ],
        "chosen": found[best].name,
        "figure": asdict(figure),
        "is_on_test": split == "test",
    }


def _values(found: SetFigures, measure: str) -> Float64:
    by_name: dict[str, Measure] = {
        each.name: each for each in found.measured.measures if not each.is_of_set
    }
    if measure not in by_name:
        raise AppError(
            f"--choose has {measure!r}, expected one of {', '.join(by_name)}: a measure with a "
            "value an item."
        )
    return np.asarray(by_name[measure].values.mean(axis=0))


def _choosing(
    units: np.ndarray, items: np.ndarray, split: Split, seed: int
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which items choose."""
    if split == "test":
        return np.ones(len(units), dtype=np.bool_)
    if split == "block":
        return np.asarray(items < np.median(items), dtype=np.bool_)
    order = np.random.default_rng([seed, 113]).permutation(np.unique(units))
    return np.isin(units, order[: len(order) // 2])
