"""From raw files to pictures by commands alone: prepare, train, draw, at toy size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.cli import main
from models.atm.generation import ADAPTER_FILE
from models.atm.toy import write_toy_weights
from models.multimodal.modalities import Modality
from models.things_eeg2.montage import CH_NAMES

N_FEATURES, SFREQ = 24, 250
MODEL = "[model]\nfeedforward = 8\n"
PRIOR = "[prior]\nhidden_dim = [16, 8]\ntime_embed_dim = 8\n"
TRAINING = "[training]\npasses = 2\nbatch_size = 8\n"
STAGES = {
    "atm": {"encoder": MODEL + TRAINING, "prior": PRIOR + TRAINING},
    "atm-multimodal": {"train": MODEL + PRIOR + TRAINING},
}


def _raw(path: Path, events: list[int]) -> None:
    rng = np.random.default_rng(len(events))
    data = np.zeros((64, (len(events) + 4) * SFREQ // 2))
    data[:-1] = rng.normal(size=(63, data.shape[1]))
    data[-1, SFREQ // 2 + np.arange(len(events)) * SFREQ // 2] = events
    types = ["eeg"] * 63 + ["stim"]
    names = [*CH_NAMES, "stim"]
    table = {"raw_eeg_data": data, "ch_names": names, "sfreq": SFREQ, "ch_types": types}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, table, allow_pickle=True)


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw files of one subject, prepared by the command, with targets."""
    folder = tmp_path_factory.mktemp("raw")
    for session in ("ses-01", "ses-02"):
        _raw(folder / "sub-01" / session / "raw_eeg_training.npy", [1, 2, 3, 4] * 2)
        _raw(folder / "sub-01" / session / "raw_eeg_test.npy", [1, 2] * 2)
    (folder / "p.toml").write_text("[prepare]\ntest_repetitions = 2\n")
    out = folder / "things"
    given = ["--data", str(folder), "--out", str(out), "--config", str(folder / "p.toml")]
    assert main(["train", "atm", "prepare", *given]) == 0
    features = out / "train" / "features"
    features.mkdir()
    rng = np.random.default_rng(0)
    for name in ("ViT-H-14", *(m.published_name for m in Modality)):
        np.save(features / f"{name}.npy", rng.normal(size=(4, N_FEATURES)).astype(np.float32))
    return out


@pytest.mark.parametrize("system", STAGES)
def test_from_raw_files_to_pictures(system: str, things: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights"
    for stage, settings in STAGES[system].items():
        (tmp_path / f"{stage}.toml").write_text(settings)
        given = ["--data", str(things / "train"), "--out", str(out), "--device", "cpu"]
        more = ["--config", str(tmp_path / f"{stage}.toml")]
        assert main(["train", system, stage, *given, *more]) == 0
    write_toy_weights(tmp_path / "toy", n_features=N_FEATURES)
    shutil.copytree(tmp_path / "toy" / "generator", out / "generator")
    shutil.copy(tmp_path / "toy" / ADAPTER_FILE, out)
    (out / "system.json").write_text(json.dumps({"prior_steps": 2, "size": 64}))
    given = ["--weights", str(out), "--data", str(things / "test"), "--steps", "1"]
    assert main(["generate", system, *given, "--out", str(tmp_path / "pictures")]) == 0
    report = json.loads((tmp_path / "pictures" / "generation.json").read_text())
    assert [item["averaged"] for item in report["items"]] == [4, 4]
    pictures = []
    for item in report["items"]:
        (name,) = item["images"]
        with Image.open(tmp_path / "pictures" / name) as image:
            pictures.append(np.array(image))
    assert pictures[0].shape == (64, 64, 3)
    assert (pictures[0] != pictures[1]).any()
