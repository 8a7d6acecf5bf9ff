"""MindEye end to end at toy size: shards, both stages, a scan, a picture; and the ports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.transformers.dual_transformer_2d import DualTransformer2DModel

from app.cli import main
from configs import DecoderConfig, load_preset
from models.api import Encoder, Sampler
from models.conformance import check_system
from models.metrics.retrieval import retrieval
from models.mindeye.errors import MindEyeError
from models.mindeye.folder import UNET, save_settings
from models.mindeye.live import load_encoder, load_sampler
from models.mindeye.nsd import mean_voxels, open_split
from models.mindeye.reconstruction import Drawing, best_of
from models.sampling import denoisers, schedules
from models.sampling.solvers import last
from models.sampling.unipc import unipc
from models.systems import load_system
from pipeline.errors import ShapeError
from pipeline.values import Epoch, Info
from tests.models.mindeye_files import N_VOXELS, write_nsd

SETTINGS = {
    "high-level": "[model]\nhidden = 64\nn_blocks = 1\nprojector = 16\n[training]\npasses = 60\n"
    "batch_size = 12\nlr = 1e-2\naugment = false\n"
    "[prior]\ndepth = 1\nnum_heads = 2\nhead_dim = 4\nn_steps = 5\n",
    "low-level": "[model]\nhidden = 8\nn_blocks = 1\nside = 2\nwidths = [32, 32, 32]\n"
    "[training]\npasses = 2\nbatch_size = 6\n",
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder that the commands trained on shards, with a U-Net beside it; and the shards."""
    torch.manual_seed(0)
    nsd, out = tmp_path_factory.mktemp("nsd"), tmp_path_factory.mktemp("weights")
    write_nsd(nsd, n_val=6)
    for stage, text in SETTINGS.items():
        (nsd / f"{stage}.toml").write_text(text)
        given = ["--data", str(nsd), "--out", str(out / stage), "--device", "cpu"]
        more = ["--config", str(nsd / f"{stage}.toml"), "--precision", "no"]
        assert main(["train", "mindeye", stage, *given, *more]) == 0
    folder = out / "high-level"
    (out / "low-level" / "low_level").rename(folder / "low_level")
    save_settings(folder, has_low_level=True, n_samples=2, size=16)
    unet = UNet2DConditionModel(
        block_out_channels=(32, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=8,
        attention_head_dim=2,
    )
    unet.save_pretrained(folder / UNET)
    (nsd / "vae").rename(folder / "generator" / "vae")
    (nsd / "clip-vit-large-patch14").rename(folder / "generator" / "image_encoder")
    return folder, nsd


def _epoch(voxels: np.ndarray) -> Epoch:
    names = tuple(f"v{i}" for i in range(len(voxels)))
    return Epoch(
        data=voxels.astype(np.float32)[:, None],
        tmin=0.0,
        tmax=0.0,
        t_onset=1.0,
        event="",
        info=Info(names, 0.5, ("fmri",) * len(names)),
        index=3,
    )


def test_from_shards_to_a_picture(weights: tuple[Path, Path]) -> None:
    folder, nsd = weights
    (folder / "hashes.json").unlink()  # what was put beside the trained parts is not in it
    config = DecoderConfig(system="mindeye", weights=str(folder), num_inference_steps=4)
    system = load_system(config)
    shards = open_split(nsd, "train", subject=1)
    scans = mean_voxels(shards, range(len(shards)))
    embeddings = [system.encoder.encode(_epoch(each)) for each in scans]
    assert embeddings[0].vector.shape == (5, 8)
    assert embeddings[0].condition is not None
    assert len(embeddings[0].condition) == 5 * 8 + 4 * 8 * 8
    image = system.sampler.sample(embeddings[0], seed=1)
    assert image.pixels.shape == (16, 16, 3)
    plain = replace(embeddings[0], condition=None)
    assert not np.array_equal(system.sampler.sample(plain, seed=1).pixels, image.pixels)
    with pytest.raises(ShapeError, match="take encoder and generator of one folder"):
        system.sampler.sample(replace(plain, condition=np.zeros(3, np.float32)), seed=1)
    with pytest.raises(ShapeError, match=f"expected {N_VOXELS}, as the decoder"):
        system.encoder.encode(_epoch(scans[0][:-1]))


def test_what_was_learnt_retrieves_what_was_seen(weights: tuple[Path, Path]) -> None:
    folder, nsd = weights
    from transformers import CLIPVisionModelWithProjection

    from models.mindeye.targets import ClipTokens
    from models.mindeye.training import pixels_of

    tower = CLIPVisionModelWithProjection.from_pretrained(
        folder / "generator" / "image_encoder", local_files_only=True
    )
    clip, shards = ClipTokens(tower), open_split(nsd, "train", subject=1)
    encoder = load_encoder(DecoderConfig(weights=str(folder)))
    scans = mean_voxels(shards, range(len(shards)))
    brain = np.stack([encoder.encode(_epoch(scan)).vector for scan in scans])
    images = np.stack([clip(pixels_of(shards.picture(i))[None])[0].numpy() for i in range(12)])
    found = retrieval(brain, images)
    assert found.chance == pytest.approx(1 / 12)
    assert found.image_of_brain > 3 * found.chance
    assert found.brain_of_image > 3 * found.chance


def test_more_samples_and_the_original_fault_draw_otherwise(weights: tuple[Path, Path]) -> None:
    folder, _ = weights
    config = DecoderConfig(weights=str(folder), num_inference_steps=2)
    embedding = load_encoder(config).encode(_epoch(np.ones(N_VOXELS)))
    drawn = {}
    for name, changes in {
        "one": {"n_samples": 1},
        "fault": {"n_samples": 1, "clip_normalised_img2img": True},
        "no low level": {"n_samples": 1, "strength": 1.0},
    }.items():
        save_settings(folder, **{"clip_normalised_img2img": False, "strength": 0.85, **changes})
        sampler = load_sampler(config)
        drawn[name] = sampler.sample(embedding, seed=4).pixels.tobytes()
    assert len(set(drawn.values())) == 3
    assert sampler.options["samples"] == 1
    save_settings(folder, strength=0.0)
    with pytest.raises(MindEyeError, match=r"strength 0\.0 and size 16, expected"):
        load_sampler(config)
    save_settings(folder, strength=0.85)


def test_the_toy_keeps_the_contract() -> None:
    assert list(check_system("mindeye-toy")) == []
    system = load_system(load_preset("mindeye-toy").decoder)
    assert isinstance(system.encoder, Encoder)
    assert isinstance(system.sampler, Sampler)
    made = [system.encoder.encode(_epoch(np.arange(n) % 7.0)) for n in (4643, 20)]
    assert made[0].vector.size == system.encoder.spec.n_features
    assert not np.array_equal(made[0].vector, made[1].vector)


def test_missing_weights_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MindEyeError) as info:
        load_encoder(DecoderConfig(weights=str(tmp_path)))
    assert "backbone/model.safetensors is missing" in str(info.value) or "config.json" in str(
        info.value
    )
    assert "phosphene import mindeye" in str(info.value)
    assert "\n" not in str(info.value)


def test_the_text_stream_of_versatile_diffusion_has_no_weight() -> None:
    """With text at 0, its pair of transformers is the image's, which is loaded here alone."""
    sizes = {
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "in_channels": 32,
        "cross_attention_dim": 8,
    }
    torch.manual_seed(0)
    pair = DualTransformer2DModel(**sizes).eval()
    pair.mix_ratio, pair.condition_lengths = 0.0, [77, 5]
    tokens, x = torch.randn(2, 5, 8), torch.randn(2, 32, 8, 8)
    both = torch.cat([torch.zeros(2, 77, 8), tokens], dim=1)
    image = pair.transformers[pair.transformer_index_for_condition[1]]
    with torch.inference_mode():
        expected = pair(x, encoder_hidden_states=both).sample
        made = image(x, encoder_hidden_states=tokens).sample
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n", "skip"), [(1, 0), (2, 0), (5, 0), (5, 3), (20, 3)])
def test_unipc_is_diffusers(n: int, skip: int) -> None:
    from diffusers import UniPCMultistepScheduler

    scheduler = UniPCMultistepScheduler(
        **schedules.SD15, beta_schedule="scaled_linear", final_sigmas_type="sigma_min"
    )
    scheduler.set_timesteps(n)
    scheduler.set_begin_index(skip)
    generator = torch.Generator().manual_seed(n)
    mixed = torch.randn(4, 4, generator=generator) / 2
    x = torch.randn(2, 4, 4, 4, generator=generator)

    def network(x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return torch.tanh(torch.einsum("ij,bjhw->bihw", mixed, x) + 0.2 * time / 1000)

    expected = x
    for time in scheduler.timesteps[skip:]:
        expected = scheduler.step(network(expected, time), time, expected).prev_sample
    times = Drawing(num_inference_steps=n).times(begins=False)
    assert times.tolist() == scheduler.timesteps.tolist()
    table = schedules.alphas_cumprod(**schedules.SD15, scaled=True)
    levels = schedules.vp_levels(table, times[skip:].copy(), last=table[0], device="cpu")
    made = last(unipc(denoisers.epsilon(network), x, levels))
    torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-5)


def test_second_order_selection_takes_the_nearest() -> None:
    wanted = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
    seen = torch.cat([-wanted, 0.1 * wanted + 0.01, torch.ones(1, 3, 4)])
    assert best_of(seen, wanted) == 1
