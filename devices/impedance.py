"""Electrode impedances: of a Cyton by its lead-off current, of others as they measure themselves.

Owns the Cyton's procedure and the formula that OpenBCI documents: a test current of 6 nA at
31.25 Hz goes through one electrode at a time (command `z`), and the voltage it causes is current
times the electrode and the 2.2 kΩ resistor in its path. The amplitude is fitted at that frequency
(least squares, with offset and slope), so that EEG and line noise hardly count and lost packets do
not break the phase. Boards that BrainFlow gives resistance rows of (Ganglion, BrainBit, ANT Neuro)
are switched to their own measurement, and its median is taken as it comes. Knows nothing of LSL.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from devices.boards import Board, find_board, load_brainflow
from devices.brainflow_bridge import BridgeSettings, connect_board, release_board
from devices.errors import BoardError
from pipeline.values import Float64

CURRENT: Final = 6e-9
"""Amplitude of the test current, A (ADS1299 lead-off, as the Cyton sets it)."""
FREQUENCY: Final = 31.25
"""Hz."""
SERIES_OHM: Final = 2200.0
"""The resistor on the board before each electrode."""
GOOD_KOHM: Final = 750.0
WORST_KOHM: Final = 2500.0
"""Thresholds of the OpenBCI GUI."""
_RAIL_UV: Final = 0.98 * 187_500.0
_OWN: Final[Mapping[str, tuple[str, str]]] = {
    "ganglion": ("z", "Z"),
    "brainbit": ("CommandStartResist", "CommandStopResist"),
    "ant-neuro": ("impedance_mode:1", "impedance_mode:0"),
    "synthetic": ("", ""),
}
"""Commands that begin and end a board's own measurement, by the beginning of its name."""
_POLL: Final = 0.02
_SILENCE: Final = 3.0


@dataclass(frozen=True, slots=True)
class Impedance:
    """One electrode: `ohm` with its standard error, and `good`, `high`, `open` or `railed`."""

    ch_name: str
    ohm: float
    error: float
    verdict: str


def fit_impedance(data: Float64, numbers: Float64, sfreq: float) -> tuple[float, float]:
    """Impedance of one electrode, and its standard error, in ohm.

    `Z = amplitude / 6 nA - 2200`, which is OpenBCI's `sqrt(2) * std / 6 nA - 2200` for a sine.

    Parameters
    ----------
    data : ndarray, shape (n_times,), float64
        Microvolts.
    numbers : ndarray, shape (n_times,), float64
        Sample numbers, lost ones counted.
    sfreq : float
        Hz.
    """
    t = (numbers - numbers[0]) / sfreq
    angle = 2 * math.pi * FREQUENCY * t
    design = np.column_stack([np.cos(angle), np.sin(angle), np.ones_like(t), t])
    solution, *_ = np.linalg.lstsq(design, data, rcond=None)
    residual = data - design @ solution
    error_uv = math.sqrt(2.0 / len(data)) * float(residual.std())
    amplitude_uv = float(np.hypot(solution[0], solution[1]))
    return amplitude_uv * 1e-6 / CURRENT - SERIES_OHM, error_uv * 1e-6 / CURRENT


def judge_impedance(ohm: float, *, railed: bool = False) -> str:
    """The verdict on an impedance; `railed` says that the converter is at its end."""
    if railed:
        return "railed"
    if ohm <= 1000 * GOOD_KOHM:
        return "good"
    return "high" if ohm <= 1000 * WORST_KOHM else "open"


def measure_impedances(
    settings: BridgeSettings,
    *,
    seconds: float | None = None,
    tell: Callable[[Impedance], object] = lambda _: None,
    stop: threading.Event | None = None,
) -> tuple[Impedance, ...]:
    """Measure every electrode of any board that can; `tell` is called with each.

    `seconds` of data for each electrode (Cyton, 2) or for all (5).

    Raises
    ------
    BoardError
        The board cannot, is not reached, or is silent.
    """
    board = find_board(settings.board, master=settings.master_board)
    if board.impedance == "lead-off":
        return measure_cyton(settings, seconds=seconds or 2.0, tell=tell, stop=stop)
    if board.impedance == "own":
        return _measure_own(board, settings, seconds or 5.0, tell, stop or threading.Event())
    raise BoardError(
        f"Board {board.name} gives no impedances: BrainFlow has no resistance rows of it, and we "
        "know no lead-off test. Expected cyton, ganglion, brainbit or ant-neuro: check the "
        "electrodes by the signal quality of a session, or with the maker's own program."
    )


def _measure_own(
    board: Board,
    settings: BridgeSettings,
    seconds: float,
    tell: Callable[[Impedance], object],
    stop: threading.Event,
) -> tuple[Impedance, ...]:
    """Switch a board to its own measurement for a while; medians over that time, in ohm."""
    begin, end = next(words for name, words in _OWN.items() if board.name.startswith(name))
    labels = [*(settings.ch_names or board.ch_names), "reference", "ground"]
    shim = load_brainflow()
    session = connect_board(shim, board, settings)
    try:
        if begin:
            session.config_board(begin)
        data = _collect(session, board, seconds, stop)
        if end:
            session.config_board(end)
    except shim.BrainFlowError as error:
        raise BoardError(
            f"The impedance check failed ({error}), expected a board that measures while it "
            "sends: switch it off and on, and try again."
        ) from None
    finally:
        release_board(session, shim.BrainFlowError)
    found = []
    for label, row in zip(labels, board.resistance_rows, strict=False):
        values = data[row] if data.size else np.empty(0)
        values = values[np.isfinite(values) & (values > 0)]
        if not len(values):
            continue
        ohm = float(np.median(values))
        spread = 1.4826 * float(np.median(np.abs(values - ohm)))
        found.append(Impedance(label, ohm, spread, judge_impedance(ohm)))
        tell(found[-1])
    return tuple(found)


def measure_cyton(
    settings: BridgeSettings,
    *,
    seconds: float = 2.0,
    settle: float = 1.0,
    tell: Callable[[Impedance], object] = lambda _: None,
    stop: threading.Event | None = None,
) -> tuple[Impedance, ...]:
    """Measure every electrode, one after the other; `tell` is called with each.

    Parameters
    ----------
    settings : BridgeSettings
        A Cyton and its serial port.
    seconds, settle : float
        Of data for each electrode, and what is thrown away after the current is switched, s.

    Raises
    ------
    BoardError
        Another board, not reached, or silent.
    """
    board = find_board(settings.board, master=settings.master_board)
    if board.name != "cyton":
        raise BoardError(f"Board {board.name} has no lead-off test that we know, expected cyton.")
    stop = stop or threading.Event()
    shim = load_brainflow()
    session = connect_board(shim, board, settings)
    labels = settings.ch_names or board.ch_names
    found = []
    try:
        for place, label in enumerate(labels):
            if stop.is_set():
                break
            session.config_board(f"z{place + 1}01Z")
            _collect(session, board, settle, stop)
            data = _collect(session, board, seconds, stop)
            session.config_board(f"z{place + 1}00Z")
            if data.shape[1]:
                found.append(_judge(label, place, data, board))
                tell(found[-1])
    except shim.BrainFlowError as error:
        raise BoardError(
            f"The impedance check failed ({error}), expected a board that goes on sending: switch "
            "it off and on, and try again."
        ) from None
    finally:
        release_board(session, shim.BrainFlowError)
    return tuple(found)


def _judge(label: str, place: int, data: Float64, board: Board) -> Impedance:
    values = data[board.rows[place]]
    steps = np.diff(data[board.counter_row], prepend=data[board.counter_row, :1]) % 256
    ohm, error = fit_impedance(values, np.cumsum(steps), board.sfreq)
    railed = bool(np.mean(np.abs(values) > _RAIL_UV) > 0.05)
    return Impedance(label, ohm, error, judge_impedance(ohm, railed=railed))


def _collect(session: Any, board: Board, seconds: float, stop: threading.Event) -> Float64:
    """The next `seconds` of data, shape (n_rows, n_times), counted in samples."""
    wanted, parts, n_times, waited = round(seconds * board.sfreq), [], 0, 0.0
    while n_times < wanted and not stop.wait(_POLL):
        part = session.get_board_data()
        waited = 0.0 if part.shape[1] else waited + _POLL
        if waited > _SILENCE:
            raise BoardError(
                f"The board has sent nothing for {_SILENCE:g} s, expected samples: check that it "
                "is switched on and near."
            )
        parts.append(part)
        n_times += part.shape[1]
    return np.concatenate(parts, axis=1)[:, :wanted] if parts else np.empty((0, 0))
