"""What was seen beside what was decoded, and how sure that is.

Owns the pair of pictures, rank, confidence, ranked concepts and accuracy. Pictures of the
stimuli come from a loader that is given.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from app import formatting
from app.port import Phase, Result, Snapshot
from app.view_models.session.pictures import PictureLoader
from app.views.common.painted import (
    Button,
    Painted,
    draw_bar,
    elided,
    set_text,
    set_tone,
    text_label,
)
from app.views.common.theme import Theme, px, small_font
from app.views.session.adapter_bar import AdapterBar
from app.views.session.charts import AccuracyChart, TopList
from app.views.session.picture_view import PictureView
from app.views.session.retrieved_strip import RetrievedStrip

MOST_CONCEPTS = 10
"""Ranked concepts that a result holds at least."""


class ConfidenceBar(Painted):
    """A confidence between 0 and 1; hidden where the decoder states none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._value: float | None = None
        self.fit()
        self.setAccessibleName("Confidence")
        self.setToolTip(
            "How strongly the EEG of this epoch points anywhere at all, from 0 to 1, "
            "as the decoder measures it"
        )

    def fit(self) -> None:
        """Keep room for words over a bar."""
        self.setFixedHeight(px(34))
        self.setMinimumWidth(px(90))

    def set_value(self, value: float | None) -> None:
        """Show `value`; nothing at all without one."""
        self.setVisible(value is not None)
        if value != self._value:
            self._value = value
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint words over a bar."""
        _ = event
        painter = self.painter()
        painter.setFont(small_font(11))
        painter.setPen(self.theme.color("muted"))
        head = QRectF(0, 0, self.across, 18)
        painter.drawText(head, Qt.AlignmentFlag.AlignLeft, "Confidence")
        painter.setPen(self.theme.color("text"))
        text = formatting.percent(self._value, digits=0)
        painter.drawText(head, Qt.AlignmentFlag.AlignRight, text)
        track = QRectF(0, 21, self.across, 6)
        draw_bar(painter, track, self.theme.color("raised"))
        if self._value is not None:
            track.setWidth(self.across * min(1.0, max(0.0, self._value)))
            draw_bar(painter, track, self.theme.color("accent"))
        painter.end()


class PicturePanel(QFrame):
    """The picture, the ranked concepts and the accuracy."""

    save_asked = Signal()
    copy_asked = Signal()
    control_asked = Signal(bool)

    def __init__(self, load_picture: PictureLoader, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("card")
        self._load = load_picture
        self._shown: Result | None = None
        self.about = text_label("", "caption")
        self.seen = PictureView(hint="the stimulus appears here")
        self.decoded = PictureView(hint="the decoded picture appears here")
        self.control = PictureView(hint="none with this picture", minimum=80)
        self.control.setToolTip("The same decoder on the same epoch with its phases scrambled")
        self.control_label = text_label("Noise control", "caption")
        self._control_place = QWidget()
        self.control_button = Button(
            "Control",
            kind="mini",
            tip="Noise control beside the picture, drawn from the next epoch on (C)",
        )
        self.save = Button(icon_name="save", kind="mini", tip="Save the picture (Ctrl+S)")
        self.copy = Button(icon_name="copy", kind="mini", tip="Copy the picture (Ctrl+C)")
        self.now = PictureView(minimum=48, radius=6)
        self.now.setFixedSize(48, 48)
        self.now_label = text_label("", "small")
        self.now_title = text_label("On screen", "small")
        self.seen_label = text_label("Seen", "caption")
        self.decoded_label = text_label("Decoded", "caption")
        self.rank = text_label(formatting.DASH, "number")
        self.rank_note = text_label("no picture yet", "small")
        self.confidence = ConfidenceBar()
        self.top = TopList()
        self.retrieved = RetrievedStrip(load_picture)
        self.accuracy = AccuracyChart()
        self.adapter = AdapterBar()
        self.on_painted: Callable[[Result], None] = lambda _: None
        """Called with the result whose picture is shown from now on."""
        self.decoded.on_painted = self._painted  # type: ignore[method-assign]
        self._build()

    @property
    def shown(self) -> Result | None:
        """The result that is shown."""
        return self._shown

    def set_theme(self, theme: Theme) -> None:
        """Redraw the icons."""
        for button in (self.save, self.copy):
            button.set_theme(theme)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Share the height anew."""
        super().resizeEvent(event)
        self._share_height()

    def minimumSizeHint(self) -> QSize:
        """Room for two concepts: however many are listed now, it can be made lower than that."""
        size = super().minimumSizeHint()
        return QSize(size.width(), size.height() - self.top.height() + self.top.height_of(2))

    def _share_height(self) -> None:
        """List fewer concepts where it is low, and more where the pictures leave room over."""
        n_pictures = 2 if self._control_place.isHidden() else 3
        side = (self.width() - 28 - 10 * (n_pictures - 1)) / n_pictures
        pair = self.seen_label.sizeHint().height() + side
        others = super().minimumSizeHint().height() - self.top.height() - self._pair_least()
        room = self.height() - others - self.top.height_of(0)
        fit = [int((room - pictures) / px(TopList.ROW)) for pictures in (self._pair_least(), pair)]
        least = max(2, min(5, fit[0], int((self.height() - px(300)) / px(34))))
        self.top.set_n_rows(max(least, min(MOST_CONCEPTS, fit[1])))

    def _pair_least(self) -> int:
        """Least height of the pictures with their labels."""
        return self.seen.minimumHeight() + self.seen_label.sizeHint().height()

    def _painted(self) -> None:
        if self._shown is not None:
            self.on_painted(self._shown)

    def set_control(self, on: bool) -> None:
        """Show or hide the noise control's place."""
        self.control_button.setChecked(on)
        self._control_place.setVisible(on)
        self._share_height()

    def clear(self) -> None:
        """Show an empty panel."""
        self.adapter.forget()
        self._show_nothing()
        self.accuracy.set_value(None)

    def forget(self) -> None:
        """Take the picture away: it is none of now."""
        if self._shown is not None:
            self._show_nothing("no picture of now")

    def _show_nothing(self, why: str = "no picture yet") -> None:
        self._shown = None
        self.seen.set_pixels(None)
        self.decoded.set_pixels(None)
        self.control.set_pixels(None)
        self._enable(None)
        set_text(self.seen_label, "Seen")
        set_text(self.decoded_label, "Decoded")
        set_text(self.rank, formatting.DASH)
        set_text(self.rank_note, why)
        set_text(self.about, "")
        set_tone(self.rank, "")
        self.confidence.set_value(None)
        self.top.set_values(())
        self.retrieved.set_values(())

    def show_result(self, result: Result) -> None:
        """Show one decoded picture."""
        if result is self._shown:
            return
        self._shown = result
        picture = self._load(result.label)
        self.seen.set_pixels(picture, word=formatting.label(result.label))
        self.decoded.set_pixels(
            result.pixels, word="" if result.pixels is not None else "no picture"
        )
        self.control.set_pixels(result.control_pixels)
        self._enable(result)
        metrics = self.seen_label.fontMetrics()
        name = formatting.label(result.label)
        set_text(self.seen_label, elided(metrics, f"Seen: {name}", self.seen.width()))
        guess = formatting.label(result.top[0][0]) if result.top else ""
        words = f"Decoded: {guess}" if guess else "Decoded"
        set_text(self.decoded_label, elided(metrics, words, self.decoded.width()))
        self._show_rank(result)
        self.confidence.set_value(result.confidence)
        self.top.set_values(result.top, truth=result.label, rank=result.rank, chance=result.chance)
        had_strip = not self.retrieved.isHidden()
        self.retrieved.set_values(result.retrieved)
        if had_strip == self.retrieved.isHidden():
            self._share_height()
        delay = ""
        if result.stages is not None:
            delay = f" · {result.stages.total_after_epoch:.0f} ms"
        set_text(self.about, f"No. {result.index + 1}{delay}")

    def refresh(self, snapshot: Snapshot, *, presents: bool, silent: bool = False) -> None:
        """Show the accuracy, and the stimulus of the moment where the session `presents` them.

        `silent`: nothing streams.
        """
        height = self.accuracy.height()
        summed = formatting.by_repetitions(snapshot.repetitions)
        self.accuracy.set_value(snapshot.accuracy, summed)
        if self.accuracy.height() != height:
            self._share_height()
        self.adapter.refresh(snapshot)
        running = snapshot.phase is Phase.RUNNING
        label = snapshot.stimulus if running else None
        for part in (self.now, self.now_title, self.now_label):
            if part.isHidden() == presents:
                part.setVisible(presents)
        self.now.set_pixels(self._load(label) if label else None, word="")
        if self._shown is None:
            busy = running and snapshot.decoder and not snapshot.decoder.startswith("ready")
            dots = "" if snapshot.decoder == "off" else "…"
            word = f"decoder {snapshot.decoder}{dots}" if busy else ""
            self.decoded.set_pixels(None, word="no stream" if silent else word)
        idle = "paused" if silent else "fixation"
        words = formatting.label(label) if label else (idle if running else "nothing")
        set_text(self.now_label, elided(self.now_label.fontMetrics(), words, 84))

    def _enable(self, result: Result | None) -> None:
        for button in (self.save, self.copy):
            button.setEnabled(result is not None and result.pixels is not None)

    def _show_rank(self, result: Result) -> None:
        if result.rank is None:
            set_text(self.rank, formatting.DASH)
            is_ranked = result.chance is not None
            set_text(self.rank_note, "true label unknown" if is_ranked else "concepts not ranked")
            set_tone(self.rank, "")
            return
        mark = "✓ " if result.rank == 1 else ""
        set_text(self.rank, f"{mark}{formatting.ordinal(result.rank)}")
        among = round(1 / result.chance) if result.chance else None
        set_text(self.rank_note, f"of {among} concepts" if among else "among the concepts")
        set_tone(self.rank, "good" if result.rank == 1 else "")

    def _build(self) -> None:
        head = QHBoxLayout()
        head.addWidget(text_label("Seen and decoded", "title"))
        head.addSpacing(4)
        head.addWidget(self.about)
        head.addStretch(1)
        for button in (self.control_button, self.save, self.copy):
            head.addWidget(button)
        head.setSpacing(2)
        self.about.setToolTip("Number of the picture, and its delay after the end of its epoch")
        self.control_button.setCheckable(True)
        self.control_button.clicked.connect(self.control_asked)
        self.save.clicked.connect(self.save_asked)
        self.copy.clicked.connect(self.copy_asked)
        pair = QHBoxLayout()
        pair.setSpacing(10)
        for view, label in (
            (self.seen, self.seen_label),
            (self.decoded, self.decoded_label),
            (self.control, self.control_label),
        ):
            place = self._control_place if view is self.control else QWidget()
            column = QVBoxLayout(place)
            column.setContentsMargins(0, 0, 0, 0)
            column.setSpacing(4)
            column.addWidget(view, 1)
            label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            column.addWidget(label)
            pair.addWidget(place, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(14, 10, 14, 10)
        layout.setSpacing(7)
        layout.addLayout(head)
        layout.addLayout(pair, 1)
        layout.addLayout(self._metrics())
        layout.addWidget(self.retrieved)
        layout.addWidget(self.top)
        layout.addWidget(self.accuracy)
        layout.addWidget(self.adapter)
        self.set_control(False)
        self._enable(None)

    def _metrics(self) -> QHBoxLayout:
        rank = QVBoxLayout()
        rank.setSpacing(0)
        rank.addWidget(self.rank)
        rank.addWidget(self.rank_note)
        now = QVBoxLayout()
        now.setSpacing(1)
        now.addStretch(1)
        now.addWidget(self.now_title)
        now.addWidget(self.now_label)
        now.addStretch(1)
        self.now_label.setMinimumWidth(84)
        row = QHBoxLayout()
        row.setSpacing(12)
        row.addLayout(rank, 3)
        row.addWidget(self.confidence, 3)
        row.addSpacing(4)
        row.addWidget(self.now)
        row.addLayout(now, 2)
        return row
