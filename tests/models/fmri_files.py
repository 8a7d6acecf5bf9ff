"""Small fMRI data sets in the published formats: GOD, BOLD5000, HCP."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.latent_diffusion.importing import export_vae, rename_unet
from models.mind_vis import toy
from models.mind_vis.bold5000 import REGIONS, REPEATED, RESPONSES, STIMULI
from models.mind_vis.hcp import FILE

Array = NDArray[Any]


def write_god_labels(folder: Path, *, n_train: int, n_test: int) -> None:
    """Synsets 1, 2, 3 in turn (training) and 3, 1 (test); classes {1, 2} and {3}."""
    index = {"0": ["n00000001", "n00000002", "first"], "1": ["n00000003", "second"]}
    (folder / "imagenet_class_index.json").write_text(json.dumps(index))
    for part, cycle, n in (("training", (1, 2, 3), n_train), ("testing", (3, 1), n_test)):
        rows = [f"{cycle[i % len(cycle)]}.{i:06d},something" for i in range(n)]
        (folder / f"imagenet_{part}_label.csv").write_text("\n".join(rows) + "\n")


def write_god_person(
    path: Path, *, train: Array, single: Array, mean: Array, order: Array, mask: Array
) -> None:
    np.savez(path, arr_0=train, arr_1=single, arr_2=mean, arr_3=order, VC=mask)


def write_god(
    folder: Path, *, n_voxels: int, n_train: int = 12, n_test: int = 3, side: int = 32
) -> None:
    """One person, whose responses follow the mean colour of what is seen."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    colours = {
        "train": rng.integers(0, 256, (n_train, 3)),
        "test": rng.integers(0, 256, (n_test, 3)),
    }
    pictures = {
        f"{part}_images": np.broadcast_to(
            value[:, None, None].astype(np.uint8), (len(value), side, side, 3)
        )
        for part, value in colours.items()
    }
    np.savez(folder / "images_256.npz", **pictures)
    write_god_labels(folder, n_train=n_train, n_test=n_test)
    code = rng.normal(size=(3, n_voxels))
    order = rng.permutation(n_train)
    seen = (colours["train"][order] / 128 - 1) @ code
    tested = (colours["test"] / 128 - 1) @ code
    single = np.repeat(tested, 2, axis=0) + rng.normal(size=(2 * n_test, n_voxels))
    write_god_person(
        folder / "sbj_3.npz",
        train=5 + 2 * (seen + 0.3 * rng.normal(size=seen.shape)),
        single=5 + 2 * single,
        mean=5 + 2 * (tested + 0.1 * rng.normal(size=tested.shape)),
        order=order,
        mask=np.ones(n_voxels, dtype=bool),
    )


def write_bold5000(
    folder: Path,
    *,
    responses: dict[str, Array],
    names: Sequence[str],
    repeated: Sequence[str],
    side: int = 8,
    as_table: bool = False,
) -> None:
    """One person (CSI1), the first half in session 1; `responses` by hemisphere and region."""
    (folder / RESPONSES).mkdir(parents=True)
    assert {key[2:] for key in responses} == set(REGIONS)
    for key, value in responses.items():
        name = f"CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_allses_{key}.npy"
        np.save(folder / RESPONSES / name, value)
    half = len(names) // 2
    for session, shown in (("1", names[:half]), ("2", names[half:])):
        place = folder / STIMULI / "Stimuli_Presentation_Lists" / "CSI1" / f"CSI1_sess0{session}"
        place.mkdir(parents=True)
        (place / f"CSI1_sess0{session}_run01.txt").write_text("\n".join(shown) + "\n")
    scenes = folder / STIMULI / "Scene_Stimuli"
    (scenes / "Presented_Stimuli" / "COCO").mkdir(parents=True)
    (scenes / REPEATED).write_text("\n".join(repeated) + "\n")
    plain = sorted({name.removeprefix("rep_") for name in names})
    pixels = {name: np.full((side, side, 3), 20 * i, np.uint8) for i, name in enumerate(plain)}
    if as_table:
        table = np.array(pixels, dtype=object)
        np.save(scenes / "Presented_Stimuli" / "img_dict.npy", table, allow_pickle=True)
        return
    for name, value in pixels.items():
        path = scenes / "Presented_Stimuli" / "COCO" / name
        Image.fromarray(value).save(path, format="PNG")


def write_hcp(folder: Path, *, n_voxels: int, n_subjects: int = 2, n_volumes: int = 120) -> None:
    """Resting volumes with a slow wave."""
    rng = np.random.default_rng(1)
    for subject in range(n_subjects):
        place = folder / f"dummy_sub_{subject:02d}"
        place.mkdir(parents=True)
        wave = np.sin(np.arange(n_volumes)[:, None] / 20 + np.arange(n_voxels) / 9)
        series = wave + 0.3 * rng.normal(size=wave.shape)
        cut = np.array_split(series, 4, axis=1)
        np.savez(place / FILE, **{f"V{i + 1}": part for i, part in enumerate(cut)})


def write_label2img(path: Path) -> None:
    """The generator that fine-tuning begins from, at toy size: label-conditioned, as published."""
    model = toy.make_toy()
    unet = rename_unet(model.unet.state_dict(), model.unet)
    state = {f"model.diffusion_model.{name}": value for name, value in unet.items()}
    state |= {f"first_stage_model.{name}": value for name, value in export_vae(model.vae).items()}
    state["cond_stage_model.embedding.weight"] = torch.zeros(1001, toy.CONDITION.context_dim)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": state, "global_step": 1}, path)
