"""How DreamDiffusion was published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.dreamdiffusion.folder import HOME
from models.latent_diffusion import published_files

PREPROCESSING = {"ch_names": [], "scale": 1.0, "tmin": 0.02, "tmax": 0.459, "sfreq": 1000.0}
"""How a paired trial came in: samples 20 to 459 at 1 kHz, standardised (1 unit: one deviation)."""
PUBLISHED = published_files.Published(
    home=HOME,
    preprocessing=lambda _: PREPROCESSING,
    encoder="EEG encoder",
    base="Stable Diffusion (U-Net and autoencoder)",
    expected="the encoder's checkpoint.pth, the generation checkpoint.pth or v1-5-pruned.ckpt",
)


def run_import(files: Sequence[Path], out: Path, **heads: int) -> dict[str, Any]:
    """Turn published checkpoints into our folder."""
    return published_files.import_files(files, out, PUBLISHED, **heads)
