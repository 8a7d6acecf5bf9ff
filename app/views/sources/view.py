"""Choosing a source: streams in reach, the virtual headset, a recording.

Owns the list and the montage dialog; `SourcesModel` searches and keeps the choice.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app import formatting
from app.recordings import dialog_filter
from app.source_options import SourceOptions
from app.view_models.sources.model import (
    SourceChoice,
    SourceKind,
    SourcesModel,
)
from app.views.common.painted import Button, Combo, plain_tip, set_text, text_label
from app.views.common.theme import Theme
from configs.montages import OFFERED
from configs.plain import plain
from configs.units import UNITS
from pipeline.values import StreamInfo


class SourcesView(QWidget):
    """The list of streams with refresh, and the choice of markers."""

    board_asked = Signal()
    chosen = Signal()
    """A source was chosen (`SourcesModel.choice`) and should be connected to."""

    def __init__(self, model: SourcesModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self._revision = -1
        self._listed: tuple[StreamInfo, ...] | None = None
        self.list = QTreeWidget()
        self.note = text_label("", "caption")
        self.note.setWordWrap(True)
        self.refresh_button = Button("Refresh", icon_name="refresh", tip="Search again (F5)")
        self.board_button = Button(
            "Connect a board…", icon_name="board", tip="OpenBCI, Muse and others, without LSL (F4)"
        )
        self.recording_button = Button("Open recording…", icon_name="folder", tip="Play a file")
        self.connect_button = Button("Connect", tip="Connect to the chosen stream (Enter)")
        self.options_button = Button(
            "Channels…", tip="Choose channels, the markers' column, a recording's streams"
        )
        self.markers = Combo()
        self._build()
        self.options_button.clicked.connect(self.ask_options)
        self.refresh_button.clicked.connect(self.search)
        self.board_button.clicked.connect(self.board_asked)
        self.recording_button.clicked.connect(self.open_recording)
        self.connect_button.clicked.connect(self.connect_selected)
        self.list.itemActivated.connect(lambda *_: self.connect_selected())
        self.list.itemSelectionChanged.connect(self._selection_changed)
        self.refresh()

    def set_theme(self, theme: Theme) -> None:
        """Redraw the icons."""
        for button in (
            *(self.refresh_button, self.recording_button),
            *(self.connect_button, self.board_button),
        ):
            button.set_theme(theme)

    def search(self) -> None:
        """Search for streams."""
        self._model.refresh()
        self.refresh()

    def refresh(self) -> None:
        """Show the model when it changed."""
        if self._revision == self._model.revision:
            return
        self._revision = self._model.revision
        set_text(self.note, self._sentence())
        if self._model.streams != self._listed:
            self._listed = self._model.streams
            self._fill_list()
            self._fill_markers()
        self._selection_changed()

    def _fill_list(self) -> None:
        """List the streams anew; what was selected stays so, and the only one is."""
        streams = self._model.eeg_streams
        chosen = self._selected or (_key(streams[0]) if len(streams) == 1 else "")
        self.list.clear()
        for stream in streams:
            item = QTreeWidgetItem(_columns(stream))
            item.setData(0, Qt.ItemDataRole.UserRole, _key(stream))
            item.setToolTip(0, plain_tip(f"source_id {stream.source_id or 'none'}"))
            self.list.addTopLevelItem(item)
            if _key(stream) == chosen:
                self.list.setCurrentItem(item)

    def connect_selected(self) -> None:
        """Choose the selected stream; ask for labels and unit where it sends none."""
        stream = self._selected_stream()
        if stream is None:
            return
        at = self.markers.currentIndex() - 1
        streams = self._model.marker_streams
        markers = streams[at] if 0 <= at < len(streams) else None
        choice = SourceChoice(
            SourceKind.LIVE,
            stream=stream,
            markers=markers,
            key=self._model.key_of(stream),
            options=self._model.options,
        )
        if choice.needs_montage:
            dialog = MontageDialog(stream, self)
            if dialog.exec() != QDialog.DialogCode.Accepted:
                return
            names = dialog.ch_names if not stream.ch_names else ()
            choice = replace(choice, ch_names=names, unit=dialog.unit)
        self._model.choose(choice)
        self.chosen.emit()

    def ask_options(self) -> None:
        """Ask which channels, column and streams of a recording are meant."""
        dialog = OptionsDialog(self._model.options, self)
        if dialog.exec() == QDialog.DialogCode.Accepted:
            self._model.set_options(dialog.options)
            self.refresh()

    def open_recording(self) -> None:
        """Ask for a file and choose it."""
        name, _ = QFileDialog.getOpenFileName(self, "Open a recording", "", dialog_filter())
        if name:
            self.choose_recording(Path(name))

    def choose_recording(self, path: Path) -> None:
        """Choose the recording at `path`."""
        self._model.choose(SourceChoice(SourceKind.REPLAY, path=path, options=self._model.options))
        self.chosen.emit()

    def _sentence(self) -> str:
        if self._model.error:
            return self._model.error
        if self._model.searching and not self._model.searched:
            return "Searching for LSL streams…"
        if self._model.options.sentence:
            return f"In use: {self._model.options.sentence}."
        if self._model.eeg_streams:
            return "Choose a stream and connect."
        if self._model.searched:
            return "No EEG stream in reach yet. Start your headset's LSL output: it appears here."
        return "The LSL streams in reach appear here."

    def _fill_markers(self) -> None:
        before = self.markers.currentText()
        self.markers.clear()
        self.markers.addItem("Markers: automatic")
        for stream in self._model.marker_streams:
            self.markers.addItem(f"Markers: {plain(stream.name)}")
        at = self.markers.findText(before)
        self.markers.setCurrentIndex(max(0, at))

    @property
    def _selected(self) -> str:
        """Key of the selected stream; empty where none is."""
        items = self.list.selectedItems()
        return str(items[0].data(0, Qt.ItemDataRole.UserRole)) if items else ""

    def _selected_stream(self) -> StreamInfo | None:
        matching = (s for s in self._model.eeg_streams if _key(s) == self._selected)
        return next(matching, None)

    def _selection_changed(self) -> None:
        self.connect_button.setEnabled(self._selected_stream() is not None)

    def _build(self) -> None:
        self.list.setHeaderLabels(["Name", "Type", "Host", "Rate", "Channels"])
        self.list.setRootIsDecorated(False)
        self.list.setUniformRowHeights(True)
        self.list.setMinimumSize(QSize(420, 132))
        self.list.setAccessibleName("LSL streams in reach")
        header = self.list.header()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setStretchLastSection(False)
        for column, width in ((1, 70), (2, 130), (3, 90), (4, 76)):
            header.resizeSection(column, width)
        self.markers.setToolTip("The stream of stimulus markers")
        self.markers.setMinimumWidth(170)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self.markers, 1)
        row.addWidget(self.connect_button)
        others = QHBoxLayout()
        others.setSpacing(8)
        others.addWidget(self.board_button)
        others.addWidget(self.recording_button)
        others.addWidget(self.options_button)
        others.addStretch(1)
        head = QHBoxLayout()
        head.addWidget(self.note, 1)
        head.addWidget(self.refresh_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(head)
        layout.addWidget(self.list, 1)
        layout.addLayout(row)
        layout.addLayout(others)


class OptionsDialog(QDialog):
    """Asks for what a stream or a recording does not say of itself: which part of it is meant."""

    def __init__(self, options: SourceOptions, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Channels and streams")
        self.setMinimumWidth(520)
        self.picks = QLineEdit(", ".join(options.picks))
        self.picks.setPlaceholderText("all of type EEG; else labels: TP9, AF7, AUX")
        self.column = QLineEdit(options.column)
        self.column.setPlaceholderText("of markers with several columns: its name or number")
        self.eeg = QLineEdit(options.eeg)
        self.eeg.setPlaceholderText("of a recording with several: source_id, or #2")
        self.markers = QLineEdit(options.markers)
        self.markers.setPlaceholderText("of a recording with several: source_id, or #2")
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.button(QDialogButtonBox.StandardButton.Ok).setProperty("kind", "primary")
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        form = QFormLayout()
        form.setSpacing(10)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        form.addRow("Channels", self.picks)
        form.addRow("Marker column", self.column)
        form.addRow("Recording's EEG", self.eeg)
        form.addRow("Recording's markers", self.markers)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 16, 18, 14)
        layout.setSpacing(12)
        layout.addLayout(form)
        layout.addWidget(buttons)

    @property
    def options(self) -> SourceOptions:
        """What was typed."""
        picks = (word.strip() for word in self.picks.text().replace(";", ",").split(","))
        return SourceOptions(
            picks=tuple(word for word in picks if word),
            column=self.column.text().strip(),
            eeg=self.eeg.text().strip(),
            markers=self.markers.text().strip(),
        )


class MontageDialog(QDialog):
    """Asks for the labels and the unit of a stream that sends none."""

    def __init__(self, stream: StreamInfo, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Name the electrodes")
        self.setMinimumWidth(520)
        self._stream = stream
        self.board = Combo()
        self.names = QLineEdit(", ".join(stream.ch_names))
        self.unit_box = Combo()
        self.problem = text_label("", "small")
        self.problem.setWordWrap(True)
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        self.buttons.button(QDialogButtonBox.StandardButton.Ok).setProperty("kind", "primary")
        self._build()
        self.board.activated.connect(self._take_board)
        self.names.textChanged.connect(lambda _: self._check())
        self.unit_box.currentIndexChanged.connect(lambda _: self._check())
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self._check()

    @property
    def ch_names(self) -> tuple[str, ...]:
        """The labels as typed."""
        parts = self.names.text().replace(";", ",").split(",")
        return tuple(part.strip() for part in parts if part.strip())

    @property
    def unit(self) -> str:
        """The unit's word; empty until one is chosen."""
        at = self.unit_box.currentIndex() - 1
        return UNITS[at] if at >= 0 else ""

    def _take_board(self, at: int) -> None:
        name = self.board.itemText(at)
        if name in OFFERED:
            self.names.setText(", ".join(OFFERED[name]))

    def _check(self) -> None:
        n_given, n_needed = len(self.ch_names), self._stream.n_channels
        problem = ""
        if n_given != n_needed:
            problem = f"{n_given} of {n_needed} labels given: one for each channel, in order."
        elif len(set(self.ch_names)) != n_given:
            problem = "A label stands twice; each electrode needs its own."
        elif not self.unit:
            problem = "Choose the unit of the samples."
        set_text(self.problem, problem)
        self.buttons.button(QDialogButtonBox.StandardButton.Ok).setEnabled(not problem)

    def _build(self) -> None:
        text = text_label(
            f"The stream “{self._stream.name}” does not say which electrodes its "
            f"{self._stream.n_channels} channels are, or in which unit it sends. Both decide "
            "what is decoded, so they are asked for rather than guessed.",
            "muted",
        )
        text.setWordWrap(True)
        fitting = [n for n, labels in OFFERED.items() if len(labels) == self._stream.n_channels]
        self.board.addItem("Choose a board…" if fitting else "No board with as many channels")
        self.board.addItems(fitting)
        self.unit_box.addItems(["Choose a unit…", *UNITS])
        known = [u for u in self._stream.ch_units if u in UNITS]
        if known:
            self.unit_box.setCurrentIndex(UNITS.index(known[0]) + 1)
        self.names.setPlaceholderText("Fp1, Fp2, C3, C4, …")
        form = QFormLayout()
        form.setSpacing(10)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        form.addRow("Board", self.board)
        form.addRow("Labels", self.names)
        form.addRow("Unit", self.unit_box)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 16, 18, 14)
        layout.setSpacing(12)
        layout.addWidget(text)
        layout.addLayout(form)
        layout.addWidget(self.problem)
        layout.addWidget(self.buttons)


def _key(stream: StreamInfo) -> str:
    return stream.uid or stream.source_id


def _columns(stream: StreamInfo) -> list[str]:
    return [
        plain(stream.name),
        plain(stream.type),
        plain(stream.hostname) or "this machine",
        formatting.hertz(stream.sfreq),
        str(stream.n_channels),
    ]
