"""The epochs of a calibration: counted as they come, kept in order of time.

Owns the counts by concept and what becomes data for training. Written by the acquisition thread
(`take` returns at once), read by any. Knows nothing of who shows stimuli or fits adapters.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.port import EpochEvent
from configs import SessionConfig
from pipeline.interpolation import LARGEST_SHARE
from pipeline.values import Epoch, Outcome

USABLE = frozenset({Outcome.DECODED, Outcome.COLLECTED})
"""Outcomes of an epoch that may be learned from."""


def by_markers(config: SessionConfig) -> SessionConfig:
    """Settings that cut an epoch a marker: free-running windows have no label to learn from.

    A channel that swings too far costs itself, not the trial.
    """
    share = LARGEST_SHARE if config.epochs.leave_out else 0.0
    epochs = config.epochs.model_copy(update={"mode": "event", "leave_out_share": share})
    return config.model_copy(update={"epochs": epochs})


def are_alike(label: str, wanted: str) -> bool:
    """Whether a marker is called as wanted but for case, blanks, and BrainVision's decorations.

    `face` is `Face`, `S 11` and `11` are `Stimulus/S 11`; `11` is not `Response/R 11`.
    """
    plain, asked = (_plain(each) for each in (label, wanted))
    return plain == asked or (asked.isdecimal() and plain == f"s{asked}")


def _plain(label: str) -> str:
    return "".join(label.casefold().split()).removeprefix("stimulus/")


@dataclass(frozen=True, slots=True)
class Counts:
    """Epochs so far.

    `good` by concept; `refused` by reason, over all concepts; `by_concept` refused by concept.
    """

    good: Mapping[str, int]
    refused: Mapping[str, int]
    refused_by_concept: Mapping[str, int]

    @property
    def n_good(self) -> int:
        """Epochs that may be learned from."""
        return sum(self.good.values())

    @property
    def n_refused(self) -> int:
        """Epochs that may not."""
        return sum(self.refused.values())


class Collection:
    """Collects epochs of the wanted classes.

    Parameters
    ----------
    classes : mapping of str to str
        Class by marker label; labels that are missing (catch trials, answers) do not count. Empty:
        every label is a class of its own.
    """

    def __init__(self, classes: Mapping[str, str] | None = None) -> None:
        self._classes = dict(classes or {})
        self._lock = threading.Lock()
        self._epochs: list[tuple[str, Epoch, int]] = []
        self._good: Counter[str] = Counter()
        self._refused: Counter[tuple[str, str]] = Counter()
        self._others: Counter[str] = Counter()
        self._seen: set[tuple[int, str]] = set()
        self._alike: list[tuple[EpochEvent, int]] = []
        # Number of the recording that is read.
        self._number = 0

    def expect(self, labels: Sequence[str]) -> None:
        """Collect these labels from now on, each a class of its own; forgets earlier epochs."""
        with self._lock:
            self._classes = {label: label for label in labels}
            self._epochs.clear()
            for each in (self._good, self._refused, self._others):
                each.clear()
            self._seen.clear()
            self._alike.clear()

    def start_session(self) -> None:
        """Begin another recording: its epochs are kept apart from all that came before."""
        with self._lock:
            self._number += 1

    def restrict(self, classes: Mapping[str, str]) -> None:
        """Keep these classes only of what has come, by the label that they were collected under."""
        with self._lock:
            self._classes = dict(classes)
            for name in [name for name in self._good if name not in classes]:
                self._others[name] += self._good[name]
            self._epochs = [(classes[n], e, k) for n, e, k in self._epochs if n in classes]
            self._good = Counter(name for name, _, _ in self._epochs)
            refused = self._refused.items()
            self._refused = Counter({(classes[n], o): k for (n, o), k in refused if n in classes})

    def take(self, event: EpochEvent) -> None:
        """Count one epoch, and keep it when it may be learned from; returns at once."""
        with self._lock:
            if not self._classes or event.label in self._classes:
                self._take(event, self._number)
            elif any(are_alike(event.label, wanted) for wanted in self._classes):
                self._alike.append((event, self._number))
            else:
                self._others[event.label] += 1

    def settle(self) -> tuple[str, ...]:
        """Take markers that are spelt nearly as wanted, where none is spelt so; what to tell.

        Call it once everything has come.
        """
        with self._lock:
            asked, seen, meant = dict(self._classes), frozenset(self._seen), dict[str, str]()
            for event, number in self._alike:
                wanted = [
                    name
                    for name in asked
                    if (number, name) not in seen and are_alike(event.label, name)
                ]
                if len(wanted) != 1:
                    self._others[event.label] += 1
                    continue
                meant[event.label] = wanted[0]
                self._classes[event.label] = asked[wanted[0]]
                self._take(event, number)
            self._alike.clear()
            # What no recording has is no label of the decoder's.
            for name in set(meant.values()) - {label for _, label in seen}:
                del self._classes[name]
            return tuple(f"{label!r} is taken for {name!r}." for label, name in meant.items())

    def _take(self, event: EpochEvent, number: int) -> None:
        self._seen.add((number, event.label))
        name = self._classes.get(event.label, event.label)
        if event.outcome in USABLE and event.epoch is not None:
            self._good[name] += 1
            self._epochs.append((name, event.epoch, number))
        else:
            self._refused[name, str(event.outcome)] += 1

    @property
    def unseen(self) -> tuple[str, ...]:
        """Wanted labels that no marker has."""
        with self._lock:
            seen = {label for _, label in self._seen}
            return tuple(label for label in self._classes if label not in seen)

    @property
    def counts(self) -> Counts:
        """What has come so far."""
        with self._lock:
            good = dict.fromkeys(self._classes.values(), 0) | self._good
            by_reason: Counter[str] = Counter()
            by_concept: Counter[str] = Counter()
            for (name, outcome), n in self._refused.items():
                by_reason[outcome] += n
                by_concept[name] += n
            return Counts(good, dict(by_reason), dict(by_concept))

    @property
    def class_of(self) -> dict[str, str]:
        """Class by marker's label, of those that are wanted; empty: each label is a class."""
        with self._lock:
            return dict(self._classes)

    @property
    def others(self) -> Mapping[str, int]:
        """Markers that are of no wanted class, by label."""
        with self._lock:
            return dict(self._others)

    def epochs(self, session: int | None = None) -> tuple[tuple[str, Epoch], ...]:
        """Class and epoch, recording by recording, in order of onset; of one (from 1), or all."""
        with self._lock:
            found = [each for each in self._epochs if session in (None, each[2])]
            found.sort(key=lambda each: (each[2], each[1].t_onset))
            return tuple((name, epoch) for name, epoch, _ in found)
