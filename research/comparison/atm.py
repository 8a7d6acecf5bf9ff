"""ATM-S, its prior and the multimodal system on the virtual pool.

Owns their reduced sizes and the order of training; networks, objectives and sampling are the
systems' own. Targets are the gallery's embeddings times `SCALE`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from configs.atm import MultimodalTrainingConfig, PriorTrainingConfig, RetrievalTrainingConfig
from models.atm.encoder import AtmsConfig, AtmsEncoder
from models.atm.input import network_input
from models.atm.prior import DiffusionPriorUNet, PriorConfig
from models.atm.prior_sampling import prior_states
from models.atm.stages import EncoderTask, PriorTask
from models.embedded.encoder_input import SFREQ
from models.multimodal.generation import PRIOR_STEPS
from models.multimodal.modalities import FUSION_WEIGHTS, Modality
from models.multimodal.stage import MultimodalModel, MultimodalTask
from models.multimodal.training import named_priors
from models.sampling.solvers import last
from models.training import LoopConfig, make_engine, train
from pipeline.gallery import Gallery
from pipeline.values import Epoch, Float64
from research.comparison.dreamdiffusion import Note, said
from research.comparison.pool import (
    ATM_TIMES,
    BOARD,
    FEATURES,
    PoolEpochs,
    epoch_set,
    meaning_of,
    modality_targets,
)
from research.embedded.encoder_batches import MONTAGES

NETWORK = AtmsConfig(
    n_channels=len(MONTAGES[BOARD][0]), n_times=ATM_TIMES, n_features=64, n_subjects=1
)
"""Published: 63 channels, 250 samples, 1024 features."""
PRIOR = PriorConfig(embed_dim=64, cond_dim=64, hidden_dim=(256, 128, 64), time_embed_dim=128)
"""Published: 1024 features, five widths from 1024 to 64, time 512."""
SCALE = 8.0
"""Brings a unit embedding's features to variance 1, as the prior's noise has."""
_CHUNK = 512


@dataclass(frozen=True, slots=True, eq=False)
class AtmSystems:
    """The trained networks."""

    encoder: AtmsEncoder
    prior: DiffusionPriorUNet
    multimodal: MultimodalModel


def train_encoder(
    pool: PoolEpochs, out: Path, *, passes: int, seed: int, note: Note
) -> AtmsEncoder:
    """Retrieval training, contrast with pictures and a little with names, as published.

    Two settings are the modern ones: larger batches, and each repetition of a picture counts as a
    positive (a batch of 256 holds most pictures more than once).
    """
    torch.manual_seed(seed)
    encoder = AtmsEncoder(NETWORK)
    targets = {FEATURES: pool.embeddings, f"{FEATURES}.text": meaning_of(pool.embeddings)}
    config = RetrievalTrainingConfig(
        passes=passes, batch_size=256, lr=1e-3, multi_positive=True, validation_fraction=0.0
    )
    task = EncoderTask(encoder, epoch_set(pool, targets, known_only=False), config, seed=seed)
    loop = LoopConfig(passes=passes, batch_size=config.batch_size, seed=seed)
    engine = make_engine(device="cpu")
    found = train(
        task, loop, engine=engine, out=out / "encoder", save_every=300, on_step=said(note, "ATM-S")
    )
    note(f"ATM-S: {found}")
    return encoder.eval()


def train_prior(
    pool: PoolEpochs, encoder: AtmsEncoder, out: Path, *, passes: int, seed: int, note: Note
) -> DiffusionPriorUNet:
    """Noise prediction given the encoder's vectors, as published."""
    data = epoch_set(pool, {}, known_only=False)
    vectors = embed(encoder, torch.from_numpy(data.eeg))
    targets = torch.from_numpy(SCALE * pool.embeddings[pool.image_ids])
    torch.manual_seed(seed)
    prior = DiffusionPriorUNet(PRIOR)
    config = PriorTrainingConfig(passes=passes)
    task = PriorTask(prior, vectors, targets, config)
    loop = LoopConfig(passes=passes, batch_size=config.batch_size, seed=seed)
    engine = make_engine(device="cpu")
    found = train(
        task, loop, engine=engine, out=out / "prior", save_every=300, on_step=said(note, "prior")
    )
    note(f"prior: {found}")
    return prior.eval()


def train_multimodal(
    pool: PoolEpochs,
    encoder: AtmsEncoder,
    prior: DiffusionPriorUNet,
    gallery: Gallery,
    out: Path,
    *,
    passes: int,
    seed: int,
    note: Note,
) -> MultimodalModel:
    """Joint training of encoder and five priors, all of which start from the trained ATM-S.

    From scratch, or at the rate of the other stages, so few passes left the condition unused. Only
    pictures of the gallery: a made-up embedding has no superpixels.
    """
    targets = modality_targets(gallery, scale=SCALE)
    torch.manual_seed(seed)
    model = MultimodalModel(copy.deepcopy(encoder), PRIOR)
    for each in named_priors(model.priors).values():
        each.load_state_dict(prior.state_dict())
    config = MultimodalTrainingConfig(passes=passes, batch_size=256, lr=1e-4)
    task = MultimodalTask(model, epoch_set(pool, targets, known_only=True), config)
    loop = LoopConfig(passes=passes, batch_size=config.batch_size, seed=seed)
    engine = make_engine(device="cpu")
    found = train(
        task,
        loop,
        engine=engine,
        out=out / "multimodal",
        save_every=300,
        on_step=said(note, "five"),
    )
    note(f"multimodal: {found}")
    return model.eval()


@torch.inference_mode()
def embed(encoder: AtmsEncoder, eeg: Tensor) -> Tensor:
    """Vectors (n, 64) of network inputs, chunk by chunk; everybody is unknown."""
    encoder.eval()
    parts = (eeg[start : start + _CHUNK] for start in range(0, len(eeg), _CHUNK))
    return torch.cat([encoder(part, torch.full((len(part),), -1)) for part in parts])


def inputs_of(epochs: Sequence[Epoch]) -> Tensor:
    """Network inputs of cut epochs, through the live path's own preparation."""
    names = MONTAGES[BOARD][0]
    made = [network_input(e, ch_names=names, sfreq=SFREQ, n_times=ATM_TIMES) for e in epochs]
    return torch.from_numpy(np.stack(made))


def encode(systems: AtmSystems, epochs: Sequence[Epoch]) -> Float64:
    """What ATM-S retrieves with: its encoder's vectors."""
    return embed(systems.encoder, inputs_of(epochs)).numpy().astype(np.float64)


def draw_prior(systems: AtmSystems, epochs: Sequence[Epoch], *, seed: int = 0) -> Float64:
    """What ATM-S draws pictures from: one sample of the prior, 50 steps, guidance 5."""
    condition = embed(systems.encoder, inputs_of(epochs))
    states = prior_states(
        systems.prior,
        condition,
        generator=torch.Generator().manual_seed(seed),
        clip_sample=False,
    )
    return (last(states) / SCALE).numpy().astype(np.float64)


def draw_modalities(
    systems: AtmSystems,
    epochs: Sequence[Epoch],
    *,
    guidance_scale: float | None = None,
    seed: int = 0,
) -> dict[Modality, Float64]:
    """One sample of each of the five priors, 30 steps; seed 002 draws them without guidance."""
    condition = embed(systems.multimodal.encoder, inputs_of(epochs))
    made: dict[Modality, Float64] = {}
    for place, (modality, prior) in enumerate(named_priors(systems.multimodal.priors).items()):
        states = prior_states(
            prior,
            condition,
            num_inference_steps=PRIOR_STEPS,
            guidance_scale=guidance_scale,
            generator=torch.Generator().manual_seed(5 * seed + place),
            clip_sample=False,
        )
        made[modality] = (last(states) / SCALE).numpy().astype(np.float64)
    return made


def fuse(modalities: dict[Modality, Float64]) -> Float64:
    """The five vectors as one, each with its published share."""
    return np.asarray(sum(FUSION_WEIGHTS[m] * vectors for m, vectors in modalities.items()))
