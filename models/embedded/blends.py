"""What lies between two known pictures is drawn as one thing: one's shape, the other's colours.

A generator that knows single pictures draws the middle of two as both, one over the other. Owns
finding the two that an embedding lies between, who of them lends its shape, and the change of
colours. NumPy only; knows no network: the sampler draws the shape, and `Blend.colour` finishes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt

from models.embedded.colours import from_perceptual, to_perceptual
from models.embedded.flatness import background_of
from pipeline.gallery import Gallery, load_gallery
from pipeline.gallery.pictures import object_of
from pipeline.values import Float32, Float64, Uint8, read_only

Int64 = npt.NDArray[np.int64]
TOLERANCE = 0.15
"""Largest part of an embedding's length that the two may leave unexplained."""
LEAST_SHARE = 0.1
"""Of the lesser of the two: below it, the embedding is the other one's."""
N_FIRST = 8
"""Nearest known pictures that are tried as one of the two; the other may be any."""
UNDECIDED = 0.1
"""So close to the middle, the seed decides whose the shape is."""
_FAINTEST = 0.05
"""Length below which there is nothing but fog to colour."""
_ALIKE = 0.03
"""Difference of an object's colour from its background's, below which outlines say how much of a
pixel it covers."""
_RIM, _SOFT = 2, 0.7
"""Pixels in which an object mixes with its background, and the blur of its cover."""
_STRETCH = (0.6, 1.8)
"""Least and largest contrast that a change of colours may make of one."""
_FLOOR = 0.02**2
"""Variance that every picture's colours have at least, perceptual units squared."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A known picture's object: which pixels it covers, and its colours.

    Attributes
    ----------
    pixels : ndarray, shape (n_pixels,), int64
        Those that it covers, be it in part, counted row by row.
    cover : ndarray, shape (n_pixels,), float32
        How much of each, 0 to 1, roughly.
    inside : ndarray, shape (n_pixels,), int64
        Which of `pixels` has each one's colour without background: on the rim, a near one inside.
    grey : ndarray, shape (n_pixels,), float32
        Levels less their mean.
    mean, covariance : ndarray, shape (3,) and (3, 3), float64
        Of its perceptual colours.
    """

    pixels: Int64
    cover: Float32
    inside: Int64
    grey: Float32
    mean: Float64
    covariance: Float64


@dataclass(frozen=True, slots=True)
class Blend:
    """Two known pictures, by row: one whose shape is drawn, in the other's colours by `strength`.

    `length` is the embedding's own: its confidence.
    """

    shape: int
    colours: int
    strength: float
    length: float

    @property
    def vector(self) -> Float32:
        """Embedding of the picture whose colours `colour` changes, (n_features,) float32."""
        row: Float32 = _known().embeddings[self.shape] * np.float32(self.length)
        return row

    def colour(self, drawn: Uint8) -> Uint8:
        """Change a picture's colours towards the other's, (height, width, 3); the background stays.

        The optimal linear map between two normal distributions (Monge-Kantorovich, Pitie and
        Kokaram 2007). Under fog, only as much as is seen of the object moves.
        """
        size = drawn.shape[0]
        shape, other = _look(self.shape, size), _look(self.colours, size)
        made = drawn.reshape(-1, 3).copy()
        covered = made[shape.pixels]
        colours = to_perceptual(covered)
        objects = colours[shape.inside]
        turn = _between(self.shape, self.colours, size)
        shift = _seen(covered, shape) * (other.mean - shape.mean)
        moved = (objects - objects.mean(0)) @ turn + shift.astype(np.float32)
        away = objects - to_perceptual(background_of(drawn))
        cover = _cover(away, colours - objects, shape.cover)
        made[shape.pixels] = from_perceptual(colours + self.strength * cover[:, None] * moved)
        return made.reshape(drawn.shape)


def find_blend(vector: Float32, *, seed: int) -> Blend | None:
    """Find the two known pictures that an embedding lies between; None where it does not.

    Parameters
    ----------
    vector : ndarray, shape (n_features,), float32
    seed : int
        Of the picture; decides close to the middle.
    """
    known = _known().embeddings
    length = float(np.linalg.norm(vector))
    if not _FAINTEST <= length < np.inf or vector.shape != known.shape[1:]:
        return None
    likeness = known @ vector / length
    first = np.argsort(-likeness)[:N_FIRST]
    cosines = _cosines()[first]
    rest = np.maximum(1 - cosines**2, 1e-3)
    mine, theirs = likeness[first, None], likeness[None]
    # Weights of the nearest point in the plane of each pair, and how much of the vector that is.
    one, two = (mine - cosines * theirs) / rest, (theirs - cosines * mine) / rest
    explained = np.where((one > 0) & (two > 0) & (cosines < 0.98), one * mine + two * theirs, 0.0)
    best = np.unravel_index(np.argmax(explained), explained.shape)
    if 1 - explained[best] > TOLERANCE**2:
        return None
    pair = sorted([(int(first[best[0]]), float(one[best])), (int(best[1]), float(two[best]))])
    share = pair[0][1] / (pair[0][1] + pair[1][1])
    if not LEAST_SHARE <= share <= 1 - LEAST_SHARE:
        return None
    (a, _), (b, _) = pair
    is_first = share >= 0.5 + UNDECIDED * _turn(seed)
    shape, colours, other = (a, b, 1 - share) if is_first else (b, a, share)
    return Blend(shape, colours, strength=min(1.0, 2 * other), length=length)


def _turn(seed: int) -> float:
    """A number from -1 to 1 that is another one for each seed (Fibonacci hashing)."""
    return ((seed * 0x9E3779B97F4A7C15) >> 40 & 0xFFFFFF) / 0x800000 - 1


@cache
def _known() -> Gallery:
    return load_gallery()


@cache
def _cosines() -> Float32:
    known = _known().embeddings
    return read_only(known @ known.T)


@lru_cache(maxsize=512)
def _look(row: int, size: int) -> Look:
    from scipy import ndimage  # costs a start as much as torch; few pictures are blends

    gallery = _known()
    picture = gallery.image(gallery.labels[row], size=size)
    solid = ndimage.binary_fill_holes(object_of(picture, gallery.background))
    cover = ndimage.gaussian_filter(solid.astype(np.float32), _SOFT)
    core = ndimage.binary_erosion(solid, iterations=_RIM)
    distance, (down, across) = ndimage.distance_transform_edt(~core, return_indices=True)
    is_near = (distance <= 2 * _RIM) & core.any()
    pixels = np.flatnonzero(solid | is_near)
    nearest = (down * size + across).ravel()[pixels]
    place = np.full(size * size, -1)
    place[pixels] = np.arange(len(pixels))
    colours = to_perceptual(picture[core if core.any() else solid])
    grey = picture.mean(2, dtype=np.float32).ravel()[pixels]
    return Look(
        pixels=read_only(pixels),
        cover=read_only(cover.ravel()[pixels]),
        # What is too thin to have an inside is its own colour.
        inside=read_only(np.where(is_near.ravel()[pixels], place[nearest], place[pixels])),
        grey=read_only(grey - grey.mean()),
        mean=read_only(colours.mean(0, dtype=np.float64)),
        covariance=read_only(np.cov(colours.T.astype(np.float64)) + _FLOOR * np.eye(3)),
    )


@lru_cache(maxsize=512)
def _between(shape: int, colours: int, size: int) -> Float32:
    """What to add to an object's colours for another's covariance: a symmetric matrix (3, 3)."""
    root, inverse = _roots(_look(shape, size).covariance)
    middle, _ = _roots(root @ _look(colours, size).covariance @ root)
    values, vectors = np.linalg.eigh(inverse @ middle @ inverse)
    turn = (vectors * np.clip(values, *_STRETCH)) @ vectors.T - np.eye(3)
    return read_only(turn.astype(np.float32))


def _roots(matrix: Float64) -> tuple[Float64, Float64]:
    """Square root of a covariance, and its inverse."""
    values, vectors = np.linalg.eigh(matrix)
    roots = np.sqrt(np.maximum(values, 1e-12))
    return (vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T


def _cover(away: Float32, off: Float32, rough: Float32) -> Float32:
    """How much of each pixel (n_pixels,) is the object's: a rim keeps its background's part.

    `away` (n_pixels, 3) is the object's colour less the background's, `off` the pixel's less the
    object's.
    """
    power = (away**2).sum(1)
    share = 1 + ((off * away).sum(1) - _ALIKE**2 * (1 - rough)) / (power + _ALIKE**2)
    cover: Float32 = np.clip(np.where(off.any(1), share, rough), 0, 1)
    return cover


def _seen(covered: Uint8, known: Look) -> float:
    """How much of an object its drawn pixels show: 1 all of its contrast, 0 nothing but fog."""
    power = float(known.grey @ known.grey)
    return float(np.clip(known.grey @ covered.mean(1, dtype=np.float32) / max(power, 1.0), 0, 1))
