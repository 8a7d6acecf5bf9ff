"""Reads XDF: memory-mapped, vectorised, lazily in file order, and past any damage.

Owns one file's chunks as they stand in it: raw stamps, native dtypes, clock probes, nothing
synchronised or smoothed (that is the time base's work). Damage is reported as byte ranges and
never raised; only a file that is no XDF at all is refused. Knows nothing of sessions.
"""

from __future__ import annotations

import contextlib
import mmap
import shutil
import struct
import tempfile
import zlib
from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from configs.guard import open_file
from devices.errors import FileError
from devices.xdf.index import Damage, Index, XdfStream
from devices.xdf.layout import MAGIC, Tag
from devices.xdf.samples import decode, stamped_records
from pipeline.values import Float64

_PIECE: Final = 1 << 20


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


class XdfFile:
    """An open XDF file; a context manager.

    Attributes
    ----------
    streams : dict of int to XdfStream
        In order of appearance.
    created : datetime or None
        When it was begun, by its header.
    damage : list of Damage
        What the index pass could not read; decoding may add more.

    Raises
    ------
    FileError
        The file cannot be opened, is empty, or is no XDF.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._map = _open_map(self.path)
        try:
            self._index = Index(self._map)
        except BaseException:
            self._map.close()
            raise
        self.streams: dict[int, XdfStream] = self._index.streams
        self.created = self._index.created
        self.damage: list[Damage] = self._index.damage

    @property
    def n_chunks(self) -> int:
        """Count of samples and clock chunks."""
        return len(self._index)

    def n_samples(self, stream_id: int) -> int:
        """Samples that the chunks of a stream claim to hold."""
        return self._index.n_samples(stream_id)

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
        for layout in self._index.layouts.values():
            layout.last = 0.0
        for number in range(start, len(self._index)):
            if streams is not None and self._index.stream[number] not in streams:
                continue
            item = self._decode(number)
            if item is not None:
                yield item

    def seek(self, t: float, stream_id: int) -> int:
        """Number of the chunk of `stream_id` that holds stamp `t` (sender's clock, s).

        Assumes that stamps grow, as bisection must; decodes about 20 chunks, however long the
        file is. The first chunk at or after `t` where no chunk holds it; `n_chunks` past the end.
        """
        numbers = self._index.numbers(stream_id=stream_id, tag=Tag.SAMPLES)
        place = bisect_left(numbers, t, key=self._last_stamp)
        return numbers[place] if place < len(numbers) else self.n_chunks

    def span(self, stream_id: int) -> tuple[float, float] | None:
        """First and last stamp of a stream (sender's clock, s); None where it has no sample.

        Decodes the first and the last chunk that hold any.
        """
        numbers = self._index.numbers(stream_id=stream_id, tag=Tag.SAMPLES)
        stamps: list[float] = []
        for order, place in ((numbers, 0), (numbers[::-1], -1)):
            for number in order:
                item = self._decode(number)
                if isinstance(item, XdfSamples) and len(item.timestamps):
                    stamps.append(float(item.timestamps[place]))
                    break
        return (stamps[0], stamps[1]) if len(stamps) == 2 else None

    def clock_probes(self) -> dict[int, list[XdfOffset]]:
        """All clock probes by stream, in file order."""
        found: dict[int, list[XdfOffset]] = {}
        for number in self._index.numbers(tag=Tag.CLOCK_OFFSET):
            item = self._decode(number)
            if isinstance(item, XdfOffset):
                found.setdefault(item.stream_id, []).append(item)
        return found

    def last_offsets(self, number: int) -> list[XdfOffset]:
        """The last clock probe of each stream before chunk `number`."""
        found: dict[int, XdfOffset] = {}
        for place in reversed(self._index.numbers(tag=Tag.CLOCK_OFFSET)):
            if place < number and self._index.stream[place] not in found:
                item = self._decode(place)
                if isinstance(item, XdfOffset):
                    found[item.stream_id] = item
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

    def _decode(self, number: int) -> XdfItem | None:
        index = self._index
        stream_id, start, stop = index.stream[number], index.start[number], index.stop[number]
        if index.tag[number] == Tag.CLOCK_OFFSET:
            collected, offset = struct.unpack_from("<dd", self._map, start)
            if not (np.isfinite(collected) and np.isfinite(offset)):
                index.report(start, stop, "a clock probe is not finite; it is left out")
                return None
            return XdfOffset(stream_id, collected, offset, start)
        layout = index.layouts[stream_id]
        decoded = decode(self._map, layout, start, stop, index.count[number])
        if decoded is None:
            index.report(start, stop, "a samples chunk does not hold what it claims; left out")
            return None
        samples, stamps = decoded
        self._check_range(number, samples)
        if len(stamps):
            layout.last = float(stamps[-1])
        return XdfSamples(stream_id, samples, stamps, start)

    def _last_stamp(self, number: int) -> float:
        self._index.layouts[self._index.stream[number]].last = 0.0
        item = self._decode(number)
        if isinstance(item, XdfSamples) and len(item.timestamps):
            return float(item.timestamps[-1])
        return -np.inf

    def _load_stream(self, stream_id: int) -> XdfSeries:
        layout = self._index.layouts[stream_id]
        numbers = self._index.numbers(stream_id=stream_id)
        layout.last = 0.0
        probes: list[XdfOffset] = []
        samples: NDArray[Any] | tuple[Any, ...]
        if layout.record is None:
            samples, stamps = self._load_strings(numbers, probes)
        else:
            samples, stamps = self._load_numbers(numbers, stream_id, probes)
        return XdfSeries(
            self.streams[stream_id],
            samples,
            stamps,
            np.array([p.collected for p in probes]),
            np.array([p.offset for p in probes]),
        )

    def _load_strings(
        self, numbers: list[int], probes: list[XdfOffset]
    ) -> tuple[tuple[Any, ...], Float64]:
        texts: list[Any] = []
        stamps: list[Float64] = [np.empty(0)]
        for number in numbers:
            item = self._decode(number)
            if isinstance(item, XdfOffset):
                probes.append(item)
            elif item is not None:
                texts.extend(item.samples)
                stamps.append(item.timestamps)
        return tuple(texts), np.concatenate(stamps)

    def _load_numbers(
        self, numbers: list[int], stream_id: int, probes: list[XdfOffset]
    ) -> tuple[NDArray[Any], Float64]:
        index, layout = self._index, self._index.layouts[stream_id]
        # The index checked every count against its bytes, so the total is bounded by the file.
        total = sum(index.count[number] for number in numbers)
        stamps = np.empty(total)
        values = np.empty((total, layout.n_channels), layout.values)
        n = 0
        for number in numbers:
            count = index.count[number]
            if index.tag[number] == Tag.SAMPLES:
                # The usual chunk goes straight from the map to its place: one copy.
                records = stamped_records(
                    self._map, layout, index.start[number], index.stop[number], count
                )
                if records is not None and count:
                    stamps[n : n + count] = records["stamp"]
                    values[n : n + count] = records["values"]
                    layout.last = float(stamps[n + count - 1])
                    n += count
                    continue
            item = self._decode(number)
            if isinstance(item, XdfOffset):
                probes.append(item)
            elif item is not None:
                stamps[n : n + count] = item.timestamps
                values[n : n + count] = item.samples
                n += count
        if layout.n_beyond(values[:n]):
            for number in index.numbers(stream_id=stream_id, tag=Tag.SAMPLES):
                self._decode(number)  # says which chunks they are in
        return values[:n], stamps[:n]

    def _check_range(self, number: int, samples: Any) -> None:
        """Report values that cannot be; they are kept, for the reader to judge."""
        index = self._index
        layout = index.layouts[index.stream[number]]
        n_beyond = layout.n_beyond(samples) if layout.limits is not None else 0
        if n_beyond:
            index.report(
                index.start[number],
                index.stop[number],
                f"{n_beyond} values lie beyond 10 V, as flipped bits leave them; they are kept",
            )


def _open_map(path: Path) -> mmap.mmap:
    try:
        with open_file(path) as file:
            head = file.read(4)
            if head[:2] == b"\x1f\x8b":
                return _unpack(path)
            if head != MAGIC:
                empty = path.stat().st_size == 0
                raise FileError(
                    f"{path} is {'empty' if empty else 'no XDF file'}, expected a file that starts "
                    "with 'XDF:': give a recording."
                )
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise FileError(f"{path} cannot be read ({error.strerror}): give an XDF file.") from error


def _unpack(path: Path) -> mmap.mmap:
    """Map the content of a gzip file, unpacked piece by piece to a nameless file on disk."""
    with tempfile.TemporaryFile() as target:
        # Ten bytes can promise terabytes: half of the free disk is the end.
        left = shutil.disk_usage(tempfile.gettempdir()).free // 2
        with open_file(path) as file:
            for piece in _inflate(file):
                left -= len(piece)
                if left < 0:
                    raise FileError(
                        f"{path} unpacks to more than half of the free disk space, expected less: "
                        "unpack it yourself (gunzip)."
                    )
                target.write(piece)
        target.flush()
        target.seek(0)
        if target.read(4) != MAGIC:
            raise FileError(f"{path} holds no XDF, expected a compressed one: give another file.")
        return mmap.mmap(target.fileno(), 0, access=mmap.ACCESS_READ)


def _inflate(file: IO[bytes]) -> Iterator[bytes]:
    """Content of a gzip file in pieces, up to its end or to where it is cut or damaged."""
    unpacker, raw = zlib.decompressobj(zlib.MAX_WBITS | 16), b""
    # Not the gzip module: it keeps back what it has when the end is missing.
    with contextlib.suppress(zlib.error):
        while raw := raw or file.read(_PIECE):
            yield unpacker.decompress(raw, _PIECE)
            raw = unpacker.unconsumed_tail
            if unpacker.eof:
                raw = unpacker.unused_data
                unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
