"""Decoders of classes, chosen by cross-validation within what is fitted on, and averaged.

Owns the choice: each decoder's logits of epochs that it has not seen are brought to honest log
odds (one temperature, and the classes' frequencies as prior), and the weights are found under which
their sum is surprised least; a decoder of weight 0 is not kept. As all of it happens inside `fit`,
the cross-validation around a calibration judges the choice as well (it is nested), and what it
says of probabilities holds for new epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from scipy import optimize

from models.adapters.decoders import DECODERS, ClassDecoder, Ints, Shrinkage
from models.adapters.errors import AdapterError
from models.adapters.manifest import ENSEMBLE, AdapterManifest
from models.adapters.methods.base import Arrays, Fitting, Method, Shapes, checked
from models.adapters.methods.classes import ClassBase, Features, window_of
from models.adapters.scoring import fit_temperature, log_likelihoods
from models.adapters.selection import N_BLOCKS
from pipeline.values import Float64

SCALES, LOG_PRIOR = "scales", "log_prior"
SMALLEST = 0.02
"""Share of the largest weight below which a decoder is left out."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassEnsemble(Method[Features, ClassBase]):
    """Averaged log odds of the chosen decoders.

    Attributes
    ----------
    decoders : mapping of str to ClassDecoder
    scales : ndarray, shape (n_decoders,), float64
        What each one's logits are multiplied with; 0: not chosen.
    log_prior : ndarray, shape (n_classes,), float64
        Of the calibration's frequencies.
    own_scales : ndarray, shape (n_decoders,), float64
        The same for each decoder alone; not kept in files.
    """

    name: ClassVar[str] = ENSEMBLE
    title: ClassVar[str] = "decoders chosen by cross-validation in time"
    cost: ClassVar[int] = 3

    decoders: Mapping[str, ClassDecoder]
    scales: Float64
    log_prior: Float64
    own_scales: Float64

    @classmethod
    def fit(cls, given: Fitting[Features, ClassBase]) -> Self:
        """Weigh by blocks of time, then fit on all; targets as in `ClassDiscriminant.fit`."""
        rows, n_classes = given.groups, given.targets.shape[1]
        log_prior = _log_prior(rows, n_classes)
        names, decoders, held_out = [*given.base.decoders, *given.batch.read], {}, []
        is_enough = _is_enough(rows, n_classes)
        for name in names:
            given.watch.check()
            kind, features = _kind(name), _features(name, given.batch)
            if is_enough:
                logits, setting = kind.held_out(features, rows, n_classes=n_classes)
                held_out.append(logits)
                fitted = kind.fit(features, rows, n_classes=n_classes, setting=setting)
            else:
                fitted = kind.fit(features, rows, n_classes=n_classes)
            decoders[name] = _as_loaded(fitted)
        if not is_enough:  # a class is missing from an inner block: nothing can be chosen
            own = np.ones(len(names))
            return cls(decoders, own / len(names), log_prior, own)
        own = np.array([1 / fit_temperature(each, rows) for each in held_out])
        scales = choose(np.stack(held_out) * own[:, None, None], rows, log_prior) * own
        return cls(decoders, scales, log_prior, own)

    def evidence(self, batch: Features, base: ClassBase) -> Float64:
        """Log probability of each class but for a constant, (n, n_classes); prior included."""
        del base
        chosen = [
            scale * decoder.logits(_features(name, batch))
            for scale, (name, decoder) in zip(self.scales, self.decoders.items(), strict=True)
            if scale
        ]
        return np.asarray(np.sum(chosen, axis=0) + self.log_prior)

    def each_evidence(self, batch: Features) -> dict[str, Float64]:
        """The same of each decoder alone, by its title."""
        return {
            _title(name): scale * decoder.logits(_features(name, batch)) + self.log_prior
            for scale, (name, decoder) in zip(self.own_scales, self.decoders.items(), strict=True)
        }

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the decoders with a weight."""
        return tuple(name for name, s in zip(self.decoders, self.scales, strict=True) if s)

    @property
    def prior(self) -> tuple[float, ...]:
        """See the base class."""
        return tuple(np.exp(self.log_prior).tolist())

    @property
    def words(self) -> str:
        """Which decoders were chosen, for people."""
        chosen = [_title(name) for name in self.chosen]
        return chosen[0] if len(chosen) == 1 else "weighted log odds of " + " and ".join(chosen)

    def arrays(self) -> Arrays:
        """The chosen decoders' arrays, each with its decoder's name before it."""
        found: Arrays = {SCALES: self.scales[self.scales > 0], LOG_PRIOR: self.log_prior}
        for scale, (name, decoder) in zip(self.scales, self.decoders.items(), strict=True):
            if scale:
                found |= {f"{name}.{key}": array for key, array in decoder.arrays().items()}
        return found

    @classmethod
    def from_arrays(cls, arrays: Arrays, manifest: AdapterManifest) -> Self:
        """Rebuild; see the base class."""
        classes = manifest.event_classes
        n_classes = len(classes.targets)
        n_bins = window_of(manifest).n_bins
        names = {name.partition(".")[0] for name in arrays if "." in name}
        sizes_of = {each.system: (each.n_features, 1) for each in classes.encoders}
        kinds = {name: _kind(name) for name in (*DECODERS, *sizes_of) if name in names}
        shapes: Shapes = {SCALES: (max(len(kinds), 1),), LOG_PRIOR: (n_classes,)}
        for name, kind in kinds.items():
            sizes = kind.sizes(n_classes, *sizes_of.get(name, (len(manifest.ch_names), n_bins)))
            shapes |= {f"{name}.{key}": size for key, size in sizes.items()}
        found = {n: array.astype(np.float64) for n, array in checked(arrays, shapes).items()}
        _check_inner(found)
        decoders = {name: kind.from_arrays(_own(name, found)) for name, kind in kinds.items()}
        return cls(decoders, found[SCALES], found[LOG_PRIOR], found[SCALES])


def _kind(name: str) -> type[ClassDecoder]:
    """What decodes under a name: one of ours, or a head on an encoder's features."""
    return DECODERS.get(name, Shrinkage)


def _title(name: str) -> str:
    return DECODERS[name].title if name in DECODERS else f"head on {name}"


def _features(name: str, batch: Features) -> Float64:
    """What a decoder is fitted to: the window's bins, or an encoder's vectors as one bin."""
    return batch.values if name in DECODERS else batch.read[name][:, :, np.newaxis]


def choose(logits: Float64, rows: Ints, log_prior: Float64) -> Float64:
    """Weights of the sum of log odds that is surprised least, (n_decoders,), none negative.

    A convex problem with one number a decoder: weights are its temperature and its share at once.
    (Choosing among averages of subsets was rejected: with few epochs it was luck.)

    Parameters
    ----------
    logits : ndarray, shape (n_decoders, n_epochs, n_classes), float64
        Of epochs that were left out, each decoder at its own temperature.
    """
    index = np.arange(len(rows))

    def surprise(weights: Float64) -> tuple[float, Float64]:
        found = log_likelihoods(np.tensordot(weights, logits, axes=1) + log_prior, 1.0)
        slope = np.tensordot(logits, np.exp(found), axes=([1, 2], [0, 1]))
        slope = (slope - logits[:, index, rows].sum(axis=1)) / len(rows)
        return float(-found[index, rows].mean()), slope

    start = np.full(len(logits), 1 / len(logits))
    best = optimize.minimize(
        surprise, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * len(logits)
    )
    weights = np.asarray(best.x, dtype=np.float64)
    weights[weights < SMALLEST * weights.max()] = 0.0
    return weights if weights.any() else start * SMALLEST


def _as_loaded(fitted: ClassDecoder) -> ClassDecoder:
    """The decoder with its arrays laid out as a file gives them: the same bits before and after."""
    arrays = {name: np.ascontiguousarray(array) for name, array in fitted.arrays().items()}
    return type(fitted).from_arrays(arrays)


def _log_prior(rows: Ints, n_classes: int) -> Float64:
    counts = np.bincount(rows, minlength=n_classes) + 1.0
    return np.asarray(np.log(counts / counts.sum()))


def _is_enough(rows: Ints, n_classes: int) -> bool:
    """Whether each class has two epochs outside each inner block."""
    if len(rows) < 2 * N_BLOCKS:
        return False
    whole = np.bincount(rows, minlength=n_classes)
    blocks = np.array_split(rows, N_BLOCKS)
    return all((whole - np.bincount(b, minlength=n_classes)).min() >= 2 for b in blocks)


def _own(name: str, arrays: Arrays) -> Arrays:
    return {n.partition(".")[2]: a for n, a in arrays.items() if n.startswith(f"{name}.")}


def _check_inner(arrays: Arrays) -> None:
    """Refuse sizes that only the arrays themselves tell and that contradict each other."""
    shape = {name: array.shape for name, array in arrays.items()}
    fits = SCALES in shape and len(shape) > 2 and bool((arrays[SCALES] > 0).all())
    if "space-time.coef" in shape:
        fits &= shape["space-time.coef"][2] == shape["space-time.filters"][0]
    if "tangent.coef" in shape:
        n = 2 * shape["tangent.filters"][0]
        fits &= shape["tangent.waves"][0] * 2 == n and shape["tangent.mean"] == (n, n)
        fits &= shape["tangent.coef"][1] == n * (n + 1) // 2
    if not fits:
        raise AdapterError(
            "the adapter's decoders contradict each other in size, or none is there: restore the "
            "file or calibrate again."
        )
