"""DreamDiffusion behind the ports: what its network sees of an epoch.

Owns the way from any headset's epoch to the network's signal; the encoder and the sampler are the
family's (`models.latent_diffusion.live`). The signal of a live epoch at 1 kHz is the paired trial's
of `items.paired_item`, sample for sample; only the scale differs: the data set was standardised
as a whole, a live epoch is standardised by itself.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from configs import DecoderConfig
from models.api import InputSpec
from models.dreamdiffusion.folder import HOME
from models.dreamdiffusion.items import fill_channels
from models.latent_diffusion.live import (
    ContextEncoder,
    ContextSampler,
    SignalOf,
    load_context_encoder,
    load_context_sampler,
)
from pipeline.electrodes import canonical_name
from pipeline.errors import ConfigurationError
from pipeline.values import Epoch, Float32


def signal_of(epoch: Epoch, *, preprocessing: dict[str, Any], shape: tuple[int, int]) -> Float32:
    """Signal (n_channels, n_times) of an epoch of any montage and rate.

    Linear interpolation at `n_times` points of the published interval; each channel to mean 0 and
    deviation 1. Where the weights name their channels, each takes its own and absent ones are
    zero; where they do not (the published ones do not), the montage is repeated until it fills
    the network, as in pre-training.

    Raises
    ------
    ConfigurationError
        The epoch does not cover the interval.
    """
    n_channels, n_times = shape
    tmin, tmax = float(preprocessing["tmin"]), float(preprocessing["tmax"])
    times = epoch.tmin + np.arange(epoch.data.shape[1]) / epoch.info.sfreq
    room = 0.5 / epoch.info.sfreq
    if times[0] > tmin + room or times[-1] < tmax - room:
        raise ConfigurationError(
            f"the epoch covers {times[0]:.3f} to {times[-1]:.3f} s, expected {tmin} to {tmax} s: "
            "set epochs.tmin and epochs.tmax around it."
        )
    at = np.linspace(tmin, tmax, n_times)
    eeg = [i for i, kind in enumerate(epoch.info.ch_types) if kind == "eeg"]
    data = np.stack([np.interp(at, times, epoch.data[i]) for i in eeg])
    data = data - data.mean(axis=1, keepdims=True)
    data /= np.maximum(data.std(axis=1, keepdims=True), 1e-6)
    names = [epoch.info.ch_names[i] for i in eeg]
    wanted = list(preprocessing.get("ch_names") or ())
    signal = _arrange(data, names, wanted) if wanted else fill_channels(data, n_channels)
    return np.ascontiguousarray(signal[:n_channels], dtype=np.float32)


def _arrange(data: np.ndarray[Any, Any], names: list[str], wanted: list[str]) -> Any:
    place = {canonical_name(name) or name: i for i, name in enumerate(names)}
    signal = np.zeros((len(wanted), data.shape[1]))
    for row, name in enumerate(wanted):
        index = place.get(canonical_name(name) or name)
        if index is not None:
            signal[row] = data[index]
    return signal


def load_encoder(config: DecoderConfig) -> ContextEncoder:
    """Load the condition stage from `config.weights`, or from the user's data folder.

    Raises
    ------
    PhospheneError
        Weights are missing, damaged, or set for something else; one sentence.
    """
    return load_context_encoder(config, HOME, make=_input_of, l_freq=5.0, h_freq=95.0)


def _input_of(table: dict[str, Any]) -> tuple[InputSpec, SignalOf]:
    preprocessing, sizes = table["preprocessing"], table["encoder"]
    shape = (int(sizes["n_channels"]), int(sizes["n_times"]))
    given = InputSpec(
        float(preprocessing["sfreq"]), montage=tuple(preprocessing.get("ch_names") or ())
    )
    return given, partial(signal_of, preprocessing=preprocessing, shape=shape)


def load_sampler(config: DecoderConfig) -> ContextSampler:
    """Load Stable Diffusion with both condition paths; as `load_encoder`."""
    return load_context_sampler(config, HOME)


def load_toy_encoder(config: DecoderConfig) -> ContextEncoder:
    """Load the toy's encoder: random weights in the published layout, through the importer."""
    return load_encoder(_toy(config))


def load_toy_sampler(config: DecoderConfig) -> ContextSampler:
    """Load the toy's generator; as `load_toy_encoder`."""
    return load_sampler(_toy(config))


def _toy(config: DecoderConfig) -> DecoderConfig:
    from models.dreamdiffusion.toy import toy_folder

    folder = config.weights or str(toy_folder())
    return config.model_copy(update={"weights": folder})
