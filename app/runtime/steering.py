"""Which adapter decodes from which epoch on, live or as it was recorded.

Owns the order of changes: each takes effect at an epoch, by the number of epochs that were cut
before it, and becomes a line of the recording that a replay reads back. Knows nothing of
processes or files. Safe from any thread; `step` belongs to the acquisition thread.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.port import AdaptCommand
from app.runtime.messages import AdapterKey, Steer


@dataclass(frozen=True, slots=True)
class Change:
    """A recorded change: from the epoch number `at` on, `steer` holds.

    `steer` None: the decoder's process was started anew there, so its alignment, too.
    """

    at: int
    steer: Steer | None


def encode_change(change: Change) -> dict[str, Any]:
    """A change as an object of the events stream."""
    if change.steer is None:
        return {"steer": {"at": change.at, "restarted": True}}
    steer = change.steer
    return {
        "steer": {
            "at": change.at,
            "adapter": steer.adapter.folder,
            "sha256": steer.adapter.sha256,
            "frozen": steer.frozen,
            "n_resets": steer.n_resets,
        }
    }


def decode_change(event: Mapping[str, Any]) -> Change | None:
    """Undo `encode_change`; None for anything else."""
    table = event.get("steer")
    if not isinstance(table, Mapping):
        return None
    try:
        if table.get("restarted"):
            return Change(int(table["at"]), None)
        key = AdapterKey(str(table["adapter"]), str(table["sha256"]))
        frozen = None if table["frozen"] is None else bool(table["frozen"])
        return Change(int(table["at"]), Steer(key, frozen, int(table["n_resets"])))
    except (KeyError, TypeError, ValueError):
        return None


class Steering:
    """What decodes now, and what was asked for.

    Parameters
    ----------
    adapter : AdapterKey
        The adapter at the start.
    recorded : sequence of Change
        A recorded session's changes, which a replay repeats.
    follows : bool
        Whether alignment runs from the first epoch on; else it is as the encoder has it.
    """

    def __init__(
        self, adapter: AdapterKey, recorded: Sequence[Change] = (), *, follows: bool = False
    ) -> None:
        self._lock = threading.Lock()
        self._now = self._wanted = Steer(adapter, frozen=False if follows else None)
        self._recorded = sorted(recorded, key=lambda change: change.at)
        self._n = 0
        self._seen_resets = 0

    @property
    def now(self) -> Steer:
        """What the newest epoch was decoded with."""
        with self._lock:
            return self._now

    @property
    def wanted(self) -> Steer:
        """What the next epoch will be decoded with."""
        with self._lock:
            return self._wanted

    @property
    def adapters(self) -> tuple[AdapterKey, ...]:
        """Adapters that the recorded changes will want."""
        with self._lock:
            keys = [change.steer.adapter for change in self._recorded if change.steer is not None]
        return tuple(dict.fromkeys(keys))

    def use(self, adapter: AdapterKey) -> None:
        """Decode with `adapter` (loaded by now) from the next epoch on."""
        with self._lock:
            self._wanted = replace(self._wanted, adapter=adapter)

    def adapt(self, command: AdaptCommand) -> None:
        """Freeze, resume or reset alignment from the next epoch on."""
        with self._lock:
            if command == "reset":
                self._wanted = replace(self._wanted, n_resets=self._wanted.n_resets + 1)
            else:
                self._wanted = replace(self._wanted, frozen=command == "freeze")

    def step(self) -> tuple[int, Steer, Change | None]:
        """Count an epoch: its number, what decodes it, and the change to record, if any."""
        with self._lock:
            number = self._n
            self._n += 1
            while self._recorded and self._recorded[0].at <= number:
                self._repeat(self._recorded.pop(0))
            changed = self._wanted != self._now
            self._now = self._wanted
            return number, self._now, Change(number, self._now) if changed else None

    def forget(self) -> None:
        """Repeat nothing further: the replay has left the order of the recording."""
        with self._lock:
            self._recorded = []

    def _repeat(self, change: Change) -> None:
        if change.steer is None:
            self._wanted = replace(self._wanted, n_resets=self._wanted.n_resets + 1)
            return
        # Resets are counted from where this session stands: a restart counts here, not there.
        n_more = change.steer.n_resets - self._seen_resets
        self._seen_resets = change.steer.n_resets
        self._wanted = replace(change.steer, n_resets=self._wanted.n_resets + n_more)
