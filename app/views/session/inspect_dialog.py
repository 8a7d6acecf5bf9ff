"""One result in full: the epoch, both pictures, the ranked concepts, the latency.

Owns the dialog; it reads the history and asks nothing of the session.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QDialog, QFrame, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from app import formatting
from app.port import Result
from app.view_models.session.history import HistoryModel
from app.view_models.session.pictures import PictureLoader
from app.views.common.painted import Button, Painted, set_text, text_label
from app.views.common.theme import Theme
from app.views.session.charts import LatencyChart, TopList
from app.views.session.epoch_plot import EpochPlot
from app.views.session.picture_view import PictureView


class InspectDialog(QDialog):
    """Shows one result; arrows go to its neighbours, Esc closes."""

    def __init__(
        self,
        history: HistoryModel,
        load_picture: PictureLoader,
        parent: QWidget | None = None,
        *,
        paint_of: Callable[[int], float | None] = lambda _: None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Behind the picture")
        self.resize(980, 620)
        self._history = history
        self._load = load_picture
        self._paint_of = paint_of
        self._tmin, self._sfreq = -0.2, 250.0
        self.title = text_label("", "title")
        self.note = text_label("", "caption")
        self.before = Button(icon_name="left", kind="plain", tip="Picture before (Left)")
        self.after = Button(icon_name="right", kind="plain", tip="Next picture (Right)")
        self.epoch = EpochPlot()
        self.seen = PictureView(minimum=150)
        self.decoded = PictureView(minimum=150)
        self.control = PictureView(minimum=150)
        self.control_label = text_label("Noise control", "caption")
        self._control_place = QWidget()
        self.seen_label = text_label("", "caption")
        self.decoded_label = text_label("", "caption")
        self.top = TopList(n_rows=10)
        self.latency = LatencyChart(single=True)
        self.details = text_label("", "small")
        self.details.setWordWrap(True)
        self.details.setToolTip("The onset is on the clock of LSL")
        self._build()
        self.before.clicked.connect(lambda: self.step(-1))
        self.after.clicked.connect(lambda: self.step(1))

    def set_theme(self, theme: Theme) -> None:
        """Tell every part."""
        for part in self.findChildren(Painted):
            part.set_theme(theme)
        for button in (self.before, self.after):
            button.set_theme(theme)

    def open_result(self, index: int, *, tmin: float, sfreq: float) -> bool:
        """Show the result of marker `index`; return whether it is still kept."""
        result = self._history.find(index)
        if result is None:
            return False
        self._tmin, self._sfreq = tmin, sfreq
        self._show(result)
        return True

    def step(self, step: int) -> None:
        """Go to a neighbour."""
        if self._history.selected is None:
            return
        found = self._history.neighbour(self._history.selected, step)
        if found is not None:
            self._show(found)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows go to the neighbours."""
        if event.key() in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            self.step(-1 if event.key() == Qt.Key.Key_Left else 1)
        else:
            super().keyPressEvent(event)

    def done(self, code: int) -> None:
        """Close, and take the mark off the strip."""
        self._history.selected = None
        self._history.revision += 1
        super().done(code)

    def _show(self, result: Result) -> None:
        self.setFocus()
        self._history.selected = result.index
        self._history.revision += 1
        name = formatting.label(result.label)
        set_text(self.title, f"No. {result.index + 1} · {name}")
        outcome = formatting.OUTCOME_WORDS.get(result.outcome.value, result.outcome.value)
        set_text(self.note, f"{outcome}. {result.reason}".strip())
        self.epoch.set_epoch(result.epoch_data, tmin=self._tmin, sfreq=self._sfreq)
        self.seen.set_pixels(self._load(result.label), word=name)
        self.decoded.set_pixels(result.pixels, word="" if result.pixels is not None else "none")
        self.control.set_pixels(result.control_pixels)
        self._control_place.setVisible(result.control_pixels is not None)
        set_text(self.seen_label, f"Seen: {name}")
        guess = formatting.label(result.top[0][0]) if result.top else formatting.DASH
        set_text(self.decoded_label, f"Decoded: {guess}")
        self.top.set_values(result.top, truth=result.label, rank=result.rank, chance=result.chance)
        stages: dict[str, tuple[float, float]] = {}
        if result.stages is not None:
            names = [name for name in formatting.STAGES if name != "paint"]
            stages = {name: (float(getattr(result.stages, name)),) * 2 for name in names}
            paint = self._paint_of(result.index)
            if paint is not None:
                stages["paint"] = (paint, paint)
            stages["total"] = (result.stages.total_after_epoch + (paint or 0.0),) * 2
        self.latency.set_values(stages)
        set_text(self.details, _details(result))
        self.before.setEnabled(self._history.neighbour(result.index, -1) is not None)
        self.after.setEnabled(self._history.neighbour(result.index, 1) is not None)

    def _build(self) -> None:
        self.setObjectName("inspect")
        head = QHBoxLayout()
        head.addWidget(self.title)
        head.addSpacing(8)
        head.addWidget(self.note, 1)
        head.addWidget(self.before)
        head.addWidget(self.after)
        grid = QGridLayout()
        grid.setSpacing(10)
        grid.addWidget(_card("Epoch, as the decoder got it", self.epoch), 0, 0)
        grid.addWidget(_card("Seen and decoded", self._pair()), 0, 1)
        grid.addWidget(_card("Ranked concepts", self.top), 1, 0)
        grid.addWidget(_card("Latency of this picture, ms", self.latency), 1, 1)
        grid.setColumnStretch(0, 3)
        grid.setColumnStretch(1, 2)
        grid.setRowStretch(0, 3)
        grid.setRowStretch(1, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(14, 12, 14, 10)
        layout.setSpacing(10)
        layout.addLayout(head)
        layout.addLayout(grid, 1)
        layout.addWidget(self.details)
        self.details.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def _pair(self) -> QWidget:
        pair = QWidget()
        row = QHBoxLayout(pair)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(10)
        self.control.setToolTip("The same decoder on the same epoch with its phases scrambled")
        for view, label in (
            (self.seen, self.seen_label),
            (self.decoded, self.decoded_label),
            (self.control, self.control_label),
        ):
            place = self._control_place if view is self.control else QWidget()
            column = QVBoxLayout(place)
            column.setContentsMargins(0, 0, 0, 0)
            column.addWidget(view, 1)
            label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            column.addWidget(label)
            row.addWidget(place, 1)
        return pair


def _card(title: str, content: QWidget) -> QFrame:
    card = QFrame()
    card.setObjectName("card")
    layout = QVBoxLayout(card)
    layout.setContentsMargins(14, 10, 14, 10)
    layout.setSpacing(8)
    layout.addWidget(text_label(title, "title"))
    layout.addWidget(content, 1)
    return card


def _details(result: Result) -> str:
    parts = [f"onset {result.t_onset:.4f} s"]
    if result.image_path:
        parts.append(result.image_path)
    if result.image_sha256:
        parts.append(f"picture sha256 {result.image_sha256[:12]}…")
    if result.embedding_sha256:
        parts.append(f"embedding sha256 {result.embedding_sha256[:12]}…")
    return "  ·  ".join([*parts, *formatting.quality(result.quality)])
