"""From a calibration to an adapter, with numbers that can be believed.

Owns the order of the steps: cross-validate every method by stimulus and by blocks of time, test
against chance, compare with the encoder as it is, check for leaks, draw the learning curve, fit
the chosen method on everything. Knows nothing of files, sessions or windows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from configs import DecoderConfig
from models.adapters.adapter import Adapter
from models.adapters.data import CalibrationData
from models.adapters.evaluation import Scored, compare, learning_curve, method_score, verdict_of
from models.adapters.leaks import check_leaks
from models.adapters.methods import Method, find_method
from models.adapters.methods.base import Fitting, Stopped, Watch
from models.adapters.problems import AnyMethod, PictureProblem, Problem
from models.adapters.report import CalibrationReport
from models.adapters.scoring import Ints, permutation_test
from models.api import Encoder
from models.registry import open_encoder
from pipeline.gallery import Gallery
from pipeline.values import Float64

N_PERMUTATIONS = 2000
UNLABELLED_COST = 1
"""Methods up to this cost see no labels."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a calibration is.

    `fraction` 0 to 1; `step` a few words; `losses` of the pass-wise method at work.
    """

    fraction: float
    step: str
    losses: tuple[tuple[float, float], ...] = ()


_SYSTEM = DecoderConfig().system
OnProgress = Callable[[Progress], None]


def fit_adapter(
    data: CalibrationData,
    *,
    encoder: Encoder | None = None,
    system: str = _SYSTEM,
    methods: Sequence[str] = (),
    seed: int = 0,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
    subject: str = "anonymous",
    gallery: Gallery | None = None,
    with_curve: bool = True,
) -> Adapter:
    """Cross-validate methods, choose one, fit it on everything, and say what it is worth.

    Parameters
    ----------
    data : CalibrationData
        With `targets`: adapters of an encoder of vectors. Without: a discriminant of its classes.
    encoder : Encoder, optional
        What is adapted to the person; `system`'s installed one if not given.
    system : str
        Name of the encoder's system.
    methods : sequence of str
        Names to choose among; empty: all that fit. The encoder as it is always takes part. Of
        classes: some of the decoders (`tangent`), and pretrained encoders (`labram`) whose features
        are offered to the choice as well.
    seed : int
        Of every random choice.
    on_progress : callable, optional
        Called with a `Progress`, in this thread.
    should_stop : callable, optional
        Asked often; True raises `Stopped`.
    gallery : Gallery, optional
        Whose pictures stand for classes; the shipped one if not given.
    with_curve : bool
        Measure the learning curve, too (about as long again as the choice).

    Returns
    -------
    Adapter
        Its manifest holds the report.

    Raises
    ------
    AdapterError
        Too little data, an unknown method, a montage without places on the head, or an encoder
        that gives no vectors of the pictures' space.
    """
    started = time.monotonic()
    tell = _Teller(on_progress, should_stop)
    tell(0.0, "preparing epochs")
    problem: Problem
    if data.is_classes:
        from models.adapters.classes import ClassProblem

        problem = ClassProblem(data, seed=seed, gallery=gallery, methods=methods, subject=subject)
    else:
        encoder = encoder or open_encoder(DecoderConfig(system=system))
        problem = PictureProblem(data, encoder, system=system, methods=methods, seed=seed)
    fit = _Fit(problem, problem.data, seed=seed, tell=tell)
    return fit.run(subject, started, with_curve=with_curve)


class _Teller:
    """Tells progress and asks whether to stop."""

    def __init__(
        self, on_progress: OnProgress | None, should_stop: Callable[[], bool] | None
    ) -> None:
        self.on_progress = on_progress
        self.should_stop = should_stop

    def __call__(
        self, fraction: float, step: str, losses: Sequence[tuple[float, float]] = ()
    ) -> None:
        if self.should_stop is not None and self.should_stop():
            raise Stopped("calibration was stopped: nothing was changed.")
        if self.on_progress is not None:
            self.on_progress(Progress(min(max(fraction, 0.0), 1.0), step, tuple(losses)))


class _Fit:
    """One calibration."""

    def __init__(
        self, problem: Problem, data: CalibrationData, *, seed: int, tell: _Teller
    ) -> None:
        self.problem, self.data, self.seed, self.tell = problem, data, seed, tell
        self.targets = problem.candidates[problem.rows]

    def fit(self, kind: AnyMethod, rows: Ints, watch: Watch) -> Method[Any, Any]:
        problem = self.problem
        return kind.fit(
            Fitting(
                problem.batch.take(rows),
                self.targets[rows],
                problem.rows[rows],
                problem.base,
                self.seed,
                watch,
            )
        )

    def scored(
        self, kind: AnyMethod, *, minutes: float | None = None, base: Scored | None = None
    ) -> Scored:
        """Cross-validate one method, with the fitting data of its first `minutes` only.

        A method whose training ends where it began on the first fold is given up: it is `base`.
        """
        problem = self.problem
        shape = (len(problem.rows), len(problem.candidates))
        scores, logits = np.zeros(shape), np.zeros(shape)
        tested = np.zeros(shape[0], dtype=bool)
        begin = time.monotonic()
        for train, test in problem.splits.folds:
            kept = train if minutes is None else _first(train, self.data.onsets, minutes)
            if not problem.is_enough(kept):
                continue
            method = self.fit(kind, kept, Watch(should_stop=self.tell.should_stop))
            if method.changes_nothing and base is not None and not tested.any():
                seconds = time.monotonic() - begin
                return replace(
                    base, name=kind.name, title=kind.title, cost=kind.cost, seconds=seconds
                )
            scores[test], logits[test] = problem.score(method, test)
            tested[test] = True
        seconds = (time.monotonic() - begin) / max(len(problem.splits.folds), 1)
        return Scored(
            kind.name, kind.title, kind.cost, scores, logits, problem.rows, tested, seconds
        )

    def run(self, subject: str, started: float, *, with_curve: bool) -> Adapter:
        problem, methods = self.problem, self.problem.methods
        found = problem.baseline()
        watching = Watch(should_stop=self.tell.should_stop)
        for k, kind in enumerate(methods):
            self.tell(0.7 * k / len(methods), f"cross-validating: {kind.title}")
            found.append(self.scored(kind, base=found[0] if found else None))
        contenders = problem.contenders(found)
        others = problem.others()
        best = problem.choose(contenders)
        kind = find_method(best.name)
        self.tell(0.65, "scoring")
        classes = problem.class_scores(best, lambda rows: self.fit(kind, rows, watching))
        self.tell(0.7, "testing against chance")
        keep = best.tested
        test = permutation_test(
            [each.logits[keep] for each in contenders],
            problem.rows[keep],
            is_fitted=[each.cost > UNLABELLED_COST for each in contenders],
            seed=self.seed,
            n_permutations=N_PERMUTATIONS,
        )
        self.tell(0.75, "checking for leaks")
        leak = check_leaks(self.data, seed=self.seed)
        self.tell(0.8, "learning curve")
        curve = learning_curve(
            lambda minutes: self.scored(kind, minutes=minutes),
            self.data.minutes,
            best,
            is_fixed=not with_curve,
        )
        self.tell(0.9, f"fitting: {kind.title}")
        watch = Watch(
            should_stop=self.tell.should_stop,
            on_loss=lambda *_: self.tell(0.95, f"fitting: {kind.title}", watch.losses),
        )
        method = self.fit(kind, np.arange(len(problem.rows)), watch)
        scores = [
            method_score(each, found[0], float(chance))
            for each, chance in zip(contenders, test.chance, strict=True)
        ]
        scores += [method_score(each, found[0], scores[0].chance) for each in others]
        comparison = compare(best, found[0], self.data.onsets, seed=self.seed)
        without, reason, compared = problem.words(best, scores, comparison)
        verdict, sentence = verdict_of(test.p_value, leak, best, scores, classes)
        report = CalibrationReport(
            verdict=verdict,
            sentence=sentence,
            method=best.name,
            reason=reason,
            n_epochs=len(problem.rows),
            minutes=self.data.minutes,
            n_candidates=len(problem.candidates),
            is_classes=self.data.is_classes,
            split=problem.split,
            methods=tuple(scores),
            p_value=test.p_value,
            n_permutations=test.n_permutations,
            with_adapter=best.accuracy,
            without_adapter=without,
            difference_low=comparison.low,
            difference_high=comparison.high,
            comparison=compared,
            curve=curve,
            leak=leak,
            losses=tuple(watch.losses),
            seconds=time.monotonic() - started,
            classes=classes,
            transfer=problem.transfer_report,
        )
        self.tell(1.0, "done")
        return problem.adapter(method, report, subject)


def _first(rows: Ints, onsets: Float64, minutes: float) -> Ints:
    """Rows of the first `minutes` of fitting data (their own time, gaps left out)."""
    units = np.floor((onsets[rows] - onsets[0]) / 60)
    kept = np.unique(units)[: max(1, round(minutes))]
    return rows[np.isin(units, kept)]


__all__ = ["Progress", "Stopped", "fit_adapter"]
