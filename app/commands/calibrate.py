"""`phosphene calibrate`: a person's own adapter, from the pictures to the honest numbers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.common import (
    add_any_host,
    add_fallback,
    add_gallery,
    add_out,
    add_settings,
    add_source_options,
    apply_overrides,
    gallery_named,
    load,
    positive,
    stream_choice,
    stream_overrides,
)
from app.display import has_display
from app.ending import FINISHING, orderly
from app.output import clear_progress, show_progress, write_json, write_lines, write_note

if TYPE_CHECKING:
    from app.calibration.extending import Earlier
    from app.calibration.flow import Flow
    from app.calibration.steps import FlowView
    from configs import SessionConfig


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "calibrate",
        help="make a person's own adapter",
        description="Train, test and store a person's own adapter, from a stream, from recordings "
        "or from the virtual headset.",
    )
    parser.add_argument("--headless", action="store_true", help="without a window")
    parser.add_argument("--subject", default=None, metavar="S", help="subject code")
    add_settings(parser)
    add_fallback(parser)
    add_gallery(parser)
    add_any_host(parser)
    _add_sources(parser)
    parser.add_argument(
        "--minutes",
        type=positive,
        default=5.0,
        metavar="M",
        help="time with pictures (%(default)s)",
    )
    parser.add_argument(
        "--set",
        dest="stimulus_set",
        default="varied",
        metavar="NAME",
        help="pictures: varied, everything, few or faces-houses (%(default)s)",
    )
    parser.add_argument(
        "--methods",
        default=None,
        metavar="NAMES",
        help="adapters to choose among, with commas (docs/models/adapters.md; the usual ones)",
    )
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="of order and fits (0)")
    parser.add_argument(
        "--force", action="store_true", help="go on although the signal check is not green"
    )
    add_out(parser, suffix="-calibration")
    parser.add_argument("--json", action="store_true", help="print what came out as JSON")


def _add_sources(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--virtual",
        type=int,
        nargs="?",
        const=1001,
        default=None,
        metavar="N",
        help="a virtual headset of its own, worn by virtual person N (1001)",
    )
    source.add_argument(
        "--from",
        dest="recordings",
        type=Path,
        action="append",
        default=None,
        metavar="DIR|FILE",
        help="a recording, a session folder or a BIDS data set instead of a stream; may be given "
        "several times",
    )
    parser.add_argument(
        "--board",
        default=None,
        metavar="NAME",
        help="of --virtual: cyton, daisy, cap32 or cap63; of --from: what recorded a BrainFlow CSV",
    )
    parser.add_argument(
        "--snr", type=float, default=None, metavar="X", help="of --virtual; 0: no information"
    )
    parser.add_argument("--fast", action="store_true", help="with --virtual: no LSL and no waiting")
    parser.add_argument(
        "--labels",
        default=None,
        metavar="EVENT[=CLASS],…|FILE",
        help="with --from: the markers that count (or a file of lines EVENT=CLASS); events of "
        "one class are put together",
    )
    parser.add_argument(
        "--pictures",
        default=None,
        metavar="CLASS=PICTURE,…|FILE",
        help="with --from: the picture that stands for each class, by its label in the gallery "
        "(`none`: fog); a class that is not named is drawn as its name suggests, else as fog",
    )
    parser.add_argument(
        "--extend",
        default=None,
        metavar="ADAPTER",
        help="with --from: learn from the new recording and from what that adapter was made from "
        "(its classes, pictures and channels hold); a new adapter is stored beside it",
    )
    parser.add_argument(
        "--others",
        type=Path,
        action="append",
        default=None,
        metavar="DIR|FILE",
        help="with --from: recordings of other people with the same classes, learnt from as well "
        "where cross-validation says that it helps; may be given several times",
    )
    parser.add_argument(
        "--until",
        default=None,
        metavar="S|P%",
        help="with --from: learn from the beginning only, so that the rest can test (600, 60%%)",
    )
    add_source_options(
        parser,
        where="(of the recording's with --from)",
        markers="source_id that our markers go out under (phosphene-stimuli); with --from of the "
        "recording's markers",
    )


def run(args: argparse.Namespace) -> int:
    """Calibrate in a window, or headless: what was found is stored, the rest is kept as data."""
    from app.calibration.headless import run_flow

    _check_usage(args)
    config = _config(args)
    if not args.headless and not args.fast and not args.recordings and has_display():
        from app.commands.gui import run_window
        from app.runtime.factory import RuntimeFactory

        return run_window(RuntimeFactory(), config, calibrate=True)
    flow = _flow(args, config)
    with orderly(FINISHING) as end:
        try:
            view = run_flow(flow, force=args.force, on_view=_progress, stop=end.asked)
        finally:
            flow.stop(FINISHING / 2)
            clear_progress()
    if end.code:
        write_note(f"phosphene calibrate: {flow.view().message}")
        return end.code
    return _conclude(flow, view, as_json=args.json)


def _check_usage(args: argparse.Namespace) -> None:
    from app.errors import AppError

    wrong = (
        (args.fast and args.virtual is None, "--fast needs --virtual: a real stream has its pace"),
        (args.snr is not None and args.virtual is None, "--snr is the virtual person's: --virtual"),
        *(
            (given is not None and not args.recordings, f"{option} belongs to --from")
            for option, given in (
                ("--labels", args.labels),
                ("--pictures", args.pictures),
                ("--extend", args.extend),
                ("--others", args.others),
                ("--until", args.until),
            )
        ),
        (
            args.virtual is not None and any((args.markers, args.source_id, args.name)),
            "--virtual has markers of its own, and a headset: leave --source-id, --name and "
            "--markers out",
        ),
    )
    for is_wrong, sentence in wrong:
        if is_wrong:
            raise AppError(f"{sentence}.")


def _config(args: argparse.Namespace) -> SessionConfig:
    from app.calibration.reading import recordings_of, settings_of

    preset = args.preset or ("demo" if args.virtual is not None else None)
    base = load(preset, args.config, fallback=args.fallback)
    if args.recordings:
        beside = settings_of(recordings_of(args.recordings, args.subject)[0], base)
        base = beside.model_copy(update={"seed": base.seed})
    before = _earlier(args)
    if before is not None:
        base = before.settings(base)
    return apply_overrides(
        base,
        {
            **stream_overrides(args),
            "source.any_host": args.any_host,
            "seed": args.seed,
            "subject": args.subject if before is None else before.manifest.subject,
            "simulation.subject_number": args.virtual,
            "simulation.board": args.board if args.virtual is not None else None,
            "simulation.snr": args.snr,
            "gallery": gallery_named(args.gallery),
        },
    )


def _earlier(args: argparse.Namespace) -> Earlier | None:
    from app.calibration.extending import earlier

    if args.extend is None:
        return None
    return earlier(args.extend, store=None, subject=args.subject)


def _methods(args: argparse.Namespace) -> tuple[str, ...]:
    """What `--methods` names; an unknown one is refused before anything is read."""
    from app.calibration.reading import recordings_of, speaks_for_itself
    from models.adapters.methods.names import check_methods

    names = tuple(name.strip() for name in (args.methods or "").split(",") if name.strip())
    paths = recordings_of(args.recordings, args.subject) if args.recordings else []
    is_foreign = bool(paths) and not speaks_for_itself(paths[0])
    check_methods(names, is_classes=True if is_foreign and args.labels else None)
    return names


def _flow(args: argparse.Namespace, config: SessionConfig) -> Flow:
    from app.calibration.factory import CalibrationFactory
    from app.calibration.reading import (
        others_of,
        parse_labels,
        parse_pictures,
        parse_until,
        recordings_of,
        speaks_for_itself,
    )
    from app.calibration.schedule import Choices

    factory = CalibrationFactory(methods=_methods(args))
    if args.recordings:
        before = _earlier(args)
        paths = recordings_of(args.recordings, args.subject)
        pictures = parse_pictures(args.pictures)
        if pictures is None and args.labels is not None and not speaks_for_itself(paths[0]):
            # Somebody else's events, put in classes: no pictures of ours, whatever they are called.
            pictures = {}
        classes = parse_labels(args.labels)
        if before is not None:
            classes = classes or before.classes
            pictures = before.pictures if before.pictures is not None else pictures
        return factory.recording(
            paths,
            config,
            out=args.out,
            classes=classes,
            pictures=pictures,
            until=parse_until(args.until),
            board=args.board,
            seed=config.seed,
            choice=stream_choice(args, config),
            others=others_of(args.others or (), paths, config.subject),
            before=before,
        )
    choices = Choices(args.stimulus_set, args.minutes, config.seed, stimuli=config.stimuli)
    if args.fast:
        return factory.accelerated(config, choices=choices, out=args.out)
    make = factory.live if args.virtual is None else factory.virtual
    return make(config, choices=choices, out=args.out)


def _conclude(flow: Flow, view: FlowView, *, as_json: bool) -> int:
    from app.calibration.files import read_about
    from app.calibration.steps import Step
    from app.calibration.words import closing_lines

    if as_json and view.result is not None:
        write_json(read_about(flow.out) | {"out": str(flow.out)})
    if view.step is Step.FAILED:
        write_note(f"phosphene calibrate: {view.message}")
        return 1
    if not as_json:
        write_lines(closing_lines(view))
    return 0


def _progress(view: FlowView) -> None:
    from app.calibration.words import progress_line

    show_progress(progress_line(view))
