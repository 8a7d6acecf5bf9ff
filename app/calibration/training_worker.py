"""The training's process: the only one of a calibration with torch.

Owns the loop that trains once and then stores when it is told to. Spawned, so that a training can
be ended at once and costs the window nothing; `app.calibration.training` is its other side.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from app.calibration.results import CalibrationResult
from app.recordings import file_sha256
from configs import SessionConfig
from pipeline.errors import PhospheneError

if TYPE_CHECKING:
    from models.adapters import Adapter

THREADS = 1
"""CPU threads of a training: its matrices are small, and where the machine is busy more threads
spend their time waiting for each other."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to train on, for whom, and where it is stored; no `methods`: the usual ones.

    `class_of` is the class by marker's label; `hashes` (by name) and `learnt` are the recordings
    that were read, and which parts of them; without them it is all of `recording`.
    """

    data: Path
    config: SessionConfig
    subject: str
    seed: int
    store: Path | None
    recording: Path | None = None
    methods: tuple[str, ...] = ()
    class_of: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    learnt: tuple[tuple[str, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is, 0 to 1; `losses` are (pass, held-out loss), where it makes passes."""

    fraction: float
    message: str
    losses: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """What came out."""

    result: CalibrationResult


@dataclass(frozen=True, slots=True)
class Stored:
    """The adapter is in the store."""

    adapter_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Why something could not be done, in one sentence."""

    reason: str


def main(connection: Connection, request: Request) -> None:
    """Train, tell, and store on `"save"`; ends when the pipe closes."""
    os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
    try:
        save = _train(connection, request)
    except PhospheneError as error:
        connection.send(Refused(str(error)))
        return
    except Exception as error:  # noqa: BLE001 - the process' top: nothing ends unsaid
        connection.send(Refused(f"the training failed ({type(error).__name__}: {error})."))
        return
    while True:
        try:
            if connection.recv() != "save":
                return
        except EOFError:
            return
        try:
            connection.send(Stored(save()))
        except PhospheneError as error:
            connection.send(Refused(str(error)))


def _train(connection: Connection, request: Request) -> Callable[[], str]:
    """Train and send what came out; returns what stores it."""
    from app.calibration.judging import result_of
    from models.adapters.data import CalibrationData
    from models.adapters.fit import Progress as FitProgress
    from models.adapters.fit import fit_adapter
    from models.adapters.store import AdapterStore
    from models.registry import open_encoder
    from pipeline.gallery import load_gallery

    def on_progress(told: FitProgress) -> None:
        losses = tuple((float(i + 1), float(loss)) for i, (_, loss) in enumerate(told.losses))
        connection.send(Progress(told.fraction, told.step, losses))

    data, decoder = CalibrationData.load(request.data), request.config.decoder
    adapter = fit_adapter(
        data,
        encoder=None if data.is_classes else open_encoder(decoder),
        system=decoder.system,
        methods=request.methods,
        seed=request.seed,
        subject=request.subject,
        gallery=load_gallery(request.config.gallery),
        on_progress=on_progress,
    )
    connection.send(Finished(result_of(adapter.report)))

    def save() -> str:
        record = AdapterStore(request.store).save(
            _signed(adapter, request),
            subject=request.subject,
            preset=request.config.preset,
            recordings=request.hashes or _hashes(request.recording),
            data=data,
        )
        return record.adapter_id

    return save


def _signed(adapter: Adapter, request: Request) -> Adapter:
    """The adapter with what it knows of its events, and of the recordings that it learnt from."""
    from models.adapters.manifest import Learnt

    parts = (Learnt(sha256=sha, start=low, stop=high) for sha, low, high in request.learnt)
    found: dict[str, object] = {"learnt": tuple(parts)}
    classes = adapter.manifest.classes
    if classes is not None:
        known = {name: c for name, c in request.class_of.items() if c in classes.events}
        found["classes"] = classes.model_copy(update={"labels": known})
    return replace(adapter, manifest=adapter.manifest.model_copy(update=found))


def _hashes(recording: Path | None) -> dict[str, str]:
    """SHA-256 of the recording by name; empty where there is none."""
    if recording is None or not recording.is_file():
        return {}
    return {recording.name: file_sha256(recording)}
