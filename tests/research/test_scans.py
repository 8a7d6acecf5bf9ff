"""The table of fMRI decoders: its split, its figures, and that each system learns and answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.gallery import load_gallery
from research.scans.people import Person, scan_person
from research.scans.systems import SYSTEMS, Passes
from research.scans.table import judge, line_of, markdown


@pytest.fixture(scope="module")
def person() -> Person:
    gallery = load_gallery().subset(kind="upright")
    few = gallery.subset(labels=gallery.labels[:40])
    return scan_person(few, number=1001, snr=2.0, n_voxels=160)


def test_no_picture_is_on_both_sides(person: Person) -> None:
    assert not set(person.train.rows) & set(person.test.rows)
    assert len(set(person.test.rows)) == 8
    assert len(person.train.rows) == 3 * 32


def test_figures_are_what_they_say(person: Person) -> None:
    test = person.test
    rng = np.random.default_rng(0)
    line = line_of("right", 2.0, [(test.targets, test)], seconds=0.0, seed=0)
    assert line.two_way == line.first == (1.0, 1.0, 1.0)
    assert line.chance == (0.5, 1 / 8)
    two_way, first = judge(-test.targets, test)
    assert first.sum() == 0
    assert two_way.mean() < 0.5
    # One answer to everything is a guess.
    two_way, first = judge(np.zeros_like(test.targets), test)
    np.testing.assert_allclose(two_way, 0.5)
    np.testing.assert_allclose(first, 1 / 8)
    two_way, _ = judge(rng.normal(size=test.targets.shape), test)
    assert two_way.mean() == pytest.approx(0.5, abs=0.25)
    assert "| right | 2 | 100.0 (100.0 to 100.0) |" in markdown([line])


@pytest.mark.parametrize("name", SYSTEMS)
def test_each_system_learns_and_answers(name: str, person: Person, tmp_path: Path) -> None:
    vectors = SYSTEMS[name](person, Passes(mindeye=1, masked=1, readout=1), tmp_path, 0)
    assert vectors.shape == person.test.targets.shape
    assert np.isfinite(vectors).all()
    if name == "ridge":
        assert judge(vectors, person.test)[0].mean() > 0.9
