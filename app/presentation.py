"""What a person is shown, frame by frame: the plan of a run, and one frame of a screen.

Owns the seeded order, the durations in frames, catch trials and breaks, and when a marker is due.
Knows nothing of Qt, of clocks or of who paints: a frame is a number, and the screen's refresh
counts them. `app.views.stimuli.window` paints; a marker's time is the flip's, stamped there.

Durations are frames, not seconds: a screen shows nothing in between. A dropped frame stretches the
step that it falls into; no picture is ever skipped or cut short (the other way, keeping to the wall
clock, would shorten pictures without a word).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np

from pipeline.errors import ConfigurationError

CATCH_LABEL = "catch"
"""Marker of a catch trial: the cross changes its colour and the person presses the space bar."""


class Show(StrEnum):
    """What is on the screen during a step."""

    FIXATION = "fixation"
    STIMULUS = "stimulus"
    CATCH = "catch"
    BLANK = "blank"
    BREAK = "break"
    END = "end"


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations in frames of the screen.

    `fixation` comes before a trial's first picture, with a random addition of 0 to `jitter`;
    `stimulus` is how long a picture stays; `blank` ends the trial.
    """

    fixation: int = 30
    stimulus: int = 30
    blank: int = 30
    jitter: int = 0

    def __post_init__(self) -> None:
        smallest = {"fixation": 0, "stimulus": 1, "blank": 0, "jitter": 0}
        for name, least in smallest.items():
            value = getattr(self, name)
            if value < least:
                raise ConfigurationError(
                    f"Timing.{name} is {value}, expected a number of at least {least}: "
                    "durations are whole frames of the screen."
                )

    @classmethod
    def from_seconds(
        cls,
        *,
        refresh_hz: float,
        fixation: float = 0.5,
        stimulus: float = 0.5,
        blank: float = 0.5,
        jitter: float = 0.0,
    ) -> Timing:
        """Round durations in seconds to frames of a screen with `refresh_hz`."""
        return cls(
            fixation=frames_of(fixation, refresh_hz=refresh_hz),
            stimulus=max(1, frames_of(stimulus, refresh_hz=refresh_hz)),
            blank=frames_of(blank, refresh_hz=refresh_hz),
            jitter=frames_of(jitter, refresh_hz=refresh_hz),
        )


def frames_of(seconds: float, *, refresh_hz: float) -> int:
    """Round a duration to whole frames."""
    return round(seconds * refresh_hz)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing on the screen for `duration` frames; None: until `Player.resume`.

    `label` names the picture of a stimulus and the marker of its onset (catch trials too); `trial`
    counts from 0.
    """

    show: Show
    duration: int | None
    label: str | None = None
    trial: int = 0


@dataclass(frozen=True, slots=True)
class PresentationPlan:
    """Every step of a run, in order, and the seed that repeats it."""

    steps: tuple[Step, ...]
    seed: int
    n_trials: int

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the pictures in the order of their onsets, catch trials left out."""
        return tuple(s.label for s in self.steps if s.show is Show.STIMULUS and s.label)


def plan_presentation(
    labels: Sequence[str],
    *,
    repetitions: int = 1,
    timing: Timing | None = None,
    n_catch: int = 0,
    trials_per_break: int = 0,
    break_frames: int | None = None,
    seed: int = 0,
) -> PresentationPlan:
    """Plan a run: every label `repetitions` times, interleaved.

    Each round shows every label once in a fresh random order and never the same one twice in
    succession, so that at any moment the counts of two labels differ by one at most. Blocks of one
    label are not offered: slow drifts of the signal would then tell the labels apart without a
    brain, and did in published work (Li et al. 2021, doi:10.1109/TPAMI.2020.2973153).

    Parameters
    ----------
    labels : sequence of str
        Different from each other, none empty.
    repetitions : int
        Rounds.
    timing : Timing, optional
        Durations in frames; None: half-second steps at 60 Hz.
    n_catch : int
        Catch trials in addition, spread evenly with a random place in each stretch.
    trials_per_break : int
        A break after so many trials; 0: none.
    break_frames : int, optional
        Length of a break; None: until the person goes on.
    seed : int
        Order, jitter and places of the catch trials depend on it only.

    Raises
    ------
    ConfigurationError
        No labels, a repeated or empty one, or a number out of its range.
    """
    _check(labels, repetitions, n_catch, trials_per_break, break_frames)
    timing = timing or Timing()
    rng = np.random.default_rng([seed, 0xF1A5])
    order = list(_interleaved(labels, repetitions, rng))
    trials: list[str | None] = list(order)
    for place in sorted(_catch_places(len(trials), n_catch, rng), reverse=True):
        trials.insert(place, None)
    steps: list[Step] = []
    for number, shown in enumerate(trials):
        if trials_per_break and number and number % trials_per_break == 0:
            steps.append(Step(Show.BREAK, break_frames, trial=number))
        steps += _trial_steps(number, shown, timing, rng)
    steps.append(Step(Show.END, 1, trial=len(trials)))
    return PresentationPlan(tuple(steps), seed, len(trials))


def _check(
    labels: Sequence[str],
    repetitions: int,
    n_catch: int,
    trials_per_break: int,
    break_frames: int | None,
) -> None:
    if not labels or not all(labels) or len(set(labels)) != len(labels):
        raise ConfigurationError(
            f"labels are {list(labels)[:5]}, expected at least one, all different, none empty."
        )
    for name, value, least in (
        ("repetitions", repetitions, 1),
        ("n_catch", n_catch, 0),
        ("trials_per_break", trials_per_break, 0),
        ("break_frames", 1 if break_frames is None else break_frames, 1),
    ):
        if value < least:
            raise ConfigurationError(f"{name} is {value}, expected at least {least}.")


def _interleaved(
    labels: Sequence[str], repetitions: int, rng: np.random.Generator
) -> Iterator[str]:
    last = None
    for _ in range(repetitions):
        order = [labels[n] for n in rng.permutation(len(labels))]
        if order[0] == last and len(order) > 1:
            other = int(rng.integers(1, len(order)))
            order[0], order[other] = order[other], order[0]
        yield from order
        last = order[-1]


def _catch_places(n_trials: int, n_catch: int, rng: np.random.Generator) -> list[int]:
    """Places before which a catch trial goes: one in each of `n_catch` equal stretches."""
    edges = np.linspace(0, n_trials, n_catch + 1)
    return [
        int(rng.integers(int(low), max(int(low) + 1, int(high)))) for low, high in pairwise(edges)
    ]


def _trial_steps(
    number: int, shown: str | None, timing: Timing, rng: np.random.Generator
) -> list[Step]:
    """Steps of one trial; no picture: a catch trial. Steps of no frames are left out."""
    fixation = timing.fixation + int(rng.integers(0, timing.jitter + 1))
    show, label = (Show.CATCH, CATCH_LABEL) if shown is None else (Show.STIMULUS, shown)
    steps = [
        Step(Show.FIXATION, fixation, trial=number),
        Step(show, timing.stimulus, label, number),
        Step(Show.BLANK, timing.blank, trial=number),
    ]
    return [step for step in steps if step.duration]


@dataclass(frozen=True, slots=True)
class Frame:
    """What one refresh of the screen shows.

    `marker` is the label to stamp at the flip of this very frame, None in all others. `changed`
    says whether it differs from the frame before: a raster surface need not paint otherwise.
    `message` stands on the screen in a break and at the end.
    """

    index: int
    show: Show
    label: str | None = None
    marker: str | None = None
    changed: bool = False
    message: str = ""
    trial: int = 0

    @property
    def lit(self) -> bool:
        """Whether the photodiode's square is white: while a stimulus or a catch is on."""
        return self.show in (Show.STIMULUS, Show.CATCH)
