"""`phosphene replay`: publishes a recording and its events as LSL streams."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from app.output import write_json, write_note, write_text

if TYPE_CHECKING:
    from devices.player import Player


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "replay",
        help="publish a recording and its events as LSL streams",
        description="Publish a recording and its events as LSL streams, as if a headset sent "
        "them. Reads XDF, FIF, EDF, BDF, BrainVision (.vhdr), EEGLAB (.set), OpenBCI TXT and "
        "BrainFlow CSV. Ctrl-C ends it.",
    )
    parser.add_argument("file", type=Path, help="the recording")
    parser.add_argument(
        "--speed",
        type=float,
        default=1.0,
        metavar="X",
        help="times real time (1); the published rate is the file's times X",
    )
    parser.add_argument("--loop", action="store_true", help="start again at the end")
    parser.add_argument("--start", type=float, default=0.0, metavar="S", help="where to start, s")
    parser.add_argument("--source-id", help="source_id of the EEG stream")
    parser.add_argument("--board", help="BrainFlow board of a CSV file")
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="S", help="wait up to S s for a reader"
    )
    parser.add_argument("--json", action="store_true", help="describe the streams as JSON")


def run(args: argparse.Namespace) -> int:
    """Play until the end or Ctrl-C."""
    from devices.player import Player

    player = Player(
        args.file,
        speed=args.speed,
        loop=args.loop,
        start=args.start,
        source_id=args.source_id,
        board=args.board,
    )
    try:
        _announce(player, as_json=args.json)
        stop = threading.Event()
        if args.wait > 0:
            player.wait_for_consumers(args.wait, stop)
        player.play(stop, on_push=_Progress(player))
    finally:
        player.close()
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
    for sentence in player.warnings:
        write_note(f"Note: {sentence}")
    return 0


def _announce(player: Player, *, as_json: bool) -> None:
    """Say what is published, once it can be found."""
    if as_json:
        streams = [
            {
                "name": info.name,
                "type": info.type,
                "source_id": info.source_id,
                "n_channels": info.n_channels,
                "sfreq": info.sfreq,
                "channel_format": info.channel_format,
                "ch_names": list(info.ch_names),
            }
            for info in player.streams
        ]
        write_json({"ready": True, "streams": streams})
    else:
        for info in player.streams:
            rate = f"{info.sfreq:g} Hz" if info.sfreq else "irregular"
            write_text(
                f"{info.name} ({info.type}): {info.n_channels} {info.channel_format} channels, "
                f"{rate}, source_id {info.source_id}"
            )
        write_text("Ctrl-C ends it.")
    sys.stdout.flush()


class _Progress:
    """The position on a terminal, a few times a second; quiet elsewhere."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._is_shown = sys.stderr.isatty()
        self._next = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if not self._is_shown or now < self._next:
            return
        self._next = now + 0.25
        player = self._player
        length = "" if player.duration is None else f" of {player.duration:.1f} s"
        lap = f", lap {player.n_laps + 1}" if player.n_laps else ""
        sys.stderr.write(f"\r\x1b[K{player.position:.1f} s{length}{lap}")
        sys.stderr.flush()
