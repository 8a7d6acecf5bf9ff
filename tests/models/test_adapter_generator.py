"""SDXL with IP-Adapters draws what diffusers' own pipeline draws, and says what it cannot."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.atm.generation import AdapterGenerator
from models.atm.toy import TOY_SIZE, write_toy_weights
from models.stable_diffusion.errors import StableDiffusionError
from models.stable_diffusion.generation import GenerationSettings
from pipeline.values import Uint8

N_FEATURES = 16
TURBO: dict[str, Any] = {}
BASE = {
    "_class_name": "EulerDiscreteScheduler",
    "timestep_spacing": "leading",
    "steps_offset": 1,
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_toy_weights(folder, n_features=N_FEATURES)
    return folder


@pytest.fixture
def vector() -> torch.Tensor:
    return torch.randn(N_FEATURES, generator=torch.Generator().manual_seed(1))


def _with_scheduler(toy: Path, folder: Path, **changes: Any) -> Path:
    shutil.copytree(toy, folder / "weights")
    generator = folder / "weights" / "generator"
    _change(generator / "scheduler" / "scheduler_config.json", changes)
    if "_class_name" in changes:
        named = {"scheduler": ["diffusers", changes["_class_name"]]}
        _change(generator / "model_index.json", named)
    return folder / "weights"


def _change(path: Path, changes: dict[str, Any]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _settings(guidance: float) -> GenerationSettings:
    return GenerationSettings(num_inference_steps=3, guidance_scale=guidance, size=TOY_SIZE)


@pytest.mark.parametrize("guidance", [0.0, 3.0])
@pytest.mark.parametrize(
    "changes",
    [TURBO, BASE, {**BASE, "use_karras_sigmas": True}, {"prediction_type": "v_prediction"}],
    ids=["turbo", "base", "karras", "v"],
)
def test_a_picture_is_that_of_the_pipeline(
    toy: Path, tmp_path: Path, vector: torch.Tensor, changes: dict[str, Any], guidance: float
) -> None:
    folder = _with_scheduler(toy, tmp_path, **changes)
    generator = AdapterGenerator(folder, settings=_settings(guidance))
    generator.set_scales(0.7)
    ours = generator.draw([vector], seed=5)
    theirs = _by_pipeline(generator.latent._pipeline, vector, guidance=guidance)
    difference = np.abs(ours.astype(int) - theirs.astype(int)).max()
    # v is turned into the clean end by another formula; the others are the same to the bit.
    assert difference <= (1 if "prediction_type" in changes else 0)
    assert ours.std() > 1


@torch.inference_mode()
def _by_pipeline(pipeline: Any, vector: torch.Tensor, *, guidance: float) -> Uint8:
    pipeline.set_progress_bar_config(disable=True)
    embeds, negative, pooled, negative_pooled = pipeline.encode_prompt(
        prompt="", negative_prompt="", do_classifier_free_guidance=True
    )
    one = vector.reshape(1, 1, -1)
    images = pipeline(
        prompt_embeds=embeds,
        pooled_prompt_embeds=pooled,
        negative_prompt_embeds=negative,
        negative_pooled_prompt_embeds=negative_pooled,
        ip_adapter_image_embeds=[torch.cat([torch.zeros_like(one), one]) if guidance > 1 else one],
        num_inference_steps=3,
        guidance_scale=guidance,
        height=TOY_SIZE,
        width=TOY_SIZE,
        generator=torch.Generator().manual_seed(5),
        output_type="np",
    ).images
    return np.rint(images[0] * 255).astype(np.uint8)


def test_another_scheduler_is_refused(toy: Path, tmp_path: Path) -> None:
    folder = _with_scheduler(toy, tmp_path, _class_name="HeunDiscreteScheduler")
    with pytest.raises(
        StableDiffusionError, match="scheduler is of HeunDiscreteScheduler, expected Euler"
    ):
        AdapterGenerator(folder)


def test_half_precision_asks_the_unet_as_often(toy: Path, vector: torch.Tensor) -> None:
    """bfloat16 changes little."""
    calls: list[tuple[int, ...]] = []

    plain = AdapterGenerator(toy, settings=_settings(2.0))
    half = AdapterGenerator(toy, settings=_settings(2.0), dtype=torch.bfloat16)
    unet, _ = half.latent.parts
    unet.module.register_forward_pre_hook(lambda _, args: calls.append(tuple(args[0].shape)))
    pictures = []
    for generator in (plain, half):
        generator.set_scales(1.0)
        pictures.append(generator.draw([vector], seed=5).astype(float))
    assert len(calls) == 3
    assert calls[0][0] == 2  # both conditions in one batch
    assert np.abs(pictures[0] - pictures[1]).mean() < 3


def test_nothing_is_said_on_the_way(
    toy: Path, vector: torch.Tensor, capfd: pytest.CaptureFixture[str]
) -> None:
    """No remark of a library's reaches the terminal of a session, deprecations included."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        generator = AdapterGenerator(toy, settings=_settings(0.0))
        generator.set_scales(1.0)
        generator.draw([vector], seed=1)
    ours = [str(w.message) for w in caught if issubclass(w.category, FutureWarning)]
    assert ours == []
    assert capfd.readouterr() == ("", "")
