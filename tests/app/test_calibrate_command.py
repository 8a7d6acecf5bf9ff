"""`phosphene calibrate` and `phosphene adapters`, whole: virtual brain, training process, store."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from app.calibration.collection import Collection
from app.calibration.data import calibration_data
from app.calibration.factory import CalibrationFactory
from app.calibration.headless import run_flow
from app.calibration.live import open_accelerated
from app.calibration.reading import read_recording
from app.calibration.results import Verdict
from app.calibration.schedule import SETS, Choices, Planned
from app.calibration.steps import FlowView, Step
from app.calibration.training import ProcessTrainer
from app.calibration.training_worker import Request
from app.cli import main
from app.commands import calibrate
from app.errors import AppError
from configs import SessionConfig, load_config, load_preset
from devices.choosing import StreamChoice
from devices.lsl.discovery import resolve
from pipeline.gallery import load_gallery
from tests.app.training_stubs import RESULT, die_stub, hang_stub, refuse_stub, train_stub
from tests.devices.lsl_tools import Feeder
from tests.waiting import PATIENCE, wait_for


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(list(words))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own."""
    monkeypatch.setenv("PHOSPHENE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "adapters"


# The training's process, with what it runs replaced


def trainer(target: Callable[[Connection, Request], None], tmp_path: Path) -> ProcessTrainer:
    made = ProcessTrainer(tmp_path, SessionConfig(), subject="s", seed=7, target=target)
    made.start()
    return made


def test_a_training_tells_how_far_it_is_and_stores(tmp_path: Path) -> None:
    one = trainer(train_stub, tmp_path)
    wait_for(lambda: one.poll().fraction == 1.0)
    assert one.poll().losses == ((1.0, 2.0), (2.0, 1.5))
    assert one.result == RESULT
    assert one.save() == "s-1"
    one.close()
    one.close()
    with pytest.raises(AppError, match="train again"):
        one.save()


def test_a_training_that_refuses_dies_or_hangs_is_ended_with_a_sentence(tmp_path: Path) -> None:
    one = trainer(refuse_stub, tmp_path)
    wait_for(lambda: bool(one.poll() and one.error))
    assert one.error == "there are 3 epochs, expected at least 20."
    one.close()
    one = trainer(die_stub, tmp_path)
    wait_for(lambda: bool(one.poll() and one.error))
    assert "process died" in one.error
    one.close()
    one = trainer(hang_stub, tmp_path)
    wait_for(lambda: one.poll().message == "hanging")
    one.close()  # at once, and the fixture sees that no process is left


# Whole: a virtual person without waiting


ARGUMENTS = ("calibrate", "--headless", "--virtual", "1001", "--board", "cyton", "--fast")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--methods", "labrum"), "neither a method nor a pretrained encoder 'labrum'"),
        (("--methods", "ridge", "--labels", "a,b"), "'ridge' stands behind an encoder of pictures"),
    ],
)
def test_a_wrong_method_is_refused_before_anything_is_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    missing = str(tmp_path / "not-there.edf")
    code, _, said = run(capsys, "calibrate", "--headless", "--from", missing, *options)
    assert code == 1
    assert told in said


@pytest.mark.slow
def test_calibrate_store_list_move_and_delete(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = (*ARGUMENTS, "--set", "few", "--minutes", "1.5", "--methods", "ridge")
    words = (*words, "--subject", "kim")
    code, printed, said = run(capsys, *words, "--out", str(out), "--json")
    assert code == 0, said
    about = json.loads(printed)
    assert about["choices"]["stimulus_set"] == "few"
    n_markers = json.loads((out / "summary.json").read_text())["markers"]
    n_catch = about["checks"]["catch"]["shown"]
    assert about["epochs"]["n_good"] + about["epochs"]["n_refused"] + n_catch == n_markers > 60
    assert about["result"]["verdict"] == "found", about["result"]["headline"]
    assert about["checks"]["blocked"] is False
    # A session folder as any, the epochs, and a page for a person that loads nothing.
    assert json.loads((out / "summary.json").read_text())["samples"]["lost"] == 0
    page = (out / "calibration.html").read_text()
    assert "<script" not in page
    assert about["result"]["headline"][:20] in page
    adapter = about["adapter"]
    # Reading its recording gives the same epochs, bit for bit.
    collection = Collection({name: name for name in about["epochs"]["good"]})
    options = {"out": tmp_path / "again", "stop": threading.Event()}
    part = read_recording(out, SessionConfig(), collection, **options)
    again = calibration_data(collection.epochs(), part.config)
    live = load_file(out / "calibration" / "calibration.safetensors")
    assert np.array_equal(live["epochs"], again.epochs)
    assert np.array_equal(live["onsets"], again.onsets)
    # It decodes: here the very recording, as any session would with `--adapter`.
    decoded = tmp_path / "decoded"
    words = ("run", "--headless", "--preset", "demo", "--adapter", adapter)
    recording = ("--replay", str(out / "recording.xdf"), "--duration", "14")
    code, printed, said = run(capsys, *words, *recording, "--out", str(decoded), "--json")
    assert code == 0, said
    assert json.loads(printed)["outcomes"]["decoded"] > 3
    # The store.
    code, printed, _ = run(capsys, "adapters", "list", "--json")
    assert [(line["id"], line["active"]) for line in json.loads(printed)] == [(adapter, True)]
    code, printed, _ = run(capsys, "adapters", "show", adapter, "--json")
    shown = json.loads(printed)
    assert shown["manifest"]["subject"] == "kim"
    assert shown["manifest"]["recordings"].keys() == {"recording.xdf"}
    file = tmp_path / "moved.zip"
    assert run(capsys, "adapters", "export", adapter, str(file))[0] == 0
    code, printed, said = run(capsys, "adapters", "import", str(file), "--json")
    assert code == 0, said
    second = json.loads(printed)["id"]
    assert second != adapter
    code, printed, _ = run(capsys, "adapters", "rollback", "--subject", "kim", "--json")
    assert json.loads(printed)["active"] is None
    assert run(capsys, "adapters", "delete", second, "--yes")[0] == 0
    assert run(capsys, "adapters", "delete", "--subject", "kim", "--yes")[0] == 0
    assert not (store / "kim").exists()
    assert "No adapter is stored" in run(capsys, "adapters", "list")[1]


@pytest.mark.slow
def test_without_information_nothing_is_found_or_stored(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*ARGUMENTS, "--set", "few", "--minutes", "1.2", "--snr", "0", "--methods", "ridge")
    code, printed, said = run(capsys, *words, "--out", str(tmp_path / "out"))
    assert code == 0, said
    assert printed.startswith("Epochs: ")
    assert "Nothing was found: " in printed
    assert "No adapter was stored" in printed
    assert not store.exists()


def test_another_system_is_calibrated_with_the_methods_that_fit_it(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--headless --virtual --fast --board cyton --preset atm-toy --minutes 0.8 --subject kim"
    code, out, err = run(
        capsys, "calibrate", *words.split(), "--out", str(tmp_path / "c"), "--json"
    )
    assert code == 0, err
    result = json.loads(out)["result"]
    assert [score["name"] for score in result["scores"]] == [
        "no adapter",
        "ridge in embedding space",
    ]
    assert result["n_epochs"] >= 20


def test_a_blocked_recording_is_called_a_leak(tmp_path: Path, store: Path) -> None:
    labels = SETS["few"].labels(load_gallery())[:4]
    planned = tuple(Planned(0.9 * i, labels[i // 10], 0.4) for i in range(40))
    config = load_preset("demo")
    simulation = config.simulation.model_copy(update={"board": "cyton", "snr": 0.0})
    config = config.model_copy(update={"simulation": simulation})
    live = open_accelerated(
        config, out=tmp_path / "blocked", collection=Collection(), planned=planned
    )
    assert live.session.wait(PATIENCE)
    flow = CalibrationFactory(store=store, methods=("zero-shot",)).recording(
        tmp_path / "blocked", SessionConfig(), out=tmp_path / "out"
    )
    view = run_flow(flow, interval=0.02)
    assert view.step is Step.DISCARDED
    assert view.result is not None
    assert view.result.verdict is Verdict.LEAK
    assert any("came in blocks" in each for each in (view.result.headline, *view.result.warnings))
    assert not store.exists()


def test_the_free_running_preset_is_calibrated_by_its_markers(tmp_path: Path) -> None:
    """Windows without labels would leave "0 good epochs": live, and from its recording."""
    labels = SETS["few"].labels(load_gallery())[:4]
    planned = tuple(Planned(0.9 * i, labels[i % 4], 0.4) for i in range(12))
    config = load_preset("free-running")
    collection, again = Collection(), Collection()
    collection.expect(labels)
    live = open_accelerated(config, out=tmp_path / "free", collection=collection, planned=planned)
    assert live.session.wait(PATIENCE)
    assert collection.counts.n_good == 12
    assert live.session.config.epochs.mode == "event"
    part = read_recording(
        tmp_path / "free" / "recording.xdf",
        config,
        again,
        out=tmp_path / "again",
        stop=threading.Event(),
        choice=StreamChoice(),
    )
    assert part.config.epochs.mode == "event"
    assert again.counts.good == collection.counts.good


def test_a_calibration_over_lsl_shows_collects_and_is_ended_by_hand(tmp_path: Path) -> None:
    """Real streams: a virtual headset in its own process answers our own markers."""
    config = load_preset("demo")
    simulation = config.simulation.model_copy(update={"board": "cyton"})
    stimuli = config.stimuli.model_copy(update={"soa": 0.5, "duration": 0.2, "jitter": 0.0})
    epochs = config.epochs.model_copy(update={"tmax": 0.4})
    config = config.model_copy(
        update={"simulation": simulation, "stimuli": stimuli, "epochs": epochs}
    )
    choices = Choices("few", 0.1, stimuli=stimuli, catch_every=0)
    flow = CalibrationFactory().virtual(config, out=tmp_path / "out", choices=choices)
    seen: set[Step] = set()

    def watch(view) -> None:  # type: ignore[no-untyped-def]
        seen.add(view.step)
        if view.step is Step.COLLECT and view.counts.n_good >= 6:
            flow.stop()

    view = run_flow(flow, on_view=watch, interval=0.05)
    assert view.step is Step.STOPPED
    assert seen >= {Step.CHECK, Step.COLLECT}  # opening may be over at the first look
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["outcomes"].get("collected", 0) >= 6
    assert (tmp_path / "out" / "recording.xdf").stat().st_size > 10_000
    assert json.loads((tmp_path / "out" / "calibration.json").read_text())["state"] == "stopped"


@pytest.mark.lsl
def test_our_markers_go_out_under_the_given_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, str] = {}

    def look(view: FlowView) -> None:
        if view.step is Step.CHECK:
            found.update({info.source_id: info.type for info in resolve(0.5)})
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(calibrate, "_progress", look)
    words = ("calibrate", "--headless", "--source-id", "calibrated", "--markers", "mine")
    with Feeder(source_id="calibrated"):
        code, _, said = run(capsys, *words, "--out", str(tmp_path / "out"))
    assert code == 130, said
    assert found["mine"] == "Markers"
    assert load_config(tmp_path / "out" / "session.toml").markers.source_id == "mine"


def test_bad_usage_is_one_line(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("kept")
    cases = {
        ("calibrate", "--fast"): "--fast needs --virtual",
        ("calibrate", "--snr", "0"): "--virtual",
        ("calibrate", "--labels", "a,b"): "--from",
        ("calibrate", "--virtual", "--markers", "m"): "--virtual has markers of its own",
        ("calibrate", "--virtual", "--set", "nope"): "expected one of varied",
        ("calibrate", "--virtual", "--fast", "--board", "nope"): "nope",
        ("calibrate", "--from", str(tmp_path / "no.xdf")): "no.xdf",
        ("calibrate", "--from", str(tmp_path)): "holds no recording.xdf",
        ("calibrate", "--from", "x.xdf", "--labels", "a"): "1 class",
        ("calibrate", "--from", "x.xdf", "--out", str(full)): "nothing was overwritten",
        ("adapters", "show", "nope"): "no adapter 'nope'",
        ("adapters", "delete"): "exactly one",
        ("adapters", "delete", "--subject", "nope"): "no subject 'nope'",
        ("adapters", "activate", "nope"): "no adapter 'nope'",
    }
    for words, sentence in cases.items():
        extra = ("--headless",) if words[0] == "calibrate" else ()
        code, printed, said = run(capsys, *words, *extra)
        assert code == 1, (words, said)
        assert sentence in said, words
        assert len(said.strip().splitlines()) == 1, said
        assert printed == ""
    assert (full / "mine.txt").read_text() == "kept"
