"""The leaderboard: what a row says of answers that are right, guessed or all the same; its page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from models.evaluation.audit import Material
from research.leaderboard.page import BEGIN, END, write_page
from research.leaderboard.rows import Asked, Row, audited, row_of

SHOWN = np.tile(np.arange(8), 4)


def row(evidence: np.ndarray, name: str = "some") -> Row:
    people = [Asked(evidence, SHOWN), Asked(evidence, SHOWN)]
    return row_of("virtual people", name, people, audit="clean")


def test_a_row_says_what_was_right_and_what_chance_gives() -> None:
    right = row(np.eye(12)[SHOWN])
    assert right.two_way == right.first == (1.0, 1.0, 1.0)
    assert (right.trials, right.people, right.pictures, right.candidates) == (64, 2, 8, 12)
    assert abs(right.two_way_chance - 0.5) < 0.02
    assert abs(right.first_chance - 1 / 8) < 0.02
    assert right.p_value < 0.002
    assert right.repetitions == ((1, 1.0), (2, 1.0), (4, 1.0))


def test_one_answer_to_everything_is_a_guess() -> None:
    same = row(np.zeros((32, 8)))
    assert same.two_way[0] == same.two_way_chance == 0.5
    np.testing.assert_allclose(same.first, 1 / 8)
    assert same.p_value == 1.0


def test_noise_gets_better_by_repetition_only_where_something_is_in_it() -> None:
    rng = np.random.default_rng(0)
    weak = row(2.0 * np.eye(8)[SHOWN] + 1.5 * rng.normal(size=(32, 8)))
    (_, once), *_, (n, averaged) = weak.repetitions
    assert n == 4
    assert averaged > once + 0.1
    nothing = row(rng.normal(size=(32, 8)))
    assert nothing.p_value > 0.01


def test_the_audit_names_what_leaks() -> None:
    labels = [f"class {k}" for k in np.random.default_rng(0).permutation(SHOWN)]
    apart = Material(labels=labels, train_stimuli=("a",), test_stimuli=("b",))
    assert audited([apart]) == "clean (2 checks of 6 could be made)"
    again = Material(labels=labels, train_stimuli=("a",), test_stimuli=("a",))
    assert audited([apart, again]) == "leak in 1 of 2: repeated stimuli"


def test_the_page_keeps_what_is_written_around_its_tables(tmp_path: Path) -> None:
    page = tmp_path / "board.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    rows = [row(np.zeros((32, 8)), "guess"), row(np.eye(8)[SHOWN], "right")]
    write_page(rows, page, command="python -m research.leaderboard")
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert text.index("| right | 100.0 (100.0 to 100.0)") < text.index("| guess | 50.0")
    assert len(json.loads(page.with_suffix(".json").read_text())["rows"]) == 2
