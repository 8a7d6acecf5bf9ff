"""The description of Contrast, Attend and Diffuse."""

from __future__ import annotations

from models.api import SystemDescriptor, Weights

SYSTEM = SystemDescriptor(
    name="contrast-attend-diffuse",
    title="Contrast, Attend and Diffuse",
    modality="fMRI",
    input_shape="(1, n_voxels) padded to a multiple of 16",
    target_space="77 x 512 context of a latent diffusion model",
    generator="class-conditional ImageNet latent diffusion, PLMS 250 steps, 256 px",
    weights=(
        Weights("fMRI encoder", (), "not published whole: to be trained"),
        Weights("image encoder of training", (), "Hugging Face facebook/vit-mae-base"),
        Weights("diffusion model", ("label2img/model.ckpt",), "as for mind-vis"),
    ),
    reference="Sun et al., arXiv 2305.17214",
    notes="fMRI is not live; a published checkpoint is missing.",
)
