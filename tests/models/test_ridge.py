"""The linear baseline of fMRI: it is ridge regression, finds what is there, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge as Reference

from app.recordings import read_epochs
from configs import DecoderConfig
from devices.files.volumes import write_npz
from devices.virtual.scanner import ScanSettings, simulate_scan
from models.ridge.decoder import RidgeFacts, load_encoder, load_ridge, save_ridge
from models.ridge.fitting import Fitted, RidgeError, fit_ridge
from models.ridge.stage import run_fit
from models.stages import StageRequest
from pipeline.errors import ConfigurationError, PhospheneError
from pipeline.gallery import load_gallery
from pipeline.values import Float32
from pipeline.virtual_volumes import VirtualScan

ALPHAS = (0.01, 0.1, 1.0, 10.0)


def _trials(snr: float, *, n: int = 120, seed: int = 0) -> tuple[Float32, Float32, np.ndarray]:
    gallery = load_gallery(None).subset(kind="upright")
    rows = np.random.default_rng(seed).permutation(len(gallery))[:n]
    scan = VirtualScan(300, gallery.n_features, snr=snr, seed=seed)
    voxels = np.stack([scan.respond(gallery.embeddings[row]) for row in rows])
    return voxels, gallery.embeddings[rows], rows


def _fit(snr: float, **options: int) -> Fitted:
    return fit_ridge(*_trials(snr, **options), alphas=ALPHAS)


def test_it_is_ridge_regression() -> None:
    voxels, targets, rows = _trials(1.0)
    found = fit_ridge(voxels, targets, rows, alphas=[0.1])
    standard = (voxels - voxels.mean(axis=0)) / voxels.std(axis=0)
    reference = Reference(alpha=0.1 * voxels.shape[1]).fit(standard, targets)
    mine, theirs = found.ridge.predict(voxels), reference.predict(standard)
    factor = (mine * theirs).sum() / (theirs**2).sum()
    np.testing.assert_allclose(mine, factor * theirs, atol=1e-5)


def test_it_finds_the_simulated_code_and_nothing_at_snr_0() -> None:
    sure, blind = _fit(2.0), _fit(0.0)
    assert sure.pairwise > 0.9
    assert sure.agreement > 0.5
    # 120 stimuli held out: the pairwise share's standard error is about 0.026 at chance.
    assert abs(blind.pairwise - 0.5) < 0.08
    assert blind.agreement < 0.1
    length = np.linalg.norm(blind.ridge.predict(_trials(0.0, seed=1)[0]), axis=1).mean()
    assert length < 0.2  # it says that it knows nothing


def test_a_voxel_that_never_changes_counts_for_nothing() -> None:
    voxels, targets, rows = _trials(1.0)
    voxels[:, 7] = 3.0
    found = fit_ridge(voxels, targets, rows, alphas=ALPHAS).ridge
    assert found.scale[7] == 0
    other = voxels.copy()
    other[:, 7] = 1e6
    np.testing.assert_array_equal(found.predict(voxels), found.predict(other))


def test_too_few_trials_are_refused() -> None:
    with pytest.raises(RidgeError, match="12 trials of 12 stimuli"):
        _fit(1.0, n=12)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ridge")
    made = simulate_scan(ScanSettings(n_voxels=200, n_pictures=120, snr=2.0))
    write_npz(folder / "train.npz", made.held)
    request = StageRequest(folder / "train.npz", folder / "fit", read_epochs=read_epochs)
    report = run_fit(request)
    assert report["trials"] == 120
    assert report["voxels"] == 200
    return folder


def test_a_fit_from_a_recording_decodes_another(fitted: Path, tmp_path: Path) -> None:
    encoder = load_encoder(DecoderConfig(system="fmri-ridge", weights=str(fitted / "fit")))
    made = simulate_scan(ScanSettings(n_voxels=200, n_pictures=30, snr=2.0, seed=5))
    write_npz(tmp_path / "test.npz", made.held)
    from configs import load_preset

    epochs = list(read_epochs(tmp_path / "test.npz", load_preset("fmri-ridge")))
    gallery = load_gallery(None).subset(kind="upright")
    vectors = [encoder.encode(epoch).vector for epoch in epochs]
    ranks = [
        [each.label for each in gallery.rank(vector)].index(epoch.event)
        for vector, epoch in zip(vectors, epochs, strict=True)
    ]
    assert len(epochs) == 30
    assert np.mean(np.array(ranks) == 0) > 0.5
    assert encoder.spec.learnt[0][1:] == (0.0, 238.5)
    with pytest.raises(PhospheneError, match="200"):
        encoder.encode(replace(epochs[0], data=epochs[0].data[:9], info=_first(epochs[0].info)))


def _first(info: object) -> object:
    return type(info)(info.ch_names[:9], info.sfreq, info.ch_types[:9])  # type: ignore[attr-defined, call-arg]


def test_damaged_and_missing_fits_are_refused_in_one_line(fitted: Path, tmp_path: Path) -> None:
    with pytest.raises(RidgeError, match=r"config\.json is missing.*train fmri-ridge fit"):
        load_ridge(tmp_path)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((fitted / "fit" / name).read_bytes())
    facts = (tmp_path / "config.json").read_text().replace('"n_voxels": 200', '"n_voxels": 201')
    (tmp_path / "config.json").write_text(facts)
    with pytest.raises(RidgeError, match="201 voxels"):
        load_ridge(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(RidgeError, match="cannot be used"):
        load_ridge(tmp_path)


def test_settings_and_labels_that_do_not_fit_are_refused(fitted: Path, tmp_path: Path) -> None:
    def request(table: dict[str, object], data: Path = fitted / "train.npz") -> StageRequest:
        return StageRequest(data, tmp_path, table=table, read_epochs=read_epochs)

    with pytest.raises(ConfigurationError, match="alpha"):
        run_fit(request({"alpha": 3}))
    with pytest.raises(PhospheneError, match="no vectors of the space clip"):
        run_fit(request({"space": "clip-vit-h-14-image"}))
    np.savez(
        tmp_path / "odd.npz",
        betas=np.ones((3, 4)),
        tr=2.0,
        onsets=[0.0, 2.0, 4.0],
        labels=list("abc"),
    )
    with pytest.raises(RidgeError, match="no epoch whose label"):
        run_fit(request({}, tmp_path / "odd.npz"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(RidgeError, match="holds no recording"):
        run_fit(request({}, tmp_path / "empty"))


def test_what_gives_no_epoch_is_said(fitted: Path, tmp_path: Path) -> None:
    def refusal(**arrays: object) -> str:
        given = {"betas": np.full((3, 4), np.nan), "tr": 2.0, "onsets": [0.0, 2.0, 4.0]}
        np.savez(tmp_path / "odd.npz", **given | {"labels": list("abc")} | arrays)
        with pytest.raises(RidgeError) as caught:
            run_fit(StageRequest(tmp_path / "odd.npz", tmp_path / "out", read_epochs=read_epochs))
        return str(caught.value)

    assert "3 events gave no epoch: 3 artifact (" in (said := refusal())
    assert "not finite" in said
    assert "gallery" not in said
    empty = {"onsets": np.zeros(0), "labels": np.zeros(0, dtype="U1")}
    assert "holds no event" in refusal(**empty)


def test_a_fit_replaces_no_other(fitted: Path) -> None:
    kept = load_ridge(fitted / "fit")
    held = (fitted / "fit" / "model.safetensors").read_bytes()
    facts = RidgeFacts.model_validate_json((fitted / "fit" / "config.json").read_text())
    save_ridge(fitted / "fit", kept.ridge, facts)
    other = replace(kept.ridge, matrix=2 * kept.ridge.matrix)
    with pytest.raises(RidgeError, match="nothing is overwritten: give a new --out"):
        save_ridge(fitted / "fit", other, facts)
    assert (fitted / "fit" / "model.safetensors").read_bytes() == held


def test_recordings_of_other_voxels_are_not_mixed(fitted: Path, tmp_path: Path) -> None:
    for n in (20, 30):
        held = simulate_scan(ScanSettings(n_voxels=n, n_pictures=12)).held
        write_npz(tmp_path / f"{n}.npz", held)
    with pytest.raises(RidgeError, match=r"\[20, 30\] voxels"):
        run_fit(StageRequest(tmp_path, tmp_path / "out", read_epochs=read_epochs))
