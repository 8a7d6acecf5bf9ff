"""Training as a request says: where it runs, how long, and what it continues.

Owns the way from a `StageRequest` to the loop; every stage of every system takes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from models.locking import HeldError, locked
from models.stages import StageRequest
from models.training.engine import (
    Engine,
    choose_precision,
    is_first_process,
    make_engine,
    others_reachable,
)
from models.training.errors import TrainingError
from models.training.loop import LoopConfig, Task, train
from models.training.state import list_runs

LOCK = ".training.lock"
"""In the folder of a run: held by the process that writes its checkpoints, while it lives."""


def check_new(makes: Sequence[Path]) -> None:
    """Refuse to write where something is.

    Raises
    ------
    TrainingError
        Names the first that is a file, or a folder that holds anything.
    """
    for path in makes:
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            raise TrainingError(
                f"{path} is there already, of another run, and nothing is overwritten: give a new "
                "--out."
            )


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Within: no other training writes into `out`, also none that lost its launcher.

    Raises
    ------
    TrainingError
        Another one does.
    OSError
        The folder cannot be made.
    """
    with contextlib.ExitStack() as held:
        if is_first_process():
            out.mkdir(parents=True, exist_ok=True)
            try:
                held.enter_context(locked(out / LOCK, timeout=0.0))
            except HeldError:
                raise TrainingError(
                    f"{out} is written by another training that still runs, expected one at a "
                    "time: wait for it or end it (also what a killed launcher left running), or "
                    "give another --out."
                ) from None
        yield


def engine_for(request: StageRequest, *, auto: str = "auto") -> Engine:
    """Choose where a request runs.

    Parameters
    ----------
    auto : str
        What precision `auto` means: `no` for a stage that was published in float32.
    """
    asked = auto if request.precision == "auto" else request.precision
    return make_engine(
        precision=choose_precision(asked, request.device),
        tracker=request.tracker,
        folder=str(request.out / "log"),
        device=request.device,
    )


def train_as_asked(
    task: Task, loop: LoopConfig, request: StageRequest, *, engine: Engine, makes: Sequence[Path]
) -> dict[str, Any]:
    """Train, or continue what is in the request's folder; return the loop's report.

    Parameters
    ----------
    makes : sequence of Path
        Folders that the stage writes at its end.

    Raises
    ------
    TrainingError
        One of them is there without the run that it came of: it would be overwritten. Or another
        training writes into the request's folder.
    """
    if not list_runs(request.out):
        check_new(makes)
    with _alone(request.out), others_reachable(request.out):
        return train(
            task,
            loop,
            engine=engine,
            out=request.out,
            save_every=request.save_every,
            stop_after=request.stop_after,
            resume=request.resume,
            on_step=request.on_step,
            on_note=request.on_note,
            stop=request.stop,
        )
