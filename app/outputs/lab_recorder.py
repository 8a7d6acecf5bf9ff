"""Asks a running LabRecorder to record a session along, over its remote control.

Owns the order of the commands and the waits that LabRecorder needs between them; the protocol's
words are in `app.outputs.remote_control`. LabRecorder says `OK` to every line, also to one that it
could not follow: what it wrote is to be looked at.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from app.errors import OutputError
from app.outputs.addresses import split_address
from app.outputs.port import Sent
from pipeline.signal_quality import ChannelQuality

ANSWER_TIMEOUT = 5.0
"""Longest wait for an answer, s."""
LOOK_SECONDS = 2.0
"""How long LabRecorder looks for streams after `update`, s."""


class LabRecorderOutput:
    """Starts LabRecorder's recording in a thread of its own, and stops it at the end.

    Parameters
    ----------
    address : str
        `HOST:PORT` of LabRecorder's remote control.
    name : str
        Beginning of the file's name.
    subject : str
    warn : callable
        Takes a sentence where it does not answer.
    look_seconds : float
        `LOOK_SECONDS` but for tests.

    Raises
    ------
    OutputError
        The address is none, or nobody listens there.
    """

    def __init__(
        self,
        address: str,
        *,
        name: str,
        subject: str,
        warn: Callable[[str], None],
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._address, self._warn = address, warn
        self._look_seconds = look_seconds
        self._closing = threading.Event()
        self._started = False
        try:
            self._socket = socket.create_connection(split_address(address), ANSWER_TIMEOUT)
        except OSError as error:
            raise OutputError(
                f"LabRecorder does not answer at {address} ({error}): start it and tick its "
                "remote control, or leave --lab-recorder out."
            ) from None
        self._words = ("update", "select all", filename_words(name, subject), "start")
        self._thread = threading.Thread(target=self._start, name="lab-recorder", daemon=True)
        self._thread.start()

    @property
    def about(self) -> str:
        """Which LabRecorder records along."""
        return f"LabRecorder at {self._address}"

    def send(self, sent: Sent) -> None:
        """Nothing: LabRecorder reads our LSL streams."""

    def send_quality(self, newest: Sequence[ChannelQuality], at: float) -> None:
        """Nothing: LabRecorder reads our LSL streams."""

    def close(self) -> None:
        """Stop the recording that was started; safe to call twice."""
        self._closing.set()
        self._thread.join()
        if self._started:
            self._started = False
            with self._told():
                self._say("stop")
        self._socket.close()

    def _start(self) -> None:
        with self._told():
            for word in self._words:
                if self._closing.is_set():
                    return
                self._say(word)
                if word == "update":
                    self._closing.wait(self._look_seconds)
            self._started = True

    def _say(self, line: str) -> None:
        self._socket.sendall(f"{line}\n".encode())
        answer = self._socket.recv(4096).decode("utf-8", "replace").strip()
        if answer != "OK":
            raise OutputError(
                f"LabRecorder at {self._address} answered {answer[:200]!r} to {line!r}, expected "
                "OK: look at its window."
            )

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._warn(f"LabRecorder at {self._address} does not answer ({error}): see whether "
                       "it records.")  # fmt: skip
        except OutputError as error:
            self._warn(str(error))


def filename_words(name: str, subject: str) -> str:
    """The command that names the file: in LabRecorder's own folder, of its own rules."""
    return f"filename {{participant:{subject}}} {{template:{Path(name).name.lower()}.xdf}}"
