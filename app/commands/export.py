"""`phosphene export`: a recording becomes part of a BIDS data set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.common import (
    add_source_options,
    apply_overrides,
    stream_choice,
    stream_overrides,
)
from app.ending import FINISHING, orderly
from app.output import write_json, write_note, write_text

if TYPE_CHECKING:
    from devices.continuous import Continuous


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "export",
        help="write a session or a recording as BIDS (BrainVision)",
        description="Write a session's recording, or a recording of any known format, into a BIDS "
        "data set: BrainVision with channels.tsv, events.tsv and sidecars. Lost time is filled "
        "with zeros and marked BAD_ACQ_SKIP. Nothing is overwritten.",
    )
    parser.add_argument("recording", type=Path, metavar="DIR|FILE", help="session or recording")
    parser.add_argument("--bids", type=Path, required=True, metavar="DIR", help="the data set")
    parser.add_argument("--subject", required=True, metavar="S", help="letters and digits")
    parser.add_argument("--task", required=True, metavar="T", help="letters and digits")
    parser.add_argument("--session", metavar="N", help="letters and digits")
    parser.add_argument("--run", metavar="N", help="digits")
    parser.add_argument("--line-freq", type=float, metavar="HZ", help="of the mains (50 or 60)")
    add_source_options(
        parser, where="of the recording", markers="source_id of the recording's markers"
    )
    parser.add_argument("--board", help="BrainFlow board of a CSV file")
    parser.add_argument("--json", action="store_true", help="say what was written as JSON")


def run(args: argparse.Namespace) -> int:
    """Export."""
    from configs import SessionConfig
    from devices.bids_export import BidsName, write_bids
    from devices.continuous import read_continuous

    name = BidsName(args.subject, args.task, args.session, args.run)
    config = apply_overrides(SessionConfig(), stream_overrides(args))
    recording = read_continuous(
        _recording_of(args.recording), choice=stream_choice(args, config), board=args.board
    )
    # Read is soon lost again; what is being written is written.
    with orderly(FINISHING) as end:
        path = write_bids(recording, args.bids, name, line_freq=args.line_freq)
    _report(recording, path, as_json=args.json)
    return end.code


def _recording_of(path: Path) -> Path:
    """The recording of a session folder, or the file itself."""
    return path / "recording.xdf" if path.is_dir() else path


def _report(recording: Continuous, path: Path, *, as_json: bool) -> None:
    n_channels, n_times = recording.data.shape
    for sentence in recording.warnings:
        write_note(f"Note: {sentence}")
    if as_json:
        write_json(
            {
                "file": str(path),
                "n_channels": n_channels,
                "n_times": n_times,
                "sfreq": recording.sfreq,
                "n_events": len(recording.events),
                "n_left_out": recording.n_left_out,
                "n_gaps": len(recording.gaps),
                "n_filled": recording.n_filled,
            }
        )
        return
    write_text(
        f"{path}: {n_channels} channels, {n_times / recording.sfreq:.1f} s at "
        f"{recording.sfreq:g} Hz, {len(recording.events)} events."
    )
    if recording.gaps:
        write_text(
            f"{len(recording.gaps)} bad stretches are marked; {recording.n_filled} lost samples "
            "are zeros."
        )
    if recording.n_left_out:
        write_text(f"{recording.n_left_out} markers have no place in the recording.")
