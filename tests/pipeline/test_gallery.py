"""The gallery: what ships is whole, ranks honestly, and cannot be changed."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import GalleryError
from pipeline.gallery import Gallery, Stimulus, load_gallery

GALLERY = load_gallery()
FOLDER = resources.files("pipeline.gallery.fluent_emoji")
UPRIGHT = GALLERY.subset(kind="upright")


def test_it_holds_what_the_project_promises() -> None:
    kinds = [each.kind for each in GALLERY.stimuli]
    assert kinds.count("upright") >= 200
    assert kinds.count("inverted") == kinds.count("upright")
    assert {"checkerboard-left", "checkerboard-right"} <= set(GALLERY.labels)
    categories = UPRIGHT.categories
    assert categories.count("house") >= 12
    assert categories.count("face") >= 12


def test_every_stimulus_has_its_own_picture() -> None:
    seen = set()
    for label in GALLERY.labels:
        pixels = GALLERY.image(label)
        assert pixels.shape == (128, 128, 3)
        assert pixels.dtype == np.uint8
        seen.add(pixels.tobytes())
    assert len(seen) == len(GALLERY)


def test_no_picture_is_shipped_for_nothing() -> None:
    shipped = {
        path.name
        for path in (resources.files("pipeline.gallery.fluent_emoji") / "images").iterdir()
    }
    assert shipped == {f"{each.concept}.webp" for each in UPRIGHT.stimuli}
    notice = (FOLDER / "LICENSE").read_text(encoding="utf-8")
    assert "Microsoft" in notice
    assert "MIT" in notice


def test_an_inverted_stimulus_is_the_upright_one_turned() -> None:
    upright = GALLERY.image("house")
    np.testing.assert_array_equal(GALLERY.image("house-inverted"), upright[::-1, ::-1])
    assert GALLERY.image("house", size=64).shape == (64, 64, 3)


def test_checkerboards_fill_their_half_field() -> None:
    pixels = GALLERY.image("checkerboard-left").astype(int)
    assert np.ptp(pixels[:, :64]) > 200
    assert np.ptp(pixels[:, 64:], axis=(0, 1)).max() == 0


def test_embeddings_are_unit_centred_and_apart() -> None:
    table = GALLERY.embeddings
    assert table.shape == (len(GALLERY), 64)
    np.testing.assert_allclose(np.linalg.norm(table, axis=1), 1.0, atol=1e-6)
    assert np.linalg.norm(table.mean(0)) < 1e-4
    cosine = UPRIGHT.embeddings @ UPRIGHT.embeddings.T - 2 * np.eye(len(UPRIGHT))
    assert cosine.max() < 0.88


def test_orientation_can_be_decoded_linearly() -> None:
    inverted = GALLERY.subset(kind="inverted")
    n = len(UPRIGHT)
    train = np.arange(n) % 2 == 0
    axis = UPRIGHT.embeddings[train].mean(0) - inverted.embeddings[train].mean(0)
    middle = (UPRIGHT.embeddings[train].mean(0) + inverted.embeddings[train].mean(0)) / 2
    right = ((UPRIGHT.embeddings[~train] - middle) @ axis > 0).mean()
    turned = ((inverted.embeddings[~train] - middle) @ axis < 0).mean()
    assert min(right, turned) > 0.97


def test_neighbours_make_sense() -> None:
    """Nearest neighbours share a category far more often than chance (about 7 %)."""
    cosine = UPRIGHT.embeddings @ UPRIGHT.embeddings.T - 2 * np.eye(len(UPRIGHT))
    category = np.array(UPRIGHT.categories)
    assert (category == category[cosine.argmax(1)]).mean() > 0.6


@pytest.mark.parametrize("row", [0, 57, -1])
def test_a_stimulus_ranks_itself_first(row: int) -> None:
    ranked = GALLERY.rank(GALLERY.embeddings[row])
    assert ranked[0].label == GALLERY.labels[row]
    assert ranked[0].similarity == pytest.approx(1.0, abs=1e-5)
    assert [each.similarity for each in ranked] == sorted(
        (each.similarity for each in ranked), reverse=True
    )


def test_an_empty_vector_prefers_nothing() -> None:
    ranked = UPRIGHT.rank(np.zeros(64, np.float32))
    np.testing.assert_allclose([each.probability for each in ranked], 1 / len(UPRIGHT))


@settings(max_examples=30, deadline=None)
@given(
    row=st.integers(0, len(GALLERY) - 1),
    length=st.floats(0.05, 1.0),
    temperature=st.floats(0.02, 1.0),
)
def test_probabilities_sum_to_one_and_sharpen_with_length(
    row: int, length: float, temperature: float
) -> None:
    vector = GALLERY.embeddings[row]
    short = GALLERY.rank(vector * np.float32(length), temperature=temperature)
    long = GALLERY.rank(vector, temperature=temperature)
    assert sum(each.probability for each in short) == pytest.approx(1.0)
    assert short[0].label == long[0].label
    assert short[0].probability <= long[0].probability + 1e-9


def test_a_subset_is_another_gallery() -> None:
    houses = GALLERY.subset(kind="upright", category="house")
    assert set(houses.categories) == {"house"}
    assert houses.sha256 != GALLERY.sha256
    assert GALLERY.subset(labels=("owl", "house")).labels == ("house", "owl")
    np.testing.assert_array_equal(houses.embedding("house"), GALLERY.embedding("house"))


def test_nothing_in_it_can_be_written() -> None:
    for array in (GALLERY.embeddings, GALLERY.embedding("house"), GALLERY.image("house")):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_bad_questions_are_answered_in_one_sentence() -> None:
    with pytest.raises(GalleryError, match="'pangolin' is not in the gallery"):
        GALLERY.image("pangolin")
    with pytest.raises(GalleryError, match=r"shape \(3,\)"):
        GALLERY.rank(np.zeros(3, np.float32))
    with pytest.raises(GalleryError, match="finite"):
        GALLERY.rank(np.full(64, np.nan, np.float32))
    with pytest.raises(GalleryError, match="temperature is 0"):
        GALLERY.rank(np.zeros(64, np.float32), temperature=0.0)
    with pytest.raises(GalleryError, match="at least 8"):
        GALLERY.image("house", size=2)
    with pytest.raises(GalleryError, match="category='spaceship'"):
        GALLERY.subset(category="spaceship")
    one = Stimulus("a", "a", "b", "upright", "a", None)
    with pytest.raises(GalleryError, match="expected \\(1, n_features\\)"):
        Gallery(stimuli=(one,), embeddings=np.zeros((2, 4), np.float32), sha256="")
    with pytest.raises(GalleryError, match="repeat"):
        Gallery(stimuli=(one, one), embeddings=np.zeros((2, 4), np.float32), sha256="")
