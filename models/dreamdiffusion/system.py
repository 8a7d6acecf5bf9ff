"""The description of DreamDiffusion, and of its toy."""

from __future__ import annotations

from dataclasses import replace

from models.api import Entry, SystemDescriptor, Weights, installed_weights

SYSTEM = SystemDescriptor(
    name="dreamdiffusion",
    title="DreamDiffusion",
    input_shape="(128 channels, 512 times)",
    target_space="77 x 768 context of Stable Diffusion, aligned with CLIP ViT-L/14 (768)",
    space="dreamdiffusion-context-77x768",
    generator="Stable Diffusion 1.5, PLMS 250 steps, 512 px",
    encoder="models.dreamdiffusion.live:load_encoder",
    sampler="models.dreamdiffusion.live:load_sampler",
    weights=(
        Weights(
            "EEG encoder and condition path",
            ("condition/model.safetensors",),
            "generation/checkpoint.pth of its authors (github.com/bbaaii/DreamDiffusion) with "
            "`phosphene import dreamdiffusion`, or `phosphene train dreamdiffusion a`, then "
            "`b` (which begins from v1-5-pruned.ckpt of Stable Diffusion 1.5)",
        ),
        Weights(
            "fine-tuned generator",
            tuple(f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae")),
            "as the condition path: `phosphene import dreamdiffusion`, or stage `b`",
        ),
    ),
    folder=installed_weights("dreamdiffusion"),
    preset="dreamdiffusion",
    stages={
        "a": Entry(
            "models.dreamdiffusion.stages:run_stage_a",
            "masked signal modelling on any EEG (.npy or recordings)",
        ),
        "b": Entry(
            "models.dreamdiffusion.stages:run_stage_b",
            "Stable Diffusion's cross-attention and the condition path on EEG-ImageNet40",
        ),
    },
    importer=Entry(
        "models.dreamdiffusion.importing:run_import",
        "encoder checkpoint.pth, generation checkpoint.pth, v1-5-pruned.ckpt",
    ),
    reference="Bai et al., arXiv 2306.16934",
    notes="Its data set was recorded in blocks of one class: published figures measure block "
    "identity at least in part.",
)

TOY = replace(
    SYSTEM,
    name="dreamdiffusion-toy",
    title="DreamDiffusion at toy size, random weights",
    space="dreamdiffusion-context-77x32",
    encoder="models.dreamdiffusion.live:load_toy_encoder",
    sampler="models.dreamdiffusion.live:load_toy_sampler",
    weights=(),
    folder=None,
    is_listed=False,
    preset="dreamdiffusion-toy",
    stages={},
    importer=None,
)
