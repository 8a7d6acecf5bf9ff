"""`phosphene evaluate`: how good drawn pictures are, with intervals, chance and an audit."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.common import (
    add_choice_options,
    apply_overrides,
    check_given,
    choice_overrides,
    load,
    stream_choice,
    watch,
)
from app.commands.many import add_jobs, run_many
from app.ending import FINISHING, orderly
from app.errors import AppError
from app.output import clear_progress, show_progress, table, write_json, write_note, write_text
from app.recordings import recordings_below
from app.runtime.folder import RECORDING

if TYPE_CHECKING:
    from app.batch.inputs import Input
    from app.evaluation.figures import SetFigures
    from configs import SessionConfig
    from devices.choosing import StreamChoice
    from models.evaluation.audit import Material
    from models.evaluation.checks import Check
    from models.evaluation.measuring import Pictures
    from models.evaluation.networks import Network

LEARNT_STAMP = (
    "Trials that the decoder had learnt from are counted (--with-learnt): these are no figures of "
    "a test."
)


@dataclass(frozen=True, slots=True)
class _Beside:
    """What a report says beside its sets of pictures."""

    checks: Sequence[tuple[str, Check]]
    networks: Sequence[Network]
    absent: Sequence[str]
    choice: dict[str, Any] | None
    stamps: Sequence[str]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure decoded pictures: scores with intervals and chance, an audit, a report",
        description="Measure drawn pictures beside what was shown: of sessions, of any system's "
        "folders or tensors, or of recordings that are decoded now. Writes report.html and "
        "evaluation.json into --out.",
        epilog="Networks of published protocols are never downloaded: --networks names a folder "
        "that holds them (docs/evaluation.md); without it a packaged network judges, and what is "
        "left out is said.",
    )
    what = parser.add_argument_group("what is measured")
    what.add_argument(
        "--session",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a session folder; several are compared (with --jobs: each by itself, and a folder of "
        "them is taken, too)",
    )
    what.add_argument("--drawn", type=Path, metavar="DIR", help="pictures of any system")
    what.add_argument("--shown", type=Path, metavar="DIR", help="what was shown, beside --drawn")
    what.add_argument("--pairs", type=Path, metavar="CSV", help="columns drawn, shown (and item)")
    what.add_argument(
        "--tensors",
        type=Path,
        nargs=2,
        metavar=("DRAWN", "SHOWN"),
        help="tensors (n, 3, h, w), as MindEye's evaluation saves them; read as data",
    )
    what.add_argument(
        "--generated",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a folder that `phosphene generate` wrote",
    )
    what.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="a recording, or a folder of recordings: decoded by each --system, or audited alone",
    )
    what.add_argument("--system", action="append", default=[], metavar="NAME")
    what.add_argument(
        "--join",
        action="store_true",
        help="the --session folders of one system and adapter are one set",
    )
    parser.add_argument("--audit", action="store_true", help="look for leaks as well")
    parser.add_argument(
        "--baselines",
        action="store_true",
        help="of sessions: what their generator draws of noise, of random vectors and of the mean "
        "vector, measured alike (draws up to 300 pictures a session)",
    )
    parser.add_argument(
        "--labels",
        default=None,
        metavar="EVENT[=CLASS],...",
        help="markers of --data that are classes, for the audit; every label",
    )
    parser.add_argument(
        "--train-pictures",
        type=Path,
        metavar="DIR",
        help="pictures that the decoder was trained on, for the audit (beside --shown)",
    )
    parser.add_argument(
        "--fitted",
        type=Path,
        metavar="NPZ",
        help="means, deviations or covariances that a system applies, for the audit (beside --data "
        "and --train-data)",
    )
    parser.add_argument(
        "--train-data",
        type=Path,
        metavar="PATH",
        help="recordings that a system was trained on, for --fitted",
    )
    parser.add_argument(
        "--choose",
        default=None,
        metavar="MEASURE",
        help="name the best of several sets by a measure (its `name` in evaluation.json): chosen "
        "on half of the stimuli, its figure is of the others",
    )
    parser.add_argument(
        "--choose-split",
        choices=("stimulus", "block", "session", "person"),
        default="stimulus",
        help="choose on half of the stimuli (the default), of the sessions or of the people, or on "
        "the first half in time",
    )
    parser.add_argument(
        "--choose-on-test",
        action="store_true",
        help="choose on everything, with --choose; the report is stamped",
    )
    parser.add_argument(
        "--with-learnt",
        action="store_true",
        help="count trials that the decoder learnt from; the report is stamped",
    )
    parser.add_argument("--networks", type=Path, metavar="DIR", help="weights of further judges")
    parser.add_argument("--board", default=None, metavar="NAME", help="of a BrainFlow CSV file")
    add_choice_options(
        parser, where="of the recording", markers="source_id of the recording's markers"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="a new folder")
    add_jobs(parser, each="a report for each session, recording and system, generated folder,")
    parser.add_argument(
        "--json", action="store_true", help="print evaluation.json (with --jobs batch.json)"
    )


def run(args: argparse.Namespace) -> int:
    """Measure."""
    _check(args)
    return run_one(args) if args.jobs is None else _run_each(args)


def _run_each(args: argparse.Namespace) -> int:
    """Measure each by itself, in processes."""
    from app.batch.inputs import Input, recordings, sessions
    from app.evaluation.collecting import collect

    for name in ("drawn", "tensors", "choose", "fitted", "train_pictures", "join"):
        if vars(args)[name]:
            option = name.replace("_", "-")
            raise AppError(f"--{option} is for one report, expected it without --jobs.")
    if args.out is None:
        raise AppError("--jobs needs --out, expected a folder to go on in after an end.")
    nothing: dict[str, Any] = {"session": [], "generated": [], "data": None, "system": []}
    tasks: list[tuple[Input, dict[str, Any]]] = [
        (each, nothing | {"session": [each.path]}) for each in sessions(args.session, out=args.out)
    ]
    tasks += [
        (Input(folder, folder.resolve().name), nothing | {"generated": [folder]})
        for folder in args.generated
    ]
    for each in recordings([args.data] if args.data else [], out=args.out):
        named = [(Input(each.path, f"{each.name}-{name}"), [name]) for name in args.system]
        tasks += [
            (one, nothing | {"data": one.path, "system": system})
            for one, system in named or [(each, [])]
        ]
    return run_many(
        args,
        run_one,
        tasks,
        given=tuple(nothing),
        finish=lambda folders: collect(args.out, folders),
    )


def run_one(args: argparse.Namespace) -> int:
    """Measure into one report."""
    from app.generation.pictures import make_folder
    from app.runtime.folder import default_out

    if args.out is not None:
        make_folder(args.out)
    out = args.out or default_out(suffix="-evaluation")
    sets, remarks = _sets(args, _decoded_now(args, out))
    checks = _audit(args, sets) if args.audit else []
    networks, absent = _networks(args) if sets else ([], [])
    found: list[SetFigures] = []
    for number, each in enumerate(sets, 1):
        found.append(_measure(args, each, networks, f"{number} of {len(sets)}: {each.name}"))
    clear_progress()
    choice = _choose(args, found, sets)
    stamps = (*remarks, *[LEARNT_STAMP] * args.with_learnt)
    with orderly(FINISHING) as end:
        measured = list(zip(found, sets, strict=True))
        beside = _Beside(checks, networks, absent, choice, stamps)
        report = _write(out, args, measured, beside)
    if args.json:
        write_json(report)
    else:
        _say(found, beside, out)
    return end.code


def _check(args: argparse.Namespace) -> None:
    kinds = (
        *(bool(each) for each in (args.session, args.generated)),
        *(each is not None for each in (args.drawn, args.tensors)),
    )
    if not any(kinds) and args.data is None:
        raise AppError(
            "nothing to measure was given, expected --session DIR, --drawn DIR --shown DIR, "
            "--tensors DRAWN SHOWN, --generated DIR, or --data PATH with --system NAME or --audit."
        )
    if (args.drawn is None) != (args.shown is None) and args.train_pictures is None:
        raise AppError("--drawn and --shown belong together, expected both folders.")
    if args.pairs is not None and args.drawn is None:
        raise AppError("--pairs names pairs of --drawn and --shown, expected both folders too.")
    if args.data is not None and not args.system and not args.audit:
        raise AppError("--data was given alone, expected --system NAME to decode it, or --audit.")
    if args.system and args.data is None:
        raise AppError("--system decodes --data, expected a recording or a folder of them.")
    if args.join and (args.baselines or not args.session):
        raise AppError("--join makes one set of --session folders, expected them, no --baselines.")
    if args.baselines and not (args.session or args.system):
        raise AppError(
            "--baselines draws with a session's own generator, expected --session DIR, or --data "
            "with --system NAME."
        )
    if args.train_pictures is not None and not (args.audit and args.shown is not None):
        raise AppError(
            "--train-pictures is compared with what a test showed, expected --audit and --shown."
        )
    if (args.fitted is None) != (args.train_data is None) or (
        args.fitted is not None and (args.data is None or args.system or not args.audit)
    ):
        raise AppError(
            "--fitted is compared with what it was fitted on and what it was tested on, expected "
            "--audit, --train-data PATH and --data PATH beside it (and no --system)."
        )
    if args.choose_on_test and args.choose is None:
        raise AppError("--choose-on-test says where --choose looks, expected --choose MEASURE too.")
    check_given(args.data, args.pairs, args.fitted, args.train_data)


def _decoded_now(args: argparse.Namespace, out: Path) -> dict[str, list[Path]]:
    """Decode every recording of `--data` with every system; session folders by system."""
    from app.recordings import person_of
    from app.runtime.launch import replay_session

    decoded: dict[str, list[Path]] = {}
    for name in dict.fromkeys(args.system):
        for number, recording in enumerate(_recordings(args.data), 1):
            person = person_of(recording)
            config = apply_overrides(
                load(_preset(name), None),
                {"decoder.system": name}
                | choice_overrides(args)
                | ({} if person is None else {"subject": person}),
            )
            # Recordings of several people may bear one name.
            folder = out / "sessions" / f"{name}-{number:02d}-{recording.stem}"
            write_note(f"{name} decodes {recording} ...")
            choice = stream_choice(args, config)
            code = watch(
                lambda config=config, recording=recording, folder=folder, choice=choice: (  # type: ignore[misc]
                    replay_session(config, recording, out=folder, board=args.board, choice=choice)
                ),
            )
            if code:
                raise AppError(f"{name} did not decode {recording}.")
            decoded.setdefault(name, []).append(folder)
    return decoded


def _preset(system: str) -> str:
    from models.registry import find_part

    return find_part(system, "encoder").descriptor.preset or "default"


def _recordings(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    if (path / RECORDING).is_file():
        return [path / RECORDING]
    return recordings_below(path)


def _sets(
    args: argparse.Namespace, decoded: Mapping[str, Sequence[Path]]
) -> tuple[list[Pictures], list[str]]:
    """Every set of pictures, and what a reader of the report must know of them."""
    from app.evaluation.generated import generated_sets
    from app.evaluation.joined import JoinedSessions, by_system, of_systems
    from app.evaluation.sets import FolderPictures, SessionPictures, TensorPictures

    learnt = args.with_learnt
    found: list[Pictures] = []
    if args.join:
        found += by_system(args.session, with_learnt=learnt)
    else:
        found += [SessionPictures(folder, with_learnt=learnt) for folder in args.session]
    of_recordings, remarks = of_systems(decoded, with_learnt=learnt)
    found += of_recordings
    for each in found:
        sessions = each.sessions if isinstance(each, JoinedSessions) else (each,)
        n_left_out = sum(s.n_left_out for s in sessions if isinstance(s, SessionPictures))
        if n_left_out:
            remarks.append(
                f"{each.name}: pictures left out, since their markers name no picture of the "
                f"gallery: {n_left_out}."
            )
    if args.drawn is not None:
        found.append(FolderPictures(args.drawn, args.shown, pairs=args.pairs))
    if args.tensors is not None:
        found.append(TensorPictures(*args.tensors))
    for folder in args.generated:
        more, remark = generated_sets(folder)
        found += more
        remarks += [remark] if remark else []
    return found, remarks


def _networks(args: argparse.Namespace) -> tuple[list[Network], list[str]]:
    from models.evaluation.networks import networks

    return networks(args.networks)


def _measure(
    args: argparse.Namespace, pictures: Pictures, judges: Sequence[Network], what: str
) -> SetFigures:
    from app.evaluation.baselines import session_baselines
    from app.evaluation.figures import evaluate_set
    from app.evaluation.sets import SessionPictures

    def drawn(items: Sequence[int]) -> Mapping[str, Pictures]:
        if not (args.baselines and isinstance(pictures, SessionPictures)):
            return {}
        return session_baselines(pictures, items, seed=args.seed)

    return evaluate_set(
        pictures,
        judges,
        seed=args.seed,
        baselines=drawn,
        tell=lambda share: show_progress(f"{what}, {share:.0%}"),
    )


def _choose(
    args: argparse.Namespace, found: Sequence[SetFigures], sets: Sequence[Pictures]
) -> dict[str, Any] | None:
    from app.evaluation.choosing import Split, choose
    from app.evaluation.joined import groups_of

    if args.choose is None:
        return None
    split: Split = "test" if args.choose_on_test else args.choose_split
    groups = groups_of(sets, split) if split in ("session", "person") else ()
    return choose(found, args.choose, split=split, groups=groups, seed=args.seed)


def _audit(args: argparse.Namespace, sets: Sequence[Pictures]) -> list[tuple[str, Check]]:
    """Audit each session and each recording; the name of what is audited before each check."""
    from app.calibration.reading import parse_labels
    from app.evaluation import auditing
    from app.evaluation.joined import sessions_of
    from configs import SessionConfig
    from models.evaluation.audit import Material, audit

    found: list[tuple[str, Check]] = []

    def add(name: str, material: Material, *more: Check) -> None:
        if args.train_pictures is not None:
            material = auditing.with_training_pictures(material, args.train_pictures, args.shown)
        checks = (*audit(material, seed=args.seed), *more)
        found.extend((f"{name}: ", each) for each in checks)

    for each in sessions_of(sets):
        show_progress(f"auditing {each.name}")
        recording = each.record.folder / RECORDING
        material = auditing.of_recording(recording, SessionConfig())
        more = (auditing.learnt_trials(each), auditing.closed_set(each))
        add(each.name, auditing.with_prompts(material, each), *more)
    if args.data is not None and not args.system:
        classes = parse_labels(args.labels) or None
        config = apply_overrides(SessionConfig(), choice_overrides(args))
        choice = stream_choice(args, config) if choice_overrides(args) else None
        for recording in _recordings(args.data):
            show_progress(f"auditing {recording.name}")
            material = auditing.of_recording(
                recording, config, classes=classes, choice=choice, board=args.board
            )
            if not material.labels:
                wanted = "marker" if classes is None else f"marker of {', '.join(classes)}"
                raise AppError(
                    f"{recording} has no usable trial: no {wanted} with its samples around it, "
                    "expected labelled markers (--labels EVENT[=CLASS],..., --markers)."
                )
            add(recording.name, material)
        if args.fitted is not None:
            found.append((f"{args.fitted.name}: ", _fitted(args, config, classes, choice)))
    if not found:
        add("", Material())
    clear_progress()
    return found


def _fitted(
    args: argparse.Namespace,
    config: SessionConfig,
    classes: Mapping[str, str] | None,
    choice: StreamChoice | None,
) -> Check:
    """Check whether the statistics of --fitted hold anything of --data."""
    from app.evaluation import auditing
    from app.evaluation.fitted import fitted_of
    from models.evaluation.splits import fitted_statistics

    parts = []
    for path in (args.train_data, args.data):
        show_progress(f"reading {path.name}")
        options: dict[str, Any] = {"classes": classes, "choice": choice, "board": args.board}
        parts.append(
            auditing.joined(
                [auditing.of_recording(each, config, **options) for each in _recordings(path)]
            )
        )
    return fitted_statistics(fitted_of(args.fitted, *parts))


def _write(
    out: Path,
    args: argparse.Namespace,
    measured: Sequence[tuple[SetFigures, Pictures]],
    beside: _Beside,
) -> dict[str, Any]:
    from importlib.metadata import version

    from app.evaluation.choosing import CHOSEN_ON_TEST
    from app.evaluation.figures import compare
    from app.evaluation.joined import sessions_of
    from app.evaluation.page import render, set_of
    from app.evaluation.session_facts import session_facts
    from configs.private import open_private

    networks, choice = beside.networks, beside.choice
    found = [figures for figures, _ in measured]
    facts = [
        session_facts(of, seed=args.seed) if (of := sessions_of([each])) else None
        for _, each in measured
    ]
    comparisons = [
        {
            "first": found[0].name,
            "second": other.name,
            "lines": compare(found[0], other, seed=args.seed),
        }
        for other in found[1:]
    ]
    lines = [_check_json(of, check) for of, check in beside.checks]
    on_test = choice is not None and choice["is_on_test"]
    stamp = " ".join([*beside.stamps, *[CHOSEN_ON_TEST] * on_test])
    report = {
        "schema_version": 1,
        "phosphene": version("phosphene"),
        "seed": args.seed,
        "stamp": stamp,
        "audit": lines,
        "sets": [
            each.to_json() | ({"session": fact} if fact is not None else {})
            for each, fact in zip(found, facts, strict=True)
        ],
        "comparisons": comparisons,
        "choice": choice,
        "left_out": list(beside.absent),
        "networks": [{"name": n.name, "title": n.title, "note": n.note} for n in networks],
    }
    page = render(
        title=" and ".join(each.name for each in found[:3]) or "Audit",
        version=version("phosphene"),
        checks=lines,
        sets=[set_of(*each, fact) for each, fact in zip(measured, facts, strict=True)],
        comparisons=comparisons,
        choice=choice,
        absent=beside.absent,
        networks=networks,
        stamp=stamp,
    )
    for name, text in (("evaluation.json", json.dumps(report, indent=1)), ("report.html", page)):
        with open_private(out / name, "w", encoding="utf-8") as stream:
            stream.write(text)
    return report


def _check_json(of: str, check: Check) -> dict[str, Any]:
    return {
        "of": of,
        "name": check.name,
        "verdict": str(check.verdict),
        "evidence": check.evidence,
        "p_value": check.p_value,
        "figures": dict(check.figures),
    }


def _say(found: Sequence[SetFigures], beside: _Beside, out: Path) -> None:
    choice, checks = beside.choice, beside.checks
    for each in found:
        write_text(f"{each.name}: {len(each.measured.items)} items")
        rows = [
            [
                line["title"],
                f"{line['value']:.3f}",
                "" if line["low"] is None else f"{line['low']:.3f} to {line['high']:.3f}",
                "" if line.get("chance") is None else f"{line['chance']:.3f}",
            ]
            for line in each.scores.values()
        ]
        write_text(table(["measure", "value", "95 % interval", "chance"], rows))
    if checks:
        rows = [[f"{of}{c.name}", str(c.verdict), c.evidence] for of, c in checks]
        write_text(table(["audit", "verdict", "evidence"], rows))
    if choice is not None:
        figure = choice["figure"]
        write_text(
            f"Chosen by {choice['title']} on {choice['on']}: {choice['chosen']}, "
            f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
            + (", on the same items" if choice["is_on_test"] else " on the others")
        )
    for sentence in beside.absent:
        write_note(f"Note: {sentence}")
    write_text(f"Report: {out / 'report.html'}")
