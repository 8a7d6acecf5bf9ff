"""MindEye's stages on synthetic shards: losses fall, a cut run continues, weights are found."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from configs.mindeye import BackboneConfig
from models.mindeye import losses
from models.mindeye.augmentation import augmented, draw_changes
from models.mindeye.backbone import Backbone
from models.mindeye.errors import MindEyeError
from models.mindeye.folder import load_backbone, load_low_level, load_prior, load_settings
from models.mindeye.nsd import index_shard, open_split
from models.mindeye.stages import run_high_level, run_low_level, run_person
from models.stages import StageRequest
from models.training.loop import Progress
from tests.models.mindeye_files import N_VOXELS, add, npy, write_nsd, write_shard

HIGH: dict[str, Any] = {
    "model": {"hidden": 16, "n_blocks": 1, "projector": 8},
    "prior": {"depth": 1, "num_heads": 2, "head_dim": 4, "n_steps": 10},
    "training": {"passes": 12, "batch_size": 6, "lr": 1e-2, "augment": False},
}
LOW: dict[str, Any] = {
    "data": {"maps": "maps"},
    "model": {"hidden": 8, "n_blocks": 1, "side": 2, "widths": [32, 32, 32]},
    "training": {"passes": 4, "batch_size": 6, "lr": 1e-2},
}
STAGES = {"high": (run_high_level, HIGH), "low": (run_low_level, LOW)}


@pytest.fixture(scope="module")
def nsd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nsd")
    torch.manual_seed(0)
    write_nsd(folder)
    return folder


def _all_tensors(folder: Path) -> dict[str, torch.Tensor]:
    paths = sorted(p for p in folder.rglob("model.safetensors") if "checkpoints" not in p.parts)
    return {f"{p.parent.name}.{k}": v for p in paths for k, v in load_file(p).items()}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_learns_and_continues_bit_for_bit(stage: str, nsd: Path, tmp_path: Path) -> None:
    run, table = STAGES[stage]
    seen: list[Progress] = []

    def request(name: str, **more: Any) -> StageRequest:
        return StageRequest(nsd, tmp_path / name, table=table, device="cpu", precision="no", **more)

    report = run(request("whole", on_step=seen.append))
    n = len(seen)
    prior_or_latents = "prior" if stage == "high" else "latents"
    curve = [each.losses[prior_or_latents] for each in seen]
    assert np.mean(curve[-6:]) < 0.9 * np.mean(curve[:6])
    assert report["val_loss"] > 0
    cut = run(request("cut", stop_after=n // 2))
    assert cut["step"] == n // 2
    run(request("cut"))
    whole, again = _all_tensors(tmp_path / "whole"), _all_tensors(tmp_path / "cut")
    assert whole.keys() == again.keys()
    for name, value in whole.items():
        assert torch.equal(value, again[name]), name
    if stage == "high":
        assert report["retrieval"]["n"] == 4
        assert load_backbone(tmp_path / "whole").config.n_voxels == N_VOXELS
        assert load_prior(tmp_path / "whole").config.n_tokens == 5
    else:
        assert load_low_level(tmp_path / "whole").config.maps == 8
        assert load_settings(tmp_path / "whole").has_low_level


def test_the_objective_changes_after_a_third_of_the_passes(nsd: Path, tmp_path: Path) -> None:
    seen: list[float] = []
    kept = losses.soft_clip

    def soft_clip(a: torch.Tensor, b: torch.Tensor, temperature: float) -> torch.Tensor:
        seen.append(round(temperature, 6))
        return kept(a, b, temperature)

    changed = {"passes": 6, "batch_size": 12, "prior_weight": 0, "augment": True}
    table = HIGH | {"training": HIGH["training"] | changed}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "soft_clip", soft_clip)
        request = StageRequest(nsd, tmp_path, table=table, device="cpu", precision="no")
        run_high_level(request)
    # 6 passes: int(0.33 * 6) = 1 with BiMixCo, 5 with SoftCLIP, and the validation's.
    assert seen[:5] == [0.004, *sorted(seen[1:4]), 0.0075]
    assert len(seen) == 6
    assert not (tmp_path / "prior").exists()
    assert not load_settings(tmp_path).has_prior


def test_shards_are_data_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "train" / "train_subj01_0.tar"
    write_shard(path, range(2))
    write_shard(tmp_path / "train" / "train_subj02_0.tar", range(2), n_voxels=9)
    shards = open_split(tmp_path, "train", subject=1)
    assert (len(shards), shards.n_voxels) == (2, N_VOXELS)
    assert shards.voxels(1).shape == (3, N_VOXELS)
    assert shards.picture_id(1) == 1
    with pytest.raises(MindEyeError, match="no samples of subject 5, expected WebDataset shards"):
        open_split(tmp_path, "train", subject=5)
    hostile = tmp_path / "hostile.tar"
    with tarfile.open(hostile, "w") as shard:
        add(shard, "../../x\x1b.jpg", b"no picture")
        add(shard, "../../x\x1b.nsdgeneral.npy", npy(np.array([print], dtype=object)))
    (sample,) = index_shard(hostile)
    assert sample.key == "x?"
    (tmp_path / "val").mkdir()
    hostile.rename(tmp_path / "val" / "hostile.tar")
    with pytest.raises(MindEyeError, match=r"x\?\.nsdgeneral\.npy is no plain array"):
        open_split(tmp_path, "val", subject=1)
    (tmp_path / "short.tar").write_bytes(path.read_bytes()[:700])
    with pytest.raises(MindEyeError, match=r"short\.tar"):
        index_shard(tmp_path / "short.tar")


def test_a_mix_has_no_row_that_is_its_own_partner() -> None:
    generator = torch.Generator().manual_seed(0)
    for n in (2, 3, 12):
        mix = losses.draw_mix(n, generator)
        assert (mix.partner != torch.arange(n)).all()
        assert sorted(mix.partner.tolist()) == list(range(n))
    shares = torch.cat([losses.draw_mix(50, generator).share for _ in range(20)])
    mixed = shares[shares != 1]
    assert 0.4 < len(mixed) / len(shares) < 0.6
    # Beta(0.15, 0.15): half on each side, most of it at the ends.
    assert 0.4 < (mixed < 0.5).float().mean() < 0.6
    assert ((mixed < 0.1) | (mixed > 0.9)).float().mean() > 0.6


def test_augmentation_is_a_function_of_its_generator(nsd: Path) -> None:
    picture = open_split(nsd, "train", subject=1).picture(0)
    seeds = (torch.Generator().manual_seed(i % 20) for i in range(40))
    made = [augmented(picture, draw_changes(generator)) for generator in seeds]
    assert [m.tobytes() for m in made[:20]] == [m.tobytes() for m in made[20:]]
    assert len({m.tobytes() for m in made}) > 5


@pytest.mark.parametrize(
    ("n_voxels", "expected"),
    [(15724, 947_579_904), (14278, 941_657_088), (13039, 936_582_144), (12682, 935_119_872)],
)
def test_the_backbone_has_its_published_size(n_voxels: int, expected: int) -> None:
    with torch.device("meta"):
        backbone = Backbone(BackboneConfig(n_voxels=n_voxels))
    assert sum(p.numel() for p in backbone.parameters()) == expected


def test_a_new_person_takes_a_linear_layer_and_leaves_the_rest(nsd: Path, tmp_path: Path) -> None:
    table = HIGH | {"training": HIGH["training"] | {"passes": 2}}
    base = StageRequest(nsd, tmp_path / "base", table=table, device="cpu", precision="no")
    run_high_level(base)
    write_shard(tmp_path / "data" / "train" / "train_subj02_0.tar", range(8), n_voxels=9)
    table = {
        "data": {"subject": 2, "clip": str(nsd / "clip-vit-large-patch14")},
        "base": str(tmp_path / "base"),
        "training": {"passes": 30, "batch_size": 8, "lr": 1e-2, "augment": False},
    }
    seen: list[Progress] = []
    report = run_person(
        StageRequest(
            tmp_path / "data",
            tmp_path / "person",
            table=table,
            device="cpu",
            precision="no",
            on_step=seen.append,
        )
    )
    assert report["n_trained_parameters"] == 9 * N_VOXELS + N_VOXELS
    assert report["retrieval_of_training_pictures"]["n"] == 8
    contrast = [each.losses["contrast"] for each in seen if each.step > 12]
    assert np.mean(contrast[-4:]) < np.mean(contrast[:4])
    made, before = load_backbone(tmp_path / "person"), load_backbone(tmp_path / "base")
    assert (made.config.n_voxels, made.config.adapter_width) == (9, N_VOXELS)
    for name, value in before.state_dict().items():
        assert torch.equal(value, made.state_dict()[name]), name
    assert made(torch.zeros(2, 9)).tokens.shape == (2, 5, 8)


def test_the_priors_targets_are_mixed_unless_the_fault_is_asked_for(
    nsd: Path, tmp_path: Path
) -> None:
    first = {}
    for mixes in (True, False):
        changed = {"passes": 4, "batch_size": 12, "mix_targets": mixes}
        table = HIGH | {"training": HIGH["training"] | changed}
        out = tmp_path / str(mixes)
        request = StageRequest(nsd, out, table=table, device="cpu", precision="no", stop_after=1)
        first[mixes] = run_high_level(request)["first_losses"]
    assert first[True]["contrast"] == first[False]["contrast"]
    assert first[True]["prior"] != first[False]["prior"]
