"""What a server counts, in Prometheus' format, and its audit: one line a session.

Owns the names of the figures and of the audit's fields. Neither ever holds EEG, pictures, labels,
tokens, or words that a client wrote.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from configs.private import make_private, open_private

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 60.0)


class Figures:
    """Counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.epochs = Counter(
            "phosphene_epochs_total",
            "Epochs by outcome: decoded, failed, or the name of a refusal.",
            ["outcome"],
            registry=self._registry,
        )
        self.refusals = Counter(
            "phosphene_refusals_total",
            "Requests of any kind that were refused, by reason.",
            ["reason"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "phosphene_epoch_seconds",
            "From a request's first byte to its answer's last.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.waited = Histogram(
            "phosphene_wait_seconds",
            "How long an epoch waited for its batch.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.batches = Histogram(
            "phosphene_batch_size",
            "Pictures that were drawn together, by picture.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self._registry,
        )
        self.sessions = Gauge("phosphene_sessions", "Open sessions.", registry=self._registry)
        self.open = Gauge("phosphene_open", "Epochs under way.", registry=self._registry)
        self.ready = Gauge("phosphene_ready", "1: a replica decodes.", registry=self._registry)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return bytes(generate_latest(self._registry))


class Audit:
    """Appends one line of JSON a session (and a refusal of a stranger) to a private file."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock

    def write(self, event: str, **facts: Any) -> None:
        """Add a line: when, what, and facts that the server itself knows."""
        line = {"at": round(self._clock(), 3), "event": event, **facts}
        make_private(self._path.parent)
        with open_private(self._path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
