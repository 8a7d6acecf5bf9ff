"""The description of Phosphene's own system."""

from __future__ import annotations

from pathlib import Path

from models.api import SystemDescriptor, Weights
from pipeline.gallery import SPACE

SYSTEM = SystemDescriptor(
    name="embedded",
    title="Phosphene's own small model",
    input_shape="(n_channels, n_times), any labelled montage",
    target_space="embedding of the bundled gallery's concepts",
    space=SPACE,
    generator="small autoencoder + conditional UNet (diffusers classes), 1-4 steps",
    encoder="models.embedded.live:load_encoder",
    sampler="models.embedded.live:load_sampler",
    weights=(
        Weights("encoder", ("encoder/model.safetensors",), "ships with Phosphene"),
        Weights(
            "generator",
            tuple(
                f"{part}/diffusion_pytorch_model.safetensors"
                for part in ("vae", "unet", "projection")
            ),
            "ships with Phosphene",
        ),
    ),
    folder=Path(__file__).with_name("weights"),
    is_shipped=True,
    notes="Trained on virtual subjects; a person needs calibration.",
)
