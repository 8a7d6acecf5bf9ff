"""Whether a test set was seen in training: pictures again, nearly again, or in its statistics.

Owns three checks of a split, on names, pixels and figures. Pure but for Pillow's resizing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from models.evaluation.checks import Check, Verdict, missing
from pipeline.errors import ConfigurationError
from pipeline.values import Float64, Uint8

NEAR = 0.87
"""Correlation of two pictures' gradients from which they count as the same. Of the 457 shipped
pictures the nearest two that are not each other upside down have .83; copies in JPEG at quality 30,
at half size, mirrored, turned by 3 degrees, 25 % darker or with noise of 12 levels have .95,
cropped ones .89 or more."""
SIDE = 16
_WORK = 96
_SLIGHT = (3, 6, 9)
_SHIFTS = (4, 8)
_TURN = 3.0
COSINE = 0.9
PART = 0.25


def repeated_stimuli(train: Sequence[str], test: Sequence[str]) -> Check:
    """Count the test items whose stimulus was shown in training, by name or hash."""
    name = "repeated stimuli"
    if not train or not test:
        return missing(name, "no names of stimuli of both parts: nothing was compared.")
    known = set(train)
    again = sum(each in known for each in test)
    share = again / len(test)
    if not again:
        text = f"none of {len(test)} test items shows a stimulus of the {len(train)} in training."
        return Check(name, Verdict.CLEAN, text, figures={"share": 0.0})
    return Check(
        name,
        Verdict.LEAK,
        f"{again} of {len(test)} test items ({share:.1%}) show a stimulus that training had: they "
        "test recognition of known pictures, nothing about new ones.",
        figures={"share": share},
    )


def near_duplicates(train: Iterable[Uint8], test: Iterable[Uint8]) -> Check:
    """Find test pictures that are nearly one of training.

    Parameters
    ----------
    train, test : iterable of ndarray, shape (height, width, 3), uint8
        One picture after the other: only a few hundred numbers of each are kept.

    Notes
    -----
    Compared are the brightness gradients at 16 x 16 points, of the picture as it is and mirrored,
    slightly cropped, shifted and turned on either side. Pictures without any edge are left out.
    """
    name = "near-duplicate pictures"
    of_train, of_test = _signatures(train), _signatures(test)
    if of_train is None or of_test is None:
        return missing(name, "no pictures of both parts: nothing was compared.")
    nearest = np.full(len(of_test), -1.0)
    for first in range(0, len(of_train), 512):
        part = of_train[first : first + 512]
        one = np.einsum("tvk,nk->tvn", of_test, part[:, 0]).max(axis=(1, 2))
        other = np.einsum("nvk,tk->tvn", part, of_test[:, 0]).max(axis=(1, 2))
        nearest = np.maximum(nearest, np.maximum(one, other))
    n_near, largest = int((nearest >= NEAR).sum()), float(nearest.max())
    figures = {"share": n_near / len(of_test), "largest": largest}
    if not n_near:
        return Check(
            name,
            Verdict.CLEAN,
            f"the nearest of {len(of_test)} test pictures to any of {len(of_train)} in training "
            f"has {largest:.2f} of its edges in common (same picture: {NEAR:g} or more).",
            figures=figures,
        )
    return Check(
        name,
        Verdict.LEAK,
        f"{n_near} of {len(of_test)} test pictures are nearly one of the {len(of_train)} in "
        f"training ({largest:.2f} of the edges in common; {NEAR:g} counts as the same).",
        figures=figures,
    )


def _signatures(pictures: Iterable[Uint8]) -> Float64 | None:
    """Unit gradients of each picture's variants, (n, n_variants, 2 * SIDE ** 2)."""
    found = []
    for pixels in pictures:
        grey = Image.fromarray(np.ascontiguousarray(pixels)).convert("L")
        small = grey.resize((_WORK, _WORK), Image.Resampling.BILINEAR)
        if np.asarray(small).std() < 1.0:
            continue
        rows = np.array([_gradients(each) for each in _variants(small)])
        found.append(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))
    return np.array(found) if found else None


def _variants(picture: Image.Image) -> Iterable[Image.Image]:
    for face in (picture, ImageOps.mirror(picture)):
        yield face
        for cut in _SLIGHT:
            yield face.crop((cut, cut, _WORK - cut, _WORK - cut))
        for shift in _SHIFTS:
            for left in (0, shift):
                for top in (0, shift):
                    yield face.crop((left, top, left + _WORK - shift, top + _WORK - shift))
        for angle in (-_TURN, _TURN):
            corner = int(np.asarray(face)[0, 0])
            yield face.rotate(angle, resample=Image.Resampling.BILINEAR, fillcolor=corner)


def _gradients(picture: Image.Image) -> Float64:
    small = picture.resize((SIDE + 1, SIDE + 1), Image.Resampling.BOX)
    grid = np.asarray(small, dtype=np.float64)
    across, down = grid[:-1, 1:] - grid[:-1, :-1], grid[1:, :-1] - grid[:-1, :-1]
    return np.stack([across, down]).ravel()


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A statistic that a system applies, and what it would be on either part.

    Attributes
    ----------
    name : str
        Such as `mean of the channels`.
    value, of_train, of_test : ndarray, any shape, float
        A mean over items of something: samples, squares, products (a covariance). A standard
        deviation is none: give its square plus the mean's.
    n_train, n_test : int
        Items of either part.
    """

    name: str
    value: Float64
    of_train: Float64
    of_test: Float64
    n_train: int
    n_test: int

    def __post_init__(self) -> None:
        """Refuse shapes that do not fit each other."""
        shapes = {np.shape(self.value), np.shape(self.of_train), np.shape(self.of_test)}
        if len(shapes) != 1 or min(self.n_train, self.n_test) < 1:
            raise ConfigurationError(
                f"{self.name} has shapes {', '.join(map(str, sorted(shapes)))} of {self.n_train} "
                f"and {self.n_test} items, expected one shape and items in both parts."
            )


def fitted_statistics(statistics: Sequence[Fitted]) -> Check:
    """Find statistics that the test part had a share in.

    A mean over both parts lies on the line from the training part's to the test part's, at the test
    part's share; one of training alone lies at its beginning, and one of anything else beside it.
    """
    name = "statistics of the test part"
    if not statistics:
        return missing(name, "no fitted statistic was given with both parts' data.")
    shares = {each.name: _share_of_test(each) for each in statistics}
    leaking = {key: share for key, share in shares.items() if share is not None}
    if not leaking:
        text = f"{', '.join(shares)}: nothing of the test part is in them."
        return Check(name, Verdict.CLEAN, text, figures=dict.fromkeys(shares, 0.0))
    words = ", ".join(f"{key} (its weight {share:.0%})" for key, share in leaking.items())
    return Check(
        name,
        Verdict.LEAK,
        f"fitted on the test part too: {words}; fit them on the training part alone.",
        figures=leaking,
    )


def _share_of_test(fitted: Fitted) -> float | None:
    """Weight of the test part in a statistic; None where it is not of that line, or nothing."""
    way = (np.asarray(fitted.of_test, np.float64) - fitted.of_train).ravel()
    gone = (np.asarray(fitted.value, np.float64) - fitted.of_train).ravel()
    length, moved = float(np.linalg.norm(way)), float(np.linalg.norm(gone))
    # Single precision cannot tell less from rounding.
    rounding = 1e-5 * max(1e-30, float(np.linalg.norm(fitted.of_train)))
    if length <= rounding or moved <= rounding:
        return None
    share = float(way @ gone) / length**2
    cosine = float(way @ gone) / (length * moved)
    expected = fitted.n_test / (fitted.n_train + fitted.n_test)
    return share if cosine >= COSINE and share >= PART * expected else None
