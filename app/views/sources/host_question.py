"""Asks whether a lost stream's namesake on another host is the same headset.

Owns when it is asked: once a host and session, without holding the window up. The answer at hand
keeps waiting; where the stream comes back by itself the question goes.
"""

from __future__ import annotations

from PySide6.QtWidgets import QMessageBox, QPushButton, QWidget

from app.port import SessionPort
from app.view_models.session.model import SessionModel
from app.views.common.confirm import question_box
from configs.plain import plain


class HostQuestion:
    """Watches the session; `poll` it in every frame."""

    def __init__(self, parent: QWidget, session: SessionModel) -> None:
        self._parent, self._session = parent, session
        self._port: SessionPort | None = None
        self._asked: set[str] = set()
        self._host = ""
        self.box: QMessageBox | None = None
        """The question while it is open."""
        self._yes: QPushButton | None = None

    def poll(self) -> None:
        """Ask when there is something to ask, and take the question away when there is not."""
        session = self._session
        if session.port is not self._port:
            self._port = session.port
            self._asked.clear()
        hosts = session.foreign_hosts
        if self.box is not None:
            if self._host not in hosts:
                self.close()
            return
        host = next((each for each in hosts if each not in self._asked), None)
        if host is not None:
            self._ask(host)

    def close(self) -> None:
        """Take the question away unanswered; it may be asked again."""
        box, self.box, self._yes = self.box, None, None
        if box is not None:
            self._asked.discard(self._host)
            box.close()
            box.deleteLater()

    def _ask(self, host: str) -> None:
        eeg = self._session.snapshot.eeg
        name = "the stream" if eeg is None else f"the stream “{plain(eeg.name)}”"
        home = "" if eeg is None else f" on {plain(eeg.hostname) or 'this machine'}"
        self._host = host
        self._asked.add(host)
        self.box, self._yes = question_box(
            self._parent,
            "Is this your headset?",
            f"{name[0].upper()}{name[1:]}{home} is lost. A stream of the same name is sent by "
            f"{plain(host)}: it may be your headset on another computer, or somebody else's. "
            f"Go on with the one on {plain(host)}?",
            do=f"Take the one on {plain(host)}",
            keep="Keep waiting",
        )
        self.box.finished.connect(self._take_answer)
        self.box.open()

    def _take_answer(self, _result: int) -> None:
        box, yes = self.box, self._yes
        self.box = self._yes = None
        if box is None:
            return
        if box.clickedButton() is yes:
            self._session.admit_host(self._host)
        box.deleteLater()
