"""SANA-Sprint, Z-Image, FLUX.2-klein: diffusers' own pictures, vectors through a projector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from configs import DecoderConfig
from configs.projector import ProjectorTrainingConfig
from models.diffusion_transformers import flux2
from models.diffusion_transformers.live import TransformerSampler, load_sampler
from models.diffusion_transformers.parts import read_parts
from models.diffusion_transformers.projector import (
    Projector,
    ProjectorConfig,
    load_projector,
    save_projector,
)
from models.diffusion_transformers.stage import ProjectorTask, run_flux2, run_sana_sprint
from models.stable_diffusion.errors import StableDiffusionError
from models.stages import StageRequest
from models.systems import choose_generator
from models.training.draws import Draws
from pipeline.errors import ShapeError
from pipeline.gallery import SPACE, load_gallery
from pipeline.values import Embedding
from tests.models.transformer_toys import SIZE, WIDTH, write_transformer

NAMES = tuple(WIDTH)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("transformers")
    return {name: write_transformer(root / name, name) for name in NAMES}


def _sampler(folder: Path, *, steps: int, **options: Any) -> TransformerSampler:
    config = DecoderConfig(
        weights=str(folder), generator=folder.name, num_inference_steps=steps, **options
    )
    return load_sampler(config)


def _tokens(name: str, n: int = 5) -> Tensor:
    return torch.randn(n, WIDTH[name], generator=torch.Generator().manual_seed(3))


def _by_diffusers(name: str, folder: Path, tokens: Tensor, *, steps: int, seed: int) -> Tensor:
    """Picture of diffusers' own pipeline before rounding, (1, 3, height, width)."""
    parts = read_parts(folder)
    given: dict[str, Any] = {
        "transformer": parts.transformer,
        "vae": parts.vae,
        "scheduler": parts.scheduler,
        "text_encoder": None,
        "tokenizer": None,
    }
    options: dict[str, Any] = {
        "prompt_embeds": tokens[None],
        "num_inference_steps": steps,
        "height": SIZE,
        "width": SIZE,
        "generator": torch.Generator().manual_seed(seed),
        "output_type": "pt",
    }
    pipeline: Any
    if name == "sana-sprint":
        pipeline = diffusers.SanaSprintPipeline(**given)
        options["prompt_attention_mask"] = torch.ones(1, len(tokens))
        options["use_resolution_binning"] = False
        if steps != 2:
            options["intermediate_timesteps"] = None
    elif name == "z-image-turbo":
        pipeline = diffusers.ZImagePipeline(**given)
        options |= {"prompt_embeds": [tokens], "guidance_scale": 0.0}
    else:
        pipeline = diffusers.Flux2KleinPipeline(**given, is_distilled=True)
        options["guidance_scale"] = 1.0
    pipeline.set_progress_bar_config(disable=True)
    kept: list[Tensor] = []
    decode = parts.vae.decode

    def watch(latents: Tensor, return_dict: bool = True) -> Any:
        kept.append(torch.as_tensor(decode(latents, return_dict=False)[0]))
        return (kept[-1],)

    parts.vae.decode = watch
    pipeline(**options)
    return kept[-1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_picture_is_that_of_diffusers_own_pipeline(
    folders: dict[str, Path], name: str, steps: int
) -> None:
    tokens = _tokens(name)
    sampler = _sampler(folders[name], steps=steps)
    ours = sampler.generator.images(tokens, seed=11)
    theirs = _by_diffusers(name, folders[name], tokens, steps=steps, seed=11)
    assert ours.shape == theirs.shape == (1, 3, SIZE, SIZE)
    assert float(theirs.std()) > 1e-3, "a picture of nothing compares with anything"
    assert float((ours - theirs).abs().max()) <= 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_opened_by_what_it_says_of_itself(folders: dict[str, Path], name: str) -> None:
    found, weights = choose_generator(DecoderConfig(generator=str(folders[name])))
    assert (found.descriptor.name, weights) == (name, str(folders[name]))


def test_a_vector_becomes_tokens_by_the_projector_beside(tmp_path: Path) -> None:
    folder = write_transformer(tmp_path / "z-image-turbo", "z-image-turbo")
    plain = _sampler(folder, steps=8)
    assert plain.spec.space == "text-tokens-16"
    assert "draws tokens alone" in plain.remarks[0]
    config = ProjectorConfig(space=SPACE, n_features=64, width=16, n_tokens=4, rank=8, n_hidden=8)
    save_projector(Projector(config), folder / "projector")
    sampler = _sampler(folder, steps=8)
    assert sampler.spec.space == SPACE
    assert sampler.spec.sha256 != plain.spec.sha256
    assert sampler.remarks == ()
    vector = np.random.default_rng(0).normal(size=64).astype(np.float32)
    one, other = (sampler.sample(Embedding(v, 0, 0.0), seed=5).pixels for v in (vector, -vector))
    again = sampler.sample(Embedding(vector, 0, 0.0), seed=5).pixels
    np.testing.assert_array_equal(one, again)
    assert np.any(one != other)
    with pytest.raises(ShapeError, match=r"shape \(63,\), expected \(64,\)"):
        sampler.sample(Embedding(vector[:63], 0, 0.0), seed=5)
    with pytest.raises(ShapeError, match=r"expected \(n_tokens, 16\)"):
        plain.sample(Embedding(vector, 0, 0.0), seed=5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "holds no usable projector"),
        ('{"space": "a b", "n_features": 4, "width": 16}', "space: String should match"),
        ('{"space": "a", "n_features": 4, "width": 17}', "tokens of 17 features, this generator"),
        ('{"space": "a", "n_features": 4, "width": 16, "n_tokens": 4}', "holds no usable"),
    ],
)
def test_a_projector_that_does_not_fit_is_refused(tmp_path: Path, text: str, words: str) -> None:
    config = ProjectorConfig(space="a", n_features=4, width=16, n_tokens=2, rank=4, n_hidden=4)
    save_projector(Projector(config), tmp_path)
    assert load_projector(tmp_path, width=16).config == config
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(StableDiffusionError, match=words) as found:
        load_projector(tmp_path, width=16)
    assert "\n" not in str(found.value)


def test_a_folder_that_names_code_of_others_is_refused(tmp_path: Path) -> None:
    folder = write_transformer(tmp_path / "sana-sprint", "sana-sprint")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"extra": ["os", "system"]}))
    with pytest.raises(StableDiffusionError, match="code of others is not run"):
        read_parts(folder)
    index["vae"] = ["diffusers", "AutoencoderKL"]
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(StableDiffusionError, match="expected AutoencoderDC of diffusers"):
        read_parts(folder)


def test_settings_that_would_draw_another_picture_are_refused_or_said(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    few = _sampler(folders["z-image-turbo"], steps=2, guidance_scale=4.0)
    assert "published are 8" in few.remarks[0]
    assert "--guidance does nothing" in few.remarks[1]
    folder = write_transformer(tmp_path / "flux2-klein", "flux2-klein", size=40)
    with pytest.raises(StableDiffusionError, match=r"size 40 .* multiple of 16"):
        _sampler(folder, steps=4)
    (folder / "system.json").unlink()
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"stochastic_sampling": True}))
    with pytest.raises(StableDiffusionError, match="sets stochastic_sampling"):
        _sampler(folder, steps=4)


def test_patches_are_turned_back() -> None:
    latents = torch.randn(2, 3, 4, 6)
    assert torch.equal(flux2.unpatched(flux2.patched(latents)), latents)


def _request(folder: Path, out: Path) -> StageRequest:
    training = {"passes": 1, "batch_size": 64, "size": SIZE, "one_in": 2, "lr": 1e-2}
    sizes = {"n_tokens": 2, "rank": 4, "n_hidden": 4}
    table = {"weights": str(folder), "projector": sizes, "training": training}
    data = load_gallery().folder
    assert data is not None
    return StageRequest(data=data, out=out, table=table, precision="no", device="cpu")


def test_a_projector_is_trained_on_a_gallery_and_then_draws(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    report = run_sana_sprint(_request(folders["sana-sprint"], tmp_path / "out"))
    gallery = load_gallery()
    assert report["space"] == SPACE
    assert report["n_train"] + report["n_val"] == len(gallery)
    folder = write_transformer(tmp_path / "sana-sprint", "sana-sprint")
    (tmp_path / "out" / "projector").rename(folder / "projector")
    sampler = _sampler(folder, steps=2)
    picture = sampler.sample(Embedding(gallery.embeddings[0], 0, 0.0), seed=1)
    assert picture.pixels.shape == (SIZE, SIZE, 3)
    trained = load_file(folder / "projector" / "model.safetensors")
    torch.manual_seed(0)
    fresh = Projector(load_projector(folder / "projector", width=8).config)
    assert not torch.equal(trained["wide.weight"], fresh.wide.weight)


def test_another_familys_folder_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(StableDiffusionError, match="is of sana-sprint: `phosphene train sana"):
        run_flux2(_request(folders["sana-sprint"], tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_falls_and_reaches_the_projector_alone(
    folders: dict[str, Path], name: str
) -> None:
    parts = read_parts(folders[name])
    torch.manual_seed(0)
    config = ProjectorConfig(
        space=SPACE, n_features=64, width=WIDTH[name], n_tokens=2, rank=4, n_hidden=4
    )
    training = ProjectorTrainingConfig(size=SIZE, lr=3e-2, condition_dropout=0.0)
    task = ProjectorTask(Projector(config), parts, load_gallery(), training)
    task.module.train()
    assert not parts.transformer.training
    named = [n for n, p in task.module.named_parameters() if p.requires_grad]
    assert all(each.startswith("projector.") for each in named)
    optimizer = task.make_optimizer()
    batch = task.batch(np.arange(4), Draws.of(np.arange(4), 0), training=True)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = task.module(**batch)["loss"]
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
