"""What a calibration shows, and when: the stimulus set, its order, catch trials and breaks.

Owns the choices a person makes and the plan that follows from them. The order is interleaved:
rounds through the whole set, each shuffled, so that no concept has a time of its own that a decoder
could read instead of the brain. Pure; knows nothing of who presents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from configs import StimuliConfig
from pipeline.errors import ConfigurationError
from pipeline.gallery import Gallery

CATCH = "catch"
"""Marker of a catch trial: the person presses a key, and no decoder learns from it."""
MIN_MINUTES, MAX_MINUTES = 0.1, 60.0


@dataclass(frozen=True, slots=True)
class StimulusSet:
    """A choice of pictures: `per_category` of each of `categories` (empty: of all)."""

    name: str
    title: str
    words: str
    categories: tuple[str, ...] = ()
    per_category: int | None = None

    def labels(self, gallery: Gallery) -> tuple[str, ...]:
        """Labels of the upright pictures that belong to it, in the gallery's order."""
        counts: dict[str, int] = {}
        chosen = []
        for each in gallery.stimuli:
            if each.kind != "upright" or (self.categories and each.category not in self.categories):
                continue
            counts[each.category] = counts.get(each.category, 0) + 1
            if self.per_category is None or counts[each.category] <= self.per_category:
                chosen.append(each.label)
        return tuple(chosen)


SETS = {
    each.name: each
    for each in (
        StimulusSet(
            "varied",
            "Varied pictures",
            "Three pictures of each of twenty categories: each comes often, and they span the "
            "whole space. For most people.",
            per_category=3,
        ),
        StimulusSet(
            "everything",
            "Every picture",
            "All upright pictures of the gallery, each seldom. For ten minutes and more.",
        ),
        StimulusSet(
            "few",
            "Few, very different",
            "One picture of each of eight categories that differ most, each very often. For few "
            "electrodes.",
            categories=("face", "house", "mammal", "food", "vehicle", "plant", "tool", "sky"),
            per_category=1,
        ),
        StimulusSet(
            "faces-houses",
            "Faces and houses",
            "The pair that real brains tell apart best.",
            categories=("face", "house"),
        ),
    )
}
"""The stimulus sets by name."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What a person chooses before the pictures begin.

    Attributes
    ----------
    stimulus_set : str
        One of `SETS`.
    minutes : float
        Time with pictures; breaks come on top.
    seed : int
        Of the order.
    catch_every : int
        One catch trial in about so many pictures; 0: none.
    break_every, break_length : float
        A break of that length after so much time with pictures, s.
    stimuli : StimuliConfig
        Rhythm: `soa`, `duration`, `jitter`.
    """

    stimulus_set: str = "varied"
    minutes: float = 5.0
    seed: int = 0
    catch_every: int = 20
    break_every: float = 60.0
    break_length: float = 8.0
    stimuli: StimuliConfig = field(default_factory=StimuliConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be planned."""
        if self.stimulus_set not in SETS:
            raise ConfigurationError(
                f"the stimulus set is {self.stimulus_set!r}, expected one of {', '.join(SETS)}."
            )
        if not MIN_MINUTES <= self.minutes <= MAX_MINUTES:
            raise ConfigurationError(
                f"the calibration is to take {self.minutes:g} minutes, expected {MIN_MINUTES:g} to "
                f"{MAX_MINUTES:g}: five are a good start."
            )

    def labels(self, gallery: Gallery) -> tuple[str, ...]:
        """Labels of the chosen set."""
        return SETS[self.stimulus_set].labels(gallery)


@dataclass(frozen=True, slots=True)
class Planned:
    """One picture or catch trial: `at` and `duration` in s; `break_before` in s, mostly 0."""

    at: float
    label: str
    duration: float
    break_before: float = 0.0

    @property
    def is_catch(self) -> bool:
        """Whether the person is to press a key."""
        return self.label == CATCH


def schedule(choices: Choices, labels: Sequence[str]) -> tuple[Planned, ...]:
    """Plan a calibration; depends on the choices and labels only.

    Every label comes equally often (but for the last round, which may be cut), never twice in a
    row; breaks fall between pictures.
    """
    if len(labels) < 2:
        raise ConfigurationError(
            f"a calibration has {len(labels)} pictures to show, expected at least two."
        )
    rng = np.random.default_rng([choices.seed, 0xCA11B])
    config = choices.stimuli
    planned: list[Planned] = []
    at = shown = since_break = rest = 0.0
    until_catch = _next_catch(choices, rng)
    order: list[str] = []
    last = ""
    while shown < 60.0 * choices.minutes:
        if until_catch == 0:
            label, until_catch = CATCH, _next_catch(choices, rng)
        else:
            order = order or _round(labels, last, rng)
            label = last = order.pop(0)
            until_catch -= 1
        planned.append(Planned(at, label, config.duration, rest))
        step = config.soa + float(rng.uniform(0, config.jitter))
        shown, since_break, rest = shown + step, since_break + step, 0.0
        at += step
        left = 60.0 * choices.minutes - shown
        if since_break >= choices.break_every and left > choices.break_every / 4:
            rest, since_break = choices.break_length, 0.0
            at += rest
    return tuple(planned)


def length(planned: Sequence[Planned]) -> float:
    """Time from the first picture to the end of the last, breaks included, s."""
    return planned[-1].at + planned[-1].duration if planned else 0.0


def _next_catch(choices: Choices, rng: np.random.Generator) -> int:
    """Pictures before the next catch trial; -1: none ever."""
    every = choices.catch_every
    return int(rng.integers(every // 2, every + every // 2 + 1)) if every > 1 else -1


def _round(labels: Sequence[str], last: str, rng: np.random.Generator) -> list[str]:
    order = [labels[i] for i in rng.permutation(len(labels))]
    if order[0] == last:
        order.append(order.pop(0))
    return order
