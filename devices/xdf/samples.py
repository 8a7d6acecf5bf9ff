"""Decodes samples chunks: all at once where every sample has a stamp, one by one elsewhere.

Owns values and stamps of one chunk; a chunk that does not hold what it claims decodes to None.
Knows nothing of where chunks lie.
"""

from __future__ import annotations

import mmap
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.xdf.heads import Layout, read_length
from pipeline.values import Float64

Decoded = tuple[NDArray[Any] | tuple[Any, ...], Float64]
"""Samples and stamps of a chunk."""


def stamped_records(
    data: mmap.mmap, layout: Layout, start: int, stop: int, count: int
) -> NDArray[Any] | None:
    """The chunk as a view of records when every sample has a stamp, else None."""
    record = layout.record
    if record is None or stop - start != count * record.itemsize:
        return None
    records = np.frombuffer(data, record, count, start)
    return records if (records["flag"] == 8).all() else None


def decode(data: mmap.mmap, layout: Layout, start: int, stop: int, count: int) -> Decoded | None:
    """Samples and stamps of a chunk, copied out of the file; None when it does not hold them."""
    if layout.record is None:
        return _walk_strings(layout, data[start:stop], count)
    records = stamped_records(data, layout, start, stop, count)
    if records is not None:
        # Copies: a view would keep the file mapped.
        return records["values"].copy(), records["stamp"].copy()
    return _walk_numbers(layout, data[start:stop], count)


def _walk_numbers(layout: Layout, content: bytes, count: int) -> Decoded | None:
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


def _walk_strings(layout: Layout, content: bytes, count: int) -> Decoded | None:
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
                length, position = read_length(content, position)
                if position + length > len(content):
                    return None
                values.append(content[position : position + length].decode("utf-8", "replace"))
                position += length
            samples.append(values[0] if layout.n_channels == 1 else tuple(values))
    except (IndexError, struct.error, ValueError):
        return None
    return (tuple(samples), stamps) if position == len(content) else None
