"""A real brain through the live path: against MNE, and decodable."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from devices.files.bids import read_sidecars
from models.adapters import Adapter
from models.adapters.classes import class_probabilities, fit_classes
from pipeline.electrodes import unit_positions
from pipeline.filters import CausalFilter
from pipeline.gallery import load_gallery
from pipeline.values import Info
from research.figures import scores
from research.figures.faces_houses import compare
from research.figures.real_brain import face_scores, truth_of
from research.figures.recording import (
    FILTER,
    MONTAGES,
    SITES,
    TARGETS,
    LiveEpochs,
    find_recording,
    live_epochs,
    session_config,
)


@pytest.fixture(scope="module")
def recording(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    archive = shared_data / "faces-houses.zip"
    if not archive.is_file():
        pytest.skip(f"{archive} is absent")
    folder = tmp_path_factory.mktemp("faces-houses")
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return find_recording(folder)


@pytest.fixture(scope="module")
def four_minutes(recording: Path) -> LiveEpochs:
    return live_epochs(recording, session_config(MONTAGES["8"]), stop=240.0)


def test_live_epochs_are_mnes_on_the_causally_filtered_file(recording: Path) -> None:
    found = compare(recording, ("B7", "A23"), stop=80.0)
    assert len(found.events) > 70
    assert np.ptp(found.live) > 10
    assert found.largest_difference < 1e-3
    # Against a filter that sees the future, the live responses come late, by less than the delay.
    delay = CausalFilter(FILTER, Info(("B7",), found.sfreq)).group_delay(6.0)
    assert 0 < found.lag() < delay


def test_the_eight_electrodes_stand_where_they_are_said_to(recording: Path) -> None:
    """Against the head model's own 10-05 directions, in the file's coordinates."""
    places = read_sidecars(recording).positions
    assert places is not None
    names = MONTAGES["8"]
    measured = np.array([places[name] for name in names])
    measured[:, 2] -= 0.04015  # the sphere's centre, m: it fits all 128 positions exactly
    measured /= np.linalg.norm(measured, axis=1, keepdims=True)
    expected = unit_positions([SITES[name] for name in names])
    angles = np.degrees(np.arccos(np.clip((measured * expected).sum(axis=1), -1, 1)))
    assert angles.max() < 15


def test_every_trial_ends_as_an_epoch_but_where_the_file_says_bad(
    four_minutes: LiveEpochs,
) -> None:
    """Its own marks (0:55 to 0:58, 2:42 to 2:43) touch five trials."""
    assert set(four_minutes.outcomes) <= {"decoded", "no_data", "settling", "artifact"}
    assert four_minutes.outcomes["artifact"] == 5
    assert four_minutes.outcomes["decoded"] == len(four_minutes.epochs) > 240


def test_a_person_is_decoded_from_eight_electrodes(four_minutes: LiveEpochs) -> None:
    """Within the first four minutes only: the last 40 % of the recording stays unseen by tests."""
    epochs = four_minutes.epochs
    adapter = fit_classes(epochs[:160], TARGETS, load_gallery(), filter_config=FILTER)
    rest = epochs[160:]
    truth = truth_of(rest)
    probability = _decode(adapter, four_minutes)[160:]
    assert scores.proportion(probability.argmax(axis=1) == truth).low > 0.4
    pictures = truth < 4
    assert scores.area(face_scores(probability)[pictures], truth[pictures] < 2) > 0.85
    assert adapter.manifest.event_classes.scores.p_value < 1e-10


def test_before_onset_nothing_is_decoded(four_minutes: LiveEpochs) -> None:
    adapter = fit_classes(
        four_minutes.epochs,
        TARGETS,
        load_gallery(),
        filter_config=FILTER,
        tmin=-0.2,
        tmax=0.0,
    )
    assert adapter.manifest.event_classes.scores.p_value > 0.01


def _decode(adapter: Adapter, found: LiveEpochs) -> np.ndarray:
    return np.stack([class_probabilities(adapter, epoch) for epoch in found.epochs])


def test_scores_agree_with_their_definitions() -> None:
    rng = np.random.default_rng(0)
    values, positive = rng.normal(size=40), rng.random(40) < 0.4
    pairs = [float(a > b) for a in values[positive] for b in values[~positive]]
    assert scores.area(values, positive) == pytest.approx(np.mean(pairs))
    estimate = scores.area_estimate(values, positive, n_draws=200)
    assert estimate.low < estimate.value < estimate.high
    half = scores.proportion(np.array([True, False] * 50))
    assert (half.low, half.high) == pytest.approx((0.4038, 0.5962), abs=1e-3)
    table = scores.confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    assert table.tolist() == [[1, 1], [0, 1]]
