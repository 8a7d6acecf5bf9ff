"""The store of adapters as windows and commands use it.

Owns the process apart in which adapters are tried, so that a window stays light and free of torch;
what is stored and refused is `models.adapters.AdapterStore`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from app.errors import AppError
from app.runtime.processes import end_process, start_process
from models.adapters.store import AdapterRecord, AdapterStore
from models.api import Encoder
from pipeline.errors import PhospheneError

__all__ = ["NOT_REACHED", "AdapterRecord", "StoredAdapters"]
APART_TIMEOUT = 120.0
"""Longest wait for an adapter to be tried, s."""
NOT_REACHED = (
    "Not reached, so delete by hand what shall go: recordings and session folders (the subject's "
    "code stands in session.toml and summary.json), calibration folders, exported zip files and "
    "BIDS folders, and every copy or backup elsewhere."
)
"""What deleting in the store leaves."""


class StoredAdapters(AdapterStore):
    """The store; what must load an adapter to judge it takes some seconds in another process."""

    def activate(
        self,
        adapter_id: str,
        *,
        subject: str | None = None,
        force: bool = False,
        encoder: Encoder | None = None,
    ) -> AdapterRecord:
        """Make an adapter its person's active one; see the base class."""
        self.folder(adapter_id)
        options = {"subject": subject, "force": force, "encoder": encoder}
        return self._apart(AdapterStore.activate, adapter_id, options)

    def import_(
        self,
        path: Path,
        *,
        subject: str | None = None,
        force: bool = False,
        encoder: Encoder | None = None,
    ) -> AdapterRecord:
        """Take in an exported adapter; see the base class."""
        options = {"subject": subject, "force": force, "encoder": encoder}
        return self._apart(AdapterStore.import_, path, options)

    def _apart(
        self, call: Callable[..., AdapterRecord], given: object, options: dict[str, Any]
    ) -> AdapterRecord:
        """Call a method of the store in a process of its own."""
        process, ours = start_process(
            _call, self.root, call, given, options, name="phosphene-adapter"
        )
        try:
            found, said = ours.recv() if ours.poll(APART_TIMEOUT) else (False, "")
        except (OSError, EOFError):
            found, said = False, ""
        finally:
            ours.close()
            end_process(process, grace=2.0)
        if not found:
            raise AppError(said or "the adapter could not be tried: its process does not answer.")
        return self.record(said)


def _call(
    connection: Connection,
    root: Path,
    call: Callable[..., AdapterRecord],
    given: object,
    options: dict[str, Any],
) -> None:
    """Run in the process: one call, one answer."""
    try:
        connection.send((True, call(AdapterStore(root), given, **options).adapter_id))
    except PhospheneError as error:
        connection.send((False, str(error)))
