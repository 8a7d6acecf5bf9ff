"""The description of ATM-S, and of its toy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from configs.atm import RetrievalTrainingConfig
from models.api import CLIP_H_IMAGE, Entry, SystemDescriptor, Weights, installed_weights
from pipeline.gallery import SPACE

ADAPTER = Weights(
    "image conditioning of SDXL",
    ("ip-adapter_sdxl_vit-h.safetensors",),
    "Hugging Face h94/IP-Adapter, sdxl_models/",
)


def _options(config: type[BaseModel], names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Settings of a training stage with what their docstrings say of them, gains included."""
    return tuple(
        (f"training.{name}", " ".join(str(config.model_fields[name].description).split()))
        for name in names
    )


def _first_paragraph(function: Any) -> str:
    """What a preset's docstring says after its heading."""
    return " ".join(str(function.__doc__).split("\n\n", 1)[-1].split())


SYSTEM = SystemDescriptor(
    name="atm",
    title="ATM-S with its diffusion prior",
    input_shape="(63 channels, 250 times), any labelled montage is mapped",
    target_space="OpenCLIP ViT-H-14 (1024)",
    space=CLIP_H_IMAGE,
    generator="SDXL-Turbo with IP-Adapter, 4 steps, 512 px",
    encoder="models.atm.live:load_encoder",
    sampler="models.atm.live:load_sampler",
    weights=(
        Weights(
            "encoder",
            ("encoder/model.safetensors",),
            "`phosphene train atm encoder` on THINGS-EEG2, or a checkpoint of its authors "
            "(github.com/dongyangli-del/EEG_Image_decode) with `phosphene import atm`",
        ),
        Weights(
            "diffusion prior",
            ("prior/model.safetensors",),
            "`phosphene train atm prior`, or its authors' with `phosphene import atm`",
            switch="has_prior",
        ),
        Weights(
            "diffusion model",
            ("generator/model_index.json",),
            "Hugging Face stabilityai/sdxl-turbo, the folder as it is, or its single file "
            "with `phosphene import atm`",
        ),
        ADAPTER,
    ),
    folder=installed_weights("atm"),
    preset="atm",
    stages={
        "prepare": Entry(
            "models.atm.commands:run_prepare",
            "THINGS-EEG2, raw or preprocessed, to memory-mapped training and test folders",
        ),
        "encoder": Entry(
            "models.atm.commands:run_encoder",
            "ATM-S by retrieval or reconstruction on THINGS-EEG2",
        ),
        "prior": Entry(
            "models.atm.commands:run_prior",
            "the diffusion prior from a trained encoder's vectors to CLIP's",
        ),
    },
    importer=Entry(
        "models.multimodal.commands:run_import",
        "ATM-S or NICE, diffusion prior, IP-Adapter, single-file SDXL-Turbo, feature caches (.pt)",
    ),
    reference="Li et al., arXiv 2403.07721",
    notes="Its figures choose the best pass on the test set; here a validation split does.",
    options=(
        *_options(
            RetrievalTrainingConfig,
            (
                "multi_positive",
                "normalise",
                "average_repetitions",
                "picks",
                "features",
                "layers",
                "blurred",
                "batch_size",
                "network",
            ),
        ),
        ("preset = 'enigma'", _first_paragraph(RetrievalTrainingConfig.enigma)),
    ),
)

TOY = replace(
    SYSTEM,
    name="atm-toy",
    title="ATM-S at toy size, random weights",
    target_space="the bundled gallery's width",
    space=SPACE,
    encoder="models.atm.live:load_toy_encoder",
    sampler="models.atm.live:load_toy_sampler",
    weights=(),
    folder=None,
    is_listed=False,
    preset="atm-toy",
    stages={},
    importer=None,
    options=(),
)
