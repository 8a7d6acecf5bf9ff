"""What lies between two known pictures is one thing; what does not is left as it is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.ndimage import maximum_filter

from models.embedded.blends import UNDECIDED, find_blend
from models.embedded.colours import from_perceptual, to_perceptual
from models.embedded.flatness import LEVELS, background_of, flattened
from pipeline.gallery import load_gallery
from pipeline.values import Float32, Uint8

GALLERY = load_gallery()
CAT, UMBRELLA = GALLERY.index("cat"), GALLERY.index("umbrella")


def between(share: float, *, length: float = 1.0) -> Float32:
    """`share` of the umbrella, the rest of the cat."""
    vector = (1 - share) * GALLERY.embeddings[CAT] + share * GALLERY.embeddings[UMBRELLA]
    unit: Float32 = vector / np.linalg.norm(vector) * np.float32(length)
    return unit


def test_the_two_are_found_at_every_share_and_length() -> None:
    pairs = np.random.default_rng(1).choice(len(GALLERY), (40, 2))
    for (a, b), share in zip(pairs, np.linspace(0.15, 0.85, 40), strict=True):
        vector = (1 - share) * GALLERY.embeddings[a] + share * GALLERY.embeddings[b]
        found = find_blend(0.5 * vector, seed=0)
        assert found is not None
        assert {found.shape, found.colours} == {a, b}
        assert np.linalg.norm(found.vector) == pytest.approx(np.linalg.norm(0.5 * vector), abs=1e-5)


def test_known_pictures_and_strangers_are_no_blends() -> None:
    strange = np.random.default_rng(0).standard_normal((100, 64)).astype(np.float32)
    crowd = np.stack([GALLERY.subset(category="mammal").embeddings.mean(0), between(0.05)])
    for vector in (*GALLERY.embeddings, *strange, *crowd, np.zeros(64, np.float32)):
        assert find_blend(vector, seed=0) is None
    for bad in (np.full(64, np.nan, np.float32), np.full(64, np.inf, np.float32)):
        assert find_blend(bad, seed=0) is None
    assert find_blend(np.ones(8, np.float32), seed=0) is None, "another space"


def test_colours_come_before_the_shape_changes() -> None:
    """From the cat on: ever more of the umbrella's colours, then its shape in the cat's."""
    found = [find_blend(between(share), seed=0) for share in np.linspace(0.15, 0.85, 15)]
    shapes = [each.shape for each in found if each is not None]
    change = shapes.index(UMBRELLA)
    assert shapes == [CAT] * change + [UMBRELLA] * (15 - change)
    strengths = [each.strength for each in found if each is not None]
    assert strengths[:change] == sorted(strengths[:change])
    assert strengths[change:] == sorted(strengths[change:], reverse=True)


def test_the_seed_decides_in_the_middle_and_nowhere_else() -> None:
    def shapes(share: float) -> set[int]:
        found = [find_blend(between(share), seed=seed) for seed in (*range(24), 2**64 - 1)]
        return {each.shape for each in found if each is not None}

    assert shapes(0.5) == {CAT, UMBRELLA}
    assert shapes(0.48 - UNDECIDED) == {CAT}
    assert shapes(0.52 + UNDECIDED) == {UMBRELLA}


def test_colours_move_and_the_background_stays() -> None:
    cat, umbrella = (GALLERY.image(GALLERY.labels[row]) for row in (CAT, UMBRELLA))
    seeds = range(24)
    blend = next(b for s in seeds if (b := find_blend(between(0.5), seed=s)) and b.shape == CAT)
    made = blend.colour(cat)
    thing = np.abs(cat.astype(int) - background_of(cat)).max(2)
    is_plain = maximum_filter(thing, 11) <= 8
    assert is_plain.mean() > 0.2
    assert_array_equal(made[is_plain], cat[is_plain])

    def middle(picture: Uint8, shape: Uint8) -> Float32:
        away = np.abs(shape.astype(int) - background_of(shape)).max(2) > 40
        mean: Float32 = to_perceptual(picture)[away].mean(0)
        return mean

    wanted = middle(umbrella, umbrella)
    assert np.linalg.norm(middle(made, cat) - wanted) < 0.3 * np.linalg.norm(
        middle(cat, cat) - wanted
    )
    # Fog has no colours to change.
    fog = np.full_like(cat, 150)
    assert_array_equal(blend.colour(fog), fog)


def test_perceptual_colours_go_there_and_back() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    back = from_perceptual(to_perceptual(pixels))
    assert np.abs(back.astype(int) - pixels).max() <= 1
    white = to_perceptual(np.full((1, 3), 255, np.uint8))[0]
    np.testing.assert_allclose(white, [1, 0, 0], atol=1e-3)


def test_grain_goes_and_faint_things_stay() -> None:
    rng = np.random.default_rng(3)
    noisy = (np.array([210, 214, 220]) + rng.integers(-2, 3, (128, 128, 3))).astype(np.uint8)
    faint = noisy.copy()
    faint[40:80, 40:80] += LEVELS[1]
    faint[20:23, 30:100] += LEVELS[1] + 2  # a line
    made = flattened(faint)
    assert (made[100:] == background_of(noisy)).all()
    kept = made[40:80, 40:80], made[20:23, 30:100]
    for part, was in zip(kept, (faint[40:80, 40:80], faint[20:23, 30:100]), strict=True):
        assert np.abs(part.astype(float) - was).mean() < 0.5


def test_backgrounds_are_the_gallerys_or_fogs_or_between() -> None:
    """A tint goes, the thickness of fog stays, and what is neither keeps its colour."""

    def plain(*colour: int) -> list[int]:
        made: list[int] = flattened(np.full((32, 32, 3), colour, np.uint8))[5, 5].tolist()
        return made

    assert plain(208, 215, 221) == list(GALLERY.background)
    assert plain(181, 183, 191) == [180, 184, 192]
    assert plain(150, 155, 164) == [150, 155, 164]
    assert plain(20, 90, 20) == [20, 90, 20]
