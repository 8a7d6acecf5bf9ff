"""Targets of the multimodal system: pictures in a known order, CLIP from a local folder."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel

from models.atm.toy import make_toy_pipeline
from models.multimodal.errors import MultimodalError
from models.multimodal.features import ClipFeatures, concept_of, list_pictures
from models.registry import find_entry, find_system
from models.stages import StageRequest


def _stage(system: str, stage: str) -> Callable[..., Any]:
    return find_entry(find_system(system).descriptor.stages, stage, what="stage")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for concept, name in (("00002_abacus", "a.jpg"), ("00001_aardvark", "b.png")):
        target = folder / "images" / concept / name
        target.parent.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(target)
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    config = CLIPConfig(
        text_config=small | {"num_attention_heads": 2, "vocab_size": 1000, "eos_token_id": 1},
        vision_config=small | {"num_attention_heads": 2, "image_size": 28, "patch_size": 14},
        projection_dim=12,
    )
    CLIPModel(config).save_pretrained(folder / "clip")
    make_toy_pipeline(folder / "tokenizer").tokenizer.save_pretrained(folder / "clip")
    return folder


def test_targets_are_written_in_the_order_of_the_manifest(data: Path, tmp_path: Path) -> None:
    stage = _stage("atm-multimodal", "features")
    has_slic = importlib.util.find_spec("skimage") is not None
    report = stage(StageRequest(data=data, out=tmp_path, table={"superpixels": has_slic}))
    assert report["pictures"] == 2
    manifest = json.loads((tmp_path / "features" / "pictures.json").read_text())
    assert manifest == ["00001_aardvark/b.png", "00002_abacus/a.jpg"]
    vectors = {name: np.load(tmp_path / "features" / f"{name}.npy") for name in report["targets"]}
    assert {v.shape for v in vectors.values()} == {(2, 12)}
    assert len(vectors) == (7 if has_slic else 4)
    clip = ClipFeatures(data / "clip")
    expected = clip.of_texts(["This picture is aardvark", "This picture is abacus"])
    np.testing.assert_allclose(vectors["text"], expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(vectors["image"][0], vectors["image"][1], atol=1e-4)


def test_layers_and_blurred_pictures_are_targets_too(data: Path, tmp_path: Path) -> None:
    stage = _stage("atm-multimodal", "features")
    table = {"superpixels": False, "layers": [1], "blur": 4.0}
    stage(StageRequest(data=data, out=tmp_path, table=table))
    read = {p.stem: np.load(p) for p in (tmp_path / "features").glob("ViT-H-14*.npy")}
    assert read["ViT-H-14.layer-1"].shape == (2, 16)
    assert read["ViT-H-14.blurred"].shape == read["ViT-H-14"].shape
    assert not np.allclose(read["ViT-H-14.blurred"], read["ViT-H-14"])
    for wrong, said in (({"layers": [2]}, "expected some of 1 to 1"), ({"blur": -1}, "blur is -1")):
        with pytest.raises(MultimodalError, match=said):
            stage(StageRequest(data=data, out=tmp_path, table=wrong))


def test_concepts_are_read_from_folders(data: Path) -> None:
    assert [concept_of(p) for p in list_pictures(data / "images")] == ["aardvark", "abacus"]


def test_missing_parts_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MultimodalError, match="holds no picture"):
        list_pictures(tmp_path)
    with pytest.raises(MultimodalError, match="laion/CLIP-ViT-H-14") as error:
        ClipFeatures(tmp_path)
    assert "\n" not in str(error.value)
