"""One pool of epochs that every system is trained on, in each system's own form.

Owns the draw (the embedded encoder's people, pictures and strengths, on one board) and the
targets of the multimodal system in the embedded space. Knows nothing of networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.atm.data import EpochSet
from models.atm.input import CLIP
from models.embedded.encoder_input import SFREQ, TMIN
from models.multimodal.modalities import SUPERPIXELS, Modality
from models.multimodal.superpixels import LEVELS, superpixel_image
from pipeline.gallery import Gallery
from pipeline.values import Float32, Float64
from research.embedded.encoder_batches import MONTAGES, board_pool
from research.embedded.features import layout

BOARD = "cap32"
ATM_TIMES = 100
"""Samples of ATM-S at 125 Hz, from onset on: 0 to 0.8 s."""
SIGNAL_TMIN, SIGNAL_TMAX, SIGNAL_TIMES = 0.04, 0.8, 96
"""DreamDiffusion's interval, s, and its samples: those of the 125 Hz grid."""
FEATURES = "ViT-H-14"
"""Name under which the ATM family looks for its targets; here they are the gallery's."""
_BLOCKS = {"looks": slice(0, 24), "layout": slice(24, 39), "meaning": slice(39, 63)}
"""Where `build_gallery` put what of an embedding."""


@dataclass(frozen=True, slots=True, eq=False)
class PoolEpochs:
    """Epochs on the encoder's grid and what was shown.

    `channels` (n, n_channels, N_TIMES) in robust deviations, average reference; `image_ids` (n,)
    rows of `embeddings` (n_images, 64): the gallery's own first, then made-up ones.
    """

    channels: Float32
    image_ids: NDArray[np.int64]
    embeddings: Float32
    n_gallery: int


def draw_pool(gallery: Gallery, *, n_epochs: int, seed: int, bank_seconds: float) -> PoolEpochs:
    """Draw epochs of the board: the pool that EEGNet, ridge and LDA are trained on as well."""
    drawn = board_pool(BOARD, gallery, n_epochs=n_epochs, seed=seed, bank_seconds=bank_seconds)
    new = drawn.rows < 0
    ids = drawn.rows.copy()
    ids[new] = len(gallery) + np.arange(new.sum())
    return PoolEpochs(
        channels=drawn.channels,
        image_ids=ids,
        embeddings=np.concatenate([gallery.embeddings, drawn.targets[new]]),
        n_gallery=len(gallery),
    )


def atm_input(channels: Float32) -> Float32:
    """From onset on, one robust scale an epoch: what `models.atm.input` makes of a live epoch."""
    start = round(-TMIN * SFREQ)
    part = channels[:, :, start : start + ATM_TIMES]
    middle = np.median(part, axis=2, keepdims=True)
    spread = 1.4826 * np.median(np.abs(part - middle), axis=(1, 2), keepdims=True)
    return np.asarray(np.clip(part / np.maximum(spread, 1e-6), -CLIP, CLIP), dtype=np.float32)


def signal_input(channels: Float32) -> Float32:
    """Each channel standardised: what `models.dreamdiffusion.live` makes of a live epoch."""
    start = round((SIGNAL_TMIN - TMIN) * SFREQ)
    part = channels[:, :, start : start + SIGNAL_TIMES]
    part = part - part.mean(axis=2, keepdims=True)
    return np.asarray(part / np.maximum(part.std(axis=2, keepdims=True), 1e-6), dtype=np.float32)


def epoch_set(pool: PoolEpochs, targets: dict[str, Float32], *, known_only: bool) -> EpochSet:
    """The pool as the ATM family's training data; `known_only`: pictures of the gallery alone."""
    rows = np.flatnonzero(pool.image_ids < pool.n_gallery) if known_only else None
    items = np.arange(len(pool.image_ids)) if rows is None else rows
    return EpochSet(
        eeg=atm_input(pool.channels),
        image_ids=pool.image_ids,
        # Nobody of the pool is met again: all share the token of unknown people.
        subject_ids=np.full(len(pool.image_ids), -1),
        targets=targets,
        ch_names=MONTAGES[BOARD][0],
        items=tuple(np.array([row]) for row in items),
    )


def meaning_of(embeddings: Float32) -> Float32:
    """What the name says of an embedding, and nothing else: unit rows, same width."""
    return _block(embeddings[:, _BLOCKS["meaning"]], "meaning")


def modality_targets(gallery: Gallery, *, scale: float) -> dict[str, Float32]:
    """Targets of the five modalities by published name, (n_stimuli, 64) of norm `scale`.

    The picture's is its embedding, the text's the part that came of its name, the superpixels'
    the part that came of the colours' places, read off the superpixel picture.
    """
    pictures = np.stack([gallery.image(label) for label in gallery.labels])
    read = _layout_reader(gallery, pictures)
    targets = {
        Modality.IMAGE.published_name: gallery.embeddings,
        Modality.TEXT.published_name: meaning_of(gallery.embeddings),
    }
    for modality in SUPERPIXELS:
        flat = np.stack([superpixel_image(picture, LEVELS[modality]) for picture in pictures])
        rows = np.c_[layout(flat), np.ones(len(flat))] @ read
        targets[modality.published_name] = _block(rows, "layout")
    return {name: (scale * rows).astype(np.float32) for name, rows in targets.items()}


def _layout_reader(gallery: Gallery, pictures: NDArray[np.uint8]) -> Float64:
    """Linear map from thumbnails to the embeddings' part for colours and places."""
    design = np.c_[layout(pictures), np.ones(len(pictures))].astype(np.float64)
    gram = design.T @ design
    gram += 1e-3 * np.trace(gram) / len(gram) * np.eye(len(gram))
    goal = gallery.embeddings[:, _BLOCKS["layout"]].astype(np.float64)
    return np.asarray(np.linalg.solve(gram, design.T @ goal))


def _block(rows: Float32 | Float64, name: str) -> Float32:
    whole = np.zeros((len(rows), 64), dtype=np.float32)
    whole[:, _BLOCKS[name]] = rows
    norms = np.linalg.norm(whole, axis=1, keepdims=True)
    return np.asarray(whole / np.maximum(norms, 1e-12), dtype=np.float32)
