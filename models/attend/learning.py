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

from models.attend.evidence import RIDGE, Covariances, explained, likelihood, nothing
from models.attend.response import FLICKER, Response
from models.attend.stopping import deviations, posterior, posterior_or_none, standing_out
from models.attend.template import Template
from pipeline.values import Float64

KEPT = (20, 20, 20, 6, 6, 6, 2)
"""Histories that are kept after 1, 2, ... looks; the last for all later."""
REMEMBERED = 60
"""Looks that can still be read again; older ones stay as they were decided."""
REVISION = 2
"""Of the rules that say when a person is known, and whether a stranger's look may be decided. The
first ones took a look for sure that the other looks' response made `SURE` (codes that nobody saw
were often so, with a strong response), and decided anybody's. Sessions of before replay by them."""
YOUNG = (6, 4)
"""Looks below which nobody is known well, by revision."""
AGREEING = 0.7
"""Part of the earlier looks that must still be read as they were decided."""
LEAST_GAIN = 0.2
"""A response of which looks show less than this part is none."""
SURE = 0.8
"""Probability that a look is read again with to agree, by the first revision."""
AHEAD = 3.0
"""Standard deviations of the other codes by which the other looks' response has to put a look's
answer above them, so that it agrees: of 20 codes that nobody saw the best is there once in ten."""
N_EXACT = 4
"""Answers beside the best history's that a step scores exactly."""


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
    n_targets : int or None
        Answers; what a look holds beyond them are decoys. None: it holds none.
    response : Response
        What a picture evokes.
    revision : int
        Of the rule that says when the person is known; see `REVISION`.
    """

    n_channels: int
    known: Covariances | None = None
    rate: float = 120.0
    n_targets: int | None = None
    response: Response = FLICKER
    revision: int = REVISION
    histories: list[History] = field(default_factory=list)
    looks: list[Covariances] = field(default_factory=list)
    n_restarts: int = 0
    agreement: float = 0.0
    """Part of the remembered looks that the response of all the others reads as they were decided,
    and rather so than as none: answers to noise show no response in the next look."""
    template: Template | None = None
    """The believed response, once the person is known."""
    _bounds: _Bounds | None = None
    _gain: float = 1.0
    _surely: float = 0.0

    def __post_init__(self) -> None:
        if not self.histories:
            self.histories = [History(self._start(), ())]
        if self.known is not None:
            self.template = Template.learnt(self.known)

    @property
    def _independent(self) -> float:
        """Part of the samples that is independent."""
        return self.response.independent_hz / self.rate

    @property
    def n_looks(self) -> int:
        """Looks that it learnt from; calibration trials count as many."""
        return len(self.histories[0].answers)

    @property
    def is_converged(self) -> bool:
        """Whether the person is known: calibrated, or the looks agree with each other."""
        return self.known is not None or (self.n_looks >= self._young and self._surely >= AGREEING)

    @property
    def may_decide(self) -> bool:
        """Whether a look may be decided: a stranger's at flashed pictures only teaches."""
        is_known = self.template is not None
        return is_known or self.response.decides_strangers or self.revision == 1

    @property
    def _young(self) -> int:
        return YOUNG[self.revision - 1]

    def posterior(self, look: Covariances) -> Float64:
        """Probability of each answer to a look; what is left is that none is right.

        Returns
        -------
        ndarray, shape (n_targets,), float64
        """
        if self.template is not None:
            scores = self.template.score(look)[: self.n_targets]
            return posterior_or_none(scores, independent=self._independent)
        scores, own = self._quick(look)
        n_targets = scores.shape[1]
        return posterior(scores, independent=self._independent) * standing_out(own, n_targets)

    def score(self, look: Covariances) -> Float64:
        """How well each answer explains a look together with all before it.

        Returns
        -------
        ndarray, shape (n_histories, n_targets), float64, nats
        """
        return _scores(self.histories, look)[:, : self.n_targets]

    def _quick(self, look: Covariances) -> tuple[Float64, Float64]:
        """Score the answers that may matter exactly, the others by what they are at least.

        Returns
        -------
        scores : ndarray, shape (n_histories, n_targets), float64, nats
        own : ndarray, shape (n_targets + n_decoys,), float64, nats
            Of the history that the best answer is of.
        """
        if len(self.histories) == 1:
            found = _scores(self.histories, look)
            return found[:, : self.n_targets], found[0]
        if self._bounds is None:
            self._bounds = _Bounds(self.histories)
        least = self._bounds.at_least(look)[:, : self.n_targets]
        best = int(least.max(axis=1).argmax())
        own = _scores([self.histories[best]], look)[0]
        scores = least.copy()
        scores[best] = own[: self.n_targets]
        rest = least.copy()
        rest[best] = -np.inf
        flat = np.argsort(-rest, axis=None, kind="stable")[:N_EXACT]
        h, n = np.divmod(flat, least.shape[1])
        first, chosen = self.histories[0].sums, [self.histories[k].sums for k in h.tolist()]
        scores[h, n] = explained(
            Covariances(
                first.eeg + look.eeg,
                np.stack([each.cross for each in chosen]) + look.cross[n],
                np.stack([each.model for each in chosen]) + look.model[n],
                first.n_times + look.n_times,
            )
        )
        return scores, own

    def learn(self, look: Covariances) -> int:
        """Take a look that is over; return the answer that is believed."""
        if self.template is not None:
            answer = int(self.template.score(look)[: self.n_targets].argmax())
            believed = self.histories[0]
            sums = believed.sums.plus(look.answered(answer))
            self.histories = [History(sums, (*believed.answers, answer), float(explained(sums)))]
        else:
            self.histories = _grown(self.histories, look, self.score(look))
        self.looks.append(look)
        if self.n_looks >= self._young:
            self._read_again()
        if len(self.looks) > REMEMBERED:
            self._forget_oldest()
        self._believe()
        return self.histories[0].answers[-1]

    def _believe(self) -> None:
        """Fit what the next look is read by."""
        self._bounds = None
        if not self.is_converged:
            self.template = None
        elif self.known is not None:
            self.template = Template.learnt(self.histories[0].sums)
        else:
            self.template = Template.learnt(self.histories[0].sums).with_gain(self._gain)

    def _start(self) -> Covariances:
        return nothing(self.n_channels, self.response) if self.known is None else self.known

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
        read = []
        for k, look in enumerate(self.looks):
            given = history.answers[offset + k]
            match, power = Template.learnt(history.sums.minus(look.answered(given))).compare(look)
            read.append((given, match, power))
        full = sum(float(power[given]) for given, _, power in read)
        seen = sum(float(match[given]) for given, match, _ in read)
        self._gain = float(np.clip(seen / max(full, 1e-12), LEAST_GAIN, 1.0))
        n_same = n_sure = 0
        for k, (given, match, power) in enumerate(read):
            scores = self._gain * match - 0.5 * self._gain**2 * power
            shown = scores[: self.n_targets]
            found = int(shown.argmax())
            probable = float(posterior_or_none(shown, independent=self._independent)[found])
            is_sure = probable >= SURE if self.revision == 1 else deviations(scores, found) >= AHEAD
            n_same += found == given and probable >= 0.5
            n_sure += found == given and is_sure
            answers[offset + k] = found
        self._surely = n_sure / max(1, len(self.looks))
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
            scores = _scores(histories, look)[:, : self.n_targets]
            histories = _grown(histories, look, scores)
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


class _Bounds:
    """Least scores of a look by the response that each history has already.

    The largest correlation over all filters and responses is at least that of these; what the
    histories bring to it is the same in every step.
    """

    def __init__(self, histories: list[History]) -> None:
        templates = [Template.learnt(history.sums) for history in histories]
        self._filters = np.stack([each.filters[:, 0] for each in templates])
        self._responses = np.stack([each.responses[:, 0] for each in templates])
        known = zip(self._filters, self._responses, histories, strict=True)
        rows = [(r @ h.sums.cross @ f, r @ h.sums.model @ r, h) for f, r, h in known]
        self._shared = np.array([[shared] for shared, _, _ in rows])
        self._power = np.array([[power] for _, power, _ in rows])
        self._trace = np.array([[np.trace(h.sums.model)] for _, _, h in rows])
        ridge = RIDGE / self._responses.shape[1]
        self._ridge = ridge * (self._responses**2).sum(axis=1)[:, np.newaxis]
        self._eeg, self._n_times = histories[0].sums.eeg, histories[0].sums.n_times

    def at_least(self, look: Covariances) -> Float64:
        """Scores (n_histories, n_targets + n_decoys), nats."""
        filters, responses = self._filters, self._responses
        eeg = self._eeg + look.eeg
        matched = (look.cross @ filters.T) * responses.T
        shared = self._shared + matched.sum(axis=1).T
        strong = (look.model @ responses.T) * responses.T
        ridge = self._ridge * (self._trace + np.trace(look.model, axis1=1, axis2=2))
        power = self._power + strong.sum(axis=1).T + ridge
        noise = ((filters @ eeg) * filters).sum(axis=1)[:, np.newaxis]
        squared = np.maximum(shared, 0.0) ** 2 / np.maximum(power * noise, 1e-12)
        return likelihood(squared, self._n_times + look.n_times)


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
