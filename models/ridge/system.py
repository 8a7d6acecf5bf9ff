"""The description of the linear baseline, and of its toy."""

from __future__ import annotations

from dataclasses import replace

from models.api import Entry, SystemDescriptor, Weights, installed_weights
from pipeline.gallery import SPACE

SYSTEM = SystemDescriptor(
    name="fmri-ridge",
    title="Ridge regression from voxels",
    modality="fMRI",
    input_shape="(n_voxels,), any mask of one person",
    target_space="any gallery's vectors (CLIP's, or the shipped ones)",
    space=SPACE,
    generator="the shipped generator, or any of the vectors' space",
    encoder="models.ridge.decoder:load_encoder",
    drawn_by="embedded",
    weights=(
        Weights(
            "matrix",
            ("model.safetensors", "config.json"),
            "`phosphene train fmri-ridge fit --data RECORDING --out DIR`",
        ),
    ),
    folder=installed_weights("fmri-ridge"),
    preset="fmri-ridge",
    stages={
        "fit": Entry(
            "models.ridge.stage:run_fit",
            "voxels to a gallery's vectors, the penalty chosen by held-out stimuli",
        )
    },
    notes="A baseline of our own: what a straight line does on the same trials.",
)

TOY = replace(
    SYSTEM,
    name="fmri-ridge-toy",
    title="Ridge regression with random numbers",
    encoder="models.ridge.decoder:load_toy_encoder",
    weights=(),
    folder=None,
    is_listed=False,
    preset="fmri-ridge-toy",
    stages={},
)
