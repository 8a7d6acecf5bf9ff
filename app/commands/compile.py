"""`phosphene compile`: builds the engines for this machine ahead of time."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from app.commands.common import (
    add_device,
    add_generator,
    add_settings,
    apply_overrides,
    device_overrides,
    generator,
    load,
)
from app.formatting import DASH, size
from app.output import clear_progress, show_progress, table, write_json, write_text

if TYPE_CHECKING:
    from models.ahead import Built


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "compile",
        help="build the engines for this machine ahead of time",
        description="Build the engines that sessions draw by, hold each against eager, and measure "
        "it: every back-end that is installed, or the one that --backend names (inductor only so, "
        "for it takes minutes).",
    )
    add_settings(parser)
    add_generator(parser)
    add_device(parser)
    parser.add_argument("--fresh", action="store_true", help="build anew what is there already")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """Build, and say what it gives; 1 where nothing could be built."""
    from app.errors import AppError
    from models.ahead import build_ahead
    from models.sampling.backends.cache import EngineCache
    from models.sampling.backends.choice import choose

    config = apply_overrides(
        load(args.preset, args.config),
        {
            "decoder.generator": generator(args),
            "decoder.vae": args.vae,
            **device_overrides(args),
        },
    ).decoder
    choice = choose(config)
    if choice.first[0].name == "eager":
        raise AppError(
            f"{choice.why}, which needs no engine: name a back-end (--backend), or auto."
        )
    built = []
    for each in build_ahead(config, say=show_progress, is_fresh=args.fresh):
        clear_progress()
        built.append(each)
        if not args.json:
            write_text(_line(each))
    usable = [each for each in built if not each.reason]
    if not usable:
        raise AppError("; ".join(f"{each.backend}: {each.reason}" for each in built))
    folder = EngineCache().folder
    if args.json:
        document = {"engines": [asdict(each) for each in built], "folder": str(folder)}
        write_json({"backend": usable[0].backend, "faster": choice.faster, **document})
        return 0
    write_text(f"\n{_table(usable)}\n")
    write_text(f"Engines are kept in {folder}.")
    first = usable[0].backend
    if config.backend == "auto":
        write_text(f"Sessions whose decoder.backend is auto draw by {first} here.")
    if choice.faster:
        write_text(f"It may be faster still: {choice.faster}.")
    return 0


def _line(built: Built) -> str:
    if built.reason:
        return f"{built.backend}: not used: {built.reason}"
    kept = "kept" if built.is_kept else "made anew in each process"
    return f"{built.backend}: checked against eager, {kept}."


def _table(built: list[Built]) -> str:
    headings = ("back-end", "type", "size", "time", "deviation", "allowed", "picture", "eager", "")
    return table(
        headings,
        [
            (
                each.backend,
                each.dtype,
                size(each.n_bytes) if each.n_bytes else DASH,
                f"{each.seconds:.1f} s",
                f"{each.deviation:.2g}",
                f"{each.tolerance:g}",
                f"{1000 * each.picture:.1f} ms",
                f"{1000 * each.eager:.1f} ms",
                f"{each.eager / each.picture:.2f}x",
            )
            for each in built
        ],
    )
