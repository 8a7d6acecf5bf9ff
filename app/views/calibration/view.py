"""The guided calibration: steps at the left, the page of the moment, what can be done below.

Owns the frame, its buttons and the timer that drives the model; the pages are `calibration_pages`'.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, QSize, Qt, QTimer, QUrl
from PySide6.QtGui import QCloseEvent, QDesktopServices, QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QStackedWidget, QTabWidget, QVBoxLayout, QWidget

from app.calibration.files import REPORT_NAME
from app.calibration.signal_check import Light
from app.calibration.steps import FlowView, Step
from app.calibration.stored import StoredAdapters
from app.view_models.calibration.adapters import AdaptersModel
from app.view_models.calibration.model import CalibrationDoor, CalibrationModel
from app.view_models.sources.model import SourceKind
from app.views.calibration.adapters import AdaptersView
from app.views.calibration.classes_page import ClassesPage
from app.views.calibration.pages import (
    CheckPage,
    ChoosePage,
    CollectPage,
    EndPage,
    Page,
    ResultPage,
    StartPage,
    TrainPage,
)
from app.views.common.confirm import confirm
from app.views.common.painted import Button, set_text, set_tone, text_label
from app.views.common.theme import Theme, px
from app.views.stimuli.leading import Leading
from app.views.window.tools import ToolContext, ToolView

POLL_MS = 100
STEPS = ("Who and what", "Signal check", "Pictures and time", "Pictures", "Training", "Result")
"""What stands at the left."""
PLACE = {
    Step.OPENING: 1,
    Step.CHECK: 1,
    Step.CHOOSE: 2,
    Step.READING: 3,
    Step.CLASSES: 3,
    Step.COLLECT: 3,
    Step.TRAIN: 4,
    Step.CANCELLED: 4,
    Step.RESULT: 5,
    Step.SAVED: 6,
    Step.DISCARDED: 6,
    Step.STOPPED: 6,
    Step.FAILED: 6,
}
"""Place of each step: of its page, and in the list at the left."""


def make(context: ToolContext) -> CalibrationView:
    """Make the view of the window's menu."""
    from app.calibration.factory import CalibrationFactory

    factory = CalibrationFactory(root=context.sessions_folder)
    return CalibrationView(context, factory, factory.stored)


class CalibrationView(ToolView):
    """Calibration and the adapters that came of it, in two tabs."""

    def __init__(
        self, context: ToolContext, door: CalibrationDoor, open_stored: Callable[[], StoredAdapters]
    ) -> None:
        super().__init__(context.parent)
        self._context = context
        self.model = CalibrationModel(door, context.settings)
        self.adapters = AdaptersModel(open_stored, context.session, context.settings)
        self._adopted: object = None
        self._to_begin: object | None = None
        self.leading = Leading(context.stimuli, waiting=lambda: self._to_begin, seen=self._seen)
        self.resize(QSize(980, 700))
        self.setObjectName("root")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._build()
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self.tick)
        context.stimuli.installEventFilter(self)
        self.refresh()

    # -- what the frame does ----------------------------------------------------------------------

    def tick(self) -> None:
        """Drive the calibration and show it."""
        before = self.model.view.step
        self.leading.poll()
        self.model.poll()
        port = self.model.port
        if port is not None and port is not self._adopted:
            # The main window watches it too: traces, electrodes, the stimuli of the second window.
            self._adopted = port
            self._context.session.adopt(port)
        if before is not self.model.view.step:
            self._enter(self.model.view.step)
        self.refresh()
        if not self.model.active and not self.adapters.busy:
            self._timer.stop()

    def refresh(self) -> None:
        """Show what is new."""
        view = self.model.view
        place = PLACE[view.step] if self.model.started else 0
        page = self.classes_page if view.step is Step.CLASSES else self.pages[place]
        if self.stack.currentWidget() is not page:
            self.stack.setCurrentWidget(page)
        page.refresh(view)
        self._refresh_steps(place)
        self._refresh_buttons(view)
        error = self.model.error or view.save_error
        set_text(self.error, error)
        self.error.setVisible(bool(error))
        self.adapters_view.refresh()

    def start(self) -> None:
        """Begin on the source that the main window has chosen."""
        if self._context.session.active:
            self.model.error = "A session is running: stop it in the main window first."
        elif self.model.open(self._context.sources.choice):
            self._timer.start()
        self.refresh()

    def shut_down(self) -> None:
        """End whatever runs."""
        self._timer.stop()
        self._context.stimuli.removeEventFilter(self)
        self.model.close()
        self.adapters.close()

    def set_theme(self, theme: Theme) -> None:
        """Take another theme."""
        super().set_theme(theme)
        self.setStyleSheet(_style_sheet(theme))
        self._refresh_steps(PLACE[self.model.view.step] if self.model.started else 0)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Hear the person's key in the stimulus window; it is still handled there."""
        key = event if isinstance(event, QKeyEvent) else None
        pressed = key is not None and key.type() == QEvent.Type.KeyPress
        if key is not None and pressed and key.key() == Qt.Key.Key_Space and not key.isAutoRepeat():
            self.model.respond()
        return super().eventFilter(watched, event)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Closing hides; a calibration under way goes on only when the person wants it to."""
        if self.model.active and not self._may_give_up():
            event.ignore()
            return
        if self.model.active:
            self.model.give_up()
        super().closeEvent(event)

    # -- buttons ----------------------------------------------------------------------------------

    def _primary(self) -> None:
        view, model = self.model.view, self.model
        if not model.started or view.over:
            model.put_away()
            if view.over:
                self.refresh()
                return
            self.start()
            return
        {
            Step.CHECK: self._leave_check,
            Step.CHOOSE: self._begin,
            Step.CLASSES: model.take_classes,
            Step.COLLECT: model.finish_early,
            Step.TRAIN: model.cancel_training,
            Step.CANCELLED: model.train_again,
            Step.RESULT: self._save,
        }.get(view.step, lambda: None)()
        self.refresh()

    def _secondary(self) -> None:
        view = self.model.view
        if view.step is Step.RESULT:
            self.model.discard()
            self._enter(self.model.view.step)
        elif view.step is Step.SAVED and view.adapter_id is not None:
            self.adapters.activate(view.adapter_id)
            self.tabs.setCurrentWidget(self.adapters_view)
        elif self.model.active and self._may_give_up():
            self.model.give_up()
        self.refresh()

    def _leave_check(self) -> None:
        if self.model.view.check.light is Light.GREEN:
            self.model.proceed()
        elif self.ask(
            "The signal is not good",
            f"{self.model.view.check.sentence}\n\nWith a poor signal the calibration will "
            "probably find less, or nothing. Go on all the same?",
            do="Go on all the same",
            keep="Mend it first",
        ):
            self.model.proceed(override=True)

    def _begin(self) -> None:
        if self._context.sources.choice.kind is SourceKind.LIVE:
            # A person looks: the window first, and time to look there.
            self._to_begin = object()
            return
        self._context.stimuli.show()
        self._context.stimuli.raise_()
        self.model.begin()

    def _seen(self, on: bool) -> None:
        """Begin once the person sees the window."""
        if on:
            self.model.begin()
            self._to_begin = None

    def _save(self) -> None:
        if self.model.view.result is not None and self.model.view.result.may_be_saved:
            self.model.save()
        else:
            self.model.discard()

    def _may_give_up(self) -> bool:
        return self.ask(
            "Give up the calibration?",
            "It is not finished. What was recorded is kept and can be used later.",
            do="Give up",
            keep="Go on",
        )

    def ask(self, title: str, question: str, *, do: str, keep: str) -> bool:
        """Ask the person; tests answer here."""
        return confirm(self, title, question, do=do, keep=keep)

    def _enter(self, step: Step) -> None:
        if step is not Step.CHOOSE:
            self._to_begin = None
        if step in (Step.TRAIN, Step.STOPPED, Step.FAILED):
            self._context.stimuli.close()
        if step is Step.SAVED:
            self.adapters.refresh()

    def _open_report(self) -> None:
        out = self.model.view.out
        if out is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str((out / REPORT_NAME).resolve())))

    def _refresh_steps(self, place: int) -> None:
        # A recording has no electrodes to check, and was shown what it was shown.
        is_read = self.model.started and self.model.view.choices is None
        for number, label in enumerate(self.steps):
            is_left_out = is_read and number in (1, 2)
            mark = "✓" if number < place else "●" if number == place else "○"
            set_text(label, f"{'–' if is_left_out else mark}  {STEPS[number]}")
            set_tone(label, "good" if number < place and not is_left_out else "")
            font = label.font()
            if font.bold() != (number == place):
                font.setBold(number == place)
                label.setFont(font)

    def _refresh_buttons(self, view: FlowView) -> None:
        primary, secondary = self._words(view)
        self.primary.setText(primary)
        self.primary.setVisible(bool(primary))
        waits = view.step is Step.CLASSES and bool(self.model.table and self.model.table.problem)
        self.primary.setEnabled(view.message != "Saving." and not waits)
        self.secondary.setText(secondary)
        self.secondary.setVisible(bool(secondary))
        self.report.setVisible(view.result is not None)

    def _words(self, view: FlowView) -> tuple[str, str]:
        """Words of the two buttons; empty: not there."""
        if not self.model.started:
            return "Begin", ""
        saves = view.result is not None and view.result.may_be_saved
        green = view.check.light is Light.GREEN
        return {
            Step.OPENING: ("", "Give up"),
            Step.READING: ("", "Give up"),
            Step.CLASSES: ("Train", "Give up"),
            Step.CHECK: ("Continue" if green else "Go on anyway…", "Give up"),
            Step.CHOOSE: ("Show the pictures", "Give up"),
            Step.COLLECT: ("Enough, train now", "Give up"),
            Step.TRAIN: ("Cancel the training", "Give up"),
            Step.CANCELLED: ("Train again", "Give up"),
            Step.RESULT: ("Save the adapter", "Discard") if saves else ("Keep the data only", ""),
            Step.SAVED: ("Calibrate again", "Use it now"),
        }.get(view.step, ("Calibrate again", ""))

    # -- construction -----------------------------------------------------------------------------

    def _build(self) -> None:
        model, context = self.model, self._context
        self.pages: tuple[Page, ...] = (
            StartPage(model, context.settings, context.sources),
            CheckPage(model),
            ChoosePage(model),
            CollectPage(model),
            TrainPage(model),
            ResultPage(model),
            EndPage(model),
        )
        self.classes_page = ClassesPage(model)
        self.stack = QStackedWidget()
        for page in (*self.pages, self.classes_page):
            self.stack.addWidget(page)
        self.primary = Button("Begin", kind="primary")
        self.secondary = Button("")
        self.report = Button("Open the report")
        self.primary.clicked.connect(self._primary)
        self.secondary.clicked.connect(self._secondary)
        self.report.clicked.connect(self._open_report)
        self.error = text_label()
        self.error.setWordWrap(True)
        set_tone(self.error, "bad")
        self.tabs = QTabWidget()
        self.tabs.addTab(self._build_flow(), "Calibrate")
        self.adapters_view = AdaptersView(self.adapters, self)
        self.tabs.addTab(self.adapters_view, "Adapters")
        self.tabs.currentChanged.connect(lambda _: self._tab_changed())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 12, 12, 12)
        layout.addWidget(self.tabs)

    def _tab_changed(self) -> None:
        if self.tabs.currentWidget() is self.adapters_view:
            self.adapters.refresh()
        self.refresh()

    def _build_flow(self) -> QWidget:
        flow = QWidget()
        self.steps: list[QLabel] = [text_label() for _ in STEPS]
        left = QVBoxLayout()
        left.setSpacing(12)
        for label in self.steps:
            label.setMinimumWidth(px(150))
            left.addWidget(label)
        left.addStretch(1)
        buttons = QHBoxLayout()
        buttons.addWidget(self.report)
        buttons.addStretch(1)
        buttons.addWidget(self.secondary)
        buttons.addWidget(self.primary)
        right = QVBoxLayout()
        right.setSpacing(12)
        right.addWidget(self.stack, 1)
        right.addWidget(self.error)
        right.addLayout(buttons)
        row = QHBoxLayout(flow)
        row.setContentsMargins(18, 18, 18, 14)
        row.setSpacing(30)
        row.addLayout(left)
        row.addLayout(right, 1)
        return flow


def _style_sheet(theme: Theme) -> str:
    """What the window's own style sheet does not know: tabs, progress, radio buttons."""
    t = theme
    return f"""
QTabWidget::pane {{ border: none; background: {t.window}; }}
QTabBar::tab {{ background: transparent; color: {t.muted}; padding: 7px 16px;
  border-bottom: 2px solid transparent; }}
QTabBar::tab:selected {{ color: {t.text}; border-bottom: 2px solid {t.accent}; }}
QTabBar::tab:focus {{ color: {t.accent}; }}
QProgressBar {{ background: {t.raised}; border: none; border-radius: 4px; min-height: 8px;
  max-height: 8px; }}
QProgressBar::chunk {{ background: {t.accent}; border-radius: 4px; }}
QRadioButton {{ spacing: 10px; font-weight: 600; }}
QRadioButton::indicator {{ width: 14px; height: 14px; border-radius: 8px;
  border: 1px solid {t.muted}; background: {t.surface}; }}
QRadioButton::indicator:checked {{ background: {t.accent}; border-color: {t.accent}; }}
QRadioButton:focus {{ color: {t.accent}; }}
"""
