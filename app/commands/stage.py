"""`phosphene stage`: the audience's picture, full screen, for hours."""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.common import (
    adapter_folder,
    add_channel_options,
    add_choice_options,
    add_device,
    add_gallery,
    add_outputs,
    apply_overrides,
    choice_overrides,
    device_overrides,
    gallery_named,
    load,
    output_overrides,
    positive,
)
from app.ending import FINISHING, Ending, orderly
from app.output import write_note

if TYPE_CHECKING:
    from app.port import SessionPort
    from app.stage.keeper import Keeper, Who
    from configs import SessionConfig

CHILD = "--no-restart"
NO_ADAPTER = (
    "No adapter is given, so that a visitor is mostly fog: `phosphene calibrate --subject S "
    "--source-id ID` makes one (docs/calibration.md), --adapter ID takes it."
)
LONGEST_RETRY = 8.0
"""Between two starts of a window that ends unasked, s."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "stage",
        help="the audience's picture, full screen, for hours",
        description="One picture for an audience, full screen. Without a visitor the virtual "
        "headset is shown, and said to be simulated. Space: the next visitor; Esc: back; W: words; "
        "T: traces; F: full screen or not; Ctrl+Q ends. Whatever fails is started anew.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--preset", default=None, metavar="NAME", help="of a visit (stage)")
    which.add_argument("--config", type=Path, default=None, metavar="FILE", help="of a visit")
    parser.add_argument(
        "--screen", type=int, default=None, metavar="N", help="screen, counted from 1 (the last)"
    )
    add_choice_options(parser, where="of the visitors' headset", markers="source_id of markers")
    add_channel_options(parser)
    parser.add_argument(
        "--adapter",
        default=None,
        metavar="ID",
        help="the visitors' adapter: an id of `phosphene adapters list`, or its folder; without "
        "one a visitor is mostly fog",
    )
    parser.add_argument(
        "--visit", type=positive, default=300.0, metavar="S", help="longest visit, s (300)"
    )
    parser.add_argument(
        "--words", action="store_true", help="show names from the start (W shows and hides them)"
    )
    parser.add_argument(
        "--confidence",
        type=float,
        default=0.6,
        metavar="P",
        help="show a name only where the decoder states this much (0.6)",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep visits' session folders, within the quota; else a visit leaves nothing behind",
    )
    parser.add_argument(
        "--quota",
        type=positive,
        default=2000.0,
        metavar="MB",
        help="what the stage's folder may hold; the oldest sessions go first (2000)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("sessions/stage"),
        metavar="DIR",
        help="the stage's own folder (sessions/stage)",
    )
    parser.add_argument("--duration", type=positive, default=None, metavar="S", help="end after S")
    add_device(parser)
    add_gallery(parser)
    add_outputs(parser)
    parser.add_argument(
        CHILD, action="store_true", dest="once", help="end with the window instead of restarting it"
    )


def run(args: argparse.Namespace) -> int:
    """Show the stage; in a process of its own, which is started anew where it ends unasked."""
    from app.display import window_problem
    from app.errors import AppError
    from app.stage.disk import claim
    from configs.private import make_private

    config = _visit(args)
    if not 0.0 <= args.confidence <= 1.0:
        raise AppError(f"--confidence is {args.confidence:g}, expected 0 to 1, such as 0.6.")
    if args.screen is not None and args.screen < 1:
        raise AppError(f"--screen is {args.screen}, expected 1 for the first screen, or more.")
    problem = window_problem()
    if problem:
        raise AppError(problem)
    # A folder that cannot be is said here, not at each new start.
    make_private(args.out.resolve())
    claim(args.out.resolve())
    return _show(args, config) if args.once else supervise(_child_command())


def _visit(args: argparse.Namespace) -> SessionConfig:
    from app.contract import follow
    from app.errors import AppError
    from devices.montage import read_montage

    preset = args.preset or (None if args.config is not None else "stage")
    config = apply_overrides(
        load(preset, args.config),
        {
            **choice_overrides(args),
            "source.ch_names": None if args.montage is None else list(read_montage(args.montage)),
            "source.unit": args.unit,
            **device_overrides(args),
            **output_overrides(args),
            "gallery": gallery_named(args.gallery),
            "decoder.adapter": None if args.adapter is None else adapter_folder(args.adapter),
        },
    )
    said = ""
    if args.adapter is not None:
        # Nobody is asked whose it is: whoever comes wears the headset.
        config, said = follow(config, Path(str(config.decoder.adapter)))
    elif config.decoder.adapter is None and (args.source_id is not None or args.name is not None):
        said = NO_ADAPTER
    has_events = config.markers.source_id is not None or config.stimuli.enabled
    if args.adapter is not None and config.epochs.mode == "event" and not has_events:
        raise AppError(
            f"the adapter {args.adapter} decodes what follows events, expected one of pictures, "
            "or --markers ID: a stage's visitor has no events."
        )
    if said and not args.once:  # the window's own process begins often
        write_note(f"Note: {said}")
    return config


def _child_command() -> list[str]:
    return [sys.executable, "-m", "phosphene", *sys.argv[1:], CHILD]


def supervise(
    command: list[str],
    *,
    clock: Callable[[], float] = time.monotonic,
    longest: float = LONGEST_RETRY,
) -> int:
    """Run `command` until it ends well or this process is asked to end; start it anew otherwise."""
    wait = 0.5
    with orderly(FINISHING) as end:
        while True:
            began = clock()
            # Its standard input is held here: it ends with this process, however that ends.
            with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
                code = _await(child, end)
            if end.asked.is_set() or code in (0, 2):
                return end.code or code
            wait = 0.5 if clock() - began > 60.0 else min(longest, 2 * wait)
            write_note(f"The stage ended unasked (exit code {code}): it is started anew.")
            if end.asked.wait(wait):
                return end.code


def _await(child: subprocess.Popen[bytes], end: Ending) -> int:
    while True:
        try:
            return child.wait(0.2)
        except subprocess.TimeoutExpired:
            if end.asked.is_set():
                break
    if child.stdin is not None:
        child.stdin.close()
    child.terminate()
    try:
        return child.wait(FINISH_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


FINISH_SECONDS = 15.0
"""How long a window that is asked to end may take over its files, s."""


def _show(args: argparse.Namespace, config: SessionConfig) -> int:
    from PySide6.QtCore import QTimer

    from app.commands.gui import SIGNAL_MS, application
    from app.stage.memory import keep_one_arena
    from app.views.stage.window import StageWindow
    from devices.lifeline import follow_stdin

    keep_one_arena()
    app = application()
    with orderly(FINISHING) as end:
        if not sys.stdin.isatty():
            follow_stdin(end.asked)
        keeper = make_keeper(args, config)
        window = StageWindow(
            keeper, words=args.words, confidence=args.confidence, screen=args.screen, ended=app.exit
        )
        window.showFullScreen()
        began = time.monotonic()

        def look() -> None:
            over = args.duration is not None and time.monotonic() - began > args.duration
            if end.asked.is_set() or over:
                window.leave()

        timer = QTimer(window)
        timer.timeout.connect(look)
        timer.start(SIGNAL_MS)
        app.exec()
        timer.stop()
        window.leave()
        keeper.close()
    return end.code


def remove_abandoned(root: Path) -> None:
    """Delete what a process that was killed left behind; what ended well, or goes on, stays."""
    from app.runtime.lock import LockState, read_lock
    from app.stage.disk import remove

    for folder in [path for path in root.iterdir() if path.is_dir()]:
        if read_lock(folder)[0] is LockState.ABANDONED:
            remove(folder)


def make_keeper(args: argparse.Namespace, visit: SessionConfig) -> Keeper:
    """Make what keeps a session on the stage; what it writes lies in one folder."""
    from app.runtime.launch import demo_session, live_session
    from app.stage.disk import keep_quota, remove
    from app.stage.keeper import Keeper, Patience, Who
    from app.stage.memory import give_back
    from configs import load_preset
    from configs.private import make_private

    root = args.out.resolve()
    make_private(root)
    if not args.keep:
        remove_abandoned(root)
    demo = load_preset("demo")
    attract = demo.model_copy(
        update={
            "gallery": visit.gallery,
            "outputs": visit.outputs,
            "outlets": demo.outlets.model_copy(update={"enabled": False}),
            "recording": demo.recording.model_copy(update={"enabled": False}),
            "decoder": demo.decoder.model_copy(
                update={
                    "device": visit.decoder.device,
                    "backend": visit.decoder.backend,
                    "dtype": visit.decoder.dtype,
                }
            ),
        }
    )
    if args.keep:
        recording = visit.recording.model_copy(update={"enabled": True})
        visit = visit.model_copy(update={"recording": recording})
    in_use: set[Path] = set()

    def tidy() -> None:
        keep_quota(root, round(1e6 * args.quota), in_use=set(in_use))
        give_back()

    def make(who: Who) -> SessionPort:
        tidy()
        session = (
            demo_session(attract, root=root, has_report=False)
            if who is Who.ATTRACT
            else live_session(visit, root=root, has_report=args.keep)
        )
        in_use.add(session.out)
        return session

    def ended(out: Path, who: Who) -> None:
        if who is Who.ATTRACT or not args.keep:
            remove(out)
        in_use.discard(out)
        gc.collect()  # a session refers to itself
        tidy()

    named = visit.source.source_id is not None or visit.source.name is not None
    patience = Patience(visit=args.visit)
    return Keeper(make, has_visitors=named, patience=patience, ended=ended, tidy=tidy)
