"""What a person is shown, frame by frame: the plan and the machine that steps through it.

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
from itertools import islice, pairwise

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
    `stimulus` is how long a picture stays; `blank` ends the trial. `per_trial` above 1 is rapid
    serial presentation: that many pictures after one fixation, `gap` frames of blank in between.
    """

    fixation: int = 30
    stimulus: int = 30
    blank: int = 30
    jitter: int = 0
    per_trial: int = 1
    gap: int = 0

    def __post_init__(self) -> None:
        smallest = {"fixation": 0, "stimulus": 1, "blank": 0, "jitter": 0, "per_trial": 1, "gap": 0}
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
        per_trial: int = 1,
        gap: float = 0.0,
    ) -> Timing:
        """Round durations in seconds to frames of a screen with `refresh_hz`."""
        return cls(
            fixation=frames_of(fixation, refresh_hz=refresh_hz),
            stimulus=max(1, frames_of(stimulus, refresh_hz=refresh_hz)),
            blank=frames_of(blank, refresh_hz=refresh_hz),
            jitter=frames_of(jitter, refresh_hz=refresh_hz),
            per_trial=per_trial,
            gap=frames_of(gap, refresh_hz=refresh_hz),
        )


def frames_of(seconds: float, *, refresh_hz: float) -> int:
    """Round a duration to whole frames."""
    return round(seconds * refresh_hz)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing on the screen for `duration` frames; None: until `Player.resume`.

    `label` names the picture of a stimulus and the marker of its onset (catch trials too); `trial`
    counts from 0, `first` marks a trial's first step: a break may come before it.
    """

    show: Show
    duration: int | None
    label: str | None = None
    trial: int = 0
    first: bool = False


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

    @property
    def n_frames(self) -> int:
        """Frames without what a person takes for self-paced breaks."""
        return sum(step.duration or 0 for step in self.steps)

    def duration(self, refresh_hz: float) -> float:
        """Length on a screen with `refresh_hz`, s; self-paced breaks count nothing."""
        return self.n_frames / refresh_hz


def plan_presentation(
    labels: Sequence[str],
    *,
    repetitions: int = 1,
    timing: Timing | None = None,
    n_catch: int = 0,
    trials_per_break: int = 0,
    break_frames: int | None = None,
    wait_to_begin: bool = False,
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
    wait_to_begin : bool
        Begin with a break that lasts until the person goes on.
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
    size = timing.per_trial
    trials: list[list[str]] = [order[n : n + size] for n in range(0, len(order), size)]
    for place in sorted(_catch_places(len(trials), n_catch, rng), reverse=True):
        trials.insert(place, [])
    steps: list[Step] = []
    if wait_to_begin:
        steps.append(Step(Show.BREAK, None))
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
    number: int, shown: Sequence[str], timing: Timing, rng: np.random.Generator
) -> list[Step]:
    """Steps of one trial; no pictures: a catch trial. Steps of no frames are left out."""
    fixation = timing.fixation + int(rng.integers(0, timing.jitter + 1))
    steps = [Step(Show.FIXATION, fixation, trial=number)]
    if not shown:
        steps.append(Step(Show.CATCH, timing.stimulus, CATCH_LABEL, number))
    for place, label in enumerate(shown):
        if place:
            steps.append(Step(Show.BLANK, timing.gap, trial=number))
        steps.append(Step(Show.STIMULUS, timing.stimulus, label, number))
    steps.append(Step(Show.BLANK, timing.blank, trial=number))
    steps = [step for step in steps if step.duration]
    head = steps[0]
    steps[0] = Step(head.show, head.duration, head.label, number, first=True)
    return steps


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


class Player:
    """Steps through a plan as the screen refreshes.

    Parameters
    ----------
    plan : PresentationPlan
    response_frames : int
        A press of the space bar counts as an answer to a catch up to so many frames after it.
    """

    def __init__(self, plan: PresentationPlan, *, response_frames: int = 90) -> None:
        self.plan = plan
        self.n_shown = self.n_catches = self.n_hits = self.n_false_alarms = 0
        self._response_frames = response_frames
        self._at = -1
        self._entered = 0
        self._index: int | None = None
        self._catch: int | None = None
        self._resumed = self._break_asked = self._extra_break = self._ended = False

    @property
    def step(self) -> Step | None:
        """The step on the screen; None before the first frame."""
        if self._at < 0:
            return None
        if self._extra_break:
            return Step(Show.BREAK, None, trial=self.plan.steps[self._at].trial)
        return self.plan.steps[self._at]

    @property
    def finished(self) -> bool:
        """Whether the last step has been reached, or the run was ended."""
        return self._ended or (self.step is not None and self.step.show is Show.END)

    @property
    def upcoming(self) -> str | None:
        """Label of the picture to have ready; None when no more come."""
        rest = islice(self.plan.steps, max(0, self._at), None)
        return next((each.label for each in rest if each.show is Show.STIMULUS), None)

    @property
    def on_break(self) -> bool:
        """Whether a break is on the screen."""
        return self.step is not None and self.step.show is Show.BREAK

    def advance(self, frame_index: int, due: float | None = None) -> Frame:
        """Say what refresh number `frame_index` shows, and the marker to stamp at its flip.

        When the frame is `due` matters to presentations that follow a clock, not to this one.

        The numbers grow; a number left out is a dropped frame. The same number again (a repaint)
        repeats the picture without its marker. Raises `ValueError` for a smaller one.
        """
        if self._index is not None and frame_index < self._index:
            raise ValueError(
                f"frame {frame_index} after frame {self._index}, expected growing numbers: "
                "make a new Player to begin again."
            )
        _ = due
        again = frame_index == self._index
        self._index = frame_index
        entered = not again and self._move(frame_index)
        return self._frame(frame_index, entered=entered)

    def resume(self) -> None:
        """End the break on the screen; outside of one it does nothing."""
        self._resumed = self.on_break

    def ask_break(self) -> None:
        """Take a break before the next trial."""
        self._break_asked = True

    def end(self) -> None:
        """End the run now: no further marker comes."""
        self._ended = True

    def respond(self) -> None:
        """Take the person's press of the space bar: an answer to a catch, or the end of a break."""
        if self.on_break:
            self.resume()
        elif self._catch is not None and self._index is not None:
            hit = self._index - self._catch <= self._response_frames
            self.n_hits += hit
            self.n_false_alarms += not hit
            self._catch = None
        else:
            self.n_false_alarms += 1

    def _move(self, frame_index: int) -> bool:
        """Go to the next step when the present one is over; say whether one was entered."""
        if self._ended or self._at == len(self.plan.steps) - 1:
            return False
        step = self.step
        if step is not None:
            over = step.duration is not None and frame_index - self._entered >= step.duration
            if not over and not (step.show is Show.BREAK and self._resumed):
                return False
        self._entered, self._resumed = frame_index, False
        if self._extra_break:
            self._extra_break = False  # back to the step that the break was put before
        else:
            self._at += 1
            if self._break_asked and self.plan.steps[self._at].first:
                self._break_asked, self._extra_break = False, True
        return True

    def _frame(self, frame_index: int, *, entered: bool) -> Frame:
        step = self.step
        if self._ended or step is None:
            return Frame(frame_index, Show.END, changed=True, message="The end.")
        marker = step.label if entered else None
        if marker is not None:
            self.n_shown += step.show is Show.STIMULUS
            if step.show is Show.CATCH:
                self.n_catches += 1
                self._catch = frame_index
        return Frame(
            frame_index,
            step.show,
            step.label,
            marker,
            changed=entered,
            message=self._message(step),
            trial=step.trial,
        )

    def _message(self, step: Step) -> str:
        if step.show is Show.END:
            return "The end. Thank you."
        if step.show is not Show.BREAK:
            return ""
        words = "Press the space bar to go on."
        if step.trial == 0:
            return words.replace("go on", "begin")
        done = f"Break: {step.trial} of {self.plan.n_trials} done."
        return f"{done} {words}" if step.duration is None else f"{done} It goes on by itself."
