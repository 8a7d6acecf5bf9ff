"""The description of MinD-Vis, and of its toy."""

from __future__ import annotations

from dataclasses import replace

from models.api import Entry, SystemDescriptor, Weights, installed_weights

SYSTEM = SystemDescriptor(
    name="mind-vis",
    title="MinD-Vis",
    modality="fMRI",
    input_shape="(1, n_voxels) padded to a multiple of 16",
    target_space="77 x 512 context of a latent diffusion model",
    space="mind-vis-context-77x512",
    generator="class-conditional ImageNet latent diffusion, PLMS 250 steps, 256 px",
    encoder="models.mind_vis.live:load_encoder",
    sampler="models.mind_vis.live:load_sampler",
    weights=(
        Weights(
            "fMRI encoder and condition path",
            ("condition/model.safetensors",),
            "finetuned.pth of its authors (FigShare, linked from github.com/zjc062/mind-vis; GOD "
            "person 3, BOLD5000 CSI1) with `phosphene import mind-vis`, or `phosphene train "
            "mind-vis a1`, `a2`, then `b` (which begins from label2img/model.ckpt)",
        ),
        Weights(
            "fine-tuned generator",
            tuple(f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae")),
            "as the condition path: `phosphene import mind-vis`, or stage `b`",
        ),
    ),
    folder=installed_weights("mind-vis"),
    preset="mindvis",
    stages={
        "a1": Entry(
            "models.mind_vis.stages:run_stage_a1",
            "masked modelling of fMRI (HCP, GOD, BOLD5000)",
        ),
        "a2": Entry(
            "models.mind_vis.stages:run_stage_a2",
            "the same on one person's signals; on the test's only where transductive = true",
        ),
        "b": Entry(
            "models.mind_vis.stages:run_stage_b",
            "the generator's cross-attention and the condition path on GOD or BOLD5000",
        ),
    },
    importer=Entry(
        "models.mind_vis.importing:run_import",
        "fmri_encoder.pth, finetuned.pth, label2img/model.ckpt",
    ),
    reference="Chen et al., arXiv 2211.06956",
    notes="As published, its encoder is tuned on the test set's signals, and test pictures choose "
    "the best pass; neither is done here unasked.",
)

TOY = replace(
    SYSTEM,
    name="mind-vis-toy",
    title="MinD-Vis at toy size, random weights",
    space="mind-vis-context-77x32",
    encoder="models.mind_vis.live:load_toy_encoder",
    sampler="models.mind_vis.live:load_toy_sampler",
    weights=(),
    folder=None,
    is_listed=False,
    preset="mindvis-toy",
    stages={},
    importer=None,
)
