"""What a training's process runs in tests; light, because every process imports it anew."""

from __future__ import annotations

import os
import threading
from multiprocessing.connection import Connection

from app.calibration.results import CalibrationResult, MethodScore, Verdict
from app.calibration.training_worker import Finished, Progress, Refused, Request, Stored

RESULT = CalibrationResult(
    Verdict.FOUND, "Found.", "ridge", "", (MethodScore("ridge", 0.4, 0.3, 0.5, 0.1, 60),)
)


def train_stub(connection: Connection, request: Request) -> None:
    connection.send(Progress(0.5, f"seed {request.seed}", ((1.0, 2.0), (2.0, 1.5))))
    connection.send(Finished(RESULT))
    while connection.recv() == "save":
        connection.send(Stored(f"{request.subject}-1"))


def refuse_stub(connection: Connection, _request: Request) -> None:
    connection.send(Refused("there are 3 epochs, expected at least 20."))


def die_stub(_connection: Connection, _request: Request) -> None:
    os._exit(3)


def hang_stub(connection: Connection, _request: Request) -> None:
    connection.send(Progress(0.1, "hanging"))
    threading.Event().wait()
