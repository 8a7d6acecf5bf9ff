"""The shipped encoder as a base: its network in the two halves that methods reach into.

Owns the way from an epoch of any montage to the adapter's channels (names, splines for absent and
broken ones, common average, the encoder's rate) and to the network's input; training and live
decoding share it to the bit. Knows nothing of what is fitted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from models.adapters.bases import PictureBase, Rows, eeg_labels
from models.adapters.data import CalibrationData
from models.adapters.errors import AdapterError
from models.adapters.montage import check_channels, map_montage, placed_names, spline_matrix
from models.embedded.encoder import EmbeddedEncoder
from models.embedded.encoder_input import (
    FLAT_UV,
    LOUD,
    interpolation,
    normalise,
    resample,
    robust_scale,
)
from models.embedded.encoder_network import EncoderNetwork
from pipeline.values import Epoch, Float32, Float64

_CHUNK = 256


@dataclass(frozen=True, slots=True, eq=False)
class NetworkBatch:
    """A batch of epochs of one montage.

    Attributes
    ----------
    ch_names : tuple of str
        Canonical labels.
    channels : ndarray, shape (n, n_channels, N_TIMES), float64, microvolts
        Against their common average, from `TMIN` at `SFREQ`.
    known_scale, known_evidence : ndarray or None
        What was worked out before (`scale`, the unchanged encoder's evidence), so that
        cross-validation does it once.
    """

    ch_names: tuple[str, ...]
    channels: Float64
    known_scale: Float64 | None = None
    known_evidence: Float64 | None = None

    def __len__(self) -> int:
        return len(self.channels)

    @property
    def scale(self) -> Float64:
        """One robust scale an epoch, (n,) float64, microvolts."""
        if self.known_scale is not None:
            return self.known_scale
        return np.asarray(np.median(robust_scale(self.channels), axis=-1))

    def inputs(self) -> tuple[Float32, Float32]:
        """Return the network's input: virtual electrodes and conditions."""
        bridge = interpolation(self.ch_names)
        return normalise(
            bridge.matrix @ self.channels, self.scale, len(self.ch_names), bridge.coverage
        )

    def take(self, rows: Rows) -> NetworkBatch:
        """Return those epochs only."""
        which = np.asarray(rows)
        return NetworkBatch(
            self.ch_names,
            self.channels[which],
            None if self.known_scale is None else self.known_scale[which],
            None if self.known_evidence is None else self.known_evidence[which],
        )


def _finish(picked: Float64, names: tuple[str, ...], *, sfreq: float, tmin: float) -> Float64:
    grid = resample(picked, sfreq=sfreq, tmin=tmin)
    for row, bad in enumerate(_bad_channels(grid)):
        if bad.any():
            grid[row] = _repaired(grid[row], names, bad)
    return np.asarray(grid - grid.mean(axis=1, keepdims=True))


def _bad_channels(grid: Float64) -> np.ndarray:
    """Flat channels and those far louder than the others, (n, n_channels) bool.

    None where too few good ones would remain to fill them in from.
    """
    flat = robust_scale(grid) <= FLAT_UV
    spread = robust_scale(grid - np.median(grid, axis=1, keepdims=True))
    loud = spread >= LOUD * np.maximum(np.median(spread, axis=1, keepdims=True), 1e-9)
    bad = flat | loud
    enough = (~bad).sum(axis=1) >= max(4, grid.shape[1] // 2)
    return np.asarray(bad & enough[:, None])


def _repaired(data: Float64, names: tuple[str, ...], bad: np.ndarray) -> Float64:
    good = [name for name, is_bad in zip(names, bad, strict=True) if not is_bad]
    lost = [name for name, is_bad in zip(names, bad, strict=True) if is_bad]
    out = data.copy()
    out[bad] = spline_matrix(good, lost) @ data[~bad]
    return out


class NetworkBase(PictureBase[NetworkBatch]):
    """The shipped encoder's network: evidence first, recall of known pictures behind it."""

    encoder: EmbeddedEncoder

    def __init__(self, encoder: EmbeddedEncoder) -> None:
        self.encoder = encoder
        self.network: EncoderNetwork = encoder.network

    def prepare(self, data: CalibrationData) -> NetworkBatch:
        """Bring a calibration's epochs into shape, all its channels with a place on the head.

        Raises
        ------
        AdapterError
            Fewer than two have one.
        """
        names = placed_names(data.channels)
        if len(names) < 2:
            raise AdapterError(
                f"the montage {', '.join(data.channels[:8])} has {len(names)} labels of the 10-05 "
                "system, expected at least two: give the labels with source.ch_names."
            )
        picked = map_montage(data.channels, names).matrix @ data.epochs
        return NetworkBatch(names, _finish(picked, names, sfreq=data.sfreq, tmin=data.tmin))

    def prepare_epoch(self, epoch: Epoch, ch_names: tuple[str, ...]) -> NetworkBatch:
        """Bring one live epoch to the channels `ch_names`, absent ones interpolated.

        Raises
        ------
        AdapterError
            Too many of the channels are absent, or the epoch holds NaN.
        """
        found = map_montage(eeg_labels(epoch), ch_names)
        check_channels(found)
        if not np.isfinite(epoch.data).all():
            raise AdapterError(
                f"epoch {epoch.index} holds NaN or infinity, expected finite microvolts: reject it."
            )
        picked = (found.matrix @ epoch.data)[np.newaxis]
        finished = _finish(picked, ch_names, sfreq=epoch.info.sfreq, tmin=epoch.tmin)
        return NetworkBatch(ch_names, finished)

    def check_montage(self, given: tuple[str, ...], wanted: tuple[str, ...]) -> None:
        """Raise `AdapterError` when too many of the calibration's channels are absent."""
        check_channels(map_montage(given, wanted))

    def channels(self, batch: NetworkBatch) -> Float64:
        """Channels against their common average, on the encoder's grid."""
        return batch.channels

    def aligned(self, batch: NetworkBatch, matrix: Float64) -> NetworkBatch:
        """Return the batch with its channels mixed by `matrix` (n_channels, n_channels)."""
        mixed = matrix @ batch.channels
        return NetworkBatch(batch.ch_names, mixed - mixed.mean(axis=1, keepdims=True))

    def remembering(self, batch: NetworkBatch) -> NetworkBatch:
        """Return the batch with its scale and the unchanged encoder's evidence worked out."""
        return replace(batch, known_scale=batch.scale, known_evidence=self.evidence(batch))

    def evidence(self, batch: NetworkBatch, warp_bias: Float64 | None = None) -> Float64:
        """What the network reads from a batch, (n, n_features) float64.

        Parameters
        ----------
        batch : NetworkBatch
        warp_bias : ndarray, shape (n_warps,), optional
            Added to the log probability of each latency warp.
        """
        if warp_bias is None:
            if batch.known_evidence is not None:
                return batch.known_evidence
            return self._by_chunks(batch, self.network.evidence)
        bias = torch.from_numpy(warp_bias.astype(np.float32))
        return self._by_chunks(batch, lambda x, c: self.network.evidence(x, c, warp_bias=bias))

    def log_warps(self, batch: NetworkBatch) -> Float64:
        """Log probability of each of the encoder's latency warps, (n, n_warps) float64."""
        return self._by_chunks(batch, lambda x, c: self.network.readings(x, c)[1])

    @staticmethod
    def _by_chunks(batch: NetworkBatch, step: Callable[[Tensor, Tensor], Tensor]) -> Float64:
        x, conditions = (torch.from_numpy(each) for each in batch.inputs())
        parts = []
        with torch.inference_mode():
            for start in range(0, len(x), _CHUNK):
                part = slice(start, start + _CHUNK)
                parts.append(step(x[part], conditions[part]).numpy())
        return np.concatenate(parts).astype(np.float64)

    def recall(self, evidence: Float64, bias: Float64 | None = None) -> Float64:
        """Turn evidence into embeddings, (n, n_features) float64.

        Parameters
        ----------
        bias : ndarray, shape (n_memory,), optional
            Added to the log probability of each known picture.
        """
        prior = self.network.log_prior
        with torch.inference_mode():
            if bias is not None:
                self.network.log_prior = prior + torch.from_numpy(bias).to(prior.dtype)
            try:
                vectors = self.network.recall(torch.from_numpy(evidence.astype(np.float32)))
            finally:
                self.network.log_prior = prior
        return vectors.numpy().astype(np.float64)

    @property
    def memory(self) -> Float64:
        """Embeddings of the known pictures, (n_memory, n_features) float64."""
        return self.network.memory.numpy().astype(np.float64)

    @property
    def log_prior(self) -> Float64:
        """Log probability of each known picture beforehand, (n_memory,) float64."""
        return self.network.log_prior.numpy().astype(np.float64)

    @property
    def log_warp_prior(self) -> Float64:
        """Log probability of each warp beforehand, but for a constant, (n_warps,) float64."""
        return self.network.log_warp_prior.detach().numpy().astype(np.float64)

    @property
    def recognition(self) -> float:
        """How much a latency warp gains by fitting a known picture; see the network."""
        return float(self.network.recognition.detach())

    @property
    def temperature(self) -> float:
        """At which evidence is a log likelihood."""
        return float(self.network.log_temperature.detach().exp())
