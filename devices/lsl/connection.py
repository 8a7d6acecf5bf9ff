"""One open inlet: its description, its samples, its clock offset.

Owns the only calls into pylsl's inlet. A `Connection` that exists has a full description and a
measured clock offset. One thread pulls; another may have opened it. Knows nothing of roles,
states or returning streams.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pylsl
from numpy.typing import NDArray

from devices.errors import SourceError
from devices.lsl.metadata import from_pylsl
from pipeline.values import Float64, StreamInfo

_SLICE = 0.1
"""Longest uninterruptible wait while opening, s: a request to stop is heard this soon."""
_MAX_OFFSET = 1e10
"""Clocks further apart than this (s) are no measurement: UNIX time is 2e9."""


class StreamLostError(SourceError):
    """The source closed the stream or died."""


class Connection:
    """An inlet, opened and probed.

    Parameters
    ----------
    native : pylsl.StreamInfo
        As a resolver gave it.
    max_buflen : int
        Buffer behind slow readers: seconds, or hundreds of samples for irregular streams.
    timeout : float
        Longest time for each of description, data connection and clock probe, s.
    stop : threading.Event or None
        Gives up opening when set.

    Raises
    ------
    StreamLostError
        The source closed the stream meanwhile.
    SourceError
        The stream did not answer in time.
    """

    def __init__(
        self,
        native: pylsl.StreamInfo,
        *,
        max_buflen: int,
        timeout: float,
        stop: threading.Event | None = None,
    ) -> None:
        stop = stop or threading.Event()
        name, host = native.name(), native.hostname()
        # recover=False: liblsl would reconnect to whatever has the same source_id without a word,
        # with other labels or another rate. processing_flags=0: raw stamps.
        self._inlet: Any = pylsl.StreamInlet(
            native, max_buflen=max_buflen, recover=False, processing_flags=pylsl.proc_none
        )
        try:
            self.info: StreamInfo = from_pylsl(
                _patiently(self._inlet.info, timeout, stop, f"description of {name!r} on {host!r}")
            )
            _patiently(
                self._inlet.open_stream, timeout, stop, f"data connection to {name!r} on {host!r}"
            )
            offset = _patiently(
                self._inlet.time_correction, timeout, stop, f"clock offset of {name!r} on {host!r}"
            )
            if not _is_offset(offset):
                raise SourceError(
                    f"Stream {name!r} on {host!r} gave a clock offset of {offset} s, expected a "
                    "finite number: restart its program."
                )
        except BaseException:
            self.close()
            raise
        self.first_offset = float(offset)
        self.dtype = self._inlet.np_dtype

    @property
    def is_text(self) -> bool:
        """Whether the samples are strings."""
        return self.dtype is None

    def pull(self, dest: NDArray[Any], *, timeout: float, at_least_one: bool) -> Float64:
        """Pull numbers into `dest` (n_times, n_channels), C-contiguous, of `dtype`.

        Waits up to `timeout` s: for the first sample, then takes what is there, when
        `at_least_one`; else for `dest` to be full. Returns the stamps of the rows that were
        filled, a fresh array.

        Raises
        ------
        StreamLostError
            The source is gone and everything that it sent was pulled.
        """
        try:
            _, stamps = self._inlet.pull_chunk(
                timeout=timeout,
                max_samples=len(dest),
                dest_obj=dest,
                min_samples=1 if at_least_one else None,
                as_numpy=True,
            )
        except pylsl.util.LostError:
            stamps = None
        # Raised outside the handler: a chained traceback would keep the dead inlet alive.
        if stamps is None:
            raise StreamLostError(f"Stream {self.info.name!r} was closed by its source.")
        return np.asarray(stamps, dtype=np.float64)

    def pull_text(self, max_samples: int) -> tuple[list[tuple[str, ...]], Float64]:
        """Pull the strings that are there, without waiting: one tuple a sample, and the stamps.

        Bytes that are not UTF-8 become U+FFFD: a foreign code page must not end a session.
        """
        try:
            rows, stamps = self._inlet.pull_chunk(
                timeout=0.0, max_samples=max_samples, as_numpy=True
            )
        except pylsl.util.LostError:
            rows = None
        if rows is None:
            raise StreamLostError(f"Stream {self.info.name!r} was closed by its source.")
        texts = [tuple(value.decode("utf-8", "replace") for value in row) for row in rows]
        return texts, np.array(stamps, dtype=np.float64)

    def offset(self) -> float | None:
        """Return the newest clock offset (s), or None when there is none; never waits."""
        try:
            offset = float(self._inlet.time_correction(0.0))
        except (pylsl.util.TimeoutError, pylsl.util.LostError):
            return None
        return offset if _is_offset(offset) else None

    def close(self) -> None:
        """Close the stream; pylsl destroys the inlet with its last reference."""
        inlet, self._inlet = self._inlet, None
        if inlet is not None:
            inlet.close_stream()


def _is_offset(offset: float) -> bool:
    return math.isfinite(offset) and abs(offset) < _MAX_OFFSET


def _patiently(
    call: Callable[[float], Any], timeout: float, stop: threading.Event, what: str
) -> Any:
    """Repeat a call with short timeouts until it succeeds; liblsl works on in between."""
    deadline = time.monotonic() + timeout
    lost = False
    while not stop.is_set() and time.monotonic() < deadline:
        try:
            return call(_SLICE)
        except pylsl.util.TimeoutError:
            continue
        except pylsl.util.LostError:
            lost = True
            break
    if lost:
        raise StreamLostError(f"Could not get the {what}: its source closed it. Start it again.")
    why = "stopped" if stop.is_set() else f"no answer within {timeout:g} s"
    raise SourceError(
        f"Could not get the {what}: {why}. Check that its program still runs and that no firewall "
        "blocks TCP and UDP ports 16572-16604."
    )
