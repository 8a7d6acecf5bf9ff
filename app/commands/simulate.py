"""`phosphene simulate`: publishes a virtual headset that obeys the stimulus marker stream.

With `--fmri` a simulated scan instead: a recording that is streamed with its own markers, or
written.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from app.ending import orderly
from app.output import write_text
from configs.plain import plain
from devices.virtual import options
from pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from devices.player import Player
    from pipeline.values import StreamInfo

NOBODY = 1001
"""The default of `--subject`: the first person who looks at a grid is number 1."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "simulate",
        help="publish a virtual headset, or a simulated scan, over LSL",
        description="Publish a virtual headset as an LSL stream; it answers the stimulus marker "
        "stream. With --fmri: a simulated person in a scanner, who sees pictures of the gallery. "
        "Ctrl-C ends it.",
    )
    options.add_options(parser)
    _add_scan(parser)
    parser.add_argument(
        "--attend",
        action="store_true",
        help="eight electrodes of somebody who looks at the grid of `phosphene attend --source-id`",
    )
    parser.add_argument("--json", action="store_true", help="describe the stream as JSON")


def run(args: argparse.Namespace) -> int:
    """Stream until Ctrl-C or the end of `--duration`."""
    if args.attend:
        return _follow(args)
    if args.fmri:
        return _scan(args)
    settings = options.settings_from(args)
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


def _follow(args: argparse.Namespace) -> int:
    """Stream somebody who looks at a noise-tagged grid."""
    _check_follower(args)
    from devices.virtual.follower import serve_follower
    from devices.virtual.looker import Looker

    number = 1 if args.subject == NOBODY else args.subject

    def announce(info: StreamInfo) -> None:
        about = {"name": info.name, "source_id": info.source_id, "person": number, "snr": args.snr}
        about |= {"ch_names": list(info.ch_names), "sfreq": info.sfreq, "simulated": True}
        words = f"{plain(info.name)}: source_id {plain(info.source_id)}; Ctrl-C ends it."
        write_text(json.dumps(about) if args.json else words)
        sys.stdout.flush()

    with orderly() as end:
        serve_follower(
            Looker(number, args.snr, args.seed),
            end.asked,
            duration=args.duration,
            on_ready=announce,
        )
    return 0  # being stopped is how it ends


def _check_follower(args: argparse.Namespace) -> None:
    """Refuse numbers that make no sense, and options that somebody with eight electrodes lacks."""
    for name in ("subject", "snr", "seed", "duration"):
        value = vars(args)[name]
        if value is not None and not 0 <= value < math.inf:
            raise ConfigurationError(f"--{name} is {value:g}, expected 0 or more.")
    others = {
        "--fmri": args.fmri,
        "--board": args.board != "cap32",
        "--montage": args.montage,
        "--sfreq": args.sfreq,
        "--name": args.name,
        "--source-id": args.source_id,
        "--counter": args.counter,
        "--reference": args.reference,
        "--gallery": args.gallery,
        "--responses": args.responses,
        "--out": args.out,
    }
    if given := [name for name, value in others.items() if value]:
        raise ConfigurationError(
            f"--attend and {', '.join(given)} given, expected --attend with --subject, --snr, "
            "--seed and --duration alone: leave the others out."
        )


def _add_scan(parser: argparse.ArgumentParser) -> None:
    """Add the options of a simulated scan; the person's are the virtual headset's."""
    scan = parser.add_argument_group("a simulated scan of fMRI")
    scan.add_argument(
        "--fmri", action="store_true", help="voxels instead of a headset, with their own markers"
    )
    scan.add_argument("--voxels", type=int, default=4643, metavar="N", help="(%(default)s)")
    scan.add_argument(
        "--pictures", type=int, default=60, metavar="N", help="how many are shown (%(default)s)"
    )
    scan.add_argument(
        "--tr", type=float, default=2.0, metavar="S", help="between two responses (%(default)s)"
    )
    scan.add_argument(
        "--irregular", action="store_true", help="responses without a rate, one an event"
    )
    scan.add_argument(
        "--wait", type=float, default=10.0, metavar="S", help="for a reader (%(default)s)"
    )
    scan.add_argument(
        "--out", type=Path, metavar="FILE.npz", help="write a recording instead of streaming"
    )


def _scan(args: argparse.Namespace) -> int:
    """Write a simulated scan, or stream it once."""
    from devices.files.volumes import write_npz
    from devices.player import Player
    from devices.virtual.scanner import ScanSettings, simulate_scan

    settings = ScanSettings(
        n_voxels=args.voxels,
        n_pictures=args.pictures,
        tr=args.tr,
        subject_number=args.subject,
        snr=args.snr,
        seed=args.seed,
        is_irregular=args.irregular,
        gallery=args.gallery,
    )
    recording = simulate_scan(settings)
    about = {
        "name": settings.name,
        "simulated": True,
        "voxels": settings.n_voxels,
        "pictures": settings.n_pictures,
        "tr": settings.tr,
        "subject": settings.subject_number,
        "snr": settings.snr,
        "seed": settings.seed,
    }
    if args.out is not None:
        write_npz(args.out, recording.held)
        said = f"{args.out}: simulated fMRI, {settings.n_pictures} responses of {settings.n_voxels}"
        write_text(json.dumps(about | {"file": str(args.out)}) if args.json else f"{said} voxels.")
        return 0
    player = Player(recording, source_id=args.source_id or settings.name)
    source_id = player.streams[0].source_id
    with orderly() as end:
        try:
            if args.json:
                write_text(json.dumps(about | {"ready": True, "source_id": source_id}))
            else:
                write_text(
                    f"{settings.name}: simulated fMRI, {settings.n_voxels} voxels every "
                    f"{settings.tr:g} s, source_id {plain(source_id)}; Ctrl-C ends it."
                )
            sys.stdout.flush()
            player.wait_for_consumers(args.wait, end.asked)
            _play_for(player, args.duration, end.asked)
        finally:
            player.close()
    return 0


def _play_for(player: Player, duration: float | None, stop: threading.Event) -> None:
    """Play to the end, or for `duration` s."""

    def on_push() -> None:
        if duration is not None and player.position >= duration:
            stop.set()

    player.play(stop, on_push=on_push)
