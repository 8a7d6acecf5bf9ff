"""Servers on the local network: the search that a person asks for, and which one decodes.

Owns the search in the background and the setting. Knows nothing of Qt; what searches is given.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.view_models.settings.model import SettingsModel
from pipeline.errors import PhospheneError

if TYPE_CHECKING:
    from app.runtime.remote.finding import FoundServer


def _find() -> Sequence[FoundServer]:
    from app.runtime.remote.finding import find_servers

    return find_servers()


class ServersModel:
    """What was found, and what the next session uses."""

    def __init__(
        self, settings: SettingsModel, *, find: Callable[[], Sequence[FoundServer]] = _find
    ) -> None:
        self._settings = settings
        self._find = find
        self._found: tuple[Sequence[FoundServer], str] | None = None
        self._thread: threading.Thread | None = None
        self.servers: Sequence[FoundServer] = ()
        self.said = "Nothing is looked for until you ask."

    @property
    def remote(self) -> str:
        """Address of the server that decodes the next session; empty: none."""
        return self._settings.base.decoder.remote or ""

    @property
    def searching(self) -> bool:
        """Whether a search is under way."""
        return self._thread is not None

    def search(self) -> None:
        """Ask the network, in the background; `poll` brings the result."""
        if self._thread is None:
            self.said = "Asking the network…"
            self._thread = threading.Thread(target=self._ask, name="servers", daemon=True)
            self._thread.start()

    def _ask(self) -> None:
        try:
            self._found = self._find(), ""
        except PhospheneError as error:
            self._found = (), str(error)

    def poll(self) -> bool:
        """Take the result of a finished search; return whether there was one."""
        thread = self._thread
        if thread is None or thread.is_alive():
            return False
        from app.runtime.remote.finding import NONE_FOUND

        self._thread = None
        self.servers, error = self._found or ((), "")
        self.said = error or (f"{len(self.servers)} found." if self.servers else NONE_FOUND)
        return True

    def has_ticket(self, url: str) -> bool:
        """Whether a server's ticket lies where tickets lie."""
        from app.runtime.remote.ticket import place_of

        return place_of(url).is_file()

    def use(self, url: str, ticket: Path | None) -> bool:
        """Let the server decode the next sessions; return whether its ticket is one."""
        from app.runtime.remote.ticket import read_ticket

        try:
            read_ticket(url, ticket)
        except PhospheneError as error:
            self.said = str(error)
            return False
        self._take(remote=url, ticket=None if ticket is None else str(ticket.resolve()))
        self.said = f"The next session is decoded at {url}: EEG leaves this machine."
        return True

    def decode_here(self) -> None:
        """Let no server decode."""
        self._take(remote=None, ticket=None)
        self.said = "The next session is decoded on this machine."

    def _take(self, **update: str | None) -> None:
        config = self._settings.base
        decoder = config.decoder.model_copy(update=update)
        try:
            self._settings.take(config.model_copy(update={"decoder": decoder}))
        except PhospheneError as error:
            self.said = str(error)

    def close(self) -> None:
        """Wait for a search that is under way; it takes a few seconds at most."""
        if self._thread is not None:
            self._thread.join()
