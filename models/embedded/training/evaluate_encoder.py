"""Tests the encoder on people and concepts it never saw: `python -m ...evaluate_encoder`.

Owns the table of `docs/models/encoder.md`: boards by SNR, identification among all upright
pictures and among 50, calibration of the probabilities, and the baselines. Every epoch comes from
a streamed session (`encoder_sessions`), none from the training banks.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize, special, stats

from models.embedded.encoder import EmbeddedEncoder, load_encoder
from models.embedded.encoder_input import resample, robust_scale
from models.embedded.training.encoder_batches import (
    MONTAGES,
    POOL_SUBJECTS,
    draw_snr,
    held_out_concepts,
)
from models.embedded.training.encoder_pool import EpochPool
from models.embedded.training.encoder_sessions import Session, record_session
from pipeline.gallery import Gallery, load_gallery
from pipeline.values import Epoch, Float32, Float64

BOARDS = ("cyton", "daisy", "cap32", "cap63")
WINDOW = (0.05, 0.722)
N_WINDOWS = 28


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """One cell: each person's top-1 and top-5 among all and among 50, and pooled details."""

    all_top1: Float64
    all_top5: Float64
    few_top1: Float64
    few_top5: Float64
    norm: float
    confidence: float
    calibration_error: float
    seen_top1: float
    unseen_top1: float
    n: int


def ranks(similarity: Float64, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rank of the true row in each line, 0 for the best."""
    own = similarity[np.arange(len(rows)), rows][:, None]
    return np.asarray((similarity > own).sum(axis=1), dtype=np.int64)


def ranks_among(
    similarity: Float64, rows: NDArray[np.int64], n: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rank of the true row among itself and `n - 1` others drawn at random for each line."""
    out = np.empty(len(rows), dtype=np.int64)
    for i, row in enumerate(rows):
        others = rng.permutation(np.delete(np.arange(similarity.shape[1]), row))[: n - 1]
        out[i] = int((similarity[i, others] > similarity[i, row]).sum())
    return out


def calibration_error(probability: Float64, hit: NDArray[np.bool_], n_bins: int = 10) -> float:
    """Expected calibration error over bins of equal count."""
    order = np.argsort(probability)
    parts = np.array_split(order, n_bins)
    gaps = [abs(probability[p].mean() - hit[p].mean()) * len(p) for p in parts if len(p)]
    return float(np.sum(gaps) / len(probability))


Encode = Callable[[Sequence[Epoch]], Float64]


def encode_all(encoder: EmbeddedEncoder) -> Encode:
    """Make a function that encodes epochs one by one, as the live path does."""
    return lambda epochs: np.stack([encoder.encode(e).vector for e in epochs]).astype(np.float64)


def score(
    sessions: Sequence[Session],
    encode: Encode | Sequence[Encode],
    gallery: Gallery,
    *,
    temperature: float,
) -> Scores:
    """Identify every epoch of every person; `encode` may be one a person."""
    held = set(held_out_concepts(load_gallery()))
    unseen = np.array([s.concept in held for s in gallery.stimuli])
    rng = np.random.default_rng(50)
    people: list[tuple[float, float, float, float]] = []
    top: list[Float64] = []
    hits: list[NDArray[np.bool_]] = []
    rows: list[NDArray[np.int64]] = []
    norms: list[Float64] = []
    each = [encode] * len(sessions) if callable(encode) else list(encode)
    for session, function in zip(sessions, each, strict=True):
        vectors = function(session.epochs)
        similarity = vectors @ gallery.embeddings.T.astype(np.float64)
        rank = ranks(similarity, session.rows)
        few = ranks_among(similarity, session.rows, 50, rng)
        people.append(((rank == 0).mean(), (rank < 5).mean(), (few == 0).mean(), (few < 5).mean()))
        weights = np.exp((similarity - similarity.max(axis=1, keepdims=True)) / temperature)
        top.append(1 / weights.sum(axis=1))
        hits.append(rank == 0)
        rows.append(session.rows)
        norms.append(np.linalg.norm(vectors, axis=1))
    table = np.array(people)
    hit, probability = np.concatenate(hits), np.concatenate(top)
    new = unseen[np.concatenate(rows)]
    return Scores(
        all_top1=table[:, 0],
        all_top5=table[:, 1],
        few_top1=table[:, 2],
        few_top5=table[:, 3],
        norm=float(np.concatenate(norms).mean()),
        confidence=float(probability.mean()),
        calibration_error=calibration_error(probability, hit),
        seen_top1=float(hit[~new].mean()),
        unseen_top1=float(hit[new].mean()),
        n=len(hit),
    )


def window_means(channels: Float32 | Float64) -> Float64:
    """Windowed means of epochs (n, n_channels, N_TIMES), one scale an epoch: (n, n_inputs)."""
    centred = channels - channels.mean(axis=1, keepdims=True)
    scale = np.median(robust_scale(centred), axis=-1)[:, None, None]
    low = round((WINDOW[0] + 0.2) * 125)
    part = np.clip(centred / scale, -8, 8)[..., low : low + 3 * N_WINDOWS]
    means = part.reshape(*part.shape[:-1], N_WINDOWS, 3).mean(axis=-1)
    return np.asarray(means.reshape(len(means), -1), dtype=np.float64)


def epochs_means(epochs: Sequence[Epoch]) -> Float64:
    """Windowed means of cut epochs."""
    grid = [resample(e.data, sfreq=e.info.sfreq, tmin=e.tmin) for e in epochs]
    return window_means(np.stack(grid))


def fit_ridge(inputs: Float64, targets: Float64, centre: Float64) -> Encode:
    """Fit ridge regression of embeddings; its shrinkage by cross-validation."""
    penalties = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    folds = np.arange(len(inputs)) % 5
    n_folds = 5 if len(inputs) < 3000 else 1
    losses = []
    for penalty in penalties:
        loss = 0.0
        for fold in range(n_folds):
            weights = _ridge(inputs[folds != fold], (targets - centre)[folds != fold], penalty)
            guess = np.c_[inputs[folds == fold], np.ones((folds == fold).sum())] @ weights
            loss += float(((guess - (targets - centre)[folds == fold]) ** 2).sum())
        losses.append(loss)
    weights = _ridge(inputs, targets - centre, penalties[int(np.argmin(losses))])
    return lambda epochs: np.asarray(np.c_[epochs_means(epochs), np.ones(len(epochs))] @ weights)


def _ridge(inputs: Float64, targets: Float64, penalty: float) -> Float64:
    design = np.c_[inputs, np.ones(len(inputs))]
    if len(design) < design.shape[1]:  # the dual is smaller
        kernel = design @ design.T
        scale = penalty * np.trace(kernel) / design.shape[1]
        return np.asarray(design.T @ np.linalg.solve(kernel + scale * np.eye(len(kernel)), targets))
    gram = design.T @ design
    scale = penalty * np.trace(gram) / len(gram)
    return np.asarray(np.linalg.solve(gram + scale * np.eye(len(gram)), design.T @ targets))


def pooled_ridge(board: str, gallery: Gallery, *, n_people: int, n_each: int) -> Encode:
    """Fit the zero-shot baseline: one montage, many people of the training pool."""
    names, rate = MONTAGES[board]
    pool = EpochPool(seed=77, rates=(rate,), seconds=120.0)
    rng = np.random.default_rng(77)
    inputs, targets = [], []
    for number in rng.permutation(POOL_SUBJECTS)[:n_people]:
        chosen = gallery.embeddings[rng.integers(len(gallery), size=n_each)]
        channels = pool.channels(
            rng=rng,
            ch_names=names,
            sfreq=rate,
            subject_number=int(number),
            embeddings=chosen,
            snr=np.maximum(draw_snr(rng, n_each), 0.5),
        )
        inputs.append(window_means(channels))
        targets.append(chosen.astype(np.float64))
    return fit_ridge(
        np.concatenate(inputs), np.concatenate(targets), gallery.embeddings.mean(axis=0)
    )


def _sessions(
    board: str, gallery: Gallery, people: Sequence[int], *, n: int, snr: float, seed: int
) -> list[Session]:
    names, rate = MONTAGES[board]
    return [
        record_session(
            ch_names=names,
            sfreq=rate,
            subject_number=number,
            embeddings=gallery.embeddings,
            n_stimuli=n,
            snr=snr,
            seed=seed,
        )
        for number in people
    ]


def fit_temperature(encoder: EmbeddedEncoder, gallery: Gallery, *, n: int = 60) -> float:
    """Find the temperature of `Gallery.rank` at which the true picture is least surprising.

    On people of the *training* pool, over boards and SNRs, so that the test stays untouched.
    """
    encode = encode_all(encoder)
    similarities, own = [], []
    for board in BOARDS:
        for snr in (0.0, 0.5, 1.0, 2.0):
            for session in _sessions(board, gallery, (990, 991), n=n, snr=snr, seed=13):
                table = encode(session.epochs) @ gallery.embeddings.T.astype(np.float64)
                similarities.append(table)
                own.append(table[np.arange(len(table)), session.rows])
    table, right = np.concatenate(similarities), np.concatenate(own)

    def surprise(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float((special.logsumexp(table * scale, axis=1) - right * scale).mean())

    best = optimize.minimize_scalar(surprise, bounds=(np.log(0.005), 0.0), method="bounded")
    return float(np.exp(best.x))


def _with_interval(values: Float64) -> str:
    """Mean over people with its 95 % t interval, in percent."""
    mean = 100 * float(values.mean())
    if len(values) < 2 or values.std() == 0:
        return f"{mean:.1f}"
    half = 100 * float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1))
    return f"{mean:.1f} ±{half:.1f}"


def _line(system: str, board: str, snr: float, s: Scores) -> dict[str, Any]:
    return {
        "system": system,
        "board": board,
        "snr": snr,
        "n": s.n,
        "top1": _with_interval(s.all_top1),
        "top5": _with_interval(s.all_top5),
        "top1_of_50": _with_interval(s.few_top1),
        "top5_of_50": _with_interval(s.few_top5),
        "people_top1": [round(float(x), 3) for x in s.all_top1],
        "norm": round(s.norm, 3),
        "mean_probability": round(s.confidence, 4),
        "ece": round(s.calibration_error, 4),
        "seen_concepts_top1": round(s.seen_top1, 4),
        "unseen_concepts_top1": round(s.unseen_top1, 4),
    }


def markdown(lines: Sequence[dict[str, Any]]) -> str:
    """Lay the lines out as a table."""
    head = (
        "| system | board | SNR | epochs | top-1 | top-5 | top-1 of 50 | top-5 of 50 | norm | ECE |"
    )
    out = [head, "|" + " --- |" * 10]
    for x in lines:
        words = [x["system"], x["board"], f"{x['snr']:g}", x["n"], x["top1"], x["top5"]]
        words += [x["top1_of_50"], x["top5_of_50"], x["norm"], x["ece"]]
        out.append("| " + " | ".join(str(w) for w in words) + " |")
    return "\n".join(out)


def main(argv: list[str] | None = None) -> int:
    """Evaluate and write `OUT/encoder.json` and `OUT/encoder_table.md`."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--weights", type=Path, default=None)
    options.add_argument("--out", type=Path, default=Path("out/encoder"))
    options.add_argument("--people", type=int, default=10)
    options.add_argument("--stimuli", type=int, default=80)
    options.add_argument("--boards", nargs="+", default=list(BOARDS))
    options.add_argument("--snrs", nargs="+", type=float, default=[0.0, 0.5, 1.0, 2.0])
    options.add_argument("--fit-temperature", action="store_true", help="only this, on the pool")
    options.add_argument("--no-baselines", action="store_true")
    options.add_argument("--only-baselines", action="store_true")
    args = options.parse_args(argv)
    torch.set_num_threads(1)
    encoder = load_encoder(args.weights)
    gallery = load_gallery().subset(kind="upright")
    people = range(1001, 1001 + args.people)
    if args.fit_temperature:
        print(f"rank temperature {fit_temperature(encoder, gallery):.4f}")
        return 0
    lines: list[dict[str, Any]] = []

    def add(line: dict[str, Any]) -> None:
        lines.append(line)
        print(json.dumps(line), flush=True)

    for board in args.boards:
        at_one: list[Session] = []
        for snr in args.snrs:
            sessions = _sessions(board, gallery, people, n=args.stimuli, snr=snr, seed=11)
            if snr == 1:
                at_one = sessions
            if not args.only_baselines:
                result = score(
                    sessions, encode_all(encoder), gallery, temperature=encoder.temperature
                )
                add(_line("encoder, zero-shot", board, snr, result))
        if args.no_baselines or not at_one:
            continue
        zero_shot = pooled_ridge(board, gallery, n_people=300, n_each=40)
        add(
            _line(
                "ridge, zero-shot", board, 1.0, score(at_one, zero_shot, gallery, temperature=0.1)
            )
        )
        for minutes in (5, 20):
            n = round(minutes * 60 / 1.325)
            practice = _sessions(board, gallery, people, n=n, snr=1.0, seed=12)
            own = [
                fit_ridge(
                    epochs_means(s.epochs),
                    gallery.embeddings[s.rows].astype(np.float64),
                    gallery.embeddings.mean(axis=0).astype(np.float64),
                )
                for s in practice
            ]
            name = f"ridge, calibrated {minutes} min"
            add(_line(name, board, 1.0, score(at_one, own, gallery, temperature=0.1)))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "encoder.json").write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
    (args.out / "encoder_table.md").write_text(markdown(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
