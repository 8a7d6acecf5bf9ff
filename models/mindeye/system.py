"""The description of MindEye."""

from __future__ import annotations

from models.api import Entry, SystemDescriptor, Weights, installed_weights

SYSTEM = SystemDescriptor(
    name="mindeye",
    title="MindEye",
    modality="fMRI",
    input_shape="(n_voxels,), 12 682 to 17 907 by subject",
    target_space="257 x 768 tokens of CLIP ViT-L/14",
    space="clip-vit-l-14-tokens",
    generator="Versatile Diffusion, UniPC 20 steps, 512 px, best of 16",
    weights=(
        Weights("backbone, projector and prior", (), "its authors, one subject"),
        Weights("low-level decoder", ("epoch120.pth",), "its authors"),
        Weights("diffusion model", (), "Hugging Face shi-labs, Versatile Diffusion"),
    ),
    folder=installed_weights("mindeye"),
    stages={
        "high-level": Entry(
            "models.mindeye.stages:run_high_level",
            "voxels to CLIP tokens (BiMixCo, then SoftCLIP) with the diffusion prior, on NSD",
        ),
        "low-level": Entry(
            "models.mindeye.stages:run_low_level",
            "voxels to latents of Stable Diffusion, on NSD",
        ),
    },
    importer=Entry(
        "models.mindeye.stages:run_import",
        "prior_257_final_..., prior_1x768_..., autoencoder_... (last.pth, epoch120.pth or their "
        "folders), the folder of shi-labs/versatile-diffusion",
    ),
    reference="Scotti et al., arXiv 2305.18274",
    notes="The data set needs a signed agreement. Published figures use the test set as validation "
    "and the best of 16 pictures.",
)
