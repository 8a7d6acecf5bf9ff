"""The generator at toy size: the real classes, seeded, against diffusers' own loop."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderDC, FlowMatchEulerDiscreteScheduler, UNet2DConditionModel
from diffusers.models.embeddings import ImageProjection, PixArtAlphaTextProjection
from safetensors.torch import save_file

from models.api import Sampler
from models.embedded.generator import FILE, PARTS, Generator, GeneratorError, load_generator
from models.embedded.sampler import EmbeddedSampler, load_sampler
from models.sampling.noise import seeded_noise
from models.sampling.parts import Flat, shapes_of
from models.sampling.schedules import flow_levels
from pipeline.errors import ConfigurationError, ShapeError
from pipeline.values import Embedding

N_FEATURES = 6
PROJECTION = {"image_embed_dim": N_FEATURES, "cross_attention_dim": 12, "num_image_text_embeds": 2}
PRIOR = {"in_features": N_FEATURES, "hidden_size": 8, "out_features": 4 * 4 * 4}


def _write_toy(root: Path, *, latent_channels: int = 4) -> None:
    torch.manual_seed(0)
    AutoencoderDC(
        latent_channels=latent_channels,
        encoder_block_types="ResBlock",
        decoder_block_types="ResBlock",
        encoder_block_out_channels=(8, 8, 16, 32),
        decoder_block_out_channels=(8, 8, 16, 32),
        encoder_layers_per_block=(0, 1, 1, 1),
        decoder_layers_per_block=(0, 1, 1, 1),
        encoder_qkv_multiscales=((), (), (), ()),
        decoder_qkv_multiscales=((), (), (), ()),
        encoder_out_shortcut=False,
        decoder_in_shortcut=False,
        scaling_factor=1.7,
    ).save_pretrained(root / "vae")
    UNet2DConditionModel(
        sample_size=4,
        in_channels=8,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        cross_attention_dim=12,
        attention_head_dim=2,
        norm_num_groups=4,
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=N_FEATURES,
    ).save_pretrained(root / "unet")
    projection = ImageProjection(**PROJECTION)
    (root / "projection").mkdir()
    save_file(projection.state_dict(), root / "projection" / FILE)
    (root / "projection" / "config.json").write_text(json.dumps(PROJECTION))
    (root / "prior").mkdir()
    save_file(PixArtAlphaTextProjection(**PRIOR).state_dict(), root / "prior" / FILE)
    (root / "prior" / "config.json").write_text(json.dumps(PRIOR))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("generator")
    _write_toy(root)
    return root


@pytest.fixture(scope="module")
def generator(folder: Path) -> Generator:
    return load_generator(folder)


def _embedding(seed: int = 0, *, n_features: int = N_FEATURES) -> Embedding:
    vector = np.random.default_rng(seed).normal(size=n_features).astype(np.float32)
    return Embedding(vector=vector, index=3, t_onset=12.5)


def _pixels(sampler: EmbeddedSampler, *, embedding: int = 0, seed: int = 1) -> np.ndarray:
    return sampler.sample(_embedding(embedding), seed=seed).pixels


@pytest.mark.parametrize("steps", [1, 4, 7])
def test_it_draws_what_diffusers_scheduler_draws(generator: Generator, steps: int) -> None:
    """Same weights, noise and levels through diffusers' scheduler: equal latents to 1e-4."""
    sampler = EmbeddedSampler(generator, num_inference_steps=steps)
    scheduler = FlowMatchEulerDiscreteScheduler()
    levels = flow_levels(steps, device=generator.like.device)
    scheduler.set_timesteps(sigmas=[float(level.sigma) for level in levels[:-1]])
    condition = torch.from_numpy(_embedding().vector.copy())[None]
    with torch.no_grad():
        tokens = generator.projection(condition)
        guess = generator.prior(condition).view(1, 4, 4, 4)
        start = latents = next(seeded_noise((5,), generator.latent_shape, like=generator.like))
        for timestep in scheduler.timesteps:
            correction = generator.unet(
                torch.cat([latents, guess], 1),
                timestep,
                encoder_hidden_states=tokens,
                class_labels=condition,
            )[0]
            velocity = (latents - guess - correction) / (timestep / 1000)
            latents = scheduler.step(velocity, timestep, latents).prev_sample
        ours = sampler._denoise(start, condition)
        theirs = generator.vae.decoder(latents / generator.vae.config.scaling_factor)
    assert (ours - latents).abs().max() <= 1e-4
    pixels = (theirs.clamp(-1, 1) + 1) * 127.5
    drawn = sampler.sample(_embedding(), seed=5).pixels.astype(np.float32)
    assert np.abs(drawn - pixels[0].permute(1, 2, 0).numpy()).max() <= 0.51


def test_a_picture_is_a_function_of_its_own_epoch(generator: Generator) -> None:
    """Drawing other pictures in between, or many at once, changes nothing."""
    sampler = EmbeddedSampler(generator)
    first = _pixels(sampler)
    _pixels(sampler, embedding=1, seed=2)
    torch.rand(3)  # torch's own generator plays no part
    np.testing.assert_array_equal(_pixels(sampler), first)
    np.testing.assert_array_equal(_pixels(EmbeddedSampler(generator)), first)
    many = sampler.draw(np.stack([_embedding(i).vector for i in range(3)]), seeds=(1, 2, 3))
    assert np.abs(many[0].astype(int) - first.astype(int)).max() <= 1


@pytest.mark.parametrize(
    "change", [{"embedding": 1}, {"seed": 2}], ids=["another embedding", "another seed"]
)
def test_every_argument_matters(generator: Generator, change: dict[str, int]) -> None:
    sampler = EmbeddedSampler(generator)
    assert (_pixels(sampler) != _pixels(sampler, **change)).any()


def test_length_of_the_embedding_matters(generator: Generator) -> None:
    """Confidence is the length, so the projection's normalisation must not lose it."""
    sampler = EmbeddedSampler(generator)
    full = _embedding()
    half = Embedding(full.vector / 2, index=3, t_onset=12.5)
    assert (sampler.sample(full, seed=1).pixels != sampler.sample(half, seed=1).pixels).any()


def test_guidance_one_is_none_and_more_pushes_from_the_empty_condition(
    generator: Generator,
) -> None:
    condition = torch.from_numpy(_embedding().vector.copy())[None]
    with torch.no_grad():
        plain, pushed = (
            EmbeddedSampler(generator, num_inference_steps=1, guidance_scale=scale)
            for scale in (1.0, 3.0)
        )
        noise = next(seeded_noise((0,), generator.latent_shape, like=generator.like))
        full = plain._denoise(noise, condition)
        empty = plain._denoise(noise, torch.zeros_like(condition))
        guided = pushed._denoise(noise, condition)
    torch.testing.assert_close(guided, empty + 3.0 * (full - empty), atol=1e-4, rtol=1e-4)


def test_an_engine_takes_a_networks_place(generator: Generator) -> None:
    """Whatever gives a network's tensors draws the same picture; other sizes stay the network's."""
    ran: list[str] = []
    ours, other = (EmbeddedSampler(generator, num_inference_steps=3) for _ in range(2))
    expected = _pixels(other)
    for part in other.parts:
        assert part.seen is not None
        flat = Flat(part.module, part.seen)

        def run(*tensors: torch.Tensor, flat: Flat = flat, name: str = part.name) -> torch.Tensor:
            ran.append(name)
            return flat(*tensors)

        part.use(run, shapes_of(part.seen.tensors))
    np.testing.assert_array_equal(_pixels(other), expected)
    assert ran == ["conditions", *["step"] * 3, "decoder"]
    two = np.zeros((2, N_FEATURES), np.float32)
    np.testing.assert_array_equal(other.draw(two, seeds=(1, 2)), ours.draw(two, seeds=(1, 2)))
    assert len(ran) == 5


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_it_draws_on_any_device_and_waits_once(folder: Path, guidance: float) -> None:
    """On `meta` no value can be read: all up to the pixels runs without a wait for the device."""
    meta = torch.device("meta")
    there = load_generator(folder, device=meta)
    sampler = EmbeddedSampler(there, num_inference_steps=2, guidance_scale=guidance)
    assert sampler.spec.device == "meta"
    noise = seeded_noise((1, 2), there.latent_shape, like=there.like)
    latents = sampler._denoise(next(noise), torch.zeros(2, N_FEATURES, device=meta))
    assert (latents.device, latents.shape) == (meta, (2, *there.latent_shape))
    assert there.vae.decoder(latents).device == meta
    with pytest.raises(NotImplementedError, match="meta"):
        sampler.draw(np.zeros((1, N_FEATURES), np.float32), seeds=(1,))


def test_precision_changes_little(folder: Path, generator: Generator) -> None:
    expected = _pixels(EmbeddedSampler(generator)).astype(float)
    for dtype, room in ((torch.float64, 1), (torch.bfloat16, 16)):
        other = EmbeddedSampler(load_generator(folder, dtype=dtype))
        assert np.abs(_pixels(other) - expected).max() <= room


def test_it_keeps_the_port_and_the_epochs_identity(folder: Path) -> None:
    sampler = load_sampler(folder)
    assert isinstance(sampler, Sampler)
    image = sampler.sample(_embedding(), seed=9)
    assert (image.index, image.t_onset, image.seed) == (3, 12.5, 9)
    assert image.pixels.shape == (32, 32, 3)
    assert len(sampler.spec.sha256) == 64


def test_half_precision_on_disk_is_float32_at_work(folder: Path, tmp_path: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    for part in PARTS:
        (tmp_path / part).symlink_to(folder / part)
    (tmp_path / "unet").unlink()
    unet.half().save_pretrained(tmp_path / "unet")
    loaded = load_generator(tmp_path)
    assert {p.dtype for p in loaded.unet.parameters()} == {torch.float32}
    assert loaded.sha256 != load_generator(folder).sha256


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_or_torn_file_is_named(folder: Path, tmp_path: Path, part: str) -> None:
    for each in PARTS:
        (tmp_path / each).mkdir()
        for path in (folder / each).iterdir():
            (tmp_path / each / path.name).write_bytes(path.read_bytes())
    weights = tmp_path / part / FILE
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(GeneratorError, match="cannot be read"):
        load_generator(tmp_path)
    weights.unlink()
    with pytest.raises(GeneratorError, match=f"{part}.*is missing"):
        load_generator(tmp_path)


def test_parts_of_different_runs_are_refused(tmp_path: Path) -> None:
    _write_toy(tmp_path, latent_channels=6)
    with pytest.raises(GeneratorError, match="latent channels of vae and unet differ"):
        load_generator(tmp_path)


def test_bad_settings_and_embeddings_are_refused(generator: Generator) -> None:
    with pytest.raises(ConfigurationError, match="num_inference_steps is 0"):
        EmbeddedSampler(generator, num_inference_steps=0)
    with pytest.raises(ConfigurationError, match="num_inference_steps is 51"):
        EmbeddedSampler(generator, num_inference_steps=51)
    with pytest.raises(ConfigurationError, match=r"guidance_scale is 0\.5"):
        EmbeddedSampler(generator, guidance_scale=0.5)
    sampler = EmbeddedSampler(generator)
    with pytest.raises(ShapeError, match=r"\(1, 5\), expected \(1, 6\)"):
        sampler.sample(_embedding(n_features=5), seed=0)
    with pytest.raises(ConfigurationError, match="seed is -1"):
        sampler.sample(_embedding(), seed=-1)
