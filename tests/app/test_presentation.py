"""The presentation's plan and its frame-stepping machine: no Qt, no clock."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.presentation import (
    CATCH_LABEL,
    Frame,
    Player,
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
    per_trial=st.integers(1, 5),
    gap=st.integers(0, 2),
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


def _play(plan: PresentationPlan, skips: list[int] | None = None) -> list[Frame]:
    """Step to the end; `skips` are frames that the screen dropped, one number a frame."""
    player, frames, index = Player(plan), [], 0
    while not player.finished:
        frames.append(player.advance(index))
        index += 1 + (skips[len(frames) % len(skips)] if skips else 0)
    return frames


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


@given(plans)
def test_without_drops_every_frame_is_as_planned(plan: PresentationPlan) -> None:
    frames = _play(plan)
    wanted = [step.show for step in plan.steps for _ in range(step.duration or 0)]
    assert [frame.show for frame in frames] == wanted
    assert [f.marker for f in frames if f.marker and f.show is Show.STIMULUS] == list(plan.labels)
    assert len(frames) == plan.n_frames


@given(plans, st.lists(st.integers(0, 9), min_size=1, max_size=20))
def test_dropped_frames_skip_no_picture_and_shorten_none(
    plan: PresentationPlan, skips: list[int]
) -> None:
    frames = _play(plan, skips)
    entered = [frame for frame in frames if frame.changed]
    assert [frame.show for frame in entered] == [step.show for step in plan.steps]
    for step, start, end in zip(plan.steps, entered, entered[1:], strict=False):
        assert step.duration is not None
        assert step.duration <= end.index - start.index <= step.duration + max(skips)
    assert tuple(f.marker for f in frames if f.marker not in (None, CATCH_LABEL)) == plan.labels


@given(plans)
def test_a_marker_is_stamped_once_at_the_first_frame_of_its_picture(plan: PresentationPlan) -> None:
    player, index = Player(plan), 0
    while not player.finished:
        frame, again = player.advance(index), player.advance(index)
        assert (frame.marker is not None) == (frame.changed and frame.lit)
        assert again.marker is None
        assert not again.changed
        assert (again.show, again.label) == (frame.show, frame.label)
        index += 1
    assert player.n_shown == len(plan.labels)


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


def test_serial_presentation_shows_pictures_after_one_fixation() -> None:
    timing = Timing(fixation=6, stimulus=3, blank=4, per_trial=4, gap=2)
    plan = plan_presentation(LABELS, timing=timing)
    stimulus, gap = (Show.STIMULUS, 3), (Show.BLANK, 2)
    assert [(step.show, step.duration) for step in plan.steps] == [
        (Show.FIXATION, 6),
        *(stimulus, gap, stimulus, gap, stimulus, gap, stimulus),
        (Show.BLANK, 4),
        (Show.END, 1),
    ]


def test_seconds_become_whole_frames_of_the_screen() -> None:
    timing = Timing.from_seconds(refresh_hz=144, stimulus=0.1, blank=0, gap=0.001)
    assert (timing.fixation, timing.stimulus, timing.blank, timing.gap) == (72, 14, 0, 0)
    assert Timing.from_seconds(refresh_hz=60, stimulus=0.001).stimulus == 1


def test_a_break_lasts_until_the_person_goes_on() -> None:
    player = Player(plan_presentation(LABELS, wait_to_begin=True))
    for index in range(500):
        frame = player.advance(index)
        assert frame.show is Show.BREAK
    assert frame.message == "Press the space bar to begin."
    player.respond()
    assert player.advance(500).show is Show.FIXATION
    assert player.n_false_alarms == 0


def test_a_break_that_is_asked_for_comes_before_the_next_trial() -> None:
    plan = plan_presentation(LABELS, timing=Timing(fixation=2, stimulus=3, blank=2))
    player = Player(plan)
    shows = [player.advance(0).show]
    player.ask_break()
    shows += [player.advance(index).show for index in range(1, 20)]
    assert shows == [Show.FIXATION] * 2 + [Show.STIMULUS] * 3 + [Show.BLANK] * 2 + [Show.BREAK] * 13
    player.resume()
    rest, index = [], 20
    while not player.finished:
        rest.append(player.advance(index))
        index += 1
    assert [f.marker for f in rest if f.marker] == list(plan.labels[1:])
    assert rest[0].show is Show.FIXATION


def test_answers_to_catch_trials_are_counted() -> None:
    plan = plan_presentation(
        LABELS, repetitions=5, timing=Timing(fixation=2, stimulus=3, blank=2), n_catch=2
    )
    player, index, due = Player(plan, response_frames=5), 0, []
    player.respond()  # nothing to answer yet
    while not player.finished:
        if player.advance(index).marker == CATCH_LABEL:
            due.append(index + (5 if not due else 6))
        if index in due:
            player.respond()
        index += 1
    assert (player.n_catches, player.n_hits, player.n_false_alarms) == (2, 1, 2)


def test_an_ended_run_stamps_nothing_more() -> None:
    player = Player(plan_presentation(LABELS, repetitions=3))
    frames = [player.advance(index) for index in range(40)]
    player.end()
    frames += [player.advance(index) for index in range(40, 400)]
    assert player.finished
    assert [frame.marker for frame in frames if frame.marker] == [player.plan.labels[0]]


def test_frames_only_go_forward() -> None:
    player = Player(plan_presentation(LABELS))
    player.advance(5)
    with pytest.raises(ValueError, match="frame 4 after frame 5"):
        player.advance(4)


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
