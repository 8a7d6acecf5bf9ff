"""MindEye's measures of pictures and of their features (arXiv 2305.18274, section 3.2).

Owns the resizing that they are defined with, and identification among features. Which network the
features are of (AlexNet 2 and 5, Inception, CLIP: identification; EffNet-B1, SwAV: distance)
belongs beside the figure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from torch.nn import functional

from models.metrics.retrieval import pearsons
from pipeline.extras import extras_named

Float64 = NDArray[np.float64]
_WINDOW = 5
"""Half the window of a Gaussian of 1.5 that is cut off at 3.5 deviations."""
SIDE, PIXEL_SIDE = 256, 425
"""Pixels to which pictures are brought before everything, and before pixels are compared."""


def prepared(images: Tensor) -> Tensor:
    """Images (n, 3, height, width), within 0..1 and then at 256 pixels."""
    return _resized(images.clamp(0, 1), SIDE)


def pixel_correlations(images: Tensor, originals: Tensor) -> Float64:
    """Pearson correlation of each picture's pixels with its original's, (n,) (PixCorr: mean)."""
    a, b = (_pixels(each).flatten(1).double() for each in (images, originals))
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    return functional.cosine_similarity(a, b, eps=1e-12).numpy()


def structural_similarities(
    images: Tensor, originals: Tensor, *, columns_are_channels: bool = False
) -> Float64:
    """SSIM of each grey picture with its original, (n,); Gaussian windows, sigma 1.5.

    `columns_are_channels` is what scikit-image before 0.20 made of the original's call: a mean of
    one-dimensional SSIMs. Figures of the two are not comparable.
    """
    with extras_named("SSIM"):
        from skimage.color import rgb2gray
        from skimage.metrics import structural_similarity

    greys = [rgb2gray(_pixels(each).permute(0, 2, 3, 1).numpy()) for each in (images, originals)]
    if columns_are_channels:
        return np.array([_similarity_by_column(a, b) for a, b in zip(*greys, strict=True)])
    return np.array(
        [
            structural_similarity(
                a,
                b,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                data_range=1.0,
            )
            for a, b in zip(*greys, strict=True)
        ]
    )


def _similarity_by_column(a: Float64, b: Float64) -> float:
    """SSIM with `channel_axis=-1` of two grey pictures, all columns at once.

    scikit-image takes one column after the other: a quarter of a second a picture.
    """

    def smooth(values: Float64) -> Float64:
        return gaussian_filter1d(values, 1.5, axis=0, truncate=3.5, mode="reflect")

    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    covariance = smooth(a * b) - mean_a * mean_b
    low, contrast = 0.01**2, 0.03**2
    similarity = ((2 * mean_a * mean_b + low) * (2 * covariance + contrast)) / (
        (mean_a**2 + mean_b**2 + low) * (var_a + var_b + contrast)
    )
    return float(similarity[_WINDOW:-_WINDOW].mean(dtype=np.float64))


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


def _pixels(images: Tensor) -> Tensor:
    return _resized(images, PIXEL_SIDE)


def _resized(images: Tensor, side: int) -> Tensor:
    if images.shape[-2:] == (side, side):
        return images
    return functional.interpolate(images, (side, side), mode="bilinear", antialias=True)
