"""How well decoded vectors name what was shown: among all, 200 or 50 pictures, by person.

Owns the scores of the tables in `docs/models` and their layout: means over people with their
95 % t intervals, and how honest the probabilities are. Knows nothing of encoders or sessions'
making.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.gallery import Gallery, load_gallery
from pipeline.values import Epoch, Float64
from research.embedded.encoder_batches import held_out_concepts
from research.embedded.encoder_sessions import Session

Encode = Callable[[Sequence[Epoch]], Float64]
"""Vectors (n, n_features) of cut epochs."""
Ranks = NDArray[np.int64]
MANY, FEW = 200, 50


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """One cell of a table.

    `top1`, `top5`: for each count of pictures (0: all), one figure a person, 0 to 1. The rest is
    pooled over people: mean length of the vectors, mean probability of the winner, its expected
    calibration error, hits on concepts that training showed and on those that it did not.
    """

    top1: dict[int, Float64]
    top5: dict[int, Float64]
    norm: float
    confidence: float
    calibration_error: float
    seen_top1: float
    unseen_top1: float
    n: int


def ranks(similarity: Float64, rows: Ranks) -> Ranks:
    """Rank of the true row in each line, 0 for the best; a tie goes to the others."""
    own = similarity[np.arange(len(rows)), rows][:, None]
    return np.asarray((similarity >= own).sum(axis=1) - 1, dtype=np.int64)


def ranks_among(similarity: Float64, rows: Ranks, n: int, rng: np.random.Generator) -> Ranks:
    """Rank of the true row among itself and `n - 1` others drawn at random for each line."""
    out = np.empty(len(rows), dtype=np.int64)
    for i, row in enumerate(rows):
        others = rng.permutation(np.delete(np.arange(similarity.shape[1]), row))[: n - 1]
        out[i] = int((similarity[i, others] >= similarity[i, row]).sum())
    return out


def calibration_error(probability: Float64, hit: NDArray[np.bool_], n_bins: int = 10) -> float:
    """Expected calibration error over bins of equal count."""
    order = np.argsort(probability)
    parts = np.array_split(order, n_bins)
    gaps = [abs(probability[p].mean() - hit[p].mean()) * len(p) for p in parts if len(p)]
    return float(np.sum(gaps) / len(probability))


def score(
    sessions: Sequence[Session],
    encode: Encode | Sequence[Encode],
    gallery: Gallery,
    *,
    temperature: float,
) -> Scores:
    """Identify every epoch of every person; `encode` may be one a person."""
    each = [encode] * len(sessions) if callable(encode) else list(encode)
    pairs = zip(sessions, each, strict=True)
    vectors = [function(session.epochs) for session, function in pairs]
    table = gallery.embeddings.T.astype(np.float64)
    similarity = [rows @ table for rows in vectors]
    found = _ranks_of_people(similarity, [session.rows for session in sessions])
    whole, rows = np.concatenate(similarity), np.concatenate([s.rows for s in sessions])
    hit = np.concatenate(found[0]) == 0
    weights = np.exp((whole - whole.max(axis=1, keepdims=True)) / temperature)
    probability = 1 / weights.sum(axis=1)
    held = set(held_out_concepts(load_gallery()))
    new = np.array([s.concept in held for s in gallery.stimuli])[rows]
    return Scores(
        top1={n: np.array([(r == 0).mean() for r in each]) for n, each in found.items()},
        top5={n: np.array([(r < 5).mean() for r in each]) for n, each in found.items()},
        norm=float(np.linalg.norm(np.concatenate(vectors), axis=1).mean()),
        confidence=float(probability.mean()),
        calibration_error=calibration_error(probability, hit),
        seen_top1=float(hit[~new].mean()),
        unseen_top1=float(hit[new].mean()) if new.any() else float("nan"),
        n=len(hit),
    )


def _ranks_of_people(
    similarity: Sequence[Float64], rows: Sequence[Ranks]
) -> dict[int, list[Ranks]]:
    """Ranks of each person's epochs among all (0), 200 and 50 pictures; always the same draws."""
    found: dict[int, list[Ranks]] = {
        0: [ranks(table, own) for table, own in zip(similarity, rows, strict=True)]
    }
    for n in (MANY, FEW):
        rng = np.random.default_rng(n)
        found[n] = [
            ranks_among(table, own, n, rng) for table, own in zip(similarity, rows, strict=True)
        ]
    return found


def with_interval(values: Float64) -> str:
    """Mean over people with its 95 % t interval, in percent."""
    mean = 100 * float(values.mean())
    if len(values) < 2 or values.std() == 0:
        return f"{mean:.1f}"
    half = 100 * float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1))
    return f"{mean:.1f} ±{half:.1f}"


def line(system: str, board: str, snr: float, s: Scores) -> dict[str, Any]:
    """One row of the JSON beside a table; `top1` and `top5` are among all pictures."""
    return {
        "system": system,
        "board": board,
        "snr": snr,
        "n": s.n,
        "top1": with_interval(s.top1[0]),
        "top5": with_interval(s.top5[0]),
        "top1_of_200": with_interval(s.top1[MANY]),
        "top5_of_200": with_interval(s.top5[MANY]),
        "top1_of_50": with_interval(s.top1[FEW]),
        "top5_of_50": with_interval(s.top5[FEW]),
        "people_top1": [round(float(x), 3) for x in s.top1[0]],
        "norm": round(s.norm, 3),
        "mean_probability": round(s.confidence, 4),
        "ece": round(s.calibration_error, 4),
        "seen_concepts_top1": round(s.seen_top1, 4),
        "unseen_concepts_top1": round(s.unseen_top1, 4),
    }


_COLUMNS = {
    "system": "system",
    "board": "board",
    "snr": "SNR",
    "n": "epochs",
    "top1_of_200": "top-1 of 200",
    "top5_of_200": "top-5 of 200",
    "top1_of_50": "top-1 of 50",
    "top5_of_50": "top-5 of 50",
    "top1": "top-1 of all",
}


def markdown(lines: Sequence[dict[str, Any]], *, without: Sequence[str] = ()) -> str:
    """Lay the lines out as a table; columns named in `without` stay out."""
    names = {key: name for key, name in _COLUMNS.items() if key not in without}
    rows = [[_word(each[key]) for key in names] for each in lines]
    head = ["| " + " | ".join(names.values()) + " |", "|" + " --- |" * len(names)]
    return "\n".join([*head, *("| " + " | ".join(row) + " |" for row in rows)])


def write_lines(
    lines: Sequence[dict[str, Any]], document: Path, *, block: str, without: Sequence[str] = ()
) -> None:
    """Write lines as JSON beside a document, and as a table into it.

    The table goes between the document's lines `<!-- block -->` and `<!-- /block -->`; where it has
    none, into a file of its own.
    """
    document.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(list(lines), indent=1, ensure_ascii=False) + "\n"
    document.with_suffix(".json").write_text(text, encoding="utf-8")
    table = markdown(lines, without=without)
    begin, end = f"<!-- {block} -->", f"<!-- /{block} -->"
    whole = document.read_text(encoding="utf-8") if document.is_file() else ""
    if begin not in whole:
        loose = document.with_name(f"{document.stem}_table.md")
        loose.write_text(table + "\n", encoding="utf-8")
        return
    before, rest = whole.split(begin, 1)
    after = rest.split(end, 1)[1]
    document.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}", encoding="utf-8")


def _word(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
