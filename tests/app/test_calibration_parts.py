"""The calibration's parts: order, signal check, block check, counts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from app.calibration.collection import Collection, are_alike
from app.calibration.design import examine
from app.calibration.reading import default_classes, parse_labels
from app.calibration.report import render, score_plot
from app.calibration.schedule import SETS, Choices, Planned, length, plan, timeline
from app.calibration.signal_check import SECONDS, Light, SignalChecker
from app.calibration.steps import FlowView
from app.calibration.words import never_came
from app.errors import AppError
from app.port import EpochEvent
from app.presentation import CATCH_LABEL as CATCH
from configs import StimuliConfig
from models.adapters.methods.ensemble import ClassEnsemble
from pipeline.errors import ConfigurationError
from pipeline.gallery import load_gallery
from pipeline.signal_quality import ChannelQuality, Grade
from pipeline.values import Epoch, Info, Outcome
from tests.app.calibration_fakes import result_of

INFO = Info(("O1", "O2"), 250.0)


def schedule(choices: Choices, labels: Sequence[str]) -> tuple[Planned, ...]:
    return timeline(plan(choices, labels))


def test_the_order_is_mixed_balanced_and_of_the_seed_only() -> None:
    choices = Choices(minutes=5, seed=3)
    labels = choices.labels(load_gallery())
    planned = schedule(choices, labels)
    assert planned == schedule(choices, labels)
    assert planned != schedule(Choices(minutes=5, seed=4), labels)
    pictures = [p.label for p in planned if not p.is_catch]
    counts = Counter(pictures)
    assert set(counts) == set(labels)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert all(a != b for a, b in pairwise(pictures))
    assert not examine(pictures).is_blocked
    # Catch trials are few and spread; no picture overlaps the next.
    catches = [i for i, p in enumerate(planned) if p.is_catch]
    assert 0.02 < len(catches) / len(planned) < 0.1
    assert min(b - a for a, b in pairwise(catches)) > 5
    assert all(b.at - a.at >= a.duration for a, b in pairwise(planned))


def test_breaks_come_on_top_of_the_minutes() -> None:
    with_breaks = Choices(minutes=3.1, seed=1)
    without = Choices(minutes=3.1, seed=1, break_length=0.0)
    labels = with_breaks.labels(load_gallery())
    a, b = schedule(with_breaks, labels), schedule(without, labels)
    assert [p.label for p in a] == [p.label for p in b]
    assert sum(p.break_before > 0 for p in a) == 3
    assert length(a) == pytest.approx(length(b) + 24.0)
    assert length(b) == pytest.approx(186, abs=3)
    assert schedule(Choices(minutes=0.1), labels)


def test_no_catch_trials_when_none_are_wanted() -> None:
    choices = Choices(minutes=2, catch_every=0, stimuli=StimuliConfig(soa=0.6, jitter=0))
    assert CATCH not in {p.label for p in schedule(choices, ["a", "b"])}


@pytest.mark.parametrize("name", SETS)
def test_every_set_has_upright_pictures(name: str) -> None:
    gallery = load_gallery()
    labels = Choices(stimulus_set=name).labels(gallery)
    assert len(labels) >= 8
    assert {gallery.stimuli[gallery.index(label)].kind for label in labels} == {"upright"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"stimulus_set": "nope"}, "expected one of varied"), ({"minutes": 0.0}, "0 minutes")],
)
def test_choices_that_cannot_be_planned_are_refused(wrong: dict, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Choices(**wrong)


def verdicts(*grades: Grade) -> tuple[ChannelQuality, ...]:
    return tuple(
        ChannelQuality(f"C{i}", 60.0, 0.0, 0.1, 2.0, 1.0, 0, 0.0, grade, "flat: swings 0 µV")
        for i, grade in enumerate(grades)
    )


def test_the_check_turns_green_after_good_seconds_and_red_with_a_name() -> None:
    checker = SignalChecker()
    good, bad = (Grade.GOOD,) * 8, (Grade.GOOD,) * 7 + (Grade.BAD,)
    first = verdicts(*good)
    assert checker.feed(first).light is Light.WAITING
    assert checker.feed(first).light is Light.WAITING  # the same second again
    for _ in range(SECONDS - 1):
        state = checker.feed(verdicts(*good))
    assert state.light is Light.GREEN
    state = checker.feed(verdicts(*bad))
    assert state.light is Light.RED
    assert state.worst == (("C7", "flat: swings 0 µV"),)
    assert "1 of 8 channels is bad: C7 (flat" in state.sentence
    # Some doubtful ones are no reason to wait, many are.
    few, many = (Grade.GOOD,) * 6 + (Grade.DOUBTFUL,) * 2, (Grade.DOUBTFUL,) * 8
    for _ in range(SECONDS):
        state = checker.feed(verdicts(*few))
    assert state.light is Light.GREEN
    assert checker.feed(verdicts(*many)).light is Light.RED
    assert "impedance 250 kΩ" in str(checker.feed(verdicts(*good), impedance={"C1": 250.0}).worst)


def test_blocks_are_seen_and_mixed_orders_are_not() -> None:
    rng = np.random.default_rng(0)
    blocked = ["a"] * 30 + ["b"] * 30 + ["c"] * 30
    assert examine(blocked).is_blocked
    assert "came in blocks" in examine(blocked).sentence
    for _ in range(20):
        mixed = list(rng.permutation(blocked))
        assert not examine(mixed).is_blocked
        assert not examine(mixed).sentence
    # Short runs are a fault of order as well.
    assert examine([c for c in "abcdefabcdef" * 3 for _ in range(3)]).is_blocked


def event(label: str, outcome: Outcome = Outcome.COLLECTED, at: float = 0.0) -> EpochEvent:
    epoch = Epoch(np.zeros((2, 250), np.float32), -0.2, 0.8, at, label, INFO, 0)
    return EpochEvent(0, at, label, outcome, epoch=epoch)


def test_epochs_are_counted_by_concept_and_kept_in_order() -> None:
    collection = Collection({"1": "face", "2": "face", "3": "house"})
    collection.take(event("3", at=5.0))
    collection.take(event("1", at=4.0))
    collection.take(event("2", Outcome.ARTIFACT, at=6.0))
    collection.take(event(CATCH))
    assert collection.counts.good == {"face": 1, "house": 1}
    assert collection.counts.refused == {"artifact": 1}
    assert collection.counts.refused_by_concept == {"face": 1}
    assert collection.others == {CATCH: 1}
    assert [name for name, _ in collection.epochs()] == ["face", "house"]
    everything = Collection()
    for label, outcome in (("a", Outcome.COLLECTED), ("b", Outcome.ARTIFACT), ("c", Outcome.GAP)):
        everything.take(event(label, outcome))
        everything.take(event(label))
    everything.restrict({"a": "x", "b": "x"})
    assert everything.counts.good == {"x": 3}
    assert everything.counts.refused == {"artifact": 1}
    assert everything.others == {"c": 1}
    collection.expect(["a"])
    assert collection.counts.good == {"a": 0}
    assert collection.epochs() == ()


@pytest.mark.parametrize(
    ("label", "wanted", "alike"),
    [
        ("Face", "face", True),
        ("Stimulus/S 11", "S 11", True),
        ("Stimulus/S 11", "s11", True),
        ("Stimulus/S  1", "1", True),
        ("Stimulus/S 11", "1", False),
        ("Response/R 11", "11", False),
        ("face-left", "face", False),
    ],
)
def test_which_spellings_are_alike(label: str, wanted: str, alike: bool) -> None:
    assert are_alike(label, wanted) is alike


def test_labels_are_found_in_another_spelling_where_none_is_exact() -> None:
    collection = Collection({"face": "face", "S 11": "house", "gone": "gone"})
    for label in ("Face", "Stimulus/S 11", "other"):
        collection.take(event(label))
    collection.start_session()
    for label in ("face", "FACE"):  # here one is spelt exactly so
        collection.take(event(label))
    assert collection.counts.good == {"face": 1, "house": 0, "gone": 0}
    said = collection.settle()
    assert said == ("'Face' is taken for 'face'.", "'Stimulus/S 11' is taken for 'S 11'.")
    assert collection.counts.good == {"face": 2, "house": 1, "gone": 0}
    assert collection.class_of == {
        "face": "face",
        "Face": "face",
        "Stimulus/S 11": "house",
        "gone": "gone",
    }
    assert collection.others == {"other": 1, "FACE": 1}
    assert collection.unseen == ("gone",)
    assert never_came(collection.unseen, collection.others) == (
        "No marker is called 'gone': nothing is learnt of it. Not asked for were 'other' (1), "
        "'FACE' (1)."
    )
    assert [len(collection.epochs(number)) for number in (0, 1)] == [2, 1]


def test_labels_name_classes_and_bad_ones_are_refused(tmp_path: Path) -> None:
    assert parse_labels(None) == {}
    assert parse_labels("a, b") == {"a": "a", "b": "b"}
    assert parse_labels("1=x,2=x,3=y") == {"1": "x", "2": "x", "3": "y"}
    file = tmp_path / "labels.txt"
    file.write_text("flash,1,2=hit\nflash,3,4=miss\n\n")
    assert parse_labels(str(file)) == {"flash,1,2": "hit", "flash,3,4": "miss"}
    for wrong, words in (("a", "1 class"), ("a,,b", "expected EVENT"), ("=x,b", "expected EVENT")):
        with pytest.raises(AppError, match=words):
            parse_labels(wrong)


def test_without_labels_the_gallery_decides_then_the_counts() -> None:
    assert default_classes({"house": 2, "castle": 1, "press": 90}, load_gallery()) == {
        "house": "house",
        "castle": "castle",
    }
    assert default_classes({"1": 50, "2": 40, "seldom": 3}, load_gallery()) == {"1": "1", "2": "2"}
    with pytest.raises(AppError, match=r"'1' .50."):
        default_classes({"1": 50, "seldom": 3}, load_gallery())


def test_the_page_names_methods_whole_and_begins_sentences_as_such() -> None:
    title = ClassEnsemble.title
    result = result_of()
    picked = replace(result.scores[2], name=title)
    result = replace(
        result, scores=(picked,), reason=f"{title}: best.", curve_sentence="2 more minutes."
    )
    names = re.findall(r"<text ([^>]*)>([^<]*)</text>", str(score_plot(result)))
    shown, *_ = (where for where, what in names if what == f"▸ {title}")
    assert 'text-anchor="start"' in shown
    assert 'x="4"' in shown
    page = render(FlowView(result=result), subject="kim")
    said = re.findall(r'<p class="finding [a-z]+">([^<])', page)
    assert len(said) == 4
    assert not [first for first in said if first.islower()]
