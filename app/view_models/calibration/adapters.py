"""The stored adapters as a window lists them, and what can be done with one.

Owns the rows and the requests, which run in the background one at a time (an adapter is tried
before it is taken, which needs seconds); errors become sentences. Knows nothing of Qt; the store is
given.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.calibration.background import Background
from app.calibration.stored import AdapterRecord, StoredAdapters
from app.port import Phase
from app.view_models.session.model import SessionModel
from app.view_models.settings.model import SettingsModel


class AdaptersModel:
    """The list of adapters, read when it is asked for.

    Parameters
    ----------
    open_stored : callable
        Opens the store; called once, when the list is first seen.
    session : SessionModel
        Whose running session an adapter is swapped into.
    settings : SettingsModel
        Whose next session begins with the active adapter.
    """

    def __init__(
        self,
        open_stored: Callable[[], StoredAdapters],
        session: SessionModel,
        settings: SettingsModel,
    ) -> None:
        self._open = open_stored
        self._session = session
        self._settings = settings
        self._stored: StoredAdapters | None = None
        self.records: tuple[AdapterRecord, ...] = ()
        self.error = ""
        self.note = ""
        self.revision = 0
        self._task: Background[tuple[tuple[AdapterRecord, ...], Path | None]] | None = None
        self._note, self._uses = "", False
        self._next: tuple[Callable[[StoredAdapters], object], str, bool] | None = None

    @property
    def in_use(self) -> str | None:
        """Folder of the adapter that decodes now; None: none, or nothing runs."""
        return self._session.snapshot.adapter if self._running else None

    @property
    def loading(self) -> str | None:
        """Folder of an adapter that is being loaded."""
        return self._session.snapshot.adapter_loading if self._running else None

    @property
    def _running(self) -> bool:
        return self._session.port is not None and self._session.phase is Phase.RUNNING

    def record(self, adapter_id: str) -> AdapterRecord | None:
        """One row."""
        return next((each for each in self.records if each.adapter_id == adapter_id), None)

    def refresh(self) -> None:
        """Read the store anew."""
        self._do(lambda _stored: None, "")

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return self._task is not None

    def activate(self, adapter_id: str) -> None:
        """Make it its subject's active one, and swap it into the session that runs."""
        self._do(
            lambda stored: stored.activate(adapter_id),
            f"{adapter_id} is active{self._now}.",
            use=True,
        )

    def deactivate(self) -> None:
        """Decode without an adapter, in the running session and the next."""
        self._use(None)
        self.note = f"No adapter is used{self._now}."

    def roll_back(self, subject: str) -> None:
        """Activate what was active before."""
        note = f"{subject} is back at the adapter before{self._now}."
        self._do(lambda stored: stored.rollback(subject), note, use=True)

    def export(self, adapter_id: str, path: Path) -> None:
        """Write one into a file."""
        self._do(lambda stored: stored.export(adapter_id, path), f"Exported to {path}.")

    def import_(self, path: Path) -> None:
        """Take one from a file."""
        self._do(lambda stored: stored.import_(path), f"Imported from {path}.")

    def delete(self, adapter_id: str) -> None:
        """Delete one for good."""
        self._do(lambda stored: stored.delete(adapter_id), f"{adapter_id} is deleted.")

    def delete_subject(self, subject: str) -> None:
        """Delete all of a subject."""
        self._do(lambda stored: stored.delete_subject(subject), f"All of {subject} is deleted.")

    @property
    def _now(self) -> str:
        return "; the running session swaps to it between two pictures" if self._running else ""

    def _use(self, folder: Path | None) -> None:
        self._settings.adapter = None if folder is None else str(folder)
        port = self._session.port
        if port is not None and self._running:
            port.swap_adapter(folder)

    def poll(self) -> None:
        """Take what a request has brought; call it some times a second."""
        task = self._task
        if task is None or not task.done:
            return
        self._task = None
        self.revision += 1
        if task.value is None:
            self.error = task.error
        else:
            self.records, folder = task.value
            self.note = self._note
            if self._uses:
                self._use(folder)
        waiting, self._next = self._next, None
        if waiting is not None:
            act, note, use = waiting
            self._do(act, note, use=use)

    def close(self, timeout: float = 10.0) -> None:
        """Wait for a request that is under way."""
        if self._task is not None:
            self._task.join(timeout)

    def _do(self, act: Callable[[StoredAdapters], object], note: str, *, use: bool = False) -> None:
        if self._task is not None:
            # One may wait; a newer one takes its place.
            self._next = (act, note, use)
            return
        self.error = self.note = ""
        self._note, self._uses = note, use
        self._task = Background(lambda: self._act(act), name="adapters")

    def _act(
        self, act: Callable[[StoredAdapters], object]
    ) -> tuple[tuple[AdapterRecord, ...], Path | None]:
        """In the background: the request, then the list anew."""
        if self._stored is None:
            self._stored = self._open()
        said = act(self._stored)
        record = said if isinstance(said, AdapterRecord) else None
        return tuple(self._stored.list()), None if record is None else record.folder
