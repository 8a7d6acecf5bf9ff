"""`phosphene run`: a live or replayed session."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.common import (
    adapter_folder,
    add_align,
    add_any_host,
    add_device,
    add_fallback,
    add_gallery,
    add_generator,
    add_out,
    add_outputs,
    add_remote,
    add_settings,
    add_source_options,
    apply_overrides,
    device_overrides,
    gallery_named,
    generator,
    load_run,
    output_overrides,
    positive,
    remote_overrides,
    say_above_progress,
    stream_choice,
    stream_overrides,
    watch,
    with_adapter,
)
from app.display import has_display

if TYPE_CHECKING:
    from app.runtime.session import Session


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "run",
        help="decode a live stream or a recording",
        description="Decode a live stream, or a recording, into pictures and a session folder.",
    )
    parser.add_argument("--headless", action="store_true", help="without a window")
    add_settings(parser)
    parser.add_argument(
        "--replay", type=Path, default=None, metavar="FILE", help="a recording instead of a stream"
    )
    parser.add_argument(
        "--speed",
        type=positive,
        default=None,
        metavar="X",
        help="pace of a replay; as fast as possible when not given",
    )
    parser.add_argument(
        "--board",
        default=None,
        metavar="NAME",
        help="BrainFlow board that recorded a replayed CSV file",
    )
    add_source_options(
        parser, where="(of the recording's with --replay)", markers="source_id of the markers"
    )
    parser.add_argument("--subject", default=None, metavar="S", help="subject code")
    parser.add_argument(
        "--adapter",
        default=None,
        metavar="ID",
        help="the person's adapter: an id of `phosphene adapters list`, or its folder",
    )
    parser.add_argument(
        "--other-person",
        action="store_true",
        help="the adapter is of another subject than --subject, and that is meant",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        default=None,
        metavar="DIR",
        help="folder of the decoding system's weights (the installed ones)",
    )
    add_generator(parser)
    add_device(parser)
    add_remote(parser)
    add_align(parser)
    add_gallery(parser)
    parser.add_argument(
        "--retrieval",
        type=Path,
        default=None,
        metavar="DIR",
        help="store of vectors (`phosphene gallery make TABLE`) to show the nearest ones of",
    )
    add_fallback(parser)
    add_any_host(parser)
    parser.add_argument("--seed", type=int, default=None, metavar="N")
    parser.add_argument("--duration", type=positive, default=None, metavar="S")
    add_outputs(parser)
    add_out(parser)
    parser.add_argument("--json", action="store_true", help="print summary.json at the end")


def run(args: argparse.Namespace) -> int:
    """Run the session."""
    from app.runtime.launch import live_session, replay_session

    loaded = load_run(args.preset, args.config, fallback=args.fallback)
    config = apply_overrides(
        loaded.config,
        {
            **stream_overrides(args),
            "source.any_host": args.any_host,
            "seed": args.seed,
            "subject": args.subject,
            "decoder.adapter": None if args.adapter is None else adapter_folder(args.adapter),
            "decoder.weights": None if args.weights is None else str(args.weights.resolve()),
            "decoder.generator": generator(args),
            "decoder.vae": args.vae,
            **device_overrides(args),
            **output_overrides(args),
            **remote_overrides(args),
            "decoder.align": args.align,
            "gallery": gallery_named(args.gallery),
            "retrieval": None if args.retrieval is None else str(args.retrieval.resolve()),
        },
    )
    if config.decoder.adapter is not None and not loaded.run:
        config = with_adapter(config, is_meant=args.other_person, asks=not args.headless)
    if not args.headless and args.replay is None and has_display():
        from app.commands.gui import run_window
        from app.runtime.factory import RuntimeFactory

        factory = RuntimeFactory(out=args.out, duration=args.duration)
        return run_window(factory, config, autostart_demo=False, duration=args.duration)

    def make() -> Session:
        if args.replay is None:
            return live_session(config, out=args.out, duration=args.duration)
        return replay_session(
            config,
            args.replay,
            out=args.out,
            speed=args.speed,
            duration=args.duration,
            board=args.board,
            recorded=loaded.run,
            say=say_above_progress,
            choice=stream_choice(args, config),
        )

    return watch(make, as_json=args.json, expected=args.duration)
