"""What the encoder is trained on: which people, montages, pictures and strengths a batch holds.

Owns the draw of batches from `EpochPool` and the split of concepts; knows nothing of the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from devices.virtual.boards import BOARDS
from models.embedded.encoder_input import CLIP, robust_scale
from pipeline.gallery import Gallery
from pipeline.values import Float32, Float64
from research.embedded.encoder_pool import EpochPool, PoolEpochs, network_input

POOL_SUBJECTS = 1000
HELD_OUT_PART = 0.1
POOL_BATCH, POOL_PEOPLE = 512, 64
"""Epochs and people of one draw of `board_pool`."""
_TEN_TEN = (
    "Fp1 Fpz Fp2 AF7 AF3 AFz AF4 AF8 F9 F7 F5 F3 F1 Fz F2 F4 F6 F8 F10 FT9 FT7 FC5 FC3 FC1 "
    "FCz FC2 FC4 FC6 FT8 FT10 T7 C5 C3 C1 Cz C2 C4 C6 T8 TP9 TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 "
    "TP8 TP10 P9 P7 P5 P3 P1 Pz P2 P4 P6 P8 P10 PO9 PO7 PO3 POz PO4 PO8 PO10 O1 Oz O2 Iz"
)
_POSTERIOR8 = "PO7 PO8 O1 O2 P7 P8 Oz Pz"
TEN_TEN = tuple(_TEN_TEN.split())
_BOARDS = {name: (board.ch_names, board.sfreq) for name, board in BOARDS.items()}
MONTAGES = {**_BOARDS, "posterior8": (tuple(_POSTERIOR8.split()), 250.0)}
"""Montages and native rates: the virtual headset's boards, and eight over the back of the head."""
EXPERT_MONTAGES = ("cyton", "daisy", "posterior8", "cap32", "cap63", "any8", "any16", "any32")
_SHARES = {
    "cyton": 0.14,
    "daisy": 0.14,
    "posterior8": 0.06,
    "cap32": 0.32,
    "cap63": 0.16,
    "any": 0.18,
}


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Network input and targets.

    `x` (n, N_VIRTUAL, N_TIMES), `conditions` (n, N_CONDITIONS), `targets` (n, n_features) unit
    vectors, `rows` (n,): the stimulus's row in the gallery, -1 for a made-up embedding; `snr` (n,);
    `scale`, `shift` (n,): the timing that made the epoch, see `PoolEpochs`.
    """

    x: Float32
    conditions: Float32
    targets: Float32
    rows: NDArray[np.int64]
    snr: Float64
    scale: Float64
    shift: Float64


@dataclass(frozen=True, slots=True, eq=False)
class BoardBatch:
    """Epochs of one whole board, for networks that are bound to a montage.

    `channels` (n, n_channels, N_TIMES) as `scaled` leaves them; the rest as in `Batch`.
    """

    channels: Float32
    targets: Float32
    rows: NDArray[np.int64]
    snr: Float64


def scaled(channels: Float32 | Float64) -> Float32:
    """Reference epochs (n, n_channels, N_TIMES) to their average, in units of one robust scale."""
    centred = channels - channels.mean(axis=1, keepdims=True)
    spread = np.maximum(np.median(robust_scale(centred), axis=-1), 1e-3)[:, None, None]
    return np.asarray(np.clip(centred / spread, -CLIP, CLIP), dtype=np.float32)


def held_out_concepts(gallery: Gallery, *, seed: int = 0) -> tuple[str, ...]:
    """Draw the tenth of the concepts that training never sees, in any kind."""
    concepts = sorted({s.concept for s in gallery.stimuli if s.kind == "upright"})
    rng = np.random.default_rng([seed, 10])
    n = round(HELD_OUT_PART * len(concepts))
    return tuple(sorted(rng.choice(concepts, n, replace=False).tolist()))


def upright_rows(gallery: Gallery) -> NDArray[np.int64]:
    """Rows of the upright pictures that training shows."""
    held = set(held_out_concepts(gallery))
    shown = [s.kind == "upright" and s.concept not in held for s in gallery.stimuli]
    return np.flatnonzero(shown)


def draw_montage(
    rng: np.random.Generator, kind: str | None = None
) -> tuple[tuple[str, ...], float]:
    """Draw labels and native rate; `kind` is a board, `anyN`, or None for the pool's mixture."""
    if kind is None:
        kind = str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
    if kind in MONTAGES:
        names, rate = MONTAGES[kind]
        if kind == "cap63" and rng.random() < 0.5:
            rate = 250.0
        if len(names) > 8 and rng.random() < 0.3:  # a bad electrode or two are left out
            n_left = len(names) - int(rng.integers(1, 3))
            names = tuple(names[i] for i in sorted(rng.permutation(len(names))[:n_left]))
        return names, rate
    n = int(kind[3:]) if kind[3:] else round(float(np.exp(rng.uniform(np.log(4), np.log(64)))))
    chosen = rng.permutation(len(TEN_TEN))[:n]
    return tuple(TEN_TEN[i] for i in sorted(chosen)), float(rng.choice([125.0, 250.0, 500.0]))


def draw_snr(rng: np.random.Generator, n: int) -> Float64:
    """Draw strengths: a seventh without any information, half near 1, the rest 0.3 to 2."""
    near = np.exp(0.25 * rng.standard_normal(n))
    wide = rng.uniform(0.3, 2.0, n)
    pick = rng.random(n)
    return np.where(pick < 1 / 7, 0.0, np.where(pick < 0.64, near, wide))


class BatchMaker:
    """Draws batches from the pool."""

    def __init__(self, pool: EpochPool, gallery: Gallery, *, n_people: int = 16) -> None:
        self._pool = pool
        self._embeddings = gallery.embeddings
        held = set(held_out_concepts(gallery))
        self.train_rows = np.flatnonzero([s.concept not in held for s in gallery.stimuli])
        self.upright_rows = upright_rows(gallery)
        self._n_people = n_people

    def draw(
        self,
        rng: np.random.Generator,
        n: int,
        *,
        kind: str | None = None,
        strength: float | None = None,
    ) -> Batch:
        """Draw a batch of `n` epochs (a multiple of the people in it) under one montage.

        `strength`: SNR of all of them; None: the pool's mixture.
        """
        names, rate = draw_montage(rng, kind)
        rows, targets = self._pictures(rng, n)
        snr = draw_snr(rng, n) if strength is None else np.full(n, strength)
        made = self._epochs(rng, names, rate, targets=targets, snr=snr)
        x, conditions = network_input(made.channels, names)
        return Batch(
            x=x,
            conditions=conditions,
            targets=targets,
            rows=rows,
            snr=snr,
            scale=made.scale,
            shift=made.shift,
        )

    def draw_board(self, rng: np.random.Generator, n: int, board: str) -> BoardBatch:
        """Draw a batch of `n` epochs of a whole board: same people, pictures and strengths."""
        names, rate = MONTAGES[board]
        rows, targets = self._pictures(rng, n)
        snr = draw_snr(rng, n)
        made = self._epochs(rng, names, rate, targets=targets, snr=snr)
        return BoardBatch(channels=scaled(made.channels), targets=targets, rows=rows, snr=snr)

    def _epochs(
        self,
        rng: np.random.Generator,
        names: tuple[str, ...],
        rate: float,
        *,
        targets: Float32,
        snr: Float64,
    ) -> PoolEpochs:
        per_person = len(targets) // self._n_people
        parts = [
            self._pool.channels(
                rng=rng,
                ch_names=names,
                sfreq=rate,
                subject_number=int(rng.integers(POOL_SUBJECTS)),
                embeddings=targets[start : start + per_person],
                snr=snr[start : start + per_person],
            )
            for start in range(0, len(targets), per_person)
        ]
        return PoolEpochs(
            channels=np.concatenate([part.channels for part in parts]),
            scale=np.concatenate([part.scale for part in parts]),
            shift=np.concatenate([part.shift for part in parts]),
        )

    def _pictures(self, rng: np.random.Generator, n: int) -> tuple[NDArray[np.int64], Float32]:
        """Half upright, a fifth of any kind, the rest made up between and around pictures."""
        rows = rng.choice(self.upright_rows, n)
        any_kind = rng.random(n) < 0.28
        rows[any_kind] = rng.choice(self.train_rows, int(any_kind.sum()))
        targets = self._embeddings[rows].copy()
        made_up = rng.random(n) < 0.3
        n_made = int(made_up.sum())
        pairs = self._embeddings[rng.choice(self.train_rows, (n_made, 3))]
        weights = rng.normal(0.4, 0.8, (n_made, 3, 1))
        mixed = (pairs * weights).sum(axis=1) + 0.03 * rng.standard_normal((n_made, 64))
        targets[made_up] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
        rows[made_up] = -1
        return rows, targets.astype(np.float32)


def board_pool(
    board: str, gallery: Gallery, *, n_epochs: int, seed: int, bank_seconds: float = 240.0
) -> BoardBatch:
    """Draw a whole pool of epochs of one board at once: what every baseline is trained on."""
    pool = EpochPool(seed=seed, rates=(MONTAGES[board][1],), seconds=bank_seconds)
    each = min(POOL_BATCH, n_epochs)
    maker = BatchMaker(pool, gallery, n_people=min(POOL_PEOPLE, each))
    parts = [
        maker.draw_board(np.random.default_rng([seed, 4, number]), each, board)
        for number in range(max(1, n_epochs // POOL_BATCH))
    ]
    return BoardBatch(
        channels=np.concatenate([part.channels for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
        rows=np.concatenate([part.rows for part in parts]),
        snr=np.concatenate([part.snr for part in parts]),
    )
