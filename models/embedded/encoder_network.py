"""The encoder's network: virtual electrodes over time to a vector in the gallery's space.

Owns the torch module and nothing else: no files, no epochs, no training. A montage speaks through
its `conditions` (what it covers, how loud it is): they weigh a small set of experts, each at home
in one kind of montage, so that one network serves any of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.embedded.time_warps import (
    BIN_SAMPLES,
    FIRST_SAMPLE,
    N_BINS,
    WARPS,
    grid_matrices,
)

N_CODE = 48
TEMPERATURE = 0.015
"""At which evidence starts out; it is learnt."""
RESIDUAL = 0.3
"""Part of the evidence that reaches the embedding past the known pictures."""
UNMEASURED = 6e4
"""Limit of strangeness before it is measured: none."""
UNSEEN = 0.03
"""Part of a virtual electrode's variance that is as good as nothing when montages are compared."""
RECOGNITION = 0.5
"""How much a timing gains by what is read under it fitting a known picture, to start with (1: as
by Bayes' rule, were the noise as the closed form has it); it is learnt."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Sizes of the network."""

    n_virtual: int = 64
    n_times: int = 126
    n_conditions: int = 66
    n_experts: int = 8
    n_spatial: int = 48
    width: int = 64
    n_blocks: int = 2
    n_late: int = 48
    n_hidden: int = 192
    n_features: int = 64
    n_memory: int = 459
    dropout: float = 0.1


class _Block(nn.Module):
    """Residual temporal convolution, scaled and shifted by the montage's code."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.conv = nn.Conv1d(width, width, 5, padding=2)
        self.modulation = nn.Linear(N_CODE, 2 * width)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        scale, shift = self.modulation(code)[:, :, None].chunk(2, dim=1)
        hidden = functional.gelu(self.norm(x) * (1 + scale) + shift)
        added: Tensor = x + self.dropout(self.conv(hidden))
        return added


def straight_features(x: Tensor) -> Tensor:
    """Windowed means of the electrodes at the average person's timing: (batch, n_straight)."""
    window = slice(FIRST_SAMPLE, FIRST_SAMPLE + N_BINS * BIN_SAMPLES)
    return functional.avg_pool1d(x[:, :, window], BIN_SAMPLES).flatten(1)


def montage_place(coverage: Tensor) -> Tensor:
    """Where a montage lies among others: log of what it cannot see, electrode by electrode.

    Coverage itself is nearly 1 for every cap; on this scale one with 63 electrodes is as far from
    one with 32 as that is from one with 16.
    """
    return torch.log(1 - coverage + UNSEEN)


class EncoderNetwork(nn.Module):
    """Maps (batch, n_virtual, n_times) and conditions to (batch, n_features).

    A straight path and a deep one (spatial filters, temporal convolutions) are added; a factor
    read from both shrinks the sum, so that its length says how much was understood. Where it is
    like nothing that training has seen (`strangeness`), it is shrunk once more.

    The straight path is linear in windowed means, an expert's weights a kind of montage, and can
    be set in closed form. Latencies differ between people and trials: it reads the epoch under
    every timing of `WARPS`, and averages what it reads by how likely each timing is. That is told
    by the waves that every picture evokes (`timing`, linear as well) and by how well what was read
    under it fits any known picture.

    What comes of it is the evidence `u`: `u @ e / temperature` is the log likelihood of a picture
    with embedding `e`, up to a constant. The output is the posterior mean under a prior of known
    pictures (`memory`, the gallery) plus `RESIDUAL * u`, which is not bound to them. With `d` the
    posterior mean less the gallery's centre, it is placed at `d + centre * min(1, |d| / radius)`:
    the picture's own embedding when sure, near zero when nothing was seen.
    """

    centre: Tensor
    radius: Tensor
    memory: Tensor
    log_prior: Tensor
    windows: Tensor
    noise_mean: Tensor
    noise_root: Tensor
    strange_from: Tensor

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        c = self.config
        self.code = nn.Sequential(
            nn.Linear(c.n_conditions, N_CODE), nn.GELU(), nn.Linear(N_CODE, N_CODE), nn.GELU()
        )
        self.homes = nn.Parameter(torch.rand(c.n_experts, c.n_virtual))
        self.log_sharpness = nn.Parameter(torch.tensor(0.0))
        self.experts = nn.Parameter(
            torch.randn(c.n_experts, c.n_spatial, c.n_virtual) / c.n_virtual**0.5
        )
        n_straight = c.n_virtual * N_BINS
        self.straight = nn.Parameter(0.002 * torch.randn(c.n_experts, n_straight, c.n_features))
        self.straight_bias = nn.Parameter(torch.zeros(c.n_experts, c.n_features))
        self.timing = nn.Parameter(torch.zeros(c.n_experts, n_straight))
        self.log_warp_prior = nn.Parameter(torch.zeros(len(WARPS)))
        self.recognition = nn.Parameter(torch.tensor(RECOGNITION))
        self.stem = nn.Conv1d(c.n_spatial, c.width, 7, stride=2, padding=3)
        self.blocks = nn.ModuleList(_Block(c.width, c.dropout) for _ in range(c.n_blocks))
        self.shrink = nn.Conv1d(c.width, c.n_late, 5, stride=2, padding=2)
        n_flat = c.n_late * ((c.n_times // 2 + 1) // 2)
        self.norm = nn.LayerNorm(n_flat)
        self.hidden = nn.Linear(n_flat, c.n_hidden)
        self.dropout = nn.Dropout(c.dropout)
        self.deep = nn.Linear(c.n_hidden, c.n_features)
        self.confidence = nn.Linear(c.n_hidden + c.n_features + N_CODE + 1, 32)
        self.factor = nn.Linear(32, 1)
        self.rebuild = nn.ConvTranspose1d(c.width, c.n_virtual, 4, stride=2, padding=1)
        for layer in (self.deep, self.factor):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(TEMPERATURE)))
        self.register_buffer("centre", torch.zeros(c.n_features))
        self.register_buffer("radius", torch.ones(()))
        self.register_buffer("memory", torch.zeros(c.n_memory, c.n_features))
        self.register_buffer("log_prior", torch.full((c.n_memory,), -math.log(c.n_memory)))
        # What evidence is like where nothing was shown, by expert, and how strange is too strange.
        self.register_buffer("noise_mean", torch.zeros(c.n_experts, c.n_features))
        root = torch.eye(c.n_features).repeat(c.n_experts, 1, 1)
        self.register_buffer("noise_root", root)
        self.register_buffer("strange_from", torch.full((c.n_experts,), UNMEASURED))
        windows = torch.from_numpy(grid_matrices().astype("float32"))
        self.register_buffer("windows", windows, persistent=False)

    def mixture(self, conditions: Tensor) -> Tensor:
        """Weigh the experts by how near their montages lie: (batch, n_experts), sums to 1."""
        place = montage_place(conditions[:, : self.config.n_virtual])
        distance = (place[:, None, :] - self.homes).square().sum(dim=2)
        return torch.softmax(-self.log_sharpness.exp() * distance, dim=1)

    def trunk(self, x: Tensor, conditions: Tensor) -> Tensor:
        """Filter in space and time: (batch, width, n_times / 2)."""
        filters = torch.einsum("be,esv->bsv", self.mixture(conditions), self.experts)
        hidden: Tensor = self.stem(torch.bmm(filters, x))
        code = self.code(conditions)
        for block in self.blocks:
            hidden = block(hidden, code)
        return hidden

    def readings(
        self, x: Tensor, conditions: Tensor, *, warp_bias: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Read the straight path under every timing.

        Parameters
        ----------
        x : Tensor, shape (batch, n_virtual, n_times)
        conditions : Tensor, shape (batch, n_conditions)
        warp_bias : Tensor, shape (n_warps,), optional
            Added to the log probability of each timing beforehand: what is known of the person.

        Returns
        -------
        Tensor, shape (batch, n_warps, n_features)
            Evidence under each of `WARPS`.
        Tensor, shape (batch, n_warps)
            Log probability of each; they sum to 1.
        """
        shares = self.mixture(conditions)
        features = torch.einsum("bvt,ktp->bkvp", x, self.windows).flatten(2)
        weights = torch.einsum("be,eif->bif", shares, self.straight)
        readings = torch.bmm(features, weights) + (shares @ self.straight_bias)[:, None]
        waves = torch.bmm(features, (shares @ self.timing)[:, :, None])[:, :, 0]
        known = readings @ self.memory.T * torch.exp(-self.log_temperature) + self.log_prior
        fit = self.log_warp_prior + waves + self.recognition * torch.logsumexp(known, dim=2)
        if warp_bias is not None:
            fit = fit + warp_bias
        return readings, torch.log_softmax(fit, dim=1)

    def evidence(self, x: Tensor, conditions: Tensor, *, warp_bias: Tensor | None = None) -> Tensor:
        """Weigh what was measured: `u` of the class, (batch, n_features); see `readings`."""
        late = self.shrink(functional.gelu(self.trunk(x, conditions)))
        hidden = self.dropout(functional.gelu(self.hidden(self.norm(late.flatten(1)))))
        readings, log_timing = self.readings(x, conditions, warp_bias=warp_bias)
        straight = torch.einsum("bk,bkf->bf", log_timing.exp(), readings)
        estimate = straight + self.deep(hidden)
        length = estimate.norm(dim=1, keepdim=True)
        known = torch.cat([hidden, estimate, self.code(conditions), length], dim=1)
        factor = self.factor(functional.gelu(self.confidence(known)))
        shrunk: Tensor = estimate * 2 * torch.sigmoid(factor)
        if bool((self.strange_from >= UNMEASURED).all()):
            return shrunk
        shares = self.mixture(conditions)
        excess = self.strangeness(shrunk, shares) / (shares @ self.strange_from)
        doubted: Tensor = shrunk / excess.clamp(min=1.0).square()[:, None]
        return doubted

    def strangeness(self, evidence: Tensor, shares: Tensor) -> Tensor:
        """Power of evidence against that of noise, as far as no known picture explains it.

        Evidence of a brain like those of training is noise of a known covariance plus what some
        picture evokes. Evidence far larger than noise that resembles no picture comes of
        something else (another kind of brain, electrodes in other places, a test signal): large
        numbers that mean nothing.

        Parameters
        ----------
        evidence : Tensor, shape (batch, n_features)
        shares : Tensor, shape (batch, n_experts)
            As `mixture` gives them.

        Returns
        -------
        Tensor, shape (batch,)
            About 1 for noise alone, below for a picture that stands out.
        """
        away = evidence[:, None, :] - self.noise_mean
        root = self.noise_root
        white = torch.linalg.solve_triangular(root, away.transpose(0, 1).mT, upper=False).mT
        patterns = (self.memory - self.memory.mean(dim=0)) @ root
        patterns = functional.normalize(patterns, dim=2)
        power = white.square().sum(dim=2)
        explained = torch.bmm(white, patterns.mT).clamp(min=0.0).square().amax(dim=2)
        left = 1 - explained / power.clamp(min=1e-12)
        each = power / self.config.n_features * left**3
        strange: Tensor = (shares * each.T).sum(dim=1)
        return strange

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        """Embed; see the class."""
        return self.recall(self.evidence(x, conditions))

    def recall(self, evidence: Tensor) -> Tensor:
        """Turn evidence into an embedding by way of the known pictures."""
        logits = evidence @ self.memory.T * torch.exp(-self.log_temperature) + self.log_prior
        mean = torch.softmax(logits, dim=1) @ (self.memory - self.centre)
        length = mean.norm(dim=1, keepdim=True)
        placed = mean + self.centre * (length / self.radius).clamp(max=1.0)
        embedding: Tensor = placed + RESIDUAL * evidence
        return embedding

    def reconstruct(self, x: Tensor, conditions: Tensor) -> Tensor:
        """Rebuild the virtual electrodes from a masked input (pretraining)."""
        rebuilt: Tensor = self.rebuild(self.trunk(x, conditions))
        return rebuilt
