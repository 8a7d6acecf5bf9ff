"""The page of a running session: traces, signal views, pictures, history, latency, outcomes.

Owns the layout of these parts and what they show of a snapshot. Which session runs, shortcuts and
other windows are the main window's.
"""

from __future__ import annotations

from PySide6.QtCore import QByteArray, Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSplitter, QVBoxLayout, QWidget

from app import formatting
from app.port import Phase, Result
from app.view_models.session.model import SessionModel
from app.view_models.session.pictures import PictureLoader
from app.views.common.painted import Button, set_text, text_label
from app.views.common.theme import Theme, px
from app.views.session.charts import LatencyChart, OutcomeChart
from app.views.session.history_strip import HistoryStrip
from app.views.session.picture_panel import PicturePanel
from app.views.session.transport_bar import TransportBar
from app.views.signals.signal_panel import SignalPanel
from app.views.signals.trace_panel import TracePanel

_Vertical, _Horizontal = Qt.Orientation.Vertical, Qt.Orientation.Horizontal


class WorkPage(QWidget):
    """Everything that a running session shows; its parts may be resized against each other."""

    def __init__(
        self, session: SessionModel, load: PictureLoader, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._stale: Result | None = None
        """The picture from before the stream went silent: not shown again as the newest."""
        self.transport = TransportBar(session)
        session.traces.set_lanes(0)
        self.trace_panel = TracePanel(session.traces, session.voxels)
        self.signals = SignalPanel(session)
        self.picture_panel = PicturePanel(load)
        self.picture_panel.on_painted = session.paint_times.painted
        self.history = HistoryStrip(session.history, load)
        self.latency = LatencyChart()
        self.outcomes = OutcomeChart()
        self.export = Button("Export…", kind="mini", tip="Export the pictures (Ctrl+E)")
        self.n_markers = text_label("", "caption")
        self.n_pictures = text_label("", "caption")
        self.left = QSplitter(_Vertical)
        self.upper = QSplitter(_Horizontal)
        self.whole = QSplitter(_Vertical)
        self._build()

    @property
    def splitters(self) -> dict[str, QSplitter]:
        """What can be dragged, by the name under which its state is kept."""
        return {"left": self.left, "upper": self.upper, "whole": self.whole}

    def restore(self, name: str, state: QByteArray) -> None:
        """Set a splitter as it was left."""
        self.splitters[name].restoreState(state)
        self._share_height(is_open=self.signals.current is not None)

    def showEvent(self, event: QShowEvent) -> None:
        """Share the height once more: only now the tabs know how high they are."""
        super().showEvent(event)
        self._share_height(is_open=self.signals.current is not None)

    def set_theme(self, theme: Theme) -> None:
        """Pass a theme on to what has more to change than its colours."""
        self.trace_panel.set_theme(theme)
        self.transport.set_theme(theme)
        self.picture_panel.set_theme(theme)
        self._fit()

    def _fit(self) -> None:
        """Set the sizes that depend on the size of text."""
        self._latency.setFixedWidth(px(300))
        self._outcomes.setFixedWidth(px(212))
        self._lower.setMinimumHeight(px(156))
        self.picture_panel.setMinimumWidth(px(360))
        self._share_height(is_open=self.signals.current is not None)

    def tick(self, *, presents: bool) -> None:
        """Paint what is new; called in every frame. `presents`: the session shows stimuli."""
        session, snapshot = self._session, self._session.snapshot
        self.trace_panel.refresh()
        self.history.refresh()
        latest = session.history.latest
        window = self.window()
        session.paint_times.watch(window.isVisible() and not window.isMinimized())
        silent = session.silent_for is not None
        if silent:
            self._stale = latest
            self.picture_panel.forget()
        elif latest is not None and latest is not self._stale:
            self.picture_panel.show_result(latest)
        elif latest is None and self.picture_panel.shown is not None:
            # Another session has begun: the last one's picture says nothing of it.
            self.picture_panel.clear()
        self.picture_panel.refresh(snapshot, presents=presents, silent=silent)

    def show_texts(self) -> None:
        """Show what is read rather than watched; called some times a second."""
        snapshot = self._session.snapshot
        port = self._session.port
        replayed = port is not None and port.playback is not None
        self.trace_panel.refresh_facts(snapshot, replayed=replayed)
        self.signals.refresh()
        self.transport.refresh()
        self.latency.set_values(self._session.paint_times.stages(snapshot.stages))
        self.outcomes.set_values(
            snapshot.outcomes, n_markers=snapshot.n_markers, n_pending=snapshot.n_pending
        )
        n_markers, n_pictures = snapshot.n_markers, snapshot.outcomes.get("decoded", 0)
        set_text(self.n_markers, formatting.count(n_markers, "marker") if n_markers else "")
        self.export.setEnabled(bool(n_pictures))
        set_text(self.n_pictures, formatting.count(n_pictures, "picture") if n_pictures else "")
        self.trace_panel.traces.message = self._plot_message()

    def _plot_message(self) -> str:
        if self._session.phase is Phase.STARTING:
            return self._session.snapshot.message or "Connecting…"
        return "" if self._session.active else "No data yet"

    def _share_height(self, *, is_open: bool) -> None:
        """An open view shares the height with the traces; closed, only its tabs stand."""
        tabs = self.signals.sizeHint().height()
        self.signals.setMaximumHeight(16_777_215 if is_open else tabs)
        self.left.handle(2).setEnabled(is_open)
        bar, *rest = self.left.sizes()
        height = sum(rest)
        if not is_open:
            self.left.setSizes([bar, height - tabs, tabs])
        elif rest[1] < 0.3 * height:
            self.left.setSizes([bar, round(0.52 * height), round(0.48 * height)])

    def _build(self) -> None:
        for splitter in self.splitters.values():
            splitter.setHandleWidth(10)
            splitter.setChildrenCollapsible(False)
        for part in (self.transport, self.trace_panel, self.signals):
            self.left.addWidget(part)
        for at, stretch in enumerate((0, 1, 0)):
            self.left.setStretchFactor(at, stretch)
        self.left.handle(1).setEnabled(False)  # the transport bar is one row, always
        self.upper.addWidget(self.left)
        self.upper.addWidget(self.picture_panel)
        self.upper.setStretchFactor(0, 1)
        self.upper.setStretchFactor(1, 0)
        self.upper.setSizes([818, 432])
        self.whole.addWidget(self.upper)
        self._lower = self._build_lower()
        self.whole.addWidget(self._lower)
        self.whole.setStretchFactor(0, 1)
        self.whole.setStretchFactor(1, 0)
        self.whole.setSizes([510, 176])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.addWidget(self.whole)
        self.signals.opened.connect(lambda is_open: self._share_height(is_open=is_open))
        self._fit()

    def _build_lower(self) -> QWidget:
        lower = QWidget()
        row = QHBoxLayout(lower)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(10)
        strip = card("History", self.history, self.n_pictures, self.export)
        self._latency = card("Latency, ms", self.latency, text_label("p50 / p95", "small"))
        self._outcomes = card("Outcomes", self.outcomes, self.n_markers)
        row.addWidget(strip, 1)
        row.addWidget(self._latency)
        row.addWidget(self._outcomes)
        return lower


def card(title: str, content: QWidget, *notes: QWidget) -> QFrame:
    """Return a framed part with a title, and notes at the right of it."""
    frame = QFrame()
    frame.setObjectName("card")
    head = QHBoxLayout()
    head.addWidget(text_label(title, "title"))
    head.addStretch(1)
    for note in notes:
        head.addWidget(note)
    layout = QVBoxLayout(frame)
    layout.setContentsMargins(14, 8, 14, 10)
    layout.setSpacing(6)
    layout.addLayout(head)
    layout.addWidget(content, 1)
    return frame
