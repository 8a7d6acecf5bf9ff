"""MindEye's measures of pictures and of their features (arXiv 2305.18274, section 3.2).

Owns the resizing that they are defined with, and identification among features. Which network the
features are of (AlexNet 2 and 5, Inception, CLIP: identification; EffNet-B1, SwAV: distance)
belongs beside the figure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from torch.nn import functional

from models.metrics.retrieval import pearsons

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
SIDE, PIXEL_SIDE = 256, 425
"""Pixels to which pictures are brought before everything, and before pixels are compared."""
_SIGMA, _TRUNCATE, _WINDOW = 1.5, 3.5, 5
"""Of SSIM's Gaussian, where it is cut off in deviations, and half of it in pixels."""
_GREY = np.array([0.2125, 0.7154, 0.0721], dtype=np.float32)
"""Shares of red, green and blue, as scikit-image's `rgb2gray`."""


def prepared(images: Tensor) -> Tensor:
    """Images (n, 3, height, width), within 0..1 and then at 256 pixels."""
    return _resized(images.clamp(0, 1), SIDE)


@dataclass(frozen=True, slots=True, eq=False)
class Comparable:
    """A picture at side 425 with all that comparing it needs: one is compared with many.

    Attributes
    ----------
    pixels : ndarray, shape (3 * 425 * 425,), float64
        Without their mean, of length 1: products are correlations.
    grey : ndarray, shape (425, 425), float32
    columns, windows : (mean, variance) of two ndarrays like `grey`
        Under a Gaussian along each column, and over both axes.
    """

    pixels: Float64
    grey: Float32
    columns: tuple[Float32, Float32]
    windows: tuple[Float32, Float32]


def comparable(image: Tensor) -> Comparable:
    """Make one of a picture (3, height, width) from 0 to 1."""
    wide = _resized(image[None], PIXEL_SIDE)[0].numpy()
    flat = wide.reshape(-1).astype(np.float64)
    flat -= flat.mean()
    flat /= max(float(np.sqrt(_product(flat, flat))), 1e-12)
    grey = (_GREY[0] * wide[0] + _GREY[1] * wide[1] + _GREY[2] * wide[2]).astype(np.float32)
    down, down_squares = _smooth(grey, axis=0), _smooth(grey * grey, axis=0)
    both, both_squares = _smooth(down, axis=1), _smooth(down_squares, axis=1)
    return Comparable(
        flat, grey, (down, down_squares - down * down), (both, both_squares - both * both)
    )


def pixel_correlation(one: Comparable, other: Comparable) -> float:
    """Pearson's correlation of all pixels (PixCorr: the mean over pictures)."""
    return _product(one.pixels, other.pixels)


def structural_similarity(one: Comparable, other: Comparable) -> tuple[float, float]:
    """SSIM of two grey pictures with Gaussian windows, and the same by column.

    The first is what scikit-image 0.20 and later give for the original's call, the second what it
    gave before: a mean of one-dimensional SSIMs, since columns were taken for channels. Figures of
    the two are not comparable. Computed here, in scikit-image's order and precision, because both
    share half of their work and because a shown picture is compared many times.
    """
    down = _smooth(one.grey * other.grey, axis=0)
    inner = slice(_WINDOW, -_WINDOW)
    by_column = _similarity(one.columns, other.columns, down)[inner]
    whole = _similarity(one.windows, other.windows, _smooth(down, axis=1))[inner, inner]
    return float(whole.mean(dtype=np.float64)), float(by_column.mean(dtype=np.float64))


def _similarity(
    one: tuple[Float32, Float32], other: tuple[Float32, Float32], products: Float32
) -> Float32:
    """SSIM at each pixel of a range of 1 (Wang et al. 2004, equation 13)."""
    (mean_a, var_a), (mean_b, var_b) = one, other
    both = mean_a * mean_b
    low, contrast = np.float32(0.01**2), np.float32(0.03**2)
    found = ((2 * both + low) * (2 * (products - both) + contrast)) / (
        (mean_a * mean_a + mean_b * mean_b + low) * (var_a + var_b + contrast)
    )
    return np.asarray(found, dtype=np.float32)


def _product(one: Float64, other: Float64) -> float:
    """Inner product without BLAS, whose threads wait for each other longer than this takes."""
    return float(np.einsum("i,i", one, other))


def _smooth(values: Float32, *, axis: int) -> Float32:
    found = gaussian_filter1d(values, _SIGMA, axis=axis, truncate=_TRUNCATE, mode="reflect")
    return np.asarray(found, dtype=np.float32)


def pixel_correlations(images: Tensor, originals: Tensor) -> Float64:
    """Pearson correlation of each picture's pixels with its original's, (n,) (PixCorr: mean)."""
    pairs = zip(images, originals, strict=True)
    return np.array([pixel_correlation(comparable(a), comparable(b)) for a, b in pairs])


def structural_similarities(
    images: Tensor, originals: Tensor, *, columns_are_channels: bool = False
) -> Float64:
    """SSIM of each grey picture with its original, (n,): one of `structural_similarity`'s two."""
    pairs = zip(images, originals, strict=True)
    found = [structural_similarity(comparable(a), comparable(b)) for a, b in pairs]
    return np.array([each[columns_are_channels] for each in found])


def two_way(features: Float64, originals: Float64) -> Float64:
    """For each picture, how many other originals' features correlate less than its own's, (n,).

    Divided by n - 1: the share of won comparisons; chance is a half. Features are (n, n_features).
    """
    table = pearsons(originals, features)
    won: Float64 = (table < np.diag(table)[None, :]).sum(axis=0)
    return won


def correlation_distances(features: Float64, originals: Float64) -> Float64:
    """1 minus the correlation of each picture's features with its original's, (n,)."""
    return 1 - np.diag(pearsons(features, originals))


def _resized(images: Tensor, side: int) -> Tensor:
    if images.shape[-2:] == (side, side):
        return images
    return functional.interpolate(images, (side, side), mode="bilinear", antialias=True)
