"""From the electrodes at hand to those a decoder wants, and what they can be expected to give."""

from __future__ import annotations

import numpy as np
import pytest

from models.adapters import AdapterError
from models.adapters.montage import map_montage, spline_matrix
from pipeline.electrodes import unit_positions
from research.embedded.encoder_batches import MONTAGES, TEN_TEN


def test_names_are_matched_in_any_spelling_and_order() -> None:
    found = map_montage(("EEG Fp1-REF", "oz", "T3", "AUX1"), ("Oz", "Fp1", "T7"))
    np.testing.assert_array_equal(found.matrix, [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]])
    assert found.matched == ("Oz", "Fp1", "T7")
    assert found.interpolated == ()
    assert found.unused == ("AUX1",)
    assert "3 of 3 channels found by name" in found.sentence
    assert "AUX1" in found.sentence


def test_missing_channels_are_splined_as_mne_does() -> None:
    import mne

    names = [*MONTAGES["cap32"][0]]
    lost = ["PO3", "Cz", "F8"]
    data = np.random.default_rng(0).standard_normal((32, 50)) * 1e-5
    info = mne.create_info(names, 100.0, "eeg")
    raw = mne.io.RawArray(data, info, verbose="error")
    # The very directions that our table has, as MNE's own montage has them on its sphere.
    places = dict(zip(names, 0.095 * unit_positions(names), strict=True))
    raw.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"))
    raw.info["bads"] = lost
    theirs = raw.interpolate_bads(origin=(0.0, 0.0, 0.0), verbose="error").get_data()
    kept = [name for name in names if name not in lost]
    ours = map_montage(tuple(kept), tuple(names))
    rows = [names.index(name) for name in kept]
    np.testing.assert_allclose(
        ours.matrix @ data[rows], theirs, atol=2e-7
    )  # of 1e-5: positions in float32
    assert set(ours.interpolated) == set(lost)


def test_a_constant_and_a_smooth_field_survive_interpolation() -> None:
    known = MONTAGES["cap63"][0]
    wanted = [name for name in TEN_TEN if name not in known][:6]
    matrix = spline_matrix(known, wanted)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-4)
    slope = np.array([0.3, -0.5, 0.2])
    np.testing.assert_allclose(
        matrix @ unit_positions(known) @ slope, unit_positions(wanted) @ slope, atol=0.08
    )


def test_what_cannot_be_mapped_is_refused() -> None:
    with pytest.raises(AdapterError, match="no labels of the 10-05 system"):
        map_montage(("Oz",), ("ch1", "Oz"))
    with pytest.raises(AdapterError, match="cannot be interpolated from 3"):
        map_montage(("Oz", "O1", "O2"), ("Oz", "Cz"))
