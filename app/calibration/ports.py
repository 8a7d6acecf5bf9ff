"""What a calibration's flow asks of the parts around it: a session that collects, a trainer.

Protocols only; `live` and `training` satisfy them.
"""

from __future__ import annotations

from typing import Protocol

from app.calibration.results import CalibrationResult
from app.calibration.schedule import Planned
from app.calibration.steps import Training
from app.port import SessionPort


class Trainer(Protocol):
    """Trains in a process of its own."""

    def start(self) -> None:
        """Begin with the epochs that the flow has written."""
        ...

    def poll(self) -> Training:
        """How far it is."""
        ...

    @property
    def result(self) -> CalibrationResult | None:
        """What came out; None before."""
        ...

    @property
    def error(self) -> str:
        """Why it failed; empty when it did not."""
        ...

    def save(self) -> str:
        """Store what was found; returns the adapter's id. Blocks."""
        ...

    def close(self) -> None:
        """End the process; safe to call twice."""
        ...


class Calibrating(Protocol):
    """A session that collects: it waits with its pictures until it is told to begin."""

    @property
    def session(self) -> SessionPort:
        """The session, started."""
        ...

    @property
    def waits(self) -> bool:
        """Whether it waits for `begin`; one that does not has its pictures already."""
        ...

    @property
    def n_shown(self) -> int:
        """Pictures and catch trials shown so far."""
        ...

    def begin(self, planned: tuple[Planned, ...]) -> None:
        """Show these pictures."""
        ...

    def end_early(self) -> None:
        """Show no more; what was shown is finished and kept. May block for some seconds."""
        ...
