"""How far apart virtual people are: `python -m research.adapters.measure_gap`.

Owns the comparison with the literature's zero-shot against within-subject gap: the shipped encoder
as it is, against a decoder trained from nothing on hours of the very person and against an adapter
on the same hours, over strengths of the patterns. The spread of the pool itself was set before any
encoder existed (see
`docs/virtual_headset.md`).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from scipy import linalg

from models.adapters.lda import near_stationary_covariance
from models.adapters.methods.base import Fitting, Watch
from models.adapters.methods.pattern import PatternModel, bin_means
from models.adapters.network_base import NetworkBase, NetworkBatch
from models.adapters.scoring import Ints
from models.embedded.encoder import load_encoder
from pipeline.values import Float64
from research.adapters.people import GAP_PEOPLE, uprights
from research.embedded.encoder_batches import MONTAGES
from research.embedded.encoder_pool import EpochPool

N_CANDIDATES = 200
"""As in the literature's test."""


def own_decoder(
    train: NetworkBatch, targets: Float64, test: NetworkBatch, candidates: Float64
) -> Float64:
    """Scores of a linear discriminant from nothing: least-squares patterns, own noise."""
    features = bin_means(train).transpose(0, 2, 1)
    flat = features.reshape(len(features), -1)
    centre, mean = targets.mean(axis=0), flat.mean(axis=0)
    wanted = targets - centre
    patterns = np.linalg.lstsq(wanted, flat - mean, rcond=None)[0]
    left = (flat - mean - wanted @ patterns).reshape(features.shape)
    # With hours of epochs the plain covariance is better than a stationary one.
    plain = left.reshape(len(left), -1)
    noise = 0.9 * plain.T @ plain / len(plain) + 0.1 * near_stationary_covariance(left)
    weights = linalg.solve(noise, patterns.T, assume_a="pos")
    new = bin_means(test).transpose(0, 2, 1).reshape(len(test), -1) - mean
    around = candidates - centre
    energy = np.einsum("nf,fg,ng->n", around, patterns @ weights, around)
    return np.asarray(new @ weights @ around.T - 0.5 * energy)


def main(argv: list[str] | None = None) -> int:
    """Measure and print one JSON line a strength; write them to `OUT`."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=Path("out/gap.json"))
    options.add_argument("--board", default="cap32")
    options.add_argument("--snrs", type=float, nargs="+", default=[0.55, 0.65, 1.0])
    options.add_argument("--trials", type=int, default=6000)
    options.add_argument("--tests", type=int, default=1000)
    args = options.parse_args(argv)
    torch.set_num_threads(1)
    names, rate = MONTAGES[args.board]
    base = NetworkBase(load_encoder())
    pool = EpochPool(seed=79, rates=(rate,), seconds=120.0)
    gallery = uprights().embeddings
    lines = []
    for snr in args.snrs:
        zero, own, full = [], [], []
        for number in GAP_PEOPLE:
            rng = np.random.default_rng([number, 83])
            candidates = gallery[rng.permutation(len(gallery))[:N_CANDIDATES]].astype(np.float64)

            def epochs(n: int, number: int = number, snr: float = snr) -> tuple[NetworkBatch, Ints]:
                rows = rng.integers(N_CANDIDATES, size=n)  # noqa: B023 - called at once
                shown = candidates[rows]  # noqa: B023
                channels = pool.channels(
                    rng=rng,  # noqa: B023
                    ch_names=names,
                    sfreq=rate,
                    subject_number=number,
                    embeddings=shown.astype(np.float32),
                    snr=np.full(n, snr),
                ).channels.astype(np.float64)
                return NetworkBatch(names, channels - channels.mean(axis=1, keepdims=True)), rows

            train, seen = epochs(args.trials)
            test, rows = epochs(args.tests)
            vectors = base.recall(base.evidence(test))
            zero.append(float(((vectors @ candidates.T).argmax(axis=1) == rows).mean()))
            scores = own_decoder(train, candidates[seen], test, candidates)
            own.append(float((scores.argmax(axis=1) == rows).mean()))
            part = PatternModel.fit(Fitting(train, candidates[seen], seen, base, 0, Watch()))
            best = part.evidence(test, base) @ candidates.T / base.temperature
            best += part.bias(candidates)
            full.append(float((best.argmax(axis=1) == rows).mean()))
        line = {
            "board": args.board,
            "snr": snr,
            "trials": args.trials,
            "zero_shot": round(float(np.mean(zero)), 4),
            "own": round(float(np.mean(own)), 4),
            "fully_calibrated": round(float(np.mean(full)), 4),
            "ratio": round(float(np.mean(own) / np.mean(zero)), 2),
            "zero_shot_people": zero,
            "own_people": own,
            "fully_calibrated_people": full,
        }
        lines.append(line)
        print(json.dumps(line), flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
