"""The boards that BrainFlow knows: channels, rates, counters, and what each needs to be reached.

Owns the catalogue and the words for parameters. Imports BrainFlow (an extra) only when asked for
a board. Knows nothing of LSL or of running boards. Descriptors come from BrainFlow itself;
parameters from its documentation (Supported Boards).
"""

from __future__ import annotations

import difflib
import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.montages import CYTON, DAISY
from devices.errors import BoardError
from pipeline.counter import CounterPattern
from pipeline.extras import extras_named

COUNTER = "COUNTER"
"""Label of the channel that carries a board's package counter."""

COUNTERS: Mapping[str, CounterPattern] = {
    "CYTON": CounterPattern(),
    "CYTON_DAISY": CounterPattern(step=2),
    "GANGLION": CounterPattern(repeats=2),
    "GANGLION_NATIVE": CounterPattern(repeats=2),
    "SYNTHETIC": CounterPattern(),
    **{
        name: CounterPattern(repeats=12)
        for name in (
            "MUSE_2",
            "MUSE_2_BLED",
            "MUSE_2016",
            "MUSE_2016_BLED",
            "MUSE_S",
            "MUSE_S_BLED",
        )
    },
}
"""How package numbers count, by BrainFlow's names without `_BOARD`: a Daisy joins two packages, a
Ganglion's holds two samples, a Muse's twelve. Of firmware that does otherwise, and where they
start again, the numbers themselves tell."""

_SERIAL_HINT = (
    "serial port of the dongle or board: Device Manager on Windows (COM3), ls /dev/ttyUSB* "
    "/dev/ttyACM* on Linux (your user must be in group dialout), ls /dev/cu.usb* on macOS"
)
_BLE_HINT = (
    "Bluetooth LE: the nearest board is taken; with several give the address (Linux: bluetoothctl "
    "scan on; Windows: Bluetooth LE Explorer)"
)
_WIFI_HINT = "address of the WiFi Shield (192.168.4.1 in direct mode) and any free local port"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a board needs to be reached: names of parameters, and how to find their values."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    hint: str = ""


_SERIAL = Needs(("serial_port",), (), _SERIAL_HINT)
_DONGLE = Needs(
    ("serial_port",),
    ("mac", "timeout"),
    f"serial port of the Bluetooth dongle (COM3, /dev/ttyACM0, /dev/cu.usbmodem*); {_BLE_HINT}",
)
_BLE = Needs((), ("mac", "serial_number", "timeout"), _BLE_HINT)
_WIFI = Needs(("ip_port",), ("ip", "timeout"), _WIFI_HINT)
_OSC = Needs((), ("serial_number",), "switch on OSC in the Neurosity console; same network")
_USB = Needs((), ("serial_number",), "USB amplifier with its maker's driver installed")
_OTHER = Needs(
    (),
    ("serial_port", "mac", "ip", "ip_port", "serial_number", "timeout", "other_info"),
    "see Supported Boards in BrainFlow's documentation",
)

# Keys are the beginnings of BrainFlow's names; the longest that fits counts.
_NEEDS: Mapping[str, Needs] = {
    "PLAYBACK_FILE": Needs(
        ("file", "master_board"), (), "a file that BrainFlow recorded, and the board that it is of"
    ),
    "STREAMING": Needs(
        ("ip", "ip_port", "master_board"),
        (),
        "multicast address and port of the program that streams, and the board that it reads",
    ),
    "SYNTHETIC": Needs(hint="no hardware: for trying things out"),
    "CYTON": _SERIAL,
    "CYTON_WIFI": _WIFI,
    "CYTON_DAISY_WIFI": _WIFI,
    "GANGLION": _DONGLE,
    "GANGLION_NATIVE": _BLE,
    "GANGLION_WIFI": _WIFI,
    "GALEA": Needs((), ("ip", "timeout"), "same network; the address is looked for when not given"),
    "BRAINBIT": _BLE,
    "BRAINBIT_BLED": _DONGLE,
    "CALLIBRI": Needs((), ("other_info", "timeout"), _BLE_HINT),
    "UNICORN": Needs((), ("serial_number",), "pair it with its own dongle first"),
    "NOTION": _OSC,
    "CROWN": _OSC,
    "FREEEEG": _SERIAL,
    "MUSE": _BLE,
    "MUSE_S_BLED": _DONGLE,
    "MUSE_2_BLED": _DONGLE,
    "MUSE_2016_BLED": _DONGLE,
    "ANT_NEURO": _USB,
    "ENOPHONE": Needs(("mac",), (), "pair it first; its address is in the Bluetooth settings"),
    "BRAINALIVE": _BLE,
    "EXPLORE": Needs((), ("mac",), "pair it first; with several give the address"),
    "EMOTIBIT": Needs((), ("ip", "serial_number", "timeout"), "same network"),
    "NEUROPAWN_KNIGHT": _SERIAL,
    "PIEEG": Needs(("serial_port",), (), "SPI device of the Raspberry Pi (/dev/spidev0.0)"),
    "IRONBCI": _SERIAL,
    "SHIMMER3": _SERIAL,
}


@dataclass(frozen=True, slots=True)
class Board:
    """One board as its descriptor says.

    Attributes
    ----------
    name : str
        Name on the command line, such as `cyton-daisy`.
    board_id : int
        BrainFlow's number.
    title : str
        The maker's name.
    sfreq : float
        Hz; 0 where another board decides (playback, streaming).
    ch_names, ch_types : tuple of str
        Signal channels, MNE's types.
    rows : tuple of int
        Their rows in BrainFlow's array, microvolts.
    counter_row, stamp_row, marker_row : int or None
        Package counter, UNIX time (s), markers.
    needs : Needs
    """

    name: str
    board_id: int
    title: str
    sfreq: float
    ch_names: tuple[str, ...]
    ch_types: tuple[str, ...]
    rows: tuple[int, ...]
    counter_row: int | None
    stamp_row: int | None
    marker_row: int | None
    needs: Needs
    resistance_rows: tuple[int, ...] = ()
    """Rows of the electrodes' resistances (ohm), for a board that measures them itself."""
    counter: CounterPattern | None = None
    """How its package number counts; None: not known, to be learnt."""

    @property
    def impedance(self) -> str:
        """How its impedances can be had: `lead-off`, `own`, or empty where they cannot."""
        if self.name == "cyton":
            return "lead-off"
        return "own" if self.resistance_rows and not self.is_file else ""

    @property
    def is_file(self) -> bool:
        """Whether its data come to an end."""
        return self.name == "playback-file"


def load_brainflow() -> Any:
    """Import BrainFlow's `board_shim`.

    Raises
    ------
    MissingExtraError
        It is not installed.
    BoardError
        Its installation does not work.
    """
    try:
        with extras_named("a board"), warnings.catch_warnings():
            # BrainFlow 5 imports pkg_resources, which announces its end, at the first call into
            # its library; the extra pins setuptools.
            warnings.simplefilter("ignore")
            from brainflow import board_shim

            board_shim.BoardShim.disable_board_logger()
    except OSError as error:
        raise BoardError(
            f"BrainFlow's library cannot be loaded ({error}), expected it for boards: reinstall it "
            "with pip install --force-reinstall brainflow."
        ) from error
    return board_shim


def list_boards() -> list[Board]:
    """Every board of the installed BrainFlow, by name.

    Raises
    ------
    MissingExtraError
        BrainFlow is not installed.
    """
    shim = load_brainflow()
    known = [_board(shim, entry.name, entry.value) for entry in shim.BoardIds]
    return sorted((board for board in known if board is not None), key=lambda b: b.name)


def find_board(name: str, *, master: str | None = None) -> Board:
    """Find a board by its name, BrainFlow's name or its number.

    `master` is the board behind a playback file or a stream: channels are that one's.

    Raises
    ------
    BoardError
        Unknown, or `master` is missing.
    """
    shim = load_brainflow()
    entry = _entry(shim, name)
    board = _board(shim, entry.name, entry.value)
    if board is None:
        raise BoardError(f"BrainFlow does not describe the board {entry.name}: choose another.")
    if "master_board" not in board.needs.required:
        return board
    if master is None:
        raise BoardError(
            f"Board {board.name} needs the board that its data are of, found none: give "
            "--master-board, such as cyton."
        )
    real = find_board(master)
    return Board(
        name=board.name,
        board_id=board.board_id,
        title=f"{board.title} of {real.title}",
        sfreq=real.sfreq,
        ch_names=real.ch_names,
        ch_types=real.ch_types,
        rows=real.rows,
        counter_row=real.counter_row,
        stamp_row=real.stamp_row,
        marker_row=real.marker_row,
        needs=board.needs,
        counter=real.counter,
    )


def serial_ports() -> list[str]:
    """Serial ports of this machine that a board may be on."""
    if sys.platform == "win32":
        return _windows_ports()
    folder = Path("/dev")
    patterns = ("ttyUSB*", "ttyACM*", "cu.usb*")
    return sorted(str(path) for pattern in patterns for path in folder.glob(pattern))


def describe_port(port: str) -> str:
    """What is on a serial port, in its maker's words, where the system says (Linux); else ""."""
    device = Path("/sys/class/tty") / Path(port).name / "device"
    try:
        # The USB device stands one or two levels above its serial interface.
        for folder in (device.resolve().parent, device.resolve().parent.parent):
            words = [folder / name for name in ("manufacturer", "product")]
            if words[1].is_file():
                return " ".join(w.read_text().strip() for w in words if w.is_file())
    except OSError:
        return ""  # it was just unplugged
    return ""


def _windows_ports() -> list[str]:
    # Imported by name: winreg exists, and is typed, on Windows only.
    winreg: Any = importlib.import_module("winreg")
    try:
        key = winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DEVICEMAP\SERIALCOMM")
    except OSError:  # the key exists only while there is a port
        return []
    with key:
        count = winreg.QueryInfoKey(key)[1]
        return sorted(str(winreg.EnumValue(key, k)[1]) for k in range(count))


def _entry(shim: Any, name: str) -> Any:
    wanted = name.strip().lower().replace("-", "_")
    # NO_BOARD is no board, and nobody means it by a word that resembles "no".
    boards = [entry for entry in shim.BoardIds if entry.name != "NO_BOARD"]
    entries = {_short(entry.name).replace("-", "_"): entry for entry in boards}
    for short, entry in entries.items():
        if wanted in (short, entry.name.lower(), str(entry.value).replace("-", "_")):
            return entry
    near = difflib.get_close_matches(wanted, entries, n=3, cutoff=0.6)
    meant = ", ".join(word.replace("_", "-") for word in near) or "a board that BrainFlow knows"
    raise BoardError(
        f"Unknown board {name!r}, expected {meant}: `phosphene devices` lists all of them."
    )


def _board(shim: Any, enum_name: str, board_id: int) -> Board | None:
    """Read a descriptor; None for numbers that BrainFlow does not describe."""
    try:
        table: dict[str, Any] = shim.BoardShim.get_board_descr(board_id)
    except shim.BrainFlowError:
        return None
    rows, types = _signals(table)
    return Board(
        name=_short(enum_name),
        board_id=board_id,
        title=str(table.get("name", enum_name)),
        sfreq=float(table.get("sampling_rate", 0)),
        ch_names=_labels(enum_name, table, rows, types),
        ch_types=types,
        rows=rows,
        counter_row=table.get("package_num_channel"),
        stamp_row=table.get("timestamp_channel"),
        marker_row=table.get("marker_channel"),
        needs=_needs(enum_name),
        resistance_rows=tuple(int(row) for row in table.get("resistance_channels", ())),
        counter=COUNTERS.get(enum_name.removesuffix("_BOARD")),
    )


def _short(enum_name: str) -> str:
    return enum_name.replace("_BOARD", "").lower().replace("_", "-")


def _signals(table: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Rows of the signals and their types; a row that is listed under several is EEG first.

    OpenBCI's boards list the same rows as EEG, EMG, ECG and EOG: the user decides what is worn.
    """
    types: dict[int, str] = {}
    for kind in ("eeg", "eog", "emg", "ecg"):
        for row in table.get(f"{kind}_channels", ()):
            types.setdefault(int(row), kind)
    rows = sorted(types)
    return tuple(rows), tuple(types[row] for row in rows)


def _labels(
    enum_name: str, table: Mapping[str, Any], rows: Sequence[int], types: Sequence[str]
) -> tuple[str, ...]:
    """BrainFlow's labels for EEG; OpenBCI's default montage for its boards; else numbers."""
    eeg = [row for row, kind in zip(rows, types, strict=True) if kind == "eeg"]
    given = [name.strip() for name in str(table.get("eeg_names", "")).split(",") if name.strip()]
    if not given and enum_name.startswith("CYTON"):
        given = list(DAISY if len(eeg) == len(DAISY) else CYTON)
    if len(given) != len(eeg):
        given = [f"EEG{k + 1}" for k in range(len(eeg))]
    named = dict(zip(eeg, given, strict=True))
    counts: dict[str, int] = {}
    labels = []
    for row, kind in zip(rows, types, strict=True):
        counts[kind] = counts.get(kind, 0) + 1
        labels.append(named.get(row, f"{kind.upper()}{counts[kind]}"))
    return tuple(labels)


def _needs(enum_name: str) -> Needs:
    fitting = [key for key in _NEEDS if enum_name.startswith(key)]
    return _NEEDS[max(fitting, key=len)] if fitting else _OTHER
