"""The store of adapters as windows and commands see it.

Owns the process apart in which adapters are tried; what is stored and refused is
`models.adapters.AdapterStore`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from app.errors import AppError
from app.runtime.processes import end_process, start_process
from pipeline.errors import PhospheneError

if TYPE_CHECKING:
    from models.adapters.store import AdapterRecord, AdapterStore

__all__ = ["NOT_REACHED", "AdapterRecord", "AdaptersOnDisk", "StoredAdapters"]

APART_TIMEOUT = 120.0
"""Longest wait for an adapter to be tried, s."""


NOT_REACHED = (
    "Not reached, so delete by hand what shall go: recordings and session folders (the subject's "
    "code stands in session.toml and summary.json), calibration folders, exported zip files and "
    "BIDS folders, and every copy or backup elsewhere."
)
"""What deleting in the store leaves."""


class StoredAdapters(Protocol):
    """What windows and commands ask of the store; errors are `PhospheneError`s."""

    def records(self, subject: str | None = None) -> Sequence[AdapterRecord]:
        """Every adapter, by subject and date."""
        ...

    def activate(self, adapter_id: str) -> Path:
        """Make it its subject's active one; its folder."""
        ...

    def roll_back(self, subject: str) -> Path | None:
        """Activate what was active before; its folder, None: no adapter."""
        ...

    def export(self, adapter_id: str, path: Path) -> Path:
        """Write one into a file; the file's path."""
        ...

    def import_(self, path: Path, *, subject: str | None = None, force: bool = False) -> str:
        """Take one from a file; its new id."""
        ...

    def delete(self, adapter_id: str) -> None:
        """Delete one."""
        ...

    def delete_subject(self, subject: str) -> int:
        """Delete all of a subject; how many adapters there were."""
        ...


class AdaptersOnDisk:
    """The store on disk.

    What must load an adapter to judge it (torch) happens in a process of its own, so that a window
    stays light; it takes some seconds.

    Parameters
    ----------
    root : Path, optional
        The user's own store by default.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._root = root
        self._store = _open(root)

    def records(self, subject: str | None = None) -> tuple[AdapterRecord, ...]:
        """Every adapter, by subject and date."""
        return self._store.list(subject)

    def record(self, adapter_id: str) -> AdapterRecord:
        """One adapter; raises where there is none of that id."""
        return self._store.record(adapter_id)

    def manifest(self, adapter_id: str) -> dict[str, Any]:
        """Everything an adapter says of itself, as JSON holds it."""
        return self._store.show(adapter_id).model_dump(mode="json")

    def activate(self, adapter_id: str) -> Path:
        """Make it its subject's active one; its folder."""
        self._store.folder(adapter_id)
        return _apart(self._root, type(self._store).activate, adapter_id)

    def roll_back(self, subject: str) -> Path | None:
        """Activate what was active before; its folder, None: no adapter."""
        record = self._store.rollback(subject)
        return None if record is None else record.folder

    def export(self, adapter_id: str, path: Path) -> Path:
        """Write one into a file; the file's path."""
        return self._store.export(adapter_id, path)

    def import_(self, path: Path, *, subject: str | None = None, force: bool = False) -> str:
        """Take one from a file; its new id."""
        taken = _apart(self._root, type(self._store).import_, path, subject=subject, force=force)
        return taken.name

    def delete(self, adapter_id: str) -> None:
        """Delete one."""
        self._store.delete(adapter_id)

    def delete_subject(self, subject: str) -> int:
        """Delete all of a subject; how many adapters there were."""
        return self._store.delete_subject(subject)

    def n_unfinished(self, subject: str) -> int:
        """How many imports and calibrations of a subject were begun and never finished."""
        return self._store.n_unfinished(subject)


def _open(root: Path | None) -> AdapterStore:
    from models.adapters.store import AdapterStore

    return AdapterStore(root)


def _apart(
    root: Path | None, call: Callable[..., AdapterRecord], *args: object, **options: object
) -> Path:
    """Call a method of the store in a process of its own; the folder of what it returned."""
    process, ours = start_process(_call, root, call, args, options, name="phosphene-adapter")
    try:
        found, said = ours.recv() if ours.poll(APART_TIMEOUT) else (False, "")
    except (OSError, EOFError):
        found, said = False, ""
    finally:
        ours.close()
        end_process(process, grace=2.0)
    if not found:
        raise AppError(said or "the adapter could not be tried: its process does not answer.")
    return Path(said)


def _call(
    connection: Connection,
    root: Path | None,
    call: Callable[..., AdapterRecord],
    args: tuple[Any, ...],
    options: dict[str, Any],
) -> None:
    """Run in the process: one call, one answer."""
    try:
        connection.send((True, str(call(_open(root), *args, **options).folder)))
    except PhospheneError as error:
        connection.send((False, str(error)))
