"""Catch trials and the person's answers to them.

Owns the counting; pure.
"""

from __future__ import annotations

from app.calibration.schedule import Planned

ANSWER_WINDOW = 1.5
"""A press so soon after a catch trial answers it, s."""


def catch_table(
    planned: tuple[Planned, ...], answers: list[tuple[int, float]], *, n_shown: int
) -> dict[str, int]:
    """Count catch trials, those that were answered, and presses at other times."""
    catches = {i + 1 for i, each in enumerate(planned[:n_shown]) if each.is_catch}
    hits: set[int] = set()
    for number, after in answers:
        # A slow answer comes when the next picture is up already.
        late = planned[number - 1].at - planned[number - 2].at if number > 1 else 0.0
        for catch, delay in ((number, after), (number - 1, after + late)):
            if catch in catches and delay <= ANSWER_WINDOW:
                hits.add(catch)
    return {
        "shown": len(catches),
        "answered": len(hits),
        "false_alarms": max(0, len(answers) - len(hits)),
    }
