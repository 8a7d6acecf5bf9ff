"""Evidence summed over repetitions: disjoint groups, counted once, in every place that says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.accuracy import Identification
from app.formatting import by_repetitions
from app.port import Result, SummedRanking
from app.ranking import Ranking
from app.repetitions import MAX_CANDIDATES, Repetitions
from app.report import build_report
from app.runtime.folder import result_to_json
from app.runtime.ledger import Ledger
from app.runtime.statistics import repetitions_of_events, repetitions_table
from pipeline.values import Outcome

NAMES = ("face", "house")


def ranking(p_face: float, truth: str = "face") -> Ranking:
    both = (("face", p_face), ("house", 1 - p_face))
    return Ranking(tuple(sorted(both, key=lambda each: -each[1])), truth, is_classes=True)


def feed(
    odds: list[float], label: str = "face", sums: Repetitions | None = None, **prior: float
) -> list[tuple[SummedRanking, ...]]:
    sums = sums or Repetitions()
    return [sums.take(label, ranking(p, "face"), prior=prior, n_top=10) for p in odds]


def test_each_trial_counts_in_one_group_of_a_size() -> None:
    found = feed([0.6] * 9)
    assert [[each.n for each in group] for group in found] == [
        [], [2], [], [2, 4], [], [2], [], [2, 4, 8], [],
    ]  # fmt: skip
    odds = 1.5
    for each in found[7]:
        assert each.top[0] == ("face", pytest.approx(odds**each.n / (1 + odds**each.n), rel=1e-5))
        assert (each.rank, each.n_candidates) == (1, 2)


def test_a_prior_is_counted_once() -> None:
    """Four epochs that say nothing are the prior, not its fourth power."""
    (*_, last) = feed([0.2] * 4, face=0.2, house=0.8)
    assert [dict(each.top)["face"] for each in last] == pytest.approx([0.2, 0.2], abs=1e-6)


def test_labels_do_not_mix_and_other_candidates_begin_anew() -> None:
    sums = Repetitions()
    assert feed([0.6], "a", sums) == feed([0.6], "b", sums) == [()]
    assert [each.n for each in feed([0.6], "a", sums)[0]] == [2]
    other = sums.take("b", ranking(0.4, truth="house"), prior={}, n_top=1)
    assert other == (), "a label whose meaning changed is another stimulus"
    three = Ranking((("car", 0.5), ("face", 0.3), ("house", 0.2)), "face")
    assert sums.take("b", three, prior={}, n_top=1) == ()
    (both,) = sums.take("b", three, prior={}, n_top=1)
    assert (both.n, both.rank, both.n_candidates, len(both.top)) == (2, 2, 3, 1)


def test_what_cannot_be_summed_is_not() -> None:
    many = Ranking(tuple((f"p{n}", 1e-3) for n in range(MAX_CANDIDATES + 1)), "p0")
    sums = Repetitions()
    for given in (many, Ranking(), ranking(0.5, truth="unknown")):
        assert [sums.take("a", given, prior={}, n_top=3) for _ in range(2)] == [(), ()]
    certain = feed([1.0, 0.0])[-1]  # 0 of one epoch alone forbids nothing
    assert dict(certain[0].top)["face"] == pytest.approx(0.5)


def test_groups_of_a_decoder_that_knows_nothing_raise_no_alarm() -> None:
    """Looked at after every group, with evidence that drifts and prefers one class."""
    rng, n_alarms = np.random.default_rng(0), 0
    for _ in range(20):
        shown = rng.integers(0, 2, 96)
        odds = 1 / (1 + np.exp(-(rng.standard_normal(96) + np.sin(np.linspace(0, 9, 96)))))
        sums, counts = Repetitions(), {n: Identification(2) for n in (2, 4, 8)}
        for truth, p in zip(shown, odds, strict=True):
            name = NAMES[truth]
            for each in sums.take(name, ranking(float(p), name), prior={}, n_top=1):
                counts[each.n].add(name, each.top[0][0], each.rank)
        found = [count.accuracy for count in counts.values()]
        n_alarms += any(each is not None and each.p_value < 0.05 for each in found)
    assert n_alarms <= 1


def session(n: int = 40) -> list[Result]:
    """Every epoch 60 % sure of the right one, but for each fourth."""
    sums, results = Repetitions(), []
    for index in range(n):
        label = NAMES[index % 2]
        p_right = 0.3 if index % 8 == 0 else 0.6
        found = ranking(p_right if label == "face" else 1 - p_right, label)
        summed = sums.take(label, found, prior={}, n_top=10)
        results.append(
            Result(
                index, float(index), label, Outcome.DECODED, top=found.top, chance=0.5,
                rank=found.rank, classes=found.top, truth=label, summed=summed,
            )
        )  # fmt: skip
    return results


def test_lines_books_summary_and_report_agree(tmp_path: Path) -> None:
    ledger, results = Ledger(2), session()
    for result in results:
        ledger.conclude(result)
    found = ledger.repetitions()
    assert {n: each.n for n, each in found.items()} == {2: 20, 4: 10, 8: 4}
    assert found[2].n_correct == 15
    assert found[4].n_correct == 10
    assert by_repetitions(found) == "2: 75 % · 4: 100 %"  # four groups are too few to say
    lines = [json.loads(json.dumps(result_to_json(result))) for result in results]
    assert repetitions_of_events(lines) == found
    assert "repetitions" not in lines[0]
    line = lines[2]["repetitions"][0]
    assert (line["n"], line["rank"], line["chance"]) == (2, 2, 0.5)
    assert line["top"][0][0] == "house"
    table = repetitions_table(found)
    assert [(row["n_repetitions"], row["n"]) for row in table] == [(2, 20), (4, 10), (8, 4)]
    summary = {"accuracy": {"n": 40, "n_correct": 35}, "repetitions": table}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    page = build_report(tmp_path).read_text(encoding="utf-8")
    assert "What repetitions say together" in page
    assert "<td>4</td><td>10</td><td>100 %</td>" in page
    assert page.count("<td>too few</td>") == 1


def test_another_decoders_groups_are_not_counted_with_these() -> None:
    ledger = Ledger(2)
    for result in session(8):
        ledger.conclude(result)
    names = (("car", 0.5), ("face", 0.3), ("house", 0.2))
    other = replace(
        session(1)[0], top=names, classes=names, rank=2, summed=(SummedRanking(2, names, 2, 3),)
    )
    ledger.conclude(other)
    found = ledger.repetitions()
    assert {n: (each.n, each.n_candidates) for n, each in found.items()} == {2: (1, 3)}
