"""The guided calibration offscreen: driven by clicks, on fakes; what it shows is what there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from app.calibration.results import Verdict
from app.calibration.signal_check import SECONDS
from app.calibration.steps import Step
from app.commands import gui
from app.port import Phase
from app.views.calibration.pages import ResultPage
from app.views.calibration.view import CalibrationView
from app.views.common.theme import THEMES
from app.views.window.main_window import MainWindow
from app.views.window.tools import TOOLS, ToolContext
from configs import SessionConfig
from models.adapters.store import AdapterRecord
from pipeline.errors import PhospheneError
from pipeline.signal_quality import Grade
from tests.app.calibration_fakes import FakeTrainer, Stage, result_of
from tests.app.fake_session import FakeFactory, FakeSession

STIMULI = SessionConfig().model_copy(update={"subject": "sub-1"})


class FakeStore:
    """Three adapters of two persons."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.order = ["sub-1-a", "sub-1-b", "sub-2-a"]
        self.active = {"sub-1": "sub-1-b"}
        self.asked: list[tuple] = []
        self.error = ""

    def list(self, subject: str | None = None) -> list[AdapterRecord]:
        if self.error:
            raise PhospheneError(self.error)
        return [self._record(each) for each in self.order]

    def _record(self, name: str) -> AdapterRecord:
        subject = name[:5]
        return AdapterRecord(
            adapter_id=name,
            subject=subject,
            created="2026-11-21T06:00:00+00:00",
            method="ridge",
            verdict="found",
            accuracy=0.19 if name.endswith("b") else 0.12,
            chance=1 / 60,
            without=0.06,
            p_value=0.0005,
            minutes=5.0,
            n_epochs=220,
            n_channels=32,
            sfreq=500.0,
            active=self.active.get(subject) == name,
            folder=self.root / name,
        )

    def activate(self, adapter_id: str) -> AdapterRecord:
        self.active[adapter_id[:5]] = adapter_id
        return self._record(adapter_id)

    def rollback(self, subject: str) -> AdapterRecord:
        return self.activate(f"{subject}-a")

    def export(self, adapter_id: str, path: Path) -> None:
        self.asked.append(("export", adapter_id, path))

    def import_(self, path: Path) -> None:
        self.asked.append(("import", path))

    def delete(self, adapter_id: str) -> None:
        self.order.remove(adapter_id)

    def delete_subject(self, subject: str) -> None:
        self.order = [each for each in self.order if not each.startswith(subject)]


class Door:
    """Hands out the flow of a stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.asked: list[str] = []

    def live(self, config: SessionConfig, **_: object) -> object:
        self.asked.append("live")
        return self.stage.flow

    def virtual(self, config: SessionConfig, **_: object) -> object:
        self.asked.append("virtual")
        return self.stage.flow

    def recording(self, path: Path, config: SessionConfig, **_: object) -> object:
        self.asked.append("recording")
        return self.stage.flow


class Scene:
    """A main window with the calibration open on a stage."""

    def __init__(self, qtbot: QtBot, tmp_path: Path, **stage: object) -> None:
        self.qtbot = qtbot
        self.stage = Stage(tmp_path, **stage)  # type: ignore[arg-type]
        self.stored = FakeStore(tmp_path)
        self.door = Door(self.stage)
        made: list[CalibrationView] = []

        def make(context: ToolContext) -> CalibrationView:
            made.append(CalibrationView(context, self.door, lambda: self.stored))  # type: ignore[arg-type]
            return made[-1]

        self.window = MainWindow(FakeFactory(template=FakeSession(length=4.0)), STIMULI)
        qtbot.addWidget(self.window)
        self.window.show()
        self.view = make(self.window.tools._context)
        self.view.setWindowFlag(Qt.WindowType.Window)
        self.view.set_theme(self.window.theme)
        self.view.show()
        self.answers: list[str] = []
        self.yes = True

        def ask(title: str, question: str, *, do: str, keep: str) -> bool:
            self.answers.append(title)
            return self.yes

        self.view.ask = ask  # type: ignore[method-assign]
        self.view.adapters_view.ask = ask  # type: ignore[method-assign]

    @property
    def step(self) -> Step:
        return self.view.model.view.step

    def click(self, widget: QWidget) -> None:
        self.qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)

    def until(self, step: Step) -> None:
        def there() -> bool:
            self.view.tick()
            return self.step is step

        self.qtbot.waitUntil(there)

    def settle(self) -> None:
        """Wait until the list of adapters stands still."""

        def still() -> bool:
            self.view.refresh()
            return not self.view.adapters.busy

        self.qtbot.waitUntil(still)

    def to_check(self) -> None:
        self.click(self.view.primary)
        self.until(Step.CHECK)

    def to_choose(self) -> None:
        self.to_check()
        self.stage.seconds(SECONDS)
        self.view.tick()
        self.click(self.view.primary)
        assert self.step is Step.CHOOSE

    def to_collect(self) -> None:
        self.to_choose()
        page = self.view.pages[2]
        page.minutes.setCurrentIndex(0)  # type: ignore[attr-defined]
        page.minutes.activated.emit(0)  # type: ignore[attr-defined]
        self.click(self.view.primary)
        assert self.step is Step.COLLECT

    def to_result(self) -> None:
        self.to_collect()
        self.stage.live.show(1000)
        self.until(Step.RESULT)

    def end(self) -> None:
        self.view.shut_down()
        self.view.close()
        self.view.deleteLater()
        self.window.close()
        self.window.end()


@pytest.fixture
def scene(qtbot: QtBot, tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(qtbot, tmp_path)
    yield scene
    scene.end()


def test_the_whole_way_by_clicks(scene: Scene) -> None:
    view = scene.view
    assert view.primary.text() == "Begin"
    assert "Virtual headset" in view.pages[0].source.text()  # type: ignore[attr-defined]
    scene.to_check()
    assert scene.door.asked == ["virtual"]
    assert view.primary.text() == "Go on anyway…"
    scene.stage.seconds(SECONDS)
    view.tick()
    assert "good" in view.pages[1].light.text()  # type: ignore[attr-defined]
    # The main window watches the very session.
    assert scene.window.session.port is scene.stage.session
    scene.click(view.primary)
    choose = view.pages[2]
    assert view.stack.currentWidget() is choose
    choose.sets["few"].setChecked(True)  # type: ignore[attr-defined]
    assert "of 8 concepts" in choose.plan.text()  # type: ignore[attr-defined]
    choose.sets["varied"].setChecked(True)  # type: ignore[attr-defined]
    choose.minutes.setCurrentIndex(1)  # type: ignore[attr-defined]
    choose.minutes.activated.emit(1)  # type: ignore[attr-defined]
    assert "of 60 concepts" in choose.plan.text()  # type: ignore[attr-defined]
    scene.click(view.primary)
    assert scene.step is Step.COLLECT
    assert scene.window.stimuli.isVisible()
    scene.stage.live.show(40, artifact_every=9)
    view.tick()
    collect = view.pages[3]
    assert "40 of" in collect.line.text()  # type: ignore[attr-defined]
    shown = {n: (g, b) for n, g, b in collect.chart.counts}  # type: ignore[attr-defined]
    assert sum(g for g, _ in shown.values()) == scene.stage.collection.counts.n_good
    assert sum(b for _, b in shown.values()) == scene.stage.collection.counts.n_refused > 0
    scene.click(view.primary)  # enough
    scene.until(Step.TRAIN)
    assert not scene.window.stimuli.isVisible()
    scene.until(Step.RESULT)
    result = view.pages[5]
    assert result.verdict.text() == "✓ Found"  # type: ignore[attr-defined]
    names = [name for name, *_ in result.scores.rows]  # type: ignore[attr-defined]
    assert names == ["zero-shot", "alignment", "▸ ridge", "layers", "before onset"]
    scene.click(view.primary)
    scene.until(Step.SAVED)
    assert scene.stage.trainer.saves == 1
    assert view.primary.text() == "Calibrate again"
    assert view.secondary.text() == "Use it now"
    scene.click(view.primary)
    assert view.primary.text() == "Begin"


def test_a_red_signal_is_gone_past_only_knowingly(qtbot: QtBot, tmp_path: Path) -> None:
    faults = {"O1": (Grade.BAD, "flat: swings 0 µV in a second")}
    scene = Scene(qtbot, tmp_path, session=FakeSession(length=4.0, faults=faults))
    scene.to_check()
    scene.stage.seconds(SECONDS + 1)
    scene.view.tick()
    page = scene.view.pages[1]
    assert page.light.property("tone") == "bad"  # type: ignore[attr-defined]
    assert "O1" in page.sentence.text()  # type: ignore[attr-defined]
    scene.yes = False
    scene.click(scene.view.primary)
    assert scene.step is Step.CHECK
    scene.yes = True
    scene.click(scene.view.primary)
    assert scene.step is Step.CHOOSE
    assert scene.answers == ["The signal is not good"] * 2
    assert scene.view.pages[2].overridden.isVisible()  # type: ignore[attr-defined]
    scene.end()


@pytest.mark.parametrize("verdict", [Verdict.NOTHING, Verdict.LEAK])
def test_what_is_not_good_is_not_offered(qtbot: QtBot, tmp_path: Path, verdict: Verdict) -> None:
    scene = Scene(qtbot, tmp_path, result=result_of(verdict))
    scene.to_result()
    page = scene.view.pages[5]
    assert scene.view.primary.text() == "Keep the data only"
    assert not scene.view.secondary.isVisible()
    tone = {"nothing found": "warn", "leak": "bad"}[verdict.value]
    assert page.verdict.property("tone") == tone  # type: ignore[attr-defined]
    if verdict is Verdict.LEAK:
        assert page.leak.property("tone") == "bad"  # type: ignore[attr-defined]
    scene.click(scene.view.primary)
    assert scene.step is Step.DISCARDED
    assert scene.stage.trainer.saves == 0
    scene.end()


def test_a_training_shows_its_loss_and_is_cancelled(qtbot: QtBot, tmp_path: Path) -> None:
    scene = Scene(qtbot, tmp_path, trainer=FakeTrainer(result_of(), steps=10**6))
    scene.to_collect()
    scene.stage.live.show(1000)
    scene.until(Step.TRAIN)
    page = scene.view.pages[4]
    qtbot.waitUntil(lambda: scene.view.tick() or len(page.loss.points) > 20)  # type: ignore[attr-defined]
    scene.click(scene.view.primary)
    assert scene.step is Step.CANCELLED
    assert scene.view.primary.text() == "Train again"
    scene.end()
    assert scene.stage.trainer.closed


def test_giving_up_asks_and_keeps_the_window_alive(scene: Scene) -> None:
    scene.to_collect()
    scene.stage.live.show(10)
    scene.yes = False
    scene.click(scene.view.secondary)
    assert scene.step is Step.COLLECT
    assert not scene.view.close(), "closing under way is asked for as well"
    scene.yes = True
    scene.click(scene.view.secondary)
    scene.until(Step.STOPPED)
    assert scene.stage.session.phase is Phase.STOPPED
    assert "Given up" in scene.view.pages[6].head.text()  # type: ignore[attr-defined]


def test_the_space_bar_answers_catch_trials(scene: Scene) -> None:
    scene.to_collect()
    scene.stage.live.show(3)
    scene.view.tick()
    scene.qtbot.keyClick(scene.window.stimuli, Qt.Key.Key_Space)
    assert len(scene.stage.flow._answers) == 1


def test_no_calibration_beside_a_running_session(scene: Scene) -> None:
    scene.window.start_demo()
    scene.qtbot.waitUntil(lambda: scene.window.session.phase is Phase.RUNNING)
    scene.click(scene.view.primary)
    assert "A session is running" in scene.view.error.text()
    assert not scene.view.model.started
    scene.window.session.stop()
    scene.qtbot.waitUntil(lambda: scene.window.tick() or not scene.window.session.active)


def test_adapters_are_listed_swapped_and_deleted(scene: Scene, tmp_path: Path) -> None:
    view = scene.view
    view.tabs.setCurrentIndex(1)
    tab = view.adapters_view
    scene.settle()
    assert [tab.tree.topLevelItem(i).text(1) for i in range(3)] == scene.stored.order
    assert [tab.tree.topLevelItem(i).text(0) for i in range(3)] == ["", "●", ""]
    assert not tab.activate.isEnabled()
    # Hot-swap into the running session.
    scene.window.start_demo()
    scene.qtbot.waitUntil(lambda: scene.window.session.phase is Phase.RUNNING)
    tab.tree.topLevelItem(0).setSelected(True)
    scene.click(tab.activate)
    scene.settle()
    session = scene.window.session.port
    assert isinstance(session, FakeSession)
    assert session.swaps == [tmp_path / "sub-1-a"]
    assert scene.window.settings.adapter == str(tmp_path / "sub-1-a")
    assert "swaps to it" in tab.note.text()
    scene.click(tab.none)
    assert session.swaps[-1] is None
    assert scene.window.settings.adapter is None
    # Deleting asks first.
    scene.yes = False
    scene.click(tab.delete)
    assert len(scene.stored.order) == 3
    scene.yes = True
    scene.click(tab.delete_all)
    scene.settle()
    assert scene.stored.order == ["sub-2-a"]
    assert scene.answers == ["Delete the adapter?", "Delete everything of this subject?"]
    scene.stored.error = "the store cannot be read."
    view.adapters.refresh()
    scene.settle()
    assert tab.note.property("tone") == "bad"
    scene.window.session.stop()
    scene.qtbot.waitUntil(lambda: scene.window.tick() or not scene.window.session.active)


def test_every_page_paints_in_both_themes(scene: Scene) -> None:
    scene.to_result()
    for theme in THEMES.values():
        scene.view.set_theme(theme)
        for page in scene.view.pages:
            scene.view.stack.setCurrentWidget(page)
            assert not scene.view.grab().isNull()


def test_the_menu_of_the_main_window_leads_here(qtbot: QtBot) -> None:
    window = MainWindow(FakeFactory(template=FakeSession(length=4.0)), STIMULI)
    qtbot.addWidget(window)
    window.show()
    qtbot.keyClick(window, Qt.Key.Key_F6)
    (view,) = window.tools._opened.values()
    assert isinstance(view, CalibrationView)
    assert view.isVisible()
    assert view.primary.text() == "Begin"
    window.close()
    window.end()


@pytest.mark.parametrize(("source_id", "title"), [(None, "Virtual"), ("x", "Stream of the set")])
def test_the_command_opens_the_window_at_the_calibration(
    qtbot: QtBot, source_id: str | None, title: str
) -> None:
    window = MainWindow(FakeFactory(template=FakeSession(length=4.0)), STIMULI, tools=TOOLS)
    qtbot.addWidget(window)
    window.show()
    source = STIMULI.source.model_copy(update={"source_id": source_id})
    gui._open_calibration(window, STIMULI.model_copy(update={"source": source}))
    (view,) = window.tools._opened.values()
    assert title in view.pages[0].source.text()  # type: ignore[attr-defined]
    assert not window.session.active
    window.close()
    window.end()


def test_long_sentences_take_no_room_from_the_methods(scene: Scene) -> None:
    scene.to_result()
    page = scene.view.pages[5]
    assert isinstance(page, ResultPage)
    result = scene.view.model.view.result
    assert result is not None
    words = "A sentence that says what was found, and how it was judged. " * 6
    long = replace(result, reason=words, headline=words, curve_sentence=words)
    scene.view.resize(720, 560)
    page._show(long, scene.view.model.view)

    def has_room() -> bool:
        card, facts = page.scores.parentWidget(), page.facts
        is_read = facts.height() >= facts.heightForWidth(facts.width())
        return card is not None and is_read and page.scores.geometry().bottom() < card.height()

    scene.qtbot.waitUntil(has_room)
    assert page.scores.height() >= page.scores.minimumHeight()
    assert page.area.verticalScrollBar().maximum() > 0
