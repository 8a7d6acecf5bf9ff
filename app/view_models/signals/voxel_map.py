"""Thousands of voxels as one map: the newest sample, and how far each sample was from rest.

Owns the map's shape, its scale and the summary. A trace a voxel would be fifteen thousand lines,
of which a screen has a thousand. Knows nothing of Qt, or of where in the brain a voxel lies: the
map's order is the recording's.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from app.view_models.signals.traces import TraceSource
from pipeline.values import Float32, Info
from pipeline.volumes import KIND

N_SUMMARY = 120
"""Samples that the summary looks back upon."""
QUANTILE = 0.99
"""Part of the voxels that lies within the map's scale."""


class VoxelMap:
    """What the map paints.

    Attributes
    ----------
    info : Info or None
        Of the voxels; None: the session's channels are electrodes, or there is none.
    values : ndarray, shape (n_voxels,), float32
        The newest sample, in the recording's unit.
    scale : float
        Value at the ends of the colours; rises with the data, so that two samples compare.
    spreads : deque of float
        Root mean square over the voxels, a sample each, newest last.
    revision : int
        Rises with every change.
    """

    def __init__(self) -> None:
        self.info: Info | None = None
        self.values: Float32 = np.zeros(0, dtype=np.float32)
        self.scale = 0.0
        self.spreads: deque[float] = deque(maxlen=N_SUMMARY)
        self.revision = self.n_samples = 0

    @staticmethod
    def suits(info: Info | None) -> bool:
        """Whether these channels are voxels."""
        return info is not None and set(info.ch_types) == {KIND}

    def reset(self, info: Info | None) -> None:
        """Begin with other voxels, or none."""
        self.info = info
        self.values = np.zeros(0, dtype=np.float32)
        self.scale, self.n_samples = 0.0, 0
        self.spreads.clear()
        self.revision += 1

    def poll(self, source: TraceSource) -> bool:
        """Take the samples that are new; return whether there were any."""
        if self.info is None:
            return False
        block = source.traces(self.n_samples, N_SUMMARY)
        if block is None or not block.data.shape[1]:
            return False
        self.n_samples = block.start + block.data.shape[1]
        self.spreads.extend(np.sqrt(np.square(block.data).mean(axis=0, dtype=np.float64)).tolist())
        self.values = block.data[:, -1]
        self.scale = max(self.scale, float(np.quantile(np.abs(self.values), QUANTILE)))
        self.revision += 1
        return True

    def grid(self, aspect: float) -> NDArray[np.uint8]:
        """The map as steps of colour, (n_rows, n_columns) uint8, 128 in the middle.

        Parameters
        ----------
        aspect : float
            Width over height of the place; rows are filled from the left, 128 stands after the
            last voxel.
        """
        n = len(self.values)
        if not n:
            return np.full((1, 1), 128, dtype=np.uint8)
        n_columns = min(n, max(1, math.ceil(math.sqrt(n * max(aspect, 1e-3)))))
        n_rows = -(-n // n_columns)
        steps = np.full(n_rows * n_columns, 128, dtype=np.uint8)
        scaled = self.values / (self.scale or 1.0)
        steps[:n] = np.clip(128 + 127 * scaled, 1, 255).astype(np.uint8)
        return steps.reshape(n_rows, n_columns)

    @property
    def sentence(self) -> str:
        """What is shown, for people."""
        if self.info is None or not self.n_samples:
            return ""
        return (
            f"{len(self.values)} voxels in the recording's order, sample {self.n_samples}; "
            f"colours to ±{self.scale:.3g}, below: spread over the voxels, the last "
            f"{len(self.spreads)} samples. Signal quality does not apply to voxels."
        )
