"""The session of the application's window on the audience's screen.

Owns what `StageWindow` needs of it; the window keeps the session, so that nothing is started or
ended here. Knows nothing of Qt.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from app.port import SessionPort, Snapshot, TraceBlock
from app.stage.keeper import Run, Shown, Who


class Watched:
    """Shows whatever session runs; satisfies `app.stage.keeper.Staged`.

    Parameters
    ----------
    current : callable
        The session of the moment, None while there is none.
    """

    def __init__(self, current: Callable[[], SessionPort | None]) -> None:
        self._current = current
        self._run: Run | None = None
        self._n_runs = 0

    @property
    def shown(self) -> Shown:
        """What to show now."""
        run = self._run
        if run is None:
            return Shown(Who.VISITOR, self._n_runs, None, False, "", Snapshot())
        eeg = run.snapshot.eeg
        simulated = eeg is not None and eeg.is_simulated
        return Shown(run.who, self._n_runs, run.newest, simulated, "", run.snapshot)

    def poll(self) -> None:
        """Take what is new."""
        port, now = self._current(), time.monotonic()
        if port is None:
            self._run = None
        elif self._run is None or self._run.port is not port:
            self._n_runs += 1
            self._run = Run(Who.VISITOR, port, now)
        if self._run is not None:
            self._run.look(now)

    def traces(self, seconds: float) -> TraceBlock | None:
        """The newest samples; None where there are none."""
        return None if self._run is None else self._run.traces(seconds)

    def next_visitor(self) -> bool:
        """False: who comes next is the window's to say."""
        return False

    def attract(self) -> None:
        """Nothing: the session goes on."""
