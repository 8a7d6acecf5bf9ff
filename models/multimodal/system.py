"""The description of ATM-S with five modality priors, and of its toy."""

from __future__ import annotations

from dataclasses import replace

from models.api import CLIP_H_IMAGE, Entry, SystemDescriptor, Weights, installed_weights
from models.atm.system import ADAPTER
from pipeline.gallery import SPACE

SYSTEM = SystemDescriptor(
    name="atm-multimodal",
    title="ATM-S with five modality priors",
    input_shape="(63 channels, 250 times), any labelled montage is mapped",
    target_space="OpenCLIP ViT-H-14 (1024): image, text, three superpixel scales",
    space=CLIP_H_IMAGE,
    generator="SDXL with IP-Adapter, 30 steps, 768 px",
    encoder="models.multimodal.live:load_encoder",
    sampler="models.multimodal.live:load_sampler",
    weights=(
        Weights(
            "encoder and five priors",
            (
                "encoder/model.safetensors",
                *(
                    f"priors/{modality}/model.safetensors"
                    for modality in ("image", "text", "few", "middle", "large")
                ),
            ),
            "`phosphene train atm-multimodal train` on THINGS-EEG2, or a checkpoint of its "
            "original with `phosphene import atm-multimodal` (none is published)",
        ),
        Weights(
            "diffusion model",
            ("generator/model_index.json",),
            "Hugging Face stabilityai/stable-diffusion-xl-base-1.0, the folder as it is, or "
            "its single file with `phosphene import atm-multimodal`",
        ),
        ADAPTER,
    ),
    folder=installed_weights("atm-multimodal"),
    preset="atm-multimodal",
    stages={
        "features": Entry(
            "models.multimodal.features:run_features",
            "CLIP vectors of pictures, texts and superpixels: the targets of all ATM stages",
        ),
        "train": Entry(
            "models.multimodal.commands:run_multimodal",
            "one ATM-S encoder and five priors together",
        ),
    },
    importer=Entry(
        "models.multimodal.commands:run_import_multimodal",
        "encoder with five priors, IP-Adapter, single-file SDXL, feature caches (.pt)",
    ),
    reference="Li et al., arXiv 2403.07721 (its base)",
    notes="The original's prompt holds the true class name: its figures are likely inflated.",
)

TOY = replace(
    SYSTEM,
    name="atm-multimodal-toy",
    title="ATM-S with five modality priors at toy size, random weights",
    target_space="the bundled gallery's width",
    space=SPACE,
    encoder="models.multimodal.live:load_toy_encoder",
    sampler="models.multimodal.live:load_toy_sampler",
    weights=(),
    folder=None,
    is_listed=False,
    preset="atm-multimodal-toy",
    stages={},
    importer=None,
)
