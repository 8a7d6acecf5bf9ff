"""Training as a request says: where it runs, how long, and what it continues.

Owns the way from a `StageRequest` to the loop; every stage of every system takes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.stages import StageRequest
from models.training.engine import Engine, choose_precision, make_engine, others_reachable
from models.training.errors import TrainingError
from models.training.loop import LoopConfig, Task, train
from models.training.state import list_runs


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
        One of them is there without the run that it came of: it would be overwritten.
    """
    if not list_runs(request.out):
        check_new(makes)
    with others_reachable(request.out):
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
