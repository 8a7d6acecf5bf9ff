"""The offset between a sender's clock and ours, from probes, one of which may be wild.

Owns what is believed of the offset at any time of the sender's clock. Knows nothing of samples.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.values import Float64

TOLERANCE = 0.005
"""A probe this near to the belief is taken at once, s; one further off needs a second one."""
RAMP = 1.0
"""A small change is spread over this time, s, so that stamps stay smooth and increasing."""
MAX_RAMPS = 64


class OffsetTracker:
    """Belief of `local = sender + offset`.

    A small change becomes a ramp that starts at the probe's own time, not at its arrival, so it
    does not matter where the sample stream was cut around it. A large change is believed when
    two probes in a row agree on it; the very first probe is believed at once.
    """

    def __init__(self) -> None:
        self._base = 0.0
        self._ramps: list[tuple[float, float]] = []
        self._candidate: float | None = None
        self._probed = False

    @property
    def offset(self) -> float:
        """The newest belief, s."""
        return self._base + sum(change for _, change in self._ramps)

    def renew(self) -> None:
        """Believe the next probe at once: the sender's clock may be another one now."""
        self._probed, self._candidate = False, None

    def add(self, measured_at: float, offset: float, *, certain: bool = False) -> bool:
        """Take a probe; True when the belief jumped.

        Parameters
        ----------
        measured_at : float
            `local_clock` at the probe, s.
        offset : float
            s; a value that is not finite is ignored.
        certain : bool
            Whether something else says the same: then no second probe is needed.
        """
        if not (math.isfinite(offset) and math.isfinite(measured_at)):
            return False
        believed = self.offset
        is_first, self._probed = not self._probed, True
        if abs(offset - believed) <= TOLERANCE:
            self._candidate = None
            self._ramps.append((measured_at - believed, offset - believed))
            if len(self._ramps) > MAX_RAMPS:
                self._base += self._ramps.pop(0)[1]
            return False
        confirmed = self._candidate is not None and abs(offset - self._candidate) <= TOLERANCE
        if not (is_first or confirmed or certain):
            self._candidate = offset
            return False
        self._base, self._ramps, self._candidate = offset, [], None
        return True

    def at(self, sender_times: Float64) -> Float64:
        """Offset at times of the sender's clock, same shape, s."""
        offset = np.full(np.shape(sender_times), self._base)
        for start, change in self._ramps:
            offset = offset + change * np.clip((sender_times - start) / RAMP, 0.0, 1.0)
        return offset

    def fold(self, sender_time: float) -> None:
        """Forget ramps that ended before `sender_time`, after which no earlier time is asked."""
        while self._ramps and sender_time > self._ramps[0][0] + RAMP:
            self._base += self._ramps.pop(0)[1]

    def settle(self) -> None:
        """End all ramps now: a new gap-free run starts."""
        for _, change in self._ramps:
            self._base += change
        self._ramps.clear()
