"""A BrainFlow board as an LSL stream, in a process of its own.

Owns the running board: connecting, polling, reconnecting, and the way from its UNIX time to LSL's
clock. Knows nothing of sessions; whoever wants the data finds the stream.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pylsl
from numpy.typing import NDArray

from devices.boards import COUNTER, Board, find_board, load_brainflow
from devices.errors import BoardError
from devices.lsl.metadata import eeg_info
from devices.lsl.outlet import EegOutlet, MarkerOutlet
from pipeline.values import Float64, StreamInfo

SILENCE = 3.0
"""Without data for so long (s) the board is connected anew: BrainFlow reports no loss itself."""
_POLL = 0.01
_BUFFER_S = 60
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_LOG = logging.getLogger(__name__)

_FIELDS = {
    "serial_port": "serial_port",
    "mac": "mac_address",
    "ip": "ip_address",
    "ip_port": "ip_port",
    "serial_number": "serial_number",
    "other_info": "other_info",
    "timeout": "timeout",
    "file": "file",
}
"""Our parameters and the fields of `BrainFlowInputParams` that they fill."""


class BoardClock:
    """Maps a board's UNIX stamps to `local_clock` by the smallest delay seen lately.

    A sample cannot arrive before it was taken: of all differences between arrival and stamp in
    the last `window` seconds the smallest has waited least. Steps of either clock are followed.

    Parameters
    ----------
    window : float
        Length of the memory, s: short enough for drift, long enough for a good packet.
    step : float
        A difference that stays this much above the smallest is a clock that was set, s.
    """

    def __init__(self, *, window: float = 30.0, step: float = 1.0) -> None:
        self._window = window
        self._step = step
        self._smallest: deque[tuple[float, float]] = deque()
        self._above = 0

    def offset(self, newest: float, now: float) -> float:
        """Return what to add to the stamps of a block, s.

        `newest` is the block's last stamp (UNIX s), `now` its arrival (`local_clock` s).
        """
        difference = now - newest
        self._above = self._above + 1 if self._is_step(difference) else 0
        if self._above >= 3:
            self._smallest.clear()
            self._above = 0
        while self._smallest and self._smallest[-1][1] >= difference:
            self._smallest.pop()
        self._smallest.append((now, difference))
        while self._smallest[0][0] < now - self._window:
            self._smallest.popleft()
        return self._smallest[0][1]

    def _is_step(self, difference: float) -> bool:
        return bool(self._smallest) and difference - self._smallest[0][1] > self._step


class StampSpreader:
    """Gives samples that came in one packet, and so have one stamp, their own.

    Each run of equal stamps ends at its stamp and starts after the one before; what a poll cut
    off from its packet follows at the nominal rate. Stamps that go back by themselves stay: a
    clock that was set is for the reader to see.

    Parameters
    ----------
    period : float
        Time between two samples, s.
    """

    def __init__(self, period: float) -> None:
        self._period = period
        self._packet = -np.inf
        self._last = -np.inf

    def spread(self, stamps: Float64) -> Float64:
        """Return stamps of their own for `stamps`, both of shape (n_times,), float64, s."""
        out = stamps.copy()
        starts = np.flatnonzero(np.diff(stamps, prepend=np.nan) != 0)
        for start, stop in zip(starts, [*starts[1:], len(stamps)], strict=True):
            out[start:stop] = self._run(float(stamps[start]), int(stop - start))
            self._packet, self._last = float(stamps[start]), float(out[stop - 1])
        return out

    def _run(self, stamp: float, n_times: int) -> Float64:
        steps = np.arange(1, n_times + 1, dtype=np.float64)
        if stamp == self._packet:
            return self._last + self._period * steps
        least = 0.01 * self._period
        if stamp - self._last > least * n_times:
            step = min(self._period, (stamp - self._last) / n_times)
            return stamp - step * (n_times - steps)
        if stamp > self._packet:  # the rest of the packet before ran ahead: let time catch up
            return self._last + least * steps
        return stamp - self._period * (n_times - steps)


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """What to bridge and how to reach it.

    `parameters` hold what the board needs (`serial_port`, `mac`, `ip`, `ip_port`,
    `serial_number`, `other_info`, `timeout`, `file`); `ch_names` replace the default labels;
    `commands` are sent to the board (`config_board`) after connecting.
    """

    board: str
    parameters: Mapping[str, str | int] = field(default_factory=dict)
    master_board: str | None = None
    ch_names: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    markers: bool = False
    """Publish the board's own marker row (triggers) as a marker stream."""
    name: str | None = None
    source_id: str | None = None
    impedances: Mapping[str, float] = field(default_factory=dict)
    """Of electrodes by label, kOhm, measured beforehand: the stream tells them."""


class BrainFlowBridge:
    """Publishes one board until it is stopped.

    Raises
    ------
    BoardError
        The board is unknown, lacks a parameter, or has no signal channels.
    """

    def __init__(self, settings: BridgeSettings) -> None:
        self._settings = settings
        self.board = find_board(settings.board, master=settings.master_board)
        _check(self.board, settings)
        self._shim = load_brainflow()
        self._clock = BoardClock()
        self._spreader = StampSpreader(1.0 / self.board.sfreq)
        self.info = describe_board(self.board, settings)
        self.n_samples = 0
        """Samples published so far."""

    def run(self, stop: threading.Event, *, tell: Callable[[str], None] = _LOG.info) -> None:
        """Stream until `stop` is set or a file has ended; `tell` gets a sentence on each change.

        Raises
        ------
        BoardError
            The first connection fails; later ones are tried again, with longer and longer pauses.
        """
        pause, ever_connected = _FIRST_PAUSE, False
        with EegOutlet(self.info) as outlet:
            markers = self._marker_outlet()
            try:
                while not stop.is_set():
                    try:
                        session = connect_board(self._shim, self.board, self._settings)
                    except BoardError as error:
                        if not ever_connected:
                            raise
                        tell(f"{error} Trying again in {pause:g} s.")
                        stop.wait(pause)
                        pause = min(2 * pause, _LONGEST_PAUSE)
                        continue
                    ever_connected = True
                    tell(f"{self.board.title} is connected.")
                    if self._pump(session, outlet, markers, stop):
                        pause = _FIRST_PAUSE
                    # BrainFlow knows sessions by their parameters, and one that is collected
                    # releases its own: dropped later, it would end the next connection.
                    del session
                    if self.board.is_file or stop.is_set():
                        return
                    tell(f"No data from {self.board.title} for {SILENCE:g} s: connecting anew.")
                    stop.wait(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
            finally:
                if markers is not None:
                    markers.close()

    def _marker_outlet(self) -> MarkerOutlet | None:
        if not self._settings.markers or self.board.marker_row is None:
            return None
        return MarkerOutlet(
            name=f"{self.info.name}-markers", source_id=f"{self.info.source_id}-markers"
        )

    def _pump(
        self,
        session: Any,
        outlet: EegOutlet,
        markers: MarkerOutlet | None,
        stop: threading.Event,
    ) -> bool:
        """Publish until the board falls silent or `stop`; True when there were samples."""
        came, began = False, pylsl.local_clock()
        heard = began
        try:
            while not stop.wait(_POLL):
                data: NDArray[np.float64] = session.get_board_data()
                now = pylsl.local_clock()
                if data.shape[1]:
                    came, heard = True, now
                    self._publish(data, now, outlet, markers)
                elif now - heard > SILENCE:
                    break
        except self._shim.BrainFlowError as error:
            _LOG.warning("board %s failed: %s", self.board.name, error)
        finally:
            release_board(session, self._shim.BrainFlowError)
        return came

    def _publish(
        self,
        data: NDArray[np.float64],
        now: float,
        outlet: EegOutlet,
        markers: MarkerOutlet | None,
    ) -> None:
        """Send one block, shape (n_rows, n_times), that was fetched at `now`."""
        board = self.board
        rows = list(board.rows) + ([board.counter_row] if board.counter_row is not None else [])
        if board.stamp_row is None:
            n_times = data.shape[1]
            stamps = now - np.arange(n_times - 1, -1, -1) / board.sfreq
        else:
            unix = data[board.stamp_row]
            stamps = unix + self._clock.offset(float(unix[-1]), now)
        stamps = self._spreader.spread(stamps)
        outlet.push(data[rows].T, stamps)
        self.n_samples += data.shape[1]
        if markers is not None and board.marker_row is not None:
            values = data[board.marker_row]
            for index in np.flatnonzero(values):
                markers.push(f"{values[index]:g}", float(stamps[index]))


def connect_board(shim: Any, board: Board, settings: BridgeSettings) -> Any:
    """Connect a board and let it stream; `release_board` gives it back.

    Raises
    ------
    BoardError
        It cannot be reached.
    """
    params = shim.BrainFlowInputParams()
    for ours, theirs in _FIELDS.items():
        if ours in settings.parameters:
            setattr(params, theirs, settings.parameters[ours])
    if settings.master_board is not None:
        params.master_board = find_board(settings.master_board).board_id
    session = shim.BoardShim(board.board_id, params)
    try:
        session.prepare_session()
        for command in settings.commands:
            session.config_board(command)
        session.start_stream(int(max(board.sfreq, 1.0) * _BUFFER_S))
    except shim.BrainFlowError as error:
        release_board(session, shim.BrainFlowError)
        given = ", ".join(f"{k} {v!r}" for k, v in settings.parameters.items()) or "none"
        raise BoardError(
            f"Board {board.name} cannot be reached ({error}), given parameters: {given}. "
            f"Check that it is switched on; {board.needs.hint}."
        ) from None
    return session


def describe_board(board: Board, settings: BridgeSettings) -> StreamInfo:
    """Say what the stream of a board says of itself.

    Its `source_id` is made of the board and of what tells it from another of its kind, so it is
    the same after a restart.
    """
    has_counter = board.counter_row is not None
    labels = (*(settings.ch_names or board.ch_names), *([COUNTER] if has_counter else []))
    types = (*board.ch_types, *(["misc"] if has_counter else []))
    units = ("microvolts",) * len(board.rows) + (("none",) if has_counter else ())
    which = next(
        (
            str(settings.parameters[key])
            for key in ("serial_number", "mac", "serial_port", "ip", "file")
            if settings.parameters.get(key)
        ),
        "",
    )
    tail = re.sub(r"[^A-Za-z0-9.]+", "-", which).strip("-")
    measured: list[dict[str, Any]] = [
        {"impedance": [f"{settings.impedances[label]:.1f}"]} if label in settings.impedances else {}
        for label in labels
    ]
    channels = {"channels": [{"channel": measured}]} if settings.impedances else {}
    return eeg_info(
        name=settings.name or f"brainflow-{board.name}",
        source_id=settings.source_id
        or "-".join(word for word in ("brainflow", board.name, tail) if word),
        ch_names=labels,
        ch_types=types,
        ch_units=units,
        sfreq=board.sfreq,
        manufacturer=board.title,
        desc={
            "acquisition": [
                {
                    "manufacturer": [board.title],
                    "model": [board.name],
                    "brainflow_board_id": [str(board.board_id)],
                    **({"counter": [board.counter.to_table()]} if board.counter else {}),
                }
            ],
            "synchronization": [{"can_drop_samples": ["true"]}],
            **channels,
        },
    )


def _check(board: Board, settings: BridgeSettings) -> None:
    given: Sequence[str] = [key for key, value in settings.parameters.items() if value]
    missing = [
        name for name in board.needs.required if name != "master_board" and name not in given
    ]
    if missing:
        options = ", ".join("--" + name.replace("_", "-") for name in missing)
        raise BoardError(f"Board {board.name} needs {options}, found none: {board.needs.hint}.")
    if not board.rows or board.sfreq <= 0:
        raise BoardError(
            f"Board {board.name} has no EEG, EOG, EMG or ECG channel in BrainFlow, expected at "
            "least one: choose another (`phosphene devices`)."
        )
    if settings.ch_names and len(settings.ch_names) != len(board.rows):
        raise BoardError(
            f"--montage has {len(settings.ch_names)} labels, expected {len(board.rows)}: board "
            f"{board.name} has {len(board.rows)} channels. Give one label a channel."
        )


def release_board(session: Any, error_type: type[Exception]) -> None:
    """Give the board back whatever state it is in."""
    try:
        if session.is_prepared():
            session.release_session()
    except error_type as error:
        _LOG.debug("releasing the board: %s", error)
