"""Superpixel pictures at three scales with texture enhancement.

Owns the segmentation's settings, the mean colours and the texture. SLIC is scikit-image's
(Achanta et al., 2012); the 8-bit Lab planes follow the integer arithmetic of OpenCV's `cvtColor`,
whose rounding the texture shows, without needing OpenCV. Knows nothing of CLIP or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.multimodal.errors import MultimodalError
from models.multimodal.modalities import Modality
from pipeline.extras import extras_named

Uint8 = NDArray[np.uint8]
SIGMA = 1.0
MIN_SIZE, MAX_SIZE = 0.1, 2.0


@dataclass(frozen=True, slots=True)
class SuperpixelLevel:
    """One scale: how many segments, how compact (SLIC's weight of place), how much texture."""

    n_segments: int
    compactness: float
    texture_weight: float


LEVELS = {
    Modality.LARGE: SuperpixelLevel(2500, 10, 0.5),
    Modality.MIDDLE: SuperpixelLevel(500, 20, 0.3),
    Modality.FEW: SuperpixelLevel(100, 30, 0.1),
}
"""As published, for pictures of 500 x 500."""


def segment(image: Uint8, level: SuperpixelLevel) -> NDArray[np.int64]:
    """Label the superpixels of an RGB picture (height, width, 3); (height, width) from 1.

    Raises
    ------
    MissingExtraError
        scikit-image is not installed.
    MultimodalError
        The picture has another shape or dtype.
    """
    _check(image)
    with extras_named("segmenting into superpixels"):
        from skimage.segmentation import slic
    labels = slic(
        image,
        n_segments=level.n_segments,
        compactness=level.compactness,
        sigma=SIGMA,
        min_size_factor=MIN_SIZE,
        max_size_factor=MAX_SIZE,
        start_label=1,
    )
    return np.asarray(labels, dtype=np.int64)


def superpixel_image(
    image: Uint8, level: SuperpixelLevel, *, segments: NDArray[np.int64] | None = None
) -> Uint8:
    """Fill each superpixel with its mean colour, then raise the brightness where texture is.

    Parameters
    ----------
    image : ndarray, shape (height, width, 3), uint8, sRGB
    segments : ndarray, shape (height, width), int64, or None
        A map to use; None segments the picture.

    Returns
    -------
    ndarray, shape (height, width, 3), uint8
        Truncated, not rounded, as published.
    """
    segments = segment(image, level) if segments is None else segments
    _check(image)
    flat = mean_colours(image, segments)
    brightness = 1 + level.texture_weight * texture(image)
    return np.clip(flat * brightness[..., np.newaxis], 0, 255).astype(np.uint8)


def mean_colours(image: Uint8, segments: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean colour of each pixel's segment, (height, width, 3)."""
    labels, inverse = np.unique(segments, return_inverse=True)
    inverse = inverse.reshape(segments.shape)
    counts = np.bincount(inverse.ravel(), minlength=len(labels))
    sums = [np.bincount(inverse.ravel(), weights=image[..., c].ravel()) for c in range(3)]
    return np.stack([s / counts for s in sums], axis=-1)[inverse]


def texture(image: Uint8) -> NDArray[np.float64]:
    """Gradient magnitude of the two colour planes of Lab, (height, width), 0 to 1."""
    planes = lab_8bit(image)[..., 1:].astype(np.float64)
    slopes = [
        ndimage.sobel(planes[..., plane], axis=axis, mode="mirror")
        for plane in (0, 1)
        for axis in (0, 1)
    ]
    magnitude = np.sqrt(sum(slope**2 for slope in slopes))
    low, high = magnitude.min(), magnitude.max()
    if high == low:  # a grey picture has no colour edges
        return np.zeros(magnitude.shape)
    return np.asarray((magnitude - low) / (high - low))


_XYZ = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
_WHITE = np.array([0.950456, 1.0, 1.088754])
_GAMMA_BITS, _MATRIX_BITS = 3, 12
_ROOT_BITS = _GAMMA_BITS + _MATRIX_BITS


@cache
def _tables() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Fixed-point linear light of each byte, CIE's cube root, RGB to white-scaled XYZ."""
    value = np.arange(256) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    unit = 255 << _GAMMA_BITS
    light = np.arange(unit * 3 // 2 + 1) / unit
    root = np.where(light < 0.008856, 7.787 * light + 16 / 116, np.cbrt(light))
    matrix = _XYZ / _WHITE[:, np.newaxis] * (1 << _MATRIX_BITS)
    return (
        np.rint(linear * unit).astype(np.int64),
        np.rint(root * (1 << _ROOT_BITS)).astype(np.int64),
        np.rint(matrix).astype(np.int64),
    )


def lab_8bit(image: Uint8) -> Uint8:
    """Convert sRGB (height, width, 3) to CIE Lab in bytes: L of 255, a and b around 128."""
    linear, root, matrix = _tables()
    xyz = (linear[image] @ matrix.T + (1 << _MATRIX_BITS - 1)) >> _MATRIX_BITS
    x, y, z = np.moveaxis(root[xyz], -1, 0)
    one, half = 1 << _ROOT_BITS, 1 << _ROOT_BITS - 1
    lightness = 296 * y - 1336935 + half
    lab = np.stack(
        [
            lightness >> _ROOT_BITS,
            (500 * (x - y) + 128 * one + half) >> _ROOT_BITS,
            (200 * (y - z) + 128 * one + half) >> _ROOT_BITS,
        ],
        axis=-1,
    )
    return np.asarray(np.clip(lab, 0, 255), dtype=np.uint8)


def _check(image: Uint8) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise MultimodalError(
            f"a picture is {image.dtype} of shape {image.shape}, expected uint8 (height, width, "
            "3): convert it to RGB."
        )
