"""An OpenBCI Cyton behind a pseudo-terminal, for drivers that expect a serial port.

Owns the documented protocol (docs.openbci.com, Cyton Data Format and Cyton Board SDK): 33-byte
packets (0xA0, sample counter, eight 24-bit big-endian samples, six auxiliary bytes, 0xC0), the
answers to the commands that a driver sends, channel gains, the lead-off test current. Loses
packets, falls silent and is unplugged on demand. Knows nothing of BrainFlow or LSL.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from devices.errors import BoardError
from pipeline.values import Float64

SFREQ: Final = 250.0
N_CHANNELS: Final = 8
START: Final = 0xA0
STOP: Final = 0xC0
PACKET: Final = 33
GAINS: Final = (1, 2, 4, 6, 8, 12, 24)
LEAD_OFF_CURRENT: Final = 6e-9
"""Amplitude of the lead-off test current, A (ADS1299)."""
LEAD_OFF_HZ: Final = 31.25
SERIES_OHM: Final = 2200.0
"""Resistor between each electrode's pin and the converter."""

_READY: Final = (
    "OpenBCI V3 8-16 channel\nOn Board ADS1299 Device ID: 0x3E\n"
    "LIS3DH Device ID: 0x33\nFirmware: v3.1.2\n$$$"
)
_OFF, _ON = "12345678", "!@#$%^&*"
_LENGTHS: Final = {"x": 9, "z": 5}
"""Commands that are longer than a byte."""
_TICK: Final = 0.004

Signal = Callable[[NDArray[np.int64]], Float64]
"""Sample numbers, shape (n_times,), to microvolts, shape (n_times, 8)."""


def microvolts_per_count(gain: int = 24) -> float:
    """Size of one count: reference 4.5 V, 24 bit signed."""
    return 4.5e6 / gain / (2**23 - 1)


def encode_packet(counter: int, counts: Sequence[int], aux: bytes = bytes(6)) -> bytes:
    """One packet; `counts` are clipped as the converter clips them."""
    body = b"".join(
        max(-(2**23), min(2**23 - 1, int(count))).to_bytes(3, "big", signed=True)
        for count in counts
    )
    return bytes((START, counter % 256)) + body + aux[:6].ljust(6, b"\0") + bytes((STOP,))


def silence(numbers: NDArray[np.int64]) -> Float64:
    """A signal of nothing."""
    return np.zeros((len(numbers), N_CHANNELS))


class EmulatedCyton:
    """A Cyton and its dongle; a context manager.

    Parameters
    ----------
    signal : callable
        What the electrodes see; numbers count the samples since streaming first began.
    link : Path, optional
        Where the port is to be found: a symbolic link that vanishes with `unplug`.
    loses : callable
        Whether the packet of a number is lost on its way; the counter goes on.
    ohm : sequence of float
        Electrode impedances that the lead-off test sees.
    speed : float
        Times real time.

    Attributes
    ----------
    n_sent, n_lost : int
        Packets.
    gains : list of int
    commands : list of str
        What the driver sent, in order.

    Raises
    ------
    BoardError
        This system has no pseudo-terminals (Windows).
    """

    def __init__(
        self,
        signal: Signal = silence,
        *,
        link: Path | None = None,
        loses: Callable[[int], bool] = lambda _: False,
        ohm: Sequence[float] = (10e3,) * N_CHANNELS,
        speed: float = 1.0,
    ) -> None:
        if sys.platform == "win32":
            raise BoardError(
                "An emulated Cyton needs a pseudo-terminal, which Windows lacks: use the synthetic "
                "board (`phosphene device synthetic`)."
            )
        self._signal, self._loses, self._speed = signal, loses, speed
        self._ohm = np.asarray(ohm, dtype=np.float64)
        self._link = link
        self._streaming, self._counter = False, 0
        self.gains = [24] * N_CHANNELS
        self._powered = [True] * N_CHANNELS
        self._lead_off: NDArray[np.bool_] = np.zeros(N_CHANNELS, dtype=bool)
        self.n_sent = self.n_lost = 0
        self.commands: list[str] = []
        self._number = 0
        self._stop = threading.Event()
        self._fds = threading.Lock()
        self._master = self._slave = -1
        self.port = ""
        """Path of the serial port."""
        self.plug()
        self._thread = threading.Thread(target=self._run, name="emulated-cyton", daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """Pull the dongle out: the port vanishes."""
        with self._fds:
            for fd in (self._master, self._slave):
                if fd >= 0:
                    os.close(fd)
            self._master = self._slave = -1
        if self._link is not None:
            self._link.unlink(missing_ok=True)

    def plug(self) -> None:
        """Put the dongle back; without a `link` the port has another name then."""
        import pty
        import tty

        with self._fds:
            self._master, self._slave = pty.openpty()
            # Raw: a byte of a sample must not become a line end or an interrupt. Our own handle
            # of the driver's side keeps the terminal alive between two drivers.
            tty.setraw(self._slave)
            os.set_blocking(self._master, False)
            self.port = os.ttyname(self._slave)
        if self._link is not None:
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(self.port)
            self.port = str(self._link)

    def close(self) -> None:
        """Switch off and withdraw the port; safe to call twice."""
        self._stop.set()
        self._thread.join()
        self.unplug()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------ the board's own thread

    def _run(self) -> None:
        heard, out = "", b""
        while not self._stop.is_set():
            with self._fds:
                fd = self._master
                if fd >= 0:
                    # A pulled dongle is no error of the board's.
                    with contextlib.suppress(OSError):
                        heard = self._listen(fd, heard)
                        out = self._speak(fd, out)
            if fd < 0:
                heard, out = "", b""
            self._stop.wait(_TICK)

    def _listen(self, fd: int, heard: str) -> str:
        if not select.select([fd], [], [], 0)[0]:
            return heard
        raw = os.read(fd, 4096)
        heard += raw.decode("ascii", "replace")
        while heard:
            length = _LENGTHS.get(heard[0], 1)
            if len(heard) < length:
                break
            command, heard = heard[:length], heard[length:]
            self.commands.append(command)
            answer = self._obey(command)
            if answer and not self._streaming:
                # While streaming the board answers nothing: it would lie among the samples.
                os.write(fd, answer.encode())
        return heard

    def _speak(self, fd: int, out: bytes) -> bytes:
        """Send what is due by now; what the port does not take yet comes first next time."""
        if not self._streaming:
            self._clock_at(self._number)
            return b""
        due = int((time.monotonic() - self._began) * SFREQ * self._speed)
        if due > self._number:
            out += self._packets(np.arange(self._number, due))
        with contextlib.suppress(BlockingIOError):
            out = out[os.write(fd, out) :] if out else out
        return out

    def _packets(self, numbers: NDArray[np.int64]) -> bytes:
        values = np.asarray(self._signal(numbers), dtype=np.float64).copy()
        wave = np.cos(2 * math.pi * LEAD_OFF_HZ / SFREQ * numbers)
        drop = LEAD_OFF_CURRENT * (self._ohm + SERIES_OHM) * 1e6
        values += wave[:, None] * np.where(self._lead_off, drop, 0.0)
        values[:, ~np.array(self._powered)] = 0.0
        sizes = np.array([microvolts_per_count(gain) for gain in self.gains])
        counts = np.round(values / sizes).astype(np.int64)
        packets = []
        for number, row in zip(numbers.tolist(), counts.tolist(), strict=True):
            if self._loses(number):
                self.n_lost += 1
            else:
                packets.append(encode_packet(self._counter, row))
                self.n_sent += 1
            self._counter = (self._counter + 1) % 256
        self._number = int(numbers[-1]) + 1
        return b"".join(packets)

    # ------------------------------------------------------------------ commands

    def _reset(self) -> None:
        self._streaming, self._counter = False, 0
        self._defaults()

    def _clock_at(self, number: int) -> None:
        """Let the time of streaming stand at sample `number` now."""
        self._began = time.monotonic() - number / SFREQ / self._speed

    def _obey(self, command: str) -> str:
        """Do what a command says; the board's answer."""
        simple: dict[str, Callable[[], Any]] = {"v": self._reset, "d": self._defaults}
        texts = {
            "v": _READY,
            "d": "updating channel settings to default$$$",
            "D": "060110$$$",
            "V": "v3.1.2$$$",
            "C": "no daisy to attach!8$$$",
        }
        if command in simple:
            simple[command]()
        elif command in ("b", "s"):
            self._streaming = command == "b"
        elif command in _OFF or command in _ON:
            place = _OFF.find(command) if command in _OFF else _ON.find(command)
            self._powered[place] = command in _ON
        elif command[0] in _LENGTHS:
            return self._set_channel(command)
        return texts.get(command, "")

    def _defaults(self) -> None:
        self.gains = [24] * N_CHANNELS
        self._powered = [True] * N_CHANNELS
        self._lead_off = np.zeros(N_CHANNELS, dtype=bool)

    def _set_channel(self, command: str) -> str:
        """Channel settings `x c power gain input bias srb2 srb1 X`, lead-off `z c p n Z`."""
        what, channel, settings = command[0], command[1], command[2:-1]
        place = _OFF.find(channel)
        if place < 0 or command[-1] != what.upper() or not settings.isdigit():
            return f"Failure: {'Channel' if what == 'x' else 'Lead off'} settings not valid$$$"
        if what == "z":
            self._lead_off[place] = settings[1] == "1"
            return f"Success: Lead off set for {channel}$$$"
        self._powered[place] = settings[0] == "0"
        self.gains[place] = GAINS[min(int(settings[1]), len(GAINS) - 1)]
        return f"Success: Channel set for {channel}$$$"
