"""The calibration's flow: its order, what it refuses, what it keeps."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app.calibration.catches import catch_table
from app.calibration.flow import FIRST_TIMEOUT, Flow
from app.calibration.headless import run_flow
from app.calibration.results import Verdict
from app.calibration.schedule import Choices, Planned
from app.calibration.signal_check import SECONDS, Light
from app.calibration.steps import ENDS, TRANSITIONS, Step, may_follow
from app.errors import AppError
from app.port import Phase
from pipeline.errors import PhospheneError
from pipeline.signal_quality import Grade
from tests.app.calibration_fakes import FakeTrainer, Stage, event_of, result_of
from tests.app.fake_session import FakeSession


def until(stage: Stage, condition: Callable[[], bool], limit: int = 2000) -> None:
    """Poll until something holds; background calls of fakes end in microseconds."""
    pause = threading.Event()
    for _ in range(limit):
        stage.flow.poll()
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError(f"never: stands at {stage.flow.view()}")


def step(stage: Stage) -> Step:
    return stage.flow.view().step


def to_choose(stage: Stage) -> None:
    stage.flow.start()
    until(stage, lambda: step(stage) is Step.CHECK)
    stage.seconds(SECONDS)
    stage.flow.proceed()


def to_result(stage: Stage) -> None:
    to_choose(stage)
    stage.flow.begin(Choices(minutes=1.0, catch_every=0))
    stage.live.show(1000)
    until(stage, lambda: step(stage) is Step.RESULT)


def about(folder: Path) -> dict:
    return json.loads((folder / "calibration.json").read_text())


def test_the_whole_way_from_the_check_to_the_saved_adapter(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    flow = stage.flow
    flow.start()
    until(stage, lambda: step(stage) is Step.CHECK)
    with pytest.raises(AppError, match="not green"):
        flow.proceed()
    stage.seconds(SECONDS)
    assert flow.view().check.light is Light.GREEN
    flow.proceed()
    assert step(stage) is Step.CHOOSE
    flow.begin(Choices(minutes=1.0, seed=7))
    view = flow.view()
    assert view.step is Step.COLLECT
    assert view.n_planned > 40
    assert about(tmp_path)["state"] == "collecting"
    stage.live.show(20, artifact_every=5)
    flow.poll()
    view = flow.view()
    n_catch = sum(p.is_catch for p in stage.live.planned[:20])
    assert view.n_shown == 20
    assert view.counts.n_good + view.counts.n_refused == 20 - n_catch
    assert view.counts.n_refused >= 3
    assert view.remaining is not None
    assert 30 < view.remaining < 60
    stage.live.show(1000)
    until(stage, lambda: step(stage) is Step.TRAIN)
    assert about(tmp_path)["state"] == "collected"
    until(stage, lambda: step(stage) is Step.RESULT)
    assert flow.view().result == result_of()
    assert about(tmp_path)["result"]["verdict"] == "found"
    flow.save()
    until(stage, lambda: step(stage) is Step.SAVED)
    assert flow.view().adapter_id == about(tmp_path)["adapter"] == "sub-1-20261121"
    assert stage.trainer.closed
    assert about(tmp_path)["checks"]["blocked"] is False
    flow.stop()
    assert step(stage) is Step.SAVED


def test_a_bad_signal_is_overridden_knowingly_only(tmp_path: Path) -> None:
    faults = {"O1": (Grade.BAD, "flat: swings 0 µV in a second")}
    stage = Stage(tmp_path, session=FakeSession(length=4.0, faults=faults))
    stage.flow.start()
    until(stage, lambda: step(stage) is Step.CHECK)
    stage.seconds(SECONDS + 1)
    assert stage.flow.view().check.light is Light.RED
    with pytest.raises(AppError, match="O1"):
        stage.flow.proceed()
    stage.flow.proceed(override=True)
    assert stage.flow.view().overridden
    stage.flow.begin()
    assert "O1" in about(tmp_path)["checks"]["signal_overridden"]
    stage.flow.stop()


@pytest.mark.parametrize("verdict", [Verdict.NOTHING, Verdict.LEAK])
def test_nothing_found_and_a_leak_are_no_adapters(tmp_path: Path, verdict: Verdict) -> None:
    stage = Stage(tmp_path, result=result_of(verdict))
    to_result(stage)
    with pytest.raises(AppError, match="no adapter to save"):
        stage.flow.save()
    stage.flow.discard()
    assert step(stage) is Step.DISCARDED
    assert stage.trainer.saves == 0
    assert about(tmp_path)["result"]["verdict"] == verdict.value
    assert about(tmp_path)["adapter"] is None


def test_a_blocked_order_takes_back_what_was_found(tmp_path: Path) -> None:
    def read(_stop: threading.Event) -> None:
        for block in range(4):
            for i in range(12):
                stage.collection.take(event_of(f"class-{block}", 100.0 * block + i))

    stage = Stage(tmp_path, read=read)
    stage.flow.start()
    until(stage, lambda: step(stage) is Step.RESULT)
    result = stage.flow.view().result
    assert result is not None
    assert result.verdict is Verdict.LEAK
    assert "came in blocks" in result.headline
    with pytest.raises(AppError):
        stage.flow.save()
    stage.flow.stop()


def test_too_few_epochs_are_said_and_kept(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    to_choose(stage)
    stage.flow.begin()
    stage.live.show(8)
    stage.flow.finish_early()
    until(stage, lambda: step(stage) is Step.FAILED)
    assert "good epochs, expected at least 20" in stage.flow.view().message
    assert str(tmp_path) in stage.flow.view().message
    assert about(tmp_path)["state"] == "failed"
    assert not stage.trainer.started


def test_a_training_is_cancelled_and_begun_again(tmp_path: Path) -> None:
    stage = Stage(tmp_path, trainer=FakeTrainer(result_of(), steps=10**6))
    to_choose(stage)
    stage.flow.begin()
    stage.live.show(1000)
    until(stage, lambda: stage.flow.view().training.fraction > 0)
    first = stage.trainer
    stage.flow.cancel_training()
    assert first.closed
    assert about(tmp_path)["state"] == "cancelled"
    stage.flow.train_again()
    until(stage, lambda: step(stage) is Step.RESULT)
    assert stage.trainer is not first
    stage.flow.stop()
    assert stage.trainer.closed


def test_failures_of_stream_training_and_store_are_sentences(tmp_path: Path) -> None:
    stage = Stage(tmp_path, session=FakeSession(length=4.0, fail_at=2.0))
    stage.flow.start()
    until(stage, lambda: step(stage) is Step.CHECK)
    stage.session.now = 3.0
    stage.flow.poll()
    assert step(stage) is Step.FAILED
    assert "silent for 5 s" in stage.flow.view().message
    stage.flow.stop()

    stage = Stage(tmp_path, trainer=FakeTrainer(result_of(), fails="The training died."))
    to_choose(stage)
    stage.flow.begin()
    stage.live.show(1000)
    until(stage, lambda: step(stage) is Step.FAILED)
    assert "The training died. The data is kept" in stage.flow.view().message

    stage = Stage(tmp_path)
    to_result(stage)
    stage.trainer.refuse = "the disk is full."
    stage.flow.save()
    until(stage, lambda: bool(stage.flow.view().save_error))
    assert step(stage) is Step.RESULT
    stage.trainer.refuse = ""
    stage.flow.save()
    until(stage, lambda: step(stage) is Step.SAVED)

    def refuse(_stop: threading.Event) -> None:
        raise PhospheneError("x.edf: no such file.")

    stage = Stage(tmp_path, read=refuse)
    stage.flow.start()
    until(stage, lambda: step(stage) is Step.FAILED)
    assert stage.flow.view().message == "x.edf: no such file."


def test_pictures_that_never_begin_are_said(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    to_choose(stage)
    stage.flow.begin()
    stage.now += FIRST_TIMEOUT - 1
    stage.flow.poll()
    assert step(stage) is Step.COLLECT
    stage.now += 2
    stage.flow.poll()
    assert step(stage) is Step.FAILED
    assert "No picture was shown within 90 s" in stage.flow.view().message
    stage.flow.stop()
    assert stage.session.phase is Phase.STOPPED


def test_giving_up_ends_everything_and_keeps_the_counts(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    to_choose(stage)
    stage.flow.begin()
    stage.live.show(5)
    stage.flow.poll()
    stage.flow.stop()
    assert stage.session.phase is Phase.STOPPED
    assert step(stage) is Step.STOPPED
    assert about(tmp_path)["epochs"]["n_good"] >= 4


def test_steps_follow_the_table_only() -> None:
    for one in Step:
        for to in Step:
            allowed = one not in ENDS and (
                to in TRANSITIONS[one] or to in (Step.FAILED, Step.STOPPED)
            )
            assert may_follow(one, to) is allowed


def test_breaks_are_shown_with_what_is_left(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    to_choose(stage)
    stage.flow.begin(Choices(minutes=2.0, catch_every=0, break_length=8.0))
    at = next(i for i, each in enumerate(stage.live.planned) if each.break_before)
    stage.live.show(at)
    stage.flow.poll()
    gap = stage.live.planned[at].at - stage.live.planned[at - 1].at
    assert stage.flow.view().break_left is None
    stage.now += gap - 5.0
    assert stage.flow.view().break_left == pytest.approx(5.0)
    stage.flow.stop()


def test_catch_trials_are_scored() -> None:
    planned = tuple(Planned(1.2 * i, "catch" if i == 2 else "a", 0.5) for i in range(5))
    none = {"shown": 1, "answered": 0, "false_alarms": 0}
    assert catch_table(planned, [], n_shown=5) == none
    assert catch_table(planned, [(3, 0.4)], n_shown=5)["answered"] == 1
    # A slow answer comes when the next picture is up; a much later one is a false alarm.
    assert catch_table(planned, [(4, 0.2)], n_shown=5)["answered"] == 1
    assert catch_table(planned, [(4, 0.9)], n_shown=5)["false_alarms"] == 1
    assert catch_table(planned, [(3, 0.3), (3, 0.6), (5, 0.2)], n_shown=5)["false_alarms"] == 2


class _Headless(Stage):
    """Moves by itself at every view."""

    def move(self, _view: object) -> None:
        view = self.flow.view()
        if view.step is Step.CHECK:
            self.seconds(1)
        elif view.step is Step.COLLECT:
            self.live.show(1000)


def headless(flow: Flow, stage: _Headless, **options: bool | float) -> Step:
    return run_flow(flow, on_view=stage.move, interval=0.001, **options).step


def test_headless_answers_every_question(tmp_path: Path) -> None:
    stage = _Headless(tmp_path)
    assert headless(stage.flow, stage) is Step.SAVED
    assert stage.trainer.saves == 1
    stage = _Headless(tmp_path, result=result_of(Verdict.NOTHING))
    assert headless(stage.flow, stage) is Step.DISCARDED
    faults = {"O1": (Grade.BAD, "flat: swings 0 µV in a second")}
    stage = _Headless(tmp_path, session=FakeSession(length=4.0, faults=faults))
    with pytest.raises(AppError, match=r"O1.*--force"):
        headless(stage.flow, stage, check_timeout=0.05)
    stage.flow.stop()
    stage = _Headless(tmp_path, session=FakeSession(length=4.0, faults=faults))
    assert headless(stage.flow, stage, force=True) is Step.SAVED
