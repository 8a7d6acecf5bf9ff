"""DreamDiffusion end to end at toy size: stage A, stage B, import, pictures, the ports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from configs import DecoderConfig, load_preset
from models.api import Encoder, Sampler
from models.checkpoints import CheckpointError
from models.dreamdiffusion import toy
from models.dreamdiffusion.folder import HOME
from models.dreamdiffusion.importing import run_import
from models.dreamdiffusion.items import paired_item
from models.dreamdiffusion.live import load_encoder, load_sampler, signal_of
from models.dreamdiffusion.stages import run_stage_a, run_stage_b
from models.latent_diffusion.folder import load_model
from models.latent_diffusion.lora import LORA_FILE, fuse_lora
from models.registry import find_entry, find_system
from models.stages import StageRequest
from models.systems import load_system
from models.training.errors import DatasetError
from models.training.loop import Progress
from pipeline.errors import ConfigurationError
from pipeline.values import Embedding, Epoch, Info
from tests.models.imagenet40_files import write_stage_b_files

N_CHANNELS = 16


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imagenet40")
    write_stage_b_files(folder, n_channels=N_CHANNELS)
    return folder


STAGE_A: dict[str, Any] = {
    "model": {
        **{"n_channels": N_CHANNELS, "n_times": 128, "embed_dim": 32, "depth": 2, "num_heads": 4},
        **{"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 4},
    },
    "training": {"passes": 4, "warmup_passes": 1, "batch_size": 8, "lr": 3e-3},
}
STAGE_B: dict[str, Any] = {
    "data": {"side": 64, "num_heads": toy.NUM_HEADS},
    "training": {"passes": 12, "batch_size": 6, "lr": 2e-3},
    "condition": {"image_embed_dim": 16},
}


def test_a_then_b_then_a_picture(data: Path, tmp_path: Path) -> None:
    for i, trial in enumerate(np.random.default_rng(1).normal(size=(16, N_CHANNELS, 300))):
        (tmp_path / "eeg").mkdir(exist_ok=True)
        np.save(tmp_path / "eeg" / f"{i}.npy", 10 * trial)
    a = run_stage_a(StageRequest(tmp_path / "eeg", tmp_path / "a", table=STAGE_A, device="cpu"))
    table = STAGE_B | {"data": STAGE_B["data"] | {"encoder": a["encoder"]}}
    seen: list[Progress] = []
    notes: list[str] = []
    request = StageRequest(
        data,
        tmp_path / "b",
        table=table,
        device="cpu",
        on_step=seen.append,
        on_note=notes.append,
    )
    b = run_stage_b(request)
    assert "recorded in blocks of one class" in notes[0]
    assert {"loss", "noise", "alignment"} == set(seen[0].losses)
    first = np.mean([each.losses["loss"] for each in seen[:6]])
    last = np.mean([each.losses["loss"] for each in seen[-6:]])
    assert last < 0.9 * first
    _frozen_is_unchanged(Path(b["model"]))
    config = DecoderConfig(weights=str(b["model"]), num_inference_steps=2)
    encoder, sampler = load_encoder(config), load_sampler(config)
    image = sampler.sample(encoder.encode(_epoch()), seed=5)
    assert image.pixels.shape[2] == 3


def _frozen_is_unchanged(folder: Path) -> None:
    trained, _ = load_model(folder, HOME)
    before = toy.make_toy()
    for name, value in before.unet.state_dict().items():
        same = torch.equal(value, trained.unet.state_dict()[name])
        assert same == (
            ".attn2." not in name and ".norm2." not in name.split("attentions")[-1]
            if "transformer_blocks" in name
            else True
        ), name
    for name, value in before.vae.state_dict().items():
        assert torch.equal(value, trained.vae.state_dict()[name]), name


def test_stage_b_continues_bit_for_bit_on_whole_blocks(data: Path, tmp_path: Path) -> None:
    table = {
        "data": {**STAGE_B["data"], "encoder": "none", "clip": "none", "split": "leave-block-out"},
        "training": {"passes": 1, "batch_size": 4},
        "condition": {"image_embed_dim": 0},
        "model": STAGE_A["model"],
    }
    whole = StageRequest(data, tmp_path / "whole", table=table, device="cpu")
    run_stage_b(whole)
    first = StageRequest(data, tmp_path / "cut", table=table, device="cpu", stop_after=1)
    assert run_stage_b(first)["step"] == 1
    report = run_stage_b(StageRequest(data, tmp_path / "cut", table=table, device="cpu"))
    assert report["split"] == "leave-block-out"
    assert report["step"] > 1
    states = [
        load_model(tmp_path / name / "model", HOME)[0].state_dict() for name in ("whole", "cut")
    ]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_missing_pictures_are_an_error_not_noise(data: Path, tmp_path: Path) -> None:
    table = STAGE_B | {"data": STAGE_B["data"] | {"encoder": "none", "images": "nowhere"}}
    with pytest.raises(DatasetError, match=r"nowhere/n\d+/n\d+_\d\.JPEG is missing \(21 of 21"):
        run_stage_b(StageRequest(data, tmp_path, table=table, device="cpu"))
    with pytest.raises(ConfigurationError, match=r"settings: training\.batchsize"):
        run_stage_b(StageRequest(data, tmp_path, table={"training": {"batchsize": 1}}))
    with pytest.raises(ConfigurationError, match=r"stage of dreamdiffusion 'c' is unknown"):
        find_entry(
            find_system("dreamdiffusion").descriptor.stages, "c", what="stage of dreamdiffusion"
        )


def test_import_of_a_generation_checkpoint(tmp_path: Path) -> None:
    toy.write_checkpoint(tmp_path / "generation.pth", seed=3)
    heads = {"num_heads": toy.NUM_HEADS, "encoder_heads": toy.NUM_HEADS}
    report = run_import([tmp_path / "generation.pth"], tmp_path / "made", **heads)
    assert list(report["files"].values()) == ["whole system"]
    assert not list((tmp_path / "made").rglob("*.bin"))
    model, table = load_model(tmp_path / "made", HOME)
    assert (tmp_path / "made" / "unet" / "config.json").is_file()
    assert table["preprocessing"]["sfreq"] == 1000
    expected = toy.make_toy(seed=3).state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="none of DreamDiffusion's checkpoints"):
        run_import([tmp_path / "other.pth"], tmp_path / "made")


def test_import_of_an_encoder_and_of_stable_diffusion(data: Path, tmp_path: Path) -> None:
    from configs.published import MaskedAutoencoderConfig
    from models.masked_autoencoder import MaskedAutoencoder

    config = MaskedAutoencoderConfig.model_validate(STAGE_A["model"])
    state = MaskedAutoencoder(config).state_dict()
    torch.save({"model": state, "epoch": 3, "scaler": {}}, tmp_path / "checkpoint.pth")
    files = [tmp_path / "checkpoint.pth", data / "v1-5-pruned.ckpt"]
    report = run_import(files, tmp_path / "made", num_heads=4, encoder_heads=4)
    assert set(report["files"].values()) == {
        "EEG encoder",
        "Stable Diffusion (U-Net and autoencoder)",
    }
    assert (tmp_path / "made" / "encoder" / "model.safetensors").is_file()
    assert (tmp_path / "made" / "unet" / "diffusion_pytorch_model.safetensors").is_file()


def _epoch(sfreq: float = 250.0, ch_names: tuple[str, ...] = ("O1", "Oz", "O2")) -> Epoch:
    n_times = round(0.5 * sfreq) + 1
    noise = np.random.default_rng(0).normal(0, 10, (len(ch_names), n_times))
    return Epoch(
        data=noise.astype(np.float32),
        tmin=0.0,
        tmax=(n_times - 1) / sfreq,
        t_onset=0.0,
        event="",
        info=Info(ch_names, sfreq),
        index=7,
    )


PREPROCESSING = {"tmin": 0.02, "tmax": 0.459, "sfreq": 1000.0, "ch_names": []}


def test_a_live_epoch_is_the_paired_trial() -> None:
    epoch = _epoch(1000.0)
    made = signal_of(epoch, preprocessing=PREPROCESSING, shape=(3, 512))
    trial = paired_item(epoch.data)
    trial = (trial - trial.mean(axis=1, keepdims=True)) / trial.std(axis=1, keepdims=True)
    np.testing.assert_allclose(made, trial, atol=1e-4)


def test_any_montage_fills_the_network() -> None:
    epoch = _epoch()
    repeated = signal_of(epoch, preprocessing=PREPROCESSING, shape=(8, 64))
    assert np.array_equal(repeated[:3], repeated[3:6])
    named = PREPROCESSING | {"ch_names": ["Oz", "Fz", "O1"]}
    placed = signal_of(epoch, preprocessing=named, shape=(3, 64))
    assert np.array_equal(placed[0], repeated[1])
    assert not placed[1].any()
    short = PREPROCESSING | {"tmax": 0.9}
    with pytest.raises(ConfigurationError, match=r"expected 0\.02 to 0\.9 s"):
        signal_of(epoch, preprocessing=short, shape=(3, 64))


def test_the_toy_runs_behind_the_ports() -> None:
    system = load_system(load_preset("dreamdiffusion-toy").decoder)
    assert isinstance(system.encoder, Encoder)
    assert isinstance(system.sampler, Sampler)
    system.measure()
    embedding = system.encoder.encode(_epoch())
    assert embedding.vector.shape == (77, toy.CONDITION.context_dim)
    image = system.sampler.sample(embedding, seed=1)
    again = system.sampler.sample(embedding, seed=1)
    assert image.pixels.shape == (toy.SIDE, toy.SIDE, 3)
    assert np.array_equal(image.pixels, again.pixels)
    assert image.pixels.std() > 0
    other = Embedding(vector=-embedding.vector, index=7, t_onset=0.0)
    assert not np.array_equal(system.sampler.sample(other, seed=1).pixels, image.pixels)
    weights = str(toy.toy_folder())
    published = load_sampler(DecoderConfig(weights=weights, num_inference_steps=10))
    assert not np.array_equal(published.sample(embedding, seed=1).pixels, image.pixels)
    settings = DecoderConfig(weights=weights, num_inference_steps=4, guidance_scale=3.0)
    guided = load_sampler(settings)
    assert not np.array_equal(guided.sample(embedding, seed=1).pixels, image.pixels)


def test_missing_weights_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as info:
        load_encoder(DecoderConfig(system="dreamdiffusion", weights=str(tmp_path)))
    sentence = str(info.value)
    assert "config.json is missing" in sentence
    assert "phosphene import dreamdiffusion" in sentence
    assert "\n" not in sentence


def test_a_lora_is_fused(tmp_path: Path) -> None:
    unet = toy.make_toy().unet
    name = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    before = unet.get_submodule(name).weight.clone()
    down, up = torch.randn(2, before.shape[1]), torch.randn(before.shape[0], 2)
    key = "lora_unet_" + name.replace(".", "_")
    path = tmp_path / LORA_FILE
    path.parent.mkdir()
    state = {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
    save_file(state | {f"{key}.alpha": torch.tensor(1.0)}, path)
    assert fuse_lora(unet, path) == 1
    after = unet.get_submodule(name).weight
    torch.testing.assert_close(after, before + 0.5 * up @ down)
    save_file({f"{key}x.lora_down.weight": down, f"{key}x.lora_up.weight": up}, path)
    with pytest.raises(CheckpointError, match="is no layer of this U-Net"):
        fuse_lora(unet, path)
