"""Writes numbered streams to XDF in a thread of its own, and never holds up who brings them.

Owns one thread and one queue bounded in bytes. `put_*` return at once; what does not fit is
dropped, counted and said. Items are written in the order of their arrival across all streams. When
a write fails the reason stands in `alarm` within a second, what waits stays queued, and writing is
tried again: if space returns, the file goes on without a hole. Where a fallback folder is given the
recording goes on there instead, in a file that begins up to 30 s earlier: what the system had taken
but not yet put on a disk that is gone is in it too. Knows nothing of roles or sessions.
"""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from configs import RecordingConfig
from configs.private import make_private
from devices.errors import FileTakenError, RecordingError
from devices.xdf.writer import XdfWriter
from pipeline.values import Float64, StreamInfo

_log = logging.getLogger(__name__)

_TICK: Final = 0.1
_FLUSH: Final = 0.25
"""Longest wait of the thread, and time between flushes, s: a failed write is said, and a flush
done, well within the second that is promised, on a busy machine too."""
_STUCK: Final = 1.0
"""A write that takes longer is said, s."""
_MAX_PENDING: Final = 4 << 20
"""Bytes that the writer may hold back when the disk fails; the rest waits in the queue."""
_OVERLAP: Final = 30.0
"""How far a file in the fallback folder begins before the failure, s; longer than two `fsync`s."""
_MAX_OVERLAP: Final = 64 << 20
"""Bytes that are kept for it."""


@dataclass(frozen=True, slots=True)
class _Declare:
    stream_id: int
    info: StreamInfo
    role: str

    size = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Samples:
    stream_id: int
    samples: NDArray[Any] | Sequence[Any]
    timestamps: Float64
    size: int


@dataclass(frozen=True, slots=True)
class _Probe:
    stream_id: int
    measured_at: float
    offset: float

    size = 32


class StreamRecorder:
    """Writes any number of numbered streams to one XDF file, in a thread of its own.

    Parameters
    ----------
    path : Path
        File to create; never overwritten.
    config : RecordingConfig
    max_queued : int
        Bytes that may wait for the disk.
    free_space : callable
        Free bytes of a folder.

    Raises
    ------
    RecordingError
        The file exists or cannot be created.
    """

    def __init__(
        self,
        path: Path | str,
        config: RecordingConfig,
        *,
        max_queued: int = 256 << 20,
        free_space: Callable[[Path], int] | None = None,
    ) -> None:
        self.path = Path(path)
        self.paths = [self.path]
        """Files of this recording; the last one is written to."""
        self._fallback = Path(config.fallback) if config.fallback is not None else None
        self._boundary_interval = config.boundary_interval
        self._min_free = config.min_free_mb * 1e6
        self._max_queued = max_queued
        self._free_space = free_space or (lambda folder: shutil.disk_usage(folder).free)
        self._notice = ""
        self._writer = self._open_first()
        self._declared: list[_Declare] = []
        self._recent: deque[tuple[float, _Samples | _Probe]] = deque()
        self._recent_size = 0
        self._queue: deque[_Declare | _Samples | _Probe] = deque()
        self._queued = 0
        self._condition = threading.Condition()
        self._closing = False
        self._known: set[int] = set()
        self._n_dropped = 0
        self._failure = ""
        self._disk_free: int | None = None
        self._busy_since: float | None = None
        self._looked_at = -math.inf
        self._watch_space()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------ any thread

    def declare(self, stream_id: int, info: StreamInfo, role: str = "") -> None:
        """Add a stream, at the start or later; a number that is known already changes nothing."""
        with self._condition:
            if stream_id not in self._known and not self._closing:
                self._known.add(stream_id)
                self._queue.append(_Declare(stream_id, info, role))
                self._condition.notify()

    def put_samples(
        self, stream_id: int, samples: NDArray[Any] | Sequence[Any], timestamps: Float64
    ) -> bool:
        """Queue samples as `XdfWriter.write_samples` takes them; False when dropped (counted).

        Never blocks, never raises. The arrays must not change afterwards.
        """
        size = 9 * len(timestamps) + (
            samples.nbytes
            if isinstance(samples, np.ndarray)
            else sum(len(s) if isinstance(s, str) else sum(map(len, s)) for s in samples)
        )
        return self._put(_Samples(stream_id, samples, timestamps, size))

    def put_offset(self, stream_id: int, measured_at: float, offset: float) -> bool:
        """Queue a clock probe (`local = sender + offset`); False when dropped (counted)."""
        return self._put(_Probe(stream_id, measured_at, offset))

    @property
    def bytes_written(self) -> int:
        """Bytes handed to the operating system."""
        return self._writer.bytes_written

    @property
    def disk_free(self) -> int | None:
        """Free bytes where the file lies, looked up once a second; None when unknown."""
        return self._disk_free

    @property
    def n_dropped(self) -> int:
        """Items that are not in the file: the queue was full, or they were unwritable."""
        return self._n_dropped

    def samples_pending(self, stream_id: int) -> int:
        """Samples of a stream that were taken and are not in the file; exact once it is closed."""
        with self._condition:
            queued = sum(
                len(item.timestamps)
                for item in self._queue
                if isinstance(item, _Samples) and item.stream_id == stream_id
            )
        return queued + self._writer.samples_pending(stream_id)

    @property
    def alarm(self) -> str:
        """One sentence while something is wrong; `""` while all is well."""
        if self._failure:
            return self._failure
        since = self._busy_since
        if since is not None and time.monotonic() - since > _STUCK:
            return (
                f"{self.path} has taken no data for {time.monotonic() - since:.0f} s: the disk "
                "hangs; what comes is kept in memory."
            )
        if self._n_dropped:
            return f"{self._n_dropped} items are missing in {self.path}: use a faster disk."
        if self._disk_free is not None and self._disk_free < self._min_free:
            return (
                f"{self._disk_free / 1e6:.0f} MB are free at {self.path.parent}, expected at least "
                f"{self._min_free / 1e6:.0f} MB: free disk space."
            )
        return self._notice

    def close(self, timeout: float = 10.0) -> bool:
        """Write what waits and the footers; False when not all of it is in the file.

        Safe to call twice. Waits at most `timeout` seconds; `alarm` says what went wrong.
        """
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._failure = f"{self.path} was not finished within {timeout:g} s: the disk hangs."
        return not self._failure and self._n_dropped == 0

    # ------------------------------------------------------------------ the thread

    def _put(self, item: _Samples | _Probe) -> bool:
        with self._condition:
            fits = self._queued + item.size <= self._max_queued
            if self._closing or not fits or item.stream_id not in self._known:
                self._n_dropped += 1
                return False
            self._queue.append(item)
            self._queued += item.size
            self._condition.notify()
        return True

    def _run(self) -> None:
        try:
            while not self._step():
                pass
        except Exception as error:  # noqa: BLE001
            # The thread's top: whatever it was, the session must hear of it and go on.
            _log.exception("the recorder failed")
            self._failure = f"recording {self.path} failed ({error}): the file ends here."
            with self._condition:
                self._closing = True
                self._n_dropped += len(self._queue)
                self._queue.clear()
            with contextlib.suppress(RecordingError):
                self._writer.close()

    def _step(self) -> bool:
        """Write what waits; True when closed."""
        batch, closing = self._take()
        self._busy_since = time.monotonic()
        for item in batch:
            self._write(item)
        self._watch_space()
        try:
            if closing:
                self._writer.close()
            if closing or self._writer.tick():
                self._failure = ""
        except RecordingError as error:
            if not self._failure:  # then only its numbers change, several times a second
                _log.info("%s", error)
            self._failure = str(error)
            if self._fallback is not None and self._go_on_elsewhere(self._fallback):
                closing = False  # if it was asked for, it is the next step's
        self._busy_since = None
        return closing

    def _take(self) -> tuple[list[_Declare | _Samples | _Probe], bool]:
        with self._condition:
            if not self._queue and not self._closing:
                self._condition.wait(_TICK)
            elif self._failure and not self._closing:
                # Nothing gets through: look again soon, without spinning on a full queue.
                self._condition.wait_for(lambda: self._closing, _TICK)
            if self._writer.bytes_pending > _MAX_PENDING and not self._closing:
                return [], False
            batch = list(self._queue)
            self._queue.clear()
            self._queued = 0
            return batch, self._closing

    def _open_first(self) -> XdfWriter:
        """The file, or one in the fallback folder where it cannot be made at all."""
        try:
            return self._open(self.path)
        except RecordingError as error:
            if self._fallback is None or self.path.exists():
                raise
            writer = self._open_free(self._fallback)
            self._note_move(writer.path, str(error))
            self.paths = [writer.path]
            return writer

    def _open(self, path: Path) -> XdfWriter:
        return XdfWriter(path, flush_interval=_FLUSH, boundary_interval=self._boundary_interval)

    def _open_free(self, folder: Path) -> XdfWriter:
        """Open a file under a name that none has in `folder`; another recorder may look, too."""
        while True:
            target = _free_name(folder, self.path)
            try:
                return self._open(target)
            except FileTakenError:
                continue

    def _go_on_elsewhere(self, folder: Path) -> bool:
        """Begin a file in the fallback folder with all that is kept; False when that fails too."""
        try:
            writer = self._open_free(folder)
        except RecordingError as error:
            self._failure += f" The fallback failed too: {error}"
            return False
        old, self._writer = self._writer, writer
        with contextlib.suppress(RecordingError):
            old.close()
        self._fallback = None  # no third place: a failure there waits, as without one
        self._note_move(writer.path, self._failure)
        self.paths.append(writer.path)
        self._failure = ""
        for item in (*self._declared, *(kept for _, kept in self._recent)):
            self._write_now(item)
        return True

    def _note_move(self, path: Path, reason: str) -> None:
        self.path = path
        self._notice = f"The recording goes on in {path}, because {reason}"
        _log.info("%s", self._notice)

    def _keep(self, item: _Samples | _Probe) -> None:
        """Remember the newest items for a file that has to begin anew."""
        now = time.monotonic()
        self._recent.append((now, item))
        self._recent_size += item.size
        if self._failure:
            return  # what the failed file could not take must not be forgotten
        while self._recent_size > _MAX_OVERLAP or self._recent[0][0] < now - _OVERLAP:
            self._recent_size -= self._recent.popleft()[1].size

    def _write(self, item: _Declare | _Samples | _Probe) -> None:
        if not self._write_now(item):
            self._n_dropped += 1
        elif isinstance(item, _Declare):
            self._declared.append(item)
        elif self._fallback is not None:
            self._keep(item)

    def _write_now(self, item: _Declare | _Samples | _Probe) -> bool:
        try:
            if isinstance(item, _Samples):
                self._writer.write_samples(item.stream_id, item.samples, item.timestamps)
            elif isinstance(item, _Probe):
                self._writer.write_clock_offset(item.stream_id, item.measured_at, item.offset)
            else:
                role = {"role": item.role} if item.role else None
                self._writer.add_stream(item.stream_id, item.info, role)
        except (RecordingError, KeyError, ValueError, AttributeError) as error:
            # One item that does not fit its stream must not cost the others.
            _log.error("an item of stream %d is not recorded: %s", item.stream_id, error)
            return False
        return True

    def _watch_space(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < 1.0:
            return
        self._looked_at = now
        try:
            self._disk_free = self._free_space(self.path.parent)
        except OSError:
            self._disk_free = None


def _free_name(folder: Path, path: Path) -> Path:
    """A name in the fallback folder that no file has."""
    try:
        make_private(folder)
    except OSError as error:
        raise RecordingError(
            f"{folder} cannot be made ({error.strerror}): give another fallback folder."
        ) from error
    target, number = folder / path.name, 1
    while target.exists():
        number += 1
        target = folder / f"{path.stem}-{number}{path.suffix}"
    return target
