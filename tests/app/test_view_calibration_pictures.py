"""Pictures of a calibration for the documentation: real streams, real trainings, a real leak."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pylsl
import pytest
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from app.calibration.collection import Collection
from app.calibration.live import open_accelerated
from app.calibration.schedule import SETS, Planned
from app.calibration.signal_check import Light
from app.calibration.steps import Step
from app.cli import main
from app.runtime.factory import RuntimeFactory
from app.source_options import SourceOptions
from app.view_models.settings.preferences import Preferences, PreferencesStore
from app.view_models.sources.model import SourceChoice, SourceKind
from app.views.calibration.view import CalibrationView
from app.views.window.main_window import MainWindow
from configs import SessionConfig, load_preset
from pipeline.gallery import load_gallery
from tests.app.screenshots import only_when_wanted, shoot
from tests.waiting import PATIENCE

pytestmark = [only_when_wanted, pytest.mark.lsl, pytest.mark.timeout(1500)]
LONG = 900_000
"""How long a training may take on a busy machine, ms."""
N_COLLECTED = 40
LABELS = ("Fp1", "Fp2", "C3", "C4", "P7", "P8", "O1", "O2")
SFREQ = 250.0


class Scene:
    """The real window with the calibration of its menu open."""

    def __init__(self, qtbot: QtBot, out: Path, *, subject: str) -> None:
        self.qtbot = qtbot
        liked = Preferences(open_report=False, confirm=False)
        self.window = MainWindow(
            RuntimeFactory(out=out),
            load_preset("demo").model_copy(update={"subject": subject}),
            preferences=PreferencesStore(None, liked),
        )
        qtbot.addWidget(self.window)
        self.window.show()
        (tool,) = (each for each in self.window._tools if each.key == "F6")
        self.window.open_tool(tool)
        (view,) = self.window.tools._opened.values()
        assert isinstance(view, CalibrationView)
        view.ask = lambda *_, **__: True  # type: ignore[method-assign]
        view.adapters_view.ask = view.ask  # type: ignore[method-assign]
        self.view = view

    def until(self, there: Callable[[], bool]) -> None:
        self.qtbot.waitUntil(lambda: self.view.tick() or there(), timeout=LONG)

    def reach(self, step: Step) -> None:
        over = (step, Step.FAILED)
        self.until(lambda: self.view.model.view.step in over)
        assert self.view.model.view.step is step, self.view.model.view.message

    def begin(self, choice: SourceChoice) -> None:
        self.window.sources.choose(choice)
        self.view.primary.click()

    def end(self) -> None:
        self.view.shut_down()
        self.view.close()
        self.window.end()


@pytest.fixture
def scene(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.chdir(tmp_path)
    scene = Scene(qtbot, tmp_path / "session", subject="S01")
    yield scene
    scene.end()


def test_pictures_are_collected(scene: Scene) -> None:
    """The virtual headset over LSL, in real time."""
    view = scene.view
    scene.begin(SourceChoice(SourceKind.DEMO))
    scene.reach(Step.CHECK)
    scene.until(lambda: view.model.view.check.light is Light.GREEN)
    shoot(view, "check", kind="calibration")
    view.primary.click()
    shoot(view, "choose", kind="calibration")
    view.primary.click()
    scene.until(lambda: view.model.view.n_shown >= N_COLLECTED)
    shoot(view, "collect", kind="calibration")
    view.model.give_up()
    scene.reach(Step.STOPPED)


class Board:
    """A stream of eight electrodes over LSL, in real time: ongoing EEG, and one that is loose."""

    def __init__(self, parent: QWidget) -> None:
        info = pylsl.StreamInfo("bench", "EEG", len(LABELS), SFREQ, "float32", "calibration-check")
        channels = info.desc().append_child("channels")
        for label in LABELS:
            channel = channels.append_child("channel")
            channel.append_child_value("label", label)
            channel.append_child_value("unit", "microvolts")
        self.outlet = pylsl.StreamOutlet(info)
        self.rng = np.random.default_rng(0)
        self.began, self.n_sent = pylsl.local_clock(), 0
        self.timer = QTimer(parent)
        self.timer.timeout.connect(self.send)
        self.timer.start(40)

    def send(self) -> None:
        n = int((pylsl.local_clock() - self.began) * SFREQ) - self.n_sent
        times = (self.n_sent + np.arange(n))[:, None] / SFREQ
        data = 12 * np.sin(2 * np.pi * 10 * times) + self.rng.normal(0, 4, (n, len(LABELS)))
        data[:, LABELS.index("O1")] = 0.0
        self.n_sent += n
        if n:
            self.outlet.push_chunk(data.astype(np.float32))


def test_a_dead_electrode_is_red(scene: Scene) -> None:
    board = Board(scene.window)
    sources = scene.window.sources
    sources.refresh()
    scene.qtbot.waitUntil(lambda: sources.poll() or bool(sources.eeg_streams))
    scene.begin(SourceChoice(SourceKind.LIVE, stream=sources.eeg_streams[0]))
    scene.reach(Step.CHECK)
    scene.until(lambda: scene.view.model.view.check.light is Light.RED)
    shoot(scene.view, "check-red", kind="calibration")
    scene.view.model.give_up()
    scene.reach(Step.STOPPED)
    board.timer.stop()


def test_a_result_and_what_is_stored(scene: Scene, tmp_path: Path) -> None:
    """Five minutes of two virtual people; the recording of one is read again in the window."""
    for subject, number in (("S02", "1006"), ("S01", "1005")):
        words = f"--virtual {number} --board daisy --fast --minutes 5 --subject {subject}"
        out = str(tmp_path / subject)
        assert main(["calibrate", "--headless", "--force", *words.split(), "--out", out]) == 0
    view = scene.view
    scene.begin(SourceChoice(SourceKind.REPLAY, path=tmp_path / "S01" / "recording.xdf"))
    scene.reach(Step.TRAIN)
    scene.reach(Step.RESULT)
    shoot(view, "result", kind="calibration")
    view.primary.click()
    scene.until(lambda: view.model.view.step in (Step.SAVED, Step.DISCARDED))
    view.tabs.setCurrentIndex(1)
    scene.qtbot.waitUntil(lambda: view.refresh() or not view.adapters.busy, timeout=LONG)
    shoot(view, "adapters", kind="calibration")


def test_classes_of_a_recording(scene: Scene, tmp_path: Path, shared_data: Path) -> None:
    """Somebody's own recording: its markers become classes and pictures, then a result."""
    with zipfile.ZipFile(shared_data / "faces-houses.zip") as archive:
        archive.extractall(tmp_path)
    (path,) = tmp_path.rglob("*_eeg.edf")
    options = SourceOptions(picks=("PO7", "PO8", "O1", "O2", "P7", "P8", "Oz", "Pz"))
    view = scene.view
    scene.begin(SourceChoice(SourceKind.REPLAY, path=path, options=options))
    scene.reach(Step.CLASSES)
    for row, name in zip(view.model.table.rows, view.classes_page.names, strict=True):
        if row.label.startswith("press"):  # answers are no pictures
            name.clear()
            name.textEdited.emit("")
    shoot(view, "classes", kind="calibration")
    scene.until(view.primary.isEnabled)
    view.primary.click()
    scene.reach(Step.RESULT)
    shoot(view, "classes-result", kind="calibration")


def test_a_leak(scene: Scene, tmp_path: Path) -> None:
    """A virtual person without information sees eight pictures, each 24 times in a row."""
    labels = SETS["few"].labels(load_gallery())
    planned = tuple(Planned(1.25 * i, labels[i // 24], 0.5) for i in range(24 * len(labels)))
    config = load_preset("demo")
    simulation = config.simulation.model_copy(update={"board": "cyton", "snr": 0.0})
    blocked = SessionConfig(stimuli=config.stimuli, simulation=simulation)
    live = open_accelerated(
        blocked, out=tmp_path / "blocked", collection=Collection(), planned=planned
    )
    assert live.session.wait(10 * PATIENCE)
    scene.begin(SourceChoice(SourceKind.REPLAY, path=tmp_path / "blocked"))
    scene.reach(Step.RESULT)
    scene.view.resize(980, 860)  # its sentences take the room of the rows below
    shoot(scene.view, "leak", kind="calibration")
