"""The store of adapters as windows and commands see it: rows, and folders by id.

Owns the plain row and its wording; what is stored and refused is `models.adapters.AdapterStore`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from app.errors import AppError
from app.runtime.processes import end_process, start_process
from pipeline.errors import PhospheneError

if TYPE_CHECKING:
    from models.adapters.library import AdapterRecord, AdapterStore

APART_TIMEOUT = 120.0
"""Longest wait for an adapter to be tried, s."""


@dataclass(frozen=True, slots=True)
class AdapterLine:
    """One stored adapter.

    `accuracy`, `chance`, `without` are of its calibration's cross-validation; `p_value` of its
    permutation test; `created` is an ISO date; `problem` says why it cannot be read; `has_data`
    whether epochs are kept with it; `recordings` are the files that it was made from.
    """

    id: str
    subject: str
    created: str
    method: str
    verdict: str
    accuracy: float | None
    chance: float | None
    without: float | None
    p_value: float | None
    minutes: float
    n_epochs: int
    n_channels: int
    sfreq: float
    active: bool
    folder: Path
    problem: str = ""
    has_data: bool = False
    recordings: tuple[str, ...] = ()

    def to_table(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self) | {"folder": str(self.folder)}


NOT_REACHED = (
    "Not reached, so delete by hand what shall go: recordings and session folders (the subject's "
    "code stands in session.toml and summary.json), calibration folders, exported zip files and "
    "BIDS folders, and every copy or backup elsewhere."
)
"""What deleting in the store leaves."""


class Shelf(Protocol):
    """What windows and commands ask of the store; errors are `PhospheneError`s."""

    def lines(self, subject: str | None = None) -> Sequence[AdapterLine]:
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


class StoreShelf:
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

    def lines(self, subject: str | None = None) -> tuple[AdapterLine, ...]:
        """Every adapter, by subject and date."""
        return tuple(self._line(record) for record in self._store.list(subject))

    def line(self, adapter_id: str) -> AdapterLine:
        """One row; raises where there is no such adapter."""
        self._store.folder(adapter_id)
        return next(each for each in self.lines() if each.id == adapter_id)

    def manifest(self, adapter_id: str) -> dict[str, Any]:
        """Everything an adapter says of itself, as JSON holds it."""
        return self._store.show(adapter_id).model_dump(mode="json")

    def activate(self, adapter_id: str) -> Path:
        """Make it its subject's active one; its folder."""
        self._store.folder(adapter_id)
        return Path(_apart(self._root, "activate", adapter_id))

    def roll_back(self, subject: str) -> Path | None:
        """Activate what was active before; its folder, None: no adapter."""
        record = self._store.rollback(subject)
        return None if record is None else record.folder

    def export(self, adapter_id: str, path: Path) -> Path:
        """Write one into a file; the file's path."""
        return self._store.export(adapter_id, path)

    def import_(self, path: Path, *, subject: str | None = None, force: bool = False) -> str:
        """Take one from a file; its new id."""
        return Path(_apart(self._root, "import_", path, subject=subject, force=force)).name

    def delete(self, adapter_id: str) -> None:
        """Delete one."""
        self._store.delete(adapter_id)

    def delete_subject(self, subject: str) -> int:
        """Delete all of a subject; how many adapters there were."""
        return self._store.delete_subject(subject)

    def n_unfinished(self, subject: str) -> int:
        """How many imports and calibrations of a subject were begun and never finished."""
        return self._store.n_unfinished(subject)

    def _line(self, record: AdapterRecord) -> AdapterLine:
        report = None if record.manifest is None else record.manifest.report
        return AdapterLine(
            id=record.id,
            subject=record.subject,
            created=record.created,
            method=record.method,
            verdict=record.verdict,
            accuracy=record.accuracy,
            chance=record.chance,
            without=None if report is None or report.is_classes else report.without_adapter,
            p_value=record.p_value,
            minutes=0.0 if report is None else report.minutes,
            n_epochs=0 if report is None else report.n_epochs,
            n_channels=len(record.ch_names),
            sfreq=record.sfreq,
            active=record.is_active,
            folder=record.folder,
            problem=record.problem,
            has_data=record.has_data,
            recordings=() if record.manifest is None else tuple(record.manifest.recordings),
        )


def _open(root: Path | None) -> AdapterStore:
    from models.adapters.library import AdapterStore

    return AdapterStore(root)


def _apart(root: Path | None, name: str, *args: object, **options: object) -> str:
    """Call a method of the store in a process of its own; the folder of what it returned."""
    process, ours = start_process(_call, root, name, args, options, name="phosphene-adapter")
    try:
        found, said = ours.recv() if ours.poll(APART_TIMEOUT) else (False, "")
    except (OSError, EOFError):
        found, said = False, ""
    finally:
        ours.close()
        end_process(process, grace=2.0)
    if not found:
        raise AppError(said or "the adapter could not be tried: its process does not answer.")
    return str(said)


def _call(
    connection: Connection,
    root: Path | None,
    name: str,
    args: tuple[Any, ...],
    options: dict[str, Any],
) -> None:
    """Run in the process: one call, one answer."""
    try:
        connection.send((True, str(getattr(_open(root), name)(*args, **options).folder)))
    except PhospheneError as error:
        connection.send((False, str(error)))
