"""The pages of the guided calibration, one a step.

Owns their layout and what they show of the model; asks the model for everything. The frame around
them, with the buttons, is `calibration_view`'s.
"""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import (
    QButtonGroup,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QRadioButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app import formatting
from app.calibration.results import CalibrationResult, Verdict
from app.calibration.signal_check import Light
from app.calibration.steps import FlowView, Step
from app.calibration.words import beside_verdict, score_words
from app.view_models.calibration.model import MINUTES, CalibrationModel
from app.view_models.settings.model import SettingsModel
from app.view_models.sources.model import SourceKind, SourcesModel
from app.views.calibration.result_charts import ConceptChart, LineChart, ScoreChart
from app.views.common.painted import Combo, set_text, set_tone, text_label
from app.views.signals.head_plot import HeadPlot

LIGHT_TONES = {Light.GREEN: "good", Light.RED: "bad", Light.WAITING: ""}
LIGHT_WORDS = {
    Light.GREEN: "✓ The signal is good",
    Light.RED: "✕ The signal is not good enough",
    Light.WAITING: "… Checking the signal",
}
VERDICT_TONES = {Verdict.FOUND: "good", Verdict.NOTHING: "warn", Verdict.LEAK: "bad"}
VERDICT_WORDS = {
    Verdict.FOUND: "✓ Found",
    Verdict.NOTHING: "Nothing was found",
    Verdict.LEAK: "✕ A leak",
}


def card(title: str, content: QWidget) -> QFrame:
    """Return `content` in a frame under a title."""
    frame = QFrame()
    frame.setObjectName("card")
    layout = QVBoxLayout(frame)
    layout.setContentsMargins(14, 10, 14, 10)
    layout.setSpacing(6)
    layout.addWidget(text_label(title, "title"))
    layout.addWidget(content, 1)
    return frame


def wrapped(role: str = "", text: str = "") -> QWidget:
    """Return a label that breaks its lines."""
    label = text_label(text, role)
    label.setWordWrap(True)
    return label


class Page(QWidget):
    """One page: `refresh` shows the newest view."""

    title = ""

    def __init__(self, model: CalibrationModel) -> None:
        super().__init__()
        self.model = model
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(12)

    def refresh(self, view: FlowView) -> None:
        """Show `view`."""


class StartPage(Page):
    """Who, and on what."""

    title = "Who and what"

    def __init__(
        self, model: CalibrationModel, settings: SettingsModel, sources: SourcesModel
    ) -> None:
        super().__init__(model)
        self._settings, self._sources = settings, sources
        self.column.addWidget(text_label("Make your own decoder", "hero"))
        self.column.addWidget(
            wrapped(
                "lead",
                "Brains and caps differ. Look at pictures for some minutes, and an adapter is "
                "fitted to you. Afterwards you are told what it is worth, against chance.",
            )
        )
        grid = QGridLayout()
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(10)
        self.subject = QLineEdit(settings.subject)
        self.subject.setAccessibleName("Subject code")
        self.subject.setMaximumWidth(260)
        self.subject.textEdited.connect(self._take_subject)
        self.source = text_label()
        grid.addWidget(text_label("Subject code", "muted"), 0, 0)
        grid.addWidget(self.subject, 0, 1)
        grid.addWidget(text_label("Signal from", "muted"), 1, 0)
        grid.addWidget(self.source, 1, 1)
        grid.setColumnStretch(2, 1)
        self.column.addLayout(grid)
        self.column.addWidget(
            wrapped(
                "muted",
                "Sit still and comfortably, look at the middle, blink between the pictures. When "
                "the cross turns amber, press the space bar. Your code and your data stay on this "
                "computer.",
            )
        )
        self.column.addStretch(1)

    def _take_subject(self, text: str) -> None:
        self._settings.subject = text
        self.subject.setProperty("invalid", bool(self._settings.subject_error))
        self.subject.style().unpolish(self.subject)
        self.subject.style().polish(self.subject)

    def refresh(self, view: FlowView) -> None:
        """Name the source that the main window has chosen."""
        _ = view
        choice = self._sources.choice
        words = "chosen in the main window"
        if choice.kind is SourceKind.DEMO:  # nobody should calibrate it in place of their own
            words = "a simulated person; your own headset is connected in the main window"
        set_text(self.source, f"{choice.title} ({words})")
        if not self.subject.hasFocus() and self.subject.text() != self._settings.subject:
            self.subject.setText(self._settings.subject)


class CheckPage(Page):
    """The electrodes, until they are good."""

    title = "Signal check"

    def __init__(self, model: CalibrationModel) -> None:
        super().__init__(model)
        self.light = text_label(LIGHT_WORDS[Light.WAITING], "hero")
        self.sentence = text_label("", "lead")
        self.sentence.setWordWrap(True)
        self.head = HeadPlot(model.head)
        self.column.addWidget(self.light)
        self.column.addWidget(self.sentence)
        self.column.addWidget(card("Electrodes", self.head), 1)

    def refresh(self, view: FlowView) -> None:
        """Show light, sentence and head."""
        opening = view.step is Step.OPENING
        set_text(self.light, "… Connecting" if opening else LIGHT_WORDS[view.check.light])
        set_tone(self.light, LIGHT_TONES[view.check.light])
        set_text(self.sentence, view.message if opening else view.check.sentence)
        self.head.refresh()


class ChoosePage(Page):
    """Which pictures, and how long."""

    title = "Pictures and time"

    def __init__(self, model: CalibrationModel) -> None:
        super().__init__(model)
        self.column.addWidget(text_label("What is shown, and for how long?", "hero"))
        self.sets: dict[str, QRadioButton] = {}
        group = QButtonGroup(self)
        for each in model.sets:
            button = QRadioButton(each.title)
            button.setChecked(each.name == model.stimulus_set)
            button.toggled.connect(lambda on, name=each.name: self._choose(name, on=on))
            group.addButton(button)
            self.sets[each.name] = button
            self.column.addWidget(button)
            words = wrapped("muted", each.words)
            words.setContentsMargins(26, 0, 0, 4)
            self.column.addWidget(words)
        row = QHBoxLayout()
        self.minutes = Combo()
        self.minutes.setAccessibleName("Minutes with pictures")
        for minutes in MINUTES:
            self.minutes.addItem(f"{minutes:g} minute{'s' if minutes > 1 else ''}", minutes)
        self.minutes.setCurrentIndex(MINUTES.index(model.minutes))
        self.minutes.activated.connect(self._take_minutes)
        row.addWidget(text_label("Time with pictures", "muted"))
        row.addWidget(self.minutes)
        row.addStretch(1)
        self.plan = text_label("", "lead")
        self.plan.setWordWrap(True)
        self.overridden = text_label(
            "The signal check was not green and was overridden: expect less.", "muted"
        )
        set_tone(self.overridden, "warn")
        self.column.addLayout(row)
        self.column.addWidget(self.plan)
        self.column.addWidget(self.overridden)
        self.column.addStretch(1)
        self._shown: tuple[str, float] | None = None

    def _choose(self, name: str, *, on: bool) -> None:
        if on:
            self.model.stimulus_set = name
            self.refresh(self.model.view)

    def _take_minutes(self, index: int) -> None:
        self.model.minutes = MINUTES[index]
        self.refresh(self.model.view)

    def refresh(self, view: FlowView) -> None:
        """Say what the choices mean; the plan is made anew only when they change."""
        chosen = (self.model.stimulus_set, self.model.minutes)
        if chosen != self._shown:
            self._shown = chosen
            button = self.sets[self.model.stimulus_set]
            with QSignalBlocker(button):  # the montage's choice is not the person's
                button.setChecked(True)
            self.plan.setText(self.model.plan_sentence)
        self.overridden.setVisible(view.overridden)


class CollectPage(Page):
    """The pictures are shown; what has come of them."""

    title = "Pictures"

    def __init__(self, model: CalibrationModel) -> None:
        super().__init__(model)
        self.head = text_label("", "hero")
        self.line = text_label("", "lead")
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        self.refused = text_label("", "muted")
        self.chart = ConceptChart()
        self.column.addWidget(self.head)
        self.column.addWidget(self.line)
        self.column.addWidget(self.bar)
        self.column.addWidget(self.refused)
        self.column.addWidget(card("Good epochs by concept", self.chart), 1)

    def refresh(self, view: FlowView) -> None:
        """Show progress and counts."""
        counts, reading = view.counts, view.step is Step.READING
        if reading:
            head, line = "Reading the recording", view.message
        elif view.break_left is not None:
            head, line = f"Break: {view.break_left:.0f} s", "Blink, move, breathe."
        else:
            head = view.message or "Look at the middle of the pictures."
            left = formatting.duration(view.remaining or 0.0)
            line = f"{view.n_shown} of {view.n_planned} shown, {left} left"
        set_text(self.head, head)
        set_text(self.line, line)
        self.bar.setMaximum(0 if reading else 1000)
        whole = view.elapsed + (view.remaining or 0.0)
        self.bar.setValue(round(1000 * view.elapsed / whole) if whole > 0 else 0)
        reasons = ", ".join(
            f"{n} {formatting.OUTCOME_WORDS.get(name, name).lower()}"
            for name, n in counts.refused.items()
        )
        set_text(
            self.refused,
            f"{formatting.count(counts.n_good, 'good epoch')}, {counts.n_refused} refused"
            + (f" ({reasons})" if reasons else ""),
        )
        refused = counts.refused_by_concept
        self.chart.set_counts([(n, good, refused.get(n, 0)) for n, good in counts.good.items()])


class TrainPage(Page):
    """The training's progress and loss."""

    title = "Training"

    def __init__(self, model: CalibrationModel) -> None:
        super().__init__(model)
        self.head = text_label("Training", "hero")
        self.line = text_label("", "lead")
        self.line.setWordWrap(True)
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        self.loss = LineChart("Loss", "passes")
        self.column.addWidget(self.head)
        self.column.addWidget(self.line)
        self.column.addWidget(self.bar)
        self.column.addWidget(card("Loss", self.loss), 1)

    def refresh(self, view: FlowView) -> None:
        """Show how far it is."""
        cancelled = view.step is Step.CANCELLED
        set_text(self.head, "Training cancelled" if cancelled else "Training")
        set_text(self.line, view.message if cancelled else view.training.message or view.message)
        self.bar.setValue(round(1000 * view.training.fraction))
        self.loss.set_points(view.training.losses)


class ResultPage(Page):
    """What was found, honestly."""

    title = "Result"

    def __init__(self, model: CalibrationModel) -> None:
        super().__init__(model)
        self.verdict = text_label("", "hero")
        self.headline = text_label("", "lead")
        self.leak = text_label()
        self.facts = text_label("", "muted")
        for label in (self.headline, self.leak, self.facts):
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.scores = ScoreChart()
        self.curve = LineChart("Accuracy over minutes", "minutes of calibration", percent=True)
        self.loss = LineChart("Loss", "passes")
        self.concepts = ConceptChart()
        grid = self._grid = QGridLayout()
        grid.setSpacing(10)
        grid.addWidget(card("Methods against chance, cross-validated", self.scores), 0, 0)
        grid.addWidget(card("More minutes", self.curve), 0, 1)
        self.loss_card = card("Loss of the chosen method", self.loss)
        self.concept_card = card("Epochs by concept", self.concepts)
        grid.addWidget(self.concept_card, 1, 0)
        grid.addWidget(self.loss_card, 1, 1)
        grid.setColumnStretch(0, 1)
        grid.setColumnStretch(1, 1)
        grid.setRowStretch(0, 3)
        grid.setRowStretch(1, 2)
        # Long sentences may leave the charts less room than their rows take.
        whole = QWidget()
        whole.setObjectName("root")
        column = QVBoxLayout(whole)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(self.column.spacing())
        for label in (self.verdict, self.headline, self.leak, self.facts):
            column.addWidget(label)
        column.addLayout(grid, 1)
        self.area = QScrollArea()
        self.area.setAccessibleName("Result")
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self.area.setWidgetResizable(True)
        self.area.setWidget(whole)
        self.column.addWidget(self.area)
        self._shown: CalibrationResult | None = None

    def refresh(self, view: FlowView) -> None:
        """Show the result once; where it stands as often as it changes."""
        result = view.result
        if result is not None and result is not self._shown:
            self._shown = result
            self._show(result, view)

    def _show(self, result: CalibrationResult, view: FlowView) -> None:
        self.verdict.setText(VERDICT_WORDS[result.verdict])
        set_tone(self.verdict, VERDICT_TONES[result.verdict])
        self.headline.setText(beside_verdict(result))
        leak = result.leak
        self.leak.setText("" if leak is None else f"Leak check: {leak.sentence}")
        is_leak = result.verdict is Verdict.LEAK or (leak is not None and leak.is_leak)
        set_tone(self.leak, "bad" if is_leak else "good")
        self.facts.setText("\n".join(facts_of(result)))
        self.scores.set_result(result)
        chance = None if result.picked is None else result.picked.chance
        self.curve.set_points(result.curve, chance=chance)
        self.loss.set_points(result.losses)
        has_loss = len(result.losses) > 1
        self.loss_card.setVisible(has_loss)
        self._grid.addWidget(self.concept_card, 1, 0, 1, 1 if has_loss else 2)
        counts = view.counts
        refused = counts.refused_by_concept
        self.concepts.set_counts([(n, g, refused.get(n, 0)) for n, g in counts.good.items()])


def facts_of(result: CalibrationResult) -> list[str]:
    """The result in lines: what was picked and why, with and without, permutation, more minutes."""
    lines = []
    if result.reason:
        lines.append(formatting.sentence(result.reason))
    if result.comparison:
        lines.append(result.comparison)
    elif result.without is not None:
        lines.append(f"Without an adapter: {score_words(result.without)}.")
    lines += result.classes
    if result.permutation_p is not None:
        p = formatting.p_value(result.permutation_p)
        lines.append(f"With shuffled labels: {p} (permutation test).")
    if result.curve_sentence:
        lines.append(result.curve_sentence)
    return lines + list(result.warnings)


class EndPage(Page):
    """It is over: what became of it."""

    title = "Done"

    def __init__(self, model: CalibrationModel) -> None:
        super().__init__(model)
        self.head = text_label("", "hero")
        self.line = text_label("", "lead")
        self.line.setWordWrap(True)
        self.folder = text_label("", "muted")
        self.folder.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        for label in (self.head, self.line, self.folder):
            self.column.addWidget(label)
        self.column.addStretch(1)

    def refresh(self, view: FlowView) -> None:
        """Say how it ended."""
        words = {
            Step.SAVED: ("✓ The adapter is stored", "good"),
            Step.DISCARDED: ("No adapter was stored", ""),
            Step.STOPPED: ("Given up", "warn"),
            Step.FAILED: ("✕ It did not work", "bad"),
        }
        head, tone = words.get(view.step, ("", ""))
        set_text(self.head, head)
        set_tone(self.head, tone)
        set_text(self.line, formatting.sentence(view.message))
        set_text(self.folder, "" if view.out is None else f"Folder: {view.out}")
