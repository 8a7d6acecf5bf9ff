"""`phosphene generate`: pictures of recorded EEG, in every mode of a system."""

from __future__ import annotations

import argparse
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.common import (
    add_choice_options,
    add_device,
    add_generator,
    apply_overrides,
    check_given,
    choice_overrides,
    device_overrides,
    generator,
    load,
    stream_choice,
)
from app.commands.many import add_jobs, run_many
from app.ending import FINISHING, orderly
from app.errors import AppError
from app.output import clear_progress, show_progress, write_json, write_note, write_text
from configs import DecoderConfig, SessionConfig

if TYPE_CHECKING:
    from app.generation.pictures import Row
    from models.api import DrawingOptions
    from models.drawing import Drawer

MODES = ("separate", "fused", "progressive")
FAULTS = ("blocks_without_attention", "unit_norm_embeddings")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "generate",
        help="draw pictures of recorded EEG with a published system",
        description="Draw pictures of recorded EEG, in every mode of a system.",
        epilog="SYSTEM is one of `phosphene systems`, or a toy of a published one (its name with "
        "-toy): random weights, pictures that mean nothing.",
    )
    parser.add_argument("system", metavar="SYSTEM")
    parser.add_argument(
        "--weights", default=None, metavar="DIR", help="the system's folder; the installed one"
    )
    add_generator(parser)
    parser.add_argument(
        "--config", type=Path, default=None, metavar="FILE", help="TOML instead of SYSTEM's preset"
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        action="append",
        metavar="PATH",
        help="prepared THINGS-EEG2 (OUT/test of `train atm prepare`), a session folder, MNE epochs "
        "(-epo.fif) or a recording with markers; several, or a folder of them: see --jobs",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--board", default=None, metavar="NAME", help="of a BrainFlow CSV file")
    add_choice_options(
        parser, where="of the recording", markers="source_id of the recording's markers"
    )
    parser.add_argument("--picks", default=None, metavar="N,N-M", help="which items; all")
    averaging = parser.add_mutually_exclusive_group()
    averaging.add_argument(
        "--average",
        action="store_true",
        default=None,
        help="one picture a label, of the mean of its epochs (prepared data: always, as published)",
    )
    averaging.add_argument(
        "--single", action="store_false", dest="average", help="one picture an epoch"
    )
    parser.add_argument("--samples", type=int, default=1, metavar="N", help="pictures of one item")
    parser.add_argument("--steps", type=int, default=None, metavar="N", help="of the generator")
    parser.add_argument(
        "--prior-steps", type=int, default=None, metavar="N", help="of the priors, where there are"
    )
    parser.add_argument(
        "--guidance",
        type=float,
        default=None,
        metavar="SCALE",
        help="of the generator, 1: none; as the weights are set",
    )
    add_device(parser)
    parser.add_argument("--seed", type=int, default=None, metavar="N")
    add_jobs(parser, each="each recording or session of several")
    parser.add_argument(
        "--json", action="store_true", help="print generation.json (of several batch.json)"
    )
    _add_multimodal(parser.add_argument_group("systems with several modalities only"))


def _add_multimodal(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--mode",
        choices=(*MODES, "all"),
        default=None,
        help="each modality alone, all in one, or one more in each picture (fused)",
    )
    group.add_argument(
        "--adaptive",
        action="store_true",
        help="share the strength among modalities by how sure each prior is",
    )
    group.add_argument(
        "--oracle-prompt",
        action="store_true",
        help="give the true label away in the text prompt, as the original does",
    )
    group.add_argument(
        "--published-faults",
        action="store_true",
        help="repeat the original's faults in drawing (never the label in the prompt)",
    )
    group.add_argument(
        "--fault", action="append", choices=FAULTS, default=[], help="repeat this one fault"
    )


def run(args: argparse.Namespace) -> int:
    """Draw what was recorded: one input, or each of many."""
    from app.batch.inputs import recordings
    from app.generation.items import parse_picks

    parse_picks(args.picks)
    if args.samples < 1:
        raise AppError(f"--samples is {args.samples}, expected 1 or more.")
    for path in args.data:
        if not path.exists():  # before gigabytes are loaded
            raise AppError(f"{path}: no such file or folder, expected what --data says in --help.")
    try:
        inputs = recordings(args.data, out=args.out)
    except AppError:
        check_given(*args.data)  # a pipe is why there is nothing to read
        raise
    if args.jobs is None and [each.path for each in inputs] == args.data[:1]:
        return run_one(argparse.Namespace(**{**vars(args), "data": args.data[0]}))
    tasks = [(each, {"data": each.path}) for each in inputs]
    return run_many(args, run_one, tasks, given=("data",))


def run_one(args: argparse.Namespace) -> int:
    """Draw one input."""
    from app.generation.items import items_of, parse_picks
    from app.generation.pictures import ORACLE_WARNING, make_folder, write_report

    check_given(args.data)
    config, options = _config(args), _options(args)
    drawer = _drawer(config.decoder, options, config.gallery)
    modes = _modes(args.mode, drawer)
    make_folder(args.out)
    if options.adaptive and modes == ("separate",):
        raise AppError("--adaptive shares nothing in the mode separate: leave one of them out.")
    facts = drawer.facts() | {"weights": config.decoder.weights or "installed"}
    warnings = [ORACLE_WARNING] if options.oracle_prompt else []
    warnings += drawer.system.remarks
    for warning in warnings:
        write_note(f"Warning: {warning}")
    items = items_of(
        args.data,
        drawer,
        config,
        average=args.average,
        picks=parse_picks(args.picks),
        board=args.board,
        choice=stream_choice(args, config),
    )
    rows: dict[str, list[Row]] = {mode: [] for mode in modes}
    drawn: list[dict[str, Any]] = []
    with orderly() as end:
        for number, item in enumerate(items):
            if end.asked.is_set():
                end.grant(FINISHING)  # for the report
                warnings.append(f"Interrupted after {number} items: the others are not drawn.")
                break
            if options.oracle_prompt and not item.label:
                raise AppError(
                    f"item {item.index} of {args.data} has no label, expected one for "
                    "--oracle-prompt: prepared data need features/pictures.json."
                )
            drawn.append(_draw(args, drawer, item, rows, facts))
            show_progress(f"{number + 1} drawn")
    clear_progress()
    grids = _grids(args.out, rows)
    report = facts | {
        "data": str(args.data),
        "seed": config.seed,
        "modes": list(modes),
        "warnings": warnings,
        "grids": grids,
        "items": drawn,
    }
    path = write_report(args.out, report)
    if args.json:
        write_json(report)
        return end.code
    write_text(f"{len(drawn)} items drawn, {', '.join(modes)}: {path}")
    write_text("\n".join(f"Grid: {args.out / grid}" for grid in grids))
    return end.code


@lru_cache(maxsize=1)
def _drawer(config: DecoderConfig, options: DrawingOptions, gallery: str | None) -> Drawer:
    """Load a system; of many inputs all are drawn by the one that is loaded."""
    from models.drawing import open_drawer

    return open_drawer(config, options, gallery=gallery)


def _config(args: argparse.Namespace) -> SessionConfig:
    from app.generation.items import session_of

    preset = None if args.config is not None else _preset(args.system)
    session = session_of(args.data)
    # A session's pictures come out again, unless another seed is asked for.
    seed = args.seed if session is None or args.seed is not None else session.seed
    overrides = {
        "decoder.system": args.system,
        "decoder.weights": args.weights,
        "decoder.generator": generator(args),
        "decoder.vae": args.vae,
        "decoder.num_inference_steps": args.steps,
        "decoder.guidance_scale": args.guidance,
        **device_overrides(args),
        "seed": seed,
    }
    config = load(preset, args.config)
    if session is not None:  # a stream without labels got them from its session's settings
        update = {"source": session.source, "gallery": config.gallery or _gallery(session)}
        config = config.model_copy(update=update)
    return apply_overrides(config, overrides | choice_overrides(args))


def _gallery(session: SessionConfig) -> str | None:
    """A session's gallery, as far as it is still there; whoever has it not goes without."""
    from pipeline.errors import GalleryError
    from pipeline.gallery import load_gallery

    try:
        load_gallery(session.gallery)
    except GalleryError as error:
        write_note(f"Note: pictures are drawn without the session's gallery: {error}")
        return None
    return session.gallery


def _preset(system: str) -> str:
    """Preset whose epochs and filter fit a system."""
    from models.registry import find_system

    return find_system(system).descriptor.preset


def _options(args: argparse.Namespace) -> DrawingOptions:
    from models.api import DrawingOptions

    return DrawingOptions(
        adaptive=args.adaptive,
        oracle_prompt=args.oracle_prompt,
        faults=FAULTS if args.published_faults else tuple(args.fault),
        prior_steps=args.prior_steps,
    )


def _modes(asked: str | None, drawer: Drawer) -> tuple[str, ...]:
    if asked is None:
        return ("fused",) if "fused" in drawer.modes else drawer.modes
    if asked == "all" and len(drawer.modes) > 1:
        return drawer.modes
    if asked not in drawer.modes:
        raise AppError(
            f"{drawer.system.name} has no mode {asked!r}: leave --mode out, or choose a system "
            "with several modalities."
        )
    return (asked,)


def _draw(
    args: argparse.Namespace,
    drawer: Drawer,
    item: Any,
    rows: dict[str, list[Row]],
    facts: dict[str, Any],
) -> dict[str, Any]:
    from app.generation.pictures import MOST_ROWS, Row, write_row, write_shown

    entry: dict[str, Any] = {
        "index": item.index,
        "label": item.label,
        "averaged": item.n_averaged,
        "seed": item.seed,
        "images": {},
    }
    if item.shown is not None:
        entry["shown"] = write_shown(args.out, item.shown)
    for mode, kept in rows.items():
        for sample in range(args.samples):
            seed = item.seed + sample
            pictures, more = drawer.draw(item.embedding, seed=seed, mode=mode, label=item.label)
            row = Row(item, sample, pictures)
            entry |= more
            entry["images"] |= write_row(args.out, mode, row, seed=seed, facts=facts)
            if len(kept) < MOST_ROWS:  # for the grid; the others are on disk
                kept.append(row)
    return entry


def _grids(out: Path, rows: dict[str, list[Row]]) -> list[str]:
    from app.generation.pictures import draw_grid
    from app.runtime.folder import encode_png
    from app.runtime.writing import write_atomically

    names = []
    for mode, drawn in rows.items():
        name = f"grid-{mode}.png"
        write_atomically(out / name, encode_png(draw_grid(drawn), {"phosphene:mode": mode}))
        names.append(name)
    return names
