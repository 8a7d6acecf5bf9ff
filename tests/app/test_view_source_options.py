"""Channels, the markers' column and a recording's streams, chosen in the window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialogButtonBox
from pytestqt.qtbot import QtBot

from app.calibration.factory import CalibrationFactory
from app.calibration.headless import run_flow
from app.runtime.factory import RuntimeFactory
from app.source_options import SourceOptions
from app.view_models.settings.model import SettingsModel
from app.view_models.sources.model import SourceKind, SourcesModel
from app.views.sources.streams_dialog import StreamsDialog
from app.views.sources.view import OptionsDialog, SourcesView
from app.views.window.main_window import MainWindow
from configs import SessionConfig
from tests.app.fake_session import FakeFactory
from tests.app.test_recording_streams import two_headsets


def test_what_was_typed_reaches_the_settings(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    model = SourcesModel(FakeFactory())
    view = SourcesView(model)
    qtbot.addWidget(view)

    def fill(dialog: OptionsDialog) -> int:
        dialog.picks.setText("TP9, AUX")
        dialog.column.setText("value")
        dialog.eeg.setText("dev-115")
        dialog.markers.setText("#3")
        return int(dialog.DialogCode.Accepted)

    monkeypatch.setattr(OptionsDialog, "exec", fill)
    view.options_button.click()
    assert model.options == SourceOptions(("TP9", "AUX"), "value", "dev-115", "#3")
    assert "TP9, AUX" in view.note.text()
    assert view.note.wordWrap(), "a long choice is read whole"
    view.choose_recording(Path("two.xdf"))
    assert model.choice.kind is SourceKind.REPLAY
    config = SettingsModel(SessionConfig()).build(model.choice)
    assert config.source.picks == ("TP9", "AUX")
    assert config.source.source_id == "dev-115"
    assert config.markers.column == "value"
    assert config.markers.source_id == "#3"
    again = OptionsDialog(model.options)
    qtbot.addWidget(again)
    assert again.options == model.options


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path) -> Iterator[MainWindow]:
    window = MainWindow(RuntimeFactory(), SessionConfig(), sessions_root=tmp_path / "sessions")
    window._factory.keep_in(tmp_path / "sessions")
    qtbot.addWidget(window)
    yield window
    window.end()


def test_a_recording_of_several_streams_offers_them_in_a_list(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the EEG, then the markers; what is opened is what was chosen."""
    path = two_headsets(tmp_path / "two.xdf", n_events=4)
    (tmp_path / "session.toml").write_text("[decoder]\nenabled = false\n")
    seen: list[tuple[str, list[list[str]]]] = []

    def choose(dialog: StreamsDialog) -> int:
        items = [dialog.list.topLevelItem(k) for k in range(dialog.list.topLevelItemCount())]
        seen.append((dialog.windowTitle(), [[i.text(c) for c in range(6)] for i in items]))
        ok = dialog.buttons.button(QDialogButtonBox.StandardButton.Open)
        assert not ok.isEnabled()
        dialog.list.setCurrentItem(items[1])
        assert ok.isEnabled()
        number = Qt.AlignmentFlag(items[0].textAlignment(3))
        assert number & Qt.AlignmentFlag.AlignVCenter, "on one line with the name"
        return int(dialog.DialogCode.Accepted)

    monkeypatch.setattr(StreamsDialog, "exec", choose)
    window.sources_view.choose_recording(path)
    qtbot.waitUntil(lambda: window.session.port is not None, timeout=30_000)
    assert seen == [
        (
            "Which EEG is meant?",
            [
                ["cap1", "EEG", "dev-1", "4", "250 Hz", "3\u202f000"],
                ["cap2", "EEG", "dev-2", "4", "250 Hz", "3\u202f000"],
            ],
        ),
        (
            "Which marker stream is meant?",
            [
                ["keys", "Markers", "keys", "1", "irregular", "4"],
                ["stimuli", "Markers", "stim-1", "1", "irregular", "4"],
            ],
        ),
    ]
    port = window.session.port
    assert port is not None
    assert (port.config.source.source_id, port.config.markers.source_id) == ("#3", "#5")
    assert not window.session.error


def test_a_choice_that_is_given_up_opens_nothing_and_is_no_error(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[StreamsDialog] = []

    def give_up(dialog: StreamsDialog) -> int:
        asked.append(dialog)
        return int(dialog.DialogCode.Rejected)

    monkeypatch.setattr(StreamsDialog, "exec", give_up)
    window.sources_view.choose_recording(two_headsets(tmp_path / "two.xdf", n_events=4))
    qtbot.waitUntil(lambda: bool(asked), timeout=30_000)
    assert window.session.port is None
    assert not window.session.active
    assert not window.session.error


@pytest.mark.parametrize("picks", [("Fz", "Cz"), ()])
def test_picks_outweigh_a_session_toml_beside_the_recording(
    tmp_path: Path, picks: tuple[str, ...]
) -> None:
    path = two_headsets(tmp_path / "recording.xdf", n_events=4)
    (tmp_path / "session.toml").write_text(
        '[source]\npicks = ["O1"]\nname = "cap1"\n[markers]\ncolumn = "2"\n'
    )
    options = SourceOptions(picks=picks, eeg="#3", markers="stim-1")
    made = RuntimeFactory(out=tmp_path / "out").replay(path, SessionConfig(), options)
    made.stop()
    assert made.config.source.picks == (picks or ("O1",))
    assert (made.config.source.name, made.config.source.source_id) == (None, "#3")
    assert (made.config.markers.source_id, made.config.markers.column) == ("stim-1", "2")


def test_a_calibration_honours_the_choice_too(tmp_path: Path) -> None:
    path = two_headsets(tmp_path / "recording.xdf")
    (tmp_path / "session.toml").write_text('[source]\npicks = ["O1"]\nname = "cap1"\n')
    flow = CalibrationFactory(store=tmp_path / "store", methods=("shrinkage",)).recording(
        path,
        SessionConfig(),
        out=tmp_path / "out",
        options=SourceOptions(picks=("Fz", "Cz"), eeg="#3", markers="#5"),
    )
    view = run_flow(flow, interval=0.02)
    assert view.counts.good == {"face": 12, "house": 12}, view.message
