"""What several commands share: settings from the command line, watching a session to its end."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from app.ending import FINISHING, orderly
from app.foreign import without_foreign_fallback
from app.output import clear_progress, show_progress, write_json, write_lines, write_note
from configs import ConfigError, LoadedConfig, SessionConfig, load_preset, read_config
from configs.guard import UnfitFileError, check_tree
from configs.units import UNITS
from pipeline.extras import extras_named

if TYPE_CHECKING:
    from app.accuracy import Accuracy
    from app.port import Snapshot
    from app.runtime.session import Session
    from devices.choosing import StreamChoice


def positive(text: str) -> float:
    """Read a time or a factor that must be above 0 and finite; for argparse's `type`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} given, expected a number above 0, such as 30")
    return value


def address(text: str) -> str:
    """Read `HOST:PORT`; for argparse's `type`."""
    from app.errors import OutputError
    from app.outputs.addresses import split_address

    try:
        split_address(text)
    except OutputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def port(text: str) -> int:
    """Read a port, 0 for any free one; for argparse's `type`."""
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} given, expected a port from 0 to 65535")
    return int(text)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add `--preset` and `--config`, which `load` takes."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--preset", default=None, metavar="NAME")
    which.add_argument(
        "--config",
        type=Path,
        default=None,
        metavar="FILE",
        help="TOML settings, such as an earlier run's session.toml",
    )


def add_fallback(parser: argparse.ArgumentParser) -> None:
    """Add `--fallback`, for what records."""
    parser.add_argument(
        "--fallback",
        type=Path,
        default=None,
        metavar="DIR",
        help="folder where the recording goes on when its own disk fails",
    )


def add_source_options(parser: argparse.ArgumentParser, *, where: str, markers: str) -> None:
    """Add which streams and channels are meant, and what they may lack; see `stream_overrides`."""
    add_choice_options(parser, where=where, markers=markers)
    parser.add_argument(
        "--picks",
        "--channels",
        default=None,
        metavar="LABELS",
        help="channels to use, with commas, whatever their type (all of type EEG); a 10-20 site "
        "such as PO7 also where the channels have other names, by their positions",
    )
    add_channel_options(parser)


def add_any_host(parser: argparse.ArgumentParser) -> None:
    """Add `--any-host`, for what reads live streams."""
    parser.add_argument(
        "--any-host",
        action="store_true",
        default=None,
        help="take a lost stream's namesake on another machine for the stream that has returned",
    )


def add_choice_options(parser: argparse.ArgumentParser, *, where: str, markers: str) -> None:
    """Add which streams are meant; see `choice_overrides`.

    `where` says where the EEG stream is looked for, `markers` what `--markers` means.
    """
    parser.add_argument(
        "--source-id",
        default=None,
        metavar="ID",
        help=f"source_id of the EEG stream {where} (or its uid, or source_id@host)",
    )
    parser.add_argument(
        "--name", default=None, help=f"name of the EEG stream {where}, whatever its type"
    )
    parser.add_argument("--markers", default=None, metavar="ID", help=markers)
    parser.add_argument(
        "--marker-column",
        default=None,
        metavar="NAME|N",
        help="the column with the label, of markers with several (value, time, duration)",
    )


def add_channel_options(parser: argparse.ArgumentParser) -> None:
    """Add what a stream, or its recording, may not say of its channels."""
    parser.add_argument(
        "--montage",
        default=None,
        metavar="LABELS|NAME|FILE",
        help="labels for a stream that sends none: with commas, cyton, daisy, or a file of them",
    )
    parser.add_argument(
        "--unit",
        default=None,
        choices=UNITS,
        help="unit of the samples for a stream that does not say",
    )


def add_out(parser: argparse.ArgumentParser, *, suffix: str = "") -> None:
    """Add `--out`, the session folder."""
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        metavar="DIR",
        help=f"session folder, new or empty (sessions/DATE-TIME{suffix})",
    )


def add_gallery(parser: argparse.ArgumentParser) -> None:
    """Add `--gallery`, whose value `gallery_named` takes."""
    parser.add_argument(
        "--gallery",
        default=None,
        metavar="DIR|NAME",
        help="pictures to show and identify among (the shipped): see `phosphene gallery list`",
    )


def gallery_named(given: str | None) -> str | None:
    """Return `--gallery` as a setting: a folder by its whole path, for who reads it elsewhere.

    Raises
    ------
    GalleryError
        There is no such gallery, or it is not whole.
    """
    if given is None:
        return None
    from pipeline.gallery import load_gallery

    folder = load_gallery(given).folder
    return str(folder.resolve()) if folder is not None and Path(given).is_dir() else given


def add_align(parser: argparse.ArgumentParser) -> None:
    """Add `--align`."""
    parser.add_argument(
        "--align",
        action="store_true",
        default=None,
        help="follow the person without labels: the noise and, without an adapter, the latencies",
    )


def add_generator(parser: argparse.ArgumentParser) -> None:
    """Add what draws."""
    parser.add_argument(
        "--generator",
        default=None,
        metavar="NAME|FOLDER",
        help="what draws: a name of `phosphene systems`, a folder of weights (diffusers' layout, "
        "too) or a .safetensors file; the system's own",
    )
    parser.add_argument(
        "--vae",
        choices=("auto", "tiny", "full"),
        default=None,
        help="autoencoder of a Stable Diffusion: the tiny one where it is there (auto)",
    )


def generator(args: argparse.Namespace) -> str | None:
    """What `--generator` gives: a name as it is, a folder or file as it is found from anywhere."""
    text: str | None = args.generator
    is_path = text and (Path(text).is_dir() or (Path(text).suffix and Path(text).is_file()))
    return str(Path(text).resolve()) if text and is_path else text


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add where and by what pictures are drawn."""
    parser.add_argument(
        "--device",
        default=None,
        metavar="D",
        help="where pictures are drawn: cpu, cuda, cuda:1, mps, or auto; as the settings say",
    )
    parser.add_argument(
        "--backend",
        default=None,
        metavar="B",
        help="what runs the networks: eager, onnxruntime, openvino, trace, inductor, tensorrt, or "
        "auto, the fastest that is here; as the settings say",
    )
    parser.add_argument(
        "--dtype",
        default=None,
        metavar="T",
        help="what they compute in: float32, bfloat16, float16, or auto; as the settings say",
    )


def add_remote(parser: argparse.ArgumentParser) -> None:
    """Add the server that decodes, for what decodes live."""
    parser.add_argument(
        "--remote",
        default=None,
        metavar="URL",
        help="decode on a server (`phosphene serve`), https://HOST:PORT: EEG leaves this machine; "
        "here while the server is away",
    )
    parser.add_argument(
        "--remote-ticket",
        type=Path,
        default=None,
        metavar="FILE",
        help="the ticket for that server, which its owner made",
    )


def remote_overrides(args: argparse.Namespace) -> dict[str, Any]:
    """What was said of a server, for `apply_overrides`."""
    ticket = args.remote_ticket
    return {
        "decoder.remote": args.remote,
        "decoder.ticket": None if ticket is None else str(ticket.resolve()),
    }


def device_overrides(args: argparse.Namespace) -> dict[str, Any]:
    """What was said of them, for `apply_overrides`."""
    return {f"decoder.{name}": getattr(args, name) for name in ("device", "backend", "dtype")}


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add where results go beside LSL; see `output_overrides`."""
    parser.add_argument(
        "--osc",
        type=address,
        default=None,
        metavar="HOST:PORT",
        help="send embedding, class, confidence and quality as OSC there (extra `osc`)",
    )
    parser.add_argument(
        "--feed",
        nargs="?",
        type=port,
        const=0,
        default=None,
        metavar="PORT",
        help="serve pictures and events to programs on this machine that have the token; its "
        "address is said at the start (any free port)",
    )
    parser.add_argument(
        "--lab-recorder",
        nargs="?",
        type=address,
        const="127.0.0.1:22345",
        default=None,
        metavar="HOST:PORT",
        help="let a running LabRecorder record along (127.0.0.1:22345)",
    )


def output_overrides(args: argparse.Namespace) -> dict[str, Any]:
    """What was said of them, for `apply_overrides`.

    Raises
    ------
    MissingExtraError
        OSC is asked for and python-osc is not installed.
    """
    if args.osc is not None:
        with extras_named("--osc"):
            import pythonosc  # noqa: F401
    return {f"outputs.{name}": getattr(args, name) for name in ("osc", "feed", "lab_recorder")}


def stream_overrides(args: argparse.Namespace) -> dict[str, Any]:
    """What was said of the streams and their channels, for `apply_overrides`."""
    from devices.montage import read_montage

    return choice_overrides(args) | {
        "source.ch_names": None if args.montage is None else list(read_montage(args.montage)),
        "source.unit": args.unit,
        "source.picks": None if args.picks is None else _words(args.picks),
    }


def choice_overrides(args: argparse.Namespace) -> dict[str, Any]:
    """Which streams were asked for, for `apply_overrides`."""
    return {
        "source.source_id": args.source_id,
        "source.name": args.name,
        "markers.source_id": args.markers,
        "markers.column": args.marker_column,
    }


def stream_choice(args: argparse.Namespace, config: SessionConfig) -> StreamChoice:
    """Which streams of a recording are meant, by the command line and the settings."""
    from devices.choosing import StreamChoice

    return StreamChoice(
        source=config.source,
        markers=config.markers,
        must_fit=args.source_id is not None or args.name is not None,
        markers_must_fit=args.markers is not None,
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def load(preset: str | None, config: Path | None, *, fallback: Path | None = None) -> SessionConfig:
    """Load `--preset` or `--config`; the default preset when neither is given."""
    return load_run(preset, config, fallback=fallback).config


def load_run(
    preset: str | None, config: Path | None, *, fallback: Path | None = None
) -> LoadedConfig:
    """Load as `load` does, with what a `session.toml` says of its run.

    `fallback` is `--fallback`: the user's own word, where the file's would not do.
    """
    if config is None:
        loaded = LoadedConfig(load_preset(preset or "default"))
    else:
        loaded = read_config(config)
        for sentence in loaded.warnings:
            write_note(f"Note: {sentence}")
    if fallback is not None:
        chosen = apply_overrides(loaded.config, {"recording.fallback": str(fallback)})
        return replace(loaded, config=chosen)
    if config is None:
        return loaded
    own, sentence = without_foreign_fallback(loaded, config)
    if sentence:
        write_note(f"Note: {sentence}")
    return replace(loaded, config=own)


def apply_overrides(config: SessionConfig, overrides: Mapping[str, Any]) -> SessionConfig:
    """Set dotted keys that are not None; raise `ConfigError` naming the first that cannot be."""
    table = config.to_table()
    for dotted, value in overrides.items():
        if value is None:
            continue
        *parents, key = dotted.split(".")
        target = table
        for parent in parents:
            target = target.setdefault(parent, {})
        target[key] = value
    try:
        return SessionConfig.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{key} = {first.get('input')!r}: {first['msg']}") from None


def watch(
    make: Callable[[], Session],
    *,
    note: str = "",
    as_json: bool = False,
    expected: float | None = None,
) -> int:
    """Make and start a session, show its progress on a terminal, wait for its end, say how it went.

    Ctrl-C, SIGTERM and SIGHUP end it at once and whole: what was decoded so far is finished.
    """
    from app.port import Phase, kind_of

    said: set[str] = set()
    with orderly() as end:
        session = make()
        is_free = session.config.epochs.mode == "free"
        if note:
            write_note(note)
        with orderly(FINISHING):
            session.start()
            while not session.wait(0.1):
                if end.asked.is_set():
                    session.request_stop(at_once=True)
                snapshot = session.snapshot()
                _say_new((*snapshot.outputs, *snapshot.warnings), said)
                show_progress(_progress_line(snapshot, expected, is_free=is_free))
    clear_progress()
    snapshot = session.snapshot()
    summary = session.out / "summary.json"
    ended: dict[str, Any] = {}
    if summary.is_file():  # a folder that could not be finished has none
        ended = json.loads(summary.read_text(encoding="utf-8"))
    if as_json and ended:
        write_json(ended)
    for sentence in snapshot.warnings:
        if sentence not in said:  # or with its last numbers
            write_note(f"Note: {sentence}")
    said.update(snapshot.warnings, map(kind_of, snapshot.warnings))
    for sentence in ended.get("warnings", ()):  # what is known at the end only, as lost samples
        is_closing = sentence.startswith("Identification (")
        if not (is_closing or sentence in said or kind_of(sentence) in said):
            write_note(f"Note: {sentence}")
    if snapshot.phase is Phase.FAILED:
        write_note(f"phosphene: {snapshot.message}")
        return 1
    if not as_json:
        write_lines(_closing_lines(snapshot, is_free=is_free))
    return end.code


def check_given(*paths: Path | None) -> None:
    """Refuse files and folders of the command line that would hang or flood who reads them.

    Raises
    ------
    AppError
        A pipe, a device or a socket, also somewhere below a folder; what is missing, its reader
        says better.
    """
    from app.errors import AppError

    for path in paths:
        try:
            if path is not None:
                check_tree(path)
        except UnfitFileError as error:
            raise AppError(
                f"{error.filename} cannot be read ({error}): give what is on the disk."
            ) from None
        except OSError:
            continue


def _say_new(warnings: Sequence[str], said: set[str]) -> None:
    """Say each warning when it comes; one that differs in its numbers only has been said."""
    from app.port import kind_of

    for sentence in warnings:
        kind = kind_of(sentence)
        if kind not in said:
            said |= {kind, sentence}
            say_above_progress(sentence)


def say_above_progress(sentence: str) -> None:
    """Say something at once, whatever progress is drawn."""
    clear_progress()
    write_note(f"Note: {sentence}")


def _progress_line(snapshot: Snapshot, expected: float | None, *, is_free: bool) -> str:
    found = snapshot.accuracy
    right = "" if found is None else f", {found.n_correct} of {found.n} identified"
    length = f"{snapshot.duration:5.1f} s" + ("" if expected is None else f" of ~{expected:g} s")
    is_busy = not snapshot.decoder.startswith(("ready", "off"))
    decoder = f"  decoder {snapshot.decoder}" if snapshot.decoder and is_busy else ""
    what = "windows" if is_free else "markers"
    return f"{length}  {snapshot.n_markers} {what}{right}  [{snapshot.message}]{decoder}"


def _closing_lines(snapshot: Snapshot, *, is_free: bool = False) -> list[str]:
    what = "Windows and markers" if is_free else "Markers"
    outcomes = ", ".join(f"{n} {name}" for name, n in snapshot.outcomes.items()) or "none"
    lines = [f"{what}: {snapshot.n_markers} ({outcomes})."]
    found = snapshot.accuracy
    if found is not None:
        from app.formatting import p_value
        from app.port import TOO_FEW

        figures = (
            TOO_FEW
            if found.is_few
            else f"{found.n_correct / found.n:.1%}; 95 % interval {found.low:.1%} to "
            f"{found.high:.1%}; chance {found.chance:.2%}; {p_value(found.p_value)}, valid at "
            "any time"
        )
        lines.append(
            f"Identified {found.n_correct} of {found.n} among {found.n_candidates} ({figures})."
        )
        lines += interval_above(found)
    from app.formatting import by_repetitions

    if summed := by_repetitions(snapshot.repetitions):
        lines.append(f"Identified by repetitions of a stimulus, evidence summed: {summed}.")
    if snapshot.eeg is not None and snapshot.eeg.is_simulated:
        from pipeline.virtual_brain.predicted import PREDICTED

        predicted = PREDICTED in snapshot.eeg.manufacturer
        code = f"from {PREDICTED}" if predicted else "by a code that decoders can know"
        lines.append(
            f"The signal was simulated, {code}: this says that the software works, and nothing of "
            "what a brain gives."
        )
    total = snapshot.stages.get("total_after_epoch")
    if total is not None:
        # A replay, and a demo that does not wait, have no arrival: their clock is not the present.
        is_live = any(snapshot.stages["arrival"])
        what = (
            "Picture after the epoch's end"
            if is_live
            else "Not live, so no latency: from cut epoch to picture, its wait for others included"
        )
        from app.runtime.statistics import N_RECENT

        # What the window shows, too; the report has the whole session's.
        which = f", last {N_RECENT}" if snapshot.outcomes.get("decoded", 0) > N_RECENT else ""
        lines.append(f"{what}{which}: p50 {total[0]:.0f} ms, p95 {total[1]:.0f} ms.")
    lines.append(f"Session folder: {snapshot.out} (open report.html in a browser).")
    return lines


def interval_above(found: Accuracy) -> list[str]:
    """Say of an interval above chance whose p is not small why both hold; else nothing."""
    from app.report.findings import INTERVAL_ABOVE, SIGNIFICANT

    if found.is_few or found.p_value < SIGNIFICANT or found.low <= found.chance:
        return []
    return [f"{INTERVAL_ABOVE} {found.n} pictures."]


def with_adapter(config: SessionConfig, *, is_meant: bool, asks: bool) -> SessionConfig:
    """Settings that follow the adapter; a session that is repeated has its own."""
    from app.contract import check_person, follow
    from app.output import ask

    folder = Path(str(config.decoder.adapter))
    check_person(config, folder, is_meant=is_meant, ask=ask if asks else None)
    config, sentence = follow(config, folder)
    say_above_progress(sentence)
    return config


def adapter_folder(reference: str) -> str:
    """Find an adapter by its id, or a path to its folder, for `decoder.adapter`."""
    from models.adapters import AdapterStore

    return str(AdapterStore().resolve(reference).resolve())
