"""How a command ends when it is asked to: Ctrl-C, SIGTERM, SIGHUP.

Owns the handlers and the thread that acts on a signal. Nothing is raised: an exception at a random
instruction (within an import, a `finally`, Qt) loses what it meets, and none comes while C code
computes. A command says what is to be finished (`orderly`) and then looks at `asked`; until it says
so there is nothing to lose, and the process ends at once. A command that does not end within its
patience is ended. A second signal changes nothing.

Knows nothing of what the commands do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if name in signal.Signals.__members__
)
PATIENCE = 1.5
"""How long a command that finishes something may take to notice that it is asked, s."""
FINISHING = 60.0
"""How long files may take to be finished, s; a report of a long session takes some seconds."""

_LAST: list[Callable[[], object]] = []


def _nothing() -> None:
    pass


def at_hard_end(call: Callable[[], object]) -> None:
    """Have `call` done before the process is ended without its command."""
    _LAST.append(call)


class Ending:
    """Whether a command was asked to end, and what becomes of it then."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        """Set by the first signal; whoever else wants the command to end may set it, too."""
        self.over = threading.Event()
        """Set when the command has ended, and is not waited for any more."""
        self.name = "phosphene"
        """The command, for what is said."""
        self._number = 0
        self._asked_at = 0.0
        self._patience = 0.0
        self._leave: Callable[[], object] = _nothing

    @property
    def code(self) -> int:
        """The exit code that shells expect of the signal, such as 130; 0: none came."""
        return 128 + self._number if self._number else 0

    @contextlib.contextmanager
    def orderly(
        self, patience: float = PATIENCE, *, leave: Callable[[], object] = _nothing
    ) -> Iterator[Ending]:
        """Within: a signal sets `asked`, and who looks at it ends in order.

        Parameters
        ----------
        patience : float
            How long that may take, s; then the process is ended without.
        leave : callable
            Done before that, such as taking half a file away.
        """
        before = self._patience, self._leave
        self._patience, self._leave = patience, leave
        try:
            yield self
        finally:
            self._leave = before[1]
            if not self._number:
                self._patience = before[0]

    def grant(self, patience: float) -> None:
        """Let what has begun take so long, s from the signal on."""
        self._patience = patience

    def ask(self, number: int) -> None:
        """Take a signal; every one but the first only says that the end is under way."""
        if self._number:
            _tell(f"{self.name}: ending already, the files are being finished\n")
            return
        self._asked_at, self._number = time.monotonic(), number
        self.asked.set()
        self.end_if_late()
        threading.Thread(target=self._end_when_late, name="patience", daemon=True).start()

    def _end_when_late(self) -> None:
        while not self.over.wait(0.02):
            self.end_if_late()

    def end_if_late(self) -> None:
        """End the process when its command has had the time that it wanted."""
        if not self._number or time.monotonic() - self._asked_at < self._patience:
            return
        for call in (self._leave, *_LAST):
            with contextlib.suppress(Exception):
                call()
        _tell(f"{self.name}: interrupted\n")
        os._exit(self.code)


_now: list[Ending] = []


def orderly(
    patience: float = PATIENCE, *, leave: Callable[[], object] = _nothing
) -> contextlib.AbstractContextManager[Ending]:
    """`Ending.orderly` of the command that runs; of none where no signals are caught."""
    return (_now[-1] if _now else Ending()).orderly(patience, leave=leave)


@contextlib.contextmanager
def caught(*, for_good: bool) -> Iterator[Ending]:
    """Catch the signals for a command; with `for_good` until the process is gone."""
    ending = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending  # only the main thread can: whoever called us keeps the signals
        return
    heard, told = os.pipe()
    if sys.platform != "win32":
        os.set_blocking(told, False)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _install()
    wakeup = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    listener = threading.Thread(target=_listen, args=(heard, ending), name="signals", daemon=True)
    listener.start()
    _now.append(ending)
    try:
        yield ending
    finally:
        if for_good:
            # The interpreter's own end does not hang, and takes no second signal.
            for number in SIGNALS if ending.code else ():
                signal.signal(number, signal.SIG_IGN)
        else:
            _now.remove(ending)
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            ending.over.set()
            os.close(told)
            listener.join()
            os.close(heard)


def take_back() -> None:
    """Install the handlers again, where a library has put its own.

    Ray has two for SIGTERM: one raises `SystemExit`; one, beneath the interpreter, writes a stack
    and aborts three seconds later, whatever is being finished.
    """
    if _now:
        _install()


def _install() -> None:
    for number in SIGNALS:
        # `nohup` asks to ignore hang-ups. An ignored SIGINT is a shell's background job, and who
        # sends it one by its number still means it.
        if not (number.name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):
            signal.signal(number, _handle)


def _handle(_number: int, _frame: FrameType | None) -> None:
    """Nothing: `_listen` acts, also while C code keeps the main thread."""


def _listen(heard: int, ending: Ending) -> None:
    while received := os.read(heard, 1):
        if received[0] in SIGNALS:
            ending.ask(received[0])


def _tell(text: str) -> None:
    # Not through `sys.stderr`, which the main thread may hold at this moment.
    with contextlib.suppress(OSError):
        os.write(2, ("\r\x1b[K" if os.isatty(2) else "").encode() + text.encode())
