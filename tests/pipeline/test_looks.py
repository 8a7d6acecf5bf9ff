"""The grammar of looks, the codes, and the frames that were really shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from devices.files.base import marker_info
from pipeline.codes import CYCLE, ROUNDS, flash_codes, gold_codes
from pipeline.errors import ConfigurationError, InfoError
from pipeline.looks import Grid, LookMarker, ShownFrames, read_grid, read_label

GRID = Grid(gold_codes(6), tuple("abcdef"), 60.0)


def runs(row: np.ndarray) -> int:
    twice = np.concatenate([row, row])
    borders = np.flatnonzero(np.diff(twice.astype(int)))
    return int(np.diff(borders).max())


@pytest.mark.parametrize("n", [2, 20, 64])
def test_codes_are_different_balanced_and_never_rest_longer_than_two_frames(n: int) -> None:
    codes = gold_codes(n)
    assert codes.shape == (n, CYCLE)
    assert len({row.tobytes() for row in codes}) == n
    assert all(row.sum() == CYCLE // 2 for row in codes)
    assert max(runs(row) for row in codes) <= 2
    signs = 2.0 * codes - 1
    likeness = np.abs(signs @ signs.T) / CYCLE - np.eye(n)
    assert likeness.max() < 0.3


@pytest.mark.parametrize("n", [6, 20, 64])
def test_one_picture_flashes_at_a_time_and_each_once_a_round(n: int) -> None:
    codes = flash_codes(n)
    assert codes.shape == (n, n * ROUNDS)
    assert (codes.sum(axis=0) == 1).all()
    assert (codes.reshape(n, ROUNDS, n).sum(axis=2) == 1).all()
    assert min(np.diff(np.flatnonzero(row)).min() for row in codes) > n // 2 - 1
    assert len({row.tobytes() for row in codes}) == n


def test_more_codes_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="65 targets"):
        gold_codes(65)


@pytest.mark.parametrize(
    "marker", [LookMarker(3, 0, 5), LookMarker(3, 126), LookMarker(0, None)], ids=str
)
def test_a_label_is_read_as_it_was_written(marker: LookMarker) -> None:
    assert read_label(marker.label) == marker


@pytest.mark.parametrize(
    "label", ["face", "look", "look 1 frame", "look -1 end", "look 1 end cue 2"]
)
def test_other_labels_are_none_of_a_look(label: str) -> None:
    assert read_label(label) is None


def test_a_stream_that_describes_its_codes_is_read_back() -> None:
    info = replace(marker_info(Path("x")), desc=GRID.desc)
    found = read_grid(info)
    assert np.array_equal(found.codes, GRID.codes)
    assert (found.labels, found.frame_rate, found.kind) == (GRID.labels, 60.0, "flicker")
    in_turn = Grid(flash_codes(6), GRID.labels, 6.5, "flash")
    assert read_grid(replace(info, desc=in_turn.desc)).kind == "flash"
    odd = {"codes": [in_turn.desc["codes"][0] | {"kind": "glow"}]}
    with pytest.raises(InfoError, match="kind of codes"):
        read_grid(replace(info, desc=odd))


@pytest.mark.parametrize(
    "desc",
    [
        {},
        {"codes": [{"code": ["01", "011"], "frame_rate": ["60"]}]},
        {"codes": [{"code": ["01", "0x"], "frame_rate": ["60"]}]},
        {"codes": [{"code": ["01", "10"], "frame_rate": ["nan"]}]},
        {"codes": [{"code": ["01", "10"]}]},
    ],
)
def test_a_stream_that_describes_none_is_refused_in_one_line(desc: dict[str, object]) -> None:
    with pytest.raises(InfoError, match="'x-markers'"):
        read_grid(replace(marker_info(Path("x")), desc=desc))


def test_frames_follow_at_the_rate_however_they_are_asked_for() -> None:
    shown = ShownFrames(GRID, 10.0)
    parts = [shown.until(10.0 + end) for end in (0.05, 0.3, 4.0)]
    states = np.concatenate([part[0] for part in parts])
    flips = np.concatenate([part[1] for part in parts])
    n = len(flips)
    assert n == pytest.approx(240, abs=1)
    assert np.allclose(flips, 10.0 + np.arange(n) / 60)
    assert np.array_equal(states, GRID.codes[:, np.arange(n) % CYCLE].T)


def test_frames_that_came_late_or_never_are_those_that_were_shown() -> None:
    """A truth of 400 flips, 2 % of them late and some frames left out: the same comes back."""
    rng = np.random.default_rng(0)
    shown = ShownFrames(GRID, 0.0)
    at, frame, truth, n_odd = 0.0, 0, [], 0
    for k in range(400):
        odd = k > 0 and rng.random() < 0.02
        if odd:
            is_late = rng.random() < 0.5
            at += is_late / 60  # the frame before it stayed; else this one's place was taken
            frame += not is_late
            shown.mark(frame, at)
            n_odd += 1
        truth.append((frame, at))
        frame, at = frame + 1, at + 1 / 60
    states, flips = shown.until(truth[-1][1] + 1e-6)
    assert n_odd > 3
    assert np.allclose(flips, [t for _, t in truth])
    assert np.array_equal(states, GRID.codes[:, [f % CYCLE for f, _ in truth]].T)
    assert shown.n_late > 0
