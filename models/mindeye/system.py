"""The description of MindEye."""

from __future__ import annotations

from models.api import SystemDescriptor, Weights

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
    reference="Scotti et al., arXiv 2305.18274",
    notes="fMRI is not live; the data set needs a signed agreement.",
)
