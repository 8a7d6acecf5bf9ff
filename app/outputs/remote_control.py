"""LabRecorder's remote control (RCS), answered: lines over TCP that start and stop a recording.

Owns the server and the words: `select all`, `select none`, `update`, `start`, `stop` and
`filename {root:...} {template:...} {participant:...} ...`. Each line is answered, `OK` as
LabRecorder does, or `ERROR` and a sentence where it could not be followed. Listens on loopback
only. Knows nothing of LSL: what records is a `RemoteControlled`.
"""

from __future__ import annotations

import os
import re
import socketserver
import threading
from collections.abc import Mapping
from typing import Any, Protocol

from app.errors import OutputError
from app.outputs.addresses import LOOPBACK
from configs.plain import plain
from pipeline.errors import PhospheneError

PORT = 22345
"""LabRecorder's own."""
_LONGEST_LINE = 4096
_OPTION = re.compile(r'\{\s*([A-Za-z]+)\s*:([^{}\n\r?*|<>"]+)\}')
WORDS = "select all, select none, update, filename {option:value}, start, stop"


class RemoteControlled(Protocol):
    """What is told to record; called from the server's threads, one command at a time.

    A method raises a `PhospheneError` whose sentence is the answer.
    """

    def select(self, *, everything: bool) -> None:
        """Record every stream in reach, or none."""
        ...

    def update(self) -> None:
        """Look for streams anew."""
        ...

    def name_file(self, options: Mapping[str, str]) -> None:
        """Name the next file by LabRecorder's options."""
        ...

    def start(self) -> None:
        """Begin a recording."""
        ...

    def stop(self) -> None:
        """Finish the recording."""
        ...


def read_options(line: str) -> dict[str, str]:
    """The `{option:value}` of a line; options in lower case, the last of several counts."""
    return {name.lower(): value.strip() for name, value in _OPTION.findall(line)}


def obey(line: str, what: RemoteControlled) -> str:
    """Follow one line; the answer to it."""
    word, _, rest = line.strip().partition(" ")
    try:
        match word.lower(), rest.strip().lower():
            case "start", "":
                what.start()
            case "stop", "":
                what.stop()
            case "update", "":
                what.update()
            case "select", "all" | "none" as which:
                what.select(everything=which == "all")
            case "filename", _ if options := read_options(rest):
                what.name_file(options)
            case _:
                return f"ERROR {plain(line.strip())!r} is unknown, expected one of: {WORDS}\n"
    except PhospheneError as error:
        return f"ERROR {plain(str(error), limit=1000)}\n"
    except OSError as error:
        return f"ERROR {plain(str(error.strerror or error), limit=1000)}\n"
    return "OK"


class RemoteControlServer:
    """Answers until it is closed.

    Parameters
    ----------
    what : RemoteControlled
    port : int
        0: a free one.

    Raises
    ------
    OutputError
        The port is taken, or there is none of that number.
    """

    def __init__(self, what: RemoteControlled, *, port: int = PORT) -> None:
        if not 0 <= port <= 65535:
            raise OutputError(
                f"Port {port} of the remote control given, expected 1 to 65535, such as {PORT}, or "
                "0 for any free one."
            )
        try:
            self._server = _Server((LOOPBACK, port), _Handler)
        except OSError as error:
            raise OutputError(
                f"Port {port} of the remote control is not free ({error.strerror}): does a "
                "LabRecorder run? End it, or give another port."
            ) from None
        self._server.what = what
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="remote-control", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End it; a client that is still there is let go within a second. Safe to call twice."""
        self._server.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = False
    allow_reuse_address = os.name != "nt"
    what: RemoteControlled

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.closing = threading.Event()
        self.turn = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no news."""


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        """Follow lines until the client goes, or sends what is no line."""
        self.request.settimeout(0.25)
        waiting = b""
        while not self.server.closing.is_set():
            try:
                got = self.request.recv(_LONGEST_LINE)
            except TimeoutError:
                continue
            if not got:
                return
            *lines, waiting = (waiting + got).split(b"\n")
            for line in lines:
                with self.server.turn:
                    answer = obey(line.decode("utf-8", "replace"), self.server.what)
                self.request.sendall(answer.encode())
            if len(waiting) > _LONGEST_LINE:
                self.request.sendall(b"ERROR the line is too long\n")
                return
