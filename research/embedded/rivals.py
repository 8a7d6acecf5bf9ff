"""The decoders in the encoder's table: zero-shot ones a board, calibrated ones a person.

Owns how each one is made ready to encode; the linear ones are `linear_baselines`', EEGNet is
`train_eegnet`'s, the adapter is what `phosphene calibrate` fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from models.adapters.adapter import embed
from models.adapters.data import CalibrationData
from models.adapters.methods.base import Fitting, Watch
from models.adapters.methods.pattern import PatternModel
from models.adapters.network_base import NetworkBase, NetworkBatch
from models.embedded.encoder import EmbeddedEncoder
from models.embedded.encoder_input import prepare
from pipeline.gallery import Gallery
from pipeline.values import Epoch, Float64
from research.embedded.encoder_sessions import Session
from research.embedded.identification import Encode
from research.embedded.linear_baselines import fit_ridge, on_grid
from research.embedded.train_eegnet import load_board


def encode_all(encoder: EmbeddedEncoder) -> Encode:
    """Make a function that encodes epochs one by one, as the live path does."""
    return lambda epochs: np.stack([encoder.encode(e).vector for e in epochs]).astype(np.float64)


def evidence_of(encoder: EmbeddedEncoder) -> Encode:
    """What the encoder measures, before it is held against the known pictures."""

    @torch.inference_mode()
    def encode(epochs: Sequence[Epoch]) -> Float64:
        x, conditions = (np.stack(each) for each in zip(*map(prepare, epochs), strict=True))
        vectors = encoder.network.evidence(torch.from_numpy(x), torch.from_numpy(conditions))
        return np.asarray(vectors.numpy(), dtype=np.float64)

    return encode


def eegnet(folder: Path) -> Encode:
    """EEGNet of one board."""
    network = load_board(folder)

    @torch.inference_mode()
    def encode(epochs: Sequence[Epoch]) -> Float64:
        vectors = network(torch.from_numpy(on_grid(epochs)))
        return np.asarray(vectors.numpy(), dtype=np.float64)

    return encode


def adapted(
    encoder: EmbeddedEncoder, session: Session, gallery: Gallery, *, seed: int = 0
) -> Encode:
    """Put the closed-form adapter that `session` is enough for on top of the shipped encoder."""
    base = NetworkBase(encoder)
    part = PatternModel.fit(
        Fitting(
            prepared(base, session.epochs),
            gallery.embeddings[session.rows].astype(np.float64),
            session.rows.astype(np.intp),
            base,
            seed,
            Watch(),
        )
    )
    return lambda epochs: embed(part, prepared(base, epochs), base)


def prepared(base: NetworkBase, epochs: Sequence[Epoch]) -> NetworkBatch:
    """Cut epochs of one board as adapters take them."""
    first = epochs[0]
    return base.prepare(
        CalibrationData(
            epochs=np.stack([epoch.data for epoch in epochs]),
            labels=("",) * len(epochs),
            onsets=np.array([epoch.t_onset for epoch in epochs]),
            channels=first.info.ch_names,
            sfreq=first.info.sfreq,
            tmin=first.tmin,
        )
    )


def personal_ridge(session: Session, gallery: Gallery) -> Encode:
    """Ridge regression from nothing on one person's session."""
    targets = gallery.embeddings.astype(np.float64)
    return fit_ridge(session.epochs, targets[session.rows], targets.mean(axis=0))


def first_minutes(session: Session, minutes: float) -> Session:
    """The session's first `minutes`."""
    onsets = np.array([epoch.t_onset for epoch in session.epochs])
    n = int((onsets < onsets[0] + 60 * minutes).sum())
    return Session(session.epochs[:n], session.rows[:n], session.n_rejected)
