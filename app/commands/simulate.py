"""`phosphene simulate`: publishes a virtual headset that obeys the stimulus marker stream."""

from __future__ import annotations

import argparse
import json
import sys

from app.ending import orderly
from app.output import write_text
from configs.plain import plain
from devices.virtual.options import add_options, settings_from


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "simulate",
        help="publish a virtual headset over LSL",
        description="Publish a virtual headset as an LSL stream; it answers the stimulus marker "
        "stream. Ctrl-C ends it.",
    )
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="describe the stream as JSON")


def run(args: argparse.Namespace) -> int:
    """Stream until Ctrl-C or the end of `--duration`."""
    settings = settings_from(args)
    from devices.virtual.service import description, serve

    def announce() -> None:
        about = description(settings)
        if args.json:
            write_text(json.dumps(about))
        else:
            write_text(
                f"{plain(about['name'])}: {len(about['ch_names'])} channels at "
                f"{about['sfreq']:g} Hz, source_id {plain(about['source_id'])}; Ctrl-C ends it."
            )
        sys.stdout.flush()

    with orderly() as end:
        serve(settings, end.asked, on_ready=announce)
    return 0  # being stopped is how it ends
