"""What a decoded epoch is ranked among: the classes that its adapter tells apart, or the gallery.

Owns the rule and the true answer's place. Pure; knows nothing of threads, files or pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.api import EncoderSpec
from pipeline.gallery import Gallery
from pipeline.values import Float32


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates with their probabilities, best first, and the place of the true one.

    Attributes
    ----------
    top : tuple of (str, float)
        Empty where nothing can be ranked.
    truth : str
        The candidate that was shown: the marker's label, or its class; empty where it is none.
    is_classes : bool
        Whether the candidates are the adapter's classes.
    """

    top: tuple[tuple[str, float], ...] = ()
    truth: str = ""
    is_classes: bool = False

    @property
    def chance(self) -> float | None:
        """Of one candidate; None where nothing was ranked."""
        return 1.0 / len(self.top) if self.top else None

    @property
    def rank(self) -> int | None:
        """Of the true one, from 1; None where it is unknown."""
        places = (i + 1 for i, (label, _) in enumerate(self.top) if label == self.truth)
        return next(places, None)


def rank_classes(classes: Sequence[float], spec: EncoderSpec, label: str) -> Ranking:
    """Rank an adapter's classes by their probabilities; equal ones stay in the adapter's order."""
    ranked = sorted(zip(spec.classes, classes, strict=True), key=lambda each: -each[1])
    truth = dict(spec.class_of).get(label, "")
    return Ranking(tuple((name, float(p)) for name, p in ranked), truth, is_classes=True)


def rank_pictures(
    vector: Float32, spec: EncoderSpec, label: str, candidates: Gallery | None
) -> Ranking:
    """Rank the gallery's pictures; nothing where it has no vectors of the encoder's space."""
    if candidates is None:
        return Ranking(truth=label)
    ranked = candidates.rank(vector, temperature=spec.temperature)
    return Ranking(tuple((each.label, each.probability) for each in ranked), label)
