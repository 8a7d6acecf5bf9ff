"""The sessions of before, on the first page: open a report, a folder, or finish what crashed.

Owns the rows; `PastSessionsModel` finds the sessions.
"""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from app.view_models.session.past_sessions import MAX_SHOWN, PastSession, PastSessionsModel
from app.views.common.painted import Button, ElidedLabel, set_tone, text_label

UNFINISHED = "ended without being finished; what was recorded is safe"
IN_DOUBT = "runs on another computer, or was never finished there"


def open_path(path: Path) -> None:
    """Open a file or folder with what the desktop has for it."""
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(path.resolve())))


class SessionRow(QFrame):
    """One session with what can be done with it."""

    def __init__(self, session: PastSession, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.title = ElidedLabel("caption")
        self.about = ElidedLabel("small")
        self.title.set_whole(session.title)
        unfinished = session.abandoned or bool(session.doubt)
        words = IN_DOUBT if session.doubt else UNFINISHED
        self.about.set_whole(words if unfinished else session.summary)
        set_tone(self.about, "warn" if unfinished else "")
        self.folder = Button("Open folder", kind="mini", tip=f"Open {session.path}")
        build = "Build report…" if session.doubt else "Build report"
        text = build if unfinished else "Open report"
        tip = "Make summary and report of what is there" if unfinished else "Open the report"
        self.report = Button(text, kind="mini", tip=tip)
        self.report.setVisible(unfinished or session.has_report)
        self.delete = Button("Delete…", kind="mini", tip=f"Move {session.path} to the trash")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(self.title, 2)
        row.addWidget(self.about, 3)
        row.addWidget(self.report)
        row.addWidget(self.folder)
        row.addWidget(self.delete)


class RecentView(QFrame):
    """The newest sessions; hidden while there are none."""

    recover_asked = Signal(Path)
    delete_asked = Signal(Path)

    def __init__(self, model: PastSessionsModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("card")
        self._model = model
        self._revision = -1
        self.rows: list[SessionRow] = []
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(18, 10, 18, 10)
        self._layout.setSpacing(4)
        self._layout.addWidget(text_label("Recent sessions", "title"))
        self.hide()

    def refresh(self) -> None:
        """Show the model when it changed."""
        if self._revision == self._model.revision:
            return
        self._revision = self._model.revision
        for row in self.rows:
            row.hide()
            row.deleteLater()
        self.rows = [SessionRow(session) for session in self._model.sessions[:MAX_SHOWN]]
        for row in self.rows:
            self._layout.addWidget(row)
            self._connect(row)
        self.setVisible(bool(self.rows))

    def _connect(self, row: SessionRow) -> None:
        path = row.session.path
        row.folder.clicked.connect(lambda: open_path(path))
        row.delete.clicked.connect(lambda: self.delete_asked.emit(path))
        if row.session.abandoned or row.session.doubt:
            row.report.clicked.connect(lambda: self.recover_asked.emit(path))
        else:
            row.report.clicked.connect(lambda: open_path(path / "report.html"))
