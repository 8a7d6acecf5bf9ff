"""What a calibration shows, and when: the stimulus set, its order, catch trials and breaks.

Owns the choices a person makes and how they become a plan of `app.presentation`, which
owns the order (interleaved, never blocked): in frames for a screen, in seconds for a presenter
without one. Pure; knows nothing of who presents.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.presentation import (
    CATCH_LABEL,
    PresentationPlan,
    Show,
    Step,
    Timing,
    plan_presentation,
)
from configs import StimuliConfig
from pipeline.errors import ConfigurationError
from pipeline.gallery import Gallery

REFRESH_HZ = 60.0
"""Frames a second where there is no screen to ask."""
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
        return self.label == CATCH_LABEL


def plan(
    choices: Choices,
    labels: Sequence[str],
    *,
    refresh_hz: float = REFRESH_HZ,
) -> PresentationPlan:
    """Plan a calibration in frames; depends on the arguments only.

    Whole rounds through `labels`, cut at the end of the chosen time; breaks come on top of it.
    """
    if len(labels) < 2:
        raise ConfigurationError(
            f"a calibration has {len(labels)} pictures to show, expected at least two."
        )
    config = choices.stimuli
    soa, rest = config.soa + config.jitter / 2, max(0.0, config.soa - config.duration)
    n_pictures = max(2, math.ceil(60.0 * choices.minutes / soa))
    rounds = math.ceil(n_pictures / len(labels))
    every = choices.catch_every
    whole = plan_presentation(
        labels,
        repetitions=rounds,
        timing=Timing.from_seconds(
            refresh_hz=refresh_hz,
            fixation=2 * rest / 3,
            stimulus=config.duration,
            blank=rest / 3,
            jitter=config.jitter,
        ),
        n_catch=round(rounds * len(labels) / every) if every else 0,
        trials_per_break=max(1, round(choices.break_every / soa)) if choices.break_length else 0,
        break_frames=round(choices.break_length * refresh_hz) or None,
        seed=choices.seed,
    )
    return _first_trials(whole, n_pictures)


def _first_trials(whole: PresentationPlan, n_trials: int) -> PresentationPlan:
    """Cut a plan after its first trials, catch trials included."""
    if whole.n_trials <= n_trials:
        return whole
    steps = tuple(step for step in whole.steps if step.trial < n_trials)
    end = Step(Show.END, 1, trial=n_trials)
    return PresentationPlan((*steps, end), whole.seed, n_trials)


def timeline(plan: PresentationPlan, *, refresh_hz: float = REFRESH_HZ) -> tuple[Planned, ...]:
    """Onsets of the plan's pictures and catch trials in seconds, for a presenter without a screen.

    A break without a length of its own (a person ends it) takes no time.
    """
    planned: list[Planned] = []
    frame, rest = 0, 0
    for step in plan.steps:
        duration = step.duration or 0
        if step.show is Show.BREAK:
            rest += duration
        elif step.label is not None:
            seconds = duration / refresh_hz
            planned.append(Planned(frame / refresh_hz, step.label, seconds, rest / refresh_hz))
            rest = 0
        frame += duration
    return tuple(planned)


def length(planned: Sequence[Planned]) -> float:
    """Time from the start to the end of the last picture, breaks included, s."""
    return planned[-1].at + planned[-1].duration if planned else 0.0
