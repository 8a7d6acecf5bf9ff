"""The presentation's plan and its frame-stepping machine: no Qt, no clock."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.presentation import (
    PresentationPlan,
    Show,
    Timing,
    plan_presentation,
)
from pipeline.errors import ConfigurationError

LABELS = ("cat", "dog", "house", "tree")

timings = st.builds(
    Timing,
    fixation=st.integers(0, 4),
    stimulus=st.integers(1, 5),
    blank=st.integers(0, 4),
    jitter=st.integers(0, 3),
)
plans = st.builds(
    plan_presentation,
    st.integers(1, 5).map(lambda n: tuple("abcde"[:n])),
    repetitions=st.integers(1, 5),
    timing=timings,
    n_catch=st.integers(0, 4),
    trials_per_break=st.integers(0, 4),
    break_frames=st.integers(1, 3),
    seed=st.integers(0, 99),
)


@given(plans)
def test_labels_are_interleaved_never_blocked(plan: PresentationPlan) -> None:
    labels = plan.labels
    names = set(labels)
    counts: Counter[str] = Counter()
    for last, label in zip((None, *labels), labels, strict=False):
        assert label != last or len(names) == 1
        counts[label] += 1
        seen = [counts[name] for name in names]
        assert max(seen) - min(seen) <= 1
    assert len(set(counts.values())) == 1


def test_the_seed_alone_repeats_a_plan() -> None:
    def make(seed: int) -> PresentationPlan:
        timing = Timing(jitter=9)
        return plan_presentation(LABELS, repetitions=5, timing=timing, n_catch=3, seed=seed)

    assert make(7) == make(7)
    assert make(7).labels != make(8).labels


def test_catch_trials_are_spread_and_breaks_come_when_planned() -> None:
    plan = plan_presentation(LABELS, repetitions=10, n_catch=4, trials_per_break=11, seed=3)
    caught = [step.trial for step in plan.steps if step.show is Show.CATCH]
    assert plan.n_trials == 44
    assert [trial * 4 // 44 for trial in caught] == [0, 1, 2, 3]
    breaks = [step for step in plan.steps if step.show is Show.BREAK]
    assert [step.trial for step in breaks] == [11, 22, 33]
    assert all(step.duration is None for step in breaks)


def test_seconds_become_whole_frames_of_the_screen() -> None:
    timing = Timing.from_seconds(refresh_hz=144, stimulus=0.1, blank=0.001)
    assert (timing.fixation, timing.stimulus, timing.blank) == (72, 14, 0)
    assert Timing.from_seconds(refresh_hz=60, stimulus=0.001).stimulus == 1


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        ((), {}, "at least one"),
        (("a", "a"), {}, "all different"),
        (("a", ""), {}, "none empty"),
        (("a",), {"repetitions": 0}, "repetitions is 0"),
        (("a",), {"n_catch": -1}, "n_catch is -1"),
        (("a",), {"break_frames": 0}, "break_frames is 0"),
    ],
)
def test_a_wrong_plan_is_refused(
    labels: tuple[str, ...], options: dict[str, int], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        plan_presentation(labels, **options)  # type: ignore[arg-type]


def test_wrong_durations_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="stimulus is 0, expected a number of at least 1"):
        Timing(stimulus=0)
