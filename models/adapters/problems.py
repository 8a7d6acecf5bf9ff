"""What a calibration is to tell apart: pictures by their embeddings, or plain classes of events.

Owns what the two differ in: the base, the candidates, how epochs are kept apart, and the words.
The order of the steps is `fit`'s; the classes' half is in `classes`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from models.adapters.adapter import Adapter, base_of
from models.adapters.bases import Base, PictureBase
from models.adapters.data import CalibrationData
from models.adapters.errors import AdapterError
from models.adapters.evaluation import Comparison, Scored, choose, describe_choice
from models.adapters.manifest import AdapterManifest, EncoderReference
from models.adapters.methods import PICTURES, Method, find_method
from models.adapters.methods.names import check_methods
from models.adapters.montage import placed_names
from models.adapters.report import (
    CalibrationReport,
    ClassScores,
    MethodScore,
    TransferReport,
)
from models.adapters.scoring import Ints, Splits, time_and_stimulus_splits
from models.api import Encoder
from pipeline.alignment import mean_covariance
from pipeline.values import Float64

AnyMethod = type[Method[Any, Any]]
Fit = Callable[[Ints], Method[Any, Any]]


class Problem(ABC):
    """One calibration's task.

    Attributes
    ----------
    data : CalibrationData
        What is learnt from.
    base : Base
        What methods stand on.
    batch : Batch
        Every epoch, prepared by it.
    rows : ndarray, shape (n,), int
        What was shown: a row of `candidates`.
    candidates : ndarray, shape (n_candidates, k), float64
        Where each candidate lies, in the terms of the evidence.
    splits : Splits
    methods : sequence of Method classes
        From cheap to rich.
    """

    data: CalibrationData
    base: Base[Any]
    batch: Any
    rows: Ints
    candidates: Float64
    splits: Splits
    methods: Sequence[AnyMethod]

    @property
    def split(self) -> str:
        """How epochs are kept apart, for people."""
        return self.splits.sentence

    def is_enough(self, kept: Ints) -> bool:
        """Whether a method can be fitted on these epochs."""
        return len(kept) >= 4

    def baseline(self) -> list[Scored]:
        """Scores to start with: none where the cheapest method is what the others are held to."""
        return []

    def contenders(self, found: Sequence[Scored]) -> list[Scored]:
        """What is chosen among, and tested against chance."""
        return list(found)

    def choose(self, found: Sequence[Scored]) -> Scored:
        """The best of what was found."""
        return choose(found)

    def others(self) -> list[Scored]:
        """More scores for the report, of what is neither chosen among nor tested."""
        return []

    def class_scores(self, best: Scored, fit: Fit) -> ClassScores | None:
        """More about plain classes; `fit` fits a method of a kind to some epochs."""
        del best, fit
        return None

    @property
    def transfer_report(self) -> TransferReport | None:
        """How several recordings were put together; None where that was no question."""
        return None

    @abstractmethod
    def score(self, method: Method[Any, Any], test: Ints) -> tuple[Float64, Float64]:
        """Scores as a session ranks, and log likelihoods up to a temperature; (n, n_candidates)."""

    @abstractmethod
    def words(
        self, best: Scored, scores: Sequence[MethodScore], comparison: Comparison
    ) -> tuple[float, str, str]:
        """Accuracy without an adapter; why this method; with against without, in one sentence."""

    @abstractmethod
    def adapter(self, method: Method[Any, Any], report: CalibrationReport, subject: str) -> Adapter:
        """Fit on everything: the adapter of a method that was fitted to all epochs."""


class PictureProblem(Problem):
    """Which picture was shown, behind an encoder of vectors.

    Parameters
    ----------
    encoder : Encoder
    system : str
        Its name, as `decoder.system` takes it.
    methods : sequence of str
        Names to choose among; empty: all that can stand behind the encoder.

    Raises
    ------
    AdapterError
        The encoder gives no vectors of the pictures' space, or a method cannot stand behind it.
    """

    base: PictureBase[Any]

    def __init__(
        self,
        data: CalibrationData,
        encoder: Encoder,
        *,
        system: str,
        methods: Sequence[str],
        seed: int,
    ) -> None:
        self.data, self.system = data, system
        self.base = base_of(encoder)
        self.candidates = _candidates(data, encoder)
        self.methods = _methods(methods, self.base, system)
        self.batch = self.base.remembering(self.base.prepare(data))
        self.rows = data.rows
        self.splits = time_and_stimulus_splits(data.onsets, self.rows, seed=seed)

    def score(self, method: Method[Any, Any], test: Ints) -> tuple[Float64, Float64]:
        """Score as a session ranks, and by likelihood."""
        evidence = method.evidence(self.batch.take(test), self.base)
        vectors = self.base.recall(evidence, method.bias(self.base.memory))
        logits = evidence @ self.candidates.T / self.base.temperature
        logits += method.bias(self.candidates)
        return vectors @ self.candidates.T, logits

    def words(
        self, best: Scored, scores: Sequence[MethodScore], comparison: Comparison
    ) -> tuple[float, str, str]:
        """The encoder as it is, and why it is changed or not."""
        return scores[0].accuracy, describe_choice(best, scores), comparison.sentence

    def adapter(self, method: Method[Any, Any], report: CalibrationReport, subject: str) -> Adapter:
        """The adapter of a method that was fitted to all epochs."""
        data, spec = self.data, self.base.encoder.spec
        manifest = AdapterManifest(
            kind=method.name,
            subject=subject,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            ch_names=self.batch.ch_names,
            montage=data.channels,
            sfreq=data.sfreq,
            filter=data.filter,
            encoder=EncoderReference(
                system=self.system,
                sha256=spec.sha256,
                space=spec.space,
                n_features=spec.n_features,
            ),
            report=report,
            data_sha256=data.sha256,
        )
        is_placed = len(placed_names(data.channels)) >= 2
        covariance = mean_covariance(self.base.channels(self.batch)) if is_placed else None
        return Adapter(manifest, method, self.base, covariance)


def _candidates(data: CalibrationData, encoder: Encoder) -> Float64:
    spec, targets = encoder.spec, data.targets
    if targets is None or targets.shape[1] != spec.n_features or data.space != spec.space:
        found = "none" if targets is None else f"{targets.shape[1]} features of {data.space!r}"
        raise AdapterError(
            f"the targets have {found}, {spec.name} gives {spec.n_features} of "
            f"{spec.space or 'a space of its own'!r}: calibrate with a gallery in that space "
            "(`phosphene gallery make FOLDER --space NAME`), or with another decoder.system."
        )
    return targets.astype(np.float64)


def _methods(names: Sequence[str], base: PictureBase[Any], system: str) -> list[AnyMethod]:
    """The methods of these names, the encoder as it is first; unasked, all that fit."""
    check_methods(names, is_classes=False)
    kinds = [find_method(name) for name in PICTURES]
    unfit = {kind.name: kind.unfit_for(base) for kind in kinds}
    fitting = [kind for kind in kinds if not unfit[kind.name]]
    for name in names:
        if reason := unfit[name]:
            raise AdapterError(
                f"the adapter {name!r} {reason}, {system!r} is none such: choose among "
                f"{', '.join(kind.name for kind in fitting)}."
            )
    wanted = {"zero-shot", *(names or PICTURES)}
    return sorted((kind for kind in fitting if kind.name in wanted), key=lambda kind: kind.cost)
