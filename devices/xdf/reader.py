"""Reads XDF: memory-mapped, vectorised, lazily in file order, and past any damage.

Owns one file's chunks as they stand in it: raw stamps, native dtypes, clock probes, nothing
synchronised or smoothed (that is the time base's work). Damage is reported as byte ranges and
never raised; only a file that is no XDF at all is refused. Knows nothing of sessions.

A first pass walks the chunk heads (about 1 us each) into an index; values are decoded on demand.
Every length is checked against what its chunk claims to hold before it is believed, so a wrong
byte costs one chunk where the next head still fits, else what lies before the next boundary.
"""

from __future__ import annotations

import mmap
import struct
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from devices.errors import FileError
from devices.xdf.layout import (
    BOUNDARY,
    FORMATS,
    MAGIC,
    Tag,
    header_info,
    parse_xml,
    read_tree,
    sample_dtype,
)
from pipeline.values import Float64, StreamInfo


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes `start` to `stop` could not be read, wholly or in part; `reason` is one sentence."""

    start: int
    stop: int
    reason: str


@dataclass(frozen=True, slots=True)
class XdfStream:
    """One stream: its number, header, and footer where the file was closed.

    `role` is what our recorder noted, `""` in other programs' files.
    """

    stream_id: int
    info: StreamInfo
    role: str = ""
    footer: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class XdfSamples:
    """One samples chunk.

    `samples` is (n_times, n_channels) in the stream's dtype, or a tuple with one string a sample
    (one tuple of strings a sample when the stream has several channels); `timestamps` (n_times,)
    float64 are the sender's, s.
    """

    stream_id: int
    samples: NDArray[Any] | tuple[Any, ...]
    timestamps: Float64
    position: int


@dataclass(frozen=True, slots=True)
class XdfOffset:
    """One clock probe: `local = sender + offset`, at `collected` on the sender's clock (s)."""

    stream_id: int
    collected: float
    offset: float
    position: int

    @property
    def measured_at(self) -> float:
        """When the probe was made, on the recorder's clock, s."""
        return self.collected + self.offset


@dataclass(frozen=True, slots=True, eq=False)
class XdfSeries:
    """A whole stream in memory: arrays as in `XdfSamples`, and its clock probes."""

    stream: XdfStream
    samples: NDArray[Any] | tuple[Any, ...]
    timestamps: Float64
    clock_times: Float64
    clock_offsets: Float64


XdfItem = XdfSamples | XdfOffset

_USUAL = struct.Struct("<BIHIBI")
"""Head of a samples chunk with 4-byte lengths: length, tag, stream, count of samples."""


@dataclass(slots=True)
class _Layout:
    """How a stream's samples lie in the file."""

    n_channels: int
    record: np.dtype[Any] | None
    values: np.dtype[Any] | None
    step: float
    last: float = 0.0
    """Last stamp decoded: what a sample without a stamp is counted from."""

    @classmethod
    def of(cls, info: StreamInfo) -> _Layout:
        step = 1.0 / info.sfreq if info.sfreq > 0 else 0.0
        if info.channel_format == "string":
            return cls(info.n_channels, None, None, step)
        record = sample_dtype(info.channel_format, info.n_channels)
        return cls(info.n_channels, record, np.dtype(FORMATS[info.channel_format]), step)

    def fits(self, n_samples: int, n_bytes: int) -> bool:
        """Whether `n_samples` can take `n_bytes`: each has a flag, values, perhaps a stamp."""
        if n_samples < 0:
            return False
        if self.record is None:
            return n_samples * (1 + 2 * self.n_channels) <= n_bytes
        spare = n_bytes - n_samples * (self.record.itemsize - 8)
        return 0 <= spare <= 8 * n_samples and spare % 8 == 0


class XdfFile:
    """An open XDF file; a context manager.

    Attributes
    ----------
    streams : dict of int to XdfStream
        In order of appearance.
    damage : list of Damage
        What the index pass could not read; decoding may add more.

    Raises
    ------
    FileError
        The file cannot be opened, is empty, or is no XDF.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.streams: dict[int, XdfStream] = {}
        self.damage: list[Damage] = []
        self._layouts: dict[int, _Layout] = {}
        # Columns of the index: where a chunk's content (after the tag) starts and stops, its tag,
        # its stream, its count of samples. Arrays, not tuples: an hour holds 360 000 chunks.
        self._start = array("q")
        self._stop = array("q")
        self._tag = array("B")
        self._stream = array("I")
        self._count = array("q")
        self._map = _open_map(self.path)
        try:
            self._build_index()
        except BaseException:
            self._map.close()
            raise

    # ------------------------------------------------------------------ reading

    @property
    def n_chunks(self) -> int:
        """Count of samples and clock chunks."""
        return len(self._start)

    def n_samples(self, stream_id: int) -> int:
        """Samples that the chunks of a stream claim to hold."""
        counts = np.frombuffer(self._count, dtype=np.int64)
        ids = np.frombuffer(self._stream, dtype=np.uint32)
        return int(counts[ids == stream_id].sum()) if len(counts) else 0

    def iter_chunks(
        self, start: int = 0, *, streams: Collection[int] | None = None
    ) -> Iterator[XdfItem]:
        """Samples and clock probes in file order, decoded one by one.

        Parameters
        ----------
        start : int
            Number of the first chunk, as `seek` gives it.
        streams : collection of int, optional
            Only these streams; None: all.
        """
        for layout in self._layouts.values():
            layout.last = 0.0
        for number in range(start, len(self._start)):
            stream_id = self._stream[number]
            if streams is not None and stream_id not in streams:
                continue
            item = self._decode(number, stream_id)
            if item is not None:
                yield item

    def seek(self, t: float, stream_id: int) -> int:
        """Number of the chunk of `stream_id` that holds stamp `t` (sender's clock, s).

        Assumes that stamps grow, as bisection must; decodes about 20 stamps, however long the
        file is. The first chunk at or after `t` where no chunk holds it; `n_chunks` past the end.
        """
        tags = np.frombuffer(self._tag, dtype=np.uint8)
        ids = np.frombuffer(self._stream, dtype=np.uint32)
        numbers = np.flatnonzero((ids == stream_id) & (tags == Tag.SAMPLES)).tolist()
        place = bisect_left(numbers, t, key=lambda n: self._last_stamp(n, stream_id))
        return int(numbers[place]) if place < len(numbers) else self.n_chunks

    def clock_probes(self) -> dict[int, list[XdfOffset]]:
        """All clock probes by stream, in file order."""
        tags = np.frombuffer(self._tag, dtype=np.uint8)
        found: dict[int, list[XdfOffset]] = {}
        for place in np.flatnonzero(tags == Tag.CLOCK_OFFSET).tolist():
            item = self._decode(place, self._stream[place])
            if isinstance(item, XdfOffset):
                found.setdefault(item.stream_id, []).append(item)
        return found

    def last_offsets(self, number: int) -> list[XdfOffset]:
        """The last clock probe of each stream before chunk `number`."""
        tags = np.frombuffer(self._tag, dtype=np.uint8)[:number]
        found: dict[int, XdfOffset] = {}
        for place in np.flatnonzero(tags == Tag.CLOCK_OFFSET)[::-1].tolist():
            stream_id = self._stream[place]
            if stream_id not in found:
                item = self._decode(place, stream_id)
                if isinstance(item, XdfOffset):
                    found[stream_id] = item
            if len(found) == len(self.streams):
                break
        return list(found.values())

    def load(self, stream_ids: Collection[int] | None = None) -> dict[int, XdfSeries]:
        """Whole streams in memory, raw: equal to pyxdf without its clock and jitter repairs."""
        wanted = self.streams if stream_ids is None else stream_ids
        return {s: self._load_stream(s) for s in self.streams if s in wanted}

    def close(self) -> None:
        """Release the file; safe to call twice."""
        self._map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ index

    def _build_index(self) -> None:
        position, size = len(MAGIC), len(self._map)
        while position < size:
            end = self._index_usual(position, size) or self._index_chunk(position, size)
            if end is None:
                end = self._skip_damage(position, size)
            position = end

    def _index_usual(self, position: int, size: int) -> int | None:
        """Note a samples chunk of the usual make (numbers, all stamped) in one look; else None.

        An hour holds hundreds of thousands of them: this is what a seek waits for.
        """
        if position + _USUAL.size > size:
            return None
        n_bytes, length, tag, stream_id, n_bytes_count, count = _USUAL.unpack_from(
            self._map, position
        )
        if n_bytes != 4 or tag != Tag.SAMPLES or n_bytes_count != 4:
            return None
        layout = self._layouts.get(stream_id)
        end: int = position + 5 + length
        if layout is None or layout.record is None or end > size:
            return None
        if length != 11 + count * layout.record.itemsize:
            return None
        self._note(position + _USUAL.size, end, tag, stream_id, count)
        return end

    def _index_chunk(self, position: int, size: int) -> int | None:
        """Note one chunk; its end, or None when it cannot be believed."""
        head = _read_head(self._map, position, size)
        if head is None:
            return None
        tag, start, end = head
        if tag == Tag.SAMPLES:
            return end if self._index_samples(start, end) else None
        if tag == Tag.CLOCK_OFFSET:
            if end - start != 20:
                return None
            stream_id = struct.unpack_from("<I", self._map, start)[0]
            if stream_id not in self._layouts:
                self._report(position, end, f"a clock probe names the unknown stream {stream_id}")
                return end
            self._note(start + 4, end, tag, stream_id, 0)
        elif tag == Tag.BOUNDARY:
            if self._map[start:end] != BOUNDARY:
                return None
        elif tag in (Tag.STREAM_HEADER, Tag.STREAM_FOOTER):
            return self._index_xml(tag, position, start, end)
        elif tag != Tag.FILE_HEADER and not _believable(self._map, end, size):
            return None
        return end

    def _index_samples(self, start: int, end: int) -> bool:
        stream_id, n_samples, content = _samples_head(self._map, start, end)
        layout = self._layouts.get(stream_id)
        if layout is None or not layout.fits(n_samples, end - content):
            # A stream whose header was refused is skipped in whole chunks, not as a derailment.
            return layout is None and self._skip_unknown(stream_id, start, end)
        self._note(content, end, Tag.SAMPLES, stream_id, n_samples)
        return True

    def _skip_unknown(self, stream_id: int, start: int, end: int) -> bool:
        if not _believable(self._map, end, len(self._map)):
            return False
        self._report(start, end, f"samples of stream {stream_id}, which has no usable header")
        return True

    def _index_xml(self, tag: int, position: int, start: int, end: int) -> int | None:
        if end - start < 4:
            return None
        stream_id = struct.unpack_from("<I", self._map, start)[0]
        try:
            root = parse_xml(self._map[start + 4 : end])
            if tag == Tag.STREAM_FOOTER:
                if stream_id in self.streams:
                    stream = self.streams[stream_id]
                    self.streams[stream_id] = replace(stream, footer=read_tree(root))
                return end
            role, info = header_info(root)
        except ValueError as error:
            if not _believable(self._map, end, len(self._map)):
                return None
            what = "header" if tag == Tag.STREAM_HEADER else "footer"
            self._report(position, end, f"the {what} of stream {stream_id} is unusable: {error}")
            return end
        if stream_id in self.streams:
            self._report(position, end, f"stream {stream_id} is declared twice; the first counts")
            return end
        self.streams[stream_id] = XdfStream(stream_id, info, role)
        self._layouts[stream_id] = _Layout.of(info)
        return end

    def _note(self, start: int, stop: int, tag: int, stream_id: int, count: int) -> None:
        self._start.append(start)
        self._stop.append(stop)
        self._tag.append(tag)
        self._stream.append(stream_id)
        self._count.append(count)

    def _report(self, start: int, stop: int, reason: str) -> None:
        last = self.damage[-1] if self.damage else None
        if last is not None and last.reason == reason and start - last.stop <= 16:
            self.damage[-1] = Damage(last.start, stop, reason)
        else:
            self.damage.append(Damage(start, stop, reason))

    def _skip_damage(self, position: int, size: int) -> int:
        """Where to go on after a chunk that cannot be believed."""
        head = _read_head(self._map, position, size)
        if head is not None and head[2] < size and _believable(self._map, head[2], size):
            self._report(position, head[2], "a chunk does not hold what it claims; it is left out")
            return head[2]
        found = self._map.find(BOUNDARY, position + 1)
        if found >= 0:
            end = found + len(BOUNDARY)
            self._report(position, end, "a chunk's head is damaged; reading goes on at a boundary")
            return end
        self._recover_tail(position, size)
        self._report(position, size, "the file ends inside a chunk or is damaged to its end")
        return size

    def _recover_tail(self, position: int, size: int) -> None:
        """Keep the whole samples of a chunk that the end of the file cut."""
        head = _read_head(self._map, position, size, whole=False)
        if head is None or head[0] != Tag.SAMPLES:
            return
        try:
            stream_id, n_samples, content = _samples_head(self._map, head[1], size)
        except (struct.error, IndexError):
            return
        layout = self._layouts.get(stream_id)
        if layout is None or layout.record is None:
            return
        n_whole = min(n_samples, (size - content) // layout.record.itemsize)
        if n_whole <= 0:
            return
        stop = content + n_whole * layout.record.itemsize
        flags = np.frombuffer(self._map, np.uint8, stop - content, content)
        if (flags[:: layout.record.itemsize] == 8).all():
            self._note(content, stop, Tag.SAMPLES, stream_id, n_whole)
        del flags

    # ------------------------------------------------------------------ decoding

    def _decode(self, number: int, stream_id: int) -> XdfItem | None:
        start, stop = self._start[number], self._stop[number]
        if self._tag[number] == Tag.CLOCK_OFFSET:
            collected, offset = struct.unpack_from("<dd", self._map, start)
            if not (np.isfinite(collected) and np.isfinite(offset)):
                self._report(start, stop, "a clock probe is not finite; it is left out")
                return None
            return XdfOffset(stream_id, collected, offset, start)
        layout, count = self._layouts[stream_id], self._count[number]
        decoded = (
            self._strings(layout, start, stop, count)
            if layout.record is None
            else self._numbers(layout, start, stop, count)
        )
        if decoded is None:
            self._report(start, stop, "a samples chunk does not hold what it claims; left out")
            return None
        samples, stamps = decoded
        if len(stamps):
            layout.last = float(stamps[-1])
        return XdfSamples(stream_id, samples, stamps, start)

    def _records(self, layout: _Layout, start: int, stop: int, count: int) -> Any:
        """The chunk as records when every sample has a stamp, else None."""
        record = layout.record
        if record is None or stop - start != count * record.itemsize:
            return None
        records = np.frombuffer(self._map, record, count, start)
        return records if (records["flag"] == 8).all() else None

    def _numbers(
        self, layout: _Layout, start: int, stop: int, count: int
    ) -> tuple[NDArray[Any], Float64] | None:
        records = self._records(layout, start, stop, count)
        if records is not None:
            # Copies: a view would keep the file mapped.
            return records["values"].copy(), records["stamp"].copy()
        return self._walk_numbers(layout, self._map[start:stop], count)

    def _walk_numbers(
        self, layout: _Layout, content: bytes, count: int
    ) -> tuple[NDArray[Any], Float64] | None:
        """Samples of which some have no stamp: those are one period after the one before."""
        values_dtype = layout.values
        if values_dtype is None:
            return None
        width = values_dtype.itemsize * layout.n_channels
        stamps = np.empty(count)
        values = np.empty((count, layout.n_channels), values_dtype)
        position, last = 0, layout.last
        for k in range(count):
            flag = content[position] if position < len(content) else -1
            position += 1
            if flag == 8 and position + 8 <= len(content):
                last = struct.unpack_from("<d", content, position)[0]
                position += 8
            elif flag == 0:
                last += layout.step
            else:
                return None
            if position + width > len(content):
                return None
            stamps[k] = last
            values[k] = np.frombuffer(content, values_dtype, layout.n_channels, position)
            position += width
        return (values, stamps) if position == len(content) else None

    def _strings(
        self, layout: _Layout, start: int, stop: int, count: int
    ) -> tuple[tuple[Any, ...], Float64] | None:
        content = self._map[start:stop]
        stamps = np.empty(count)
        samples: list[Any] = []
        position, last = 0, layout.last
        try:
            for k in range(count):
                flag = content[position]
                position += 1
                if flag == 8:
                    last = struct.unpack_from("<d", content, position)[0]
                    position += 8
                elif flag == 0:
                    last += layout.step
                else:
                    return None
                stamps[k] = last
                values = []
                for _ in range(layout.n_channels):
                    length, position = _read_length(content, position)
                    if position + length > len(content):
                        return None
                    values.append(content[position : position + length].decode("utf-8", "replace"))
                    position += length
                samples.append(values[0] if layout.n_channels == 1 else tuple(values))
        except (IndexError, struct.error, ValueError):
            return None
        return (tuple(samples), stamps) if position == len(content) else None

    def _last_stamp(self, number: int, stream_id: int) -> float:
        layout = self._layouts[stream_id]
        layout.last = 0.0
        item = self._decode(number, stream_id)
        if isinstance(item, XdfSamples) and len(item.timestamps):
            return float(item.timestamps[-1])
        return -np.inf

    def _load_stream(self, stream_id: int) -> XdfSeries:
        stream, layout = self.streams[stream_id], self._layouts[stream_id]
        ids = np.frombuffer(self._stream, dtype=np.uint32)
        numbers = np.flatnonzero(ids == stream_id).tolist()
        layout.last = 0.0
        probes: list[XdfOffset] = []
        samples: NDArray[Any] | tuple[Any, ...]
        if layout.record is None:
            samples, stamps = self._load_strings(numbers, stream_id, probes)
        else:
            samples, stamps = self._load_numbers(numbers, stream_id, probes)
        return XdfSeries(
            stream,
            samples,
            stamps,
            np.array([p.collected for p in probes]),
            np.array([p.offset for p in probes]),
        )

    def _load_strings(
        self, numbers: list[int], stream_id: int, probes: list[XdfOffset]
    ) -> tuple[tuple[Any, ...], Float64]:
        texts: list[Any] = []
        stamps: list[Float64] = [np.empty(0)]
        for number in numbers:
            item = self._decode(number, stream_id)
            if isinstance(item, XdfOffset):
                probes.append(item)
            elif item is not None:
                texts.extend(item.samples)
                stamps.append(item.timestamps)
        return tuple(texts), np.concatenate(stamps)

    def _load_numbers(
        self, numbers: list[int], stream_id: int, probes: list[XdfOffset]
    ) -> tuple[NDArray[Any], Float64]:
        layout = self._layouts[stream_id]
        total = sum(self._count[number] for number in numbers)
        # The index pass checked every count against its bytes, so `total` is bounded by the file.
        stamps = np.empty(total)
        values = np.empty((total, layout.n_channels), layout.values)
        n = 0
        for number in numbers:
            count = self._count[number]
            records = (
                self._records(layout, self._start[number], self._stop[number], count)
                if self._tag[number] == Tag.SAMPLES
                else None
            )
            if records is not None:
                stamps[n : n + count] = records["stamp"]
                values[n : n + count] = records["values"]
                if count:
                    layout.last = float(stamps[n + count - 1])
                n += count
                continue
            item = self._decode(number, stream_id)
            if isinstance(item, XdfOffset):
                probes.append(item)
            elif item is not None:
                stamps[n : n + count] = item.timestamps
                values[n : n + count] = item.samples
                n += count
        return values[:n], stamps[:n]


def _open_map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                empty = path.stat().st_size == 0
                raise FileError(
                    f"{path} is {'empty' if empty else 'no XDF file'}, expected a file that starts "
                    "with 'XDF:': give a recording (a compressed .xdfz must be unpacked first)."
                )
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise FileError(f"{path} cannot be read ({error.strerror}): give an XDF file.") from error


def _read_head(
    data: mmap.mmap, position: int, size: int, *, whole: bool = True
) -> tuple[int, int, int] | None:
    """`(tag, start of content, end)` of the chunk at `position`, None when it is no chunk."""
    n_bytes = data[position]
    start = position + 1 + n_bytes
    if n_bytes not in (1, 4, 8) or start + 2 > size:
        return None
    length = (
        data[position + 1]
        if n_bytes == 1
        else struct.unpack_from("<I" if n_bytes == 4 else "<Q", data, position + 1)[0]
    )
    end = start + length
    if length < 2 or (whole and end > size):
        return None
    return struct.unpack_from("<H", data, start)[0], start + 2, end


def _believable(data: mmap.mmap, position: int, size: int) -> bool:
    """Whether a chunk of a known kind seems to start here (or the file ends)."""
    if position >= size:
        return position == size
    head = _read_head(data, position, size)
    return head is not None and 1 <= head[0] <= 6


def _read_length(data: Any, position: int) -> tuple[int, int]:
    """A variable-length integer and the position after it."""
    n_bytes = data[position]
    if n_bytes == 1:
        return data[position + 1], position + 2
    if n_bytes == 4:
        return struct.unpack_from("<I", data, position + 1)[0], position + 5
    if n_bytes == 8:
        return struct.unpack_from("<Q", data, position + 1)[0], position + 9
    raise ValueError(f"a length of {n_bytes} bytes, expected 1, 4 or 8")


def _samples_head(data: mmap.mmap, start: int, end: int) -> tuple[int, int, int]:
    """Stream, count of samples, position of the first; a count of -1 when it is unreadable."""
    if end - start < 6:
        return 0xFFFFFFFF, -1, end
    stream_id = struct.unpack_from("<I", data, start)[0]
    try:
        n_samples, content = _read_length(data, start + 4)
    except (ValueError, IndexError, struct.error):
        return stream_id, -1, end
    return (stream_id, n_samples, content) if content <= end else (stream_id, -1, end)
