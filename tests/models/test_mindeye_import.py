"""Published folders of MindEye are read as data and become safetensors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPVisionModelWithProjection

from app.cli import main
from configs.mindeye import BackboneConfig, LowLevelConfig, TokenPriorConfig
from models.checkpoints import CheckpointError
from models.mindeye.backbone import Backbone
from models.mindeye.errors import MindEyeError
from models.mindeye.folder import (
    TOWER,
    UNET,
    VAE,
    load_backbone,
    load_low_level,
    load_prior,
    load_settings,
)
from models.mindeye.importing import export_low_level, export_prior
from models.mindeye.low_level import LowLevelNetwork
from models.mindeye.prior import TokenPrior
from models.mindeye.published import import_files
from models.sampling.schedules import cosine_alphas_cumprod
from models.weights import WeightState, check_weights
from tests.models.hostile_pickle import Hostile
from tests.models.mindeye_files import write_nsd

HIGH = "prior_257_final_subj01_bimixco_softclip_byol"
LOW = "autoencoder_subj01_4x_locont_no_reconst"


def _write_high(
    path: Path, *, n_tokens: int = 5, is_single: bool = False
) -> tuple[Backbone, TokenPrior]:
    norm = {"norm": "batch", "act_first": True, "projector": 0} if is_single else {"projector": 8}
    backbone = Backbone(
        BackboneConfig(n_voxels=12, hidden=8, n_blocks=2, n_tokens=n_tokens, width=6, **norm)
    )
    sizes = {"n_tokens": n_tokens, "width": 6, "depth": 2, "num_heads": 2, "head_dim": 4}
    prior = TokenPrior(TokenPriorConfig(**sizes, n_steps=10))
    state = {f"voxel2clip.{k}": v for k, v in backbone.state_dict().items()}
    state |= {f"net.{k}": v for k, v in export_prior(prior).items()}
    state["noise_scheduler.alphas_cumprod"] = cosine_alphas_cumprod(10)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": 239, "model_state_dict": state, "train_losses": [1.0]}, path)
    return backbone, prior


def test_released_folders_become_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backbone, prior = _write_high(tmp_path / HIGH / "last.pth")
    low = LowLevelNetwork(
        LowLevelConfig(n_voxels=12, hidden=4, n_blocks=1, side=2, widths=(32, 32, 32), maps=4)
    )
    state = {f"module.{k}": v for k, v in export_low_level(low).items()}
    assert "module.upsampler.mid_block.attentions.0.proj_attn.weight" in state
    (tmp_path / LOW).mkdir()
    torch.save({"model_state_dict": state}, tmp_path / LOW / "epoch120.pth")
    out = tmp_path / "made"
    given = [str(tmp_path / HIGH), str(tmp_path / LOW)]
    assert main(["import", "mindeye", *given, "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report["files"].values()) == [
        "backbone and prior, 12 voxels to 5 x 6",
        "low-level network of 12 voxels",
    ]
    for made, expected in (
        (load_backbone(out), backbone),
        (load_prior(out), prior),
        (load_low_level(out), low),
    ):
        assert made.config == expected.config
        for name, value in expected.state_dict().items():
            assert torch.equal(value, made.state_dict()[name]), name
    settings = load_settings(out)
    assert (settings.n_samples, settings.has_prior, settings.has_low_level) == (16, True, True)
    assert check_weights(out).state is WeightState.READY


def test_the_single_vector_variant_is_known_by_its_shapes(tmp_path: Path) -> None:
    backbone, _ = _write_high(tmp_path / "last.pth", n_tokens=1, is_single=True)
    import_files([tmp_path / "last.pth"], tmp_path / "made")
    assert load_backbone(tmp_path / "made").config == backbone.config
    assert load_settings(tmp_path / "made").space == "clip-vit-l-14-image"


def test_versatile_diffusion_comes_as_pickles_and_stays_as_data(tmp_path: Path) -> None:
    torch.manual_seed(0)
    write_nsd(tmp_path / "nsd", n_train=2, n_val=1)
    source = tmp_path / "versatile-diffusion"
    unet = UNet2DConditionModel(
        block_out_channels=(32, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=8,
        attention_head_dim=2,
    )
    unet.save_pretrained(source / "image_unet", safe_serialization=False)
    vae = AutoencoderKL.from_pretrained(tmp_path / "nsd" / "vae", local_files_only=True)
    vae.save_pretrained(source / "vae", safe_serialization=False)
    tower = CLIPVisionModelWithProjection.from_pretrained(
        tmp_path / "nsd" / "clip-vit-large-patch14", local_files_only=True
    )
    tower.save_pretrained(source / "image_encoder")
    import_files([source], tmp_path / "made")
    assert not list((tmp_path / "made").rglob("*.bin"))
    for place, network in ((UNET, unet), (VAE, vae), (TOWER, tower)):
        made = type(network).from_pretrained(
            tmp_path / "made" / place, local_files_only=True, use_safetensors=True
        )
        for name, value in network.state_dict().items():
            assert torch.equal(value, made.state_dict()[name]), name
    (source / "vae" / "config.json").write_text('{"_class_name": "VQModel"}')
    with pytest.raises(MindEyeError, match="is of VQModel, expected AutoencoderKL"):
        import_files([source], tmp_path / "other")


def test_what_is_no_file_of_mindeye_is_refused_in_one_line(tmp_path: Path) -> None:
    hostile = tmp_path / "last.pth"
    torch.save({"model_state_dict": Hostile(tmp_path / "ran")}, hostile)
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    (tmp_path / "empty").mkdir()
    path = tmp_path / "linear.pth"
    _write_high(path)
    content = torch.load(path, weights_only=True)
    content["model_state_dict"]["noise_scheduler.alphas_cumprod"] = torch.linspace(1, 0, 10)
    torch.save(content, path)
    for file, message in (
        (hostile, "is refused, since reading it could run code"),
        (tmp_path / "other.pth", "is no file of MindEye, expected a checkpoint of prior_257"),
        (tmp_path / "empty", "holds no last.pth or epoch120.pth"),
        (path, "is not the published cosine schedule"),
    ):
        with pytest.raises((CheckpointError, MindEyeError), match=message) as info:
            import_files([file], tmp_path / "made")
        assert "\n" not in str(info.value)
    assert not (tmp_path / "ran").exists()
