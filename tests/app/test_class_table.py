"""Classes and pictures of a recording: what is suggested, what is said, and the page by clicks."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.calibration.steps import Step
from app.view_models.calibration.classes import ClassTable
from pipeline.gallery import load_gallery
from tests.app.calibration_fakes import event_of
from tests.app.test_view_calibration import Scene

COUNTS = {"house-upright": 40, "face-inverted": 40, "S 11": 39, "S 12": 38, "press": 4}


def test_names_suggest_pictures_and_rare_markers_do_not_count() -> None:
    table = ClassTable(COUNTS, load_gallery())
    assert [row.label for row in table.rows] == [
        "face-inverted", "house-upright", "S 11", "S 12", "press",
    ]  # fmt: skip
    assert table.pictures["house-upright"] == "house"
    assert table.pictures["face-inverted"] != table.pictures["house-upright"]
    assert (table.pictures["S 11"], table.rows[4].name) == ("none", "")
    table.rename(2, " cat ")
    assert table.pictures["cat"] == "cat"
    table.rename(3, "cat")
    table.draw(3, "dog")
    assert table.pictures["cat"] == "dog", "one class, one picture"
    assert table.classes["S 11"] == table.classes["S 12"] == "cat"
    for row in range(3):
        table.rename(row, "")
    assert table.problem == "1 class is named, expected at least two to tell apart."


def test_the_page_asks_before_it_trains(qtbot: QtBot, tmp_path: Path) -> None:
    taken: list[tuple[dict[str, str], dict[str, str]]] = []

    def sort(classes: dict[str, str], pictures: dict[str, str]) -> None:
        taken.append((dict(classes), dict(pictures)))
        scene.stage.collection.restrict(classes)

    def read(_stop: object) -> None:
        for number in range(40):
            for k, label in enumerate(("house-upright", "S 11", "S 12")):
                scene.stage.collection.take(event_of(label, 3.0 * number + k))

    scene = Scene(qtbot, tmp_path, read=read, sort=sort)
    scene.click(scene.view.primary)
    scene.until(Step.CLASSES)
    page = scene.view.classes_page
    assert scene.view.stack.currentWidget() is page
    assert [line.text() for line in page.names] == ["S 11", "S 12", "house-upright"]
    assert [box.currentText() for box in page.pictures] == [*["fog (no picture)"] * 2, "house"]
    assert not page.pictures[2].itemIcon(page.pictures[2].currentIndex()).isNull()
    for line in page.names[:2]:
        line.clear()
        line.textEdited.emit("")
    qtbot.waitUntil(lambda: not scene.view.primary.isEnabled())
    assert "at least two" in page.problem.text()
    for line in page.names[:2]:
        qtbot.keyClicks(line, "cat")
    assert [box.currentText() for box in page.pictures] == ["cat", "cat", "house"]
    assert all(box.isEnabled() for box in page.pictures)
    assert page.problem.text() == "2 classes."
    qtbot.waitUntil(scene.view.primary.isEnabled)
    qtbot.mouseClick(scene.view.primary, Qt.MouseButton.LeftButton)
    assert taken == [
        (
            {"S 11": "cat", "S 12": "cat", "house-upright": "house-upright"},
            {"cat": "cat", "house-upright": "house"},
        )
    ]
    assert set(scene.stage.collection.counts.good) == {"cat", "house-upright"}
    scene.until(Step.RESULT)
    scene.end()
