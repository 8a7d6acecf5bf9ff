"""Training an adapter in a process of its own, watched and ended from here.

Owns the process, its pipe and its end. Satisfies `app.calibration.ports.Trainer`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from app.calibration.reading import ReadPart
from app.calibration.results import CalibrationResult
from app.calibration.steps import Training
from app.calibration.training_worker import Finished, Progress, Refused, Request, Stored, main
from app.errors import AppError
from app.runtime.processes import end_process, start_process
from configs import SessionConfig
from models.adapters.manifest import AdapterManifest

SAVE_TIMEOUT = 60.0
"""Longest wait for the store, s."""


class ProcessTrainer:
    """Trains on the epochs in `data`.

    Parameters
    ----------
    data : Path
        Folder that `CalibrationData.save` wrote.
    config : SessionConfig
        The session that recorded them.
    subject : str
    seed : int
    store : Path or None
        Root of the store; the user's own by default.
    recording : Path or None
        What the epochs came from; its hash is stored with the adapter.
    methods : tuple of str
        Adapters to choose among; empty: the usual ones.
    class_of : mapping of str to str
        Class by marker's label, for an adapter of classes.
    parts : sequence of ReadPart
        What was read of which recordings, where they are not the session's own.
    names : sequence of str
        What each of them is called.
    before : AdapterManifest or None
        Of the adapter that this one extends: its recordings are learnt from as well.
    target : callable
        What the process runs; `training_worker.main` but for tests.
    """

    def __init__(
        self,
        data: Path,
        config: SessionConfig,
        *,
        subject: str,
        seed: int = 0,
        store: Path | None = None,
        recording: Path | None = None,
        methods: tuple[str, ...] = (),
        class_of: Mapping[str, str] | None = None,
        parts: Sequence[ReadPart] = (),
        names: Sequence[str] = (),
        before: AdapterManifest | None = None,
        target: Callable[[Connection, Request], None] = main,
    ) -> None:
        self._request = Request(
            data,
            config,
            subject,
            seed,
            store,
            recording,
            methods,
            dict(class_of or {}),
            (dict(before.recordings) if before else {})
            | {shown: part.sha256 for shown, part in zip(names, parts, strict=True)},
            (before.parts if before else ())
            + tuple(
                (part.sha256, part.start, part.stop)
                for part in parts
                if part.start is not None and part.stop is not None
            ),
        )
        self._target = target
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None
        self._training = Training(message="Starting.")
        # Saving reads the pipe from another thread than polling.
        self._lock = threading.Lock()
        self._result: CalibrationResult | None = None
        self._error = ""

    @property
    def result(self) -> CalibrationResult | None:
        """What came out; None before."""
        return self._result

    @property
    def error(self) -> str:
        """Why it failed; empty when it did not."""
        return self._error

    def start(self) -> None:
        """Start the process."""
        self._process, self._connection = start_process(
            self._target, self._request, name="phosphene-training"
        )

    def poll(self) -> Training:
        """Take what the process has told; returns at once."""
        if self._result is not None or self._error or not self._lock.acquire(blocking=False):
            return self._training
        try:
            self._read()
        finally:
            self._lock.release()
        return self._training

    def save(self) -> str:
        """Store the adapter; returns its id.

        Raises
        ------
        AppError
            The process has ended, or the store refused.
        """
        with self._lock:
            connection = self._connection
            if connection is None:
                raise AppError("the training has ended, expected one to save: train again.")
            try:
                connection.send("save")
                answer = connection.recv() if connection.poll(SAVE_TIMEOUT) else None
            except (OSError, EOFError):
                answer = None
        if isinstance(answer, Stored):
            return answer.adapter_id
        reason = answer.reason if isinstance(answer, Refused) else "its process does not answer"
        raise AppError(reason)

    def close(self) -> None:
        """End the process; safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        end_process(process)
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _read(self) -> None:
        connection, process = self._connection, self._process
        if connection is None or process is None:
            return
        with contextlib.suppress(OSError, EOFError):
            while self._result is None and not self._error and connection.poll(0):
                self._take(connection.recv())
            return
        if self._result is None and not self._error:
            self._error = "The training's process died; the log has the details."

    def _take(self, told: object) -> None:
        if isinstance(told, Progress):
            self._training = Training(told.fraction, told.message, told.losses)
        elif isinstance(told, Finished):
            self._training = replace(self._training, fraction=1.0, message="Done.")
            self._result = told.result
        elif isinstance(told, Refused):
            self._error = told.reason
