"""Records any LSL streams to one XDF file, as they come.

Owns one thread a stream (pull, clock probes) in front of a `StreamRecorder`. A stream that comes
back after a loss, or appears late, is a stream of its own with its own header: nothing is ever
written under another stream's labels. Knows nothing of roles or sessions.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pylsl

from configs import RecordingConfig
from devices.errors import SourceError
from devices.lsl.connection import Connection, StreamLostError
from devices.lsl.discovery import Finder
from devices.stream_recorder import StreamRecorder
from pipeline.values import StreamInfo

_PULL: Final = 0.2
"""Longest wait of one pull, s."""
_LOOK: Final = 0.5
"""Between two looks for late streams, s."""
_BUFFER: Final = 60
"""Seconds that liblsl keeps for a reader that is late."""
_CONNECT: Final = 5.0


@dataclass(slots=True)
class StreamTally:
    """One stream's progress: samples received, and what went wrong with it."""

    info: StreamInfo
    n_samples: int = 0
    note: str = ""
    thread: threading.Thread | None = field(default=None, repr=False)


class LslRecording:
    """Records until closed.

    Parameters
    ----------
    path : Path
        File to create; never overwritten.
    source_ids : sequence of str
        Streams to record; empty: every stream in reach, late ones included.
    resolve_timeout : float
        How long to look for them, s.
    config : RecordingConfig, optional
    stop : threading.Event, optional
        Ends the search for streams and every wait; the recording is finished by `close`.

    Raises
    ------
    SourceError
        A stream that was named, or any stream at all, is not in reach.
    RecordingError
        The file exists or cannot be created.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        source_ids: Sequence[str] = (),
        resolve_timeout: float = 5.0,
        config: RecordingConfig | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._config = config or RecordingConfig()
        self._wanted = frozenset(source_ids)
        self._stop = stop or threading.Event()
        self.tallies: dict[str, StreamTally] = {}
        """By the outlet's uid, in the order of joining."""
        self._finder = Finder()
        try:
            first = self._find_first(resolve_timeout)
            self._recorder = StreamRecorder(path, self._config)
        except BaseException:
            self._finder.close()
            raise
        for info, native in first:
            self._join(info, native)

    @property
    def alarm(self) -> str:
        """One sentence while something is wrong; `""` while all is well."""
        return self._recorder.alarm

    @property
    def paths(self) -> Sequence[Path]:
        """Files of the recording: more than one after a fallback."""
        return tuple(self._recorder.paths)

    @property
    def bytes_written(self) -> int:
        """Bytes in the file."""
        return self._recorder.bytes_written

    def wait(self, timeout: float) -> None:
        """Record for `timeout` s, looking for streams that appear meanwhile."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0 and not self._stop.wait(min(left, _LOOK)):
            for info, native in self._found():
                if info.uid not in self.tallies:
                    self._join(info, native)

    def close(self, timeout: float = 10.0) -> bool:
        """Finish the file; False when not everything is in it (see `alarm`)."""
        self._stop.set()
        for tally in self.tallies.values():
            if tally.thread is not None:
                tally.thread.join(_CONNECT)
        self._finder.close()
        return self._recorder.close(timeout)

    def _found(self) -> list[tuple[StreamInfo, pylsl.StreamInfo]]:
        streams = self._finder.look()
        return [s for s in streams if not self._wanted or s[0].source_id in self._wanted]

    def _find_first(self, timeout: float) -> list[tuple[StreamInfo, pylsl.StreamInfo]]:
        deadline = time.monotonic() + timeout
        while True:
            found = self._found()
            missing = self._wanted - {info.source_id for info, _ in found}
            late = time.monotonic() >= deadline
            # Without names there is no telling when all have answered: look a second at least.
            settled = self._wanted or time.monotonic() >= deadline - timeout + min(1.0, timeout)
            if found and not missing and settled:
                return found
            if late or self._stop.is_set():
                break
            self._stop.wait(0.05)
        seen = ", ".join(repr(info.source_id) for info, _ in self._finder.look()) or "none"
        what = f" with source_id {', '.join(map(repr, sorted(missing)))}" if self._wanted else ""
        raise SourceError(
            f"Found no stream{what} within {timeout:g} s, in reach: {seen}. Start its program, or "
            "see `phosphene streams`."
        )

    def _join(self, info: StreamInfo, native: pylsl.StreamInfo) -> None:
        tally = self.tallies[info.uid] = StreamTally(info)
        stream_id = len(self.tallies)
        tally.thread = threading.Thread(
            target=self._record, args=(stream_id, tally, native), name=f"record-{stream_id}"
        )
        tally.thread.start()

    def _record(self, stream_id: int, tally: StreamTally, native: pylsl.StreamInfo) -> None:
        try:
            connection = Connection(native, max_buflen=_BUFFER, timeout=_CONNECT, stop=self._stop)
        except SourceError as error:
            tally.note = str(error)
            return
        try:
            tally.info = connection.info
            self._recorder.declare(stream_id, connection.info)
            self._recorder.put_offset(stream_id, pylsl.local_clock(), connection.first_offset)
            self._pull(stream_id, tally, connection)
        except StreamLostError as error:
            tally.note = str(error)
        finally:
            connection.close()

    def _pull(self, stream_id: int, tally: StreamTally, connection: Connection) -> None:
        info = connection.info
        n_times = max(64, min(int(np.ceil(info.sfreq)), (1 << 22) // info.n_channels))
        dest: Any = (
            None
            if connection.is_text
            else np.empty((n_times, info.n_channels), dtype=connection.dtype)
        )
        probed_at = time.monotonic()
        while True:
            # Asked before the pull: what was sent before the end is still fetched once.
            last = self._stop.is_set()
            n_new = self._pull_once(stream_id, connection, dest)
            tally.n_samples += n_new
            if time.monotonic() - probed_at >= self._config.clock_offset_interval:
                probed_at = time.monotonic()
                offset = connection.offset()
                if offset is not None:
                    self._recorder.put_offset(stream_id, pylsl.local_clock(), offset)
            if last:
                return
            if dest is None and not n_new:
                # Strings are pulled without waiting, so that other threads can run meanwhile.
                self._stop.wait(0.02)

    def _pull_once(self, stream_id: int, connection: Connection, dest: Any) -> int:
        if dest is None:
            rows, stamps = connection.pull_text(1024)
            if rows:
                self._recorder.put_samples(stream_id, rows, stamps)
            return len(rows)
        wait = 0.0 if self._stop.is_set() else _PULL
        stamps = connection.pull(dest, timeout=wait, at_least_one=True)
        if len(stamps):
            self._recorder.put_samples(stream_id, dest[: len(stamps)].copy(), stamps)
        return len(stamps)
