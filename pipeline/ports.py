"""What the core asks of the streams around it: a `Source`.

Protocols only, which `devices` satisfies; it is not imported here, so the core runs without it.
What an encoder and a sampler are is the contract of `models.api`: the core asks neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from pipeline.values import SourceItem, StreamInfo, StreamRole


@runtime_checkable
class Source(Protocol):
    """Streams of one session, live or recorded, as one sequence in order of arrival."""

    @property
    def streams(self) -> Mapping[StreamRole, StreamInfo]:
        """Infos of the open streams; EEG is always there."""
        ...

    @property
    def is_live(self) -> bool:
        """Whether `received_at` is the present (False for a replayed recording)."""
        ...

    def read(self, timeout: float) -> list[SourceItem]:
        """Wait up to `timeout` seconds for data; an empty list when none came.

        Blocks without polling. After the end it returns a `StateChange` `ENDED` once for each
        stream, then empty lists. Raises `SourceError` (devices) when the stream cannot go on.
        """
        ...

    def close(self) -> None:
        """Release the streams; safe to call twice and while `read` runs in another thread."""
        ...


@runtime_checkable
class Admitting(Protocol):
    """A source that refuses a lost stream's namesake of another host until somebody agrees."""

    @property
    def foreign_hosts(self) -> tuple[str, ...]:
        """Hosts of the namesakes that are refused now; empty while there are none."""
        ...

    def admit(self, host: str) -> None:
        """Take namesakes of `host` for the lost streams from now on. Safe from any thread."""
        ...


@runtime_checkable
class TakesMarkers(Protocol):
    """A source that a person can add a marker to, stamped now."""

    def inject_marker(self, label: str) -> float:
        """Add a marker and return its stamp (`local_clock`, s). Safe from any thread.

        Raises `SourceError` (devices) where the marker stream has no place for `label`.
        """
        ...


@runtime_checkable
class StatesWarnings(Protocol):
    """A source that says what is odd about what it reads; may grow until the end."""

    @property
    def warnings(self) -> Sequence[str]:
        """One sentence each."""
        ...
