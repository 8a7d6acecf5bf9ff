"""Settings: the form of every setting, presets that were changed, preferences, the dialog."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QApplication, QCheckBox, QFileDialog, QLineEdit
from pytestqt.qtbot import QtBot

from app.errors import AppError
from app.view_models.settings.form import ELSEWHERE, Kind, SettingsForm, from_text, to_text
from app.view_models.settings.model import SettingsModel
from app.view_models.settings.preferences import TEXT_SCALES, Preferences, PreferencesStore
from app.view_models.settings.presets import PresetFiles
from app.views.common.theme import DARK, LIGHT, px, text_scale
from app.views.window.main_window import MainWindow
from app.views.window.settings_dialog import SettingsDialog
from configs import SessionConfig, list_presets, load_preset
from tests.app.fake_session import FakeFactory, FakeSession
from tests.app.test_views import session_of

DEMO = load_preset("demo")


def make(qtbot: QtBot, tmp_path: Path, **options: object) -> MainWindow:
    window = MainWindow(
        FakeFactory(template=FakeSession()),
        DEMO,
        presets=list_presets(),
        load_preset=load_preset,
        presets_folder=tmp_path / "presets",
        **options,  # type: ignore[arg-type]
    )
    qtbot.addWidget(window)
    window.show()
    return window


# The form


@pytest.mark.parametrize("name", list_presets())
def test_every_setting_of_every_preset_comes_back_from_its_text(name: str) -> None:
    config = load_preset(name)
    form = SettingsForm(config, config)
    n = sum(
        len(type(getattr(config, key)).model_fields)
        if hasattr(type(getattr(config, key)), "model_fields")
        else 1
        for key in SessionConfig.model_fields
        if key not in ELSEWHERE
    )
    assert len(form.texts) == n, "a setting has no place in the form"
    form.set_text("seed", form.texts["seed"])
    assert form.result == config
    assert not form.problems
    assert not any(form.is_changed(path) for path in form.texts)


def test_every_setting_is_explained() -> None:
    form = SettingsForm(DEMO, DEMO)
    for section in form.sections:
        assert section.fields, section.title
        for field in section.fields:
            assert len(field.about) > 8, field.path
            assert field.title[:1].isupper() or field.title == "source_id"


def test_a_rule_that_is_broken_is_said_where_it_is_broken() -> None:
    form = SettingsForm(DEMO, DEMO)
    form.set_text("filter.l_freq", "many")
    assert form.problems == {"filter.l_freq": "'many' is given, expected a number."}
    assert form.result is None
    form.set_text("filter.l_freq", "60")
    assert list(form.problems) == ["filter.l_freq"]
    assert "must lie below" in form.problems["filter.l_freq"]
    form.set_text("filter.l_freq", "")
    assert form.result is not None
    assert form.result.filter.l_freq is None
    assert form.is_changed("filter.l_freq")
    form.set_text("epochs.reject_uv", "eeg 120, eog: 300")
    form.set_text("filter.notch_freqs", "50; 100")
    assert form.result.epochs.reject_uv == {"eeg": 120.0, "eog": 300.0}
    assert form.result.filter.notch_freqs == (50.0, 100.0)
    form.set_text("buffer", "1")
    assert "buffer" in form.problems
    form.reset()
    assert form.result == DEMO


def test_texts_of_odd_values() -> None:
    assert to_text(None) == ""
    assert to_text(0.00025) == "0.00025"
    assert from_text(" 3 ", int) == 3
    assert from_text("", float | None) is None
    with pytest.raises(ValueError, match="whole number"):
        from_text("3.5", int)


# What is kept


def test_a_changed_preset_is_kept_beside_the_shipped_one(tmp_path: Path) -> None:
    files = PresetFiles(list_presets(), load_preset, tmp_path)
    changed = DEMO.model_copy(update={"buffer": 30.0})
    files.save(changed)
    assert files.is_changed("demo")
    assert files.load("demo") == changed
    assert files.load("default") == load_preset("default")
    fresh = SettingsModel(DEMO, presets=list_presets(), load=load_preset, folder=tmp_path)
    assert fresh.base == changed
    given = DEMO.model_copy(update={"seed": 5})
    model = SettingsModel(given, presets=list_presets(), load=load_preset, folder=tmp_path)
    assert model.base == given, "what --config gives is not overruled"
    files.save(DEMO)
    assert not files.is_changed("demo")


def test_a_preset_that_cannot_be_read_or_kept_is_said(tmp_path: Path) -> None:
    (tmp_path / "demo.toml").write_text("buffer = 'long'", encoding="utf-8")
    model = SettingsModel(DEMO, presets=list_presets(), load=load_preset, folder=tmp_path)
    assert "demo.toml" in model.problem
    assert "Mend or delete" in model.problem
    assert model.base == DEMO
    (tmp_path / "file").touch()
    files = PresetFiles(list_presets(), load_preset, tmp_path / "file")
    with pytest.raises(AppError, match="cannot be written"):
        files.save(DEMO.model_copy(update={"buffer": 30.0}))


def test_preferences_are_kept_and_a_broken_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "window.toml"
    store = PreferencesStore(path)
    assert store.value.open_report, "on by default"
    assert store.value.confirm
    store.change(theme="light")
    store.step_text(1)
    assert PreferencesStore(path).value == store.value
    assert tomllib.loads(path.read_text(encoding="utf-8"))["text_scale"] == 1.15
    for _ in range(9):
        store.step_text(1)
    assert store.value.text_scale == TEXT_SCALES[-1]
    with pytest.raises(ValueError, match="text_scale"):
        store.change(text_scale=9.0)
    path.write_text("theme = 'pink'", encoding="utf-8")
    broken = PreferencesStore(path)
    assert broken.value == Preferences()
    assert "mend or delete" in broken.problem


# The dialog


def answer(act: Callable[[SettingsDialog], None]) -> None:
    """Act on the dialog once it is open."""

    def reply() -> None:
        dialog = QApplication.activeModalWidget()
        assert isinstance(dialog, SettingsDialog)
        try:
            act(dialog)
        finally:
            if dialog.isVisible():  # a test that fails must not wait for ever
                dialog.reject()

    QTimer.singleShot(0, reply)


def test_settings_are_changed_saved_and_used(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make(qtbot, tmp_path, preferences=PreferencesStore(tmp_path / "window.toml"))

    def act(dialog: SettingsDialog) -> None:
        dialog.open_section("Epochs")
        line = dialog.rows["epochs.tmax"].input
        assert isinstance(line, QLineEdit)
        assert line.isVisible()
        line.selectAll()
        qtbot.keyClicks(line, "-3")
        assert not dialog.save_button.isEnabled()
        assert "greater than 0" in dialog.rows["epochs.tmax"].problem.text()
        assert "To, s" in dialog.note.text()
        line.selectAll()
        qtbot.keyClicks(line, "1.2")
        assert dialog.rows["epochs.tmax"].title.text().endswith("•")
        assert "1 differs" in dialog.note.text()
        box = dialog.rows["decoder.control"].input
        assert isinstance(box, QCheckBox)
        box.click()
        dialog.theme.setCurrentIndex(dialog.theme.findData("light"))
        dialog.text_scale.setCurrentIndex(3)
        dialog.open_report.setChecked(False)
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "eeg"))
        qtbot.mouseClick(dialog.browse, Qt.MouseButton.LeftButton)
        qtbot.mouseClick(dialog.save_button, Qt.MouseButton.LeftButton)

    answer(act)
    qtbot.keyClick(window, Qt.Key.Key_Comma, Qt.KeyboardModifier.ControlModifier)
    assert window.theme is LIGHT
    assert text_scale() == TEXT_SCALES[3]
    assert not window.preferences.value.open_report
    factory = window.session._factory
    assert isinstance(factory, FakeFactory)
    assert [what for what in factory.asked if what[0] == "keep_in"] == [
        *(("keep_in", Preferences().sessions_path), ("keep_in", tmp_path / "eeg")),
    ]
    assert window.picture_panel.control_button.isChecked()
    window.start_demo()
    qtbot.waitUntil(lambda: window.session.port is not None)
    assert session_of(window).config.epochs.tmax == 1.2
    assert (tmp_path / "presets" / "demo.toml").is_file()
    window.end()
    again = make(qtbot, tmp_path)
    assert again.settings.base.epochs.tmax == 1.2
    again.end()


def test_cancel_changes_nothing_and_defaults_come_back(qtbot: QtBot, tmp_path: Path) -> None:
    window = make(qtbot, tmp_path)
    before = window.settings.base

    def act(dialog: SettingsDialog) -> None:
        dialog.form.set_text("epochs.tmax", "1.2")
        dialog.rows["stimuli.soa"].changed.emit("stimuli.soa", "3")
        qtbot.mouseClick(dialog.reset_button, Qt.MouseButton.LeftButton)
        assert dialog.form.texts["stimuli.soa"] == "1.25"
        dialog.theme.setCurrentIndex(1)
        qtbot.keyClick(dialog, Qt.Key.Key_Escape)

    answer(act)
    window.show_settings()
    assert window.settings.base == before
    assert window.theme is DARK
    window.end()


def test_a_new_setting_of_any_kind_has_an_input(qtbot: QtBot) -> None:
    dialog = SettingsDialog(SettingsForm(DEMO, DEMO), PreferencesStore(None), preset="demo")
    qtbot.addWidget(dialog)
    assert {row.field.kind for row in dialog.rows.values()} == set(Kind)
    assert set(dialog.rows) == set(dialog.form.texts)


# Size of text


def test_text_grows_and_nothing_leaves_the_window(qtbot: QtBot, tmp_path: Path) -> None:
    larger = Preferences(text_scale=1.15, confirm=False, open_report=False)
    window = make(qtbot, tmp_path, preferences=PreferencesStore(None, larger))
    control = Qt.KeyboardModifier.ControlModifier
    heights = []
    for _ in range(2):
        qtbot.keyClick(window, Qt.Key.Key_Plus, control)
        QApplication.processEvents()
        heights.append(window.top_bar.height())
        for widget in (window.top_bar.start, window.top_bar.menu, window.top_bar.record):
            assert window.rect().contains(widget.geometry().translated(0, 0))
        row = (window.top_bar.source, window.top_bar.preset, window.top_bar.subject)
        edges = [(w.geometry().left(), w.geometry().right()) for w in row]
        assert all(a[1] < b[0] for a, b in itertools.pairwise(edges)), "they overlap"
    assert heights == sorted(set(heights))
    assert px(100) == 150
    qtbot.keyClick(window, Qt.Key.Key_Minus, control)
    assert px(100) == 130
    window.end()
