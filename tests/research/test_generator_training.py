"""The arithmetic behind the generator's training, at toy size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderDC
from diffusers.models.embeddings import PixArtAlphaTextProjection
from PIL import Image
from safetensors.torch import save_file

from models.embedded.fog import BLIND, CLEAR, FOG, fog_of, veiled
from models.training.draws import Draws
from pipeline.gallery import load_gallery
from research.embedded import renders as pictures
from research.embedded.autoencoding import CONFIG, fold, texture_loss
from research.embedded.latents import FOG_LEVELS, N_POSE, SCALING, length_of
from research.embedded.runs import Recipe, Run
from research.embedded.train_prior import exact_batches, solve, widened
from research.embedded.train_unet import Pool, couple


def _render() -> Image.Image:
    """A red square with a transparent margin and a blue upper half."""
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[8:56, 8:56] = (220, 30, 30, 255)
    pixels[8:32, 8:56] = (30, 30, 220, 255)
    return Image.fromarray(pixels)


def test_noise_keeps_its_distribution_when_a_pose_is_written_into_it() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2000, 6, 4, 4, generator=generator)
    numbers = torch.randn(2000, 5, generator=generator)
    coupled = couple(noise, numbers)
    torch.testing.assert_close(coupled[:, :5].mean((2, 3)) * 4, numbers, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(coupled[:, 5], noise[:, 5])
    flat = coupled.flatten(1)
    covariance = flat.T @ flat / len(flat)
    assert (covariance - torch.eye(96)).abs().max() < 0.15
    assert abs(float(flat.mean())) < 0.01


def test_folding_normalises_latents_and_changes_nothing_else() -> None:
    torch.manual_seed(0)
    vae = AutoencoderDC(**CONFIG)
    sample = torch.rand(3, 3, 192, 192) * 2 - 1
    with torch.no_grad():
        folded = fold(vae, sample)
        latents = folded.encoder(sample)
        before, after = vae.decoder(vae.encoder(sample)), folded.decoder(latents)
    assert latents.mean((0, 2, 3)).abs().max() < 1e-4
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(16), atol=1e-3, rtol=1e-3)
    # Only near the rim they differ: there the decoder's zero padding now means the mean.
    inner = (..., slice(88, 104), slice(88, 104))
    assert (before - after)[inner].abs().max() < 1e-3 * before.std()


def test_fog_and_length_are_inverse_on_the_slope() -> None:
    fog = np.array(FOG_LEVELS)
    np.testing.assert_allclose(fog_of(length_of(fog)), fog, atol=1e-12)
    assert fog_of(CLEAR + 0.1) == 0.0
    assert fog_of(BLIND / 2) == 1.0


def test_full_fog_shows_nothing_and_no_fog_changes_nothing() -> None:
    picture = pictures.compose(_render(), pictures.Pose(), pictures.flat_background(64))
    assert veiled(picture, 0.0) is picture
    np.testing.assert_array_equal(
        pictures.to_array(veiled(picture, 1.0)),
        np.broadcast_to(np.array(FOG, np.uint8), (64, 64, 3)),
    )
    contrast = [pictures.to_array(veiled(picture, f)).std() for f in FOG_LEVELS]
    assert contrast == sorted(contrast, reverse=True)


def test_composition_places_turns_and_mirrors() -> None:
    def centre(pose: pictures.Pose, colour: int) -> tuple[float, float]:
        pixels = pictures.to_array(
            pictures.compose(_render(), pose, pictures.flat_background(64, (0, 0, 0)))
        )
        rows, columns = np.nonzero(pixels[..., colour] > 128)
        return float(rows.mean()), float(columns.mean())

    assert centre(pictures.Pose(), 2)[0] < 28 < 36 < centre(pictures.Pose(), 0)[0]
    assert centre(pictures.Pose(angle=180), 2)[0] > 36
    # A quarter turn counter-clockwise takes the upper half to the left.
    assert centre(pictures.Pose(angle=90), 2)[1] < 28
    # Mirroring comes before turning: up and down are what they were.
    assert centre(pictures.Pose(angle=90, mirror=True), 2)[1] < 28
    left = _render().transpose(Image.Transpose.ROTATE_90)
    mirrored = pictures.compose(left, pictures.Pose(mirror=True), pictures.flat_background(64))
    assert np.nonzero(pictures.to_array(mirrored)[..., 0] < 100)[1].mean() > 36
    assert centre(pictures.Pose(shift=(0.125, 0.0)), 0)[1] == pytest.approx(
        centre(pictures.Pose(), 0)[1] + 8, abs=0.5
    )


def test_held_out_renders_have_no_sibling_in_training() -> None:
    names = [f"{base:x}{tail}" for base in range(0x1F400, 0x1F440) for tail in ("", "-1f3fb")]
    train, held_out = pictures.split(names)
    assert sorted(train + held_out) == sorted(names)
    assert held_out
    assert not {n.split("-")[0] for n in train} & {n.split("-")[0] for n in held_out}


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    """Latents that carry their owner and fog, so that a wrong pairing shows."""
    gallery = load_gallery()
    owners = [o for o in range(len(gallery)) for _ in FOG_LEVELS] + [len(gallery)]
    levels = [level for _ in gallery.stimuli for level in range(len(FOG_LEVELS))] + [0]
    latents = torch.zeros(len(owners), 6, 2, 4)
    latents[:, 0, 0, 0] = torch.tensor(owners)
    latents[:, 1, 0, 0] = torch.tensor(levels)
    extra = -torch.from_numpy(gallery.embeddings[:1].copy())
    save_file(
        {
            "latents": latents.half(),
            "numbers": torch.randn(len(owners), N_POSE, generator=torch.Generator().manual_seed(1)),
            "owners": torch.tensor(owners),
            "levels": torch.tensor(levels),
            "conditions": torch.cat([torch.from_numpy(gallery.embeddings.copy()), extra]),
        },
        tmp_path / "pool.safetensors",
        metadata={"n_gallery": str(len(gallery))},
    )
    return Pool(tmp_path / "pool.safetensors")


def test_batches_pair_each_condition_with_its_own_latents(pool: Pool) -> None:
    gallery = load_gallery()
    extra = -torch.from_numpy(gallery.embeddings[:1].copy())
    batch = pool.batch(torch.Generator().manual_seed(0), 300)
    conditions, noise = batch["conditions"], batch["noise"]
    drawn = (batch["clean"] / SCALING).round()
    again = pool.batch(torch.Generator().manual_seed(0), 300)
    torch.testing.assert_close(conditions, again["conditions"])
    assert noise.shape == drawn.shape
    table = torch.cat([torch.from_numpy(gallery.embeddings.copy()), extra])
    own = table[drawn[:, 0, 0, 0].long()]
    cosine = torch.nn.functional.cosine_similarity(conditions, own)
    clear = conditions.norm(dim=1) > 0.5
    # One in eight is a mixture, which is not near its own stimulus.
    assert (cosine[clear] > 0.9).float().mean() > 0.8
    fog = torch.tensor(FOG_LEVELS)[drawn[:, 1, 0, 0].long()]
    wanted = torch.from_numpy(np.asarray(fog_of(conditions.norm(dim=1).double().numpy())))
    # Only the jitter of the condition lies between.
    assert (fog - wanted)[clear].abs().mean() < 0.12


def test_one_picture_in_ten_is_kept_apart_with_its_family() -> None:
    names = [f"{base:x}{tail}" for base in range(0x1F400, 0x1F5FF) for tail in ("", "-1f3fb")]
    train, apart = pictures.split(names)
    assert len(apart) == pytest.approx(len(names) / 10, abs=2)
    assert pictures.split(train + apart) == (sorted(train), sorted(apart))


def test_lost_detail_costs_and_shifted_detail_does_not() -> None:
    stripes = torch.zeros(1, 3, 64, 64)
    stripes[..., ::3] = 1.0
    moved = stripes.roll(1, dims=3)
    grey = torch.full_like(stripes, float(stripes.mean()))
    assert texture_loss(stripes, stripes) < 1e-6
    assert texture_loss(moved, stripes) < 0.1 * texture_loss(grey, stripes)


def test_solved_layer_beats_every_other_and_hits_what_can_be_hit(pool: Pool) -> None:
    prior = PixArtAlphaTextProjection(64, 12, 48)
    batch = pool.batch(torch.Generator().manual_seed(0), 64)

    def made() -> torch.Tensor:
        return prior(batch["conditions"]).detach()

    truth = made().clone().unflatten(1, (6, 2, 4))
    torch.nn.init.normal_(prior.linear_2.weight)
    before = (made() - truth.flatten(1)).square().mean()
    solve(prior, [{**batch, "clean": truth}])
    assert (made() - truth.flatten(1)).square().mean() < 1e-3 * before


def test_wider_prior_has_every_unit_of_the_narrow_one() -> None:
    narrow = PixArtAlphaTextProjection(64, 12, 48)
    wide = widened(narrow, 20, seed=0)
    torch.testing.assert_close(wide.linear_1.weight[:12], narrow.linear_1.weight)
    assert wide.linear_1.out_features == 20
    torch.testing.assert_close(
        wide.linear_1.weight[12:].norm(dim=1), narrow.linear_1.weight[:8].norm(dim=1)
    )


def test_exact_batches_hold_every_stimulus_at_its_own_length(pool: Pool) -> None:
    batches = list(exact_batches(pool, size=1000, weight=1.0))
    assert sum(len(each["clean"]) for each in batches) == len(pool.rows)
    lengths = torch.cat([each["conditions"] for each in batches]).norm(dim=1)
    fog = torch.tensor(FOG_LEVELS)[
        torch.cat([b["clean"][:, 1, 0, 0] / SCALING for b in batches]).round().long()
    ]
    wanted = torch.from_numpy(np.where(fog == 0, 1.0, length_of(fog.double().numpy())))
    torch.testing.assert_close(lengths.double(), wanted, atol=1e-3, rtol=0)


def test_faint_pictures_weigh_more(pool: Pool) -> None:
    contrast = pool.latents.var((2, 3)).mean(1)
    order = contrast.argsort()
    assert pool.weights[order[0]] > pool.weights[order[-1]]


class _Line:
    """Fits a number to noise that its generator draws."""

    n_val, n_train = 0, 2

    def __init__(self) -> None:
        self.module = _Number()

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.module.parameters(), lr=1.0)

    def learning_rate(self, progress: float) -> float:
        return 0.1 / (1 + progress)

    def batch(self, indices: object, draws: Draws, *, training: bool) -> dict[str, torch.Tensor]:
        return {"wanted": draws.randn()}


class _Number(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.zeros(1))

    def forward(self, wanted: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (wanted - self.value).square().mean()}


def test_run_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path) -> None:
    recipe = Recipe(steps=6, batch=2, lr=0.1, seed=3)
    ended = []
    for name, stops in (("whole", (None,)), ("pieces", (2, 3, None))):
        for stop in stops:
            task = _Line()
            Run(recipe, tmp_path / name, save_every=2, stop=stop, log_every=1).train(
                task, save=lambda _: None
            )
        ended.append(task.module.value.item())
    assert ended[0] == ended[1]
    lines = [json.loads(x) for x in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines if "loss" in x] == [1, 2, 3, 4, 5, 6]
