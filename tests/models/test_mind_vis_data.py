"""The fMRI family's arrays and data sets: as published with its faults, soundly without."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.mind_vis import arrays, data
from models.mind_vis.bold5000 import load_bold5000, load_bold5000_signals
from models.mind_vis.data import PUBLISHED_FAULTS, Faults, hold_out
from models.mind_vis.god import load_god, load_god_signals
from models.mind_vis.hcp import load_hcp
from models.training.errors import DatasetError
from tests.models import fmri_files as files
from tests.models import golden

Array = NDArray[Any]


def _arrays(file: golden.Golden) -> dict[str, Array]:
    return {name: value.numpy() for name, value in file.inputs.items()}


@pytest.mark.golden
def test_arrays() -> None:
    file = golden.load("mindvis_arrays")
    given, patch = _arrays(file), file.arguments["p"]
    for name, key in (("padded", "pad_in"), ("padded_divisible", "pad_in_divisible")):
        length = arrays.padded_length(given[key].shape[-1], patch, extra_patch=True)
        file.check(name, arrays.pad_to_length(given[key], length))
    length = given["pad3_in"].shape[-1] + file.arguments["extra"]
    file.check("padded_to_length", arrays.pad_to_length(given["pad3_in"], length))
    matrix = given["norm_in"]
    file.check("normalized", arrays.normalise(matrix))
    file.check("normalized_given", arrays.normalise(matrix, _scale(matrix, file)))
    means = arrays.window_means(given["voxel_ts"])
    padded = arrays.pad_to_length(means, arrays.padded_length(means.shape[1], patch))
    file.check("voxel_ts_processed", arrays.normalise(padded))
    file.check("augmented", arrays.augment(given["aug_in"], given["aug_pairs"]))
    file.check("interpolated_03", arrays.mix(given["x"], given["y"], 0.3))
    keys = _keys(given["aug_in"], file)
    made, found = arrays.mean_repeats(given["aug_in"], keys)
    file.check("remove_repeats", made)
    file.check("remove_repeats_ids", np.array(found))
    file.assert_all_checked()


def _scale(matrix: Array, file: golden.Golden) -> arrays.Scale:
    """Mean and deviation that the recorded call was given: two of its values tell them."""
    made = file.outputs["normalized_given"].numpy()
    std = (matrix[0, 0] - matrix[0, 1]) / (made[0, 0] - made[0, 1])
    return arrays.Scale(round(matrix[0, 0] - std * made[0, 0], 9), round(std, 9))


def _keys(rows: Array, file: golden.Golden) -> list[int]:
    """Ids that the recorded call was given: the file has only the means of each."""
    keys = [-1] * len(rows)
    means, ids = (file.outputs[f"remove_repeats{each}"].numpy() for each in ("", "_ids"))
    for mean, key in zip(means, ids.tolist(), strict=True):
        sizes = range(1, len(rows) + 1)
        found = next(
            at
            for size in sizes
            for at in combinations(range(len(rows)), size)
            if np.allclose(rows[list(at)].mean(axis=0), mean, rtol=0, atol=1e-9)
        )
        for row in found:
            keys[row] = key
    assert -1 not in keys
    return keys


@pytest.mark.golden
def test_god(tmp_path: Path) -> None:
    file = golden.load("mindvis_god_loader")
    given, counts = _arrays(file), file.arguments
    n_train, n_test = counts["ntr"], counts["nte"]
    pictures = {
        f"{part}_images": np.stack([np.full((2, 2, 3), k + first, np.uint8) for k in range(n)])
        for part, first, n in (("train", 0, n_train), ("test", 100, n_test))
    }
    np.savez(tmp_path / "images_256.npz", **pictures)
    files.write_god_labels(tmp_path, n_train=n_train, n_test=n_test)
    names = [f"sbj_{i + 1}" for i in range(len(counts["V"]))]
    for i, name in enumerate(names):
        files.write_god_person(
            tmp_path / f"{name}.npz",
            train=given[f"train_{i}"],
            single=given[f"test_rep_{i}"],
            mean=given[f"test_avg_{i}"],
            order=given[f"index_{i}"],
            mask=given[f"mask_{i}"],
        )
    given_as = {"subjects": names, "faults": PUBLISHED_FAULTS, "patch_size": counts["p"]}
    made = load_god(tmp_path, **given_as)
    for part, rows in (("train", made.train), ("test", made.test)):
        file.check(f"{part}_fmri", rows.voxels)
        file.check(f"{part}_class_ids", np.array(rows.labels))
        seen = [int(np.asarray(made.images.open(name))[0, 0, 0]) for name in rows.pictures]
        file.check(f"{part}_image_ids", np.array(seen))
    file.check("train_item_1_fmri", made.train.voxels[1:2])
    image = np.asarray(made.images.open(made.train.pictures[1]), dtype=np.float64) / 255
    file.check("train_item_1_image", image)
    single = load_god(tmp_path, **given_as, single_trials=True)
    for part, rows in (("train", single.train), ("test", single.test)):
        file.check(f"{part}_fmri_with_single_trials", rows.voxels)
    file.assert_all_checked()


@pytest.mark.golden
def test_bold5000(tmp_path: Path) -> None:
    file = golden.load("mindvis_bold5000_loader")
    shown, repeated = file.arguments["names"], file.arguments["repeated"]
    given_as = {
        "subjects": ["CSI1"],
        "faults": PUBLISHED_FAULTS,
        "patch_size": file.arguments["p"],
    }
    files.write_bold5000(tmp_path, responses=_arrays(file), names=shown, repeated=repeated)
    order = sorted({name.removeprefix("rep_") for name in shown})
    for single, suffix in ((False, ""), (True, "_with_single_trials")):
        made = load_bold5000(tmp_path, **given_as, single_trials=single)
        for part, rows in (("train", made.train), ("test", made.test)):
            file.check(f"{part}_fmri{suffix}", rows.voxels)
            ids = np.array([order.index(name) for name in rows.pictures])
            file.check(f"{part}_image_ids{suffix}", ids)
    file.assert_all_checked()


def test_sound_defaults(tmp_path: Path) -> None:
    files.write_god(tmp_path, n_voxels=32)
    made = load_god(tmp_path, subjects=["sbj_3"])
    assert made.n_voxels == made.n_padded == 32
    raw = np.load(tmp_path / "sbj_3.npz")
    scale = (raw["arr_0"].mean(), raw["arr_0"].std())
    assert made.scale == pytest.approx(scale)
    np.testing.assert_allclose(made.test.voxels, (raw["arr_2"] - scale[0]) / scale[1])
    extra = load_god(tmp_path, subjects=["sbj_3"], faults=Faults(extra_patch=True))
    assert extra.n_padded == 48
    raised = load_god(tmp_path, subjects=["sbj_3"], faults=Faults(unnormalised_test=True))
    np.testing.assert_allclose(raised.test.voxels, raw["arr_2"])
    (signals,) = load_god_signals(tmp_path, subjects=["sbj_3"])
    np.testing.assert_array_equal(signals, made.train.voxels)


def _bold(tmp_path: Path, *, as_table: bool) -> dict[str, Array]:
    rng = np.random.default_rng(2)
    regions = ("EarlyVis", "LOC", "OPA", "PPA", "RSC")
    responses = {
        f"{side}{name}": rng.normal(2, 3, (5, 3)) for name in regions for side in ("LH", "RH")
    }
    shown = ["a.jpg", "b.jpg", "rep_a.jpg", "c.jpg", "d.jpg"]
    files.write_bold5000(
        tmp_path, responses=responses, names=shown, repeated=["a.jpg"], as_table=as_table
    )
    return responses


@pytest.mark.parametrize("as_table", [True, False])
def test_bold5000_takes_no_scale_from_its_test(tmp_path: Path, as_table: bool) -> None:
    _bold(tmp_path, as_table=as_table)
    made = load_bold5000(tmp_path, subjects=["CSI1"])
    assert made.train.pictures == ("b.jpg", "c.jpg", "d.jpg")
    assert made.train.voxels[:, :30].mean() == pytest.approx(0)
    assert np.asarray(made.images.open("c.jpg"))[0, 0].tolist() == [40, 40, 40]
    joint = load_bold5000(tmp_path, subjects=["CSI1"], faults=Faults(joint_statistics=True))
    assert joint.scale != made.scale
    (signals,) = load_bold5000_signals(tmp_path, subjects=["CSI1"])
    np.testing.assert_array_equal(signals, made.train.voxels)


def test_hcp(tmp_path: Path) -> None:
    files.write_hcp(tmp_path, n_voxels=40, n_volumes=47)
    first, second = load_hcp(tmp_path)
    assert first.shape == second.shape == (4, 48)
    assert first[:, :40].mean() == pytest.approx(0)
    assert load_hcp(tmp_path, faults=PUBLISHED_FAULTS)[0].mean() == pytest.approx(0)
    with pytest.raises(DatasetError, match="holds no subject, expected SUBJECT/HCP_visual"):
        load_hcp(tmp_path / "nowhere")
    np.savez(tmp_path / "dummy_sub_00" / "HCP_visual_voxel.npz", V1=first)
    with pytest.raises(DatasetError, match="is not as MinD-Vis prepares it"):
        load_hcp(tmp_path)


def test_what_validates_shares_no_picture_with_what_trains() -> None:
    names = tuple(f"p{i % 10}" for i in range(40))
    part = data.Part(np.arange(80.0).reshape(40, 2), names)
    train, val = hold_out(part, one_in=5, seed=0)
    assert len(train) + len(val) == 40
    assert len(set(val.pictures)) == 2
    assert not set(train.pictures) & set(val.pictures)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"VC": np.ones(7, dtype=bool)}, r"arr_0 is of shape \(12, 20\), expected \(n, 7\)"),
        ({"arr_3": np.arange(4)}, "arr_3 has 4 indices for 12 rows of arr_0"),
        ({"arr_0": None}, "has no 'arr_0' .responses., expected GOD's arrays"),
        ({"arr_0": np.zeros((12, 20))}, "deviation 0.0, expected finite numbers that vary"),
    ],
)
def test_another_structure_is_one_sentence(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    files.write_god(tmp_path, n_voxels=20)
    path = tmp_path / "sbj_3.npz"
    with np.load(path) as file:
        table = {**file, **change}
    np.savez(path, **{k: v for k, v in table.items() if v is not None})
    with pytest.raises(DatasetError, match=message):
        load_god(tmp_path, subjects=["sbj_3"])


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"images_256.npz is not of GOD .*No such file"):
        load_god(tmp_path, subjects=["sbj_3"])
    responses = _bold(tmp_path, as_table=False)
    np.save(next(tmp_path.rglob("*LHLOC.npy")), responses["LHLOC"][:4])
    with pytest.raises(DatasetError, match=r"have \[4, 5\] rows, expected as many"):
        load_bold5000(tmp_path, subjects=["CSI1"])
    with pytest.raises(DatasetError, match="has no EarlyVis of CSI9"):
        load_bold5000(tmp_path, subjects=["CSI9"])
