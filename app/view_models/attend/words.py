"""What is said of a session of looks while it runs: lines for the window, never more than is known.

Owns the words. Knows nothing of Qt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app import formatting

HONEST = (
    "This mode reads which of the shown pictures is attended to, mostly by where the eyes rest. "
    "It does not read imagination."
)
"""What the mode does, for everybody who sees its results."""


def look_lines(
    labels: Sequence[str], *, seconds: float, best: int | None, probability: float
) -> tuple[str, ...]:
    """Return what is known of the look under way."""
    if best is None:
        return ("looking…",)
    if probability < 0.005:
        return ("looking…", f"{seconds:.1f} s")
    return (f"{formatting.label(labels[best])}?  {probability:.0%}", f"{seconds:.1f} s")


def answer_lines(
    labels: Sequence[str], *, answer: int | None, seconds: float, cue: int | None
) -> tuple[str, ...]:
    """Return what became of a look."""
    if answer is None:
        return (f"not sure after {seconds:.1f} s",)
    lines = [formatting.label(labels[answer]), f"decided after {seconds:.1f} s"]
    if cue is not None:
        asked = formatting.label(labels[cue])
        lines.append("as asked" if cue == answer else f"asked for: {asked}")
    return tuple(lines)


def figure_lines(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the figures of all looks so far."""
    if not figures or not figures["looks"]:
        return ("no look yet",)
    lines = [
        f"{formatting.count(figures['looks'], 'look')}, {figures['decided']} decided, "
        f"{figures['not_sure']} not sure"
    ]
    if figures["median_seconds"] is not None:
        lines.append(f"median {figures['median_seconds']:.1f} s a look")
    if figures["accuracy"] is not None:
        lines.append(f"{figures['accuracy']:.0%} as asked (chance {figures['chance']:.0%})")
    if figures["bits_per_minute"] is not None:
        lines.append(f"{figures['bits_per_minute']:.0f} bits a minute")
    if figures["frames_late"]:
        lines.append(f"{formatting.count(figures['frames_late'], 'frame')} late")
    return tuple(lines)
