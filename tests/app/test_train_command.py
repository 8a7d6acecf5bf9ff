"""`phosphene train` and `phosphene import`: names, settings, one sentence where something lacks."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from app.cli import main
from app.commands.train import ProgressBar
from app.errors import AppError
from app.recordings import read_microvolts
from models.training.loop import Progress
from tests.devices.edf_tools import write_edf

SETTINGS = """
[model]
n_channels = 4
n_times = 64
embed_dim = 16
depth = 1
num_heads = 2
decoder_embed_dim = 8
decoder_depth = 1
decoder_num_heads = 2

[training]
passes = 2
batch_size = 4
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "eeg").mkdir()
    for i in range(6):
        np.save(tmp_path / "eeg" / f"{i}.npy", rng.normal(0, 10, (3, 80)))
    (tmp_path / "settings.toml").write_text(SETTINGS)
    return tmp_path


def _train(folder: Path, *more: str) -> int:
    given = ["--data", str(folder / "eeg"), "--out", str(folder / "out"), *more]
    return main(["train", "dreamdiffusion", "a", *given])


def test_train_writes_an_encoder_and_continues(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("--config", str(folder / "settings.toml"), "--json", "--device", "cpu")
    assert _train(folder, *settings, "--stop-after", "1") == 0
    assert json.loads(capsys.readouterr().out)["step"] == 1
    assert _train(folder, *settings) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["step"] == report["n_steps"] > 1
    assert (Path(report["encoder"]) / "model.safetensors").is_file()


def test_an_encoder_of_another_run_is_not_overwritten(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "out" / "encoder").mkdir(parents=True)
    (folder / "out" / "encoder" / "config.json").write_text("{}")
    settings = ("--config", str(folder / "settings.toml"), "--device", "cpu")
    assert _train(folder, *settings) == 1
    assert "of another run, and nothing is overwritten" in capsys.readouterr().err
    assert (folder / "out" / "encoder" / "config.json").read_text() == "{}"


@pytest.mark.parametrize("system", ["mind-vis", "contrast-attend-diffuse", "dreamdiffusion"])
def test_a_tensor_of_another_shape_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], system: str
) -> None:
    path = folder / "shape.safetensors"
    save_file({"patch_embed.proj.weight": torch.zeros(2, 3)}, path)
    assert main(["import", system, str(path), "--out", str(folder / "out")]) == 1
    assert capsys.readouterr().err == (
        "phosphene import: patch_embed.proj.weight has the shape (2, 3), expected (embed_dim, "
        "n_channels, patch_size): the checkpoint is damaged or another network's.\n"
    )


@pytest.mark.parametrize("axes", [0, 1, 2, 3])
@pytest.mark.parametrize(
    ("system", "names"),
    [
        ("mindeye", ("lin0.0.weight", "lin1.weight")),
        ("mindeye", ("net.null_brain_embeds", "net.learned_query")),
        ("mindeye", ("upsampler.conv_in.weight", "lin0.0.weight", "norm.weight")),
        ("atm", ("encoder.enc_embedding.value_embedding.weight", "enc_eeg.0.tsconv.4.weight")),
        ("atm", ("input_layer.0.weight", "encode_layers.0.0.weight")),
        ("labram", ("time_embed", "cls_token", "blocks.0.attn.q_norm.weight")),
        ("cbramod", ("patch_embedding.spectral_proj.0.weight",)),
        ("steegformer", ("enc_channel_emd.channel_transformation.weight", "cls_token")),
        ("biot", ("patch_embedding.projection.weight", "channel_tokens.weight")),
        ("eegpt", ("target_encoder.summary_token", "target_encoder.chan_embed.weight")),
    ],
)
def test_no_shape_is_taken_for_granted(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    system: str,
    names: tuple[str, ...],
    axes: int,
) -> None:
    path = folder / "shape.safetensors"
    save_file({name: torch.zeros((2,) * axes) for name in names}, path)
    assert main(["import", system, str(path), "--out", str(folder / "out")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("phosphene import: ")
    assert said.count("\n") == 1
    assert "Traceback" not in said


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_says_how_long_it_takes(terminal: bool) -> None:
    clock = iter([0.0, 0.05, 2.0, 40.0, 60.0])
    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    show = ProgressBar(stream, clock=lambda: next(clock))
    for step in (101, 102, 103, 141, 201):
        show(Progress(step, 201, 1e-3, {"loss": 0.5}))
    shown = stream.getvalue()
    assert ("step 103" in shown) == terminal
    assert "step 102" not in shown
    assert "step 141/201 (70%)  1 steps/s, 0:01:00 left  lr 0.001  loss 0.5" in shown
    assert "step 201/201 (100%)" in shown.splitlines()[-1].rpartition("\r")[2]
    assert ("[################........]" in shown) == terminal
    assert shown.count("\n") == (1 if terminal else 3)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["train", "sdxl", "a"], "system 'sdxl' has no training stages, expected one of"),
        (["train", "dreamdiffusion", "z"], "stage of dreamdiffusion 'z' is unknown, expected"),
        (["train", "dreamdiffusion", "b"], "eeg_5_95_std.pth: no such file"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], command: list[str], sentence: str
) -> None:
    assert main([*command, "--data", str(folder), "--out", str(folder / "out")]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert sentence in errors[-1]
    assert errors[-1].startswith("phosphene train: ")


def test_import_names_what_is_missing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "checkpoint.pth"
    assert main(["import", "dreamdiffusion", str(path), "--out", str(folder / "out")]) == 1
    assert f"phosphene import: {path}: no such file" in capsys.readouterr().err
    assert main(["import", "nothing", str(path), "--out", str(folder / "out")]) == 1
    assert "system 'nothing' is unknown, expected one of" in capsys.readouterr().err


def test_recordings_are_read_in_microvolts(tmp_path: Path) -> None:
    import mne

    volts = np.random.default_rng(0).normal(0, 1e-5, (2, 500))
    info = mne.create_info(["O1", "O2"], 250.0, "eeg", verbose="error")
    path = tmp_path / "rest_raw.fif"
    mne.io.RawArray(volts, info, verbose="error").save(path, verbose="error")
    made = read_microvolts(path)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, 1e6 * volts, rtol=1e-4, atol=1e-3)


def test_a_recording_without_a_unit_is_not_taken_for_microvolts(tmp_path: Path) -> None:
    path = tmp_path / "u.edf"
    written = write_edf(path, ["EEG Cz", "EEG Pz"], units=["", ""])
    with pytest.raises(AppError, match=r"u\.edf gives no unit for its EEG.*channels\.tsv"):
        read_microvolts(path)
    write_edf(path, ["EEG Cz", "EEG Pz"], units=["mV", "mV"])
    np.testing.assert_allclose(read_microvolts(path), written * 1e3, rtol=1e-4, atol=10.0)
