"""How XDF's chunks and samples lie in a file: heads, lengths, layouts; read without belief.

Owns the smallest steps of reading bytes that may be damaged. Knows nothing of indexes or files.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from configs.units import UNITS, unit_scale
from devices.xdf.layout import FORMATS, sample_dtype
from pipeline.values import StreamInfo

USUAL = struct.Struct("<BIHIBI")
"""Head of a samples chunk with 4-byte lengths: length, tag, stream, count of samples."""
_LARGEST: Final[Mapping[str, float]] = {
    unit: 1e7 / scale for unit in UNITS if (scale := unit_scale(unit))
}
"""Ten volts: no electrode, and no amplifier's converter, gives more."""


@dataclass(slots=True)
class Layout:
    """How a stream's samples lie in the file."""

    n_channels: int
    record: np.dtype[Any] | None
    values: np.dtype[Any] | None
    step: float
    last: float = 0.0
    """Last stamp decoded: what a sample without a stamp is counted from."""
    limits: NDArray[np.float64] | None = None
    """Largest believable value of each channel, for floats with a unit of voltage; else None."""

    @classmethod
    def of(cls, info: StreamInfo) -> Layout:
        """The layout of a stream, by its header."""
        step = 1.0 / info.sfreq if info.sfreq > 0 else 0.0
        if info.channel_format == "string":
            return cls(info.n_channels, None, None, step)
        record = sample_dtype(info.channel_format, info.n_channels)
        values = np.dtype(FORMATS[info.channel_format])
        limits = _limits(info) if values.kind == "f" else None
        return cls(info.n_channels, record, values, step, limits=limits)

    def n_beyond(self, samples: NDArray[Any]) -> int:
        """Count of values that no electrode gives: one flipped bit of an exponent makes 1e28."""
        if self.limits is None or not samples.size:
            return 0
        # NaN is no value, and says nothing here.
        if np.fmax.reduce(samples, axis=None) <= self.limits.min() and (
            np.fmin.reduce(samples, axis=None) >= -self.limits.min()
        ):
            return 0
        return int(np.count_nonzero(np.abs(samples) > self.limits))

    def fits(self, n_samples: int, n_bytes: int) -> bool:
        """Whether `n_samples` can take `n_bytes`: each has a flag, values, perhaps a stamp."""
        if n_samples < 0:
            return False
        if self.record is None:
            return n_samples * (1 + 2 * self.n_channels) <= n_bytes
        spare = n_bytes - n_samples * (self.record.itemsize - 8)
        return 0 <= spare <= 8 * n_samples and spare % 8 == 0


def _limits(info: StreamInfo) -> NDArray[np.float64] | None:
    """Largest value of each channel in its unit; infinite where that is no voltage."""
    if len(info.ch_units) != info.n_channels:
        return None
    limits = np.array([_LARGEST.get(unit, np.inf) for unit in info.ch_units])
    return limits if np.isfinite(limits).any() else None


def read_head(
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


def believable(data: mmap.mmap, position: int, size: int) -> bool:
    """Whether a chunk of a known kind seems to start here (or the file ends)."""
    if position >= size:
        return position == size
    head = read_head(data, position, size)
    return head is not None and 1 <= head[0] <= 6


def read_length(data: Any, position: int) -> tuple[int, int]:
    """A variable-length integer and the position after it."""
    n_bytes = data[position]
    if n_bytes == 1:
        return data[position + 1], position + 2
    if n_bytes == 4:
        return struct.unpack_from("<I", data, position + 1)[0], position + 5
    if n_bytes == 8:
        return struct.unpack_from("<Q", data, position + 1)[0], position + 9
    raise ValueError(f"a length of {n_bytes} bytes, expected 1, 4 or 8")


def samples_head(data: mmap.mmap, start: int, end: int) -> tuple[int, int, int]:
    """Stream, count of samples, position of the first; a count of -1 when it is unreadable."""
    if end - start < 6:
        return 0xFFFFFFFF, -1, end
    stream_id = struct.unpack_from("<I", data, start)[0]
    try:
        n_samples, content = read_length(data, start + 4)
    except (ValueError, IndexError, struct.error):
        return stream_id, -1, end
    return (stream_id, n_samples, content) if content <= end else (stream_id, -1, end)
