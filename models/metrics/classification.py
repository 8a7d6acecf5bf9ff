"""N-way top-k classification of pictures: whether the true class is among the likeliest.

Owns the Monte Carlo of the MinD-Vis family and its closed form. A classifier's probabilities are
given; whose they are (published: torchvision's ViT-H/14) belongs beside the figure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


def draw_rivals(class_ids: Int64, n_classes: int, *, n_way: int, n_trials: int, seed: int) -> Int64:
    """Draw each trial's competing classes, none twice and never the true one.

    Returns
    -------
    ndarray, shape (n, n_trials, n_way - 1), int64
    """
    rng = np.random.default_rng(seed)
    draws = np.empty((len(class_ids), n_trials, n_way - 1), dtype=np.int64)
    for row, own in zip(draws, class_ids, strict=True):
        others = np.delete(np.arange(n_classes), own)
        for trial in row:
            trial[:] = rng.choice(others, n_way - 1, replace=False)
    return draws


def n_way_top_k(
    probabilities: Float64, class_ids: Int64, rivals: Int64, *, k: int = 1
) -> tuple[Float64, Float64]:
    """Share of trials in which the true class is among the `k` likeliest, and its deviation.

    Parameters
    ----------
    probabilities : ndarray, shape (n, n_classes)
        Over all classes; those of a trial are compared as they are.
    class_ids : ndarray, shape (n,), int64
        Published: the likeliest class of the *shown picture*, not the data set's label.
    rivals : ndarray, shape (n, n_trials, n_way - 1), int64
        As `draw_rivals` gives.

    Returns
    -------
    mean, deviation : ndarray, shape (n,)
        Per picture; the deviation over trials is the population's.
    """
    own = np.take_along_axis(probabilities, class_ids[:, None], axis=1)[:, :, None]
    others = np.take_along_axis(probabilities[:, None], rivals, axis=2)
    hits = (others > own).sum(axis=2) < k
    return hits.mean(axis=1), hits.std(axis=1)


def expected_n_way_top_k(
    probabilities: Float64, class_ids: Int64, *, n_way: int, k: int = 1
) -> Float64:
    """What `n_way_top_k` tends to with ever more trials, (n,): no noise of drawing.

    With r classes above the true one: the chance that fewer than k of the n_way - 1 rivals are of
    those (hypergeometric).
    """
    own = np.take_along_axis(probabilities, class_ids[:, None], axis=1)
    above = (probabilities > own).sum(axis=1)
    by_rank = n_way_by_rank(probabilities.shape[1], n_way=n_way, k=k)
    return np.asarray(by_rank[above])


def n_way_by_rank(n_classes: int, *, n_way: int, k: int = 1) -> Float64:
    """`expected_n_way_top_k` by the number of classes above the true one, (n_classes,)."""
    above = np.arange(n_classes)
    found = hypergeom.cdf(k - 1, n_classes - 1, above, n_way - 1)
    return np.array(found, dtype=np.float64)
