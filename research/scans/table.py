"""What each system tells apart, and the table of it.

Owns the figures: the vector of a held-out trial beside those of all held-out pictures. Intervals
draw pictures of people with replacement, not trials.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from models.evaluation.protocol import bootstrap, correlations, identification
from pipeline.values import Float32, Float64
from research.scans.people import Trials

BLOCK = "scans"


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table; each figure with its 95 % interval, and chance."""

    system: str
    snr: float
    people: int
    trials: int
    pictures: int
    two_way: tuple[float, float, float]
    first: tuple[float, float, float]
    seconds: float
    """Learning and decoding, a person, wall clock."""

    @property
    def chance(self) -> tuple[float, float]:
        """Of both figures."""
        return 0.5, 1 / self.pictures


def judge(vectors: Float32 | Float64, trials: Trials) -> tuple[Float64, Float64]:
    """Of each trial: the share of other pictures that are less alike, and whether all are.

    A tie counts as one half, and as one of as many: a decoder that found nothing says the same of
    every trial, which is a guess and no error.
    """
    shown, at = np.unique(trials.rows, return_inverse=True)
    first_looks = [int(np.flatnonzero(trials.rows == row)[0]) for row in shown]
    given = np.asarray(vectors, dtype=np.float32)
    table = correlations(trials.targets[first_looks], given)
    items = np.arange(len(at))
    less = identification(table, at)[at, items]
    more = identification(-table, at)[at, items]
    two_way = (less.astype(np.float64) + 1 - more) / 2
    tied = (table == table[at, items]).sum(axis=0)
    return two_way, np.where(more < 1e-6, 1.0 / tied, 0.0)


def line_of(
    system: str,
    snr: float,
    decoded: Sequence[tuple[Float32 | Float64, Trials]],
    *,
    seconds: float,
    seed: int,
) -> Line:
    """Pool the people of one cell."""
    judged = [judge(vectors, trials) for vectors, trials in decoded]
    # A picture is another one with each person.
    groups = np.concatenate([1000 * k + trials.rows for k, (_, trials) in enumerate(decoded)])
    figures = []
    for which in (0, 1):
        values = np.concatenate([each[which] for each in judged])
        low, high = bootstrap(values, groups, seed=seed)
        figures.append((float(values.mean()), low, high))
    return Line(
        system=system,
        snr=snr,
        people=len(decoded),
        trials=len(groups),
        pictures=len(np.unique(decoded[0][1].rows)),
        two_way=figures[0],
        first=figures[1],
        seconds=round(seconds, 1),
    )


def write_lines(lines: Sequence[Line], document: Path) -> None:
    """Write JSON beside a document, and the table into its block, or into a file of its own."""
    document.parent.mkdir(parents=True, exist_ok=True)
    rows = [asdict(line) | {"chance": line.chance} for line in lines]
    text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    document.with_suffix(".json").write_text(text, encoding="utf-8")
    begin, end = f"<!-- {BLOCK} -->", f"<!-- /{BLOCK} -->"
    whole = document.read_text(encoding="utf-8") if document.is_file() else ""
    if begin not in whole:
        loose = document.with_name(f"{document.stem}_table.md")
        loose.write_text(markdown(lines) + "\n", encoding="utf-8")
        return
    before, rest = whole.split(begin, 1)
    after = rest.split(end, 1)[1]
    document.write_text(f"{before}{begin}\n\n{markdown(lines)}\n\n{end}{after}", encoding="utf-8")


def markdown(lines: Sequence[Line]) -> str:
    """Lay the lines out, in percent."""

    def percent(figure: tuple[float, float, float]) -> str:
        value, low, high = (100 * each for each in figure)
        return f"{value:.1f} ({low:.1f} to {high:.1f})"

    n = lines[0].pictures
    head = ("system", "SNR", f"two-way (chance 50), {n} pictures", f"first (chance {100 / n:.1f})")
    rows = [(s.system, f"{s.snr:g}", percent(s.two_way), percent(s.first)) for s in lines]
    laid = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return "\n".join([laid[0], "|" + " --- |" * len(head), *laid[1:]])
