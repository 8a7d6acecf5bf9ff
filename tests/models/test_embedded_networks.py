"""The generator's own networks against the diffusers classes whose files they read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from diffusers import AutoencoderDC, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from configs import DecoderConfig
from models.embedded import parts
from models.embedded.generator import FILE, PARTS, WEIGHTS, GeneratorError, load_generator
from models.embedded.networks import AutoencoderConfig
from models.embedded.pipeline import PhosphenePipeline
from models.embedded.sampler import EmbeddedSampler
from models.embedded.unet import UNetConfig
from models.sampling.pictures import DrawingError
from models.systems import load_system
from pipeline.gallery import load_gallery


@pytest.mark.parametrize(("steps", "guidance"), [(1, 1.0), (3, 2.0)])
def test_the_shipped_weights_draw_what_diffusers_classes_draw(steps: int, guidance: float) -> None:
    """To the bit: a session does not depend on whose classes ran."""
    vectors = load_gallery().embeddings[[2, 50]]
    kinds = {"vae": AutoencoderDC, "unet": UNet2DConditionModel}
    kinds |= {"projection": parts.Projection, "prior": parts.Prior}
    theirs = PhosphenePipeline(
        **{name: kind.from_pretrained(WEIGHTS / name) for name, kind in kinds.items()},
        correction_scale=PhosphenePipeline.load_config(WEIGHTS)["correction_scale"],
    )
    sampler = EmbeddedSampler(load_generator(), num_inference_steps=steps, guidance_scale=guidance)
    for vector, seed in zip(vectors, (3, 4), strict=True):
        expected = theirs(
            vector,
            seeds=[seed],
            num_inference_steps=steps,
            guidance_scale=guidance,
            output_type="np",
        ).images
        np.testing.assert_array_equal(sampler.draw(vector[None], seeds=(seed,)), expected)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("unet", "mid_block_type", "UNetMidBlock2D"),
        ("unet", "down_block_types", ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D"]),
        ("vae", "decoder_in_shortcut", True),
        ("vae", "decoder_layers_per_block", [1, 1, 2, 2]),
    ],
)
def test_settings_of_another_network_are_refused(part: str, key: str, value: object) -> None:
    table = json.loads((WEIGHTS / part / "config.json").read_text()) | {key: value}
    with pytest.raises(ValueError, match=key):
        (UNetConfig if part == "unet" else AutoencoderConfig).of(table)


def test_a_refusal_names_the_folder(tmp_path: Path) -> None:
    for part in ("vae", "projection", "prior"):
        (tmp_path / part).symlink_to(WEIGHTS / part)
    (tmp_path / "unet").mkdir()
    for file in (WEIGHTS / "unet").iterdir():
        (tmp_path / "unet" / file.name).symlink_to(file)
    settings = tmp_path / "unet" / "config.json"
    settings.unlink()
    settings.write_text("[1]")
    with pytest.raises(GeneratorError, match=r"config\.json holds no table"):
        load_generator(tmp_path)


@pytest.mark.parametrize("part", ["vae", "unet", "prior"])
def test_r21_weights_that_are_no_numbers_are_refused_by_name(tmp_path: Path, part: str) -> None:
    for each in PARTS:
        (tmp_path / each).symlink_to(WEIGHTS / each)
    (tmp_path / part).unlink()
    (tmp_path / part).mkdir()
    settings = (WEIGHTS / part / "config.json").read_bytes()
    (tmp_path / part / "config.json").write_bytes(settings)
    state = load_file(WEIGHTS / part / FILE)
    name = next(each for each in state if each.startswith(("decoder", "conv", "linear")))
    state[name].view(-1)[0] = float("nan")
    save_file(state, tmp_path / part / FILE)
    with pytest.raises(GeneratorError, match=f"{part}/{FILE} holds NaN or infinity in {name}"):
        load_generator(tmp_path)


def test_r21_a_picture_of_no_numbers_is_refused_while_loading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where diffusers' classes load the weights: the pace is measured on a picture."""
    system = load_system(DecoderConfig())
    system.measure()
    monkeypatch.setattr(system.sampler, "_decoder", lambda x: x[:, :3] * float("nan"))
    with pytest.raises(DrawingError, match="drew NaN or infinity, expected a picture"):
        system.measure()
