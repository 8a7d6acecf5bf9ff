"""`phosphene device NAME`: bridges a BrainFlow board to LSL until stopped."""

from __future__ import annotations

import argparse
import math
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from app.commands.common import positive
from app.ending import orderly
from app.errors import AppError
from app.output import table, write_json, write_note, write_text

if TYPE_CHECKING:
    from devices.brainflow_bridge import BrainFlowBridge, BridgeSettings
    from devices.impedance import Impedance

BOARD_PATIENCE = 3.0
"""How long a board may take to be given back, s."""
_TEXTS = {
    "serial-port": "serial port of the board or its dongle",
    "mac": "Bluetooth address",
    "ip": "network address",
    "serial-number": "the board's serial number, where several are near",
    "other-info": "BrainFlow's other_info",
    "file": "file to play back (board playback-file)",
}
_NUMBERS = {
    "ip-port": "network port",
    "timeout": "how long to look for the board, s",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "device",
        help="bridge a board (OpenBCI, Muse, ...) to LSL",
        description="Publish a board that BrainFlow knows as an LSL stream until Ctrl-C; "
        "`phosphene devices` lists the boards and what each needs.",
    )
    parser.add_argument("name", metavar="NAME", help="board, such as cyton, ganglion, synthetic")
    for option, text in _TEXTS.items():
        parser.add_argument(f"--{option}", metavar="TEXT", help=text)
    for option, text in _NUMBERS.items():
        parser.add_argument(f"--{option}", metavar="N", type=int, help=text)
    parser.add_argument("--master-board", metavar="NAME", help="board behind a file or a stream")
    parser.add_argument(
        "--montage", metavar="LABELS|FILE", help="labels with commas between them, or their file"
    )
    parser.add_argument(
        "--board-command",
        metavar="TEXT",
        action="append",
        default=[],
        help="sent to the board after connecting (OpenBCI's commands, loopback_true); repeatable",
    )
    parser.add_argument(
        "--markers", action="store_true", help="publish the board's triggers as a marker stream"
    )
    parser.add_argument(
        "--impedance",
        action="store_true",
        help="measure the electrodes' impedances instead (`phosphene devices` says who can)",
    )
    parser.add_argument(
        "--impedance-first",
        action="store_true",
        help="measure them, then stream, and tell them in the stream's description",
    )
    parser.add_argument("--stream-name", metavar="NAME", help="name of the LSL stream")
    parser.add_argument("--source-id", metavar="ID", help="source_id of the LSL stream")
    parser.add_argument("--duration", type=positive, metavar="S", help="stop after S seconds")
    parser.add_argument(
        "--end-with-stdin",
        action="store_true",
        help="end when standard input does, for a program that starts this one",
    )
    parser.add_argument("--json", action="store_true", help="describe the stream as JSON")


def run(args: argparse.Namespace) -> int:
    """Bridge until Ctrl-C, the end of `--duration` or the end of a file."""
    with orderly(BOARD_PATIENCE) as end:
        if args.end_with_stdin:
            from devices.lifeline import follow_stdin

            follow_stdin(end.asked)
        return _bridge(args, end.asked)


def _bridge(args: argparse.Namespace, stop: threading.Event) -> int:
    from devices.brainflow_bridge import BrainFlowBridge, BridgeSettings
    from devices.impedance import measure_impedances
    from devices.montage import read_montage

    names = [option.replace("-", "_") for option in (*_TEXTS, *_NUMBERS)]
    settings = BridgeSettings(
        board=args.name,
        parameters={k: getattr(args, k) for k in names if getattr(args, k) is not None},
        master_board=args.master_board,
        ch_names=read_montage(args.montage or ""),
        commands=tuple(args.board_command),
        markers=args.markers,
        name=args.stream_name,
        source_id=args.source_id,
    )
    bridge = BrainFlowBridge(settings)
    if args.impedance:
        return _measure(settings, stop, as_json=args.json)
    if args.impedance_first:
        found = measure_impedances(settings, tell=_tell_impedance, stop=stop)
        kohm = {each.ch_name: each.ohm / 1000 for each in found}
        bridge = BrainFlowBridge(replace(settings, impedances=kohm))
    return _run(bridge, stop, as_json=args.json, duration=args.duration)


def _measure(settings: BridgeSettings, stop: threading.Event, *, as_json: bool) -> int:
    """Measure impedances; exit code 1 when an electrode is not good."""
    from devices.impedance import measure_impedances

    found = measure_impedances(settings, tell=_tell_impedance, stop=stop)
    if stop.is_set():
        raise AppError("the measurement was ended before all electrodes were measured.")
    if as_json:
        write_json(
            [
                {"ch_name": z.ch_name, "ohm": z.ohm, "error": z.error, "verdict": z.verdict}
                for z in found
            ]
        )
    else:
        rows = [
            (z.ch_name, f"{z.ohm / 1000:.1f}", f"{z.error / 1000:.2g}", z.verdict) for z in found
        ]
        write_text(table(("channel", "kOhm", "+-", "verdict"), rows))
    return 0 if all(z.verdict == "good" for z in found) else 1


def _tell_impedance(found: Impedance) -> None:
    write_note(f"{found.ch_name}: {found.ohm / 1000:.1f} kOhm, {found.verdict}")


def _run(
    bridge: BrainFlowBridge, stop: threading.Event, *, as_json: bool, duration: float | None
) -> int:
    """Run in a thread: BrainFlow may search for a board for many seconds, deaf to an end."""
    over, failures = threading.Event(), list[BaseException]()

    def work() -> None:
        try:
            bridge.run(stop, tell=_Teller(bridge, as_json=as_json))
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            failures.append(error)
        over.set()

    threading.Thread(target=work, name="phosphene-board", daemon=True).start()
    until = math.inf if duration is None else time.monotonic() + duration
    while not over.wait(0.05) and not stop.is_set() and time.monotonic() < until:
        pass
    stop.set()  # being stopped is how a bridge ends
    over.wait(1.5)
    if failures:
        raise failures[0]
    return 0


class _Teller:
    """Describes the stream on standard output once, says the rest on standard error."""

    def __init__(self, bridge: BrainFlowBridge, *, as_json: bool) -> None:
        self._bridge = bridge
        self._as_json = as_json
        self._is_told = False

    def __call__(self, sentence: str) -> None:
        if self._is_told:
            write_note(sentence)
            return
        self._is_told = True
        info = self._bridge.info
        if self._as_json:
            write_json(
                {
                    "name": info.name,
                    "source_id": info.source_id,
                    "sfreq": info.sfreq,
                    "ch_names": list(info.ch_names),
                    "ch_units": list(info.ch_units),
                    "ch_types": list(info.ch_types),
                }
            )
        else:
            write_text(
                f"{info.name}: {info.n_channels} channels at {info.sfreq:g} Hz, source_id "
                f"{info.source_id}; Ctrl-C ends it."
            )
        sys.stdout.flush()
