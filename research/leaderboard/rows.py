"""One row of the leaderboard: figures with intervals and chance, repetitions, the audit.

Owns how evidence for candidates becomes a row, the same for every decoder. Intervals draw pictures
of a person with replacement; chance deals the same evidence out among what that person was shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.evaluation.audit import Material, audit
from models.evaluation.checks import Verdict
from models.evaluation.protocol import (
    N_PERMUTATIONS,
    Ints,
    bootstrap,
    identification,
    repetition_curve,
)
from pipeline.values import Float64

Figure = tuple[float, float, float]
"""Value and its 95 % interval."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What one decoder said of one person's test.

    Attributes
    ----------
    evidence : ndarray, shape (n_items, n_candidates), float64
        Larger is likelier.
    shown : ndarray, shape (n_items,), int
        The true candidate.
    """

    evidence: Float64
    shown: Ints


@dataclass(frozen=True, slots=True)
class Row:
    """One system or adapter on one kind of data.

    `repetitions`: how many looks at a picture are averaged, and how often the first of all
    candidates is then right.
    """

    data: str
    system: str
    people: int
    trials: int
    pictures: int
    candidates: int
    two_way: Figure
    two_way_chance: float
    p_value: float
    first: Figure
    first_chance: float
    repetitions: tuple[tuple[int, float], ...]
    audit: str


def row_of(
    data: str,
    system: str,
    asked: Sequence[Asked],
    *,
    audit: str,
    by_trial: bool = False,
    seed: int = 0,
) -> Row:
    """Pool what a decoder said of every person.

    `by_trial`: intervals over trials, where classes are too few to draw from.
    """
    values, chances, groups = [], [], []
    for number, each in enumerate(asked):
        among, at = np.unique(each.shown, return_inverse=True)
        tables = _won(each.evidence[:, among].T, at), _first(each.evidence)[:, among].T
        items = np.arange(len(at))
        values.append([table[at, items] for table in tables])
        chances.append([_dealt(table, at, seed) for table in tables])
        groups.append(items + 10_000 * number if by_trial else at + 10_000 * number)
    of_trials = np.concatenate([np.array(each) for each in values], axis=1)
    sizes = [len(each.shown) for each in asked]
    dealt = np.average(np.array(chances), axis=0, weights=sizes)
    units = np.concatenate(groups)
    figures = [(float(v.mean()), *bootstrap(v, units, seed=seed)) for v in of_trials]
    as_good = int((dealt[0] >= figures[0][0] - 1e-12).sum())
    return Row(
        data=data,
        system=system,
        people=len(asked),
        trials=len(units),
        pictures=len(np.unique(asked[0].shown)),
        candidates=asked[0].evidence.shape[1],
        two_way=figures[0],
        two_way_chance=float(dealt[0].mean()),
        p_value=(1 + as_good) / (1 + N_PERMUTATIONS),
        first=figures[1],
        first_chance=float(dealt[1].mean()),
        repetitions=_repetitions(asked, seed),
        audit=audit,
    )


def _won(table: Float64, at: Ints) -> Float64:
    """Share of the other shown pictures that are less likely, had each been shown; ties: half."""
    exact = table.astype(np.float32)
    less, more = identification(exact, at), identification(-exact, at)
    return np.asarray((less.astype(np.float64) + 1.0 - more) / 2)


def _first(evidence: Float64) -> Float64:
    """Whether each candidate is the likeliest; of equal ones each counts in part."""
    is_best = evidence == evidence.max(axis=1, keepdims=True)
    return np.asarray(is_best / is_best.sum(axis=1, keepdims=True))


def _dealt(table: Float64, at: Ints, seed: int) -> Float64:
    """The mean of a table's items when what was shown is dealt out anew, (N_PERMUTATIONS,)."""
    rng, items = np.random.default_rng([seed, 127]), np.arange(len(at))
    return np.array([table[rng.permutation(at), items].mean() for _ in range(N_PERMUTATIONS)])


def _repetitions(asked: Sequence[Asked], seed: int) -> tuple[tuple[int, float], ...]:
    """The curve over the looks at a picture that one person had, pooled over people."""
    right: dict[int, list[tuple[int, float]]] = {}
    for each in asked:
        evidence = each.evidence.astype(np.float32)
        for n, n_groups, accuracy in repetition_curve(evidence, each.shown, seed=seed):
            right.setdefault(n, []).append((n_groups, accuracy))
    return tuple(
        (n, sum(k * a for k, a in found) / sum(k for k, _ in found)) for n, found in right.items()
    )


def audited(materials: Sequence[Material], *, seed: int = 0) -> str:
    """What the auditor says of each person's test, in a few words."""
    found = [audit(each, seed=seed) for each in materials]
    leaks = sorted({check.name for checks in found for check in checks if check.is_leak})
    n_made = sum(check.verdict is not Verdict.NOT_CHECKED for check in found[0])
    n_leaking = sum(any(check.is_leak for check in checks) for checks in found)
    if leaks:
        return f"leak in {n_leaking} of {len(found)}: {', '.join(leaks)}"
    return f"clean ({n_made} checks of {len(found[0])} could be made)"
