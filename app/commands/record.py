"""`phosphene record`: records LSL streams to XDF."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.common import positive
from app.ending import FINISHING, Ending, orderly
from app.output import clear_progress, show_progress, write_json, write_note, write_text
from configs.plain import plain

if TYPE_CHECKING:
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
    parser.add_argument("--json", action="store_true", help="say what was recorded as JSON")


def run(args: argparse.Namespace) -> int:
    """Record until the duration is over or Ctrl-C."""
    from configs import RecordingConfig
    from devices.lsl_recording import LslRecording

    fallback = None if args.fallback is None else str(args.fallback)
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
    _report(recording, whole=whole, as_json=args.json)
    if not whole:
        write_note(f"phosphene record: {recording.alarm}")
        return 1
    # Ended by hand is a normal end where no duration was asked for.
    return 0 if args.duration is None else end.code


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


def _report(recording: LslRecording, *, whole: bool, as_json: bool) -> None:
    files = [str(path) for path in recording.paths]
    tallies = list(recording.tallies.values())
    if as_json:
        streams = [
            {
                "name": tally.info.name,
                "type": tally.info.type,
                "source_id": tally.info.source_id,
                "n_samples": tally.n_samples,
                "note": tally.note,
            }
            for tally in tallies
        ]
        write_json({"file": files[-1], "files": files, "complete": whole, "streams": streams})
        return
    for tally in tallies:
        note = f" ({tally.note})" if tally.note else ""
        about = f"{plain(tally.info.name)} ({plain(tally.info.type)})"
        write_text(f"{about}: {tally.n_samples} samples{plain(note, limit=1000)}")
    write_text(f"{', '.join(files)}: {recording.bytes_written / 1e6:.1f} MB")
