"""How MinD-Vis was published, and what its folder says of the voxels that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.latent_diffusion import published_files
from models.latent_diffusion.folder import Home
from models.mind_vis.arrays import UNSCALED, Scale
from models.sampling.schedules import MINDVIS

HOME = Home(
    "mind-vis",
    "MinD-Vis",
    "its authors (FigShare, linked from github.com/zjc062/mind-vis), then `phosphene import "
    "mind-vis finetuned.pth --out FOLDER`",
)
TUNED = (
    "the encoders that its authors publish were tuned on the test part's signals of their person: "
    "figures on that test part are not those of a decoder that meets new scans."
)
SIDE = 256
NUM_HEADS = 1


def preprocessing(
    *, n_voxels: int = 0, scale: Scale = UNSCALED, side: int = SIDE
) -> dict[str, Any]:
    """What a folder says of its voxels.

    Parameters
    ----------
    n_voxels : int
        Count before padding; 0: not known, any that pads to the encoder's length.
    scale : Scale
        Mean and deviation of the training responses; (0, 1): they come in as z scores.
    side : int
        Of its pictures, pixels.
    """
    return {
        **{"tmin": 0.0, "tmax": 0.5, "sfreq": 0.5, "side": side},
        **{"n_voxels": n_voxels, "mean": scale.mean, "std": scale.std},
    }


def published(home: Home) -> published_files.Published:
    """How this system, or one that has its generator, was published."""
    return published_files.Published(
        home=home,
        preprocessing=lambda _: preprocessing(),
        encoder="fMRI encoder",
        base="label-conditioned latent diffusion (U-Net and VQ autoencoder)",
        expected="fmri_encoder.pth, finetuned.pth or label2img/model.ckpt",
        num_heads=NUM_HEADS,
        betas=MINDVIS,
    )


def run_import(files: Sequence[Path], out: Path, **heads: int) -> dict[str, Any]:
    """Turn published checkpoints into our folder."""
    report = published_files.import_files(files, out, published(HOME), **heads)
    is_tuned = {"fMRI encoder", "whole system"} & set(report["files"].values())
    return report | {"notes": [TUNED] if is_tuned else []}
