"""XDF 1.0, written and read here: a session's raw streams in one crash-safe file."""

from devices.xdf.index import Damage, XdfStream
from devices.xdf.reader import XdfFile, XdfOffset, XdfSamples, XdfSeries
from devices.xdf.writer import XdfWriter

__all__ = [
    "Damage",
    "XdfFile",
    "XdfOffset",
    "XdfSamples",
    "XdfSeries",
    "XdfStream",
    "XdfWriter",
]
