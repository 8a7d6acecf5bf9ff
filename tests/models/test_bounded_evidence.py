"""Alignment never sharpens what the evidence does not: bounds, strangers, and virtual people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from configs import DecoderConfig, load_config
from models.adapters.online import OnlineAligned, bounded
from models.api import StatesDoubt
from models.embedded.encoder import EmbeddedEncoder, load_encoder
from models.embedded.training_pool import pool_covariance
from models.systems import load_encoder as load_any
from pipeline.session_doubt import SessionDoubt
from pipeline.values import Embedding, Epoch, Info

NAMES = ("PO7", "PO8", "O1", "O2", "P7", "P8", "Oz", "Pz")


@pytest.fixture(scope="module")
def encoder() -> EmbeddedEncoder:
    return load_encoder()


POOL = np.asarray(pool_covariance(NAMES)) + 1e-3 * np.eye(len(NAMES))


def noise(covariance: np.ndarray, n: int, *, seed: int) -> list[Epoch]:
    """Epochs of smooth noise with that covariance between channels, microvolts."""
    rng = np.random.default_rng(seed)
    mixing = np.linalg.cholesky(covariance)
    white = rng.standard_normal((n, len(covariance), 140))
    smooth = np.apply_along_axis(np.convolve, 2, white, np.ones(8) / np.sqrt(8), "valid")
    info = Info(NAMES, 125.0)
    data = (mixing @ smooth).astype(np.float32)
    return [
        Epoch(each[:, :126], tmin=-0.2, tmax=0.8, t_onset=float(k), event="x", info=info, index=k)
        for k, each in enumerate(data)
    ]


def stranger(*, seed: int = 1) -> np.ndarray:
    """Covariance of a brain like none of the pool's: each electrode for itself, unlike the next."""
    gains = np.exp(1.5 * np.random.default_rng(seed).standard_normal(len(NAMES)))
    return np.diag(200 * gains**2)


def decoded(aligned: OnlineAligned, epochs: list[Epoch]) -> list[Embedding]:
    found = []
    for epoch in epochs:
        aligned.observe(epoch)
        found.append(aligned.encode(epoch))
    return found


def follower(encoder: EmbeddedEncoder, *, is_bounded: bool) -> OnlineAligned:
    aligned = OnlineAligned(
        encoder, reference=pool_covariance, is_bounded=is_bounded, is_of_pool=is_bounded
    )
    aligned.resume()
    return aligned


def test_a_stranger_is_fog_behind_alignment_too(encoder: EmbeddedEncoder) -> None:
    epochs = noise(stranger(), 24, seed=2)
    before = decoded(follower(encoder, is_bounded=False), epochs)
    aligned = follower(encoder, is_bounded=True)
    now = decoded(aligned, epochs)
    assert np.mean([each.confidence for each in before[12:]]) > 0.1, "else nothing was at stake"
    assert np.mean([each.confidence < 0.1 for each in now]) >= 0.95  # type: ignore[operator]
    assert isinstance(aligned, StatesDoubt)
    assert aligned.doubt > 0.9
    for old, new in zip(before, now, strict=True):
        length = np.linalg.norm(old.vector)
        if np.linalg.norm(new.vector) > 1e-6:  # whose picture it is, is not changed
            assert old.vector @ new.vector >= 0.999 * length * np.linalg.norm(new.vector)
    aligned.reset()
    assert aligned.doubt == 0.0


def test_people_whom_the_decoder_knows_are_not_doubted(encoder: EmbeddedEncoder) -> None:
    epochs = noise(POOL, 14, seed=3)
    aligned = follower(encoder, is_bounded=True)
    for epoch, each in zip(epochs, decoded(aligned, epochs), strict=True):
        plain = encoder.encode(epoch)
        assert np.linalg.norm(each.vector) <= np.linalg.norm(plain.vector) * 1.000001
        assert each.confidence is not None
        assert plain.confidence is not None
        assert each.confidence <= plain.confidence
    assert aligned.doubt == 0.0


def test_frozen_and_near_it_changes_no_bit(encoder: EmbeddedEncoder) -> None:
    epochs = noise(POOL, 4, seed=4)
    frozen = OnlineAligned(encoder, reference=pool_covariance, is_bounded=True, is_of_pool=True)
    for epoch, each in zip(epochs, decoded(frozen, epochs), strict=True):
        np.testing.assert_array_equal(each.vector, encoder.encode(epoch).vector)


def test_classes_get_no_surer_and_keep_their_order() -> None:
    vector = np.array([0.6, 0.0], dtype=np.float32)
    plain = Embedding(vector, index=0, t_onset=0.0, confidence=0.6, classes=(0.6, 0.3, 0.1))
    sure = replace(plain, vector=vector / 0.6, confidence=1.0, classes=(0.0, 0.98, 0.02))
    found = bounded(sure, plain)
    assert found.confidence == 0.6
    assert max(found.classes) == pytest.approx(0.6)
    assert sum(found.classes) == pytest.approx(1.0)
    assert np.argsort(found.classes).tolist() == [0, 2, 1]
    assert bounded(plain, sure).classes == plain.classes, "less sure behind alignment: as it is"


def test_few_epochs_say_nothing_and_artifacts_little() -> None:
    covariance = POOL
    epochs = [each.data for each in noise(covariance, 30, seed=5)]
    doubt = SessionDoubt(covariance)
    for data in (1e4 * epochs[0], *epochs[1:2]):
        doubt.observe(data)
    assert doubt.kept == 1.0, "two epochs"
    for data in epochs[2:]:
        doubt.observe(data)
    assert doubt.kept == 1.0, "one loud epoch among thirty"


def test_sessions_of_before_are_as_before(tmp_path: Path) -> None:
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text('[run]\nphosphene = "0.1"\n[decoder]\nalign = true\n', encoding="utf-8")
    new.write_text("[decoder]\nalign = true\n", encoding="utf-8")
    assert not load_config(old).decoder.doubt_session
    assert load_config(new).decoder.doubt_session
    assert load_config(new).to_table()["decoder"]["doubt_session"] is True
    for on in (False, True):
        found = load_any(DecoderConfig(doubt_session=on))
        assert isinstance(found, OnlineAligned)
        assert found.is_bounded is on
