"""`phosphene bench training`: steps per second of our training against plain PyTorch loops.

Owns the synthetic data, the taking of turns and the figures. Ours is `phosphene train` itself:
the stage that the command calls, with its defaults, timed between two of its steps. The peers
(`training_peers`) are the published loops as most people write them. One step of ours, one of the
peer, in one process on the same data, so that a busy machine slows both alike.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np

GOAL_CPU, GOAL_GPU = 1.5, 3.0
WARM_UP = 2
"""Steps of each that are not counted."""
PASSES = 100_000
"""More than a bench ever reaches."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row: a stage with its settings, and how many steps of each count."""

    what: str
    system: str
    stage: str
    table: Mapping[str, Any]
    n_steps: int


PUBLISHED_MODEL: dict[str, Any] = {}
REDUCED_MODEL = {"embed_dim": 256, "depth": 6, "num_heads": 8, "decoder_embed_dim": 128}
CASES = (
    Case(
        "stage A as published (128 x 512, 1024/24/16), batch 2 of the authors' command",
        "dreamdiffusion",
        "a",
        {"model": PUBLISHED_MODEL, "training": {"batch_size": 2, "passes": PASSES}},
        10,
    ),
    Case(
        "stage A, reduced (128 x 512, 256/6/8), batch 32",
        "dreamdiffusion",
        "a",
        {"model": REDUCED_MODEL, "training": {"batch_size": 32, "passes": PASSES}},
        20,
    ),
    Case(
        "ATM-S retrieval as published (63 x 250), batch 64",
        "atm",
        "encoder",
        {"training": {"passes": PASSES}},
        30,
    ),
)


class _Enough(Exception):  # noqa: N818 - no error: the bench has seen what it needs
    """Ends our loop as a kill would: nothing is written."""


@dataclass(slots=True)
class _Times:
    """Seconds of each step, on the clock and of the processor."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, began: tuple[float, float]) -> None:
        self.wall.append(perf_counter() - began[0])
        self.cpu.append(process_time() - began[1])


def run_training_bench(
    *,
    cases: tuple[Case, ...] = CASES,
    device: str = "",
    n_files: int = 64,
    n_pictures: int = 512,
) -> dict[str, Any]:
    """Measure every case; a report with `rows`.

    Parameters
    ----------
    device : str
        Where both train; empty: the GPU if there is one, as `phosphene train` chooses.
    n_files, n_pictures : int
        Recordings of stage A, and pictures (four epochs each) of ATM-S.
    """
    from app.benchmarks.training_peers import n_threads
    from models.accelerators import choose_device

    device = str(choose_device(device))
    with tempfile.TemporaryDirectory(prefix="phosphene-bench-") as root:
        folder = Path(root)
        _write_signals(folder / "signals", n_files)
        _write_epochs(folder / "epochs", n_pictures)
        rows = [_measure(case, folder, device) for case in cases]
    return {"device": device, "threads": n_threads(), "rows": rows}


def _write_signals(folder: Path, n_files: int) -> None:
    """Recordings for stage A: files of 32 to 128 channels, 2 to 4 windows long."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(n_files):
        shape = (int(rng.integers(32, 129)), int(rng.integers(1024, 2048)))
        np.save(folder / f"{number:03d}.npy", rng.normal(0, 10, shape).astype(np.float32))


def _write_epochs(folder: Path, n_pictures: int) -> None:
    """Epochs for ATM-S: every picture four times, in the published shape."""
    from models.atm.data import write_epochs
    from models.things_eeg2.montage import CH_NAMES

    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(n_pictures), 4)
    names = ("ViT-H-14", "ViT-H-14.text")
    write_epochs(
        folder,
        eeg=rng.normal(size=(len(ids), 63, 250)).astype(np.float32),
        image_ids=ids,
        subject_ids=np.zeros_like(ids),
        features={name: rng.normal(size=(n_pictures, 1024)).astype(np.float32) for name in names},
        ch_names=CH_NAMES,
    )


def _peer(case: Case, folder: Path, device: str) -> Iterator[float]:
    from app.benchmarks.training_peers import masked_steps, retrieval_steps
    from configs.atm import RetrievalTrainingConfig
    from configs.published import MaskedAutoencoderConfig, MaskedTrainingConfig

    if case.system == "atm":
        settings = RetrievalTrainingConfig.model_validate(case.table["training"])
        return retrieval_steps(
            folder / "epochs", settings.batch_size, settings.lr, settings.passes, device
        )
    sizes = MaskedAutoencoderConfig.model_validate(case.table["model"]).model_dump()
    training = MaskedTrainingConfig.model_validate(case.table["training"]).model_dump()
    precision = precision_of(case, device)
    return masked_steps(folder / "signals", sizes, training, device, precision=precision)


def precision_of(case: Case, device: str) -> str:
    """As the stage chooses it: half precision where published so and the hardware has it."""
    from models.training.engine import choose_precision

    return choose_precision("auto", device) if case.stage == "a" else "no"


def _measure(case: Case, folder: Path, device: str) -> dict[str, Any]:
    from models.registry import find_entry, find_system
    from models.stages import StageRequest

    peer = _peer(case, folder, device)
    ours, theirs = _Times(), _Times()
    began = (0.0, 0.0)

    def take_turns(_: Any) -> None:
        nonlocal began
        if began[0]:
            ours.add(began)
        before = (perf_counter(), process_time())
        next(peer)
        theirs.add(before)
        if len(ours.wall) >= case.n_steps + WARM_UP:
            raise _Enough
        began = (perf_counter(), process_time())

    stage: Callable[[StageRequest], Any] = find_entry(
        find_system(case.system).descriptor.stages, case.stage, what="stage"
    )
    data = folder / ("epochs" if case.system == "atm" else "signals")
    with tempfile.TemporaryDirectory(prefix="phosphene-bench-") as out:
        request = StageRequest(data, Path(out), table=case.table, device=device, on_step=take_turns)
        with suppress(_Enough):
            stage(request)
    return _row(case, ours, theirs, device) | {"precision": precision_of(case, device)}


def _row(case: Case, ours: _Times, theirs: _Times, device: str) -> dict[str, Any]:
    mine, peer = median(ours.wall[WARM_UP:]), median(theirs.wall[WARM_UP:])
    cpu = median(theirs.cpu[WARM_UP:]) / median(ours.cpu[WARM_UP:])
    goal = GOAL_CPU if device.startswith("cpu") else GOAL_GPU
    return {
        "what": case.what,
        "ours": f"{1 / mine:.3g} steps/s",
        "peer": f"{1 / peer:.3g} steps/s",
        "ratio": round(peer / mine, 2),
        "ratio_cpu_time": round(cpu, 2),
        "steps": case.n_steps,
        "goal": goal,
        "met": peer / mine >= goal,
    }
