"""Pair-wise identification of pictures by their pixels, as the MinD-Vis family scores it.

Owns the three metrics and the comparison of a picture with its own original and with the others.
These are rates of identification, not the metrics' own values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.metrics.retrieval import pearsons
from pipeline.extras import extras_named

Array = NDArray[np.generic]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Name = Literal["mse", "mse_wrapped", "pcc", "ssim"]


def _mse(a: Array, b: Array) -> float:
    return float(np.square(a.astype(np.float64) - b.astype(np.float64)).mean())


def _mse_wrapped(a: Array, b: Array) -> float:
    """As published: 8-bit pictures wrap modulo 256, in the difference and in its square."""
    return float(np.square(np.asarray(a - b)).mean())  # type: ignore[operator]


def _pcc(a: Array, b: Array) -> float:
    rows = (each.astype(np.float64).reshape(1, -1) for each in (a, b))
    return float(pearsons(*rows)[0, 0])


def _ssim(a: Array, b: Array) -> float:
    with extras_named("SSIM"):
        from skimage.metrics import structural_similarity

    return float(structural_similarity(a, b, data_range=255, channel_axis=-1))


METRICS: dict[Name, tuple[Callable[[Array, Array], float], bool]] = {
    "mse": (_mse, False),
    "mse_wrapped": (_mse_wrapped, False),
    "pcc": (_pcc, True),
    "ssim": (_ssim, True),
}
"""Each metric, and whether more of it is better. `mse_wrapped` is the original's `mse`."""


def values(pictures: Sequence[Array], originals: Sequence[Array], metric: Name) -> Float64:
    """The metric of each picture with each original, (n_pictures, n_originals).

    Pictures are (height, width, 3) in 0..255; SSIM has windows of 7 pixels, all alike.
    """
    function, _ = METRICS[metric]
    return np.array([[function(a, b) for b in originals] for a in pictures])


def pairwise_scores(table: Float64, metric: Name) -> Float64:
    """Share of the other originals that fit a picture less well than its own, (n,).

    `table` is of `values`, square; equals count as failures.
    """
    gain = _gain(table, metric)
    won: Float64 = (gain < np.diag(gain)[:, None]).sum(axis=1) / (len(table) - 1)
    return won


def n_way_scores(table: Float64, metric: Name, draws: Int64) -> Float64:
    """Share of trials in which the own original fits best of n, (n,).

    `draws` (n, n_trials, n_way - 1) number the *other* originals, the own one left out.
    """
    gain = _gain(table, metric)
    scores = []
    for i, row in enumerate(draws):
        others = np.delete(gain[i], i)[row]
        scores.append((others < gain[i, i]).all(axis=1).mean())
    return np.array(scores)


def _gain(table: Float64, metric: Name) -> Float64:
    return table if METRICS[metric][1] else -table
