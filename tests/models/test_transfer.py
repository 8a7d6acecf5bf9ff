"""How several recordings are put together: alignment between sessions, other people as a prior."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.adapters import CalibrationData, load_live, save_adapter
from models.adapters.fit import fit_adapter
from models.adapters.pooling import Recorded, pool_recordings
from models.adapters.transfer import choose_transfer, own_rows
from pipeline.values import Float64

SITES = ("Oz", "PO7", "PO8", "Cz")
WINDOW = (0.0, 0.6)


def session(n: int = 60, *, mixing: Float64 | None = None, seed: int = 0) -> CalibrationData:
    """Trials of two classes; `mixing` is how that day's electrodes take the sources up."""
    rng = np.random.default_rng(seed)
    is_face = np.arange(n) % 2 == rng.integers(2)
    sources = rng.standard_normal((n, 4, 64)) * np.array([1.0, 1.0, 4.0, 6.0])[:, None]
    sources[is_face, 0, 25:45] += 1.6 * np.sin(np.linspace(0, np.pi, 20))
    mix = np.eye(4) if mixing is None else mixing
    return CalibrationData(
        epochs=(mix @ sources).astype(np.float32),
        labels=tuple("face" if each else "house" for each in is_face),
        onsets=np.arange(n) * 1.0,
        channels=SITES,
        sfreq=64.0,
        tmin=-0.2,
    )


def test_alike_sessions_are_left_as_they_are() -> None:
    parts = [Recorded(session(seed=k), f"day {k}", "kim") for k in range(3)]
    found = choose_transfer(pool_recordings(parts), "kim", WINDOW)
    assert found.report is not None
    assert [each.name for each in found.report.scores] == ["own", "own-aligned"]
    assert (found.report.chosen, found.reference) == ("own", None)
    assert choose_transfer(session(), "kim", WINDOW).report is None


def test_sessions_with_other_mixtures_are_aligned_and_so_is_the_next(tmp_path: Path) -> None:
    gains = (1.0, 0.5, 2.0)
    parts = [
        Recorded(session(seed=k, mixing=np.diag([g, g, 1 / g, 1.0])), f"day {k}", "kim")
        for k, g in enumerate(gains)
    ]
    data = pool_recordings(parts)
    adapter = fit_adapter(data, subject="kim", with_curve=False)
    assert adapter.report.transfer is not None
    assert adapter.report.transfer.chosen == "own-aligned", adapter.report.transfer.sentence
    assert adapter.manifest.event_classes.is_aligned
    assert adapter.covariance is not None
    save_adapter(adapter, tmp_path)
    live = load_live(tmp_path)
    assert not live.is_frozen
    new = session(200, seed=9, mixing=np.diag([2.5, 2.5, 0.4, 1.0]))
    names = adapter.manifest.event_classes.events
    right = []
    for row in range(len(new)):
        live.observe(new.epoch(row))
        classes = live.encode(new.epoch(row)).classes
        right.append(names[int(np.argmax(classes))] == new.labels[row])
    assert np.mean(right[60:]) > 0.8


@pytest.mark.parametrize("is_alike", [True, False])
def test_other_people_are_learnt_from_where_that_helps(is_alike: bool) -> None:
    own = session(36, seed=1)
    other = session(160, seed=2)
    if not is_alike:  # the same wave, of the other class
        swap = {"face": "house", "house": "face"}
        other = replace(other, labels=tuple(swap[each] for each in other.labels))
    data = pool_recordings([Recorded(own, "a", "kim"), Recorded(other, "b", "lee")])
    found = choose_transfer(data, "kim", WINDOW)
    assert found.report is not None
    assert found.report.chosen.startswith("all" if is_alike else "own")
    assert len(found.data) == (196 if is_alike else 36)
    if not is_alike:
        return
    scores = fit_adapter(data, subject="kim", with_curve=False).report.classes
    assert scores is not None
    assert sum(scores.counts) == 36, "nobody else's epochs are scored"
    assert list(own_rows(data, "nobody")) == list(range(196))
