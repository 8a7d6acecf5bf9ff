"""The encoder's table: ranks, intervals, baselines; a cell that is known is not computed again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models.embedded.encoder import load_encoder
from pipeline.gallery import load_gallery
from pipeline.values import Float64
from research.embedded import evaluate_encoder
from research.embedded.encoder_batches import MONTAGES
from research.embedded.encoder_sessions import Session, record_session
from research.embedded.identification import (
    ranks,
    ranks_among,
    score,
    with_interval,
)
from research.embedded.linear_baselines import on_grid, window_means
from research.embedded.moments import Moments
from research.embedded.rivals import adapted, encode_all, first_minutes, personal_ridge

UPRIGHT = load_gallery().subset(kind="upright")


def sitting(n: int, *, snr: float = 1.0, seed: int = 5) -> Session:
    names, rate = MONTAGES["cyton"]
    return record_session(
        ch_names=names,
        sfreq=rate,
        subject_number=1101,
        embeddings=UPRIGHT.embeddings,
        n_stimuli=n,
        snr=snr,
        seed=seed,
    )


def test_a_vector_that_says_nothing_never_hits() -> None:
    table = np.zeros((4, 60))
    rows = np.arange(4)
    assert (ranks(table, rows) == 59).all(), "a tie goes to the others"
    assert (ranks_among(table, rows, 50, np.random.default_rng(0)) == 49).all()


def test_the_right_picture_is_first_among_any_of_them() -> None:
    vectors = UPRIGHT.embeddings.astype(np.float64)

    class Known:
        epochs = ()
        rows = np.arange(len(UPRIGHT))

    found = score([Known(), Known()], lambda _: vectors, UPRIGHT, temperature=0.01)  # type: ignore[list-item]
    assert found.n == 2 * len(UPRIGHT)
    assert set(found.top1) == {0, 50, 200}
    assert all((each == 1).all() for each in found.top1.values())
    assert found.unseen_top1 == 1


def test_chance_among_n_is_one_in_n() -> None:
    rng = np.random.default_rng(3)
    table = rng.standard_normal((4000, 227))
    rows = rng.integers(227, size=4000)
    hits = ranks_among(table, rows, 50, rng) == 0
    assert abs(hits.mean() - 0.02) < 4 * np.sqrt(0.02 * 0.98 / 4000)


def test_an_interval_is_students_over_people() -> None:
    assert with_interval(np.array([0.1, 0.2, 0.3])) == "20.0 ±24.8"
    assert with_interval(np.array([0.5])) == "50.0"


def test_the_discriminant_beats_the_ridge_where_noise_lies_in_one_direction() -> None:
    rng = np.random.default_rng(0)
    targets = rng.standard_normal((4000, 2))
    noise = rng.standard_normal((4000, 3)) @ np.diag([0.2, 6.0, 0.2])
    features = targets @ rng.standard_normal((2, 3)) + noise
    moments = Moments()
    moments.add(torch.from_numpy(features).float(), torch.from_numpy(targets).float())
    pictures = rng.standard_normal((50, 2))
    pictures /= np.linalg.norm(pictures, axis=1, keepdims=True)

    def agreement(weights: Float64) -> float:
        guess = features @ weights[:-1] + weights[-1]
        own = (guess * targets).sum(axis=1) / np.linalg.norm(guess, axis=1)
        return float(own.mean())

    ridge, discriminant = moments.ridge(1e-6).numpy(), moments.discriminant(1e-6).numpy()
    assert discriminant.shape == ridge.shape == (4, 2)
    assert agreement(ridge) > 0.5
    assert np.isfinite(agreement(discriminant))
    own = features @ discriminant[:-1] + discriminant[-1]
    slope = np.linalg.lstsq(targets, own, rcond=None)[0]
    left = own - targets @ slope
    covariance = left.T @ left / len(left)
    # What makes a discriminant: its evidence has signal and noise of the same shape.
    assert np.allclose(covariance, slope, atol=0.05 * np.abs(slope).max())


def test_calibrated_decoders_learn_from_a_sitting() -> None:
    practice = sitting(60)
    short = first_minutes(practice, 1.0)
    assert 40 < len(short.epochs) < 50
    encoder = load_encoder()
    for decode in (adapted(encoder, short, UPRIGHT), personal_ridge(short, UPRIGHT)):
        vectors = decode(practice.epochs)
        assert vectors.shape == (len(practice.epochs), 64)
        assert np.isfinite(vectors).all()
    own = personal_ridge(short, UPRIGHT)(short.epochs) @ UPRIGHT.embeddings.T
    assert (ranks(own, short.rows) == 0).mean() > 0.1, "it knows what it was fitted to"


def test_windows_are_those_of_the_straight_path() -> None:
    means = window_means(on_grid(sitting(2).epochs))
    assert means.shape == (2, 8 * 28)


def test_the_command_writes_the_table_and_keeps_what_it_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin, end = "<!-- evaluate_encoder -->", "<!-- /evaluate_encoder -->"
    (tmp_path / "encoder.md").write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    words = ["--out", str(tmp_path), "--people", "2", "--stimuli", "4", "--boards", "cyton"]
    words += ["--snrs", "0", "--pool-epochs", "512", "--minutes", "0.5"]
    words += ["--bank-seconds", "16"]
    assert evaluate_encoder.main(words) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    lines = json.loads((tmp_path / "encoder.json").read_text())
    assert lines[0]["system"] == "encoder, zero-shot"
    assert {x["snr"] for x in lines} == {0.0}
    document = (tmp_path / "encoder.md").read_text()
    assert document.startswith("before\n")
    assert document.endswith("after\n")
    assert "old" not in document
    assert document.count("| LDA, zero-shot |") == 1
    assert evaluate_encoder.main(words) == 0
    assert capsys.readouterr().out == "", "nothing was computed again"
    assert json.loads((tmp_path / "encoder.json").read_text()) == lines
    assert encode_all(load_encoder())(sitting(1).epochs).shape == (1, 64)
