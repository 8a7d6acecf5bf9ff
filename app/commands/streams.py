"""`phosphene streams`: the LSL streams in reach, and what each says of itself."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from app.commands.common import positive
from app.output import table, write_json, write_note, write_text

if TYPE_CHECKING:
    from pipeline.values import StreamInfo

_LABELS_SHOWN = 8


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "streams",
        help="list the LSL streams in reach",
        description="List the LSL streams in reach: name, type, source_id, host, rate, channels, "
        "format, labels, unit.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument(
        "--timeout", type=positive, default=2.0, metavar="S", help="how long to look, s (2)"
    )
    parser.add_argument("--type", metavar="TYPE", help="only streams of this type, such as EEG")


def run(args: argparse.Namespace) -> int:
    """Look for `--timeout` seconds, then list what was found."""
    from devices.lsl.discovery import resolve

    found = resolve(args.timeout, stream_type=args.type)
    if args.json:
        write_json([_as_json(info) for info in found])
        return 0
    if not found:
        write_note(
            f"No LSL stream in {args.timeout:g} s. Start a source (phosphene simulate), or see "
            "phosphene doctor for what keeps streams from being found."
        )
        return 0
    headings = ("name", "type", "source_id", "host", "rate", "channels", "format", "labels", "unit")
    write_text(table(headings, [_as_row(info) for info in found]))
    return 0


def _as_json(info: StreamInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "type": info.type,
        "source_id": info.source_id,
        "host": info.hostname,
        "rate": info.sfreq,
        "channels": info.n_channels,
        "format": info.channel_format,
        "labels": list(info.ch_names),
        "unit": _unit(info) or None,
        "units": list(info.ch_units),
        "types": list(info.ch_types),
        "manufacturer": info.manufacturer,
        "uid": info.uid,
        "session_id": info.session_id,
        "created_at": info.created_at,
    }


def _as_row(info: StreamInfo) -> tuple[str, ...]:
    labels = " ".join(info.ch_names[:_LABELS_SHOWN])
    more = len(info.ch_names) - _LABELS_SHOWN
    return (
        info.name,
        info.type,
        info.source_id,
        info.hostname,
        f"{info.sfreq:g} Hz" if info.sfreq else "irregular",
        str(info.n_channels),
        info.channel_format,
        (labels + (f" +{more}" if more > 0 else "")) or "-",
        _unit(info) or "-",
    )


def _unit(info: StreamInfo) -> str:
    """The unit of the EEG channels (of all, without types); several are listed."""
    eeg = [u for u, kind in zip(info.ch_units, info.ch_types, strict=False) if kind == "eeg"]
    units = dict.fromkeys(unit for unit in eeg or info.ch_units if unit)
    return ", ".join(units)
