"""From a set of pictures to its table of figures: scores, baselines, the rows to look at.

Owns what an evaluation of one set says, as plain values that JSON takes. Measures and statistics
are `models.evaluation`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.evaluation.measuring import Measure, Measured, Pictures, measure
from models.evaluation.networks import Network
from models.evaluation.protocol import Ints, Score, score
from pipeline.values import Float64, Uint8

MOST_BASELINE = 200
"""Items that the baselines are measured on at most."""
N_ROWS = 6
"""Best, middle and worst items that are shown, each."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SetFigures:
    """One set, evaluated.

    Attributes
    ----------
    name : str
    measured : Measured
    scores : mapping of measure's name to its line, in order
    rows : dict of `best`, `middle`, `worst` to items, by number
    judged_by : str
        Title of the measure that the rows are ordered by.
    """

    name: str
    measured: Measured
    scores: dict[str, dict[str, Any]]
    rows: dict[str, list[int]]
    judged_by: str
    n_copies: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "n_items": len(self.measured.items),
            "n_stimuli": len(self.measured.keys),
            "n_copies": self.n_copies,
            "measures": list(self.scores.values()),
            "notes": list(self.measured.notes),
        }


def evaluate_set(
    pictures: Pictures,
    networks: Sequence[Network],
    *,
    seed: int = 0,
    baselines: Callable[[Sequence[int]], Mapping[str, Pictures]] = lambda _items: {},
    tell: Callable[[float], None] = lambda _share: None,
) -> SetFigures:
    """Measure one set, its baselines and its intervals.

    Parameters
    ----------
    baselines : callable
        Takes items by number, some of those that were measured, and gives further baselines.

    Raises
    ------
    PhospheneError
        Nothing can be compared, or a picture cannot be read.
    """
    measured = measure(pictures, networks, seed=seed, tell=lambda share: tell(0.8 * share))
    few = _few(measured, seed)
    dealt = _baseline(_Dealt(pictures, measured, few, seed), networks, seed)
    tell(0.9)
    found = {
        "pairs dealt out anew": dealt,
        "mean drawing": _baseline(_MeanPicture(pictures, measured, few), networks, seed),
    }
    for name, drawn in baselines([int(item) for item in measured.items[few]]).items():
        found[name] = _baseline(drawn, networks, seed)
    tell(1.0)
    scores = {
        each.name: _line(each, measured.shown, seed=seed)
        | {"baselines": {name: values.get(each.name) for name, values in found.items()}}
        for each in measured.measures
    }
    judge = _judge(measured.measures)
    order = np.argsort(_signed(judge).mean(axis=0), kind="stable")[::-1]
    n = min(N_ROWS, max(1, len(order) // 3))
    from_middle = order[np.argsort(np.abs(np.arange(len(order)) - len(order) // 2), kind="stable")]
    picked = {
        name: _of_several(places, measured.shown, n)
        for name, places in (("best", order), ("middle", from_middle), ("worst", order[::-1]))
    }
    return SetFigures(
        name=pictures.name,
        measured=measured,
        scores=scores,
        rows={name: [int(measured.items[k]) for k in rows] for name, rows in picked.items()},
        judged_by=judge.title,
        n_copies=pictures.n_copies,
    )


def _of_several(places: Ints, shown: Ints, n: int) -> Ints:
    """The first `n` that showed different pictures, filled up where there are fewer."""
    _, firsts = np.unique(shown[places], return_index=True)
    is_first = np.zeros(len(places), dtype=np.bool_)
    is_first[firsts] = True
    return np.concatenate([places[is_first], places[~is_first]])[:n]


def compare(first: SetFigures, second: SetFigures, *, seed: int = 0) -> list[dict[str, Any]]:
    """Return the paired differences of two sets of the same items; empty where they differ."""
    one, other = first.measured, second.measured
    same = one.keys == other.keys and np.array_equal(one.shown, other.shown)
    if not same:
        return []
    of_other = {each.name: each for each in other.measures}
    found = []
    for each in one.measures:
        twin = of_other.get(each.name)
        if twin is not None and not each.is_of_set:
            gap = each.values.mean(axis=0) - twin.values.mean(axis=0)
            is_known = np.isfinite(gap)
            found.append(
                {"measure": each.name, "title": each.title, "better": each.better}
                | asdict(score(gap[is_known], one.shown[is_known], seed=seed))
            )
    return found


def _line(each: Measure, shown: Ints, *, seed: int) -> dict[str, Any]:
    line: dict[str, Any] = {
        "name": each.name,
        "title": each.title,
        "definition": each.definition,
        "better": each.better,
        "is_published": each.is_published,
    }
    if each.is_of_set:
        return line | {"value": float(each.values[0, 0]), "low": None, "high": None}
    table = each.by_stimulus
    sign = 1.0 if each.better == "higher" else -1.0
    values = sign * each.values.mean(axis=0)
    is_known = np.isfinite(values)
    found: Score = score(
        values[is_known],
        shown[is_known],
        seed=seed,
        by_stimulus=None if table is None else np.float32(sign) * table[:, is_known],
    )
    low, high = sorted((sign * found.low, sign * found.high))
    line |= {
        "value": sign * found.value,
        "low": low,
        "high": high,
        "n": found.n,
        "n_stimuli": found.n_stimuli,
        "chance": None if found.chance is None else sign * found.chance,
        "p_value": found.p_value,
        "ideal_chance": each.ideal,
    }
    if len(each.values) > 1:
        best = (sign * each.values).max(axis=0)[is_known].mean() * sign
        line |= {"best_of": len(each.values), "best": float(best)}
    return line


def _judge(measures: Sequence[Measure]) -> Measure:
    """The measure that rows are ordered by: likeness of features, an item at a time."""
    return next(m for m in measures if m.name.endswith("_distance"))


def _signed(each: Measure) -> Float64:
    return each.values if each.better == "higher" else -each.values


def _few(measured: Measured, seed: int) -> Ints:
    """Some of the measured items, by place."""
    n = len(measured.items)
    if n <= MOST_BASELINE:
        return np.arange(n)
    return np.sort(np.random.default_rng([seed, 101]).permutation(n)[:MOST_BASELINE])


def _baseline(
    pictures: Pictures, networks: Sequence[Network], seed: int
) -> dict[str, float | None]:
    found = measure(pictures, networks, seed=seed, of_items=True)
    return {each.name: float(np.nanmean(each.values)) for each in found.measures}


class _Dealt:
    """The same drawings, each beside a picture that another item showed."""

    def __init__(self, pictures: Pictures, measured: Measured, few: Ints, seed: int) -> None:
        self.name, self.n_copies = pictures.name, 1
        self._pictures = pictures
        self._items = measured.items[few]
        rng = np.random.default_rng([seed, 103])
        self.stimuli = [measured.keys[k] for k in rng.permutation(measured.shown[few])]
        if len(set(self.stimuli)) < 2:  # never of a set that could be measured, but for chance
            self.stimuli = [measured.keys[k] for k in measured.shown[few]]

    def shown(self, key: str) -> Uint8:
        """Picture of a key."""
        return self._pictures.shown(key)

    def drawn(self, item: int, copy: int) -> Uint8:
        """Drawing of an item."""
        return self._pictures.drawn(int(self._items[item]), copy)


class _MeanPicture:
    """The mean of all drawings, beside each shown picture."""

    def __init__(self, pictures: Pictures, measured: Measured, few: Ints) -> None:
        self.name, self.n_copies = pictures.name, 1
        self._pictures = pictures
        self.stimuli = [measured.keys[k] for k in measured.shown[few]]
        first = pictures.drawn(int(measured.items[few[0]]), 0)
        total = np.zeros(first.shape)
        n = 0
        for item in measured.items[few]:
            each = pictures.drawn(int(item), 0)
            if each.shape == first.shape:
                total, n = total + each, n + 1
        self._mean = (total / n).round().astype(np.uint8)

    def shown(self, key: str) -> Uint8:
        """Picture of a key."""
        return self._pictures.shown(key)

    def drawn(self, item: int, copy: int) -> Uint8:  # noqa: ARG002 - one picture for all
        """The mean picture."""
        return self._mean
