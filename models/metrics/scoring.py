"""Decoded pictures against what was shown, from anybody's system: every measure of pixels at once.

Owns the names that tell the variants apart. Measures of features need a network's features, which
this does not choose.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from models.metrics.pairs import METRICS, pairwise_scores, values
from models.metrics.pictures import pixel_correlations, prepared, structural_similarities
from pipeline.errors import ShapeError

Float64 = NDArray[np.float64]
Uint8 = NDArray[np.uint8]


def score_pictures(pictures: Sequence[Uint8], originals: Sequence[Uint8]) -> dict[str, Float64]:
    """Score pictures against their originals by pixels; one number a picture.

    Parameters
    ----------
    pictures, originals : sequence of ndarray, shape (height, width, 3), uint8
        In the same order, all of one size, at least 7 pixels; two or more.

    Returns
    -------
    dict
        `pixcorr` and `ssim` as MindEye defines them (256, then 425 pixels; grey, Gaussian
        windows); `pairwise_mse`, `pairwise_pcc`, `pairwise_ssim`, the share of the other originals
        that fit less well than the own one (chance 0.5), with the squared error in floating point;
        `pairwise_mse_wrapped` as the MinD-Vis family published it, where 8-bit pictures wrap.

    Raises
    ------
    ShapeError
        The pictures are not as many as the originals, or not of one size.
    """
    shapes = {np.shape(each) for each in (*pictures, *originals)}
    if len(pictures) != len(originals) or len(pictures) < 2 or len(shapes) != 1:
        raise ShapeError(
            f"{len(pictures)} pictures and {len(originals)} originals of shapes "
            f"{sorted(shapes)[:3]}, expected two or more of each, all of one size: resize them "
            "first."
        )
    a, b = (
        prepared(torch.from_numpy(np.stack(each)).permute(0, 3, 1, 2).float() / 255)
        for each in (pictures, originals)
    )
    found = {"pixcorr": pixel_correlations(a, b), "ssim": structural_similarities(a, b)}
    for metric in METRICS:
        table = values(pictures, originals, metric)
        found[f"pairwise_{metric}"] = pairwise_scores(table, metric)
    return found
