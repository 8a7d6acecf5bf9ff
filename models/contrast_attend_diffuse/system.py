"""The description of Contrast, Attend and Diffuse, and of its toy."""

from __future__ import annotations

from dataclasses import replace

from models.api import Entry, SystemDescriptor, Weights, installed_weights

SYSTEM = SystemDescriptor(
    name="contrast-attend-diffuse",
    title="Contrast, Attend and Diffuse",
    modality="fMRI",
    input_shape="(1, n_voxels) padded to a multiple of 16",
    target_space="77 x 512 context of a latent diffusion model",
    space="contrast-attend-diffuse-context-77x512",
    generator="class-conditional ImageNet latent diffusion, PLMS 250 steps, 256 px",
    encoder="models.contrast_attend_diffuse.live:load_encoder",
    sampler="models.contrast_attend_diffuse.live:load_sampler",
    weights=(
        Weights(
            "fMRI encoder and condition path",
            ("condition/model.safetensors",),
            "no tuned condition path is published; its authors' phase 1 and phase 2 encoders "
            "(OneDrive, linked from github.com/soinx0629/vis_dec_neurips) with `phosphene import "
            "contrast-attend-diffuse`, or `phosphene train contrast-attend-diffuse phase-1`, "
            "`phase-2` (which needs facebook/vit-mae-base), then `ldm` (which begins from "
            "MinD-Vis' label2img/model.ckpt)",
        ),
        Weights(
            "fine-tuned generator",
            tuple(f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae")),
            "none is published: stage `ldm` makes it",
        ),
    ),
    folder=installed_weights("contrast-attend-diffuse"),
    preset="cad",
    stages={
        "phase-1": Entry(
            "models.contrast_attend_diffuse.stages:run_phase_1",
            "double-contrastive masked modelling of fMRI (HCP, GOD, BOLD5000)",
        ),
        "phase-2": Entry(
            "models.contrast_attend_diffuse.stages:run_phase_2",
            "the autoencoder beside ViT-MAE on one person's responses to pictures",
        ),
        "ldm": Entry(
            "models.contrast_attend_diffuse.stages:run_ldm",
            "the generator's cross-attention and the condition path on GOD or BOLD5000",
        ),
    },
    importer=Entry(
        "models.contrast_attend_diffuse.importing:run_import",
        "checkpoints of phase 1, phase 2 and of the tuned generator, label2img/model.ckpt",
    ),
    reference="Sun et al., arXiv 2305.17214",
    notes="As published, its evaluation needs a distilled VQGAN that is not published, and test "
    "pictures choose the checkpoint; drawn here as the paper says, as MinD-Vis draws.",
)

TOY = replace(
    SYSTEM,
    name="contrast-attend-diffuse-toy",
    title="Contrast, Attend and Diffuse at toy size, random weights",
    space="contrast-attend-diffuse-context-77x32",
    encoder="models.contrast_attend_diffuse.live:load_toy_encoder",
    sampler="models.contrast_attend_diffuse.live:load_toy_sampler",
    weights=(),
    folder=None,
    is_listed=False,
    preset="cad-toy",
    stages={},
    importer=None,
)
