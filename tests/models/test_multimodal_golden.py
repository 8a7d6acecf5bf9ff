"""Superpixels, the five-prior objective and the adapter scales equal seed 002's."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import pytest
import torch
from diffusers import DDPMScheduler

from models.atm.prior import DiffusionPriorUNet, PriorConfig
from models.atm.prior_sampling import prior_states
from models.multimodal.adapter_scales import (
    PUBLISHED_TABLES,
    fused_scales,
    layer_scales,
    separate_scales,
)
from models.multimodal.modalities import Faults, Modality
from models.multimodal.superpixels import LEVELS, segment, superpixel_image
from models.multimodal.training import StepDraws, combined_loss, multimodal_loss
from models.sampling.solvers import last
from tests.models.golden import load

CUSTOM = (
    1.0,
    {"down": {"block_2": [0.0, 1.0]}, "up": {"block_0": [0.0, 1.0, 0.0]}},
    0.5,
    {"down": {"block_1": [0.1, 0.2]}, "up": 0.3},
    0.0,
)


@pytest.mark.golden
def test_superpixel_pictures_match() -> None:
    file = load("seed002_superpixel")
    image = file.inputs["image"].numpy()
    for name, count in file.arguments["levels"]:
        level = replace(LEVELS[Modality(name)], n_segments=count)
        segments = file.outputs[f"{name}_{count}_segments"].numpy()
        file.check(f"{name}_{count}_image", superpixel_image(image, level, segments=segments))


@pytest.mark.golden
@pytest.mark.skipif(importlib.util.find_spec("skimage") is None, reason="needs scikit-image")
def test_segments_match() -> None:
    file = load("seed002_superpixel")
    image = file.inputs["image"].numpy()
    for name, count in file.arguments["levels"]:
        level = replace(LEVELS[Modality(name)], n_segments=count)
        file.check(f"{name}_{count}_segments", segment(image, level))


@pytest.mark.golden
@torch.no_grad()
def test_training_step_matches() -> None:
    file = load("seed002_training_loss")
    x, priors = file.inputs, {}
    for modality in Modality:
        prior = DiffusionPriorUNet(PriorConfig(**file.arguments["args"])).eval()
        prior.load_state_dict(file.state_below(f"{modality.checkpoint_key}."))
        priors[modality] = prior
    given = combined_loss(x["pred"], x["ref"])
    for name, value in (("combined", given.total), ("mse", given.mse), ("cosine", given.cosine)):
        file.check(name, value)
    names = {modality: modality.published_name for modality in Modality}
    total, losses = multimodal_loss(
        priors,
        DDPMScheduler(),
        {m: x[f"target_{name}"] for m, name in names.items()},
        x["cond"],
        {m: StepDraws(x[f"t_{name}"], x[f"noise_{name}"].squeeze(1)) for m, name in names.items()},
        pair_all_conditions=True,
    )
    file.check("total", total)
    for modality, loss in losses.items():
        name = modality.published_name
        file.check(f"combined_{name}", loss.total)
        file.check(f"mse_{name}", loss.mse)
        file.check(f"cos_{name}", loss.cosine)
    noise = x["sample_noise"].transpose(0, 1)[:, :-1]
    states = prior_states(
        priors[Modality.IMAGE],
        x["cond"],
        num_inference_steps=noise.shape[1],
        guidance_scale=None,
        noise=noise,
    )
    file.check(f"sample_{noise.shape[1]}_steps", last(states))
    file.assert_all_checked()


def _columns(scales: dict[Modality, dict[str, float]]) -> torch.Tensor:
    columns = [list(scales[modality].values()) for modality in Modality]
    return torch.tensor(columns, dtype=torch.float64).T


def _expected_scales(key: str, layers: list[str]) -> torch.Tensor:
    faults = Faults.published()
    if key == "fused":
        return _columns(fused_scales(layers, faults=faults))
    if key == "layered_without_global_weights":
        ones = dict.fromkeys(Modality, 1.0)
        return _columns(fused_scales(layers, faults=faults, weights=ones))
    if key == "custom":
        tables = [list(layer_scales(table, layers).values()) for table in CUSTOM]
        return torch.tensor(tables, dtype=torch.float64).T
    alone = {m: separate_scales(layers, m, faults=faults) for m in Modality}
    named = [m for m in Modality if m in key.split("_")]
    return _columns(alone[named[0]] if named else {m: alone[m][m] for m in Modality})


@pytest.mark.golden
def test_adapter_scales_match() -> None:
    file = load("seed002_adapter_scales")
    layers = json.loads(file.metadata["layer_names"])
    for key in file.outputs:
        own = _expected_scales(key, layers)
        # A table of one modality may come as its own column alone.
        file.check(key, own if file.outputs[key].ndim == 2 else own.sum(dim=1))
    file.assert_all_checked()


@pytest.mark.golden
def test_published_image_modality_acts_nowhere() -> None:
    file = load("seed002_adapter_scales")
    layers = json.loads(file.metadata["layer_names"])
    scales = layer_scales(PUBLISHED_TABLES[Modality.IMAGE], layers)
    assert not any(scales.values())


@pytest.mark.golden
def test_every_repaired_modality_acts_somewhere() -> None:
    file = load("seed002_adapter_scales")
    layers = json.loads(file.metadata["layer_names"])
    scales = fused_scales(layers)
    assert all(any(of_layer.values()) for of_layer in scales.values())
    assert all(any(scales[m][layer] for m in Modality) for layer in layers)
