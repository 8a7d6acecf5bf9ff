"""The description of MindEye, and of its toy."""

from __future__ import annotations

from dataclasses import replace

from models.api import CLIP_L_TOKENS, Entry, SystemDescriptor, Weights, installed_weights
from pipeline.gallery import SPACE

_OR_IMPORT = "of its authors (Hugging Face pscotti/naturalscenesdataset, mindeye_models)"

SYSTEM = SystemDescriptor(
    name="mindeye",
    title="MindEye",
    modality="fMRI",
    input_shape="(n_voxels,), 12 682 to 17 907 by subject",
    target_space="257 x 768 tokens of CLIP ViT-L/14",
    space=CLIP_L_TOKENS,
    generator="Versatile Diffusion, UniPC 20 steps, 512 px, best of 16",
    encoder="models.mindeye.live:load_encoder",
    sampler="models.mindeye.live:load_sampler",
    weights=(
        Weights(
            "backbone and projector",
            ("backbone/model.safetensors",),
            "`phosphene train mindeye high-level`, or prior_257_final_subj01_bimixco_softclip_byol "
            f"{_OR_IMPORT} with `phosphene import mindeye`",
        ),
        Weights(
            "diffusion prior",
            ("prior/model.safetensors",),
            "as the backbone, which it is trained with",
            switch="has_prior",
        ),
        Weights(
            "low-level network",
            ("low_level/model.safetensors",),
            "`phosphene train mindeye low-level`, or autoencoder_subj01_4x_locont_no_reconst "
            f"{_OR_IMPORT} with `phosphene import mindeye`; without it set has_low_level false",
            switch="has_low_level",
        ),
        Weights(
            "diffusion model and CLIP's image tower",
            (
                "generator/image_unet/diffusion_pytorch_model.safetensors",
                "generator/vae/diffusion_pytorch_model.safetensors",
                "generator/image_encoder/model.safetensors",
            ),
            "Hugging Face shi-labs/versatile-diffusion, the folder with `phosphene import mindeye`",
        ),
    ),
    folder=installed_weights("mindeye"),
    preset="mindeye",
    stages={
        "high-level": Entry(
            "models.mindeye.stages:run_high_level",
            "voxels to CLIP tokens (BiMixCo, then SoftCLIP) with the diffusion prior, on NSD",
        ),
        "person": Entry(
            "models.mindeye.stages:run_person",
            "a new person's linear layer before a trained backbone, as MindEye2 has it",
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

TOY = replace(
    SYSTEM,
    name="mindeye-toy",
    title="MindEye at toy size, random weights",
    input_shape="(n_voxels,), any count",
    target_space="the bundled gallery's width",
    space=SPACE,
    encoder="models.mindeye.live:load_toy_encoder",
    sampler="models.mindeye.live:load_toy_sampler",
    weights=(),
    folder=None,
    is_listed=False,
    preset="mindeye-toy",
    stages={},
    importer=None,
)
