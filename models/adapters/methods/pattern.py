"""An encoding model of the person with the encoder as its prior, in closed form.

Owns the statistics: each spatiotemporal feature of an epoch is the picture's embedding times a
pattern, plus noise whose covariance is the person's own. The encoder's linear path is turned into
patterns (Haufe et al. 2014: covariance times weights), which are the prior mean; what the person
changes about them is Gaussian, with variances chosen by cross-validation over stimuli. A few dozen
epochs already mend latencies and noise, a few hundred the patterns. Each trial's own latency is
averaged over, as the encoder does it.

Maximising the marginal likelihood instead was rejected: shrinkage makes the whitened noise a
little less than white, and it then chose no change at all. Ridge regression of embeddings on
features was rejected: with 226 epochs and 448 features (16 channels) it starts from nothing, and
ends far below the encoder that it should improve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special

from models.adapters.lda import near_stationary_covariance
from models.adapters.manifest import AdapterManifest
from models.adapters.methods.base import Arrays, Fitting, Shapes, checked
from models.adapters.methods.latency import (
    TRIAL_SHIFTS,
    Expected,
    in_scales,
    subject_warp,
    trial_log_prior,
)
from models.adapters.methods.network import NetworkMethod
from models.adapters.network_base import NetworkBase, NetworkBatch
from models.adapters.scoring import fit_temperature, log_likelihoods, stimulus_folds
from models.embedded.time_warps import N_BINS, window_matrix
from pipeline.values import Float64

CHANGES = (0.0, 0.3, 1.0, 3.0)
"""Variance of the person's change within the encoder's patterns, against the patterns' own."""
ELSEWHERE = (0.03, 0.1, 0.3)
"""The same in directions that the encoder has no patterns in, against the mean within."""
USUAL = (1.0, 0.1)
"""Taken unless another choice is better by more than a standard error."""
N_FOLDS = 3


@dataclass(frozen=True, slots=True, eq=False)
class PatternModel(NetworkMethod):
    """Patterns, noise and latency warp of one person.

    Attributes
    ----------
    weights : ndarray, shape (N_BINS * n_channels, n_features)
        From features to log likelihood per unit of embedding.
    offset : ndarray, shape (n_features,)
        Added to it.
    energy : ndarray, shape (n_features, n_features)
        What a picture's own pattern costs: `-e @ energy @ e / 2`.
    waves : ndarray, shape (N_BINS * n_channels,)
        From features to the log likelihood of their latency warp.
    warp : tuple of float
        Scale and shift (s) of the person's latencies.
    change, elsewhere : float
        The chosen variances; see `CHANGES` and `ELSEWHERE`.
    """

    name: ClassVar[str] = "pattern"
    title: ClassVar[str] = "encoding model with the encoder as prior"
    cost: ClassVar[int] = 3

    weights: Float64
    offset: Float64
    energy: Float64
    waves: Float64
    warp: tuple[float, float]
    change: float = 0.0
    elsewhere: float = 0.0

    @classmethod
    def fit(cls, given: Fitting[NetworkBatch, NetworkBase]) -> Self:
        """Estimate latency warp, noise, prior patterns, their change and its variance."""
        given.watch.check()
        batch, targets, base = given.batch, given.targets, given.base
        expected = Expected.of(base, batch.ch_names)
        warp = subject_warp(batch, targets, base, expected)
        features = bin_means(batch, *warp)
        straight = _flat(expected.weights.transpose(2, 0, 1)).T
        change, elsewhere, temperature = _choose(
            features, targets, given.groups, straight, seed=given.seed
        )
        white = _Whitened.fit(features, targets, straight)
        found = _update(_Evidence.of(white), change, elsewhere)
        weights, offset = white.decision(found)
        return cls(
            weights=weights / temperature,
            offset=offset / temperature,
            energy=found.energy / temperature,
            waves=_flat(expected.waves[np.newaxis])[0],
            warp=warp,
            change=change,
            elsewhere=elsewhere,
        )

    def evidence(self, batch: NetworkBatch, base: NetworkBase) -> Float64:
        """Evidence of the person's own model, averaged over what latency the trial may have."""
        scale, shift = self.warp
        features = [_flat(bin_means(batch, scale, shift + late)) for late in TRIAL_SHIFTS]
        readings = np.stack([each @ self.weights + self.offset for each in features], axis=1)
        known = readings @ base.memory.T + self.bias(base.memory) + base.log_prior
        waves = np.stack([each @ self.waves for each in features], axis=1)
        fit = trial_log_prior() + waves + base.recognition * special.logsumexp(known, axis=2)
        likelihood = np.einsum("nk,nkf->nf", special.softmax(fit, axis=1), readings)
        return np.asarray(base.temperature * likelihood)

    def bias(self, embeddings: Float64) -> Float64:
        """Half the energy of a picture's pattern, negative."""
        return np.asarray(-0.5 * np.einsum("nf,fg,ng->n", embeddings, self.energy, embeddings))

    def arrays(self) -> Arrays:
        """Weights, offset, energy, variances."""
        return {
            "weights": self.weights,
            "offset": self.offset,
            "energy": self.energy,
            "waves": self.waves,
            "timing": np.array(self.warp),
            "variances": np.array([self.change, self.elsewhere]),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, manifest: AdapterManifest) -> Self:
        """Rebuild; see the base class."""
        n, n_inputs = manifest.n_features, N_BINS * len(manifest.ch_names)
        shapes: Shapes = {
            "weights": (n_inputs, n),
            "offset": (n,),
            "energy": (n, n),
            "waves": (n_inputs,),
            "timing": (2,),
            "variances": (2,),
        }
        found = checked(arrays, shapes)
        scale, shift = (float(each) for each in found["timing"])
        change, elsewhere = (float(each) for each in found["variances"])
        return cls(
            weights=found["weights"],
            offset=found["offset"],
            energy=found["energy"],
            waves=found["waves"],
            warp=(scale, shift),
            change=change,
            elsewhere=elsewhere,
        )


def bin_means(batch: NetworkBatch, scale: float = 1.0, shift: float = 0.0) -> Float64:
    """Windowed means of scaled channels at a latency warp, in the straight path's windows.

    Returns
    -------
    ndarray, shape (n, n_channels, N_BINS), float64
    """
    return np.asarray(in_scales(batch) @ window_matrix(scale, shift))


@dataclass(frozen=True, slots=True, eq=False)
class _Posterior:
    weighted: Float64
    energy: Float64


@dataclass(frozen=True, slots=True, eq=False)
class _Whitened:
    """Epochs in features whose noise is white, and what the encoder expects there."""

    root: Float64
    mean: Float64
    centre: Float64
    white: Float64
    wanted: Float64
    prior: Float64

    def whiten(self, features: Float64) -> Float64:
        """Bring features (n, n_channels, n_bins) to white noise, (n, n_inputs)."""
        flat = _flat(features - self.mean).T
        return np.asarray(linalg.solve_triangular(self.root, flat, lower=True).T)

    @classmethod
    def fit(cls, features: Float64, targets: Float64, straight: Float64) -> _Whitened:
        mean, centre = features.mean(axis=0), targets.mean(axis=0)
        noise = near_stationary_covariance((features - mean).transpose(0, 2, 1))
        root = linalg.cholesky(noise, lower=True)
        white = linalg.solve_triangular(root, _flat(features - mean).T, lower=True).T
        wanted = targets - centre
        prior = _scaled(root.T @ straight, white, wanted)
        return cls(root, mean, centre, white, wanted, prior)

    def decision(self, found: _Posterior) -> tuple[Float64, Float64]:
        """Weights on plain features, and the offset of the evidence."""
        weights = linalg.solve_triangular(self.root, found.weighted, lower=True, trans="T")
        offset = found.energy @ self.centre - _flat(self.mean[np.newaxis])[0] @ weights
        return weights, offset


def _scaled(prior: Float64, white: Float64, wanted: Float64) -> Float64:
    """Bring prior patterns to the size that the epochs show them in; never turned over."""
    shown = wanted @ prior.T
    size = float((shown * white).sum()) / max(float((shown**2).sum()), 1e-12)
    least = 1e-3 / max(float(np.linalg.norm(prior)), 1e-12)
    return np.asarray(prior * max(size, least))


@dataclass(frozen=True, slots=True, eq=False)
class _Evidence:
    """What the epochs say of the patterns, before any variance is chosen.

    `basis` (n_inputs, n_features) spans the prior patterns and `inside` are they within it, `own`
    their sizes; `values` and `vectors` are of the shown embeddings' covariance; `seen` and
    `unseen` what the prior left over within and outside the basis, by eigenvector.
    """

    n: int
    basis: Float64
    inside: Float64
    own: Float64
    values: Float64
    vectors: Float64
    seen: Float64
    unseen: Float64

    @classmethod
    def of(cls, model: _Whitened) -> _Evidence:
        white, wanted, prior = model.white, model.wanted, model.prior
        basis, lengths, _ = linalg.svd(prior, full_matrices=False)
        left = white - wanted @ prior.T
        values, vectors = np.linalg.eigh(wanted.T @ wanted)
        projected = (vectors.T @ wanted.T) @ left
        seen = projected @ basis
        return cls(
            n=len(wanted),
            basis=basis,
            inside=basis.T @ prior,
            own=lengths**2 / prior.shape[1],
            values=np.maximum(values, 0.0),
            vectors=vectors,
            seen=seen,
            unseen=projected - seen @ basis.T,
        )


def _update(found: _Evidence, change: float, elsewhere: float) -> _Posterior:
    """Bayes in whitened features: mean and certainty of the person's patterns.

    Directions within the prior patterns' span and those outside have variances of their own;
    in each, all features of the embedding share one posterior covariance (a matrix normal).
    """
    far = change * elsewhere * found.own.mean()
    gain, trust = _gains(found.values, change * found.own + far, found.n)
    wide, far_trust = _gains(found.values, np.array([far]), found.n)
    patterns = found.inside + (found.vectors @ (gain * found.seen)).T
    rest = (found.vectors @ (wide * found.unseen)).T
    weighted = found.basis @ (trust[:, None] * patterns) + far_trust[0] * rest
    energy = patterns.T @ (trust[:, None] * patterns) + far_trust[0] * rest.T @ rest
    return _Posterior(weighted, energy)


def _gains(values: Float64, spread: Float64, n: int) -> tuple[Float64, Float64]:
    """Posterior gain by (eigenvalue, direction), and the trust in each direction.

    A pattern that is not certain yet counts for less: its doubt is noise to the decision.
    """
    gain = 1 / (values[:, None] + 1 / np.maximum(spread, 1e-300)[None, :])
    doubt = (values[:, None] * gain).sum(axis=0) / n
    return gain, np.asarray(1 / (1 + doubt))


def _choose(
    features: Float64,
    targets: Float64,
    groups: NDArray[np.intp],
    straight: Float64,
    *,
    seed: int,
) -> tuple[float, float, float]:
    """Variances and temperature under which stimuli that were left out are least surprising."""
    first = np.unique(groups, return_index=True)[1]
    order = np.searchsorted(groups[first], groups)
    candidates = targets[first]
    choices = [(c, e) for c in CHANGES for e in (ELSEWHERE if c else (0.0,))]
    logits = np.zeros((len(choices), len(features), len(candidates)))
    for train, test in stimulus_folds(groups, N_FOLDS, seed=seed):
        model = _Whitened.fit(features[train], targets[train], straight)
        known, new = _Evidence.of(model), model.whiten(features[test])
        around = candidates - model.centre
        for k, (change, elsewhere) in enumerate(choices):
            found = _update(known, change, elsewhere)
            cost = np.einsum("nf,fg,ng->n", around, found.energy, around)
            logits[k, test] = new @ found.weighted @ around.T - 0.5 * cost
    temperatures = [fit_temperature(each, order) for each in logits]
    likelihoods = [
        log_likelihoods(each, t)[np.arange(len(order)), order]
        for each, t in zip(logits, temperatures, strict=True)
    ]
    best = int(np.argmax([each.mean() for each in likelihoods]))
    usual = choices.index(USUAL)
    lead = likelihoods[best] - likelihoods[usual]
    # A minute of epochs cannot tell choices apart: without a clear lead the usual one stays.
    if lead.mean() <= lead.std() / np.sqrt(len(lead)):
        best = usual
    return (*choices[best], temperatures[best])


def _flat(features: Float64) -> Float64:
    """Time first, as the covariance's blocks are: (n, N_BINS * n_channels)."""
    return np.asarray(features.transpose(0, 2, 1).reshape(len(features), -1))
