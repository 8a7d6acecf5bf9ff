"""The published preprocessing, the data set's files, and its honest split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.checkpoints import CheckpointError, load_checkpoint
from models.dreamdiffusion.imagenet40 import (
    item_of,
    kept_indices,
    leave_block_out,
    read_split,
    read_trials,
)
from models.dreamdiffusion.items import N_CHANNELS, N_TIMES, paired_item, pretrain_item
from models.training.errors import DatasetError
from tests.models import golden
from tests.models.hostile_pickle import Hostile


@pytest.mark.golden
def test_paired_items() -> None:
    file = golden.load("dreamdiffusion_item")
    for length in file.arguments["lens"]:
        made = paired_item(file.inputs[f"eeg_{length}"].numpy())
        assert made.dtype == np.float32
        file.check(f"item_{length}", made)


@pytest.mark.golden
def test_choice_of_trials() -> None:
    file = golden.load("dreamdiffusion_item")
    given = file.arguments
    lengths = [
        length
        for length, subject in zip(given["seg_lengths"], given["seg_subjects"], strict=True)
        if subject == given["subject"]
    ]
    file.check("filtered_count", torch.tensor(len(lengths)))
    file.check("split_kept_indices", torch.tensor(kept_indices(lengths, given["split"])))


@pytest.mark.golden
def test_pretrain_items() -> None:
    file = golden.load("dreamdiffusion_pretrain_item")
    for i, (shape, drawn) in enumerate(
        zip(file.arguments["shapes"], file.arguments["draws"], strict=True)
    ):
        draws = iter(drawn)
        made = pretrain_item(
            file.inputs[f"rec_{i}"].numpy(),
            start=next(draws) if shape[1] > N_TIMES else 0,
            first_channel=next(draws) if shape[0] > N_CHANNELS else 0,
        )
        file.check(f"item_{i}", made)


def _write(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A small file in the layout of `eeg_5_95_std.pth`: 2 subjects, 6 classes, 3 images each."""
    generator = torch.Generator().manual_seed(0)
    dataset = [
        {
            "eeg": torch.randn(8, 500, generator=generator),
            "image": label * 3 + image,
            "label": label,
            "subject": subject,
        }
        for subject in (1, 4)
        for label in range(6)
        for image in range(3)
    ]
    content = {
        "dataset": dataset,
        "labels": [f"n{i:08d}" for i in range(6)],
        "images": [f"n{i // 3:08d}_{i}" for i in range(18)],
    }
    return _write(tmp_path / "eeg_5_95_std.pth", content)


def test_reads_the_published_files(recording: Path, tmp_path: Path) -> None:
    trials = read_trials(recording)
    assert len(trials) == 18
    assert {trial.subject for trial in trials} == {4}
    assert (trials[4].image, trials[4].label) == ("n00000001_4", "n00000001")
    assert item_of(trials[0]).shape == (8, 512)
    assert len(read_trials(recording, subject=0)) == 36
    split = _write(tmp_path / "split.pth", {"splits": [{"train": [0, 2], "val": [1], "test": [3]}]})
    assert read_split(split, "train") == [0, 2]


def test_a_split_of_other_subjects_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"trial 3 of 3: it belongs to another choice"):
        kept_indices([500, 500, 500], [0, 3])


def test_no_block_is_in_two_parts(recording: Path) -> None:
    trials = read_trials(recording, subject=0)
    seen: set[int] = set()
    for fold in range(3):
        parts = leave_block_out(trials, n_folds=3, fold=fold)
        blocks = [{(trials[i].subject, trials[i].label) for i in part} for part in parts.values()]
        assert sum(len(each) for each in blocks) == len(set.union(*blocks)) == 12
        assert sorted(i for part in parts.values() for i in part) == list(range(36))
        seen.update(parts["test"])
    assert seen == set(range(36))


def test_code_in_a_checkpoint_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "checkpoint.pth", {"model": {}, "extra": Hostile(tmp_path / "ran")})
    with pytest.raises(CheckpointError, match=r"refused, since reading it could run code") as info:
        load_checkpoint(path)
    assert "\n" not in str(info.value)
    assert not (tmp_path / "ran").exists()


def test_a_pickled_settings_object_is_read_without_its_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys
    import types

    module = types.ModuleType("config")
    kind = type("Config_MBM_EEG", (), {"__module__": "config", "__qualname__": "Config_MBM_EEG"})
    module.Config_MBM_EEG = kind  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "config", module)
        settings = kind()
        settings.embed_dim = 1024
        content = {"model": {"weight": torch.ones(2)}, "config": settings}
        path = _write(tmp_path / "checkpoint.pth", content)
    loaded = load_checkpoint(path)
    assert torch.equal(loaded["model"]["weight"], torch.ones(2))
    assert vars(loaded["config"]) == {"embed_dim": 1024}
    assert not isinstance(loaded["config"], kind)


@pytest.mark.parametrize("name", ["checkpoint.pth", "checkpoint.safetensors"])
def test_a_damaged_checkpoint_gives_one_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(CheckpointError, match="no such file"):
        load_checkpoint(path)
    path.write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(CheckpointError) as info:
        load_checkpoint(path)
    assert "\n" not in str(info.value)
