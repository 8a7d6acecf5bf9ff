"""The virtual headset's options, for `phosphene simulate` and `python -m devices.virtual` alike.

Owns names, defaults and help of the options and how they become `HeadsetSettings`. Imports
nothing heavy, so that a command line can show its help at once.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from configs.montages import AVERAGE
from devices.virtual.boards import BOARDS, board_of, custom_board
from pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from devices.virtual.headset import HeadsetSettings


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a virtual headset."""
    parser.add_argument(
        "--subject",
        type=int,
        default=1001,
        metavar="N",
        help="virtual person; 1000 and above were never trained on (%(default)s)",
    )
    montage = parser.add_mutually_exclusive_group()
    montage.add_argument(
        "--board", default="cap32", metavar="NAME", help=f"{', '.join(BOARDS)} (%(default)s)"
    )
    montage.add_argument(
        "--montage", metavar="LABELS", help="electrodes of the 10-05 system, such as 'O1,O2,P7,P8'"
    )
    parser.add_argument("--sfreq", type=float, metavar="HZ", help="rate (the board's own)")
    parser.add_argument(
        "--snr",
        type=float,
        default=1.0,
        metavar="X",
        help="factor on the pictures' patterns; 1: as the decoder was trained, 0: no information "
        "at all (%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all noise (0)")
    parser.add_argument("--name", help="LSL stream name")
    parser.add_argument("--source-id", metavar="ID", help="LSL source_id (from board and subject)")
    parser.add_argument("--counter", action="store_true", help="add a channel that counts samples")
    parser.add_argument(
        "--reference",
        metavar="LABELS",
        help=f"electrodes whose mean is subtracted, or '{AVERAGE}' (the board's own)",
    )
    parser.add_argument(
        "--markers-source-id",
        default="phosphene-stimuli",
        metavar="ID",
        help="marker stream to obey (%(default)s)",
    )
    parser.add_argument(
        "--gallery", metavar="DIR|NAME", help="gallery of the pictures that it sees (the shipped)"
    )
    parser.add_argument(
        "--responses",
        type=Path,
        metavar="FILE.npz",
        help="a person whose responses a published model of images predicted; no decoder here was "
        "trained on its code (docs/how-to/predicted-people.md)",
    )
    parser.add_argument(
        "--responses-scale",
        type=float,
        default=1.0,
        metavar="UV",
        help="microvolts that one number of --responses is (%(default)s)",
    )
    parser.add_argument("--duration", type=float, metavar="S", help="stop by itself (never)")


def settings_from(args: argparse.Namespace) -> HeadsetSettings:
    """Turn parsed options into settings.

    Raises
    ------
    ConfigurationError
        An unknown board, a montage of one label, or a number out of range.
    """
    from devices.virtual.headset import HeadsetSettings

    board = board_of(args.board) if args.montage is None else custom_board(args.montage)
    if args.reference is not None:
        words = tuple(args.reference.replace(",", " ").split())
        board = replace(board, reference=AVERAGE if words == (AVERAGE,) else words)
    for name, value, lowest in (
        ("--subject", args.subject, 0),
        ("--seed", args.seed, 0),
        ("--snr", args.snr, 0),
        ("--sfreq", args.sfreq, 100),
        ("--duration", args.duration, 0),
        ("--responses-scale", args.responses_scale, 0),
    ):
        if value is not None and not value >= lowest:
            raise ConfigurationError(f"{name} is {value:g}, expected {lowest} or more.")
    return HeadsetSettings(
        board=board,
        subject_number=args.subject,
        sfreq=args.sfreq,
        snr=args.snr,
        seed=args.seed,
        name=args.name,
        source_id=args.source_id,
        counter=args.counter,
        markers_source_id=args.markers_source_id,
        duration=args.duration,
        gallery=args.gallery,
        responses=args.responses,
        responses_scale=args.responses_scale,
    )
