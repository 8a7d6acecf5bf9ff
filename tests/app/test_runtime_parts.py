"""Phases, the folder's promises, the plan of stimuli, latencies."""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.errors import FolderError
from app.port import DisplayFigures, Phase, Result, StageTimes
from app.runtime.folder import SessionFolder, encode_png
from app.runtime.ledger import N_KEPT_EPOCHS, N_KEPT_WHOLE, Ledger
from app.runtime.phases import TRANSITIONS, PhaseMachine
from app.runtime.statistics import PARTS, Latencies
from app.runtime.stimuli import Presenter, plan
from configs import SessionConfig, StimuliConfig, load_config
from pipeline.errors import TransitionError
from pipeline.values import Outcome
from tests.waiting import PATIENCE, wait_for


@given(st.lists(st.sampled_from(Phase), max_size=8))
def test_only_the_table_s_transitions_happen(wanted: list[Phase]) -> None:
    machine, now = PhaseMachine(), Phase.IDLE
    for to in wanted:
        if to in TRANSITIONS[now]:
            machine.move(to, "ok")
            now = to
        else:
            with pytest.raises(TransitionError, match=f"is {now} cannot become {to}"):
                machine.move(to, "no")
        assert machine.read()[0] is now


def result(index: int, t_onset: float) -> Result:
    return Result(index=index, t_onset=t_onset, label="tiger", outcome=Outcome.DECODED)


def test_a_second_session_is_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    out = tmp_path / "one"
    first = SessionFolder(out)
    first.add_event(result(0, 1.0))
    before = {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()}
    with pytest.raises(FolderError, match=r"in use by.*choose another --out"):
        SessionFolder(out)
    assert {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()} == before
    first.finish({})
    first.close()
    with pytest.raises(FolderError, match="already holds"):
        SessionFolder(out)


def test_events_end_in_order_of_onset(tmp_path: Path) -> None:
    folder = SessionFolder(tmp_path / "s")
    for index, onset in enumerate([3.0, 1.0, 2.0]):
        folder.add_event(result(index, onset))
    folder.finish({"markers": 3})
    folder.close()
    lines = (tmp_path / "s" / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == [1, 2, 0]


def test_a_picture_s_hash_is_of_its_file_and_repeats(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    folder = SessionFolder(tmp_path / "s")
    png = encode_png(pixels, {"phosphene:label": "Käse"})
    name, digest = folder.write_image(7, png)
    folder.close()
    assert name == "images/000007.png"
    assert hashlib.sha256((tmp_path / "s" / name).read_bytes()).hexdigest() == digest
    assert encode_png(pixels, {"phosphene:label": "Käse"}) == png
    with Image.open(tmp_path / "s" / name) as image:
        assert image.info["phosphene:label"] == "Käse"
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_session_toml_gives_the_settings_back(tmp_path: Path) -> None:
    config = SessionConfig.model_validate(
        {
            "seed": 3,
            "filter": {"l_freq": None, "notch_freqs": []},
            "epochs": {"baseline": None, "reject_uv": {}},
            "source": {"name": "none"},
        }
    )
    folder = SessionFolder(tmp_path / "s")
    folder.write_session(config, run={"version": "1", "nothing": None}, streams={})
    folder.close()
    assert load_config(tmp_path / "s" / "session.toml") == config


@given(st.integers(2, 9), st.integers(0, 2**31))
def test_stimuli_are_balanced_seeded_and_never_repeat_at_once(n: int, seed: int) -> None:
    labels = [f"c{i}" for i in range(n)]
    config = StimuliConfig(soa=1.0, jitter=0.2, duration=0.5)
    shown = list(itertools.islice(plan(config, labels, seed=seed), 4 * n))
    assert shown == list(itertools.islice(plan(config, labels, seed=seed), 4 * n))
    names = [s.label for s in shown]
    assert all(names.count(label) == 4 for label in labels)
    assert all(a != b for a, b in itertools.pairwise(names))
    gaps = np.diff([s.at for s in shown])
    assert gaps.min() >= 1.0
    assert gaps.max() <= 1.2


def test_the_presenter_stamps_the_planned_onset() -> None:
    pushed: list[tuple[str, float]] = []
    now = itertools.count(100.0, 0.25)
    clock = lambda: float(next(now))
    config = StimuliConfig(soa=0.1, jitter=0.0, duration=0.05)
    presenter = Presenter(
        plan(config, ["a", "b"], seed=0),
        push=lambda label, at: pushed.append((label, at)),
        clock=clock,
        duration=0.35,
    )
    presenter.start()
    presenter._thread.join(PATIENCE)
    assert presenter.finished
    stamps = np.array([at for _, at in pushed])
    np.testing.assert_allclose(stamps, 100.5 + 0.1 * np.arange(4))
    assert presenter.n_shown == 4


def test_a_long_session_keeps_the_outcome_of_old_results_and_no_more() -> None:
    ledger = Ledger(10)
    stages = StageTimes(*(1.0,) * (len(PARTS) - 1), total_after_epoch=6.0)
    picture = np.zeros((8, 8, 3), np.uint8)
    for index in range(N_KEPT_WHOLE + 50):
        ledger.conclude(
            replace(
                result(index, float(index)),
                top=(("a", 0.5),),
                rank=1 + index % 10,
                pixels=picture,
                stages=stages,
                quality={"ptp_uv": 1.0},
            )
        )
    results = ledger.results_since(0)
    assert [each.index for each in results] == list(range(N_KEPT_WHOLE + 50))
    assert [each.rank for each in results] == [1 + n % 10 for n in range(N_KEPT_WHOLE + 50)]
    assert [bool(each.top) for each in results] == [False] * 50 + [True] * N_KEPT_WHOLE
    assert [each.pixels is None for each in results].count(False) == N_KEPT_EPOCHS
    assert results[0].quality == {}
    assert results[0].stages is None
    assert ledger.latencies.summary()["total_after_epoch"]["n"] == N_KEPT_WHOLE + 50
    found = ledger.accuracy()
    assert found is not None
    assert found.n == N_KEPT_WHOLE + 50


def _present(seed: int, pushed: list[tuple[str, float]], duration: float) -> Presenter:
    config = StimuliConfig(soa=0.06, jitter=0.0, duration=0.02)
    return Presenter(
        plan(config, ["a", "b"], seed=seed),
        push=lambda label, at: pushed.append((label, at)),
        clock=time.monotonic,
        duration=duration,
    )


def test_the_presenter_stamps_the_flip_of_an_attached_window() -> None:
    pushed: list[tuple[str, float]] = []
    presenter = _present(0, pushed, 0.2)
    presenter.attach()
    presenter.start()
    flips: dict[int, tuple[str, float]] = {}
    pause = threading.Event()
    while not presenter.finished:
        cue = presenter.cue
        if cue is not None and cue.number not in flips and presenter.clock() >= cue.at - 0.005:
            flips[cue.number] = (cue.label, cue.at + 0.004)
            presenter.flipped(cue.number - 1, 0.0)  # too late for the one before
            presenter.flipped(cue.number, cue.at + 0.004)
            presenter.flipped(cue.number, cue.at + 9.0)  # the first flip counts
        pause.wait(0.001)
    presenter.report(DisplayFigures("timer", False, 60.0, 59.9, 10, 1, 33.0))
    assert pushed == list(flips.values())
    assert len(pushed) == presenter.n_shown >= 3
    figures = presenter.figures()
    assert figures["flip_after_plan_ms"] == {"p50": 4.0, "p95": 4.0}
    assert (figures["stamped_at_flip"], figures["stamped_as_planned"]) == (len(pushed), 0)
    assert figures["display"]["n_dropped"] == 1


def test_a_picture_that_no_window_shows_in_time_is_stamped_as_planned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.runtime.stimuli.FLIP_TIMEOUT", 0.03)
    pushed: list[tuple[str, float]] = []
    presenter = _present(0, pushed, 0.1)
    planned = []
    push = presenter._push
    presenter._push = lambda label, at: (planned.append(presenter.cue.at), push(label, at))
    presenter.attach()
    presenter.start()
    presenter._thread.join(PATIENCE)
    assert [at for _, at in pushed] == planned
    assert presenter.n_unseen == presenter.n_shown == len(pushed) >= 1
    assert presenter.figures()["stamped_as_planned"] == len(pushed)
    assert presenter.figures()["flip_after_plan_ms"] is None


def test_a_window_that_closes_leaves_planned_stamps() -> None:
    pushed: list[tuple[str, float]] = []
    presenter = _present(0, pushed, 0.1)
    presenter.attach()
    presenter.detach()
    presenter.start()
    presenter._thread.join(PATIENCE)
    assert presenter.n_unseen == 0
    assert len(pushed) == presenter.n_shown >= 1


def test_stages_that_do_not_add_up_show() -> None:
    latencies = Latencies()
    parts = dict.fromkeys((name for name in PARTS if name != "network"), 10.0)
    latencies.add(StageTimes(**parts, total_after_epoch=60.0))
    assert latencies.check()["relative_error"] == pytest.approx(0.0, abs=1e-9)
    latencies.add(StageTimes(**parts, total_after_epoch=80.0))
    assert latencies.check()["relative_error"] == pytest.approx(0.25)


def test_a_marker_that_the_stream_cannot_carry_is_a_warning(tmp_path: Path) -> None:
    """A word for a marker stream of numbers: said in a sentence, and the session goes on."""
    from app.benchmarks.idle import idle_decoder
    from app.runtime.decoder import Decoder
    from app.runtime.session import Session
    from devices.errors import SourceError
    from devices.hostile import HostileSettings, HostileSource

    class Numbers(HostileSource):
        def inject_marker(self, label: str) -> float:
            if not label.isdigit():
                raise SourceError(f"The marker stream carries numbers, {label!r} is none.")
            return 1.0

    source = Numbers(HostileSettings(duration=1e5))
    session = Session(
        SessionConfig(buffer=10.0),
        out=tmp_path / "s",
        open_source=lambda _: source,
        clock=lambda: source.now,
        make_decoder=partial(Decoder, target=idle_decoder),
        is_live=False,
    )
    session.start()
    wait_for(lambda: session.snapshot().n_received)
    session.add_marker("7")
    assert session.snapshot().warnings == ()
    session.add_marker("face")
    assert session.snapshot().warnings == ("The marker stream carries numbers, 'face' is none.",)
    session.stop()


def test_the_recording_holds_each_seconds_verdict_on_the_electrodes(tmp_path: Path) -> None:
    from devices.hostile import HostileSettings
    from devices.xdf import XdfFile
    from tests.devices.test_hostile_session import run

    run(tmp_path / "s", (), HostileSettings(duration=20.0, chunk=20))
    with XdfFile(tmp_path / "s" / "recording.xdf") as file:
        (events,) = (
            series for k, series in file.load().items() if file.streams[k].role == "events"
        )
        (eeg,) = (s.info for s in file.streams.values() if s.role == "eeg")
    lines = [json.loads(text) for text in events.samples]
    verdicts = [line["quality"] for line in lines if "quality" in line]
    assert len(verdicts) >= 5
    assert all(set(verdict) <= {*eeg.ch_names} and verdict for verdict in verdicts)
    assert {grade for verdict in verdicts for grade, *_ in verdict.values()} <= {
        "good",
        "doubtful",
        "bad",
    }


@pytest.mark.parametrize(
    ("n_lost", "n_gaps", "words"),
    [
        (0, 7, "The stream was interrupted 7 times; no sample is known to be lost."),
        (0, 1, "The stream was interrupted once; no sample is known to be lost."),
        (12, 1, "12 samples were lost in 1 gap."),
        (12, 3, "12 samples were lost in 3 gaps."),
    ],
)
def test_loss_is_said_where_there_is_one(n_lost: int, n_gaps: int, words: str) -> None:
    from app.runtime.summary import StreamFigures, warnings_of

    figures = StreamFigures(n_lost=n_lost, n_gaps=n_gaps)
    assert warnings_of(figures, None, SessionConfig()) == [words]


def test_a_virtual_headset_out_of_reach_advises_what_helps() -> None:
    import threading

    from app.errors import AppError
    from app.runtime.launch import OWN_HEADSET, opener
    from configs import SourceConfig

    source = SourceConfig(source_id=f"{OWN_HEADSET}nowhere", resolve_timeout=0.2)
    open_source = opener(SessionConfig(source=source))
    with pytest.raises(AppError, match="virtual headset was started") as caught:
        open_source(threading.Event())
    assert "phosphene doctor" in str(caught.value)
    assert "--source-id" not in str(caught.value)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([(Outcome.FAILED, "InfoError: no electrode."), (Outcome.GAP, "g")] * 2, "no electrode."),
        ([(Outcome.FAILED, "InfoError: no electrode."), (Outcome.DECODED, "")], ""),
        (
            [(Outcome.FAILED, "a"), (Outcome.FAILED, "b"), (Outcome.FAILED, "b")],
            "b (so 2 of 3; the others in events.jsonl)",
        ),
        ([(Outcome.GAP, "g")], ""),
    ],
)
def test_why_nothing_could_be_decoded_is_said_once(
    outcomes: list[tuple[Outcome, str]], expected: str
) -> None:
    ledger = Ledger(10)
    for index, (outcome, reason) in enumerate(outcomes):
        ledger.conclude(Result(index, float(index), "face", outcome, reason=reason))
    assert ledger.shared_failure() == expected
