"""What every gallery keeps to: each registered one, and one made of a person's own pictures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import GalleryError
from pipeline.gallery import Gallery, gallery_names, load_gallery
from pipeline.gallery.making import find_pictures, make_gallery
from pipeline.values import Float32, Uint8
from tests.own_pictures import save_pictures

MADE = "made"
NAMES = (*gallery_names(), MADE)


def colours(pictures: Uint8) -> Float32:
    """A space of its own kind: tokens (2, 3) instead of a vector."""
    means = pictures.reshape(len(pictures), 2, -1, 3).mean(2) + 1.0
    return np.asarray(means / np.linalg.norm(means, axis=(1, 2), keepdims=True), np.float32)


@pytest.fixture(scope="module", params=NAMES)
def gallery(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    if request.param != MADE:
        return load_gallery(request.param)
    folder = tmp_path_factory.mktemp("pictures")
    save_pictures(folder, ("tom", "cats/tom", "cats/Bär", "dogs/rex"))
    found = find_pictures(folder)
    encoders = {"colours-6": colours}
    return make_gallery(found, folder.parent / "made", name="mine", encoders=encoders)


def test_the_shipped_gallery_registers_as_others_do() -> None:
    assert "fluent-emoji" in gallery_names()
    assert load_gallery("fluent-emoji").sha256 == load_gallery().sha256


def test_labels_are_unique_words_that_a_marker_can_carry(gallery: Gallery) -> None:
    assert len(set(gallery.labels)) == len(gallery) == len(gallery.names)
    for each in gallery.stimuli:
        assert 1 <= len(each.label) <= 64
        assert each.label.isprintable()
        assert each.name.isprintable()
        assert each.category


def test_it_says_who_may_use_its_pictures(gallery: Gallery) -> None:
    assert gallery.name
    assert gallery.licence


def test_every_picture_can_be_shown(gallery: Gallery) -> None:
    for label in gallery.labels:
        pixels = gallery.image(label, size=32)
        assert pixels.shape == (32, 32, 3)
        assert pixels.dtype == np.uint8
        assert not pixels.flags.writeable


def test_it_has_unit_vectors_in_a_space_with_a_name(gallery: Gallery) -> None:
    assert gallery.space in gallery.spaces
    for space in gallery.spaces:
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", space)
        there = gallery.in_space(space)
        assert there is not None
        norms = np.linalg.norm(there.embeddings.reshape(len(gallery), -1), axis=1)
        np.testing.assert_allclose(norms, 1.0, atol=1e-2)
        with pytest.raises(ValueError, match="read-only"):
            there.embeddings[0] = 0
    assert gallery.in_space("") is None
    assert gallery.in_space("no-such-space") is None
    with pytest.raises(GalleryError, match=r"no vectors of the space no-such-space"):
        gallery.demand("no-such-space", what="a test")


def test_each_stimulus_ranks_itself_first_in_every_space(gallery: Gallery) -> None:
    for space in gallery.spaces:
        there = gallery.in_space(space)
        assert there is not None
        for row in range(0, len(there), max(1, len(there) // 20)):
            ranked = there.rank(there.embeddings[row], temperature=0.05)
            assert ranked[0].similarity == pytest.approx(1.0, abs=2e-2)
            best = {each.label for each in ranked if each.similarity > ranked[0].similarity - 1e-6}
            assert there.labels[row] in best
            assert sum(each.probability for each in ranked) == pytest.approx(1.0)


def test_a_vector_without_content_prefers_nothing(gallery: Gallery) -> None:
    ranked = gallery.rank(np.zeros(gallery.embeddings.shape[1:], np.float32))
    np.testing.assert_allclose([each.probability for each in ranked], 1 / len(gallery))


def test_a_lower_temperature_is_surer_of_the_same(gallery: Gallery) -> None:
    vector = gallery.embeddings[0]
    warm, cold = (gallery.rank(vector, temperature=t) for t in (1.0, 0.1))
    assert warm[0].label == cold[0].label
    assert warm[0].probability <= cold[0].probability


def test_a_part_of_it_is_another_gallery_in_the_same_spaces(gallery: Gallery) -> None:
    part = gallery.subset(labels=gallery.labels[:2])
    assert part.labels == gallery.labels[:2]
    assert part.spaces == gallery.spaces
    assert part.sha256 != gallery.sha256
    for space in gallery.spaces:
        ours, theirs = part.in_space(space), gallery.in_space(space)
        assert ours is not None
        assert theirs is not None
        np.testing.assert_array_equal(ours.embeddings, theirs.embeddings[:2])


def test_reading_it_again_gives_the_same(gallery: Gallery) -> None:
    assert gallery.folder is not None
    again = load_gallery(Path(gallery.folder))
    assert again.sha256 == gallery.sha256
    assert again.labels == gallery.labels
