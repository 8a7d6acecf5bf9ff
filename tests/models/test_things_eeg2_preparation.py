"""Raw THINGS-EEG2 to a training folder, held against MNE's and scikit-learn's own functions."""

from __future__ import annotations

import json
from pathlib import Path

import mne
import numpy as np
import pytest
import torch
from scipy import linalg
from sklearn.covariance import ledoit_wolf
from sklearn.utils import shuffle

from app.cli import main
from models.atm.data import open_epochs
from models.atm.folder import load_encoder
from models.atm.input import network_input
from models.things_eeg2 import epoching
from models.things_eeg2.montage import CH_NAMES, POSTERIOR, SEED
from pipeline.values import Epoch, Info

SFREQ = 500
N_IMAGES, N_TEST = 3, 2
SESSIONS = {1: [1, 2, 99999, 2, 1], 2: [3, 3, 1, 1], 3: [2, 3, 3, 2]}
"""Training events: each picture in two sessions, twice; one catch target."""


def _write_raw(path: Path, events: list[int], rng: np.random.Generator) -> None:
    """A recording in the published layout: volts, channels in another order, codes at the end."""
    onsets = SFREQ + np.arange(len(events)) * SFREQ // 2
    names = [*CH_NAMES[::-1], "stim"]
    data = np.zeros((64, onsets[-1] + 2 * SFREQ))
    data[:-1] = rng.normal(size=(63, data.shape[1])).cumsum(axis=1)
    data[:-1] = 1e-6 * (
        data[:-1] + 3 * np.roll(data[:-1], 1, axis=0) + 5 * rng.normal(size=(63, 1))
    )
    data[-1, onsets] = events
    path.parent.mkdir(parents=True, exist_ok=True)
    types = ["eeg"] * 63 + ["stim"]
    table = {"raw_eeg_data": data, "ch_names": names, "sfreq": SFREQ, "ch_types": types}
    np.save(path, table, allow_pickle=True)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(5)
    folder = tmp_path_factory.mktemp("things")
    for number, events in SESSIONS.items():
        session = folder / "sub-02" / f"ses-{number:02d}"
        _write_raw(session / "raw_eeg_training.npy", events, rng)
        _write_raw(session / "raw_eeg_test.npy", [1, 2, 2, 1], rng)
    (folder / "settings.toml").write_text("[prepare]\ntest_repetitions = 2\n")
    return folder


@pytest.fixture(scope="module")
def prepared(raw: Path) -> Path:
    out = raw / "prepared"
    given = ["--data", str(raw), "--out", str(out), "--config", str(raw / "settings.toml")]
    assert main(["train", "atm", "prepare", *given]) == 0
    return out


def _peer_epochs(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Epochs (n, 63, 250) and their conditions, cut by hand and resampled by MNE's function."""
    table = np.load(path, allow_pickle=True).item()
    order = [table["ch_names"].index(name) for name in CH_NAMES]
    stim = table["raw_eeg_data"][-1]
    onsets = [at for at in np.flatnonzero(stim) if stim[at] != 99999]
    before, after = round(0.2 * SFREQ), round(1.0 * SFREQ)
    cut = np.stack([table["raw_eeg_data"][order, at - before : at + after + 1] for at in onsets])
    cut = cut - cut[..., : before + 1].mean(axis=-1, keepdims=True)
    small = mne.filter.resample(cut, up=250.0, down=SFREQ, npad="auto", pad="edge")
    return small[..., 50:], stim[onsets].astype(int)


def _peer(raw: Path) -> tuple[np.ndarray, np.ndarray]:
    """Merged training epochs (3, 4, 63, 250) and the mean covariance, the published way."""
    pieces: dict[int, list[np.ndarray]] = {c: [] for c in range(1, N_IMAGES + 1)}
    covariances = []
    for number in SESSIONS:
        path = raw / "sub-02" / f"ses-{number:02d}" / "raw_eeg_training.npy"
        values, conditions = _peer_epochs(path)
        each = []
        for condition in np.unique(conditions):
            chosen = values[shuffle(np.flatnonzero(conditions == condition), random_state=SEED)]
            each.append((condition, chosen))
        sigma = np.mean(
            [np.mean([_shrunk(x) for x in chosen], axis=0) for _, chosen in each], axis=0
        )
        covariances.append(sigma)
        inverse = linalg.fractional_matrix_power(sigma, -0.5)
        for condition, chosen in each:
            pieces[condition].append((chosen.swapaxes(1, 2) @ inverse).swapaxes(1, 2))
    joined = np.stack([np.concatenate(parts) for parts in pieces.values()])
    order = shuffle(np.arange(joined.shape[1]), random_state=SEED)
    return joined[:, order], np.mean(covariances, axis=0)


def _shrunk(epoch: np.ndarray) -> np.ndarray:
    """Covariance over time as scikit-learn's discriminant analysis shrinks it."""
    scale = epoch.std(axis=1)
    standard = ((epoch.T - epoch.mean(axis=1)) / scale).astype(float)
    return ledoit_wolf(standard)[0] * np.outer(scale, scale)


def test_raw_files_become_what_mne_and_scikit_learn_make(raw: Path, prepared: Path) -> None:
    expected, covariance = _peer(raw)
    data = open_epochs(prepared / "train", [])
    assert (data.eeg.shape, data.eeg.dtype) == ((12, 63, 250), np.float32)
    assert isinstance(data.eeg, np.memmap)
    assert data.ch_names == CH_NAMES
    np.testing.assert_array_equal(data.image_ids, np.repeat([0, 1, 2], 4))
    np.testing.assert_array_equal(data.subject_ids, [2] * 12)
    np.testing.assert_allclose(data.eeg, expected.reshape(12, 63, 250), rtol=2e-4, atol=2e-4)
    stored = np.load(prepared / "train" / "covariance.npy")
    np.testing.assert_allclose(stored, 1e12 * covariance, rtol=1e-5)  # µV², the file has volts
    test = open_epochs(prepared / "test", [])
    assert test.eeg.shape == (N_TEST * 6, 63, 250)
    assert sorted(path.name for path in prepared.iterdir()) == ["test", "train"]


def test_events_are_cut_some_at_a_time(
    raw: Path, tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoching, "CHUNK", 2)
    given = ["--data", str(raw), "--config", str(raw / "settings.toml")]
    assert main(["train", "atm", "prepare", *given, "--out", str(tmp_path)]) == 0
    for name in ("train/eeg.npy", "test/eeg.npy", "test/image_ids.npy"):
        np.testing.assert_array_equal(np.load(tmp_path / name), np.load(prepared / name))


def test_the_encoder_whitens_live_epochs_as_its_training_data(
    raw: Path, prepared: Path, tmp_path: Path
) -> None:
    features = prepared / "train" / "features"
    features.mkdir(exist_ok=True)
    np.save(features / "ViT-H-14.npy", np.eye(N_IMAGES, 8, dtype=np.float32))
    (tmp_path / "a.toml").write_text("[model]\nfeedforward = 8\n[training]\npasses = 1\n")
    given = ["--data", str(prepared / "train"), "--config", str(tmp_path / "a.toml")]
    assert main(["train", "atm", "encoder", *given, "--out", str(tmp_path), "--device", "cpu"]) == 0
    _, facts, whitening = load_encoder(tmp_path / "encoder")
    assert facts.ch_names == CH_NAMES
    assert whitening is not None
    covariance = torch.from_numpy(np.load(prepared / "train" / "covariance.npy")).float()
    white = whitening @ covariance @ whitening.T
    torch.testing.assert_close(white, torch.eye(63), rtol=0, atol=1e-2)
    # One live epoch in microvolts, of another order of channels, against the training path.
    table = np.load(raw / "sub-02/ses-02/raw_eeg_training.npy", allow_pickle=True).item()
    at = int(np.flatnonzero(table["raw_eeg_data"][-1])[0])
    cut = table["raw_eeg_data"][:-1, at - 100 : at + 501] * 1e6
    cut = cut - cut[:, :101].mean(axis=1, keepdims=True)
    info = Info(tuple(table["ch_names"][:-1]), float(SFREQ))
    live = network_input(
        Epoch(cut.astype(np.float32), tmin=-0.2, tmax=1.0, t_onset=0, event="", info=info, index=0),
        ch_names=facts.ch_names,
        sfreq=250.0,
        n_times=250,
        whitening=whitening.numpy(),
    )
    offline, _ = _peer_epochs(raw / "sub-02/ses-02/raw_eeg_training.npy")
    expected = whitening.numpy() @ (offline[0] * 1e6)
    assert np.corrcoef(live.ravel(), expected.ravel())[0, 1] > 0.99


def test_preprocessed_files_and_several_subjects_go_into_one_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kept = {}
    for number in (1, 10):
        folder = tmp_path / "data" / f"sub-{number:02d}"
        folder.mkdir(parents=True)
        for part, shape in (("training", (4, 2, 63, 250)), ("test", (2, 3, 63, 250))):
            data = rng.normal(size=shape)
            times = np.linspace(-0.2, 0.996, 300)
            table = {"preprocessed_eeg_data": data, "ch_names": list(CH_NAMES), "times": times}
            np.save(folder / f"preprocessed_eeg_{part}.npy", table, allow_pickle=True)
            kept[number, part] = data
    out = tmp_path / "out"
    assert (
        main(["train", "atm", "prepare", "--data", str(tmp_path / "data"), "--out", str(out)]) == 0
    )
    train = open_epochs(out / "train", [])
    np.testing.assert_allclose(train.eeg[:8], kept[1, "training"].reshape(8, 63, 250), rtol=1e-6)
    np.testing.assert_allclose(train.eeg[8:], kept[10, "training"].reshape(8, 63, 250), rtol=1e-6)
    np.testing.assert_array_equal(train.subject_ids, [1] * 8 + [10] * 8)
    assert not (out / "train" / "covariance.npy").exists()


def test_posterior_channels_are_whitened_among_themselves(raw: Path, tmp_path: Path) -> None:
    settings = tmp_path / "p.toml"
    settings.write_text('[prepare]\npicks = "posterior"\ntest_repetitions = 2\nsubjects = [2]\n')
    given = ["--data", str(raw), "--config", str(settings), "--out", str(tmp_path / "out")]
    assert main(["train", "atm", "prepare", *given]) == 0
    data = open_epochs(tmp_path / "out" / "train", [])
    assert data.ch_names == POSTERIOR
    assert data.eeg.shape == (12, 17, 250)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("subjects = [3]", "sub-03: no such folder, expected THINGS-EEG2"),
        ("test_repetitions = 20", "raw_eeg_test.npy: condition 1 has 2 repetitions, expected 20"),
        ("mode = 'epochs'", "settings: prepare.mode = 'epochs'"),
    ],
)
def test_what_cannot_be_prepared_is_one_sentence(
    settings: str, sentence: str, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.toml").write_text(f"[prepare]\n{settings}\n")
    given = ["--data", str(raw), "--config", str(tmp_path / "p.toml"), "--out", str(tmp_path / "o")]
    assert main(["train", "atm", "prepare", *given]) == 1
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "o" / "scratch").exists()


def test_the_report_names_the_folders(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", str(raw), "--config", str(raw / "settings.toml"), "--out", str(tmp_path)]
    assert main(["train", "atm", "prepare", *given, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == {
        "train": str(tmp_path / "train"),
        "test": str(tmp_path / "test"),
        "train_epochs": 12,
        "test_epochs": 12,
    }
