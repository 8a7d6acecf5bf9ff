"""The description of MinD-Vis."""

from __future__ import annotations

from models.api import SystemDescriptor, Weights

SYSTEM = SystemDescriptor(
    name="mind-vis",
    title="MinD-Vis",
    modality="fMRI",
    input_shape="(1, n_voxels) padded to a multiple of 16",
    target_space="77 x 512 context of a latent diffusion model",
    generator="class-conditional ImageNet latent diffusion, PLMS 250 steps, 256 px",
    weights=(
        Weights("fMRI encoder", ("fmri_encoder.pth",), "its authors (two subjects)"),
        Weights("fine-tuned generator", ("finetuned.pth",), "its authors (two subjects)"),
        Weights("diffusion model", ("label2img/model.ckpt",), "its authors"),
    ),
    reference="Chen et al., arXiv 2211.06956",
    notes="fMRI is not live; its encoder is tuned on the test set's signals.",
)
