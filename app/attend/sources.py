"""Opens the LSL streams of a session of looks."""

from __future__ import annotations

import threading
import time

from app.errors import AppError
from configs import SessionConfig
from devices.lsl.inlet import LslSource
from pipeline.ports import Source
from pipeline.values import StreamRole


def open_live(config: SessionConfig, stop: threading.Event) -> Source:
    """Open LSL streams, and wait until the markers are there: they say what flickers.

    Raises
    ------
    AppError
        There are none.
    """
    source = LslSource(config.source, config.markers, stop=stop)
    until = time.monotonic() + config.source.resolve_timeout
    while StreamRole.MARKERS not in source.streams and time.monotonic() < until:
        source.read(0.1)
    if StreamRole.MARKERS not in source.streams:
        source.close()
        raise AppError(
            f"No marker stream was found in {config.source.resolve_timeout:g} s, expected one that "
            "describes the codes of a noise-tagged grid: choose it with --markers."
        )
    return source
