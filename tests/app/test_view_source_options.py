"""Channels, the markers' column and a recording's streams, chosen in the window."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from app.view_models.settings import SettingsModel
from app.view_models.sources import SourceKind, SourceOptions, SourcesModel
from app.views.sources_view import OptionsDialog, SourcesView
from configs import SessionConfig
from tests.app.fake_session import FakeFactory


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
