"""Contrast, Attend and Diffuse behind the ports: MinD-Vis' encoder and sampler, other weights."""

from __future__ import annotations

from configs import DecoderConfig
from models.contrast_attend_diffuse.importing import HOME
from models.latent_diffusion.live import ContextEncoder, ContextSampler
from models.mind_vis import live


def load_encoder(config: DecoderConfig) -> ContextEncoder:
    """Load the condition stage; as `models.mind_vis.live.load_encoder`."""
    return live.load_encoder(config, HOME)


def load_sampler(config: DecoderConfig) -> ContextSampler:
    """Load the generator; as `models.mind_vis.live.load_sampler`."""
    return live.load_sampler(config, HOME)


def load_toy_encoder(config: DecoderConfig) -> ContextEncoder:
    """Load the toy's encoder: random weights in the published layout, through the importer."""
    return load_encoder(live.toy_config(config, HOME))


def load_toy_sampler(config: DecoderConfig) -> ContextSampler:
    """Load the toy's generator; as `load_toy_encoder`."""
    return load_sampler(live.toy_config(config, HOME))
