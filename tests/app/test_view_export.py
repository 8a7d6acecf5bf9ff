"""Pictures that leave the window: files, clipboard, the noise control."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QFileDialog
from pytestqt.qtbot import QtBot

from app.errors import AppError
from app.port import Result
from app.view_models.session.export import (
    CELL,
    COLUMNS,
    FRAME_MS,
    GAP,
    MARGIN,
    VIDEO_FPS,
    export_history,
    save_picture,
)
from app.view_models.settings.model import SettingsModel
from app.view_models.sources.model import SourceChoice
from app.views.session.picture_actions import EXPORTS
from app.views.window.main_window import MainWindow
from configs import SessionConfig
from pipeline.extras import MissingExtraError
from pipeline.values import Outcome, Uint8
from tests.app.fake_session import FakeFactory, FakeSession
from tests.app.test_views import STIMULI, run_demo


def _picture(color: tuple[int, int, int]) -> Uint8:
    return np.full((16, 16, 3), color, dtype=np.uint8)


def _results(n: int, *, control: bool = False) -> list[Result]:
    extra = _picture((0, 0, 200)) if control else None
    return [
        Result(
            index,
            float(index),
            "a_very_long_label_of_another_laboratory",
            Outcome.DECODED,
            top=(("tree", 0.5),),
            rank=1 if index % 2 else 3,
            pixels=_picture((10 * index, 200, 0)),
            control_pixels=extra,
        )
        for index in range(n)
    ]


def _load(_label: str) -> Uint8 | None:
    return _picture((200, 0, 0))


def _has(image: Image.Image, color: tuple[int, int, int]) -> bool:
    return bool((np.asarray(image.convert("RGB")) == color).all(axis=2).any())


def test_a_picture_is_saved_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 48, 3)).astype(np.uint8)
    save_picture(tmp_path / "one.png", pixels)
    with Image.open(tmp_path / "one.png") as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)
    with pytest.raises(AppError, match="choose another place"):
        save_picture(tmp_path / "missing" / "one.png", pixels)


@pytest.mark.parametrize(("n", "rows"), [(1, 1), (COLUMNS, 1), (COLUMNS + 1, 2)])
def test_the_grid_holds_every_pair(tmp_path: Path, n: int, rows: int) -> None:
    export_history(tmp_path / "grid.png", _results(n), _load)
    with Image.open(tmp_path / "grid.png") as image:
        assert rows * CELL < image.height < (rows + 0.7) * CELL + rows * 60
        for index in range(n):
            assert _has(image, (10 * index, 200, 0))
        assert _has(image, (200, 0, 0))
        assert not _has(image, (0, 0, 200))


def test_the_control_is_exported_with_its_picture(tmp_path: Path) -> None:
    export_history(tmp_path / "grid.png", _results(2, control=True), _load)
    with Image.open(tmp_path / "grid.png") as image:
        assert _has(image, (0, 0, 200))


def test_the_animation_has_a_frame_a_picture(tmp_path: Path) -> None:
    export_history(tmp_path / "history.gif", _results(4), lambda _: None)
    with Image.open(tmp_path / "history.gif") as image:
        assert image.n_frames == 4  # type: ignore[attr-defined]
        assert image.info["loop"] == 0


def test_the_video_shows_each_picture_for_as_long_as_the_animation(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is an extra")
    export_history(tmp_path / "history.mp4", _results(3), _load)
    with av.open(str(tmp_path / "history.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].codec_context.name == "h264"
    assert len(frames) == 3 * round(FRAME_MS / 1000 * VIDEO_FPS)
    assert frames[0].shape[0] % 2 == frames[0].shape[1] % 2 == 0
    for at, green in ((1, 0), (len(frames) - 2, 20)):
        middle = frames[at][MARGIN + 40, MARGIN + CELL + GAP + 40]
        np.testing.assert_allclose(middle, (green, 200, 0), atol=14)


def test_without_pyav_a_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"phosphene\[video\]"):
        export_history(tmp_path / "history.mp4", _results(1), _load)
    assert not list(tmp_path.iterdir())


def test_nothing_to_export_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(AppError, match="no picture"):
        export_history(tmp_path / "grid.png", [replace(_results(1)[0], pixels=None)], _load)


def test_the_control_is_asked_of_the_next_session() -> None:
    settings = SettingsModel(SessionConfig())
    assert not settings.build(SourceChoice()).decoder.control
    settings.control = True
    assert settings.build(SourceChoice()).decoder.control


@pytest.fixture
def window(qtbot: QtBot) -> Iterator[MainWindow]:
    window = MainWindow(FakeFactory(template=FakeSession()), STIMULI)
    qtbot.addWidget(window)
    window.show()
    yield window
    window.close()
    window.shut_down()


def _answer(monkeypatch: pytest.MonkeyPatch, path: str, kind: str = "") -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (path, kind))


def test_save_copy_and_export_by_key(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = window.picture_panel
    assert not panel.save.isEnabled()
    run_demo(window, qtbot, 8.0)
    shown = panel.shown
    assert shown is not None
    assert shown.pixels is not None
    _answer(monkeypatch, str(tmp_path / "one"))
    qtbot.keyClick(window, Qt.Key.Key_S, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(window.banner.isVisible)
    with Image.open(tmp_path / "one.png") as image:
        np.testing.assert_array_equal(np.asarray(image), shown.pixels)
    for kind, name in zip(EXPORTS, ("all.png", "all.gif", "all.mp4"), strict=True):
        if name.endswith("mp4"):
            pytest.importorskip("av", reason="PyAV is an extra")
        _answer(monkeypatch, str(tmp_path / "all"), kind)
        qtbot.mouseClick(window.work.export, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: not window.pictures.task.busy)
        assert (tmp_path / name).stat().st_size > 500
    _answer(monkeypatch, str(tmp_path / "missing" / "all.png"))
    qtbot.keyClick(window, Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: "cannot be written" in window.banner.text.text())
    qtbot.keyClick(window, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    copied = QApplication.clipboard().image()
    assert (copied.width(), copied.height()) == shown.pixels.shape[1::-1]
    assert copied.pixelColor(3, 5).getRgb()[:3] == tuple(shown.pixels[5, 3])


def test_the_noise_control_stands_beside_the_picture_at_a_click(
    window: MainWindow, qtbot: QtBot
) -> None:
    panel = window.picture_panel
    session = run_demo(window, qtbot, 6.0)
    assert not panel.control.isVisible()
    whole = panel.decoded.width()
    assert panel.decoded.geometry().width() + panel.seen.width() > 0.85 * panel.width()
    qtbot.mouseClick(panel.control_button, Qt.MouseButton.LeftButton)
    assert panel.control.isVisible()
    QApplication.processEvents()
    assert panel.decoded.width() < 0.75 * whole
    assert not panel.control.has_picture
    assert window.settings.control
    assert session.control, "from the next epoch on, not from the next session"
    session._results[4] = replace(session._results[3], control_pixels=_picture((1, 2, 3)))
    session.now = 8.0
    window.tick()
    assert panel.control.has_picture
    qtbot.keyClick(window, Qt.Key.Key_C)
    assert not panel.control.isVisible()
    assert not window.settings.control
    assert not session.control
