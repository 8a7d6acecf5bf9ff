"""Boards for the window: listed here, tested and bridged in processes of their own.

Owns these processes and what they say to each other. A driver that hangs or crashes costs a
sentence, never the window. Satisfies `app.view_models.sources.boards.BoardService`; knows no Qt.

`python -m app.boards` is the process of a test or of an impedance check: it reads a request and
writes a line of JSON for every quarter of a second that it has arrivals, or for every electrode.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

from app.errors import AppError
from app.runtime.processes import end_command, start_module
from app.view_models.sources.boards import BoardEntry, BoardRequest, Contact, TestProgress
from pipeline.values import StreamInfo

SILENCE = 5.0
"""A board that is open but sends nothing for so long (s) is said to be silent."""
_PERIOD = 0.25
_POLL = 0.05


class ProcessBoards:
    """Reaches boards through BrainFlow (an extra) in processes of their own."""

    def boards(self) -> Sequence[BoardEntry]:
        """List what the installed BrainFlow knows and we can decode; raises `BoardError`."""
        from devices.boards import list_boards

        return [
            BoardEntry(
                name=board.name,
                title=board.title,
                sfreq=board.sfreq,
                ch_names=board.ch_names,
                required=board.needs.required,
                optional=board.needs.optional,
                hint=board.needs.hint,
                has_impedance=bool(board.impedance),
            )
            for board in list_boards()
            if board.rows or "master_board" in board.needs.required
        ]

    def ports(self) -> Sequence[str]:
        """Serial ports of this computer."""
        from devices.boards import serial_ports

        return serial_ports()

    def test(
        self,
        request: BoardRequest,
        seconds: float,
        progress: Callable[[TestProgress], None],
        stop: threading.Event,
    ) -> None:
        """Open the board, listen for `seconds`; raises `AppError` with the board's sentence."""
        with (
            _running("app.boards", _as_json(request, seconds)) as process,
            _watching(process, stop),
        ):
            for line in process.stdout or ():
                said = json.loads(line)
                if "error" in said:
                    raise AppError(str(said["error"]))
                progress(_read_progress(said))
            if process.wait() and not stop.is_set():
                raise AppError(f"The test ended early ({_last_line(process)}): try again.")

    def impedance(
        self, request: BoardRequest, tell: Callable[[Contact], None], stop: threading.Event
    ) -> None:
        """Measure every electrode; raises `AppError` with the board's sentence."""
        asked = _as_json(request, 0.0, what="impedance")
        with _running("app.boards", asked) as process, _watching(process, stop):
            for line in process.stdout or ():
                said = json.loads(line)
                if "error" in said:
                    raise AppError(str(said["error"]))
                tell(Contact(str(said["ch_name"]), float(said["kohm"]), str(said["verdict"])))
            if process.wait() and not stop.is_set():
                raise AppError(f"The check ended early ({_last_line(process)}): try again.")

    def connect(self, request: BoardRequest, stop: threading.Event) -> ProcessLink:
        """Start `phosphene device`; returns once the board streams."""
        command = ["device", request.board, "--json", "--end-with-stdin"]
        for name, value in request.parameters.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        if request.ch_names:
            command += ["--montage", ",".join(request.ch_names)]
        if request.master_board:
            command += ["--master-board", request.master_board]
        process = start_module("phosphene", *command, stderr=subprocess.PIPE)
        with _watching(process, stop):
            described = _read_object(process.stdout)
        if described is None:
            process.wait()
            reason = "" if stop.is_set() else _last_line(process)
            _close_pipes(process)
            raise AppError(reason.removeprefix("phosphene device: ") or "The connection was ended.")
        return ProcessLink(process, _stream(described))


class ProcessLink:
    """A bridge that runs; satisfies `BoardLink`."""

    def __init__(self, process: subprocess.Popen[str], stream: StreamInfo) -> None:
        self._process = process
        self._stream = stream
        self._last = ""
        # Both pipes are read to their end: one that is full would stop the bridge.
        self._readers = [
            threading.Thread(target=self._read, args=(pipe,), name="board-output", daemon=True)
            for pipe in (process.stdout, process.stderr)
        ]
        for reader in self._readers:
            reader.start()

    @property
    def stream(self) -> StreamInfo:
        """The stream to connect to."""
        return self._stream

    @property
    def error(self) -> str:
        """Why the bridge has ended by itself; empty while it runs."""
        if self._process.poll() is None:
            return ""
        words = self._last.removeprefix("phosphene device: ")
        return words or "The board's process has ended: connect it again."

    def close(self) -> None:
        """End the bridge; the board is given back by it."""
        end_command(self._process)
        for reader in self._readers:
            reader.join(2.0)
        _close_pipes(self._process)

    def _read(self, pipe: IO[str] | None) -> None:
        for line in pipe or ():
            self._last = line.strip() or self._last


def _as_json(request: BoardRequest, seconds: float, *, what: str = "test") -> str:
    return json.dumps(
        {
            "what": what,
            "board": request.board,
            "parameters": dict(request.parameters),
            "ch_names": list(request.ch_names),
            "master_board": request.master_board,
            "seconds": seconds,
        }
    )


def _read_progress(said: dict[str, Any]) -> TestProgress:
    return TestProgress(
        title=str(said["title"]),
        seconds=float(said["seconds"]),
        n_samples=int(said["n_samples"]),
        rate=None if said["rate"] is None else float(said["rate"]),
        peak_to_peak=tuple((str(name), float(value)) for name, value in said["peak_to_peak"]),
    )


def _stream(said: dict[str, Any]) -> StreamInfo:
    return StreamInfo(
        name=str(said["name"]),
        type="EEG",
        source_id=str(said["source_id"]),
        n_channels=len(said["ch_names"]),
        sfreq=float(said["sfreq"]),
        channel_format="float32",
        ch_names=tuple(said["ch_names"]),
        ch_units=tuple(said["ch_units"]),
        ch_types=tuple(said["ch_types"]),
    )


def _read_object(pipe: IO[str] | None) -> dict[str, Any] | None:
    """Read lines until they are one object of JSON; None where they end before."""
    text = ""
    for line in pipe or ():
        text += line
        with suppress(json.JSONDecodeError):
            found: dict[str, Any] = json.loads(text)
            return found
    return None


@contextmanager
def _running(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = start_module(module, *arguments, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        end_command(process)
        _close_pipes(process)


@contextmanager
def _watching(process: subprocess.Popen[str], stop: threading.Event) -> Iterator[None]:
    """End the process when `stop` is set, however deep its driver sleeps."""
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            if stop.wait(_POLL):
                end_command(process)
                return

    watcher = threading.Thread(target=watch, name="board-watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _close_pipes(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _last_line(process: subprocess.Popen[str]) -> str:
    lines = [] if process.stderr is None else process.stderr.read().strip().splitlines()
    return lines[-1] if lines else "it said nothing"


# ------------------------------------------------------------------ the process of a test


def _say(**words: Any) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def _listen(request: dict[str, Any], stop: threading.Event) -> None:
    """Open the board and say what it sends; raises `BoardError`."""
    import numpy as np

    from devices.boards import load_brainflow
    from devices.brainflow_bridge import (
        BrainFlowBridge,
        BridgeSettings,
        connect_board,
        release_board,
    )

    settings = BridgeSettings(
        board=request["board"],
        parameters=request["parameters"],
        ch_names=tuple(request["ch_names"]),
        master_board=request["master_board"],
    )
    board = BrainFlowBridge(settings).board  # checks what is given before anything is opened
    labels = settings.ch_names or board.ch_names
    shim = load_brainflow()
    session = connect_board(shim, board, settings)
    arrivals = _Arrivals(board.title, time.monotonic())
    newest = np.empty((len(board.rows), 0))
    try:
        while arrivals.seconds < request["seconds"] and not stop.wait(_PERIOD):
            data = session.get_board_data()
            arrivals.take(data.shape[1], time.monotonic())
            newest = np.concatenate([newest, data[list(board.rows)]], axis=1)
            newest = newest[:, -max(2, round(board.sfreq / 2)) :]
            peak_to_peak = np.ptp(newest, axis=1) if newest.shape[1] else np.zeros(len(board.rows))
            _say(
                title=arrivals.title,
                seconds=arrivals.seconds,
                n_samples=arrivals.n_samples,
                rate=arrivals.rate,
                peak_to_peak=[
                    (name, float(value)) for name, value in zip(labels, peak_to_peak, strict=True)
                ],
            )
            if arrivals.silent_for > SILENCE:
                raise AppError(
                    f"{board.title} is open but has sent nothing for {SILENCE:g} s: switch the "
                    "board itself on (a dongle answers without it), and bring it nearer."
                )
    finally:
        release_board(session, shim.BrainFlowError)


def _measure(request: dict[str, Any], stop: threading.Event) -> None:
    """Measure the electrodes and say each; raises `BoardError`."""
    from devices.brainflow_bridge import BridgeSettings
    from devices.impedance import Impedance, measure_impedances

    def tell(found: Impedance) -> None:
        _say(ch_name=found.ch_name, kohm=found.ohm / 1000, verdict=found.verdict)

    settings = BridgeSettings(
        board=request["board"],
        parameters=request["parameters"],
        ch_names=tuple(request["ch_names"]),
        master_board=request["master_board"],
    )
    measure_impedances(settings, tell=tell, stop=stop)


class _Arrivals:
    """Counts what came after the first block, which had waited in the driver for unknown long.

    Samples, seconds and rate are of the same stretch, so that they agree with each other.
    """

    def __init__(self, title: str, now: float) -> None:
        self.title = title
        self.n_samples = 0
        self._first: float | None = None
        self._last = self._now = now

    def take(self, n_samples: int, now: float) -> None:
        """Count `n_samples` that came at `now` (s)."""
        self._now = now
        if not n_samples:
            return
        self._last = now
        if self._first is None:
            self._first = now
        else:
            self.n_samples += n_samples

    @property
    def seconds(self) -> float:
        """Time since the first block, s."""
        return 0.0 if self._first is None else self._now - self._first

    @property
    def rate(self) -> float | None:
        """Samples a second; None in the first second."""
        return self.n_samples / self.seconds if self.seconds >= 1.0 else None

    @property
    def silent_for(self) -> float:
        """Time since the last sample, or since the board was opened, s."""
        return self._now - self._last


def main(argv: Sequence[str]) -> int:
    """Run the test that `argv[0]`, JSON, asks for."""
    from devices.lifeline import follow_stdin
    from pipeline.errors import PhospheneError

    stop = threading.Event()
    follow_stdin(stop)
    try:
        request = json.loads(argv[0])
        (_measure if request["what"] == "impedance" else _listen)(request, stop)
    except PhospheneError as error:
        _say(error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
