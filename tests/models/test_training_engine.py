"""Precision, averages, accumulation, processes, trackers: each keeps the run what it was."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.distributed import DistBackendError

from configs.published import MaskedAutoencoderConfig, MaskedTrainingConfig
from models.atm.data import write_epochs
from models.dreamdiffusion.recordings import RecordingFolder, open_folder
from models.masked_autoencoder.training import MaskedModelling, fresh_autoencoder, loop_config
from models.registry import find_entry, find_system
from models.stages import StageRequest
from models.training import LoopConfig, make_engine, sharding, train
from models.training.draws import Draws
from models.training.engine import choose_precision, others_reachable
from models.training.errors import TrainingError
from models.training.state import list_runs
from tests.models.line import Line
from tests.models.test_training import SIZES

ROOT = Path(__file__).resolve().parents[2]


def _stage(system: str, stage: str) -> Callable[..., Any]:
    return find_entry(find_system(system).descriptor.stages, stage, what="stage")


def _modelling() -> MaskedModelling:
    rng = np.random.default_rng(0)
    times = np.arange(200)
    waves = [10 * np.sin(times * (0.1 + 0.02 * i) + rng.uniform(0, 6, (8, 1))) for i in range(9)]
    training = MaskedTrainingConfig(passes=50, warmup_passes=1, batch_size=8, lr=3e-3)
    recordings = RecordingFolder(waves, n_channels=8, n_times=64)
    return MaskedModelling(
        recordings, autoencoder=fresh_autoencoder(SIZES, seed=0), training=training
    )


def _losses(
    out: Path,
    *,
    precision: str,
    stop_after: int,
    ema_decay: float = 0.0,
    save_every: int = 1000,
    resume: Path | None = None,
) -> list[float]:
    task = _modelling()
    config = LoopConfig(passes=50, batch_size=8, max_grad_norm=0.8, ema_decay=ema_decay)
    seen: list[float] = []
    train(
        task,
        config,
        engine=make_engine(precision=choose_precision(precision), device="cpu"),
        out=out,
        stop_after=stop_after,
        save_every=save_every,
        resume=resume,
        on_step=lambda at: seen.append(at.losses["loss"]),
    )
    return seen


def _newest(out: Path, name: str = "trained") -> dict[str, torch.Tensor]:
    return load_file(list_runs(out)[-1] / f"{name}.safetensors")


def test_bf16_follows_float32(tmp_path: Path) -> None:
    exact = _losses(tmp_path / "no", precision="no", stop_after=25)
    low = _losses(tmp_path / "bf16", precision="bf16", stop_after=25)
    assert exact != low  # else bf16 was never on
    np.testing.assert_allclose(low, exact, rtol=0.03)
    assert low[-1] < 0.8 * low[0]
    assert {v.dtype for v in _newest(tmp_path / "bf16").values()} == {torch.float32}


@pytest.mark.parametrize("settings", [{"precision": "bf16"}, {"ema_decay": 0.9}])
def test_a_cut_run_ends_in_the_same_weights(settings: dict[str, object], tmp_path: Path) -> None:
    given = {"precision": "no", **settings}
    _losses(tmp_path / "whole", stop_after=7, **given)
    _losses(tmp_path / "cut", stop_after=4, **given)
    _losses(tmp_path / "cut", stop_after=7, **given)
    names = ["trained", "optimizer", *(["average"] if "ema_decay" in settings else [])]
    for name in names:
        expected = _newest(tmp_path / "whole", name)
        assert expected
        for key, value in _newest(tmp_path / "cut", name).items():
            assert torch.equal(value, expected[key]), key


def test_any_checkpoint_can_be_continued_not_only_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _losses(tmp_path, precision="no", stop_after=6, save_every=3)
    expected = _newest(tmp_path)
    first, _ = list_runs(tmp_path)
    assert len(_losses(tmp_path, precision="no", stop_after=6, resume=first)) == 3
    for key, value in _newest(tmp_path).items():
        assert torch.equal(value, expected[key]), key
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        _losses(tmp_path, precision="no", stop_after=6, resume=first)
    kept = tmp_path / "checkpoints" / ".step-00000006.before" / "trained.safetensors"
    assert load_file(kept).keys() == expected.keys()  # what was there before is not gone


def test_tied_weights_stay_one_when_shards_are_made_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "DTensor", torch.Tensor)  # in one process nothing is divided
    monkeypatch.setattr(sharding, "whole", lambda value: value.clone())
    first, second = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    second.weight = first.weight
    before = first.weight
    sharding.unshard(torch.nn.Sequential(first, second))
    assert first.weight is second.weight is not before
    assert first.bias is not second.bias


def test_precision_is_chosen_by_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    able: dict[str, bool] = {}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert choose_precision("auto", "cpu") == "no"
    able["avx512_bf16"] = True
    assert choose_precision("auto", "cpu") == "bf16"
    assert choose_precision("no", "cpu") == "no"
    assert choose_precision("bf16", "cpu") == "bf16"
    with pytest.raises(TrainingError, match="precision 'fp16' is unknown"):
        choose_precision("fp16")


def test_another_precision_is_another_run(tmp_path: Path) -> None:
    _losses(tmp_path, precision="no", stop_after=1)
    with pytest.raises(TrainingError, match=r"of another run \(precision differ\)"):
        _losses(tmp_path, precision="bf16", stop_after=2)


def test_the_average_is_kept_and_handed_on(tmp_path: Path) -> None:
    task = Line()
    weights: list[torch.Tensor] = []
    config = LoopConfig(passes=1, batch_size=4, ema_decay=0.5)
    train(
        task,
        config,
        engine=make_engine(device="cpu"),
        out=tmp_path,
        on_step=lambda _: weights.append(task.module.weight.detach().clone()),
    )
    mean = Line().module.weight.detach().clone()
    for step, weight in enumerate(weights, start=1):
        decay = min(0.5, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * weight
    torch.testing.assert_close(task.module.weight.detach(), mean)
    torch.testing.assert_close(_newest(tmp_path, "average")["weight"], mean)
    torch.testing.assert_close(_newest(tmp_path)["weight"], weights[-1])


def test_accumulated_batches_are_one_large_batch(tmp_path: Path) -> None:
    made = []
    for n_parts in (1, 4):
        config = LoopConfig(passes=3, batch_size=16 // n_parts, gradient_accumulation_steps=n_parts)
        task = Line()
        train(task, config, engine=make_engine(device="cpu"), out=tmp_path / str(n_parts))
        made.append(task.module.weight.detach())
    assert not torch.equal(made[0], Line().module.weight)
    torch.testing.assert_close(made[1], made[0], rtol=1e-5, atol=1e-6)


def test_an_absent_tracker_is_not_left_out_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("accelerate", reason="a tracker needs phosphene[train]")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(TrainingError, match="the tracker wandb is not installed"):
        make_engine(tracker="wandb", folder="unused", device="cpu")


def test_a_launch_that_would_not_be_whole_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match=r"DeepSpeed or Megatron here: launch it with --multi"):
        make_engine(device="cpu")


def test_a_process_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    # As gloo and NCCL say it; what is no collective's stays what it is.
    for error in (RuntimeError("[gloo/x.cc:5] closed. Bye"), DistBackendError("y")):
        with (
            pytest.raises(
                TrainingError, match=r"another process .*\((closed|y)\).* same command goes on"
            ),
            others_reachable(tmp_path),
        ):
            raise error
    with pytest.raises(RuntimeError, match=r"^shapes$"), others_reachable(tmp_path):
        raise RuntimeError("shapes")


def test_only_the_first_process_writes_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    ids = np.arange(4)
    write_epochs(
        tmp_path / "data",
        eeg=rng.normal(size=(4, 2, 80)).astype(np.float32),
        image_ids=ids,
        subject_ids=0 * ids,
        features={"ViT-H-14": rng.normal(size=(4, 8))},
        ch_names=("O1", "O2"),
    )
    stage = _stage("atm", "encoder")
    table = {"training": {"passes": 1, "batch_size": 4, "validation_fraction": 0}}
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        out = tmp_path / rank
        stage(StageRequest(data=tmp_path / "data", out=out, table=table, device="cpu"))
        assert (out / "encoder").exists() == (rank == "0")


def test_validation_shares_no_sample_with_training() -> None:
    # Each sample of each file has a value of its own.
    lengths = [64 * 45, *([70] * 41), 64 * 3, 64 * 3]
    starts = np.cumsum([0, *lengths[:-1]])
    files = [
        np.arange(a, a + n, dtype=np.float64)[None] for a, n in zip(starts, lengths, strict=True)
    ]
    parts = RecordingFolder(files, n_channels=1, n_times=64).split(20)
    seen = []
    for part in parts:
        windows = [
            part.batch(np.arange(len(part)), Draws.of(np.arange(len(part)), seed))
            for seed in range(9)
        ]
        seen.append({round(10 * v) for v in torch.cat(windows).flatten().tolist()})
    assert not seen[0] & seen[1]
    assert len(parts[1]) / (len(parts[0]) + len(parts[1])) == pytest.approx(1 / 20, abs=0.02)
    assert len(RecordingFolder(files[1:4], n_channels=1, n_times=64).split(20)[1]) == 0


def test_a_corpus_larger_than_memory_is_read_where_it_lies(tmp_path: Path) -> None:
    shape = (128, 2**27)  # 69 GB, of which the disk holds a page
    path = tmp_path / "long.npy"
    with path.open("wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        n_header = stream.tell()
    try:
        os.truncate(path, n_header + 4 * shape[0] * shape[1])
    except OSError as error:
        pytest.skip(f"this file system has no sparse files ({error})")
    with path.open("r+b") as stream:
        stream.seek(n_header)
        stream.write(np.full(512, 50.0, dtype=np.float32).tobytes())
    recordings = open_folder(tmp_path, n_channels=128, n_times=512)
    task = MaskedModelling(
        recordings,
        autoencoder=fresh_autoencoder(
            MaskedAutoencoderConfig(embed_dim=16, depth=1, num_heads=2, decoder_depth=1), seed=0
        ),
        training=MaskedTrainingConfig(),
    )
    assert task.n_train + task.n_val == 2**27 // 512
    items = np.array([0, task.n_train - 1])
    batch = task.batch(items, Draws.of(items, 0), training=True)
    assert batch["signal"].shape == (2, 128, 512)
    assert loop_config(MaskedTrainingConfig(ema_decay=0.5), seed=0).ema_decay == 0.5
