"""What looks teach about a person: pooled covariances, in several histories while they are few.

Owns the histories (one answer to every look so far each), which of them to believe, earlier looks
read again in the light of later ones, and the check that nothing ran away. A pure function of the
looks in their order, so that a replay repeats every decision.

Nobody says which answer was right. An answer that was right makes all looks one response, which
correlates better over their sum than several do: so the history with the largest pooled correlation
is believed, and there are as many histories as the looks leave in doubt.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from models.attend.evidence import Covariances, explained, nothing
from models.attend.stopping import posterior
from pipeline.values import Float64

KEPT = (20, 20, 20, 6, 6, 6, 2)
"""Histories that are kept after 1, 2, ... looks; the last for all later."""
REMEMBERED = 60
"""Looks that can still be read again; older ones stay as they were decided."""
YOUNG = 6
"""Looks below which nobody is known well."""
AGREEING = 0.7
"""Part of the earlier looks that must still be read as they were decided."""


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """One reading of all looks so far: their sums under these answers, and how good it is."""

    sums: Covariances
    answers: tuple[int, ...]
    worth: float = 0.0


@dataclass(slots=True)
class Learning:
    """What is known of a person, look by look.

    Parameters
    ----------
    n_channels : int
    known : Covariances, optional
        Of calibration trials, whose answers are known.
    rate : float
        Samples a second in the covariances, Hz.
    """

    n_channels: int
    known: Covariances | None = None
    rate: float = 120.0
    histories: list[History] = field(default_factory=list)
    looks: list[Covariances] = field(default_factory=list)
    n_restarts: int = 0
    agreement: float = 0.0
    """Part of the remembered looks that all the others read as they were decided, and rather so
    than not: answers to noise agree as well, but none is probable."""

    def __post_init__(self) -> None:
        if not self.histories:
            self.histories = [History(self._start(), ())]

    @property
    def n_looks(self) -> int:
        """Looks that it learnt from; calibration trials count as many."""
        return len(self.histories[0].answers)

    @property
    def is_converged(self) -> bool:
        """Whether the person is known: calibrated, or the looks agree with each other."""
        return self.known is not None or (self.n_looks >= YOUNG and self.agreement >= AGREEING)

    def score(self, look: Covariances) -> Float64:
        """How well each answer explains a look together with all before it.

        Returns
        -------
        ndarray, shape (n_histories, n_targets), float64, nats
        """
        return _scores(self.histories, look)

    def learn(self, look: Covariances) -> int:
        """Take a look that is over; return the answer that is believed."""
        self.histories = _grown(self.histories, look, self.score(look))
        self.looks.append(look)
        answer = self.histories[0].answers[-1]
        if self.n_looks >= YOUNG:
            self._read_again()
            answer = self.histories[0].answers[-1]
        if len(self.looks) > REMEMBERED:
            self._forget_oldest()
        return answer

    def _start(self) -> Covariances:
        return nothing(self.n_channels) if self.known is None else self.known

    def _read_again(self) -> None:
        """Read every remembered look anew by all the others; start anew where few agree."""
        best = self.histories[0]
        answers, self.agreement = self._reread(best)
        if answers != best.answers:
            better = self._retold(answers)
            if better.worth > best.worth:
                self.histories = [better, *self.histories][: len(self.histories)]
        if self.agreement < AGREEING and self.known is None:
            self._restart()

    def _reread(self, history: History) -> tuple[tuple[int, ...], float]:
        offset = len(history.answers) - len(self.looks)
        answers = list(history.answers)
        n_same = 0
        for k, look in enumerate(self.looks):
            given = history.answers[offset + k]
            rest = History(history.sums.minus(look.answered(given)), ())
            scores = _scores([rest], look)[0]
            found = int(scores.argmax())
            probable = posterior(scores[np.newaxis], rate=self.rate)
            n_same += found == given and float(probable[found]) >= 0.5
            answers[offset + k] = found
        return tuple(answers), n_same / max(1, len(self.looks))

    def _retold(self, answers: tuple[int, ...]) -> History:
        """Make the history of other answers to the remembered looks."""
        offset = len(answers) - len(self.looks)
        old = self.histories[0]
        sums = old.sums
        for k, look in enumerate(self.looks):
            was, now = old.answers[offset + k], answers[offset + k]
            if was != now:
                sums = sums.minus(look.answered(was)).plus(look.answered(now))
        return History(sums, answers, float(explained(sums)))

    def _restart(self) -> None:
        """Read all remembered looks once more from the newest on; keep the better reading."""
        if len(self.histories[0].answers) != len(self.looks):
            return
        histories = [History(self._start(), ())]
        for look in reversed(self.looks):
            histories = _grown(histories, look, _scores(histories, look))
        turned = [History(h.sums, h.answers[::-1], h.worth) for h in histories]
        if turned[0].worth > self.histories[0].worth:
            self.histories = turned
            self.n_restarts += 1
            self.agreement = self._reread(self.histories[0])[1]

    def _forget_oldest(self) -> None:
        self.looks.pop(0)


def _scores(histories: list[History], look: Covariances) -> Float64:
    pooled = Covariances(
        histories[0].sums.eeg + look.eeg,
        np.stack([history.sums.cross for history in histories])[:, np.newaxis] + look.cross,
        np.stack([history.sums.model for history in histories])[:, np.newaxis] + look.model,
        histories[0].sums.n_times + look.n_times,
    )
    return explained(pooled)


def _grown(histories: list[History], look: Covariances, scores: Float64) -> list[History]:
    """Go on with each history by its best answer; with the first look by every answer."""
    n_kept = KEPT[min(len(histories[0].answers), len(KEPT) - 1)]
    if len(histories) == 1:
        pairs = [(0, int(n)) for n in np.argsort(-scores[0], kind="stable")]
    else:
        best = scores.argmax(axis=1)
        order = np.argsort(-scores.max(axis=1), kind="stable")
        pairs = [(int(h), int(best[h])) for h in order]
    return [
        History(
            histories[h].sums.plus(look.answered(n)),
            (*histories[h].answers, n),
            float(scores[h, n]),
        )
        for h, n in pairs[:n_kept]
    ]
