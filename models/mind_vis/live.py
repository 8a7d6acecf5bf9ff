"""MinD-Vis behind the ports: what its network sees of an fMRI epoch.

Owns the way from voxels to a padded, normalised row; the encoder and the sampler are the family's
(`models.latent_diffusion.live`). Knows nothing of streams or of training.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from configs import DecoderConfig
from models.api import InputSpec
from models.latent_diffusion.folder import Home
from models.latent_diffusion.live import (
    ContextEncoder,
    ContextSampler,
    SignalOf,
    load_context_encoder,
    load_context_sampler,
)
from models.mind_vis.arrays import Scale, normalise, pad_to_length
from models.mind_vis.data import PATCH_SIZE
from models.mind_vis.importing import HOME
from pipeline.errors import ShapeError
from pipeline.values import Epoch, Float32, Float64
from pipeline.volumes import voxel_vector


def signal_of(
    epoch: Epoch, *, preprocessing: dict[str, Any], length: int, patch_size: int = PATCH_SIZE
) -> Float32:
    """Row (1, length) of an epoch of voxels: averaged over its times, normalised, padded.

    Raises
    ------
    ShapeError
        Another count of voxels than the weights were trained on, or, where they do not say it, one
        that does not pad to the encoder's length.
    """
    vector = voxel_vector(
        epoch,
        n_voxels=int(preprocessing["n_voxels"]) or None,
        tmin=float(preprocessing["tmin"]),
        tmax=float(preprocessing["tmax"]),
    ).astype(np.float64)
    if preprocessing.get("resamples", False):
        vector = resample(vector, length)
    # The published rule may have added a whole patch.
    elif not length - patch_size <= len(vector) <= length:
        raise ShapeError(
            f"the epoch has {len(vector)} voxels, expected {length - patch_size} to {length}, "
            "which pad to the encoder's length: give a recording of the person that it was trained "
            "on, under the same mask."
        )
    scale = Scale(float(preprocessing["mean"]), float(preprocessing["std"]))
    row: Float32 = pad_to_length(normalise(vector, scale), length)[None].astype(np.float32)
    return row


def resample(vector: Float64, length: int) -> Float64:
    """Fit any count of voxels to a toy's: longer rows are drawn together, shorter ones wrapped.

    Of no meaning for a real brain, whose voxels are not in a row; random weights ask for no more.
    """
    if len(vector) <= length:
        return vector
    at = np.linspace(0, len(vector) - 1, length)
    made: Float64 = np.interp(at, np.arange(len(vector)), vector)
    return made


def input_of(table: dict[str, Any]) -> tuple[InputSpec, SignalOf]:
    """Say what a folder's network reads, and how it is made of an epoch."""
    preprocessing, sizes = table["preprocessing"], table["encoder"]
    length, patch_size = int(sizes["n_times"]), int(sizes["patch_size"])
    given = InputSpec(
        float(preprocessing["sfreq"]),
        kind="fmri",
        n_channels=int(preprocessing["n_voxels"]) or None,
        unit="z",
    )
    return given, partial(
        signal_of, preprocessing=preprocessing, length=length, patch_size=patch_size
    )


def load_encoder(config: DecoderConfig, home: Home = HOME) -> ContextEncoder:
    """Load the condition stage from `config.weights`, or from the user's data folder.

    Raises
    ------
    PhospheneError
        Weights are missing, damaged, or set for something else; one sentence.
    """
    return load_context_encoder(config, home, make=input_of)


def load_sampler(config: DecoderConfig, home: Home = HOME) -> ContextSampler:
    """Load the U-Net with both condition paths and the VQ decoder; as `load_encoder`."""
    return load_context_sampler(config, home)


def load_toy_encoder(config: DecoderConfig) -> ContextEncoder:
    """Load the toy's encoder: random weights in the published layout, through the importer."""
    return load_encoder(toy_config(config, HOME))


def load_toy_sampler(config: DecoderConfig) -> ContextSampler:
    """Load the toy's generator; as `load_toy_encoder`."""
    return load_sampler(toy_config(config, HOME))


def toy_config(config: DecoderConfig, home: Home) -> DecoderConfig:
    """Settings with the toy's folder where they name none."""
    from models.mind_vis.toy import toy_folder

    folder = config.weights or str(toy_folder(home))
    return config.model_copy(update={"weights": folder})
