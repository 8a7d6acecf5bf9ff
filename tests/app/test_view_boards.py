"""Boards: the form, the dialog, and real boards (synthetic, an emulated Cyton) through both."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QLabel
from pytestqt.qtbot import QtBot

from app.boards import ProcessBoards, ProcessLink, _Arrivals
from app.port import Phase
from app.view_models.sources.boards import (
    BoardEntry,
    BoardLink,
    BoardRequest,
    BoardsModel,
    Contact,
    TestProgress,
)
from app.views.common.theme import text_scale
from app.views.sources.boards_dialog import BoardsDialog
from app.views.window.main_window import MainWindow
from pipeline.errors import PhospheneError
from pipeline.values import StreamInfo
from tests.app.fake_session import FakeFactory, FakeSession
from tests.app.test_views import STIMULI, session_of

CYTON = BoardEntry(
    "cyton", "Cyton", 250.0, ("Fp1", "Fp2", "C3"), ("serial_port",), (), "a dongle", True
)
GANGLION = BoardEntry("ganglion", "Ganglion", 200.0, ("A",), ("serial_port",), ("mac", "timeout"))
SYNTHETIC = BoardEntry("synthetic", "Synthetic", 250.0, ("Fz", "Cz"), (), (), "no hardware")
REFUSED = "Board cyton cannot be reached: check that it is switched on."


class FakeLink:
    def __init__(self) -> None:
        self.stream = StreamInfo("brainflow-cyton", "EEG", "cyton-1", 3, 250.0, "float32")
        self.error = ""
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class FakeBoards:
    """Answers at once, or when `release` is set; refuses when `error` says so."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.release.set()
        self.error = ""
        self.found: tuple[str, ...] = ("/dev/ttyUSB0",)
        self.answering: tuple[str, ...] = ("/dev/ttyUSB0", "/dev/ttyUSB1", "/dev/ttyACM7")
        self.asked: list[BoardRequest] = []
        self.links: list[FakeLink] = []

    def boards(self) -> Sequence[BoardEntry]:
        return (GANGLION, SYNTHETIC, CYTON)

    def ports(self) -> Sequence[str]:
        return self.found

    def test(
        self,
        request: BoardRequest,
        seconds: float,
        progress: Callable[[TestProgress], None],
        stop: threading.Event,
    ) -> None:
        self.asked.append(request)
        if self.error or request.parameters.get("serial_port") not in (None, *self.answering):
            raise PhospheneError(self.error or REFUSED)
        progress(TestProgress("Cyton", 2.0, 500, 250.2, (("Fp1", 55.0), ("Fp2", 0.1))))
        while not self.release.wait(0.01) and not stop.is_set():
            pass

    def impedance(
        self, request: BoardRequest, tell: Callable[[Contact], None], stop: threading.Event
    ) -> None:
        self.asked.append(request)
        for name, kohm, verdict in (("Fp1", 12.0, "good"), ("Fp2", 1400.0, "high")):
            tell(Contact(name, kohm, verdict))
        while not self.release.wait(0.01) and not stop.is_set():
            pass
        tell(Contact("C3", 8.0, "good"))

    def connect(self, request: BoardRequest, stop: threading.Event) -> BoardLink:
        self.asked.append(request)
        if self.error:
            raise PhospheneError(self.error)
        self.links.append(FakeLink())
        return self.links[-1]


@pytest.fixture
def service() -> FakeBoards:
    return FakeBoards()


@pytest.fixture
def window(qtbot: QtBot, service: FakeBoards) -> Iterator[MainWindow]:
    window = MainWindow(FakeFactory(template=FakeSession()), STIMULI, boards=service)
    qtbot.addWidget(window)
    window.show()
    yield window
    window.end()


def opened(window: MainWindow, qtbot: QtBot, name: str = "cyton") -> BoardsDialog:
    """The dialog as F4 opens it, with a board chosen."""
    qtbot.keyClick(window, Qt.Key.Key_F4)
    assert window.board_source is not None
    dialog = window.board_source.dialog
    qtbot.waitUntil(lambda: dialog.board.count() > 1)
    qtbot.waitUntil(dialog.board.isEnabled)
    at = dialog.board.findData(name)
    dialog.board.setCurrentIndex(at)
    dialog.board.activated.emit(at)
    return dialog


def test_the_form_explains_what_the_board_needs(
    window: MainWindow, qtbot: QtBot, service: FakeBoards
) -> None:
    service.found = ("/dev/ttyUSB0", "/dev/ttyUSB1")
    dialog = opened(window, qtbot)
    assert dialog.board.itemData(1) == "cyton", "familiar boards come first"
    assert dialog.ports.currentText() == "", "of two the one that answers is looked for"
    words = " ".join(label.text() for label in dialog.findChildren(QLabel))
    assert "The ports of this computer are in the list" in words
    assert "A dongle." in words
    assert dialog.labels.placeholderText() == "Fp1, Fp2, C3"
    assert dialog.test_button.isEnabled()
    qtbot.keyClicks(dialog.labels, "Cz, Oz")
    dialog.tick()
    assert "2 of 3 electrode names" in dialog.verdict.text()
    assert not dialog.connect_button.isEnabled()
    dialog.labels.clear()
    dialog._model.ports = ("/dev/ttyUSB0",)
    dialog.ports.setEditText("")
    dialog.tick()
    assert dialog.verdict.text() == "Serial port is missing."


def test_the_keyboard_stays_where_it_was_while_the_dialog_works(
    window: MainWindow, qtbot: QtBot, service: FakeBoards
) -> None:
    dialog = opened(window, qtbot)
    assert dialog.focusWidget() is dialog.board, "Close had it: the space bar closed the form"
    qtbot.keyClick(dialog.board, Qt.Key.Key_Up)
    assert dialog._model.entry is not None, "the arrows choose a board"
    service.release.clear()
    dialog.test_button.setFocus()
    qtbot.keyClick(dialog.test_button, Qt.Key.Key_Space)
    assert not dialog.test_button.isEnabled()
    service.release.set()
    qtbot.waitUntil(dialog.test_button.isEnabled)
    assert dialog.focusWidget() is dialog.test_button


@pytest.mark.parametrize("name", ["cyton", "ganglion"])
def test_tab_goes_down_the_form(window: MainWindow, qtbot: QtBot, name: str) -> None:
    dialog = opened(window, qtbot, "synthetic")
    at = dialog.board.findData(name)
    dialog.board.setCurrentIndex(at)
    dialog.board.activated.emit(at)
    QApplication.processEvents()  # new rows are shown by an event
    dialog.board.setFocus()
    order = []
    for _ in range(6 + len(dialog.inputs)):
        order.append(dialog.focusWidget())
        dialog.focusNextChild()
    assert order == [
        *(dialog.board, dialog.ports, dialog.scan, *dialog.inputs.values(), dialog.labels),
        dialog.behind,
        dialog.own,
    ]


def test_a_board_without_parameters_asks_for_none(window: MainWindow, qtbot: QtBot) -> None:
    dialog = opened(window, qtbot, "synthetic")
    assert not dialog.inputs
    assert dialog.ports.isHidden()
    assert dialog.connect_button.isEnabled()
    dialog = opened(window, qtbot, "ganglion")
    assert set(dialog.inputs) == {"mac", "timeout"}
    qtbot.keyClicks(dialog.inputs["timeout"], "soon")
    dialog.tick()
    assert "expected a whole number" in dialog.verdict.text()


def test_ports_are_looked_for_again(window: MainWindow, qtbot: QtBot, service: FakeBoards) -> None:
    dialog = opened(window, qtbot)
    service.found = ("/dev/ttyACM7",)
    qtbot.mouseClick(dialog.scan, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.ports.itemText(0) == "/dev/ttyACM7")
    assert dialog.ports.currentText() == "/dev/ttyUSB0", "what was chosen stays"


def test_the_port_that_answers_is_found(
    window: MainWindow, qtbot: QtBot, service: FakeBoards
) -> None:
    service.found, service.answering = ("/dev/ttyS0", "/dev/ttyUSB0", "/dev/ttyUSB1"), ()
    dialog = opened(window, qtbot)
    assert dialog.test_button.isEnabled()
    qtbot.mouseClick(dialog.test_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.verdict.text().startswith("No board answers at /dev/ttyS0, "))
    service.answering = ("/dev/ttyUSB0", "/dev/ttyUSB1")
    qtbot.waitUntil(dialog.test_button.isEnabled)
    qtbot.mouseClick(dialog.test_button, Qt.MouseButton.LeftButton)
    two = "Boards answer at /dev/ttyUSB0, /dev/ttyUSB1: choose the serial port."
    qtbot.waitUntil(lambda: dialog.verdict.text() == two)
    service.answering = ("/dev/ttyUSB1",)
    qtbot.waitUntil(dialog.test_button.isEnabled)
    qtbot.mouseClick(dialog.test_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.verdict.text().startswith("✓ Cyton sent"))
    assert dialog.ports.currentText() == "/dev/ttyUSB1"


def test_electrodes_are_chosen_on_the_head(window: MainWindow, qtbot: QtBot) -> None:
    dialog = opened(window, qtbot)
    dialog.tick()
    assert dialog.head.names == ("Fp1", "Fp2", "C3"), "the board's own"
    dialog.behind.click()
    assert dialog.labels.text() == "PO7, PO8, O1"
    for site, names in (("O1", "PO7, PO8"), ("Oz", "PO7, PO8, Oz"), ("Cz", "PO7, PO8, Oz")):
        point = (dialog.head.place(site) * text_scale()).toPoint()
        qtbot.mouseClick(dialog.head, Qt.MouseButton.LeftButton, pos=point)
        assert dialog.labels.text() == names, "no more than there are channels"
    dialog.own.click()
    assert dialog.labels.text() == ""


def test_impedances_are_measured_in_the_form(
    window: MainWindow, qtbot: QtBot, service: FakeBoards
) -> None:
    dialog = opened(window, qtbot)
    service.release.clear()
    dialog.measure_button.click()
    qtbot.waitUntil(lambda: dialog.verdict.text().startswith("Measuring impedances: 2 of 3"))
    service.release.set()
    qtbot.waitUntil(dialog.measure_button.isEnabled)
    assert dialog.verdict.text().startswith("Mend the contact of Fp2 1400 kΩ high, and")
    qtbot.keyClicks(dialog.labels, "O1, Oz, O2")
    dialog.test_button.click()
    qtbot.waitUntil(lambda: dialog.verdict.text().startswith("✓ Cyton sent"))
    opened(window, qtbot, "synthetic")
    assert dialog.measure_button.isHidden()


def test_a_test_says_what_it_hears(window: MainWindow, qtbot: QtBot, service: FakeBoards) -> None:
    dialog = opened(window, qtbot)
    service.release.clear()
    qtbot.mouseClick(dialog.test_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "500 samples" in dialog.verdict.text())
    assert dialog.verdict.text().endswith("…")
    assert not dialog.connect_button.isEnabled()
    assert dialog.bars.isVisible()
    assert "Fp2 0 µV" in dialog.bars.accessibleDescription()
    service.release.set()
    qtbot.waitUntil(dialog.connect_button.isEnabled)
    assert dialog.verdict.text() == "✓ Cyton sent 500 samples in 2.00 s at 250.2 samples/s."
    assert service.asked[-1].parameters == {"serial_port": "/dev/ttyUSB0"}


def test_a_test_can_be_cancelled(window: MainWindow, qtbot: QtBot, service: FakeBoards) -> None:
    dialog = opened(window, qtbot)
    service.release.clear()
    qtbot.mouseClick(dialog.test_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.cancel_button.text() == "Cancel")
    qtbot.mouseClick(dialog.cancel_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(dialog.test_button.isEnabled)
    assert dialog.isVisible()
    assert not window.board_source.model.passed  # type: ignore[union-attr]
    qtbot.mouseClick(dialog.cancel_button, Qt.MouseButton.LeftButton)
    assert not dialog.isVisible()


def test_a_refusal_is_a_sentence(window: MainWindow, qtbot: QtBot, service: FakeBoards) -> None:
    service.error = REFUSED
    dialog = opened(window, qtbot)
    for button in (dialog.test_button, dialog.connect_button):
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: dialog.verdict.text() == REFUSED)
        qtbot.waitUntil(dialog.test_button.isEnabled)
    assert dialog.isVisible()
    assert not window.session.active


def test_connecting_starts_a_session_and_another_source_gives_the_board_back(
    window: MainWindow, qtbot: QtBot, service: FakeBoards
) -> None:
    dialog = opened(window, qtbot)
    qtbot.mouseClick(dialog.connect_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.session.phase is Phase.RUNNING)
    assert not dialog.isVisible()
    assert session_of(window).config.source.source_id == "cyton-1"
    (link,) = service.links
    window.toggle()
    qtbot.waitUntil(lambda: window.session.phase is Phase.STOPPED)
    assert not link.closed, "it can be started again"
    window.start_demo()
    assert link.closed


def test_a_board_that_ends_by_itself_is_said(
    window: MainWindow, qtbot: QtBot, service: FakeBoards
) -> None:
    dialog = opened(window, qtbot)
    qtbot.mouseClick(dialog.connect_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.session.phase is Phase.RUNNING)
    service.links[0].error = "The dongle was pulled out: plug it in and connect again."
    qtbot.waitUntil(lambda: window.banner.text.text() == service.links[0].error)
    assert service.links[0].closed


def test_a_window_without_a_service_offers_no_boards(qtbot: QtBot) -> None:
    window = MainWindow(FakeFactory(), STIMULI)
    qtbot.addWidget(window)
    window.show()
    assert window.sources_view.board_button.isHidden()
    qtbot.keyClick(window, Qt.Key.Key_F4)
    assert window.board_source is None
    window.end()


# Real boards

needs_brainflow = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("brainflow"), reason="BrainFlow is an extra"
)


@pytest.fixture
def model() -> Iterator[BoardsModel]:
    model = BoardsModel(ProcessBoards())
    yield model
    model.close()


def wait(qtbot: QtBot, model: BoardsModel) -> None:
    """Poll until nothing is under way."""

    def idle() -> bool:
        model.poll()
        return not model.doing

    qtbot.waitUntil(idle, timeout=30_000)


def test_samples_seconds_and_rate_of_a_test_agree() -> None:
    heard = _Arrivals("Cyton", 100.0)
    heard.take(0, 100.25)
    assert heard.rate is None
    heard.take(65, 100.5)  # had waited in the driver
    for k in range(1, 17):
        heard.take(125 if k % 2 == 0 else 0, 100.5 + 0.25 * k)  # in blocks of half a second
    assert (heard.n_samples, heard.seconds, heard.rate) == (1000, 4.0, 250.0)
    assert heard.silent_for == 0.0
    heard.take(0, 106.5)
    assert heard.silent_for == 2.0
    assert heard.rate == pytest.approx(1000 / 6)  # what stopped counts as slow


@needs_brainflow
def test_the_synthetic_board_is_heard(
    qtbot: QtBot, model: BoardsModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.view_models.sources.boards.TEST_SECONDS", 1.2)
    model.refresh()
    wait(qtbot, model)
    assert {"cyton", "ganglion", "synthetic", "playback-file"} <= {e.name for e in model.entries}
    model.choose("synthetic")
    model.test()
    wait(qtbot, model)
    assert model.passed, model.error
    assert model.progress is not None
    assert model.progress.rate == pytest.approx(250, rel=0.1)
    assert model.progress.n_samples == pytest.approx(250 * model.progress.seconds, rel=0.1)
    assert len(model.progress.peak_to_peak) == 16
    assert max(value for _, value in model.progress.peak_to_peak) > 10


@needs_brainflow
@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
@pytest.mark.lsl
def test_a_cyton_is_tested_and_bridged_and_one_that_is_not_there_is_refused(
    qtbot: QtBot, model: BoardsModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from devices.emulated import EmulatedCyton
    from devices.emulated.__main__ import alpha
    from devices.lsl.discovery import resolve

    monkeypatch.setattr("app.view_models.sources.boards.TEST_SECONDS", 0.3)
    model.refresh()
    wait(qtbot, model)
    model.choose("cyton")
    model.set_value("serial_port", "/dev/there-is-no-such-port")
    model.test()
    wait(qtbot, model)
    assert "cannot be reached" in model.error
    assert not model.passed
    with EmulatedCyton(alpha) as cyton:
        model.set_value("serial_port", cyton.port)
        model.test()
        wait(qtbot, model)
        assert model.passed, model.error
        assert model.progress is not None
        assert all(20 < value < 200 for _, value in model.progress.peak_to_peak)
        model.connect()
        wait(qtbot, model)
        link = model.link
        assert isinstance(link, ProcessLink), model.error
        assert link.stream.ch_names[:2] == ("Fp1", "Fp2")

        def is_in_reach() -> bool:
            return link.stream.source_id in {s.source_id for s in resolve(0.5)}

        qtbot.waitUntil(is_in_reach, timeout=10_000)
        assert not link.error
        model.drop()
        assert link._process.poll() is not None
