"""What a process of `tests.app.test_batch` does; a fresh one imports this and no more."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from app.errors import AppError


def work(task: str) -> None:
    """Fail as the task says; a path is made, and then nothing comes any more."""
    if task == "refuse":
        raise AppError("it is no recording, expected one.")
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task.startswith("/"):
        Path(task).touch()
        threading.Event().wait()
