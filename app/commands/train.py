"""`phosphene train`: one training stage of a published system."""

from __future__ import annotations

import argparse
import math
import sys
import tomllib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TextIO

from app.commands.common import check_given
from app.ending import FINISHING, orderly

if TYPE_CHECKING:
    from models.stages import StageRequest
    from models.training.loop import Progress

_NO_EEG = (".txt", ".csv", ".tsv", ".npz", ".npy")
"""Tables of numbers, and fMRI, lie about in folders of data; recordings are named as such."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "train",
        help="train one stage of a published system",
        description="Train one stage of a published system.",
    )
    parser.add_argument("system", metavar="SYSTEM")
    parser.add_argument("stage", metavar="STAGE")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR|FILE")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="weights and checkpoints; the newest checkpoint in it is continued",
    )
    parser.add_argument("--config", type=Path, default=None, metavar="FILE", help="TOML settings")
    parser.add_argument(
        "--resume", type=Path, default=None, metavar="DIR", help="another checkpoint to continue"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--save-every", type=int, default=1000, metavar="STEPS")
    parser.add_argument("--stop-after", type=int, default=None, metavar="STEPS")
    parser.add_argument(
        "--precision",
        choices=("auto", "no", "bf16"),
        default="auto",
        help="auto: as published, where half precision becomes bf16 if the hardware computes in it",
    )
    parser.add_argument(
        "--log", choices=("", "tensorboard", "wandb"), default="", help="needs phosphene[train]"
    )
    parser.add_argument("--device", default="", help="cpu, cuda, cuda:1; a GPU if any")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Train."""
    from app.output import write_json, write_note, write_text
    from models.registry import find_entry, find_system, read_registry
    from pipeline.extras import extras_named

    found = find_system(args.system)
    if not found.descriptor.stages:
        from app.errors import AppError

        known = read_registry().systems.items()
        trained = [name for name, each in known if each.descriptor.stages]
        raise AppError(
            f"system {args.system!r} has no training stages, expected one of "
            f"{', '.join(sorted(trained))}."
        )
    train = find_entry(found.descriptor.stages, args.stage, what=f"stage of {args.system}")
    check_given(args.data, args.resume)
    with orderly() as end, extras_named(f"{args.system} {args.stage}"):

        def stop() -> bool:
            if end.asked.is_set():
                end.grant(FINISHING)  # for the checkpoint
            return end.asked.is_set()

        report = train(_request(args, stop))
    from models.training.engine import is_first_process

    if not is_first_process():
        return end.code
    if args.json:
        write_json(report)
    else:
        write_text("\n".join(f"{key}: {value}" for key, value in report.items()))
    if end.code and "step" in report:
        write_note(
            f"phosphene train: interrupted after step {report['step']} of {report['n_steps']}, "
            "which is kept: the same command goes on from there."
        )
    return end.code


def _request(args: argparse.Namespace, stop: Callable[[], bool]) -> StageRequest:
    from app.output import write_note
    from app.recordings import read_epochs, read_microvolts
    from devices.files.readers import readers
    from models.stages import StageRequest
    from models.training.engine import is_first_process

    return StageRequest(
        data=args.data,
        out=args.out,
        table={} if args.config is None else _read_toml(args.config),
        seed=args.seed,
        resume=args.resume,
        save_every=args.save_every,
        stop_after=args.stop_after,
        precision=args.precision,
        tracker=args.log,
        device=args.device,
        read_epochs=read_epochs,
        read_recording=read_microvolts,
        suffixes=tuple(s for s in readers().suffixes if s not in _NO_EEG),
        on_step=ProgressBar(sys.stderr),
        # Of several processes one speaks.
        on_note=write_note if is_first_process() else lambda _: None,
        stop=stop,
    )


def _read_toml(path: Path) -> dict[str, Any]:
    from configs import ConfigError
    from configs.guard import read_text

    try:
        return tomllib.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML ({error}).") from None


class ProgressBar:
    """Tells how far a training is: a bar that is drawn anew, or lines in a log.

    Parameters
    ----------
    stream : TextIO
        Where to; a terminal gets a bar.
    clock : callable
        Seconds, monotonic.
    """

    WIDTH = 24
    EVERY_BAR_S, EVERY_LINE_S = 0.1, 30.0

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._bar = stream.isatty()
        self._began: tuple[float, int] | None = None
        self._told = -math.inf

    def __call__(self, progress: Progress) -> None:
        """Show one step, unless the last one was shown just now."""
        now = self._clock()
        if self._began is None:
            self._began = (now, progress.step)
        last = progress.step == progress.n_steps
        if not last and now - self._told < (self.EVERY_BAR_S if self._bar else self.EVERY_LINE_S):
            return
        self._told = now
        text = self._text(progress, now)
        self._stream.write(f"\r\x1b[K{text}" + "\n" * last if self._bar else f"{text}\n")
        self._stream.flush()

    def _text(self, progress: Progress, now: float) -> str:
        began, first = self._began or (now, progress.step)
        done = progress.step / progress.n_steps
        full = int(self.WIDTH * done)
        parts = [f"[{'#' * full}{'.' * (self.WIDTH - full)}]"] if self._bar else []
        parts.append(f"step {progress.step}/{progress.n_steps} ({done:.0%})")
        # Of this call's steps; those before a resume took place elsewhere.
        if progress.step > first and now > began:
            rate = (progress.step - first) / (now - began)
            left = timedelta(seconds=round((progress.n_steps - progress.step) / rate))
            parts.append(f"{rate:.3g} steps/s, {left} left")
        losses = "  ".join(f"{name} {value:.4g}" for name, value in progress.losses.items())
        return "  ".join([*parts, f"lr {progress.lr:.3g}", losses])
