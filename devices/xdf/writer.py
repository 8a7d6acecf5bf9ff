"""Writes XDF 1.0 as it comes, so that a crash costs half a second.

Owns one file: created exclusively, whole chunks appended in the order of the calls, handed to the
operating system at least every `flush_interval`, boundary chunks and `fsync` every
`boundary_interval`, footers at the end. Knows nothing of sessions or threads (one thread calls).

What survives what: the process killed: everything up to the last flush (0.5 s); the power cut:
everything up to the last `fsync` (10 s). A write that fails raises, and what it could not write
stays buffered: call `flush` again when there is space, and the file goes on without a hole.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from configs.private import FILE
from devices.errors import FileTakenError, RecordingError
from devices.xdf.layout import (
    BOUNDARY,
    FORMATS,
    MAGIC,
    Tag,
    add_tree,
    header_xml,
    sample_dtype,
    write_xml,
)
from pipeline.values import Float64, StreamInfo


@dataclass(slots=True)
class _Stream:
    info: StreamInfo
    record: np.dtype[Any] | None
    """Layout of one sample; None for strings."""
    n_samples: int = 0
    first: float = 0.0
    last: float = 0.0
    n_offsets: int = 0


class XdfWriter:
    """A streaming XDF file.

    Parameters
    ----------
    path : Path
        File to create; it must not exist, its folder must.
    flush_interval, boundary_interval : float
        See the module's head, s.
    clock : callable
        Monotonic seconds.

    Raises
    ------
    RecordingError
        The file exists or cannot be created; later, a write failed or the file vanished.
    """

    def __init__(
        self,
        path: Path,
        *,
        flush_interval: float = 0.5,
        boundary_interval: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._flush_interval = flush_interval
        self._boundary_interval = boundary_interval
        self._clock = clock
        self._streams: dict[int, _Stream] = {}
        self._buffer = bytearray()
        self._bytes_written = self._whole = 0
        # Chunks that wait: where each ends, its stream and its samples (0: none).
        self._unwritten: deque[tuple[int, int, int]] = deque()
        self._closed = False
        # O_EXCL: an old recording is never overwritten, not even by a race of two programs.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        try:
            self._fd = os.open(path, flags, FILE)
        except FileExistsError:
            raise FileTakenError(
                f"{path} exists already and is never overwritten: give another file name."
            ) from None
        except OSError as error:
            raise RecordingError(
                f"{path} cannot be created ({error.strerror}): give a folder that exists and "
                "can be written."
            ) from error
        self._flushed_at = self._boundary_at = clock()
        self._buffer += MAGIC
        root = ElementTree.Element("info")
        add_tree(root, {"version": "1.0", "datetime": time.strftime("%Y-%m-%dT%H:%M:%S%z")})
        self._chunk(Tag.FILE_HEADER, write_xml(root))

    @property
    def bytes_written(self) -> int:
        """Bytes handed to the operating system."""
        return self._bytes_written

    @property
    def bytes_pending(self) -> int:
        """Bytes that wait for the next flush."""
        return len(self._buffer)

    def samples_pending(self, stream_id: int) -> int:
        """Samples of a stream that are not in the file yet, or not as a whole chunk."""
        return sum(n for _, number, n in self._unwritten if number == stream_id)

    def add_stream(
        self, stream_id: int, info: StreamInfo, extra: Mapping[str, str] | None = None
    ) -> None:
        """Declare a stream; allowed at any time, before its first sample.

        Raises
        ------
        RecordingError
            The number is taken, or XDF has no such format.
        """
        if stream_id in self._streams:
            raise RecordingError(f"stream {stream_id} is declared already: give another number.")
        if info.channel_format not in FORMATS and info.channel_format != "string":
            raise RecordingError(
                f"stream {info.name!r} has format {info.channel_format!r}, expected one of "
                f"{', '.join(FORMATS)} or string: XDF cannot hold it."
            )
        record = (
            None
            if info.channel_format == "string"
            else sample_dtype(info.channel_format, info.n_channels)
        )
        self._streams[stream_id] = _Stream(info, record)
        self._chunk(Tag.STREAM_HEADER, struct.pack("<I", stream_id) + header_xml(info, extra))

    def write_samples(
        self,
        stream_id: int,
        samples: NDArray[Any] | Sequence[str] | Sequence[Sequence[str]],
        timestamps: Float64,
    ) -> None:
        """Append one samples chunk, every sample with its stamp.

        Parameters
        ----------
        stream_id : int
        samples : ndarray, shape (n_times, n_channels), the stream's own dtype; or strings
            One string a sample (the first channel; others stay empty), or one sequence of strings.
        timestamps : ndarray, shape (n_times,), float64
            Raw stamps, s.
        """
        n_times = len(timestamps)
        if n_times == 0:
            return
        stream = self._streams[stream_id]
        content = (
            _pack_strings(samples, timestamps, stream.info.n_channels)
            if stream.record is None
            else _pack_numbers(samples, timestamps, stream)
        )
        head = struct.pack("<I", stream_id) + struct.pack("<BI", 4, n_times)
        self._chunk(Tag.SAMPLES, head + content, stream_id, n_times)
        if stream.n_samples == 0:
            stream.first = float(timestamps[0])
        stream.last = float(timestamps[-1])
        stream.n_samples += n_times

    def write_clock_offset(self, stream_id: int, measured_at: float, offset: float) -> None:
        """Append a clock probe: `local = sender + offset`, measured at `measured_at` (local, s).

        XDF keeps the probe's time on the *sender's* clock, as LabRecorder writes it.
        """
        self._streams[stream_id].n_offsets += 1
        collected = sender_time(measured_at, offset)
        self._chunk(Tag.CLOCK_OFFSET, struct.pack("<Idd", stream_id, collected, offset))

    def tick(self) -> bool:
        """Flush and add boundaries when it is time; call at least every `flush_interval`.

        Returns whether something was flushed.

        Raises
        ------
        RecordingError
            The write failed or the file vanished; nothing that was buffered is lost.
        """
        now = self._clock()
        if now - self._boundary_at >= self._boundary_interval:
            self._boundary_at = now
            self._chunk(Tag.BOUNDARY, BOUNDARY)
            self.flush(sync=True)
        elif now - self._flushed_at >= self._flush_interval:
            self.flush()
        else:
            return False
        return True

    def flush(self, *, sync: bool = False) -> None:
        """Hand everything to the operating system; `sync` waits for the disk.

        Raises
        ------
        RecordingError
            As `tick`.
        """
        self._flushed_at = self._clock()
        try:
            while self._buffer:
                # A short write is legal: what is left goes next, in order.
                # Both views end here: one that an error's traceback held would pin the buffer.
                with memoryview(self._buffer) as view, view[: 1 << 20] as part:
                    n = os.write(self._fd, part)
                del self._buffer[:n]
                self._bytes_written += n
                while self._unwritten and self._unwritten[0][0] <= self._bytes_written:
                    self._whole = self._unwritten.popleft()[0]
            if sync:
                os.fsync(self._fd)
            self._check_there()
        except OSError as error:
            raise RecordingError(
                f"writing {self.path} failed ({error.strerror}), {len(self._buffer)} bytes wait: "
                "free disk space or record to another folder."
            ) from error

    def _check_there(self) -> None:
        """A deleted file takes writes without an error, for ever: look whether it is there."""
        try:
            if os.path.samestat(self.path.stat(), os.fstat(self._fd)):
                return
            reason = "was replaced by another file"
        except FileNotFoundError:
            reason = "vanished (deleted, or its folder moved or unplugged)"
        raise RecordingError(
            f"{self.path} {reason} while it was being recorded: record to another folder."
        )

    def close(self) -> None:
        """Write the footers and close; safe to call twice.

        Raises
        ------
        RecordingError
            The rest could not be written; the file ends with its last whole chunk.
        """
        if self._closed:
            return
        self._closed = True
        for stream_id, stream in self._streams.items():
            self._chunk(Tag.STREAM_FOOTER, struct.pack("<I", stream_id) + _footer_xml(stream))
        try:
            self.flush(sync=True)
        finally:
            if self._buffer and self._whole:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, self._whole)
            os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _chunk(self, tag: Tag, content: bytes, stream_id: int = 0, n_times: int = 0) -> None:
        length = len(content) + 2
        head = struct.pack("<BI", 4, length) if length < 2**32 else struct.pack("<BQ", 8, length)
        self._buffer += head
        self._buffer += struct.pack("<H", tag)
        self._buffer += content
        self._unwritten.append((self._bytes_written + len(self._buffer), stream_id, n_times))


def sender_time(measured_at: float, offset: float) -> float:
    """The probe's time on the sender's clock, such that adding `offset` gives `measured_at` back.

    A plain subtraction is off by one unit in the last place now and then; a replay must get the
    same bits. (Not always possible when the sender's clock reads far more than ours.)
    """
    collected = measured_at - offset
    for candidate in (
        collected,
        float(np.nextafter(collected, -np.inf)),
        float(np.nextafter(collected, np.inf)),
    ):
        if candidate + offset == measured_at:
            return candidate
    return collected


def _pack_numbers(samples: Any, timestamps: Float64, stream: _Stream) -> bytes:
    values = np.asarray(samples)
    expected = (len(timestamps), stream.info.n_channels)
    if values.shape != expected:
        raise RecordingError(
            f"samples of stream {stream.info.name!r} have shape {values.shape}, expected "
            f"{expected}: (n_times, n_channels)."
        )
    packed = np.empty(len(timestamps), dtype=stream.record)
    packed["flag"] = 8
    packed["stamp"] = timestamps
    packed["values"] = values
    return packed.tobytes()


def _pack_strings(samples: Any, timestamps: Float64, n_channels: int) -> bytes:
    parts: list[bytes] = []
    for stamp, sample in zip(timestamps, samples, strict=True):
        parts.append(struct.pack("<Bd", 8, stamp))
        values = (sample,) if isinstance(sample, str) else tuple(sample)
        for k in range(n_channels):
            raw = values[k].encode("utf-8", "replace") if k < len(values) else b""
            parts.append(
                struct.pack("<BB", 1, len(raw))
                if len(raw) < 256
                else struct.pack("<BI", 4, len(raw))
            )
            parts.append(raw)
    return b"".join(parts)


def _footer_xml(stream: _Stream) -> bytes:
    root = ElementTree.Element("info")
    rate = (
        (stream.n_samples - 1) / (stream.last - stream.first)
        if stream.n_samples > 1 and stream.last > stream.first
        else 0.0
    )
    add_tree(
        root,
        {
            "first_timestamp": repr(stream.first),
            "last_timestamp": repr(stream.last),
            "sample_count": stream.n_samples,
            "measured_srate": repr(rate) if stream.info.sfreq else "0",
            "clock_offset_count": stream.n_offsets,
        },
    )
    return write_xml(root)
