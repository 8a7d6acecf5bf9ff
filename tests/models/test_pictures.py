"""Encoders of pictures: the shipped one finds its own kind, and CLIP's towers are read locally."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from models.api import CLIP_H_IMAGE, CLIP_L_TOKENS
from models.pictures import TOWERS, picture_encoder, shipped
from models.pictures.clip import tower_folder
from models.stable_diffusion.libraries import quiet_libraries
from models.weights import WeightState, check_weights
from pipeline.errors import GalleryError
from pipeline.gallery import SPACE, load_gallery
from pipeline.values import Uint8

UPRIGHT = load_gallery().subset(kind="upright")


def pictures_of(labels: tuple[str, ...], *, size: int = 128) -> Uint8:
    return np.stack([UPRIGHT.image(label, size=size) for label in labels])


def test_the_shipped_encoder_finds_the_gallerys_own_pictures() -> None:
    labels = UPRIGHT.labels[::10]
    vectors = picture_encoder(SPACE)(pictures_of(labels))
    assert vectors.shape == (len(labels), 64)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    ranks = [
        [each.label for each in UPRIGHT.rank(vector)].index(label)
        for label, vector in zip(labels, vectors, strict=True)
    ]
    assert np.mean([rank == 0 for rank in ranks]) > 0.9
    assert max(ranks) < 5
    cosine = [v @ UPRIGHT.embedding(label) for label, v in zip(labels, vectors, strict=True)]
    assert np.mean(cosine) > 0.75


def test_a_vector_is_its_own_picture_alone() -> None:
    encode = picture_encoder(SPACE)
    pictures = pictures_of(UPRIGHT.labels[:20])
    whole = encode(pictures)
    np.testing.assert_allclose(encode(pictures[17:18])[0], whole[17], atol=1e-5)
    np.testing.assert_array_equal(encode(pictures), whole)


def test_its_weights_are_those_that_were_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_weights(shipped.WEIGHTS, [shipped.FILE]).state is WeightState.READY
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path)
    with pytest.raises(GalleryError, match=r"image encoder cannot be used: .*missing"):
        picture_encoder(SPACE)


@pytest.mark.parametrize(("space", "n_features"), [(CLIP_H_IMAGE, 8), (CLIP_L_TOKENS, 5 * 8)])
def test_a_tower_is_read_from_the_users_folder(
    space: str, n_features: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    torch.manual_seed(0)
    quiet_libraries()
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        image_size=32, patch_size=16, projection_dim=8,
    )  # fmt: skip
    tower = CLIPVisionModelWithProjection(config).eval()
    tower.save_pretrained(tower_folder(space))
    pictures = pictures_of(UPRIGHT.labels[:3])
    vectors = picture_encoder(space)(pictures)
    assert vectors.shape == (3, n_features)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


def test_a_tower_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for space, published in TOWERS.items():
        with pytest.raises(GalleryError, match=f"{space} are not on this machine.*{published}"):
            picture_encoder(space)
    with pytest.raises(GalleryError, match="no encoder of pictures is known"):
        picture_encoder("nonsense")
