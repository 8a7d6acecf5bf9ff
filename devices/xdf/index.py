"""Finds the chunks of an XDF file, past any damage.

Owns the one pass over the chunk heads (about 1 us each): where each samples or clock chunk lies,
the streams, and the byte ranges that could not be read. Values are not looked at. Every length is
checked against what its chunk claims to hold before it is believed, so a wrong byte costs one
chunk where the next head still fits, else what lies before the next boundary.
"""

from __future__ import annotations

import mmap
import struct
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.xdf.heads import USUAL, Layout, believable, read_head, samples_head
from devices.xdf.layout import (
    BOUNDARY,
    MAGIC,
    Tag,
    created_at,
    header_info,
    parse_xml,
    read_tree,
)
from pipeline.values import StreamInfo


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


class Index:
    """The chunks of a mapped file.

    Attributes
    ----------
    streams : dict of int to XdfStream
    layouts : dict of int to Layout
    damage : list of Damage
    start, stop, tag, stream, count : array
        One entry a chunk: where its content (samples, or the probe) starts and stops, its tag,
        its stream, its count of samples. Arrays, not tuples: an hour holds 360 000 chunks.
    """

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.streams: dict[int, XdfStream] = {}
        self.layouts: dict[int, Layout] = {}
        self.damage: list[Damage] = []
        self.created: datetime | None = None
        self._reported: set[tuple[int, int, str]] = set()
        self.start = array("q")
        self.stop = array("q")
        self.tag = array("B")
        self.stream = array("I")
        self.count = array("q")
        self._build()

    def __len__(self) -> int:
        return len(self.start)

    def numbers(self, *, stream_id: int | None = None, tag: Tag | None = None) -> list[int]:
        """Numbers of the chunks of a stream, of a kind, or of both."""
        found: list[int] = np.flatnonzero(self._chosen(stream_id, tag)).tolist()
        return found

    def n_samples(self, stream_id: int) -> int:
        """Samples that the chunks of a stream claim to hold."""
        counts = np.frombuffer(self.count, dtype=np.int64)
        return int(counts[self._chosen(stream_id, None)].sum())

    def _chosen(self, stream_id: int | None, tag: Tag | None) -> NDArray[np.bool_]:
        chosen = np.ones(len(self), dtype=bool)
        if stream_id is not None:
            chosen &= np.frombuffer(self.stream, dtype=np.uint32) == stream_id
        if tag is not None:
            chosen &= np.frombuffer(self.tag, dtype=np.uint8) == tag
        return chosen

    def _build(self) -> None:
        position, size = len(MAGIC), len(self._data)
        while position < size:
            end = self._index_usual(position, size) or self._index_chunk(position, size)
            if end is None:
                end = self._skip_damage(position, size)
            position = end

    def _index_usual(self, position: int, size: int) -> int | None:
        """Note a samples chunk of the usual make (numbers, all stamped) in one look; else None.

        An hour holds hundreds of thousands of them: this is what a seek waits for. Those that
        follow with the very same head are noted together.
        """
        head = self._data[position : position + USUAL.size]
        if len(head) < USUAL.size:
            return None
        n_bytes, length, tag, stream_id, n_bytes_count, count = USUAL.unpack(head)
        if n_bytes != 4 or tag != Tag.SAMPLES or n_bytes_count != 4:
            return None
        layout = self.layouts.get(stream_id)
        end: int = position + 5 + length
        if layout is None or layout.record is None or end > size:
            return None
        if length != 11 + count * layout.record.itemsize:
            return None
        self._note(position + USUAL.size, end, tag, stream_id, count)
        if self._data[end : end + USUAL.size] != head:
            return end
        n_more = self._count_same(head, end, end - position)
        self._note_run(end, end - position, n_more, stream_id, count)
        return end + n_more * (end - position)

    def _count_same(self, head: bytes, position: int, step: int) -> int:
        """How many chunks from `position` on, each `step` bytes long, start with `head`."""
        wanted = np.frombuffer(head, "<u8")
        n_most, n, look = (len(self._data) - position) // step, 0, 64
        while n < n_most:
            n_look = min(look, n_most - n)
            heads = np.ndarray(
                (n_look, 2), "<u8", self._data, offset=position + n * step, strides=(step, 8)
            )
            same = (heads == wanted).all(axis=1)
            if not same.all():
                return n + int(same.argmin())
            n, look = n + n_look, 4 * look
        return n

    def _note_run(
        self, position: int, step: int, n_chunks: int, stream_id: int, count: int
    ) -> None:
        starts = position + step * np.arange(n_chunks, dtype=np.int64)
        self.start.frombytes((starts + USUAL.size).tobytes())
        self.stop.frombytes((starts + step).tobytes())
        self.tag.extend([Tag.SAMPLES] * n_chunks)
        self.stream.extend([stream_id] * n_chunks)
        self.count.extend([count] * n_chunks)

    def _index_chunk(self, position: int, size: int) -> int | None:
        """Note one chunk; its end, or None when it cannot be believed."""
        head = read_head(self._data, position, size)
        if head is None:
            return None
        tag, start, end = head
        if tag == Tag.SAMPLES:
            return end if self._index_samples(start, end) else None
        if tag == Tag.CLOCK_OFFSET:
            if end - start != 20:
                return None
            stream_id = struct.unpack_from("<I", self._data, start)[0]
            if stream_id not in self.layouts:
                self.report(position, end, f"a clock probe names the unknown stream {stream_id}")
                return end
            self._note(start + 4, end, tag, stream_id, 0)
        elif tag == Tag.BOUNDARY:
            if self._data[start:end] != BOUNDARY:
                return None
        elif tag in (Tag.STREAM_HEADER, Tag.STREAM_FOOTER):
            return self._index_xml(tag, position, start, end)
        elif tag == Tag.FILE_HEADER:
            self.created = created_at(self._data[start:end])
        else:
            if not believable(self._data, end, size):
                return None
            self.report(position, end, f"a chunk of the unknown kind {tag}; it is left out")
        return end

    def _index_samples(self, start: int, end: int) -> bool:
        stream_id, n_samples, content = samples_head(self._data, start, end)
        layout = self.layouts.get(stream_id)
        if layout is None or not layout.fits(n_samples, end - content):
            # A stream whose header was refused is skipped in whole chunks, not as a derailment.
            return layout is None and self._skip_unknown(stream_id, start, end)
        self._note(content, end, Tag.SAMPLES, stream_id, n_samples)
        return True

    def _skip_unknown(self, stream_id: int, start: int, end: int) -> bool:
        if not believable(self._data, end, len(self._data)):
            return False
        self.report(start, end, f"samples of stream {stream_id}, which has no usable header")
        return True

    def _index_xml(self, tag: int, position: int, start: int, end: int) -> int | None:
        if end - start < 4:
            return None
        stream_id = struct.unpack_from("<I", self._data, start)[0]
        try:
            root = parse_xml(self._data[start + 4 : end])
            if tag == Tag.STREAM_FOOTER:
                if stream_id in self.streams:
                    stream = self.streams[stream_id]
                    self.streams[stream_id] = replace(stream, footer=read_tree(root))
                return end
            role, info = header_info(root)
        except ValueError as error:
            if not believable(self._data, end, len(self._data)):
                return None
            what = "header" if tag == Tag.STREAM_HEADER else "footer"
            self.report(position, end, f"the {what} of stream {stream_id} is unusable: {error}")
            return end
        if stream_id in self.streams:
            self.report(position, end, f"stream {stream_id} is declared twice; the first counts")
            return end
        self.streams[stream_id] = XdfStream(stream_id, info, role)
        self.layouts[stream_id] = Layout.of(info)
        return end

    def _note(self, start: int, stop: int, tag: int, stream_id: int, count: int) -> None:
        self.start.append(start)
        self.stop.append(stop)
        self.tag.append(tag)
        self.stream.append(stream_id)
        self.count.append(count)

    def report(self, start: int, stop: int, reason: str) -> None:
        """Note damaged bytes, once; a stretch of the same kind is one entry."""
        if (start, stop, reason) in self._reported:
            return  # found again by a second reading
        self._reported.add((start, stop, reason))
        last = self.damage[-1] if self.damage else None
        if last is not None and last.reason == reason and 0 <= start - last.stop <= 16:
            self.damage[-1] = Damage(last.start, stop, reason)
        else:
            self.damage.append(Damage(start, stop, reason))

    def _skip_damage(self, position: int, size: int) -> int:
        """Where to go on after a chunk that cannot be believed."""
        head = read_head(self._data, position, size)
        if head is not None and head[2] < size and believable(self._data, head[2], size):
            self.report(position, head[2], "a chunk does not hold what it claims; it is left out")
            return head[2]
        found = self._data.find(BOUNDARY, position + 1)
        if found >= 0:
            end = found + len(BOUNDARY)
            self.report(position, end, "a chunk's head is damaged; reading goes on at a boundary")
            return end
        self._recover_tail(position, size)
        self.report(position, size, "the file ends inside a chunk or is damaged to its end")
        return size

    def _recover_tail(self, position: int, size: int) -> None:
        """Keep the whole samples of a chunk that the end of the file cut."""
        head = read_head(self._data, position, size, whole=False)
        if head is None or head[0] != Tag.SAMPLES:
            return
        try:
            stream_id, n_samples, content = samples_head(self._data, head[1], size)
        except (struct.error, IndexError):
            return
        layout = self.layouts.get(stream_id)
        if layout is None or layout.record is None:
            return
        n_whole = min(n_samples, (size - content) // layout.record.itemsize)
        if n_whole <= 0:
            return
        stop = content + n_whole * layout.record.itemsize
        flags = np.frombuffer(self._data, np.uint8, stop - content, content)
        if (flags[:: layout.record.itemsize] == 8).all():
            self._note(content, stop, Tag.SAMPLES, stream_id, n_whole)
        del flags
