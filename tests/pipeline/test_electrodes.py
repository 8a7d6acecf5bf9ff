"""Electrode labels and where they sit."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.electrodes import canonical_name, electrode_names, unit_positions
from pipeline.errors import InfoError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Oz", "Oz"),
        ("fp1", "Fp1"),
        ("EEG C3-REF", "C3"),
        ("T3", "T7"),
        ("POz.", "POz"),
        ("Status", None),
        ("", None),
    ],
)
def test_labels_are_read_in_their_usual_spellings(given: str, expected: str | None) -> None:
    assert canonical_name(given) == expected


def test_positions_are_unit_vectors_on_the_right_side() -> None:
    places = unit_positions(electrode_names())
    assert np.allclose(np.linalg.norm(places, axis=1), 1, atol=1e-4)
    left, right, front, back, top = unit_positions(["T7", "T8", "Fpz", "Oz", "Cz"])
    assert left[0] < -0.9 < 0.9 < right[0]
    assert back[1] < -0.9 < 0.9 < front[1]
    assert top[2] > 0.95


def test_every_unknown_label_is_named() -> None:
    with pytest.raises(InfoError, match=r"'X1', 'X2'.*10-05"):
        unit_positions(["Oz", "X1", "X2"])
