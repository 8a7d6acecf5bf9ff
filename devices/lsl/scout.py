"""A thread that looks for one stream and hands it over open.

Owns waiting, backing off and the choice among candidates, so that the acquisition thread never
waits for a stream that is not there. Knows nothing of what is done with the stream.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

import pylsl

from devices.errors import SourceError
from devices.lsl.connection import Connection, StreamLostError
from devices.lsl.discovery import Finder, Match, describe_all
from pipeline.values import StreamInfo

_FIRST_PAUSE = 0.03
_LONGEST_PAUSE = 0.5
_CLOSED_FOR = 3.0
"""How long an outlet that closed while it was being opened is overlooked, s: the resolver goes on
listing it for two, beside the one that replaces it."""


class Scout:
    """Looks for exactly one stream that matches until it is found or no longer wanted.

    Parameters
    ----------
    match : callable
        Tells whether a stream is meant, from its short info.
    max_buflen : int
        Of the inlet to open.
    settle : float
        How long a single candidate must stay the only one, s.
    refused : callable or None
        Tells which streams look like it and are not taken: they are named in a note.
    prefer_uid : str
        An outlet that is taken at once, whatever else matches.
    timeout : float
        Longest time for each step of opening, s.
    """

    def __init__(
        self,
        match: Match,
        *,
        max_buflen: int,
        settle: float = 0.0,
        refused: Match | None = None,
        prefer_uid: str = "",
        timeout: float = 2.0,
        name: str = "phosphene-scout",
    ) -> None:
        self._match = match
        self._refused = refused
        self._max_buflen = max_buflen
        self._settle = settle
        self._prefer_uid = prefer_uid
        self._timeout = timeout
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self._found: Connection | None = None
        self._note = ""
        self._told = ""
        self._dead: dict[str, float] = {}
        self.refused_hosts: tuple[str, ...] = ()
        """Hosts of the streams that were refused at the last look."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` s for the stream; True when it is there."""
        return self._ready.wait(timeout)

    def take(self) -> Connection | None:
        """Return the open stream once; it is then the caller's to close."""
        with self._lock:
            found, self._found = self._found, None
            return found

    def note(self) -> str:
        """Return why the choice is still open, once for each reason; else `""`."""
        with self._lock:
            if self._note == self._told:
                return ""
            self._told = self._note
            return self._note

    @property
    def alive(self) -> bool:
        """Whether its thread still runs."""
        return self._thread.is_alive()

    def cancel(self) -> None:
        """Ask the thread to end, without waiting; a stream that was found is closed."""
        self._stop.set()
        found = self.take()
        if found is not None:
            found.close()

    def close(self) -> None:
        """End the thread and wait for it."""
        self.cancel()
        self._thread.join()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        only: tuple[str, float] = ("", 0.0)
        with Finder() as finder:
            while not self._stop.is_set():
                seen = finder.look()
                candidates = [pair for pair in seen if self._fits(pair[0])]
                if candidates:
                    self.refused_hosts = ()
                else:
                    self._name_refused(info for info, _ in seen)
                chosen, only = self._choose(candidates, only)
                if chosen is not None and self._open(chosen):
                    return
                if not candidates:
                    pause = min(pause * 1.1, _LONGEST_PAUSE)
                self._stop.wait(pause)

    def _name_refused(self, seen: Iterable[StreamInfo]) -> None:
        found = [info for info in seen if self._refused is not None and self._refused(info)]
        self.refused_hosts = tuple(sorted({info.hostname for info in found}))
        if found:
            self._tell(
                f"Not taken for the lost stream, for it comes from another host: "
                f"{describe_all(found)}. Take it with --any-host (source.any_host), or choose it "
                "in a new session."
            )

    def _fits(self, info: StreamInfo) -> bool:
        is_closed = time.monotonic() - self._dead.get(info.uid, -_CLOSED_FOR) < _CLOSED_FOR
        return not is_closed and self._match(info)

    def _choose(
        self,
        candidates: list[tuple[StreamInfo, pylsl.StreamInfo]],
        only: tuple[str, float],
    ) -> tuple[pylsl.StreamInfo | None, tuple[str, float]]:
        for info, native in candidates:
            if info.uid == self._prefer_uid:
                return native, only
        if len(candidates) != 1:
            if candidates:
                listing = describe_all(info for info, _ in candidates)
                self._tell(
                    f"{len(candidates)} streams fit, expected one: {listing}. Name one, or stop "
                    "the others."
                )
            return None, ("", 0.0)
        info, native = candidates[0]
        now = time.monotonic()
        if info.uid != only[0]:
            only = (info.uid, now)
        return (native if now - only[1] >= self._settle else None), only

    def _open(self, native: pylsl.StreamInfo) -> bool:
        try:
            connection = Connection(
                native, max_buflen=self._max_buflen, timeout=self._timeout, stop=self._stop
            )
        except StreamLostError:
            self._dead[native.uid()] = time.monotonic()
            return False
        except SourceError as error:
            self._tell(str(error))
            return False
        with self._lock:
            if not self._stop.is_set():
                self._found = connection
                self._ready.set()
                return True
        connection.close()
        return True

    def _tell(self, note: str) -> None:
        with self._lock:
            self._note = note
