"""Connecting a board without a second program: which, how it is reached, does it send.

Owns the form, the search for boards and ports, the test and the connection, all in the background.
Knows nothing of Qt, BrainFlow or LSL: a `BoardService` does the work.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from pipeline.errors import PhospheneError
from pipeline.values import StreamInfo

_LOG = logging.getLogger(__name__)

FAMILIAR = ("cyton", "cyton-daisy", "ganglion-native", "ganglion", "muse-2", "muse-s", "synthetic")
"""Boards that most people have, first in the list."""

WORDS: Mapping[str, tuple[str, str]] = {
    "serial_port": (
        "Serial port",
        "The ports of this computer are in the list; after plugging in, scan again.",
    ),
    "mac": ("Bluetooth address", "Only where several are near, such as C0:FF:EE:00:11:22."),
    "ip": ("Network address", "Address of the board or its WiFi shield, such as 192.168.4.1."),
    "ip_port": ("Network port", "Any free port of this computer, such as 6677."),
    "serial_number": ("Serial number", "As printed on the device; only where several are near."),
    "other_info": ("Further words", "What BrainFlow's page on this board calls other_info."),
    "timeout": ("Search time, s", "How long to look for the board before giving up."),
    "file": ("File", "A recording that BrainFlow wrote; its samples are played as if live."),
    "master_board": ("Board of the data", "The board that the file or stream was recorded with."),
}
"""Title and explanation of each parameter."""
NUMBERS = ("ip_port", "timeout")
TEST_SECONDS = 4.0
"""How long a test listens, s."""
PROBE_SECONDS = 0.5
"""How long a port is listened to that may have the board, s."""


@dataclass(frozen=True, slots=True)
class BoardEntry:
    """A board as it stands in the list; `hint` says how to find what it needs."""

    name: str
    title: str
    sfreq: float
    ch_names: tuple[str, ...]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    hint: str = ""
    has_impedance: bool = False


@dataclass(frozen=True, slots=True)
class Contact:
    """An electrode's impedance, kOhm, and the verdict: `good`, `high`, `open` or `railed`."""

    ch_name: str
    kohm: float
    verdict: str


@dataclass(frozen=True, slots=True)
class BoardRequest:
    """A board with all that it needs to be reached."""

    board: str
    parameters: Mapping[str, str | int] = field(default_factory=dict)
    ch_names: tuple[str, ...] = ()
    master_board: str | None = None


@dataclass(frozen=True, slots=True)
class TestProgress:
    """What a test has heard so far.

    `seconds` since the first block of samples, `n_samples` of these seconds; `rate` is their
    quotient, in samples a second, None in the first moments; `peak_to_peak` of the newest half
    second, microvolts, by channel.
    """

    __test__ = False

    title: str
    seconds: float = 0.0
    n_samples: int = 0
    rate: float | None = None
    peak_to_peak: tuple[tuple[str, float], ...] = ()


class BoardLink(Protocol):
    """A board that is published as a stream by a process of its own."""

    @property
    def stream(self) -> StreamInfo:
        """The stream to connect to."""
        ...

    @property
    def error(self) -> str:
        """Why the process has ended by itself; empty while it runs."""
        ...

    def close(self) -> None:
        """End the process and give the board back; safe to call twice."""
        ...


class BoardService(Protocol):
    """Reaches boards; every method may block and raises `PhospheneError` with a sentence."""

    def boards(self) -> Sequence[BoardEntry]:
        """Every board that can be reached."""
        ...

    def ports(self) -> Sequence[str]:
        """Serial ports of this computer."""
        ...

    def test(
        self,
        request: BoardRequest,
        seconds: float,
        progress: Callable[[TestProgress], None],
        stop: threading.Event,
    ) -> None:
        """Open the board, listen for `seconds`, give it back; `stop` ends it early."""
        ...

    def impedance(
        self, request: BoardRequest, tell: Callable[[Contact], None], stop: threading.Event
    ) -> None:
        """Measure every electrode's impedance; `stop` ends it early."""
        ...

    def connect(self, request: BoardRequest, stop: threading.Event) -> BoardLink:
        """Publish the board; return once it streams."""
        ...


class BoardsModel:
    """The form of a board, and what was heard of it."""

    def __init__(self, service: BoardService) -> None:
        self._service = service
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._failed = ""
        self._new_link: BoardLink | None = None
        self._heard: TestProgress | None = None
        self._answered = self._seen_trying = ""
        self.doing = ""
        """`listing`, `testing`, `measuring`, `connecting`, or empty."""
        self.trying = ""
        """The port that is tried, where nobody said which."""
        self.contacts: tuple[Contact, ...] = ()
        """Impedances, as they come."""
        self.entries: tuple[BoardEntry, ...] = ()
        self.ports: tuple[str, ...] = ()
        self.entry: BoardEntry | None = None
        self.values: dict[str, str] = {}
        self.labels = ""
        """Electrode names with commas between them; empty: the board's own."""
        self.error = ""
        """A sentence about what was tried last; empty when it went well."""
        self.passed = False
        """Whether the last test heard the board to its end."""
        self.progress: TestProgress | None = None
        self.link: BoardLink | None = None
        self.revision = 0

    # The form

    def choose(self, name: str) -> None:
        """Take board `name`; what was typed for another board is kept where it fits."""
        found = next((entry for entry in self.entries if entry.name == name), None)
        if found is None or found == self.entry:
            return
        self.entry = found
        self.labels = ""
        if "serial_port" in found.required and not self.values.get("serial_port"):
            # Of several the one that answers is looked for, once the board is tried.
            self.values["serial_port"] = self.ports[0] if len(self.ports) == 1 else ""
        self._forget_test()

    def set_value(self, name: str, text: str) -> None:
        """Take what was typed for a parameter."""
        if self.values.get(name, "") != text:
            self.values[name] = text
            self._forget_test()

    def set_labels(self, text: str) -> None:
        """Take the electrode names."""
        if text != self.labels:
            self.labels = text
            self.revision += 1

    @property
    def fields(self) -> tuple[tuple[str, bool], ...]:
        """Parameters of the chosen board, and whether each is needed."""
        if self.entry is None:
            return ()
        needed = [(name, True) for name in self.entry.required]
        return (*needed, *((name, False) for name in self.entry.optional))

    @property
    def ch_names(self) -> tuple[str, ...]:
        """Electrode names as typed; empty: the board's own."""
        parts = self.labels.replace(";", ",").split(",")
        return tuple(part.strip() for part in parts if part.strip())

    @property
    def problem(self) -> str:
        """Why the board cannot be tried yet; empty when it can."""
        if self.entry is None:
            return "Choose a board."
        for name in self.entry.required:
            if name == "serial_port" and len(self.ports) > 1:
                continue
            if not self.values.get(name, "").strip():
                return f"{WORDS[name][0]} is missing."
        for name in {name for name, _ in self.fields} & set(NUMBERS):
            text = self.values.get(name, "").strip()
            if text and not text.isdecimal():
                return f"{WORDS[name][0]} is {text!r}, expected a whole number."
        given, needed = self.ch_names, len(self.entry.ch_names)
        if given and needed and len(given) != needed:
            return f"{len(given)} of {needed} electrode names given: one for each channel."
        if len(set(given)) != len(given):
            return "An electrode name stands twice; each channel needs its own."
        return ""

    def request(self) -> BoardRequest:
        """Return the board with what it needs."""
        name = "" if self.entry is None else self.entry.name
        given = {key: self.values.get(key, "").strip() for key, _ in self.fields}
        master = given.pop("master_board", "") or None
        parameters: dict[str, str | int] = {
            key: int(text) if key in NUMBERS else text for key, text in given.items() if text
        }
        return BoardRequest(name, parameters, self.ch_names, master)

    # The work

    def refresh(self) -> None:
        """Look for boards and ports."""
        self._start("listing", self._list)

    def test(self) -> None:
        """Open the board and listen to it for some seconds."""
        if self.problem:
            return
        request = self.request()
        self._forget_test()

        def call() -> None:
            self._service.test(self._reached(request), TEST_SECONDS, self._hear, self._stop)

        self._start("testing", call)

    def measure(self) -> None:
        """Measure the electrodes' impedances."""
        if self.problem:
            return
        request = self.request()
        self._forget_test()

        def call() -> None:
            self._service.impedance(self._reached(request), self._take_contact, self._stop)

        self._start("measuring", call)

    def connect(self) -> None:
        """Publish the board; `poll` brings `link`."""
        if self.problem:
            return
        request = self.request()
        self.drop()

        def call() -> None:
            self._new_link = self._service.connect(self._reached(request), self._stop)

        self._start("connecting", call)

    def cancel(self) -> None:
        """End what is under way; it may take a moment."""
        self._stop.set()

    def poll(self) -> bool:
        """Take what is new; return whether anything is."""
        before = self.revision
        if self._heard is not self.progress and self._heard is not None:
            self.progress = self._heard
            self.revision += 1
        if self._answered:
            self.values["serial_port"], self._answered = self._answered, ""
            self.revision += 1
        if self.trying != self._seen_trying:
            self._seen_trying = self.trying
            self.revision += 1
        thread = self._thread
        if thread is not None and not thread.is_alive():
            self._thread = None
            done, self.doing = self.doing, ""
            self.error, self._failed = self._failed, ""
            self.passed = done == "testing" and not self.error and not self._stop.is_set()
            self.link, self._new_link = self._new_link or self.link, None
            self.revision += 1
        if self.link is not None and self.link.error:
            self.error = self.link.error
            self.drop()
        return self.revision != before

    def drop(self) -> None:
        """Give the board back that is connected."""
        if self.link is not None:
            self.link.close()
            self.link = None
            self.revision += 1

    def close(self, timeout: float = 5.0) -> None:
        """End everything; waits up to `timeout` seconds."""
        self.cancel()
        if self._thread is not None:
            self._thread.join(timeout)
        self.poll()
        self.drop()

    def _reached(self, request: BoardRequest) -> BoardRequest:
        """The request with a port: the only one that answers, where nobody said which."""
        is_open = self.entry is not None and "serial_port" in self.entry.required
        if not is_open or request.parameters.get("serial_port"):
            return request
        found, reasons = [], []
        for port in self.ports:
            if self._stop.is_set():
                break
            self.trying = port
            asked = replace(request, parameters={**request.parameters, "serial_port": port})
            try:
                self._service.test(asked, PROBE_SECONDS, lambda _heard: None, self._stop)
            except PhospheneError as error:
                reasons.append(f"{port}: {error}")
            else:
                found.append((port, asked))
        self.trying = ""
        if len(found) == 1 and not self._stop.is_set():
            self._answered, asked = found[0]
            return asked
        if found:
            named = ", ".join(port for port, _ in found)
            raise PhospheneError(f"Boards answer at {named}: choose the serial port.")
        raise PhospheneError(
            f"No board answers at {', '.join(self.ports)}: switch it on, or choose the serial port "
            f"({reasons[-1] if reasons else 'the search was ended'})"
        )

    def _take_contact(self, contact: Contact) -> None:
        self.contacts = (*self.contacts, contact)
        self.revision += 1

    def _forget_test(self) -> None:
        self.contacts = ()
        self.progress = self._heard = None
        self.passed = False
        self.error = ""
        self.revision += 1

    def _hear(self, progress: TestProgress) -> None:
        self._heard = progress

    def _list(self) -> None:
        self.ports = tuple(self._service.ports())
        if not self.entries:
            self.entries = _in_order(self._service.boards())

    def _start(self, doing: str, call: Callable[[], None]) -> None:
        if self._thread is not None:
            return
        self.doing, self.error = doing, ""
        self._stop.clear()
        self._thread = threading.Thread(target=self._guard, args=(call,), name=doing, daemon=True)
        self.revision += 1
        self._thread.start()

    def _guard(self, call: Callable[[], None]) -> None:
        try:
            call()
        except PhospheneError as error:
            self._failed = str(error)
        except Exception as error:  # noqa: BLE001  the top of a thread: becomes a sentence
            _LOG.exception("a request to a board failed")
            self._failed = f"Something unexpected went wrong ({error}). The log has the details."


def _in_order(entries: Sequence[BoardEntry]) -> tuple[BoardEntry, ...]:
    """Familiar boards first, then by name."""
    rank = {name: at for at, name in enumerate(FAMILIAR)}
    return tuple(sorted(entries, key=lambda e: (rank.get(e.name, len(rank)), e.name)))
