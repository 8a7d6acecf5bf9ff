"""From a calibration to an adapter, with numbers that can be believed.

Owns the order of the steps: cross-validate every method by stimulus and by blocks of time, test
against chance, compare with the encoder as it is, check for leaks, draw the learning curve, fit
the chosen method on everything. Knows nothing of files, sessions or windows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from configs import DecoderConfig
from models.adapters.data import CalibrationData
from models.adapters.encoder import AdapterEncoder
from models.adapters.errors import AdapterError
from models.adapters.evaluation import (
    Scored,
    choose,
    compare,
    describe_choice,
    learning_curve,
    method_score,
    verdict_of,
)
from models.adapters.leaks import check_leaks
from models.adapters.manifest import PersonalManifest
from models.adapters.parts import METHODS, find_method
from models.adapters.parts.base import PictureAdapter, Stopped, Watch
from models.adapters.personal import PersonalEncoder
from models.adapters.prepared import EncoderView, prepare_data
from models.adapters.report import CalibrationReport
from models.adapters.scoring import Splits, permutation_test, time_and_stimulus_splits
from models.embedded.encoder import load_encoder
from pipeline.alignment import mean_covariance
from pipeline.values import Float64

DEFAULT_METHODS = tuple(METHODS)
"""What is tried unless the caller names methods: all, from cheap to rich."""
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


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """An adapter and what is known about it.

    Attributes
    ----------
    adapter : PersonalEncoder or AdapterEncoder
        An `Encoder`, ready to decode; `AdapterStore.save` keeps it.
    report : CalibrationReport
    """

    adapter: PersonalEncoder | AdapterEncoder
    report: CalibrationReport

    @property
    def method(self) -> str:
        """Name of the chosen method."""
        return self.report.method

    @property
    def reason(self) -> str:
        """Why it was chosen."""
        return self.report.reason


OnProgress = Callable[[Progress], None]


def train_adapter(
    data: CalibrationData,
    *,
    config: DecoderConfig | None = None,
    methods: Sequence[str] | None = None,
    seed: int = 0,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
    subject: str = "anonymous",
    with_curve: bool = True,
) -> Calibration:
    """Cross-validate adapters, choose one, fit it on everything, and say what it is worth.

    Parameters
    ----------
    data : CalibrationData
        With `targets`: adapters of the picture encoder. Without: a discriminant of its classes.
    config : DecoderConfig, optional
        Whose encoder is adapted (`weights`); the shipped one if not given.
    methods : sequence of str, optional
        Names to choose among; the encoder as it is always takes part.
    seed : int
        Of every random choice.
    on_progress : callable, optional
        Called with a `Progress`, in this thread.
    should_stop : callable, optional
        Asked often; True raises `Stopped`.
    with_curve : bool
        Measure the learning curve, too (about as long again as the choice).

    Raises
    ------
    AdapterError
        Too little data, an unknown method, or a montage without places on the head.
    """
    started = time.monotonic()
    tell = _Teller(on_progress, should_stop)
    if data.is_classes:
        from models.adapters.classes import train_classes

        return train_classes(data, seed=seed, subject=subject, tell=tell, started=started)
    config = config or DecoderConfig()
    if config.system != "embedded":
        raise AdapterError(
            f"system {config.system!r} has no picture adapters yet, expected 'embedded': "
            "calibrate that one."
        )
    folder = None if config.weights is None else Path(config.weights) / "encoder"
    view = EncoderView(load_encoder(folder))
    wanted = tuple(methods or DEFAULT_METHODS)
    kinds = [find_method(name) for name in dict.fromkeys(("zero-shot", *wanted))]
    kinds.sort(key=lambda kind: kind.cost)
    return _Pictures(data, view, seed=seed, tell=tell).train(
        kinds, subject, started, with_curve=with_curve
    )


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


class _Pictures:
    """One calibration of the picture encoder."""

    def __init__(
        self, data: CalibrationData, view: EncoderView, *, seed: int, tell: _Teller
    ) -> None:
        if data.targets is None or data.targets.shape[1] != view.n_features:
            found = None if data.targets is None else data.targets.shape[1]
            raise AdapterError(
                f"the targets have {found} features, the encoder gives {view.n_features}: take "
                "the embeddings of the encoder's own gallery."
            )
        self.data, self.view, self.seed, self.tell = data, view, seed, tell
        self.batch = prepare_data(data).remembering(view)
        self.candidates = data.targets.astype(np.float64)
        self.rows = data.rows
        self.targets = self.candidates[self.rows]
        self.splits: Splits = time_and_stimulus_splits(data.onsets, self.rows, seed=seed)

    def fit(self, kind: type[PictureAdapter], rows: np.ndarray, watch: Watch) -> PictureAdapter:
        return kind.fit(
            self.batch.take(rows),
            self.targets[rows],
            self.rows[rows],
            self.view,
            seed=self.seed,
            watch=watch,
        )

    def scored(
        self,
        kind: type[PictureAdapter],
        *,
        minutes: float | None = None,
        base: Scored | None = None,
    ) -> Scored:
        """Cross-validate one method, with the fitting data of its first `minutes` only.

        A method whose training ends where it began on the first fold is given up: it is `base`.
        """
        n = len(self.rows)
        scores = np.zeros((n, len(self.candidates)))
        logits = np.zeros((n, len(self.candidates)))
        tested = np.zeros(n, dtype=bool)
        begin = time.monotonic()
        for train, test in self.splits.folds:
            kept = train if minutes is None else _first(train, self.data.onsets, minutes)
            if len(kept) < 4:
                continue
            watch = Watch(should_stop=self.tell.should_stop)
            part = self.fit(kind, kept, watch)
            if part.changes_nothing and base is not None and not tested.any():
                seconds = time.monotonic() - begin
                return replace(
                    base, name=kind.name, title=kind.title, cost=kind.cost, seconds=seconds
                )
            evidence = part.evidence(self.batch.take(test), self.view)
            vectors = self.view.recall(evidence, part.bias(self.view.memory))
            scores[test] = vectors @ self.candidates.T
            logits[test] = evidence @ self.candidates.T / self.view.temperature
            logits[test] += part.bias(self.candidates)
            tested[test] = True
        seconds = (time.monotonic() - begin) / max(len(self.splits.folds), 1)
        return Scored(kind.name, kind.title, kind.cost, scores, logits, self.rows, tested, seconds)

    def train(
        self,
        kinds: Sequence[type[PictureAdapter]],
        subject: str,
        started: float,
        *,
        with_curve: bool,
    ) -> Calibration:
        found: list[Scored] = []
        for k, kind in enumerate(kinds):
            self.tell(0.7 * k / len(kinds), f"cross-validating: {kind.title}")
            found.append(self.scored(kind, base=found[0] if found else None))
        best = choose(found)
        kind = find_method(best.name)
        self.tell(0.7, "testing against chance")
        rows, keep = self.rows[best.tested], best.tested
        test = permutation_test(
            [each.logits[keep] for each in found],
            rows,
            is_fitted=[each.cost > UNLABELLED_COST for each in found],
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
        part = self.fit(kind, np.arange(len(self.rows)), watch)
        scores = [
            method_score(each, found[0], float(chance))
            for each, chance in zip(found, test.chance, strict=True)
        ]
        comparison = compare(best, found[0], self.data.onsets, seed=self.seed)
        verdict, sentence = verdict_of(test.p_value, leak, best, scores)
        report = CalibrationReport(
            verdict=verdict,
            sentence=sentence,
            method=best.name,
            reason=describe_choice(best, scores),
            n_epochs=len(self.rows),
            minutes=self.data.minutes,
            n_candidates=len(self.candidates),
            is_classes=False,
            split=self.splits.sentence,
            methods=tuple(scores),
            p_value=test.p_value,
            n_permutations=test.n_permutations,
            with_adapter=best.accuracy,
            without_adapter=found[0].accuracy,
            difference_low=comparison.low,
            difference_high=comparison.high,
            comparison=comparison.sentence,
            curve=curve,
            leak=leak,
            losses=tuple(watch.losses),
            seconds=time.monotonic() - started,
        )
        self.tell(1.0, "done")
        return Calibration(self._encoder(part, report, subject), report)

    def _encoder(
        self, part: PictureAdapter, report: CalibrationReport, subject: str
    ) -> PersonalEncoder:
        manifest = PersonalManifest(
            method=part.name,
            subject=subject,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            ch_names=self.batch.ch_names,
            montage=self.data.channels,
            sfreq=self.data.sfreq,
            filter=self.data.filter,
            encoder_sha256=self.view.sha256,
            n_features=self.view.n_features,
            report=report,
            data_sha256=self.data.sha256,
        )
        return PersonalEncoder(manifest, part, self.view, mean_covariance(self.batch.channels))


def _first(rows: np.ndarray, onsets: Float64, minutes: float) -> np.ndarray:
    """Rows of the first `minutes` of fitting data (their own time, gaps left out)."""
    units = np.floor((onsets[rows] - onsets[0]) / 60)
    kept = np.unique(units)[: max(1, round(minutes))]
    return rows[np.isin(units, kept)]


__all__ = [
    "DEFAULT_METHODS",
    "Calibration",
    "Progress",
    "Stopped",
    "train_adapter",
]
