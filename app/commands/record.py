"""`phosphene record`: records LSL streams to XDF."""

from __future__ import annotations

import argparse
import contextlib
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.common import positive
from app.ending import FINISHING, Ending, orderly
from app.output import clear_progress, show_progress, write_json, write_note, write_text
from app.outputs.remote_control import PORT
from configs.plain import plain

if TYPE_CHECKING:
    from app.outputs.remote_recording import RemoteRecording
    from configs import RecordingConfig
    from devices.lsl_recording import LslRecording


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "record",
        help="record LSL streams to XDF",
        description="Record LSL streams to one XDF file, raw stamps and clock offsets included. "
        "Every stream in reach by default, those that appear later too. Ctrl-C ends it.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.xdf", help="a new file")
    parser.add_argument(
        "--source-id",
        action="extend",
        nargs="+",
        default=[],
        metavar="ID",
        help="only these streams (may be given several times)",
    )
    parser.add_argument(
        "--fallback",
        type=Path,
        metavar="DIR",
        help="folder to go on in when the disk of FILE is full or gone",
    )
    parser.add_argument("--duration", type=positive, metavar="S", help="end after S seconds")
    parser.add_argument(
        "--timeout",
        type=positive,
        default=5.0,
        metavar="S",
        help="how long to look for streams (5)",
    )
    parser.add_argument(
        "--rcs",
        nargs="?",
        type=int,
        const=PORT,
        default=None,
        metavar="PORT",
        help="wait for LabRecorder's remote control (select, filename, update, start, stop) on "
        f"this machine ({PORT}); FILE is then the name where none is given, and every file lies in "
        "its folder",
    )
    parser.add_argument("--json", action="store_true", help="say what was recorded as JSON")


def run(args: argparse.Namespace) -> int:
    """Record until the duration is over or Ctrl-C."""
    from configs import RecordingConfig
    from devices.lsl_recording import LslRecording

    fallback = None if args.fallback is None else str(args.fallback)
    if args.rcs is not None:
        return _serve(args, RecordingConfig(fallback=fallback))
    with orderly(FINISHING) as end:
        recording = LslRecording(
            args.out,
            source_ids=args.source_id,
            resolve_timeout=args.timeout,
            config=RecordingConfig(fallback=fallback),
            stop=end.asked,
        )
        _record(recording, math.inf if args.duration is None else args.duration, end)
        whole = recording.close()
    clear_progress()
    if args.json:
        write_json(_facts(recording, whole=whole))
    else:
        _report(recording)
    if not whole:
        write_note(f"phosphene record: {recording.alarm}")
        return 1
    # Ended by hand is a normal end where no duration was asked for.
    return 0 if args.duration is None else end.code


def _serve(args: argparse.Namespace, config: RecordingConfig) -> int:
    """Record as a remote control says, until the duration is over or Ctrl-C."""
    from app.errors import OutputError
    from app.outputs.remote_control import RemoteControlServer
    from app.outputs.remote_recording import RemoteRecording

    if args.source_id:
        raise OutputError(
            "--source-id and --rcs given, expected one of them: a remote control selects all "
            "streams or none."
        )
    control = RemoteRecording(
        args.out.parent, default=args.out.name, config=config, resolve_timeout=args.timeout
    )
    with orderly(FINISHING) as end:
        server = RemoteControlServer(control, port=args.rcs)
        write_note(f"Waiting for a remote control on port {server.port}. Ctrl-C ends it.")
        try:
            _follow(control, math.inf if args.duration is None else args.duration, end)
        finally:
            server.close()
            if control.current is not None:
                with contextlib.suppress(OutputError):  # said below
                    control.stop()
    clear_progress()
    if args.json:
        write_json({"recordings": [_facts(one, whole=whole) for one, whole in control.finished]})
    for recording, whole in control.finished:
        if not args.json:
            _report(recording)
        if not whole:
            write_note(f"phosphene record: {recording.alarm}")
    if not all(whole for _, whole in control.finished):
        return 1
    return 0 if args.duration is None else end.code


def _follow(control: RemoteRecording, duration: float, end: Ending) -> None:
    began, running = time.monotonic(), False
    while (left := duration - (time.monotonic() - began)) > 0 and not end.asked.is_set():
        recording = control.current
        if (recording is not None) != running:
            running = recording is not None
            clear_progress()
            path = None if recording is None else recording.paths[-1]
            write_note("Stopped." if path is None else f"Recording {path}.")
        if recording is None:
            end.asked.wait(min(left, 0.25))
            continue
        recording.wait(min(left, 0.25))
        n_samples = sum(tally.n_samples for tally in list(recording.tallies.values()))
        show_progress(f"{n_samples} samples, {recording.bytes_written / 1e6:.1f} MB")


def _record(recording: LslRecording, duration: float, end: Ending) -> None:
    names = ", ".join(plain(tally.info.name) for tally in recording.tallies.values())
    write_note(f"Recording {names}. Ctrl-C ends it.")
    began = time.monotonic()
    alarm = ""
    while (left := duration - (time.monotonic() - began)) > 0 and not end.asked.is_set():
        recording.wait(min(left, 0.25))
        if recording.alarm != alarm and not (recording.alarm and alarm):
            clear_progress()
            write_note(recording.alarm or "The recording goes on.")
        alarm = recording.alarm
        n_samples = sum(tally.n_samples for tally in recording.tallies.values())
        show_progress(
            f"{time.monotonic() - began:.0f} s, {n_samples} samples, "
            f"{recording.bytes_written / 1e6:.1f} MB"
        )


def _facts(recording: LslRecording, *, whole: bool) -> dict[str, Any]:
    """What was recorded, for `--json`."""
    files = [str(path) for path in recording.paths]
    streams = [
        {
            "name": tally.info.name,
            "type": tally.info.type,
            "source_id": tally.info.source_id,
            "n_samples": tally.n_samples,
            "note": tally.note,
        }
        for tally in recording.tallies.values()
    ]
    return {"file": files[-1], "files": files, "complete": whole, "streams": streams}


def _report(recording: LslRecording) -> None:
    for tally in recording.tallies.values():
        note = f" ({tally.note})" if tally.note else ""
        about = f"{plain(tally.info.name)} ({plain(tally.info.type)})"
        write_text(f"{about}: {tally.n_samples} samples{plain(note, limit=1000)}")
    files = ", ".join(str(path) for path in recording.paths)
    write_text(f"{files}: {recording.bytes_written / 1e6:.1f} MB")
