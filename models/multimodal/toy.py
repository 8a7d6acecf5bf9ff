"""The multimodal system at toy size: random weights in the published layouts.

Owns the six small networks; generator and adapter are `models.atm.toy`'s. Its pictures mean
nothing: it shows that loading, the three modes and live drawing work.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from models.atm.encoder import AtmsConfig, AtmsEncoder
from models.atm.folder import SETTINGS, EncoderFacts, save_encoder, save_prior
from models.atm.generation import ADAPTER_FILE
from models.atm.prior import DiffusionPriorUNet, PriorConfig
from models.atm.toy import TOY_SIZE, UNTRAINED, make_toy_pipeline, toy_cache, write_toy_adapter
from models.multimodal.modalities import Modality
from models.stable_diffusion.libraries import quiet_libraries
from models.things_eeg2.montage import POSTERIOR
from pipeline.gallery import SPACE

_VERSION = 1


def toy_folder(*, n_features: int) -> Path:
    """The toy in the user's cache, made where it is not there yet."""
    return toy_cache(
        f"atm-multimodal-{_VERSION}-{n_features}",
        lambda folder: write_toy_weights(folder, n_features=n_features),
    )


def write_toy_weights(folder: Path, *, n_features: int, seed: int = 0) -> None:
    """Write an encoder, five priors, a generator and an adapter below `folder`."""
    quiet_libraries()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sizes = AtmsConfig(n_channels=len(POSTERIOR), n_features=n_features, n_subjects=2)
        facts = EncoderFacts(ch_names=POSTERIOR, space=SPACE, output_scale=UNTRAINED)
        save_encoder(folder / "encoder", AtmsEncoder(sizes), facts)
        prior = PriorConfig(
            embed_dim=n_features, cond_dim=n_features, hidden_dim=(64, 32), time_embed_dim=32
        )
        for modality in Modality:
            made = DiffusionPriorUNet(prior)
            save_prior(folder / "priors" / modality, made, target_norm=n_features**0.5)
        pipeline = make_toy_pipeline(folder / "tokenizer")
        pipeline.save_pretrained(folder / "generator")
        shutil.rmtree(folder / "tokenizer")
        settings = {"prior_steps": 10, "size": TOY_SIZE}
        (folder / SETTINGS).write_text(json.dumps(settings), encoding="utf-8")
        write_toy_adapter(folder / ADAPTER_FILE, pipeline.unet, n_features=n_features)
