"""Contrast, Attend and Diffuse: losses and branches as published, its stages, the ports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from tqdm import tqdm

from configs import DecoderConfig, load_preset
from configs.published import ContrastConfig
from models.checkpoints import CheckpointError
from models.contrast_attend_diffuse.contrast import DoubleContrast, info_nce
from models.contrast_attend_diffuse.cross_modal import FmriBranch, ImageBranch, pixel_correlation
from models.contrast_attend_diffuse.importing import (
    import_fmri_branch,
    import_image_branch,
    run_import,
)
from models.contrast_attend_diffuse.live import load_encoder, load_sampler
from models.contrast_attend_diffuse.stages import run_ldm, run_phase_1, run_phase_2
from models.masked_autoencoder import import_autoencoder
from models.masked_autoencoder.folder import load_autoencoder
from models.mind_vis import toy
from models.stages import StageRequest
from models.systems import load_system, noise_epoch
from models.training.loop import Progress
from pipeline.errors import ConfigurationError
from tests.models import fmri_files as files
from tests.models import golden

N_VOXELS = 60
HEADS = 4


def _phase_1(file: golden.Golden, **changed: Any) -> DoubleContrast:
    given = file.arguments["args"]
    autoencoder = import_autoencoder(
        file.state, num_heads=given["num_heads"], decoder_num_heads=given["decoder_num_heads"]
    )
    settings = {
        "reconstruction_weight": given["mask_loss_weight"],
        # Fixed in the original, whatever its argument says.
        "contrast_weight": 0.5,
        "self_weight": given["self_contrast_loss_weight"],
        "cross_weight": given["cross_contrast_loss_weight"],
    }
    return DoubleContrast(autoencoder.eval(), ContrastConfig(**settings | changed))


@pytest.mark.golden
def test_phase_1() -> None:
    file = golden.load("cad_phase1")
    signal, ratio = file.inputs["fmri"], file.arguments["mask_ratio"]
    noises = (file.inputs["mask_noise_a"], file.inputs["mask_noise_b"])
    assert file.arguments["args"]["negative_mode"] == "unpaired"
    runs: dict[str, dict[str, Any]] = {
        "full": {},
        "contrast_only": {"contrast_only": True},
        "self_only": {"contrast_only": True, "cross_weight": 0},
        "cross_only": {"contrast_only": True, "self_weight": 0},
        "paired_self": {"negatives": "predictions", "cross_weight": 0},
        "sep_loss": {"both_masks": True},
    }
    for name, changed in runs.items():
        network = _phase_1(file, **changed)
        made = network.losses(signal, *noises, mask_ratio=ratio)
        # A term that is off is 0 there, and a loss may be a vector of one number.
        is_off = network.config.contrast_only
        mae = torch.zeros(1) if is_off else made.reconstruction
        for key, value in (("total", made.total), ("contrast", made.contrast), ("mae", mae)):
            expected = file.outputs[f"{name}_{key}"]
            file.check(f"{name}_{key}", value.reshape(expected.shape))
        if name == "full":
            made.total.backward()
            _check_gradients(file, network)
    first = network.autoencoder(signal, noises[0], mask_ratio=ratio)
    file.check("full_pred", first.prediction)
    file.check("full_mask", first.mask)
    file.check("info_nce_self", info_nce(first.prediction.flatten(1), signal[:, 0]))
    file.assert_all_checked()


def _check_gradients(file: golden.Golden, network: DoubleContrast) -> None:
    found = {f"grad_full/{k}": v.grad for k, v in network.autoencoder.named_parameters()}
    for name in file.outputs:
        if name.startswith("grad_full/"):
            file.check(name, found[name])


@pytest.mark.golden
def test_phase_2_fmri_branch() -> None:
    file = golden.load("cad_phase2_fmri_branch")
    sizes, image = file.arguments["args"], file.arguments["img"]
    branch = import_fmri_branch(
        file.state,
        num_heads=sizes["num_heads"],
        decoder_num_heads=sizes["decoder_num_heads"],
        image_heads=image["num_attention_heads"],
    )
    signal, noise = file.inputs["fmri"], file.inputs["mask_noise"]
    support, ratio = file.inputs["image_tokens"], file.arguments["mask_ratio"]
    with torch.no_grad():
        made = branch(signal, noise, mask_ratio=ratio, support=support)
        alone = branch(signal, noise, mask_ratio=ratio)
        latent = branch.encode(signal, noise, mask_ratio=ratio, support=support)
        whole = branch.encode(signal, noise, mask_ratio=0.0, support=None)
        layer = branch.cross.layers[0](file.outputs["cross_layer_in"], support)
    file.checked.add("cross_layer_in")  # recorded beside the output
    file.check("cross_layer_out", layer)
    for name, value in (("loss", made.loss), ("pred", made.prediction), ("mask", made.mask)):
        file.check(name, value)
    file.check("loss_without_support", alone.loss)
    file.check("pred_without_support", alone.prediction)
    file.check("latent", latent.tokens)
    file.check("latent_unmasked_no_support", whole.tokens)
    file.assert_all_checked()
    assert len(branch.cross.layers) == image["num_cross_encoder_layers"]


@pytest.mark.golden
def test_phase_2_image_branch() -> None:
    pytest.importorskip("transformers", reason="ViT-MAE needs phosphene[published]")
    tqdm.monitor_interval = 0
    file = golden.load("cad_phase2_image_branch")
    sizes = file.arguments["img"]
    branch = import_image_branch(
        file.state,
        num_heads=sizes["num_attention_heads"],
        decoder_num_heads=sizes["decoder_num_attention_heads"],
    )
    pixels, noise = file.inputs["pixel_values"], file.inputs["mask_noise"]
    ratio, support = file.arguments["img_mask_ratio"], file.inputs["fmri_latent"]
    with torch.no_grad():
        made = branch(pixels, noise, mask_ratio=ratio, support=support)
        alone = branch(pixels, noise)
        tokens, _, _ = branch.encode(pixels, noise, mask_ratio=0.0, support=None)
    file.check("loss", made.loss)
    file.check("logits", made.prediction)
    file.check("mask", made.mask)
    file.check("ids_restore", made.ids_restore)
    file.check("loss_default_mask_no_support", alone.loss)
    file.check("logits_default_mask_no_support", alone.prediction)
    file.check("tokens_unmasked", tokens)
    file.check("unpatchified", branch.mae.unpatchify(branch.mae.patchify(pixels)))
    # As published: one patch of the prediction against the next.
    file.check("corr", pixel_correlation(made.prediction[:, 0], made.prediction[:, 1]).mean())
    file.assert_all_checked()
    assert torch.isfinite(made.prediction).all()


def test_the_contrast_tells_samples_apart() -> None:
    given = torch.randn(6, 20)
    assert info_nce(given, given) < 0.05 < info_nce(given, given.roll(1, 0))
    negatives = torch.randn(6, 20)
    assert info_nce(given, given, negatives=negatives) < 0.05
    x = torch.randn(3, 4, 5)
    torch.testing.assert_close(pixel_correlation(x, 2 * x + 1), torch.ones(3))
    torch.testing.assert_close(pixel_correlation(x, -x), -torch.ones(3))


PHASE_1: dict[str, Any] = {
    "data": {"subjects": ["sbj_3"], "hcp": "none"},
    "model": {
        **{"embed_dim": 32, "depth": 1, "num_heads": HEADS},
        **{"decoder_embed_dim": 16, "decoder_depth": 2, "decoder_num_heads": HEADS},
    },
    "training": {"passes": 8, "warmup_passes": 1, "batch_size": 6, "lr": 1e-2},
}
PHASE_2: dict[str, Any] = {
    "data": {"encoder": "p1/encoder", "one_in": 6},
    "cross": {"fmri_decoder_layers": 1, "image_decoder_layers": 1},
    "training": {"passes": 8, "warmup_passes": 1, "batch_size": 5, "lr": 1e-2},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = pytest.importorskip("transformers", reason="ViT-MAE needs phosphene[published]")
    tqdm.monitor_interval = 0  # else its bar leaves a watching thread behind
    folder = tmp_path_factory.mktemp("cad")
    files.write_god(folder / "Kamitani" / "npz", n_voxels=N_VOXELS)
    files.write_label2img(folder / "ldm" / "label2img" / "model.ckpt")
    torch.manual_seed(0)
    transformers.ViTMAEForPreTraining(_vit_config(transformers)).save_pretrained(
        folder / "vit-mae-base"
    )
    run_phase_1(_ask(folder, folder / "p1", PHASE_1 | {"training": {"passes": 1}}))
    return folder


def _vit_config(transformers: Any) -> Any:
    return transformers.ViTMAEConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=HEADS,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
        decoder_hidden_size=16,
        decoder_num_hidden_layers=2,
        decoder_num_attention_heads=HEADS,
        decoder_intermediate_size=16,
    )


def _ask(data: Path, out: Path, table: dict[str, Any], **more: Any) -> StageRequest:
    return StageRequest(data, out, table=table, device="cpu", **more)


def _falls(seen: list[Progress], part: float) -> bool:
    n = max(1, len(seen) // 4)
    losses = [each.losses["loss"] for each in seen]
    return bool(np.mean(losses[-n:]) < part * np.mean(losses[:n]))


def test_phase_1_then_phase_2_then_a_picture(data: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    run_phase_1(_ask(data, tmp_path / "p1", PHASE_1, on_step=seen.append))
    assert {"loss", "reconstruction", "contrast"} == set(seen[0].losses)
    assert _falls(seen, 0.95)
    seen.clear()
    table = PHASE_2 | {"data": {"encoder": str(tmp_path / "p1" / "encoder"), "one_in": 6}}
    second = run_phase_2(_ask(data, tmp_path / "p2", table, on_step=seen.append))
    assert {"loss", "fmri", "image", "correlation"} == set(seen[0].losses)
    assert _falls(seen, 0.95)
    assert second["n_val"] == 2
    ldm = {
        "data": {"encoder": second["encoder"], "side": 32, "one_in": 6},
        "training": {"passes": 1},
    }
    third = run_ldm(_ask(data, tmp_path / "ldm", ldm))
    config = DecoderConfig(weights=third["model"], num_inference_steps=2)
    encoder, sampler = load_encoder(config), load_sampler(config)
    assert encoder.spec.space == sampler.spec.space == "contrast-attend-diffuse-context-77x32"
    image = sampler.sample(encoder.encode(noise_epoch(encoder.spec)), seed=1)
    assert image.pixels.shape == (32, 32, 3)


def test_what_phase_2_trains(data: Path, tmp_path: Path) -> None:
    """A killed run goes on to the same weights; ViT-MAE's encoder stays as it was."""
    table = PHASE_2 | {"training": {"passes": 1, "batch_size": 5}}
    run_phase_2(_ask(data, tmp_path / "whole", table))
    assert run_phase_2(_ask(data, tmp_path / "cut", table, stop_after=1))["step"] == 1
    assert run_phase_2(_ask(data, tmp_path / "cut", table))["step"] > 1
    whole, cut = (
        (tmp_path / each / "encoder" / "model.safetensors").read_bytes()
        for each in ("whole", "cut")
    )
    assert whole == cut
    kept = next((tmp_path / "whole" / "checkpoints").iterdir()) / "trained.safetensors"
    with safe_open(kept, "pt") as file:
        names = set(file.keys())
    assert not [name for name in names if name.startswith(("image.mae.vit.", "image.norm."))]
    for part in ("image.mae.decoder.", "image.map_in.", "image.cross.", "fmri.cross.", "fmri.auto"):
        assert any(name.startswith(part) for name in names), part


@pytest.mark.parametrize("stage", ["phase-1", "ldm"])
def test_a_killed_run_goes_on_to_the_same_weights(data: Path, tmp_path: Path, stage: str) -> None:
    if stage == "ldm":
        run, name = run_ldm, "model/condition/model.safetensors"
        table: dict[str, Any] = {
            "data": {"encoder": "p1/encoder", "side": 32, "one_in": 6},
            "training": {"passes": 1, "batch_size": 5},
        }
    else:
        run, name = run_phase_1, "encoder/model.safetensors"
        table = PHASE_1 | {"training": {"passes": 1, "batch_size": 6}}
    run(_ask(data, tmp_path / "whole", table))
    assert run(_ask(data, tmp_path / "cut", table, stop_after=1))["step"] == 1
    assert run(_ask(data, tmp_path / "cut", table))["step"] > 1
    whole, cut = ((tmp_path / each / name).read_bytes() for each in ("whole", "cut"))
    assert whole == cut


def test_the_readmes_run_says_what_it_leaves_out(data: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    seen: list[Progress] = []
    table = PHASE_1 | {"contrast": {"contrast_only": True}, "training": {"passes": 1}}
    run_phase_1(_ask(data, tmp_path, table, on_note=notes.append, on_step=seen.append))
    assert "contrast_only leaves the reconstruction out" in notes[0]
    losses = seen[0].losses
    assert losses["loss"] == pytest.approx(losses["contrast"])
    with pytest.raises(ConfigurationError, match=r"settings: contrast\.contrast_lss_weight"):
        run_phase_1(_ask(data, tmp_path, {"contrast": {"contrast_lss_weight": 1}}))
    missing = PHASE_2 | {"data": {"vit_mae": "nowhere"}}
    with pytest.raises(CheckpointError, match="holds no ViT-MAE, expected Hugging Face's folder"):
        run_phase_2(_ask(data, tmp_path, missing))


def _published(branch: FmriBranch | ImageBranch) -> dict[str, Tensor]:
    """State of a branch under its published names (the autoencoder's and new layers')."""
    theirs = (
        ("cross_attention.out", "cross_attention.output.dense"),
        ("cross_attention.", "cross_attention.attention."),
        ("attention.out", "attention.output.dense"),
        ("attention.", "attention.attention."),
        ("norm_", "layernorm_"),
        ("fc1", "intermediate.dense"),
        ("fc2", "output.dense"),
    )
    state = {}
    for name, value in branch.state_dict().items():
        if name.startswith("cross.layers."):
            number, rest = name.removeprefix("cross.layers.").split(".", 1)
            ours, other = next(pair for pair in theirs if rest.startswith(pair[0]))
            state[f"cross_blocks.{number}.{rest.replace(ours, other, 1)}"] = value
        else:
            state[name.removeprefix("autoencoder.").replace("map_", "cross_map_")] = value
    return state


def test_import_says_what_is_missing(data: Path, tmp_path: Path) -> None:
    own = load_autoencoder(data / "p1" / "encoder", made_by="")
    branch = FmriBranch(own, dim=16, num_heads=HEADS, hidden=16)
    torch.save({"model": _published(branch), "epoch": 1}, tmp_path / "phase2.pth")
    report = run_import(
        [tmp_path / "phase2.pth"], tmp_path / "made", image_heads=HEADS, encoder_heads=HEADS
    )
    assert [*report["files"].values()] == ["fMRI encoder of phase 2"]
    assert (
        "condition/model.safetensors is not there, and no such file is published"
        in (report["notes"][0])
    )
    again = load_autoencoder(tmp_path / "made" / "encoder", made_by="")
    for name, value in own.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    toy.write_checkpoint(tmp_path / "whole.pth")
    report = run_import([tmp_path / "whole.pth"], tmp_path / "made", encoder_heads=HEADS)
    assert report["notes"] == []
    with pytest.raises(CheckpointError, match="has no cross-modal layer"):
        import_fmri_branch(own.state_dict())


def test_the_toy_runs_behind_the_ports() -> None:
    system = load_system(load_preset("cad-toy").decoder)
    embedding = system.encoder.encode(noise_epoch(system.encoder.spec))
    image = system.sampler.sample(embedding, seed=1)
    assert image.pixels.shape == (toy.SIDE, toy.SIDE, 3)
    assert system.encoder.spec.space == "contrast-attend-diffuse-context-77x32"
