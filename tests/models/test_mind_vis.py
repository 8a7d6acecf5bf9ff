"""MinD-Vis at toy size: its three stages on files as published, import, the ports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel, VQModel

from configs import DecoderConfig, load_preset
from configs.published import ConditionConfig, MaskedAutoencoderConfig
from models.api import Encoder, Sampler
from models.checkpoints import CheckpointError
from models.latent_diffusion.conditioning import ConditionStage
from models.latent_diffusion.folder import load_model, make_time_condition
from models.latent_diffusion.importing import export_vae, import_vae, rename_unet
from models.latent_diffusion.model import LatentDiffusion
from models.masked_autoencoder import MaskedAutoencoder
from models.masked_autoencoder.folder import save_autoencoder
from models.mind_vis import toy
from models.mind_vis.data import PATCH_SIZE
from models.mind_vis.importing import HOME, run_import
from models.mind_vis.live import load_encoder, load_sampler, signal_of
from models.mind_vis.stages import run_stage_a1, run_stage_a2, run_stage_b
from models.stages import StageRequest
from models.systems import load_system
from models.training.errors import DatasetError
from models.training.loop import Progress
from pipeline.errors import ConfigurationError, ShapeError
from pipeline.values import Epoch, Info
from tests.models import fmri_files as files

N_VOXELS = 60
MODEL = {
    **{"embed_dim": 32, "depth": 1, "num_heads": 4},
    **{"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 4},
}
STAGE_A1: dict[str, Any] = {
    "data": {"subjects": ["sbj_3"]},
    "model": MODEL,
    "training": {"passes": 5, "warmup_passes": 1, "batch_size": 8, "lr": 1e-2},
}
STAGE_B: dict[str, Any] = {
    "data": {"side": 32, "one_in": 6, "encoder": "a2/encoder"},
    "training": {"passes": 6, "batch_size": 5, "lr": 1e-2},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mindvis")
    files.write_god(folder / "Kamitani" / "npz", n_voxels=N_VOXELS)
    files.write_hcp(folder / "HCP" / "npz", n_voxels=N_VOXELS - 20)
    files.write_label2img(folder / "ldm" / "label2img" / "model.ckpt")
    return folder


def _ask(data: Path, out: Path, table: dict[str, Any], **more: Any) -> StageRequest:
    return StageRequest(data, out, table=table, device="cpu", **more)


def _falls(seen: list[Progress], part: float) -> bool:
    n = max(1, len(seen) // 4)
    losses = [each.losses["loss"] for each in seen]
    return bool(np.mean(losses[-n:]) < part * np.mean(losses[:n]))


def test_a1_then_a2_then_b_then_a_picture(data: Path) -> None:
    seen: list[Progress] = []
    a1 = run_stage_a1(_ask(data, data / "a1", STAGE_A1, on_step=seen.append))
    assert a1["n_items"] == 12 + 2 * 12
    assert _falls(seen, 0.95)
    notes: list[str] = []
    table: dict[str, Any] = {"data": {"encoder": "a1/encoder"}, "training": {"passes": 2}}
    a2 = run_stage_a2(_ask(data, data / "a2", table, on_note=notes.append))
    assert not a2["transductive"]
    assert a2["n_items"] == 12
    assert notes == []
    seen.clear()
    b = run_stage_b(_ask(data, data / "b", STAGE_B, on_step=seen.append, on_note=notes.append))
    assert notes == []
    assert b["n_val"] == 2
    assert _falls(seen, 0.95)
    config = DecoderConfig(weights=b["model"], num_inference_steps=2)
    encoder, sampler = load_encoder(config), load_sampler(config)
    assert encoder.spec.input.n_channels == N_VOXELS
    embedding = encoder.encode(_epoch(N_VOXELS))
    image = sampler.sample(embedding, seed=5)
    assert image.pixels.shape == (32, 32, 3)
    with pytest.raises(ShapeError, match=f"has 7 voxels, expected {N_VOXELS}"):
        encoder.encode(_epoch(7))
    # A live response and the row that was trained on are the same numbers.
    model, settings = load_model(Path(b["model"]), HOME)
    _frozen_is_unchanged(model)
    raw = np.load(data / "Kamitani" / "npz" / "sbj_3.npz")["arr_0"]
    made = signal_of(_epoch(N_VOXELS, raw[3]), preprocessing=settings["preprocessing"], length=64)
    expected = (raw[3] - raw.mean()) / raw.std()
    np.testing.assert_allclose(made[0, :N_VOXELS], expected, atol=1e-4)
    np.testing.assert_allclose(made[0, N_VOXELS:], expected[:4], atol=1e-4)


def test_tuning_on_the_test_says_so(data: Path, tmp_path: Path) -> None:
    one = STAGE_A1 | {"data": {"subjects": ["sbj_3"], "hcp": "none"}, "training": {"passes": 1}}
    a1 = run_stage_a1(_ask(data, tmp_path / "a1", one))
    notes: list[str] = []
    table = {
        "data": {"encoder": a1["encoder"], "transductive": True},
        "training": {"passes": 1},
    }
    a2 = run_stage_a2(_ask(data, tmp_path / "a2", table, on_note=notes.append))
    assert a2["transductive"]
    assert a2["n_items"] == 3 + 6
    assert "learns from the test part's own signals" in notes[0]
    table = {
        "data": STAGE_B["data"] | {"encoder": a2["encoder"]},
        "training": {"passes": 1},
    }
    b = run_stage_b(_ask(data, tmp_path / "b", table, on_note=notes.append))
    assert "learns from the test part's own signals" in notes[1]
    _, settings = load_model(Path(b["model"]), HOME)
    assert settings["preprocessing"]["encoder"] == {"stage": "a2", "transductive": True}


@pytest.mark.parametrize("stage", ["a1", "a2", "a2 transductive", "b"])
def test_a_killed_run_goes_on_to_the_same_weights(data: Path, tmp_path: Path, stage: str) -> None:
    table = STAGE_A1 | {"training": {"passes": 2, "batch_size": 12}}
    run = run_stage_a1
    if stage.startswith("a2"):
        tuned = MaskedAutoencoder(
            MaskedAutoencoderConfig(n_channels=1, n_times=64, patch_size=PATCH_SIZE, **MODEL)
        )
        save_autoencoder(tuned, tmp_path / "encoder", facts={"stage": "a1"})
        table = {
            "data": {
                "encoder": str(tmp_path / "encoder"),
                "transductive": "transductive" in stage,
            },
            "training": {"passes": 2, "batch_size": 5, "warmup_passes": 0, "lr": 1e-2},
        }
        run = run_stage_a2
    if stage == "b":
        table = {
            "data": STAGE_B["data"] | {"encoder": "none"},
            "training": {"passes": 1, "batch_size": 5},
            "model": MODEL,
        }
        run = run_stage_b
    run(_ask(data, tmp_path / "whole", table))
    assert run(_ask(data, tmp_path / "cut", table, stop_after=1))["step"] == 1
    assert run(_ask(data, tmp_path / "cut", table))["step"] > 1
    name = {"b": "model/condition/model"}.get(stage, "encoder/model") + ".safetensors"
    whole, cut = ((tmp_path / each / name).read_bytes() for each in ("whole", "cut"))
    assert whole == cut


def _frozen_is_unchanged(trained: LatentDiffusion) -> None:
    before = toy.make_toy()
    for name, value in before.unet.state_dict().items():
        is_trained = "transformer_blocks" in name and (".attn2." in name or ".norm2." in name)
        assert torch.equal(value, trained.unet.state_dict()[name]) != is_trained, name
    for name, value in before.vae.state_dict().items():
        assert torch.equal(value, trained.vae.state_dict()[name]), name


def test_what_cannot_be_trained_is_one_sentence(data: Path, tmp_path: Path) -> None:
    nothing = {"data": {"hcp": "none", "god": "none"}}
    with pytest.raises(DatasetError, match="nothing to pre-train on"):
        run_stage_a1(_ask(data, tmp_path, nothing))
    with pytest.raises(CheckpointError, match="make it with `phosphene train mind-vis a1`"):
        run_stage_a2(_ask(data, tmp_path, {"data": {"encoder": "nowhere"}}))
    with pytest.raises(ConfigurationError, match=r"settings: data\.transductiv"):
        run_stage_a2(_ask(data, tmp_path, {"data": {"transductiv": True}}))
    missing = {"data": {"base": "nowhere.ckpt", "encoder": "none"}}
    with pytest.raises(CheckpointError, match="put the label-conditioned latent diffusion model"):
        run_stage_b(_ask(data, tmp_path, missing))


def test_import_of_the_published_files(data: Path, tmp_path: Path) -> None:
    toy.write_checkpoint(tmp_path / "finetuned.pth", seed=3)
    encoder = MaskedAutoencoder(toy.ENCODER).state_dict()
    torch.save({"model": encoder, "epoch": 3}, tmp_path / "fmri_encoder.pth")
    made, begin = tmp_path / "made", tmp_path / "begin"
    heads = {"encoder_heads": toy.ENCODER_HEADS}
    report = run_import([tmp_path / "finetuned.pth"], made, **heads)
    assert [*report["files"].values()] == ["whole system"]
    assert "were tuned on the test part's signals" in report["notes"][0]
    files_b = [tmp_path / "fmri_encoder.pth", data / "ldm" / "label2img" / "model.ckpt"]
    report = run_import(files_b, begin, **heads)
    assert [*report["files"].values()] == [
        "fMRI encoder",
        "label-conditioned latent diffusion (U-Net and VQ autoencoder)",
    ]
    assert (begin / "encoder" / "model.safetensors").is_file()
    model, table = load_model(made, HOME)
    assert isinstance(model.vae, VQModel)
    assert model.betas == {"beta_start": 0.0015, "beta_end": 0.0195}
    expected = toy.make_toy(seed=3).state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    # An encoder file may hold the encoder alone.
    alone = {k: v for k, v in encoder.items() if not k.startswith(("decoder_", "mask_token"))}
    torch.save({"model": alone}, tmp_path / "fmri_encoder.pth")
    run_import([tmp_path / "fmri_encoder.pth"], tmp_path / "alone", **heads)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="none of MinD-Vis's checkpoints, expected fmri_enc"):
        run_import([tmp_path / "other.pth"], made)
    # The file does not say how many voxels there were before padding.
    settings = table["preprocessing"]
    assert settings["n_voxels"] == 0
    for n_voxels in (4640, 4643, 4656):
        made_row = signal_of(_epoch(n_voxels), preprocessing=settings, length=4656)
        assert made_row.shape == (1, 4656)
    with pytest.raises(ShapeError, match="has 4639 voxels, expected 4640 to 4656"):
        signal_of(_epoch(4639), preprocessing=settings, length=4656)


def _epoch(n_voxels: int, values: Any = None) -> Epoch:
    given = np.random.default_rng(0).normal(size=n_voxels) if values is None else values
    info = Info(tuple(f"v{i}" for i in range(n_voxels)), 0.5, ("fmri",) * n_voxels)
    return Epoch(
        data=np.asarray(given, dtype=np.float32)[:, None],
        tmin=0.0,
        tmax=0.5,
        t_onset=0.0,
        event="",
        info=info,
        index=7,
    )


def test_the_toy_runs_behind_the_ports() -> None:
    system = load_system(load_preset("mindvis-toy").decoder)
    assert isinstance(system.encoder, Encoder)
    assert isinstance(system.sampler, Sampler)
    system.measure()
    embedding = system.encoder.encode(_epoch(toy.N_VOXELS))
    assert embedding.vector.shape == (77, toy.CONDITION.context_dim)
    image = system.sampler.sample(embedding, seed=1)
    again = system.sampler.sample(embedding, seed=1)
    assert image.pixels.shape == (toy.SIDE, toy.SIDE, 3)
    assert np.array_equal(image.pixels, again.pixels)
    assert image.pixels.std() > 0
    other = system.encoder.encode(_epoch(15_000))
    assert not np.array_equal(other.vector, embedding.vector)
    weights = str(toy.toy_folder(HOME))
    published = load_sampler(DecoderConfig(weights=weights, num_inference_steps=10))
    assert published.options["solver"] == "PLMS"
    assert not np.array_equal(published.sample(embedding, seed=1).pixels, image.pixels)


def test_missing_weights_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no MinD-Vis in") as info:
        load_encoder(DecoderConfig(system="mind-vis", weights=str(tmp_path)))
    assert "phosphene import mind-vis" in str(info.value)
    assert "\n" not in str(info.value)


def test_published_sizes() -> None:
    """Of the generator: label2img (cin256) over VQ-f4, with both condition paths."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            in_channels=3,
            out_channels=3,
            block_out_channels=(192, 384, 576, 960),
            layers_per_block=2,
            cross_attention_dim=512,
            attention_head_dim=1,
            down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
            up_block_types=(*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
            class_embed_type="identity",
        )
        vae = VQModel(
            block_out_channels=(128, 256, 512),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            layers_per_block=2,
            num_vq_embeddings=8192,
            vq_embed_dim=3,
            scaling_factor=1.0,
        )
        state = rename_unet(unet.state_dict(), unet)
        assert {"input_blocks.4.1.norm.weight", "output_blocks.8.2.conv.weight"} <= {*state}
        assert "input_blocks.1.1.norm.weight" not in state
        first_stage = export_vae(vae)
        assert first_stage["quantize.embedding.weight"].shape == (8192, 3)
        again = import_vae(first_stage)
        assert isinstance(again, VQModel)
        assert again.config.block_out_channels == (128, 256, 512)
        config = ConditionConfig(context_dim=512, time_embed_dim=768, image_embed_dim=0)
        time_condition = make_time_condition(config)
        stage = ConditionStage(torch.nn.Identity(), n_tokens=291, embed_dim=1024, config=config)
        assert stage(torch.zeros(2, 291, 1024))[0].shape == (2, 77, 512)
        context = torch.zeros(2, 77, 512)
        assert time_condition(context).shape == (2, 768)
    counts = {
        name: sum(p.numel() for p in m.parameters()) for name, m in (("unet", unet), ("vae", vae))
    }
    assert counts == {"unet": 400_920_579, "vae": 55_322_782}
