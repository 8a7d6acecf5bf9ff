"""Sessions of before: what they were, and which of them was never finished.

Owns the list and the search for it, in a thread of its own. Knows nothing of Qt.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from app import formatting
from app.view_models.session.export import BackgroundTask
from configs.guard import TABLE_LIMIT, read_text

MAX_SHOWN = 4
MAX_READ = 60
"""Folders that are looked into, the newest first."""


@dataclass(frozen=True, slots=True)
class PastSession:
    """One session folder; `abandoned` when its process ended without finishing it.

    `doubt` says why it cannot be told from here whether it still runs; empty when it can.
    """

    path: Path
    changed: float
    """When it was last written, UNIX time, s."""
    abandoned: bool = False
    doubt: str = ""
    has_report: bool = False
    summary: str = ""

    @property
    def title(self) -> str:
        """Name and time."""
        when = datetime.fromtimestamp(self.changed).astimezone()
        return f"{self.path.name} · {when:%d %b %Y, %H:%M}"


class PastSessionsModel:
    """The newest sessions below `root` and of `extra` folders."""

    def __init__(self, root: Path | None) -> None:
        self._root = root
        self._task = BackgroundTask()
        self._found: list[PastSession] = []
        self._recovered: Path | None = None
        self.extra: list[Path] = []
        """Session folders elsewhere."""
        self.sessions: list[PastSession] = []
        self.error = ""
        self.report: Path | None = None
        """The report of a session that was just recovered."""
        self.revision = 0

    @property
    def busy(self) -> bool:
        """Whether a search or a recovery is under way."""
        return self._task.busy

    @property
    def abandoned(self) -> list[PastSession]:
        """Those that were never finished."""
        return [session for session in self.sessions if session.abandoned]

    def remember(self, folder: Path | None) -> None:
        """Keep a folder outside of the root in mind."""
        if folder is not None and folder not in self.extra:
            self.extra = [folder, *self.extra][:20]

    def look_in(self, root: Path) -> None:
        """Look below `root` from now on."""
        if root != self._root:
            self._root = root
            self.refresh()

    def forget(self, folder: Path) -> None:
        """Take a folder that is gone off the list."""
        self.extra = [path for path in self.extra if path != folder]
        self.sessions = [session for session in self.sessions if session.path != folder]
        self.revision += 1

    def refresh(self) -> None:
        """Look for sessions in the background; `poll` brings them."""
        self._recovered = None
        self._task.start(self._search)

    def doubt_of(self, folder: Path) -> str:
        """Why it cannot be told whether the session in `folder` still runs; "" when it can."""
        return next((session.doubt for session in self.sessions if session.path == folder), "")

    def recover(self, folder: Path, *, confirmed: bool = False) -> bool:
        """Finish an abandoned folder in the background; return whether it was begun.

        `confirmed`: the person says that a session in doubt runs nowhere.
        """

        def call() -> None:
            from app.runtime.recovery import recover

            self._recovered = recover(folder, confirmed=confirmed)
            self._search()

        return self._task.start(call)

    def poll(self) -> bool:
        """Take what was found; return whether a search or a recovery ended."""
        outcome = self._task.poll()
        if outcome is None:
            return False
        self.error, self.sessions = outcome, self._found
        self.report, self._recovered = self._recovered, None
        self.revision += 1
        return True

    def close(self) -> None:
        """Wait for what is under way."""
        self._task.close()

    def _search(self) -> None:
        self._found = scan(self._root, self.extra)


def scan(root: Path | None, extra: Sequence[Path] = ()) -> list[PastSession]:
    """List session folders, abandoned ones first, then the newest."""
    below = list(root.iterdir()) if root is not None and root.is_dir() else []
    folders = {path.resolve() for path in [*below, *extra] if (path / "events.jsonl").is_file()}
    dated = sorted(((path / "events.jsonl").stat().st_mtime, path) for path in folders)
    found = [_read(path, changed) for changed, path in reversed(dated[-MAX_READ:])]
    return sorted(found, key=lambda session: (not session.abandoned, -session.changed))


def _read(path: Path, changed: float) -> PastSession:
    from app.runtime.recovery import doubt, is_abandoned

    return PastSession(
        path=path,
        changed=changed,
        abandoned=is_abandoned(path),
        doubt=doubt(path),
        has_report=(path / "report.html").is_file(),
        summary=_words(path / "summary.json"),
    )


def _words(path: Path) -> str:
    try:
        table: Any = json.loads(read_text(path, limit=TABLE_LIMIT))
        n_pictures = int(table.get("outcomes", {}).get("decoded", 0))
        length = formatting.length(float(table.get("duration_s", 0.0)))
        subject = str(table.get("subject", ""))[:32]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return ""
    return f"{subject} · {length} · {formatting.count(n_pictures, 'picture')}"
