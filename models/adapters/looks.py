"""An adapter of looks: what a person's calibration at noise-tagged pictures taught.

Owns the value and its arrays; `phosphene attend` reads looks by it. Nothing of it decodes epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.adapters.errors import AdapterError
from models.adapters.manifest import AdapterManifest, LookResponse
from models.adapters.methods.base import Arrays, checked
from models.attend.evidence import Covariances
from models.attend.response import RESPONSES
from models.attend.template import Template
from pipeline.looks import Kind

N_PARTS = 5
"""Parts of the looks, each read by the response of the others."""
FEWEST = 2 * N_PARTS
"""Looks below which nothing is fitted."""
ENOUGH = 0.05
"""Largest p-value of a response that is kept."""


@dataclass(frozen=True, slots=True, eq=False)
class LooksAdapter:
    """A person's response to rises and falls of light, as sums over calibration looks.

    Attributes
    ----------
    manifest : AdapterManifest
    known : Covariances
        In the order of the manifest's channels.
    sha256 : str
        Over both files once saved; empty before.
    """

    manifest: AdapterManifest
    known: Covariances
    sha256: str = ""

    def arrays(self) -> Arrays:
        """Everything that a file of it holds, by name."""
        return {"eeg": self.known.eeg, "cross": self.known.cross, "model": self.known.model}

    @classmethod
    def from_arrays(cls, arrays: Arrays, manifest: AdapterManifest, sha256: str) -> LooksAdapter:
        """Rebuild from `arrays`.

        Raises
        ------
        AdapterError
            A name is absent or one too many, a shape is wrong, or a value is not finite.
        """
        if manifest.looks is None:
            raise AdapterError(f"an adapter of the kind {manifest.kind!r} knows no looks.")
        n, n_regressors = len(manifest.ch_names), RESPONSES[manifest.looks.kind].n_regressors
        shapes: dict[str, tuple[int | None, ...]] = {
            "eeg": (n, n),
            "cross": (n_regressors, n),
            "model": (n_regressors, n_regressors),
        }
        found = {name: each.astype(np.float64) for name, each in checked(arrays, shapes).items()}
        return cls(manifest, Covariances(**found, n_times=manifest.looks.n_times), sha256)

    def known_of(self, ch_names: Sequence[str]) -> Covariances:
        """Bring the sums into the order of a session's channels.

        Raises
        ------
        AdapterError
            The session has other channels.
        """
        own = self.manifest.ch_names
        if set(own) != set(ch_names) or len(own) != len(ch_names):
            raise AdapterError(
                f"the adapter is of the channels {', '.join(own)}, the session has "
                f"{', '.join(ch_names)}: calibrate with these electrodes."
            )
        order = [own.index(name) for name in ch_names]
        known = self.known
        return Covariances(
            known.eeg[np.ix_(order, order)], known.cross[:, order], known.model, known.n_times
        )


def judge_looks(
    looks: Sequence[Covariances], targets: Sequence[int], *, n_targets: int
) -> tuple[float, float]:
    """Read each fifth of the looks by the response of the others.

    Returns
    -------
    accuracy, p_value : float
    """
    if len(looks) < FEWEST:
        raise AdapterError(f"{len(looks)} looks were read, expected {FEWEST} or more.")
    answered = [look.answered(target) for look, target in zip(looks, targets, strict=True)]
    n_right = 0
    for part in range(N_PARTS):
        others = [each for k, each in enumerate(answered) if k % N_PARTS != part]
        template = Template.learnt(summed(others))
        for look, target in list(zip(looks, targets, strict=True))[part::N_PARTS]:
            scores = template.score(look)[:n_targets]
            n_right += int(scores.argmax()) == target and float(scores.max()) > 0
    from scipy.stats import binomtest  # only where one is fitted: reading an adapter is quick

    p_value = binomtest(n_right, len(looks), 1 / n_targets, alternative="greater").pvalue
    return n_right / len(looks), float(p_value)


def summed(looks: Sequence[Covariances]) -> Covariances:
    """Add up looks whose answers are known."""
    found = looks[0]
    for look in looks[1:]:
        found = found.plus(look)
    return found


def response_of(
    looks: Sequence[Covariances],
    targets: Sequence[int],
    *,
    n_targets: int,
    rate: float,
    is_simulated: bool,
    kind: Kind = "flicker",
) -> tuple[Covariances, LookResponse]:
    """Fit to looks whose targets were asked for, and judge it."""
    accuracy, p_value = judge_looks(looks, targets, n_targets=n_targets)
    known = summed([look.answered(k) for look, k in zip(looks, targets, strict=True)])
    return known, LookResponse(
        n_looks=len(looks),
        n_targets=n_targets,
        seconds=known.n_times / rate,
        n_times=known.n_times,
        accuracy=accuracy,
        p_value=p_value,
        is_simulated=is_simulated,
        kind=kind,
    )
