"""Every stage of both systems from its command, on the published shapes; a run that is killed."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from app.cli import main
from models.atm.data import write_epochs
from models.dreamdiffusion.imagenet40 import leave_block_out, read_trials
from models.multimodal.modalities import Modality
from models.things_eeg2.montage import CH_NAMES
from tests.forking import run_program
from tests.models.imagenet40_files import write_stage_b_files

SMALL_A = """
[model]
embed_dim = 32
depth = 2
num_heads = 4
decoder_embed_dim = 16
decoder_depth = 1
decoder_num_heads = 4
[training]
passes = 30
warmup_passes = 1
batch_size = 8
lr = 5e-3
"""
SMALL_B = """
[data]
side = 64
num_heads = 4
{data}
[training]
passes = {passes}
batch_size = 9
lr = 2e-3
[condition]
image_embed_dim = 16
"""


def _train(
    capsys: pytest.CaptureFixture[str], system: str, stage: str, *, settings: str, **paths: Path
) -> tuple[dict[str, Any], str]:
    """Run `phosphene train SYSTEM STAGE`; the report, and what was said beside it."""
    config = paths["out"].with_suffix(".toml")
    config.write_text(settings)
    given = ["--data", str(paths["data"]), "--out", str(paths["out"]), "--config", str(config)]
    assert main(["train", system, stage, *given, "--device", "cpu", "--json"]) == 0
    captured = capsys.readouterr()
    report: dict[str, Any] = json.loads(captured.out)
    if "losses" in report:
        assert report["step"] == report["n_steps"]
    return report, captured.err


def _write_recordings(folder: Path) -> Path:
    """Rhythms of published shape: 128 channels, some windows of 512 samples."""
    rng = np.random.default_rng(1)
    folder.mkdir()
    times = np.arange(1300)
    offsets = rng.normal(0, 20, (128, 1))  # of the electrodes: what is learnt first
    for i in range(10):
        waves = offsets + 5 * np.sin(times * (0.02 + 0.002 * i) + rng.uniform(0, 6))
        np.save(folder / f"{i}.npy", waves.astype(np.float32))
    return folder


@pytest.mark.slow
def test_a_then_b_then_live_then_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, _ = _train(
        capsys,
        "dreamdiffusion",
        "a",
        data=_write_recordings(tmp_path / "eeg"),
        out=tmp_path / "a",
        settings=SMALL_A,
    )
    assert a["losses"]["loss"] < 0.7 * a["first_losses"]["loss"]
    data = tmp_path / "imagenet40"
    data.mkdir()
    write_stage_b_files(data, n_channels=128)
    settings = SMALL_B.format(data=f'encoder = "{a["encoder"]}"', passes=8)
    b, said = _train(
        capsys, "dreamdiffusion", "b", data=data, out=tmp_path / "b", settings=settings
    )
    assert b["losses"]["loss"] < 0.9 * b["first_losses"]["loss"]
    assert "warning: EEG-ImageNet40 was recorded in blocks" in said
    session, made = tmp_path / "session", tmp_path / "made"
    demo = ["demo", "--fast", "--headless", "--preset", "dreamdiffusion-toy", "--duration", "3"]
    assert main([*demo, "--seed", "3", "--out", str(session)]) == 0
    draw = ["generate", "dreamdiffusion", "--weights", b["model"], "--data", str(session)]
    assert main([*draw, "--steps", "2", "--picks", "0-1", "--out", str(made)]) == 0
    events = [json.loads(line) for line in (session / "events.jsonl").read_text().splitlines()]
    assert [event["outcome"] for event in events] == ["decoded"] * len(events)
    assert len(events) >= 2
    pictures = [np.array(Image.open(path)) for path in sorted(made.rglob("0*.png"))]
    assert len(pictures) == 2
    assert (pictures[0] != pictures[1]).any()


@pytest.mark.slow
def test_the_control_holds_whole_classes_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_stage_b_files(tmp_path, n_channels=128)
    (tmp_path / "block_splits_by_image_single.pth").unlink()
    # Blocks of one subject are classes: that of the test part is not so much as opened.
    trials = read_trials(tmp_path / "eeg_5_95_std.pth")
    for index in leave_block_out(trials)["test"]:
        name = trials[index].image
        (tmp_path / "imageNet_images" / name.split("_")[0] / f"{name}.JPEG").unlink()
    settings = SMALL_B.format(
        data='encoder = "none"\nsplit = "leave-block-out"\nsubject = 4', passes=1
    )
    settings += "[model]\nembed_dim = 32\ndepth = 1\nnum_heads = 4\n"
    report, said = _train(
        capsys, "dreamdiffusion", "b", data=tmp_path, out=tmp_path / "b", settings=settings
    )
    assert report["split"] == "leave-block-out"
    assert report["val_loss"] > 0
    assert "measure block identity" in said


@pytest.mark.slow
def test_stages_of_the_atm_family(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(7)
    image_ids = np.repeat(np.arange(16), 4)
    patterns = rng.normal(size=(16, 63, 250))
    names = ("ViT-H-14", *(m.published_name for m in Modality))
    write_epochs(
        tmp_path / "data",
        eeg=(patterns[image_ids] + rng.normal(size=(64, 63, 250))).astype(np.float32),
        image_ids=image_ids,
        subject_ids=np.ones(64, np.int64),
        features={name: rng.normal(size=(16, 1024)).astype(np.float32) for name in names},
        ch_names=CH_NAMES,
    )
    common = {"data": tmp_path / "data"}
    reports = [
        _train(
            capsys,
            "atm",
            "encoder",
            out=tmp_path / "atm",
            settings="[training]\npasses = 6\nbatch_size = 32\nlr = 1e-3\n",
            **common,
        )[0],
        _train(
            capsys,
            "atm",
            "prior",
            out=tmp_path / "atm-prior",
            settings=f'encoder = "{tmp_path / "atm" / "encoder"}"\n'
            "[prior]\nhidden_dim = [64, 32]\n[training]\npasses = 40\nlr = 5e-3\n",
            **common,
        )[0],
        _train(
            capsys,
            "atm-multimodal",
            "train",
            out=tmp_path / "multimodal",
            settings="[prior]\nhidden_dim = [64, 32]\n[training]\npasses = 3\nlr = 2e-3\n",
            **common,
        )[0],
    ]
    for report in reports:
        assert report["losses"]["loss"] < 0.97 * report["first_losses"]["loss"], report


KILLED = """
import os
import signal

from app.cli import main
from models.training import loop

plain, n_saved = loop.save_run, 0


def save_run(*args, **options):
    global n_saved
    plain(*args, **options)
    n_saved += 1
    if n_saved == 2:
        os.kill(os.getpid(), signal.SIGKILL)


loop.save_run = save_run
main({command!r})
"""


def test_a_killed_command_continues_to_the_same_weights(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL_A.replace("passes = 30", "passes = 6"))
    data = _write_recordings(tmp_path / "eeg")
    given = ["--data", str(data), "--config", str(tmp_path / "small.toml"), "--device", "cpu"]
    command = ["train", "dreamdiffusion", "a", *given, "--save-every", "2", "--out"]
    killed = KILLED.format(command=[*command, str(tmp_path / "killed")])
    exit_code, said = run_program(killed, tmp_path, OMP_NUM_THREADS="1")
    assert exit_code == -signal.SIGKILL, said
    assert len(list((tmp_path / "killed" / "checkpoints").glob("step-*"))) == 2
    assert not (tmp_path / "killed" / "encoder").exists()
    torch.set_num_threads(1)
    assert main([*command, str(tmp_path / "killed")]) == 0
    assert main([*command, str(tmp_path / "whole")]) == 0
    weights = [tmp_path / name / "encoder" / "model.safetensors" for name in ("killed", "whole")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
