"""Attending as an encoder: evidence over pictures becomes an embedding as long as it is sure."""

from __future__ import annotations

import numpy as np
import pytest

from models.attend.embedding import embed
from models.attend.encoder import AttendEncoder, evidence_epoch
from pipeline.errors import ConfigurationError
from pipeline.gallery import load_gallery
from pipeline.values import Epoch, Info

LABELS = ("cat", "house", "0.6*cat + 0.4*tulip")


@pytest.fixture(scope="module")
def encoder() -> AttendEncoder:
    return AttendEncoder(load_gallery())


@pytest.mark.parametrize("posterior", [[0.2, 0.3, 0.1], [1 / 3, 1 / 3, 1 / 3], [0.98, 0.01, 0.0]])
def test_evidence_gives_the_posterior_back(encoder: AttendEncoder, posterior: list[float]) -> None:
    known = np.array(posterior)
    found = encoder.encode(evidence_epoch(known, LABELS, index=4, t_onset=2.0))
    gallery = load_gallery()
    mixed = 0.6 * gallery.embedding("cat") + 0.4 * gallery.embedding("tulip")
    mixed /= np.linalg.norm(mixed)
    vectors = np.stack([gallery.embedding("cat"), gallery.embedding("house"), mixed])
    expected = embed(known, vectors, index=4, t_onset=2.0)
    np.testing.assert_allclose(found.vector, expected.vector, atol=1e-5)
    assert found.confidence == pytest.approx(float(np.linalg.norm(found.vector)), abs=1e-6)


def test_evidence_of_several_steps_adds_up(encoder: AttendEncoder) -> None:
    steps = np.random.default_rng(1).normal(0, 2, (3, 5)).astype(np.float32)
    info = Info(LABELS, 10.0, ("evidence",) * 3)
    whole = Epoch(steps.sum(axis=1, keepdims=True), 0.0, 0.0, 1.0, "", info, 0)
    parts = Epoch(steps, 0.0, 0.4, 1.0, "", info, 0)
    np.testing.assert_allclose(
        encoder.encode(parts).vector, encoder.encode(whole).vector, atol=1e-6
    )


def test_what_names_no_picture_is_refused(encoder: AttendEncoder) -> None:
    epoch = evidence_epoch(np.array([0.5, 0.5]), ("cat", "no-such"), index=0, t_onset=0.0)
    with pytest.raises(ConfigurationError, match="no picture of the gallery and no mixture"):
        encoder.encode(epoch)
