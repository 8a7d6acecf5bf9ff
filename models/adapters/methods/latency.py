"""When a person's brain answers: latencies against the average person's, and each trial's own.

Owns how the encoder's linear path reads channels, how a subject's latency warp is found from
labelled epochs, and which of a few shifts around it each trial has. A warp is that of
`models.embedded.time_warps`. Knows nothing of what an adapter does with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from models.adapters.network_base import NetworkBase, NetworkBatch
from models.embedded.encoder_input import CLIP, interpolation
from models.embedded.time_warps import N_BINS, log_prior, window_matrix
from pipeline.values import Float64

SCALES = np.linspace(0.90, 1.10, 21)
SHIFTS = np.linspace(-0.040, 0.040, 21)
"""Warps that a subject is tried at, s: three standard deviations of the population's."""
TRIAL_SHIFTS = np.array([-0.012, -0.006, 0.0, 0.006, 0.012])
"""Latency of a trial against the person's own, s."""
TRIAL_SPREAD = 0.006


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """The encoder's linear path in terms of a montage's channels.

    `weights` (n_channels, N_BINS, n_features): windowed means to evidence; `waves` (n_channels,
    N_BINS): windowed means to the log likelihood of their warp.
    """

    weights: Float64
    waves: Float64

    @classmethod
    def of(cls, base: NetworkBase, ch_names: tuple[str, ...]) -> Expected:
        """Mix the encoder's experts for a montage, and go back from virtual electrodes."""
        network = base.network
        bridge = interpolation(ch_names)
        coverage = np.zeros((1, network.config.n_conditions), dtype=np.float32)
        coverage[0, : network.config.n_virtual] = bridge.coverage
        with torch.inference_mode():
            shares = network.mixture(torch.from_numpy(coverage))[0]
            weights = torch.einsum("e,eif->if", shares, network.straight).double().numpy()
            waves = (shares @ network.timing).double().numpy()
        matrix = bridge.matrix.astype(np.float64)
        virtual = weights.reshape(network.config.n_virtual, N_BINS, -1)
        return cls(
            weights=np.einsum("vc,vpf->cpf", matrix, virtual, optimize=True),
            waves=matrix.T @ waves.reshape(network.config.n_virtual, N_BINS),
        )


def in_scales(batch: NetworkBatch) -> Float64:
    """Channels in units of each epoch's scale, clipped as the encoder does: as in `Prepared`."""
    scaled = batch.channels / np.maximum(batch.scale, 1e-3)[:, None, None]
    return np.clip(scaled, -CLIP, CLIP)


def subject_warp(
    batch: NetworkBatch, targets: Float64, base: NetworkBase, expected: Expected
) -> tuple[float, float]:
    """Find the latency warp under which the epochs are most like what the encoder expects of them.

    Both parts of the likelihood count: the waves that every picture evokes, and how well what is
    read fits what was shown.

    Returns
    -------
    scale, shift : float
        Shift in seconds.
    """
    channels = in_scales(batch)
    shown = np.einsum("nct,nf->ctf", channels, targets / base.temperature, optimize=True)
    agreement = np.einsum("ctf,cpf->tp", shown, expected.weights, optimize=True)
    agreement += channels.sum(axis=0).T @ expected.waves
    scales, shifts = (grid.ravel() for grid in np.meshgrid(SCALES, SHIFTS, indexing="ij"))
    likelihood = np.einsum("ktp,tp->k", window_matrix(scales, shifts), agreement)
    best = int(np.argmax(likelihood + log_prior(scales, shifts)))
    return float(scales[best]), float(shifts[best])


def trial_log_prior() -> Float64:
    """Log probability of each of `TRIAL_SHIFTS`, but for a constant."""
    return -0.5 * (TRIAL_SHIFTS / TRIAL_SPREAD) ** 2
