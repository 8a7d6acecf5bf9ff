"""A calibration without streams, processes or torch: driven by a clock that tests move."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from app.calibration.collection import Collection
from app.calibration.flow import Flow
from app.calibration.results import CalibrationResult, LeakCheck, MethodScore, Verdict
from app.calibration.schedule import Choices, Planned
from app.calibration.steps import Training
from app.port import EpochEvent, Phase
from pipeline.errors import PhospheneError
from pipeline.values import Epoch, Info, Outcome
from tests.app.fake_session import T0, FakeSession

INFO = Info(("O1", "O2"), 250.0)


def result_of(verdict: Verdict = Verdict.FOUND) -> CalibrationResult:
    """A result as a page has to show it."""
    good = verdict is not Verdict.NOTHING
    scores = (
        MethodScore("zero-shot", 0.06, 0.03, 0.1, 1 / 60, 220, 1e-4),
        MethodScore("alignment", 0.08, 0.05, 0.12, 1 / 60, 220, 1e-5),
        MethodScore("ridge", 0.19 if good else 0.02, 0.14, 0.25, 1 / 60, 220, 1e-9, chosen=True),
        MethodScore("layers", 0.17, 0.12, 0.22, 1 / 60, 220, 1e-8),
    )
    return CalibrationResult(
        verdict=verdict,
        headline={
            Verdict.FOUND: "Your signal was found: 19 % of 60 pictures named, chance 1.7 %.",
            Verdict.NOTHING: "Nothing was found: no method is above chance (p = 0.4).",
            Verdict.LEAK: "The EEG before the pictures already names them: a leak.",
        }[verdict],
        method="ridge",
        reason="Ridge is best by cross-validation; the next is 2 points behind.",
        scores=scores,
        without=scores[0],
        permutation_p=0.002 if good else 0.41,
        curve=((1, 0.05), (2, 0.09), (3, 0.13), (4, 0.16), (5, 0.19)),
        curve_sentence="Two more minutes would probably give 4 points more.",
        leak=LeakCheck(0.02, 1 / 60, 0.4, is_leak=False, sentence="Before onset: at chance.")
        if verdict is not Verdict.LEAK
        else LeakCheck(0.3, 1 / 60, 0.001, is_leak=True, sentence="Before onset: 30 %, a leak."),
        losses=tuple((float(i), 3.0 / (1 + 0.2 * i)) for i in range(30)),
        by_concept={f"picture-{i}": (i % 4, 4) for i in range(60)},
        n_epochs=220,
        n_classes=60,
        minutes=5.0,
        seconds=12.0,
    )


class FakeTrainer:
    """Goes one step at every poll."""

    def __init__(self, result: CalibrationResult, *, steps: int = 5, fails: str = "") -> None:
        self._final, self._steps, self._fails = result, steps, fails
        self.result: CalibrationResult | None = None
        self.error = ""
        self.n = 0
        self.closed = self.started = False
        self.saves = 0
        self.refuse = ""

    def start(self) -> None:
        self.started = True

    def poll(self) -> Training:
        if self.started and self.result is None and not self.error:
            self.n += 1
            if self.n >= self._steps:
                self.error, self.result = self._fails, None if self._fails else self._final
        losses = tuple((float(i), 3.0 / (1 + i)) for i in range(self.n))
        return Training(min(1.0, self.n / self._steps), f"step {self.n}", losses)

    def save(self) -> str:
        if self.refuse:
            raise PhospheneError(self.refuse)
        self.saves += 1
        return "sub-1-20261121"

    def close(self) -> None:
        self.closed = True


class FakeLive:
    """A session that shows one picture at every `show`."""

    def __init__(self, collection: Collection, session: FakeSession) -> None:
        self.session = session
        self.collection = collection
        self.planned: tuple[Planned, ...] = ()
        self.n_shown = 0
        self.waits = True
        self.ended = False

    def begin(self, planned: tuple[Planned, ...]) -> None:
        self.planned = planned

    def show(self, n: int, *, artifact_every: int = 0) -> None:
        """Show `n` more pictures and collect their epochs; after the last the session ends."""
        for each in self.planned[self.n_shown : self.n_shown + n]:
            self.n_shown += 1
            bad = artifact_every and self.n_shown % artifact_every == 0
            self.collection.take(event_of(each.label, T0 + each.at, bad=bool(bad)))
        if self.n_shown >= len(self.planned):
            self.session.phase = Phase.STOPPED

    def end_early(self) -> None:
        self.ended = True
        self.session.phase = Phase.STOPPED


def event_of(label: str, at: float, *, bad: bool = False) -> EpochEvent:
    data = np.zeros((2, 250), np.float32)
    epoch = Epoch(data, -0.2, 0.8, at, label, INFO, 0)
    outcome = Outcome.ARTIFACT if bad else Outcome.COLLECTED
    return EpochEvent(0, at, label, outcome, epoch=epoch)


class Stage:
    """A flow on fakes, with everything that a test moves."""

    def __init__(
        self,
        out: Path,
        *,
        result: CalibrationResult | None = None,
        session: FakeSession | None = None,
        read: Callable[[threading.Event], object] | None = None,
        choices: Choices | None = None,
        trainer: FakeTrainer | None = None,
        sort: Callable[[Mapping[str, str], Mapping[str, str]], None] | None = None,
    ) -> None:
        self.now = 0.0
        self.collection = Collection()
        self.session = session or FakeSession(length=4.0)
        self.trainer = trainer or FakeTrainer(result or result_of())
        self.trainers = 0
        self.live = FakeLive(self.collection, self.session)

        def open_live() -> FakeLive:
            self.session.start()
            return self.live

        def prepare() -> FakeTrainer:
            self.trainers += 1
            if self.trainers > 1:
                self.trainer = FakeTrainer(result or result_of())
            return self.trainer

        self.flow = Flow(
            subject="sub-1",
            out=out,
            collection=self.collection,
            prepare=prepare,
            open_live=None if read else open_live,
            read=read,
            sort=sort,
            choices=choices or Choices(minutes=1.0),
            clock=lambda: self.now,
        )

    def seconds(self, n: int) -> None:
        """Let the signal be judged `n` times more."""
        for _ in range(n):
            self.session.now += 1.0
            self.session._quality = tuple(replace(one) for one in self.session._quality)
            self.now += 1.0
            self.flow.poll()
