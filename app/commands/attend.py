"""`phosphene attend`: which of many flickering pictures somebody looks at, and its picture."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.common import (
    adapter_folder,
    add_channel_options,
    add_choice_options,
    add_gallery,
    add_generator,
    add_out,
    apply_overrides,
    check_given,
    choice_overrides,
    gallery_named,
    generator,
    positive,
    stream_choice,
    with_adapter,
)
from app.output import clear_progress, show_progress, write_json, write_lines, write_note

if TYPE_CHECKING:
    from app.attend.choosing import Pictures
    from app.attend.live import LiveSetup
    from app.attend.reading import Ended, Stepped
    from app.attend.session import AttendSession
    from app.view_models.attend.light import Flicker
    from configs import SessionConfig
    from devices.virtual.looker import Looker
    from pipeline.looks import Kind
    from pipeline.ports import Source

DEFAULT_LOOKS = 20


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "attend",
        help="decide which of many flickering pictures is attended to",
        description="Decide which of many flickering pictures somebody attends to, from the first "
        "look on and without calibration, and draw it. It reads which shown picture is attended "
        "to, mostly by where the eyes rest; it does not read imagination. Without --source-id and "
        "--replay a virtual person looks. A window shows the grid, after a warning about epilepsy "
        "and migraine that has to be answered there; headless, another program does: a marker "
        "stream whose metadata describes the codes (docs/attend.md).",
    )
    parser.add_argument(
        "--headless", action="store_true", help="without a window: another program shows the grid"
    )
    parser.add_argument(
        "--targets", type=int, default=None, metavar="N", help="pictures, 6 to 64 (20)"
    )
    parser.add_argument(
        "--cued", action="store_true", help="ask for a picture each time (the virtual person is)"
    )
    parser.add_argument("--looks", type=int, default=None, metavar="N", help="end after so many")
    parser.add_argument(
        "--replay", type=Path, default=None, metavar="FILE", help="a recording: XDF, or .npz trials"
    )
    add_choice_options(
        parser, where="of the person who looks", markers="source_id of the grid's markers"
    )
    add_channel_options(parser)
    parser.add_argument("--subject", default=None, metavar="S", help="subject code")
    parser.add_argument(
        "--adapter", default=None, metavar="ID", help="the person's: an id of `adapters list`"
    )
    parser.add_argument(
        "--other-person",
        action="store_true",
        help="the adapter is of another subject than --subject, and that is meant",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="make the person's adapter from looks that are asked for: 20 of 6.3 s",
    )
    parser.add_argument(
        "--compose",
        action="store_true",
        default=None,
        help="each choice is the start of the next: blends, neighbours, colours, styles, undo",
    )
    parser.add_argument(
        "--flash",
        action="store_true",
        help="the pictures light up one after the other (P300) instead of flickering",
    )
    parser.add_argument(
        "--person", type=int, default=1, metavar="N", help="number of the virtual person (1)"
    )
    parser.add_argument(
        "--snr", type=float, default=1.0, metavar="X", help="virtual response; 0: looks away"
    )
    parser.add_argument(
        "--drops", type=float, default=0.0, metavar="P", help="part of late frames (virtual)"
    )
    parser.add_argument(
        "--no-adapt", action="store_true", default=None, help="each look depends on itself alone"
    )
    parser.add_argument(
        "--trial-seconds", type=positive, default=None, metavar="T", help="length of every look, s"
    )
    parser.add_argument(
        "--error-rate",
        type=_rate,
        default=None,
        metavar="P",
        help="decisions that may be wrong (0.05)",
    )
    parser.add_argument(
        "--contrast",
        type=float,
        default=None,
        metavar="X",
        help="of the flicker in the window, 0.1 to 0.8 (0.6, Michelson)",
    )
    parser.add_argument(
        "--light",
        type=float,
        default=None,
        metavar="X",
        help="of the bright state, 0.1 to 0.8 of the screen's (0.7)",
    )
    parser.add_argument("--seed", type=int, default=None, metavar="N")
    add_gallery(parser)
    add_generator(parser)
    add_out(parser, suffix="-attend")
    parser.add_argument("--json", action="store_true", help="print the figures at the end")


def _rate(text: str) -> float:
    value = positive(text)
    if value >= 0.5:
        raise argparse.ArgumentTypeError(f"{text!r} given, expected below 0.5, such as 0.05")
    return value


def run(args: argparse.Namespace) -> int:
    """Read looks to the end."""
    from app.attend.calibrating import (
        N_LOOKS,
        Calibration,
        calibration_seconds,
        keep,
        open_adapter,
    )
    from app.attend.choosing import cues
    from app.attend.reading import LookOptions, past_revision, past_seconds
    from app.attend.session import SIMULATED_CHANGES, AttendSession, table_of
    from app.display import window_problem
    from app.ending import orderly
    from app.errors import AppError
    from app.runtime.folder import default_out
    from models.attend.learning import REVISION
    from models.weights import hash_file

    n_targets = 20 if args.targets is None else args.targets
    _check_usage(args, n_targets)
    past = _past(args.replay)
    config = _config(args, past)
    kind: Kind = "flash" if args.flash else "flicker"
    attend = past.get("run", {}).get("attend", {}) if past else {}
    options = LookOptions(
        error_rate=_given(args.error_rate, attend.get("error_rate"), 0.05),
        trial_seconds=_given(
            args.trial_seconds,
            past_seconds(attend),
            calibration_seconds(kind, n_targets) if args.calibrate else None,
        ),
        adapt=not _given(args.no_adapt, attend.get("no_adapt"), False),
        revision=past_revision(attend) if attend else REVISION,
    )
    composes = bool(_given(args.compose, attend.get("compose"), False))
    arithmetic = _arithmetic(attend)
    adapter = open_adapter(config, attend.get("adapter_sha256"))
    calibration = Calibration() if args.calibrate else None
    n_looks = N_LOOKS if args.calibrate and args.looks is None else args.looks
    is_virtual = args.replay is None and args.source_id is None and args.name is None
    if is_virtual and n_looks is None:
        n_looks = DEFAULT_LOOKS
    if not args.headless and args.replay is None:
        problem = window_problem()
        if not problem:
            from app.attend.live import LiveSetup

            looker = _looker(args, config) if is_virtual else None
            is_cued = args.cued or args.calibrate
            setup = LiveSetup(
                config,
                options,
                n_targets,
                n_looks,
                is_cued,
                looker,
                args.out,
                adapter,
                calibration,
                composes,
                _flicker(args),
                kind,
            )
            return _in_window(setup, as_json=args.json)
        if not is_virtual:
            raise AppError(f"{problem} With --headless another program shows the grid.")
        write_note(f"{problem} The virtual person goes on headless.")
    with orderly() as end:
        source = _open(args, config, n_targets, n_looks, end.asked)
        try:
            session = AttendSession(
                config,
                source,
                options,
                out=args.out or default_out(suffix="-attend"),
                pictures=_pictures(config, composes, arithmetic),
                cues=cues(config.seed, n_targets),
                n_looks=n_looks,
                adapter=adapter,
                calibration=calibration,
                n_changes=SIMULATED_CHANGES if is_virtual else None,
                run=table_of(options, adapter, composes=composes, arithmetic=arithmetic),
            )
            summary = session.play(is_asked_to_end=end.asked.is_set, on_event=_progress(session))
        finally:
            source.close()
        clear_progress()
        if calibration is not None and not end.code:
            recordings = {} if args.replay is None else {args.replay.name: hash_file(args.replay)}
            summary["calibration"] = keep(session.fitted(), config, recordings=recordings)
        _report(summary, session.labels, as_json=args.json)
        return end.code


def _check_usage(args: argparse.Namespace, n_targets: int) -> None:
    from app.errors import AppError

    check_given(args.replay)
    if not 6 <= n_targets <= 64:
        raise AppError(f"--targets {n_targets} given, expected 6 to 64.")
    if not 0 <= args.drops < 0.5 or not args.snr >= 0:
        raise AppError("--drops must be from 0 to below 0.5, and --snr 0 or above.")
    if args.person < 0:
        raise AppError(f"--person {args.person} given, expected 0 or more.")
    if args.looks is not None and args.looks < 1:
        raise AppError(f"--looks {args.looks} given, expected 1 or more.")
    _flicker(args)
    if args.calibrate and (args.subject is None or args.adapter is not None):
        raise AppError("--calibrate given, expected --subject S with it, and no --adapter.")


def _flicker(args: argparse.Namespace) -> Flicker:
    from app.errors import AppError
    from app.view_models.attend.light import Flicker

    given = {"contrast": args.contrast, "luminance": args.light}
    table = {name: value for name, value in given.items() if value is not None}
    if any(not 0.1 <= value <= 0.8 for value in table.values()):
        raise AppError("--contrast and --light go from 0.1 to 0.8: more is hard on the eyes.")
    return Flicker(**table)


def _looker(args: argparse.Namespace, config: SessionConfig) -> Looker:
    from devices.virtual.looker import Looker

    return Looker(args.person, args.snr, config.seed, args.drops)


def _in_window(setup: LiveSetup, *, as_json: bool) -> int:
    """Ask, show the grid and what is found; the window's end is the command's."""
    import pylsl
    from PySide6.QtCore import QTimer

    from app.attend.live import LiveAttend
    from app.commands.gui import SIGNAL_MS, application
    from app.ending import FINISHING, orderly
    from app.errors import AppError
    from app.views.attend.view import AttendView
    from app.views.common.theme import DARK, apply_theme

    app = application()
    apply_theme(app, DARK)
    live = LiveAttend(setup)
    view = AttendView(live, clock=pylsl.local_clock, flicker=setup.flicker)
    view.set_theme(DARK)
    with orderly(FINISHING) as end:
        view.over.connect(app.quit)
        asked = QTimer(view)
        asked.timeout.connect(lambda: app.quit() if end.asked.is_set() else None)
        asked.start(SIGNAL_MS)
        view.show()
        app.exec()
        asked.stop()
        view.close()
        view.shut_down()
    found = live.snapshot()
    if found.phase == "failed":
        raise AppError(found.message)
    if live.summary is None:
        write_note("Nothing flickered: the warning was not answered with yes.")
        return end.code
    _report(live.summary, found.labels, as_json=as_json)
    return end.code


def _report(summary: dict[str, Any], labels: Any, *, as_json: bool) -> None:
    from app.view_models.attend.words import HONEST

    figures = summary["attend"]
    calibration = summary.get("calibration")
    if calibration is not None:
        figures = figures | {"calibration": calibration, "adapter": calibration["adapter"]}
    if as_json:
        write_json(figures | {"is_simulated": summary["is_simulated"]})
    else:
        write_lines(_lines(figures, summary["is_simulated"], labels))
        if calibration is not None:
            write_lines([calibration["sentence"]])
        write_note(HONEST)


def _given(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _past(replay: Path | None) -> dict[str, Any]:
    """Settings of the session that is replayed, which lie beside its recording."""
    from configs.guard import TABLE_LIMIT, read_text

    if replay is None or not (replay.parent / "session.toml").is_file():
        return {}
    try:
        table = tomllib.loads(read_text(replay.parent / "session.toml", limit=TABLE_LIMIT))
    except (OSError, ValueError):
        return {}
    return table if isinstance(table.get("run", {}).get("attend"), dict) else {}


def _config(args: argparse.Namespace, past: dict[str, Any]) -> SessionConfig:
    from configs import load_config, load_preset
    from devices.montage import read_montage

    config = load_config(args.replay.parent / "session.toml") if past else load_preset("attend")
    config = apply_overrides(
        config,
        {
            **choice_overrides(args),
            "source.ch_names": None if args.montage is None else list(read_montage(args.montage)),
            "source.unit": args.unit,
            "seed": args.seed,
            "subject": args.subject,
            "gallery": gallery_named(args.gallery),
            "decoder.generator": generator(args),
            "decoder.adapter": None if args.adapter is None else adapter_folder(args.adapter),
        },
    )
    if args.flash and not past:
        from app.attend.opening import filtered

        config = filtered(config, "flash")
    if args.adapter is None:
        return config
    return with_adapter(config, is_meant=args.other_person, asks=not args.headless)


def _open(
    args: argparse.Namespace,
    config: SessionConfig,
    n_targets: int,
    n_looks: int | None,
    stop: Any,
) -> Source:
    if args.replay is not None:
        from devices.replay import RecordedSource

        return RecordedSource(args.replay, choice=stream_choice(args, config))
    if args.source_id is not None or args.name is not None:
        from app.attend.sources import open_live

        return open_live(config, stop)
    from app.view_models.attend.grid_frames import grid_for
    from devices.virtual.looker import LookerSource
    from pipeline.codes import FRAME_RATE

    labels = tuple(f"target {k}" for k in range(n_targets))
    grid = grid_for(labels, FRAME_RATE, "flash" if args.flash else "flicker")
    return LookerSource(_looker(args, config), grid, n_looks=n_looks or DEFAULT_LOOKS)


def _arithmetic(past: Mapping[str, Any]) -> int:
    """Return that of a composition: an earlier session's own, by its `[run.attend]`."""
    from app.attend.composing import ARITHMETIC
    from app.attend.reading import past_revision

    if not past.get("compose"):
        return ARITHMETIC
    return past_revision(past, key="arithmetic", newest=ARITHMETIC)


def _pictures(config: SessionConfig, composes: bool, arithmetic: int) -> Callable[[int], Pictures]:
    def make(n_targets: int) -> Pictures:
        from app.attend.choosing import choose_pictures
        from app.attend.drawing import Here

        return choose_pictures(
            config, Here(config), n_targets, composes=composes, arithmetic=arithmetic
        )

    return make


def _progress(session: AttendSession) -> Callable[[Stepped | Ended], None]:
    from app.attend.reading import Stepped

    def show(event: Stepped | Ended) -> None:
        if isinstance(event, Stepped):
            step = event.step
            show_progress(
                f"look {event.look + 1}  {step.seconds:4.1f} s  "
                f"{session.labels[step.best]} "
                f"{step.posterior.max():.0%}"
            )

    return show


def _lines(figures: dict[str, Any], is_simulated: bool, labels: Any) -> list[str]:
    lines = []
    for trial in figures["trials"]:
        # A composition's looks each have words of their own.
        target, answer = (
            None if trial[key] is None else trial.get(f"{key}_words", labels[trial[key]])
            for key in ("target", "decided")
        )
        decided = "not sure" if answer is None else answer
        asked = "" if target is None else f" (asked for: {target})"
        seconds = "-" if trial["seconds"] is None else f"{trial['seconds']:.1f} s"
        lines.append(f"Look {trial['look'] + 1}: {decided} after {seconds}{asked}")
    if figures["accuracy"] is not None:
        lines.append(
            f"{figures['accuracy']:.1%} of {figures['looks']} looks right (chance "
            f"{figures['chance']:.1%}), {figures['not_sure']} not sure, "
            f"{figures['bits_per_minute'] or 0:.1f} bits a minute."
        )
    if figures["trials"] and figures["not_sure"] == figures["looks"] and not figures["converged"]:
        lines.append(
            "Nothing was decided: the looks of somebody new teach, and are believed once some of "
            "them agree. Give more looks, or calibrate first (--calibrate)."
        )
    if is_simulated:
        lines.append("The EEG was simulated: this says nothing of people.")
    return lines
