"""Connecting a board: choose it, say how it is reached, hear whether it sends, connect.

Owns the dialog; `BoardsModel` keeps the form and does the work in the background.
"""

from __future__ import annotations

from itertools import pairwise

from PySide6.QtCore import QSignalBlocker, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import (
    QDialog,
    QFileDialog,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app import formatting
from app.view_models.sources.boards import FAMILIAR, TEST_SECONDS, WORDS, BoardsModel
from app.view_models.sources.electrodes import behind, toggled
from app.views.common.painted import Button, Combo, set_text, set_tone, text_label
from app.views.common.theme import Theme, px
from app.views.sources.electrode_picker import ElectrodePicker
from app.views.sources.peak_to_peak_bars import PeakToPeakBars

POLL_MS = 60
CONTACT_TONES = {"good": "good", "high": "warn"}


class BoardsDialog(QDialog):
    """The form of a board; `connected` once its stream is there."""

    connected = Signal()

    def __init__(self, model: BoardsModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Connect a board")
        self.resize(QSize(px(640), px(700)))
        self._model = model
        self._revision = -1
        self._rows: tuple[tuple[str, bool], ...] | None = None
        self._typed_in: QWidget | None = None
        """What had the keyboard before it was switched off; a part that is off passes it on."""
        self.inputs: dict[str, QLineEdit] = {}
        self.board = Combo()
        self.about = text_label("", "caption")
        self.ports = Combo()
        self.scan = Button("Scan again", icon_name="refresh", tip="Look for serial ports again")
        self.labels = QLineEdit()
        self.head = ElectrodePicker()
        self.behind = Button("Back of the head", tip="The sites that are best for pictures")
        self.own = Button("The board's own", tip="The names that the board comes with")
        self.verdict = text_label("", "caption")
        self.bars = PeakToPeakBars()
        self.test_button = Button("Test connection", icon_name="wave", tip="Listen to the board")
        self.measure_button = Button(
            "Impedances", tip="Measure the contact of each electrode (some seconds each)"
        )
        self.connect_button = Button(
            "Connect", kind="primary", tip="Publish the board and start a session"
        )
        self.cancel_button = Button("Cancel", tip="End what is under way, or close (Esc)")
        self._form = QFormLayout()
        self._build()
        self._connect_parts()
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self.tick)

    def set_theme(self, theme: Theme) -> None:
        """Redraw the icons."""
        for button in (self.scan, self.test_button):
            button.set_theme(theme)
        self.head.set_theme(theme)
        self.bars.set_theme(theme)

    def open_form(self) -> None:
        """Show the dialog and look for boards and ports."""
        self._model.refresh()
        self._timer.start()
        self.show()
        self.raise_()
        self.board.setFocus()
        self.tick()

    def tick(self) -> None:
        """Take what is new; the dialog's timer calls this while it is open."""
        had_link = self._model.link is not None
        self._model.poll()
        if self._revision != self._model.revision:
            self._revision = self._model.revision
            self._show()
        if self._model.link is not None and not had_link:
            self.connected.emit()
            self.accept()

    def done(self, code: int) -> None:
        """Close; what is under way ends."""
        self._timer.stop()
        if self._model.doing:
            self._model.cancel()
        super().done(code)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Closing by the frame is as Cancel."""
        self.done(QDialog.DialogCode.Rejected)
        super().closeEvent(event)

    # Showing the model

    def _show(self) -> None:
        model = self._model
        if self.board.count() != len(model.entries) + 1:
            self._fill_boards()
        at = self.board.findData(None if model.entry is None else model.entry.name)
        if at != self.board.currentIndex():
            self.board.setCurrentIndex(at)
        self._show_form()
        busy = bool(model.doing)
        if busy and self._typed_in is None:
            self._typed_in = self.focusWidget()
        form = (self.board, self.scan, self.labels, self.ports, self.head, self.behind, self.own)
        for widget in (*form, *self.inputs.values()):
            widget.setEnabled(not busy)
        ready = not busy and not model.problem
        self.test_button.setEnabled(ready)
        self.measure_button.setEnabled(ready)
        has_impedance = model.entry is not None and model.entry.has_impedance
        self.measure_button.setVisible(has_impedance)
        self.connect_button.setEnabled(ready)
        self.cancel_button.setText("Cancel" if busy else "Close")
        words, tone = self._sentence()
        set_text(self.verdict, words)
        set_tone(self.verdict, tone)
        if not busy and self._typed_in is not None:
            self._typed_in.setFocus()  # else the space bar would press Close
            self._typed_in = None
        self.bars.set_values(() if model.progress is None else model.progress.peak_to_peak)

    def _sentence(self) -> tuple[str, str]:
        """What there is to say, and its tone."""
        model, heard = self._model, self._model.progress
        if model.error:
            return formatting.sentence(model.error), "bad"
        if model.doing == "listing":
            return "Looking for boards and serial ports…", ""
        if model.trying:
            return f"Looking for the board at {model.trying}…", ""
        if model.contacts or model.doing == "measuring":
            return self._of_contacts()
        if model.doing == "connecting":
            return "Connecting: this may take some seconds.", ""
        if model.doing == "testing" and heard is None:
            return "Opening the board: this may take some seconds.", ""
        if heard is not None and model.entry is not None:
            rate = "" if heard.rate is None else f" at {heard.rate:.1f} samples/s"
            words = f"{heard.title} sent {heard.n_samples} samples in {heard.seconds:.2f} s{rate}"
            if model.doing:
                return f"{words}…", ""
            near = heard.rate is not None and abs(heard.rate / model.entry.sfreq - 1) < 0.05
            expected = f" (expected {model.entry.sfreq:g})"
            return (f"✓ {words}.", "good") if near else (f"{words}{expected}.", "warn")
        return model.problem or f"A test listens for {TEST_SECONDS:g} s.", ""

    def _of_contacts(self) -> tuple[str, str]:
        """What the impedances say, and the tone."""
        contacts, entry = self._model.contacts, self._model.entry
        if self._model.doing == "measuring":
            n_all = 0 if entry is None else len(entry.ch_names)
            far = f": {len(contacts)} of {n_all} electrodes" if contacts else ""
            return f"Measuring impedances{far}. Sit still…", ""
        bad = [f"{c.ch_name} {formatting.kiloohm(c.kohm)} {c.verdict}" for c in contacts]
        bad = [words for words, c in zip(bad, contacts, strict=True) if c.verdict != "good"]
        if bad:
            return f"Mend the contact of {', '.join(bad)}, and measure again.", "warn"
        return f"✓ All {len(contacts)} electrodes have good contact.", "good"

    def _fill_boards(self) -> None:
        self.board.clear()
        self.board.addItem("Choose a board…", None)
        for entry in self._model.entries:
            rate = f", {formatting.hertz(entry.sfreq)}" if entry.sfreq else ""
            n = f" · {len(entry.ch_names)} channels" if entry.ch_names else ""
            self.board.addItem(f"{entry.title} ({entry.name}){n}{rate}", entry.name)
        n_familiar = sum(entry.name in FAMILIAR for entry in self._model.entries)
        if 0 < n_familiar < len(self._model.entries):
            self.board.insertSeparator(n_familiar + 1)

    def _show_form(self) -> None:
        model = self._model
        if self._rows != model.fields:
            self._rows = model.fields
            self._build_rows()
        listed = [self.ports.itemText(k) for k in range(self.ports.count())]
        if listed != list(model.ports):
            blocker = QSignalBlocker(self.ports)  # a list that is filled types nothing
            self.ports.clear()
            self.ports.addItems(list(model.ports))
            blocker.unblock()
        if self.ports.currentText() != model.values.get("serial_port", ""):
            self.ports.setEditText(model.values.get("serial_port", ""))
        for name, line in self.inputs.items():
            if line.text() != model.values.get(name, ""):
                line.setText(model.values.get(name, ""))
        entry = model.entry
        set_text(self.about, "" if entry is None else formatting.sentence(entry.hint) + ".")
        names = "" if entry is None else ", ".join(entry.ch_names)
        self.labels.setPlaceholderText(names)
        if self.labels.text() != model.labels:
            self.labels.setText(model.labels)
        own = () if entry is None else entry.ch_names
        values = {
            c.ch_name: (_short(c.kohm), CONTACT_TONES.get(c.verdict, "bad")) for c in model.contacts
        }
        self.head.show_names(model.ch_names or own, is_own=not model.ch_names, values=values)
        typed = self.ports.lineEdit()
        if typed is not None:
            typed.setPlaceholderText("the one that answers" if len(model.ports) > 1 else "")

    # Construction

    def _build(self) -> None:
        self.board.setAccessibleName("Board")
        self.board.setMaxVisibleItems(16)
        self.ports.setEditable(True)
        self.ports.setInsertPolicy(Combo.InsertPolicy.NoInsert)
        self.ports.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.ports.setAccessibleName(WORDS["serial_port"][0])
        self.labels.setAccessibleName("Electrode names")
        for label in (self.about, self.verdict):
            label.setWordWrap(True)
        self._form.setHorizontalSpacing(14)
        self._form.setVerticalSpacing(4)
        self._form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        rows = QWidget()
        rows.setObjectName("root")
        rows.setLayout(self._form)
        self._form.setContentsMargins(0, 0, 8, 0)
        scroll = QScrollArea()
        scroll.setWidget(rows)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # it scrolls to the field that has the keys
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 18, 20, 16)
        layout.setSpacing(10)
        layout.addWidget(self.board)
        layout.addWidget(self.about)
        layout.addWidget(scroll, 1)
        layout.addWidget(self.verdict)
        layout.addWidget(self.bars)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addWidget(self.test_button)
        buttons.addWidget(self.measure_button)
        buttons.addStretch(1)
        buttons.addWidget(self.cancel_button)
        buttons.addWidget(self.connect_button)
        layout.addLayout(buttons)

    def _build_rows(self) -> None:
        kept = (self.ports, self.scan, self.labels, self.head, self.behind, self.own)
        for widget in kept:
            widget.setParent(self)
            widget.hide()
        while self._form.rowCount():
            self._form.removeRow(0)
        self.inputs = {}
        for name, needed in self._rows or ():
            title, words = WORDS[name]
            self._form.addRow(title + (" *" if needed else ""), self._input(name))
            self._explain(words)
        if self._model.entry is not None:
            self.labels.show()
            self._form.addRow("Electrodes", self.labels)
            self._explain(
                "One name for each channel, in order, with commas between them; empty: those in "
                "grey. Names decide what the decoder is given. A click on the head adds a site as "
                "the next channel, or takes it out."
            )
            self._add_head()
        # Tab goes down the form: rows that were taken out and put back stand last in Qt's chain.
        rows: list[QWidget] = [self.board]
        for name, _ in self._rows or ():
            rows += (self.ports, self.scan) if name == "serial_port" else (self.inputs[name],)
        rows += [self.labels, self.behind, self.own, self.test_button, self.measure_button]
        rows += [self.cancel_button, self.connect_button]
        for before, after in pairwise(rows):
            QWidget.setTabOrder(before, after)

    def _add_head(self) -> None:
        """Put the head and what fills it below the names."""
        entry = self._model.entry
        n_channels = 0 if entry is None else len(entry.ch_names)
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(8)
        for button in (self.behind, self.own):
            line.addWidget(button)
            button.show()
        line.addStretch(1)
        self.behind.setVisible(bool(behind(n_channels)))
        self._form.addRow("", row)
        self._form.addRow("", self.head)
        self.head.show()

    def _input(self, name: str) -> QWidget:
        if name == "serial_port":
            row = QWidget()
            line = QHBoxLayout(row)
            line.setContentsMargins(0, 0, 0, 0)
            line.addWidget(self.ports, 1)
            line.addWidget(self.scan)
            self.ports.show()
            self.scan.show()
            return row
        edit = QLineEdit(self._model.values.get(name, ""))
        edit.setAccessibleName(WORDS[name][0])
        edit.textChanged.connect(lambda text, name=name: self._take(name, text))
        self.inputs[name] = edit
        if name != "file":
            return edit
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        browse = Button("Choose…", tip="Choose the file")
        browse.clicked.connect(self._choose_file)
        line.addWidget(edit, 1)
        line.addWidget(browse)
        return row

    def _explain(self, words: str) -> None:
        label = text_label(words, "small")
        label.setWordWrap(True)
        label.setContentsMargins(0, 0, 0, 8)
        self._form.addRow("", label)

    def _connect_parts(self) -> None:
        self.board.activated.connect(self._choose_board)
        self.ports.editTextChanged.connect(lambda text: self._take("serial_port", text))
        self.labels.textChanged.connect(self._take_labels)
        self.scan.clicked.connect(lambda: self._do(self._model.refresh))
        self.head.clicked.connect(self._toggle_site)
        self.behind.clicked.connect(self._choose_behind)
        self.own.clicked.connect(lambda: self._do(lambda: self._model.set_labels("")))
        self.measure_button.clicked.connect(lambda: self._do(self._model.measure))
        self.test_button.clicked.connect(lambda: self._do(self._model.test))
        self.connect_button.clicked.connect(lambda: self._do(self._model.connect))
        self.cancel_button.clicked.connect(self._cancel)

    def _do(self, call: object) -> None:
        call()  # type: ignore[operator]
        self.tick()

    def _cancel(self) -> None:
        if self._model.doing:
            self._model.cancel()
        else:
            self.reject()

    def _choose_board(self, at: int) -> None:
        name = self.board.itemData(at)
        if name is not None:
            self._model.choose(str(name))
        self.tick()

    def _choose_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self, "A recording of BrainFlow's", "", "All files (*)"
        )
        if name:
            self._take("file", name)
            self.tick()

    def _take(self, name: str, text: str) -> None:
        self._model.set_value(name, text)

    def _take_labels(self, text: str) -> None:
        self._model.set_labels(text)

    def _toggle_site(self, site: str) -> None:
        model = self._model
        n_channels = 0 if model.entry is None else len(model.entry.ch_names)
        model.set_labels(", ".join(toggled(model.ch_names, site, n_channels)))
        self.tick()

    def _choose_behind(self) -> None:
        entry = self._model.entry
        if entry is not None:
            self._model.set_labels(", ".join(behind(len(entry.ch_names))))
        self.tick()


def _short(kohm: float) -> str:
    """An impedance in as few signs as fit below a name."""
    return f"{kohm / 1000:.1f}M" if kohm >= 1000 else f"{kohm:.0f}k"
