"""Can LSL work on this machine at all: an outlet of our own, found and read back.

Owns the self-test that `phosphene doctor` runs. Knows nothing of sessions.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

import pylsl

from devices.lsl.hanging_up import hang_up


@dataclass(frozen=True, slots=True)
class Loopback:
    """How the self-test went.

    `found_after` and `read_after` are seconds from the outlet's birth, None where the step
    failed; `others` names streams of other programs that were seen meanwhile.
    """

    found_after: float | None
    read_after: float | None
    others: tuple[str, ...] = ()

    @property
    def is_ok(self) -> bool:
        """Whether the stream was found and a sample came through."""
        return self.read_after is not None


def check_loopback(timeout: float = 5.0) -> Loopback:
    """Publish a stream, look for it, read one sample of it.

    Parameters
    ----------
    timeout : float
        Longest time for each step, s.
    """
    source_id = f"phosphene-doctor-{uuid.uuid4().hex}"
    native = pylsl.StreamInfo("phosphene doctor", "Test", 1, 0, "int32", source_id)
    started = time.monotonic()
    outlet = pylsl.StreamOutlet(native)
    try:
        return _read_back(outlet, source_id, started=started, timeout=timeout)
    finally:
        hang_up(outlet)


def _read_back(
    outlet: pylsl.StreamOutlet, source_id: str, *, started: float, timeout: float
) -> Loopback:
    found = pylsl.resolve_byprop("source_id", source_id, 1, timeout)
    if not found:
        return Loopback(None, None, _others(source_id))
    found_after = time.monotonic() - started
    inlet = pylsl.StreamInlet(found[0], max_buflen=1, recover=False)
    try:
        inlet.open_stream(timeout)
        outlet.push_sample([7])
        sample, _ = inlet.pull_sample(timeout)
    except (pylsl.util.TimeoutError, pylsl.util.LostError):
        return Loopback(found_after, None, _others(source_id))
    read_after = time.monotonic() - started if sample == [7] else None
    inlet.close_stream()
    return Loopback(found_after, read_after, _others(source_id))


def _others(source_id: str, wait: float = 0.5) -> tuple[str, ...]:
    seen = pylsl.resolve_streams(wait)
    return tuple(sorted({s.name() for s in seen if s.source_id() != source_id}))
