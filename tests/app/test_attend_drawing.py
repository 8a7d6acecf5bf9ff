"""Pictures of looks, drawn apart: what a grid's own pictures are is none of a look."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from app.attend.drawing import Apart, Known
from app.runtime.messages import Answer, Job
from configs import SessionConfig, load_preset


class Prompt:
    """A decoder's process that answers at once, by the job's number."""

    refusal = ""
    ready = SimpleNamespace(spec=SimpleNamespace(space="toy"), settled={})

    def __init__(self, _config: SessionConfig, on_answer: Callable[[Job, Answer, float], None]):
        self._on_answer = on_answer

    def start(self) -> None:
        """It is there."""

    def wait_ready(self, timeout: float) -> bool:
        return timeout > 0

    def take_oldest(self) -> None:
        """Nothing waits."""

    def submit(self, job: Job, **_policy: Any) -> bool:
        pixels = np.full((2, 2, 3), job.index, dtype=np.uint8)
        self._on_answer(job, Answer(job.index, np.ones(3, np.float32), pixels), 0.0)
        return True

    def close(self) -> None:
        """Nothing runs."""


def test_a_grids_own_pictures_do_not_take_the_looks_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.attend.drawing.Decoder", Prompt)
    drawing = Apart(load_preset("attend"))
    look = Known(np.array([0.5, 0.25]), ("a", "b"), 0, 0.0, 0)
    cell = Known(np.ones(1), ("a",), 0, 0.0, 0, is_look=False)
    drawing.show(look)
    assert drawing.newest is not None
    assert drawing.newest.pixels.max() == 1
    assert drawing.draw(cell).pixels.max() == 2
    assert drawing.newest.pixels.max() == 1, "the cell took the look's place"
    assert drawing.draw(look).pixels.max() == 3
    assert drawing.newest.pixels.max() == 3
