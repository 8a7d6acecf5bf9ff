"""A virtual headset whose wearer looks at a grid that markers tell of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from app.attend.reading import Ended, LookOptions, LookReader
from configs import load_preset
from devices.virtual.follower import Follower
from devices.virtual.looker import Looker, LookerSource
from pipeline.codes import gold_codes
from pipeline.looks import Grid, LookMarker
from pipeline.values import Packet, StreamRole

GRID = Grid(gold_codes(6), tuple("abcdef"), 60.0)
START = 5000.0


def _read(follower: Follower, markers: dict[float, LookMarker]) -> Ended:
    """Read one look: each marker is heard, and decoded, once its time has come."""
    streams = LookerSource(Looker(), GRID, n_looks=1).streams
    reader = LookReader(load_preset("attend"), streams, LookOptions(trial_seconds=4.2))
    due = sorted(markers.items())
    while follower.next_at < START + 20:
        while due and due[0][0] < follower.next_at:
            at, marker = due.pop(0)
            follower.hear(GRID, marker.label, at)
            reader.feed(Packet(StreamRole.MARKERS, (marker.label,), np.array([at]), at))
        for event in reader.feed(follower.next_chunk()):
            if isinstance(event, Ended):
                return event
    raise AssertionError("no look ended")


@pytest.mark.parametrize("late", [0.0, 1 / 60])
def test_it_looks_at_what_the_markers_ask_for(late: float) -> None:
    follower = Follower(Looker(number=5, snr=4.0), t_start=START)
    onset = START + 5.0
    markers = {onset: LookMarker(0, 0, 4), onset + 1.0 + late: LookMarker(0, 60)}
    found = _read(follower, markers)
    assert (found.cue, found.n_late) == (4, int(late > 0))
    assert found.decision is not None
    assert found.decision.answer == 4


def test_asked_for_nothing_it_chooses_and_without_a_grid_nothing_is_evoked() -> None:
    quiet, other = (Follower(Looker(number=5, snr=4.0), t_start=START) for _ in range(2))
    same: Callable[[], bool] = lambda: np.array_equal(
        np.asarray(quiet.next_chunk().samples), np.asarray(other.next_chunk().samples)
    )
    assert all(same() for _ in range(20))
    other.hear(GRID, "no marker of a grid", other.next_at)
    assert same()
    other.hear(GRID, LookMarker(0, 0).label, other.next_at)
    assert not all(same() for _ in range(20))
