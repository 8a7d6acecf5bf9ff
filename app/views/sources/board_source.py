"""A board as a source: its form, the session on it, and giving it back when it is no longer used.

Owns the way from the dialog to a session; `BoardsModel` reaches the board.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QWidget

from app.view_models.session.model import SessionModel
from app.view_models.sources.boards import BoardService, BoardsModel
from app.view_models.sources.model import SourceChoice, SourceKind, SourcesModel
from app.views.sources.boards_dialog import BoardsDialog


class BoardSource:
    """One board at a time.

    Parameters
    ----------
    service : BoardService
    sources, session : SourcesModel, SessionModel
    start : callable
        Starts a session on the chosen source.
    show_error : callable
        Takes a sentence.
    parent : QWidget
        Window of the dialog.
    """

    def __init__(
        self,
        service: BoardService,
        *,
        sources: SourcesModel,
        session: SessionModel,
        start: Callable[[], None],
        show_error: Callable[[str], None],
        parent: QWidget,
    ) -> None:
        self._sources, self._session = sources, session
        self._start, self._show_error = start, show_error
        self.model = BoardsModel(service)
        self.dialog = BoardsDialog(self.model, parent)
        self.dialog.connected.connect(self._connected)

    def show(self) -> None:
        """Open the form; a session that runs comes first."""
        if not self._session.active:
            self.dialog.open_form()

    def poll(self) -> None:
        """Give back a board that is no longer the source, and say when one has ended."""
        model = self.model
        if model.link is None:
            return
        if self._sources.choice.key != model.link.stream.source_id:
            model.drop()
        elif model.poll() and model.error:
            self._show_error(model.error)

    def close(self) -> None:
        """Close the form, and give the board back."""
        self.dialog.close()
        self.model.close()

    def _connected(self) -> None:
        link = self.model.link
        if link is None:
            return
        stream = link.stream
        choice = SourceChoice(SourceKind.LIVE, stream=stream, key=stream.source_id)
        self._sources.choose(choice)
        self._start()
