"""Phosphene's own system, loaded as a session's settings say.

Owns the way from the settings to its encoder and its sampler. Knows nothing of streams.
"""

from __future__ import annotations

from pathlib import Path

from configs import DecoderConfig
from models.accelerators import choose_device, choose_dtype
from models.embedded import encoder, sampler

FLAT_FROM = 3
"""First revision of the generator that takes the grain out of the background."""


def load_encoder(config: DecoderConfig) -> encoder.EmbeddedEncoder:
    """Load the shipped encoder, or the one below `config.weights`.

    Raises
    ------
    EncoderError
        The folder holds no usable encoder.
    """
    folder = None if config.weights is None else Path(config.weights) / "encoder"
    return encoder.load_encoder(folder)


def load_sampler(config: DecoderConfig) -> sampler.EmbeddedSampler:
    """Load the shipped generator, or the one in `config.weights`.

    Raises
    ------
    PhospheneError
        The folder holds no usable generator, or the settings are none of its.
    """
    return sampler.load_sampler(
        None if config.weights is None else Path(config.weights),
        revision=config.generator_revision,
        num_inference_steps=config.num_inference_steps,
        guidance_scale=1.0 if config.guidance_scale is None else config.guidance_scale,
        flat=config.generator_revision >= FLAT_FROM,
        blend=config.blend,
        graph_revision=config.graph_revision,
        size=config.size,
        device=choose_device(config.device),
        dtype=choose_dtype(config),
    )
