"""Annotations that are no stimuli: breaks in a recording, and stretches that somebody refused.

Owns the words by which MNE, EEGLAB (-99 where it has numbers only), BrainVision and our own export
mark them, in any case. Knows nothing of file formats.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from devices.files.base import FileBreak, FileEvent

SKIP: Final = "bad_acq_skip"
_JOIN: Final = re.compile(
    r"(bad|edge)[ _-]?boundary|edge([ _-].*)?|boundary|-99|new segment(/.*)?", re.I
)
_BAD: Final = re.compile(r"bad(?![a-z]).*", re.IGNORECASE)
_NEVER: Final = 86_400.0
"""A stretch of more than this, s, is a number that means something else."""


@dataclass(slots=True)
class Marks:
    """A file's annotations, sorted.

    Attributes
    ----------
    events : list of FileEvent
        Stimuli, and all else that somebody noted.
    joins : list of FileBreak
        Places where the recording was put together; how much is missing nobody knows.
    skips : list of FileEvent
        Stretches without data.
    refused : list of FileBreak
        Stretches that are marked as unusable.
    """

    events: list[FileEvent] = field(default_factory=list)
    joins: list[FileBreak] = field(default_factory=list)
    skips: list[FileEvent] = field(default_factory=list)
    refused: list[FileBreak] = field(default_factory=list)


def sort_marks(events: Iterable[FileEvent]) -> Marks:
    """Tell the breaks from the events."""
    marks = Marks()
    for event in sorted(events, key=lambda event: event.onset):
        label = event.label.strip()
        is_long = math.isfinite(event.duration) and 0 < event.duration < _NEVER
        if label.lower() == SKIP and is_long:
            # MNE itself marks what a FIF leaves out, beside the file's own mark.
            if not marks.skips or _end(event) > _end(marks.skips[-1]):
                marks.skips.append(event)
        elif label.lower() == SKIP or _JOIN.fullmatch(label):
            reason = f"The recording was put together here ({label})."
            marks.joins.append(FileBreak(event.onset, reason))
        elif _BAD.fullmatch(label):
            until = event.onset + (event.duration if is_long else 0.0)
            marks.refused.append(FileBreak(event.onset, label, until))
        else:
            marks.events.append(event)
    return marks


def _end(event: FileEvent) -> float:
    return event.onset + event.duration


def sentences(marks: Marks, name: str) -> Sequence[str]:
    """What the user should know of stretches without data, and of refused ones."""
    found = []
    if marks.skips:
        n = len(marks.skips)
        words = "one stretch" if n == 1 else f"{n} stretches"
        found.append(f"{name} has {words} without data: a gap each.")
    if marks.refused:
        labels = ", ".join(dict.fromkeys(each.reason for each in marks.refused))
        n = len(marks.refused)
        words = "one stretch" if n == 1 else f"{n} stretches"
        them = "it" if n == 1 else "them"
        found.append(
            f"{name} marks {words} as bad ({labels[:80]}); epochs over {them} are refused."
        )
    return found
