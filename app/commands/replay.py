"""`phosphene replay`: publishes a recording and its events as LSL streams."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.common import positive
from app.ending import at_hard_end, orderly
from app.output import clear_progress, show_progress, write_json, write_note, write_text
from configs.plain import plain

if TYPE_CHECKING:
    from devices.player import Player


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "replay",
        help="publish a recording and its events as LSL streams",
        description="Publish a recording and its events as LSL streams, as if a headset sent "
        "them. Reads XDF, FIF, EDF, BDF, BrainVision (.vhdr), EEGLAB (.set), OpenBCI TXT, "
        "BrainFlow CSV, and fMRI as NPZ or NPY (docs/fmri.md). Ctrl-C ends "
        "it; on a terminal the space bar pauses and the arrows seek.",
    )
    parser.add_argument("file", type=Path, help="the recording")
    parser.add_argument(
        "--speed",
        type=positive,
        default=1.0,
        metavar="X",
        help="times real time (1); the published rate is the file's times X",
    )
    parser.add_argument("--loop", action="store_true", help="start again at the end")
    parser.add_argument("--start", type=float, default=0.0, metavar="S", help="where to start, s")
    parser.add_argument(
        "--source-id",
        metavar="ID",
        help="source_id of the file's EEG stream to play; one that the file has not is what its "
        "only EEG stream goes out under",
    )
    parser.add_argument("--name", help="name of the file's EEG stream to play")
    parser.add_argument("--markers", metavar="ID", help="source_id of the file's marker stream")
    parser.add_argument("--board", help="BrainFlow board of a CSV file")
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="S", help="wait up to S s for a reader"
    )
    parser.add_argument(
        "--control",
        action="store_true",
        help="take lines from standard input: pause, resume, seek S, seek +S, seek -S, stop",
    )
    parser.add_argument("--json", action="store_true", help="describe the streams as JSON")


def run(args: argparse.Namespace) -> int:
    """Play until the end or Ctrl-C."""
    from configs import MarkersConfig, SourceConfig
    from devices.choosing import StreamChoice
    from devices.player import Player

    choice = StreamChoice(
        SourceConfig(name=args.name, source_id=args.source_id),
        MarkersConfig(source_id=args.markers),
        must_fit=args.name is not None,
        markers_must_fit=args.markers is not None,
    )
    player = Player(
        args.file,
        speed=args.speed,
        loop=args.loop,
        start=args.start,
        source_id=args.source_id,
        choice=choice,
        board=args.board,
    )
    told = tuple(player.warnings)
    with orderly() as end:
        try:
            _play(player, args, end.asked)
        finally:
            player.close()
            clear_progress()
    for sentence in player.warnings:
        if sentence not in told:
            write_note(f"Note: {sentence}")
    return end.code


def _play(player: Player, args: argparse.Namespace, stop: threading.Event) -> None:
    _announce(player, as_json=args.json)
    for sentence in player.warnings:
        write_note(f"Note: {sentence}")
    if args.wait > 0:
        player.wait_for_consumers(args.wait, stop)
    with _controls(player, stop, lines=args.control):
        player.play(stop, on_push=_Progress(player))


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
                f"{plain(info.name)} ({plain(info.type)}): {info.n_channels} "
                f"{info.channel_format} channels, {rate}, source_id {plain(info.source_id)}"
            )
        write_text("Ctrl-C ends it.")
    sys.stdout.flush()


def obey(player: Player, stop: threading.Event, line: str) -> str:
    """Do what a control line says; why not, in one sentence, or nothing."""
    word, _, value = line.strip().lower().partition(" ")
    if word in ("pause", "resume", "toggle"):
        player.pause(not player.is_paused if word == "toggle" else word == "pause")
    elif word == "stop":
        stop.set()
    elif word == "seek":
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not math.isfinite(seconds):
            return f"seek has {value!r}, expected seconds: seek 12.5, seek +10 or seek -10."
        player.seek(seconds + player.position if value.strip()[0] in "+-" else seconds)
    elif word:
        return f"{word!r} is unknown, expected pause, resume, toggle, seek S or stop."
    return ""


_KEYS = {
    " ": "toggle",
    "p": "toggle",
    "q": "stop",
    "\x1b[C": "seek +10",
    "\x1b[D": "seek -10",
    "\x1b[A": "seek +60",
    "\x1b[B": "seek -60",
}
"""Keys on a terminal; arrows seek."""


@contextlib.contextmanager
def _controls(player: Player, stop: threading.Event, *, lines: bool) -> Iterator[None]:
    """Listen to standard input: lines when asked for, keys on a terminal, else nothing."""
    keys = not lines and sys.platform != "win32" and sys.stdin is not None and sys.stdin.isatty()
    if not (lines or keys):
        yield
        return
    # A daemon: a read of standard input cannot be interrupted, and must not keep the end waiting.
    target = _follow_lines if lines else _follow_keys
    thread = threading.Thread(target=target, args=(player, stop), name="controls", daemon=True)
    with _single_keys() if keys else contextlib.nullcontext():
        thread.start()
        yield


def _follow_lines(player: Player, stop: threading.Event) -> None:
    for line in sys.stdin:
        problem = obey(player, stop, line)
        if problem:
            write_note(problem)


def _follow_keys(player: Player, stop: threading.Event) -> None:
    import select

    while not stop.is_set():
        if select.select([sys.stdin], [], [], 0.2)[0]:
            pressed = os.read(sys.stdin.fileno(), 16).decode("ascii", "ignore")
            obey(player, stop, _KEYS.get(pressed, ""))


@contextlib.contextmanager
def _single_keys() -> Iterator[None]:
    """Let the terminal hand over keys one by one, unseen; Ctrl-C works as ever."""
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    at_hard_end(lambda: termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before))
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


class _Progress:
    """The position on a terminal, a few times a second; quiet elsewhere."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._next = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + 0.25
        player = self._player
        length = "" if player.duration is None else f" of {player.duration:.1f} s"
        lap = f", lap {player.n_laps + 1}" if player.n_laps else ""
        paused = ", paused" if player.is_paused else ""
        show_progress(f"{player.position:.1f} s{length}{lap}{paused}")
