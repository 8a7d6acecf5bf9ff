"""THINGS-EEG2's files are read as data; hostile ones are refused; preparation is whole."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.utils import shuffle

from models.things_eeg2.epoching import Merge, SortedEpochs, shuffled
from models.things_eeg2.errors import ThingsError
from models.things_eeg2.files import read_preprocessed, read_raw
from models.things_eeg2.montage import CH_NAMES, SEED
from models.things_eeg2.tables import read_table
from models.things_eeg2.whitening import (
    noise_covariance,
    shrunk_covariances,
    whiten,
    whitening_matrix,
)
from tests.models.hostile_pickle import Hostile


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_preprocessed_files_are_read(protocol: int, tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(3, 2, 63, 250))
    times = np.linspace(-0.2, 0.996, 300)
    table = {"preprocessed_eeg_data": data, "ch_names": list(CH_NAMES), "times": times}
    path = tmp_path / "preprocessed_eeg_training.npy"
    path.write_bytes(pickle.dumps(table, protocol=protocol))
    epochs, names = read_preprocessed(path)
    np.testing.assert_array_equal(epochs.data, data)
    np.testing.assert_array_equal(epochs.times, times)
    np.testing.assert_array_equal(epochs.conditions, [1, 2, 3])
    assert names == CH_NAMES


@pytest.mark.parametrize("header", [True, False])
def test_a_file_that_holds_code_is_refused_and_not_run(header: bool, tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "hostile.npy"
    table = {"raw_eeg_data": Hostile(marker)}
    if header:
        np.save(path, table, allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps(table))
    with pytest.raises(ThingsError, match="is refused"):
        read_table(path)
    assert not marker.exists()


def test_damaged_and_foreign_files_are_one_sentence(tmp_path: Path) -> None:
    for name, content in (("cut", pickle.dumps({"a": 1})[:-3]), ("list", pickle.dumps([1]))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ThingsError) as error:
            read_table(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(ThingsError, match="no such file"):
        read_table(tmp_path / "absent")
    (tmp_path / "other").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ThingsError, match="lacks raw_eeg_data"):
        read_raw(tmp_path / "other")


def test_shrinkage_is_ledoit_and_wolfs() -> None:
    samples = np.random.default_rng(1).normal(size=(3, 30, 5)) @ np.diag([1, 2, 3, 4, 5.0])
    for own, x in zip(shrunk_covariances(samples), samples, strict=True):
        scale = x.std(axis=0)
        peer = ledoit_wolf((x - x.mean(axis=0)) / scale)[0]
        np.testing.assert_allclose(own, peer * np.outer(scale, scale), rtol=1e-10)


def test_whitened_noise_is_white() -> None:
    rng = np.random.default_rng(2)
    mixing = np.diag([1.0, 5.0, 0.2, 3.0]) @ (np.eye(4) + 0.1 * rng.normal(size=(4, 4)))
    train = np.einsum("ij,crjt->crit", mixing, rng.normal(size=(40, 2, 4, 250)))
    matrix = whitening_matrix(noise_covariance(train))
    white = whiten(train, matrix).transpose(2, 0, 1, 3).reshape(4, -1)
    covariance = np.cov(white)
    np.testing.assert_allclose(np.diag(covariance), 1, atol=0.05)
    # Shrinkage leaves part of weak correlations where they are.
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 0.15


def test_a_flat_channel_is_refused() -> None:
    train = np.random.default_rng(3).normal(size=(3, 2, 4, 50))
    train[:, :, 1] = 0
    with pytest.raises(ThingsError, match="drop flat channels"):
        noise_covariance(train)


@pytest.mark.parametrize("n", [2, 4, 80])
def test_the_shuffle_is_scikit_learns(n: int) -> None:
    expected = shuffle(np.arange(n), random_state=SEED)
    np.testing.assert_array_equal(shuffled(np.arange(n)), expected)


def test_sessions_with_missing_trials_are_refused() -> None:
    epochs = [
        SortedEpochs(np.zeros((len(c), 2, 1, 5)), np.array(c), np.zeros(5)) for c in ([1, 2], [1])
    ]
    with pytest.raises(ThingsError, match="expected one count"):
        Merge.of(epochs)
