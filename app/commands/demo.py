"""`phosphene demo`: the main job with nothing plugged in."""

from __future__ import annotations

import argparse

from app.commands.common import (
    add_align,
    add_device,
    add_gallery,
    add_out,
    add_outputs,
    add_remote,
    apply_overrides,
    device_overrides,
    gallery_named,
    output_overrides,
    positive,
    remote_overrides,
    watch,
)
from app.display import window_problem


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "demo",
        help="a virtual headset, decoded live into pictures",
        description="Show stimuli to a virtual headset, decode its stream live and draw pictures: "
        "the main job with nothing plugged in. Without a display it runs headless.",
    )
    parser.add_argument("--headless", action="store_true", help="without a window")
    parser.add_argument(
        "--duration",
        type=positive,
        default=None,
        metavar="S",
        help="how long stimuli are shown, s (headless: 60)",
    )
    parser.add_argument(
        "--subject",
        type=int,
        default=None,
        metavar="N",
        help="virtual person; 1000 and above were never trained on (1001)",
    )
    parser.add_argument("--board", default=None, help="cyton, daisy, cap32 or cap63 (cap32)")
    parser.add_argument(
        "--snr",
        type=float,
        default=None,
        metavar="X",
        help="factor on the simulated responses; 1: as the decoder was trained, 0: the control "
        "without information",
    )
    parser.add_argument(
        "--control",
        action="store_const",
        const=True,
        help="draw a noise control beside each picture (doubles the time of a picture)",
    )
    parser.add_argument("--seed", type=int, default=None, metavar="N")
    parser.add_argument(
        "--fast",
        action="store_true",
        help="no LSL and no waiting: the same brain and path under a virtual clock (for controls)",
    )
    add_device(parser)
    add_remote(parser)
    parser.add_argument(
        "--attend",
        action="store_true",
        help="a virtual person looks at flickering pictures, in a window after its warning, or "
        "with --headless under a virtual clock: `phosphene attend` has more options",
    )
    add_align(parser)
    add_gallery(parser)
    parser.add_argument("--preset", default="demo")
    add_outputs(parser)
    add_out(parser)
    parser.add_argument("--json", action="store_true", help="print summary.json at the end")


def run(args: argparse.Namespace) -> int:
    """Run the demo in a window, or headless when asked or when there is no display."""
    if args.attend:
        return _attend(args)
    from configs import load_preset

    config = apply_overrides(
        load_preset(args.preset),
        {
            "seed": args.seed,
            "simulation.subject_number": args.subject,
            "simulation.board": args.board,
            "simulation.snr": args.snr,
            "decoder.control": args.control,
            "decoder.align": args.align,
            **device_overrides(args),
            **output_overrides(args),
            **remote_overrides(args),
            "gallery": gallery_named(args.gallery),
        },
    )
    problem = "" if args.headless or args.fast else window_problem()
    if not (args.headless or args.fast or problem):
        from app.commands.gui import run_window
        from app.runtime.factory import RuntimeFactory

        factory = RuntimeFactory(out=args.out, duration=args.duration)
        return run_window(factory, config, autostart_demo=True, duration=args.duration)
    from app.runtime.launch import accelerated_session, demo_session

    duration = 60.0 if args.duration is None else args.duration
    make = accelerated_session if args.fast else demo_session
    note = f"{problem} The demo goes on headless." if problem else ""
    return watch(
        lambda: make(config, out=args.out, duration=duration),
        note=note,
        as_json=args.json,
        expected=duration,
    )


def _attend(args: argparse.Namespace) -> int:
    """Run `phosphene attend` on its virtual person, with those options that it has."""
    from app.commands import attend
    from app.errors import AppError

    others = {
        "--duration": args.duration,
        "--board": args.board,
        "--control": args.control,
        "--align": args.align,
    }
    strange = [name for name, value in others.items() if value is not None]
    if strange or args.fast or args.preset != "demo":
        name = (strange or (["--fast"] if args.fast else ["--preset"]))[0]
        raise AppError(
            f"{name} and --attend given, expected one of them: see `phosphene attend --help`."
        )
    given = {
        "--person": args.subject,
        "--snr": args.snr,
        "--seed": args.seed,
        "--gallery": args.gallery,
        "--out": args.out,
    }
    words = ["attend", "--cued", *(["--json"] if args.json else [])]
    words += ["--headless"] if args.headless else []
    for option, value in given.items():
        words += [] if value is None else [option, str(value)]
    parser = argparse.ArgumentParser(prog="phosphene")
    attend.add_parser(parser.add_subparsers())
    return attend.run(parser.parse_args(words))
