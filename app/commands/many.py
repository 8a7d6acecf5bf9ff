"""What `generate` and `evaluate` say while they work on many inputs, and when they are through.

Owns the bar, the names of what failed and the exit code. Knows nothing of what is done.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.batch.folder import BATCH, BatchFolder, Place, fingerprint
from app.batch.inputs import Input
from app.batch.pool import run_each
from app.ending import FINISHING, Ending, orderly
from app.errors import AppError
from app.output import bar, clear_progress, show_progress, write_json, write_note, write_text
from configs.plain import plain

MOST_NAMED = 100
"""Failed inputs that are named on the terminal; `batch.json` has all."""
_NOT_RESULTS = ("command", "verbose", "json", "jobs", "out")
"""Arguments on which no result depends."""


@dataclass(frozen=True, slots=True)
class Task:
    """The command for one input."""

    run: Callable[[argparse.Namespace], int]
    args: argparse.Namespace


def add_jobs(parser: argparse.ArgumentParser, *, each: str) -> None:
    """Add `--jobs`."""
    parser.add_argument(
        "--jobs",
        type=int,
        default=None,
        metavar="N",
        help=f"{each} in N processes, into a folder of its own below --out; the same command again "
        "goes on where it was ended",
    )


def run_many(
    args: argparse.Namespace,
    run: Callable[[argparse.Namespace], int],
    inputs: Sequence[tuple[Input, dict[str, Any]]],
    *,
    given: Sequence[str],
    finish: Callable[[Sequence[Path]], object] = lambda _: None,
) -> int:
    """Run a command for each input, in processes.

    Parameters
    ----------
    args : Namespace
        The whole command's; `args.out` is the batch's folder.
    run : callable
        The command for one input; importable by name.
    inputs : sequence of (Input, dict)
        Each with the arguments that differ for it.
    given : sequence of str
        Names of the arguments that name inputs: no option.
    finish : callable
        Done with the folders of all that are done, in the inputs' order, before the end.

    Raises
    ------
    AppError
        There is nothing to do, or `args.out` cannot be used.
    """
    if args.jobs is not None and args.jobs < 1:
        raise AppError(f"--jobs is {args.jobs}, expected 1 or more.")
    if args.out is None:
        raise AppError("many inputs need --out, expected a folder to go on in after an end.")
    left_out = {*_NOT_RESULTS, *given}
    options = {
        name.replace("_", "-"): str(value)
        for name, value in vars(args).items()
        if name not in left_out and value not in (None, False, [])
    }
    folder = BatchFolder(args.out, args.command, options)
    with orderly(FINISHING) as end, folder.held():
        state = _State(folder.places([each for each, _ in inputs]))
        todo = [
            (place, Task(run, _alone(args, out=folder.part(place), **more)))
            for place, (_, more) in zip(state.places, inputs, strict=True)
            if state.is_open(place)
        ]
        _work(todo, folder, state, jobs=args.jobs or 1, end=end)
        document = folder.write({"inputs": state.rows()})
        finish([place.folder for place in state.places if place in state.done])
    state.say(args)
    if args.json:
        write_json(document)
    return end.code or int(bool(state.why))


def _alone(args: argparse.Namespace, **more: Any) -> argparse.Namespace:
    """Arguments of the command for one input."""
    return argparse.Namespace(**vars(args) | {"jobs": None, "json": False} | more)


def _work(
    todo: Sequence[tuple[Place, Task]],
    folder: BatchFolder,
    state: _State,
    *,
    jobs: int,
    end: Ending,
) -> None:
    before = [fingerprint(place.input.path) for place, _ in todo]
    outcomes = run_each(_one, [task for _, task in todo], jobs=jobs, asked=end.asked)
    begun, total = time.monotonic(), len(state.places)
    show_progress(bar(len(state.done), total))
    with contextlib.closing(outcomes):
        for n_ended, (number, reason) in enumerate(outcomes, 1):
            place, _ = todo[number]
            why = reason or _finished(folder, place, before[number])
            if why:
                folder.drop(place)
                state.why[place] = why
            else:
                state.done.add(place)
            each, n = (time.monotonic() - begun) / n_ended, len(state.done) + len(state.why)
            show_progress(bar(n, total, len(state.why), seconds_each=each))
    clear_progress()


def _finished(folder: BatchFolder, place: Place, before: str) -> str:
    """Give results their place; why it cannot be done, or nothing."""
    try:
        folder.finish(place, before)
    except OSError as error:
        return f"its results cannot be put in their place ({error.strerror or error})."
    return ""


def _one(task: Task) -> None:
    if code := task.run(task.args):
        raise AppError(f"it ended with exit code {code}.")


class _State:
    """What of a batch is done, and what has failed and why."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = places
        self.done = {place for place in places if place.is_done}
        self.why = {place: place.why_not for place in places if place.why_not}
        self._n_before = len(self.done)

    def is_open(self, place: Place) -> bool:
        """Whether it is still to be done."""
        return place not in self.done and place not in self.why

    def rows(self) -> list[dict[str, str]]:
        """Each input, for `batch.json`."""
        return [
            {
                "name": place.folder.name,
                "input": str(place.input.path),
                "outcome": "done"
                if place in self.done
                else ("failed" if place in self.why else "not begun"),
                "reason": self.why.get(place, ""),
            }
            for place in self.places
        ]

    def say(self, args: argparse.Namespace) -> None:
        """Name what failed, and how far it is."""
        failed = [place for place in self.places if place in self.why]
        for place in failed[:MOST_NAMED]:
            why, path = self.why[place], plain(str(place.input.path))
            write_note(f"failed: {why if why.startswith(path) else f'{path}: {why}'}")
        if len(failed) > MOST_NAMED:
            write_note(f"failed: {len(failed) - MOST_NAMED} more, named in {args.out / BATCH}")
        left = sum(map(self.is_open, self.places))
        parts = [f"{len(self.done)} of {len(self.places)} done"]
        parts += [f"{self._n_before} of them before"] if self._n_before else []
        parts += [f"{len(failed)} failed"] if failed else []
        parts += [f"{left} left: the same command goes on"] if left else []
        (write_note if args.json else write_text)(f"{', '.join(parts)}: {args.out}")
