"""Stage A trains, and a killed run that is continued is the run that was not killed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from configs.published import MaskedAutoencoderConfig, MaskedTrainingConfig
from models.dreamdiffusion.recordings import open_folder
from models.masked_autoencoder.folder import load_trained_encoder, save_autoencoder
from models.masked_autoencoder.training import MaskedModelling, fresh_autoencoder, loop_config
from models.training import make_engine, train
from models.training.draws import Draws
from models.training.errors import DatasetError, TrainingError
from models.training.loop import Progress
from models.training.state import list_runs

SIZES = MaskedAutoencoderConfig(
    n_channels=8,
    n_times=64,
    embed_dim=32,
    depth=2,
    num_heads=4,
    decoder_embed_dim=16,
    decoder_depth=1,
    decoder_num_heads=4,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rhythms of several frequencies, some files long, some with few channels."""
    rng = np.random.default_rng(0)
    for i in range(12):
        time = np.arange((64, 200, 40)[i % 3])
        wave = np.sin(time[None] * (0.1 + 0.05 * (i % 4)) + rng.uniform(0, 6, (1 + i, 1)))
        (tmp_path / "eeg" / f"s{i % 2}").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "eeg" / f"s{i % 2}" / f"{i}.npy", 10 * wave)
    return tmp_path / "eeg"


def _task(
    folder: Path, *, passes: int, batch_size: int = 4
) -> tuple[MaskedModelling, MaskedTrainingConfig]:
    training = MaskedTrainingConfig(
        passes=passes,
        warmup_passes=1,
        batch_size=batch_size,
        lr=5e-3,
        gradient_accumulation_steps=2,
    )
    recordings = open_folder(folder, n_channels=8, n_times=64)
    autoencoder = fresh_autoencoder(SIZES, seed=0)
    return MaskedModelling(recordings, autoencoder=autoencoder, training=training), training


def test_loss_falls(folder: Path, tmp_path: Path) -> None:
    task, training = _task(folder, passes=30)
    seen: list[Progress] = []
    report = train(
        task,
        loop_config(training, seed=0),
        engine=make_engine(device="cpu"),
        out=tmp_path / "out",
        on_step=seen.append,
    )
    assert report["step"] == report["n_steps"] == len(seen)
    first = np.mean([each.losses["loss"] for each in seen[:5]])
    last = np.mean([each.losses["loss"] for each in seen[-5:]])
    assert last < 0.7 * first
    save_autoencoder(task.autoencoder, tmp_path / "encoder")
    encoder = load_trained_encoder(tmp_path / "encoder", made_by="train")
    assert torch.equal(encoder.blocks[0].norm1.weight, task.autoencoder.blocks[0].norm1.weight)


class _KilledError(Exception):
    pass


def test_a_killed_run_continues_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    engine = make_engine(device="cpu")
    whole, training = _task(folder, passes=4)
    config = loop_config(training, seed=3)
    train(whole, config, engine=engine, out=tmp_path / "whole")

    def kill(progress: Progress) -> None:
        if progress.step == 5:
            raise _KilledError

    broken, _ = _task(folder, passes=4)
    with pytest.raises(_KilledError):
        train(broken, config, engine=engine, out=tmp_path / "b", save_every=2, on_step=kill)
    assert [path.name for path in list_runs(tmp_path / "b")] == ["step-00000002", "step-00000004"]
    continued, _ = _task(folder, passes=4)
    steps: list[int] = []
    train(
        continued, config, engine=engine, out=tmp_path / "b", on_step=lambda p: steps.append(p.step)
    )
    assert steps[0] == 5
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, continued.module.state_dict()[name]), name


def test_a_checkpoint_of_other_settings_is_refused(folder: Path, tmp_path: Path) -> None:
    engine = make_engine(device="cpu")
    task, training = _task(folder, passes=2)
    train(task, loop_config(training, seed=0), engine=engine, out=tmp_path / "o", stop_after=1)
    with pytest.raises(TrainingError, match=r"of another run \(loop differ\)"):
        train(task, loop_config(training, seed=1), engine=engine, out=tmp_path / "o")


def test_a_folder_without_signals_gives_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no signal"):
        open_folder(tmp_path, n_channels=8, n_times=64)
    np.save(tmp_path / "bad.npy", np.zeros(3))
    with pytest.raises(DatasetError, match=r"expected numbers \(n_channels, n_times\)"):
        open_folder(tmp_path, n_channels=8, n_times=64)


def test_a_reader_brings_any_format(tmp_path: Path) -> None:
    (tmp_path / "a.edf").write_text("not read by models")
    signals = open_folder(
        tmp_path,
        n_channels=8,
        n_times=64,
        reader=lambda path: np.full((4, 640), 20.0),
        suffixes=(".edf",),
        cache=tmp_path / "cache",
    )
    assert len(signals) == 10
    batch = signals.batch(np.arange(3), Draws.of(np.arange(3), 0))
    assert batch.shape == (3, 8, 64)
    assert torch.equal(batch, torch.full_like(batch, 2.0))
