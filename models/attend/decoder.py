"""The decoder of looks: frames and filtered EEG in, a probability a step, a decision at the end.

Owns one look at a time and what the looks before it taught. A pure function of what it is given, in
its order: the same recording gives the same decisions, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from models.attend.evidence import Covariances, Look
from models.attend.learning import REVISION, Learning
from models.attend.response import FLICKER, Response
from models.attend.stopping import NONE, Stopping
from pipeline.errors import ConfigurationError
from pipeline.values import Float64, Uint8

STEP = 0.1
"""Time between two steps, s."""
RATE = 120.0
"""Rate that evidence is gathered at, about, Hz: a 40 Hz filter leaves nothing for more."""
N_WRONG = 19
"""Wrong codes that a target's is compared with at least; where a grid has fewer, decoys."""
FORCED = 0.3
"""A stranger's look of fixed length is answered by what is at least so probable; of a person whose
response is known, by what the look speaks for rather than against."""


def thinning(sfreq: float) -> int:
    """Every how manieth sample of a stream is used."""
    return max(1, round(sfreq / RATE))


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What is known `seconds` after a look's onset."""

    seconds: float
    posterior: Float64
    is_decided: bool

    @property
    def best(self) -> int:
        """The most probable answer."""
        return int(self.posterior.argmax())


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """How a look ended: its answer, None for "not sure"."""

    answer: int | None
    seconds: float
    posterior: Float64


class AttendDecoder:
    """Decides which of the targets is attended to, look by look.

    Parameters
    ----------
    n_targets, n_channels : int
    n_decoys : int
        Codes after the targets' that no picture has: they tell what wrong ones score.
    rate : float
        Of the samples that it is given, Hz.
    stopping : Stopping
    trial_seconds : float or None
        Length of every look, s; None: the stopping rule decides.
    adapt : bool
        Whether looks teach the next ones; off, a decision depends on its own look alone (and on
        `known`).
    known : Covariances, optional
        Of the person's calibration trials.
    response : Response
        What a picture evokes.
    revision : int
        Of the rule that says when the person is known: `models.attend.learning.REVISION`.
    """

    def __init__(
        self,
        *,
        n_targets: int,
        n_channels: int,
        rate: float,
        n_decoys: int = 0,
        stopping: Stopping | None = None,
        trial_seconds: float | None = None,
        adapt: bool = True,
        known: Covariances | None = None,
        response: Response = FLICKER,
        revision: int = REVISION,
    ) -> None:
        if known is not None and len(known.eeg) != n_channels:
            raise ConfigurationError(
                f"The calibration is of {len(known.eeg)} channels, the stream has {n_channels}: "
                "calibrate with the same electrodes."
            )
        self.stopping = stopping or Stopping()
        self.rate = rate
        self.trial_seconds = trial_seconds
        self.learning = Learning(n_channels, known, rate, n_targets, response, revision)
        self._adapt = adapt
        self._n_targets = n_targets
        self._new_look = partial(
            Look,
            n_targets=n_targets + n_decoys,
            n_channels=n_channels,
            response=response,
            n_decoys=n_decoys,
        )
        self._look = self._new_look()
        self._step: Step | None = None

    def begin(self) -> None:
        """Start a look; times are s from its onset from now on."""
        self._look = self._new_look()
        self._step = None

    def show(self, states: Uint8, flips: Float64) -> None:
        """Take the frames that came to the screen; see `Look.show`."""
        self._look.show(states, flips)

    def step(self, data: Float64, times: Float64) -> Step:
        """Take the samples since the last step; say what is known now."""
        self._look.add(data, times)
        seconds = self._look.sums.n_times / self.rate
        probable = self.learning.posterior(self._look.sums)
        if self.trial_seconds is not None:
            is_decided = seconds >= self.trial_seconds - 0.5 / self.rate
        else:
            is_sure = self.stopping.is_enough(probable)
            is_sure = is_sure and self.learning.may_decide
            is_decided = seconds >= self.stopping.first - 0.5 / self.rate and is_sure
        self._step = Step(seconds, probable, is_decided)
        return self._step

    @property
    def longest(self) -> float:
        """Longest that the look may last, s."""
        return self.stopping.limit if self.trial_seconds is None else self.trial_seconds

    def end(self) -> Decision:
        """End the look, decided or not, and learn from it.

        While the person is hardly known, looks that were not decided teach as well: later ones
        tell what they were. Afterwards only decided ones do.
        """
        last = self._step
        if last is None:
            return Decision(None, 0.0, np.full(self._n_targets, 1 / self._n_targets))
        is_sure = last.is_decided
        if self.trial_seconds is not None:
            least = FORCED if self.learning.template is None else (1 - NONE) / self._n_targets
            is_sure = is_sure and float(last.posterior.max()) >= least
            is_sure = is_sure and self.learning.may_decide
        if self._adapt and (is_sure or not self.learning.is_converged):
            self.learning.learn(self._look.sums)
        return Decision(last.best if is_sure else None, last.seconds, last.posterior)

    @property
    def sums(self) -> Covariances:
        """The look's covariances under each answer, so far."""
        return self._look.sums

    def teach(self, target: int) -> Covariances:
        """The look's covariances under the answer that it is known to have: calibration."""
        return self.sums.answered(target)
