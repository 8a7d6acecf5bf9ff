"""What a session hands to whatever sends it on: one value an epoch, one call a second.

Owns the value and the Protocol. Knows nothing of sockets, LSL or sessions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.signal_quality import ChannelQuality
from pipeline.values import Float32, Uint8


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """What became of one epoch, as it leaves a session.

    `line` is its line of `events.jsonl`; `vector` and `pixels` are None where nothing was decoded.
    """

    line: Mapping[str, Any]
    t_onset: float
    vector: Float32 | None = None
    pixels: Uint8 | None = None


class Output(Protocol):
    """Something that a session's results are sent to; safe from any thread, returns at once.

    A method raises a `PhospheneError` where sending failed: a warning, never the session's end.
    """

    @property
    def about(self) -> str:
        """Where it sends to, for a person: an address."""
        ...

    def send(self, sent: Sent) -> None:
        """Send what became of an epoch."""
        ...

    def send_quality(self, newest: Sequence[ChannelQuality], at: float) -> None:
        """Send a second's verdict on the channels; `at` is its last sample's stamp, s."""
        ...

    def close(self) -> None:
        """End it; safe to call twice."""
        ...
