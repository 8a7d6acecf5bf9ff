"""`phosphene export`: a recording becomes part of a BIDS data set."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
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
from app.runtime.folder import RECORDING

if TYPE_CHECKING:
    from app.export.derivative import Derived
    from devices.continuous import Continuous


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "export",
        help="write a session or a recording as BIDS (BrainVision)",
        description="Write a session's recording, or a recording of any known format, into a BIDS "
        "data set: BrainVision with tables of channels, electrodes and events (HED tags). Of a "
        "session also the pictures that were shown (stimuli/), and what was decoded "
        "(derivatives/phosphene). Lost time is filled with zeros and marked BAD_ACQ_SKIP. Nothing "
        "is overwritten.",
    )
    parser.add_argument("recording", type=Path, metavar="DIR|FILE", help="session or recording")
    parser.add_argument("--bids", type=Path, required=True, metavar="DIR", help="the data set")
    parser.add_argument("--subject", required=True, metavar="S", help="letters and digits")
    parser.add_argument("--task", required=True, metavar="T", help="letters and digits")
    parser.add_argument("--session", metavar="N", help="letters and digits")
    parser.add_argument("--run", metavar="N", help="digits")
    parser.add_argument("--dataset-name", metavar="TEXT", help="(default: the folder's)")
    parser.add_argument(
        "--author", action="append", default=[], metavar="NAME", help="of the data set; repeatable"
    )
    parser.add_argument("--license", metavar="TEXT", help="of the data, such as CC0")
    parser.add_argument(
        "--no-stimuli",
        action="store_true",
        help="leave out the pictures themselves, where their licence forbids copies",
    )
    parser.add_argument("--line-freq", type=float, metavar="HZ", help="of the mains (50 or 60)")
    add_source_options(
        parser, where="of the recording", markers="source_id of the recording's markers"
    )
    parser.add_argument("--board", help="BrainFlow board of a CSV file")
    parser.add_argument("--json", action="store_true", help="say what was written as JSON")


def run(args: argparse.Namespace) -> int:
    """Export."""
    from app.export.derivative import Derived, read_vectors
    from app.export.stimuli import session_of, shown_pictures
    from app.report.record import read_record
    from configs import SessionConfig
    from devices.bids.describing import Credits
    from devices.bids.events import Shown
    from devices.bids.writing import BidsName, write_bids
    from devices.continuous import read_continuous

    name = BidsName(args.subject, args.task, args.session, args.run)
    credits = Credits(args.dataset_name or "", tuple(args.author), args.license or "")
    config = apply_overrides(SessionConfig(), stream_overrides(args))
    path, session = _recording_of(args.recording), session_of(args.recording)
    recording = read_continuous(path, choice=stream_choice(args, config), board=args.board)
    shown, note, derived = Shown(), "", None
    if session is not None:
        record = read_record(session)
        shown, note = shown_pictures(record, with_files=not args.no_stimuli)
        derived = Derived(record, recording, read_vectors(path))
    # Read is soon lost again; what is being written is written.
    with orderly(FINISHING) as end:
        written = write_bids(
            recording,
            args.bids,
            name,
            line_freq=args.line_freq,
            credits=credits,
            shown=shown,
            derive=(lambda _root, _raw: None) if derived is None else derived.write,
        )
    notes = [*recording.warnings, *([note] if note else []), *(derived.notes if derived else ())]
    _report(recording, written, derived, notes, as_json=args.json)
    return end.code


def _recording_of(path: Path) -> Path:
    """The recording of a session folder, or the file itself."""
    return path / RECORDING if path.is_dir() else path


def _report(
    recording: Continuous,
    path: Path,
    derived: Derived | None,
    notes: Sequence[str],
    *,
    as_json: bool,
) -> None:
    n_channels, n_times = recording.data.shape
    for sentence in notes:
        write_note(f"Note: {sentence}")
    if as_json:
        table = {
            "file": str(path),
            "n_channels": n_channels,
            "n_times": n_times,
            "sfreq": recording.sfreq,
            "n_events": len(recording.events),
            "n_left_out": recording.n_left_out,
            "n_gaps": len(recording.gaps),
            "n_filled": recording.n_filled,
        }
        if derived is not None:
            table["n_pictures"], table["n_embeddings"] = derived.n_pictures, derived.n_vectors
        write_json(table)
        return
    write_text(
        f"{path}: {n_channels} channels, {n_times / recording.sfreq:.1f} s at "
        f"{recording.sfreq:g} Hz, {len(recording.events)} events."
    )
    if derived is not None:
        write_text(
            f"derivatives/phosphene: {derived.n_events} events, {derived.n_pictures} pictures, "
            f"{derived.n_vectors} embeddings."
        )
    if recording.gaps:
        write_text(
            f"{len(recording.gaps)} bad stretches are marked; {recording.n_filled} lost samples "
            "are zeros."
        )
    if recording.n_left_out:
        write_text(f"{recording.n_left_out} markers have no place in the recording.")
