"""The bar at the bottom and the banner for what needs doing.

Owns one sentence each: the status bar says what is going on, the banner what went wrong and
what to do about it.
"""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QTimer, QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QApplication, QFrame, QHBoxLayout, QWidget

from app import formatting
from app.port import Phase
from app.view_models.session.model import SessionModel
from app.views.common.painted import Button, ElidedLabel, plain_tip, set_text, set_tone, text_label
from app.views.common.theme import DARK, Theme, px

_TONES = {Phase.RUNNING: "good", Phase.FAILED: "bad", Phase.STARTING: "warn"}
_COPIED_MS = 2000


class StatusBar(QFrame):
    """Phase, message, decoder, clock."""

    def __init__(self, session: SessionModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("statusbar")
        self.set_theme(DARK)
        self._session = session
        self.expected: float | None = None
        """How long the session will last, s; None: until it is stopped."""
        self.phase = text_label("", "caption")
        self.message = ElidedLabel("caption")
        self.away = text_label("", "caption")
        self.feed = Button(
            kind="mini",
            tip="Copy the address of the picture feed (with its token: who has it sees the "
            "pictures, on this machine)",
        )
        self.feed.clicked.connect(self._copy_feed)
        self.feed.hide()
        self._copied = QTimer(self)
        self._copied.setSingleShot(True)
        self._copied.setInterval(_COPIED_MS)
        self._copied.timeout.connect(self._show_feed)
        self.right = text_label("", "small")
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 0, 14, 0)
        row.setSpacing(12)
        row.addWidget(self.phase)
        row.addWidget(self.message, 1)
        row.addWidget(self.away)
        row.addWidget(self.feed)
        row.addWidget(self.right)

    def set_theme(self, _theme: Theme) -> None:
        """Take the size of text of the moment."""
        self.setFixedHeight(px(30))

    def refresh(self) -> None:
        """Show the session."""
        session, snapshot = self._session, self._session.snapshot
        phase = session.phase
        silent = session.silent_for is not None
        word = "No stream" if silent else formatting.PHASE_WORDS[phase]
        set_text(self.phase, f"●  {word}")
        set_tone(self.phase, "warn" if silent else _TONES.get(phase, ""))
        message = snapshot.message
        if phase is Phase.STARTING and not message:
            message = "Opening the source…"
        if phase is Phase.IDLE and not message:
            message = "Space starts · M marks · + and - scale · P pauses · F1 lists all keys"
        if phase is Phase.RUNNING and snapshot.warnings:
            message = snapshot.warnings[-1]
        self.message.set_whole(formatting.sentence(message))
        self.message.setToolTip(
            plain_tip("\n".join([message, *snapshot.warnings])) if message else ""
        )
        self._show_away(snapshot.decoded_by if session.active else "")
        self._show_feed()
        set_text(self.right, "   ".join(self._facts()))

    def _show_feed(self) -> None:
        """Say where the pictures are; a token on the screen would be in every screenshot."""
        url = self._session.snapshot.feed if self._session.active else ""
        self.feed.setVisible(bool(url))
        if url and not self._copied.isActive():
            self.feed.setText(f"Pictures at {url.partition('://')[2].partition('/')[0]}")

    def _copy_feed(self) -> None:
        QApplication.clipboard().setText(self._session.snapshot.feed)
        self.feed.setText("Address copied")
        self._copied.start()

    def _show_away(self, url: str) -> None:
        """Say, for as long as it does, that EEG leaves this machine, and for where."""
        self.away.setVisible(bool(url))
        set_text(self.away, f"EEG leaves this machine: {url.partition('://')[2]}" if url else "")
        set_tone(self.away, "warn" if url else "")
        self.away.setToolTip(
            plain_tip(f"Each epoch is sent to {url}, which decodes it (decoder.remote).")
            if url
            else ""
        )

    def _facts(self) -> list[str]:
        snapshot = self._session.snapshot
        facts = []
        if snapshot.decoder:
            facts.append(f"decoder {snapshot.decoder}")
        if snapshot.clock_offset is not None:
            # Adding zero takes the sign from one that is rounded away.
            facts.append(f"clock offset {round(1000 * snapshot.clock_offset, 2) + 0.0:.2f} ms")
        if snapshot.filter_delay:
            facts.append(f"filter delay {1000 * snapshot.filter_delay:.0f} ms")
        if snapshot.duration:
            length = "" if self.expected is None else f" of {formatting.duration(self.expected)}"
            facts.append(formatting.duration(snapshot.duration) + length)
        return facts


class Banner(QWidget):
    """A sentence that stays until it is closed, with the buttons of its next step."""

    dismissed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.frame = QFrame()
        self.frame.setObjectName("banner")
        outer = QHBoxLayout(self)
        outer.setContentsMargins(10, 10, 10, 0)
        outer.addWidget(self.frame)
        self.text = text_label("")
        self.text.setWordWrap(True)
        self.report = Button(
            "Open report", kind="plain", tip="Open report.html in the browser (Ctrl+R)"
        )
        self.folder = Button("Open folder", kind="plain", tip="Open the session folder")
        self.close_button = Button(icon_name="close", kind="plain", tip="Dismiss (Esc)")
        self._report_url, self._folder_url = QUrl(), QUrl()
        row = QHBoxLayout(self.frame)
        row.setContentsMargins(14, 6, 8, 6)
        row.addWidget(self.text, 1)
        for button in (self.report, self.folder, self.close_button):
            row.addWidget(button)
        self.close_button.clicked.connect(self.dismissed)
        self.report.clicked.connect(self.open_report)
        self.folder.clicked.connect(lambda: QDesktopServices.openUrl(self._folder_url))
        self.hide()

    def set_theme(self, theme: Theme) -> None:
        """Redraw the icon."""
        self.close_button.set_theme(theme)

    def open_report(self) -> None:
        """Open the report that is offered, if one is."""
        if not (self.isHidden() or self.report.isHidden()):
            QDesktopServices.openUrl(self._report_url)

    def show_error(self, sentence: str) -> None:
        """Show what went wrong and what to do."""
        set_text(self.text, formatting.sentence(sentence))
        set_tone(self.frame, "bad")
        self.report.hide()
        self.folder.hide()
        self.show()

    def show_note(
        self,
        sentence: str,
        folder: Path | None = None,
        *,
        report: Path | None = None,
        tone: str = "good",
    ) -> None:
        """Show what was done, with buttons for the folder it lies in and for a report."""
        set_text(self.text, sentence)
        set_tone(self.frame, tone)
        self.report.setVisible(report is not None)
        if report is not None:
            self._report_url = QUrl.fromLocalFile(str(report.resolve()))
        self.folder.setVisible(folder is not None)
        if folder is not None:
            self._folder_url = QUrl.fromLocalFile(str(folder.resolve()))
        self.show()

    def show_finished(self, session: SessionModel) -> None:
        """Show where a finished session lies."""
        out = session.snapshot.out
        if out is None:
            return
        set_text(self.text, f"Session finished and saved in {formatting.short_path(out)}.")
        set_tone(self.frame, "good")
        report = out / "report.html"
        self._report_url = QUrl.fromLocalFile(str(report.resolve()))
        self._folder_url = QUrl.fromLocalFile(str(out.resolve()))
        self.report.setVisible(report.exists())
        self.folder.show()
        self.show()
