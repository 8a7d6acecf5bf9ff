"""A session of looks, from a source to a session folder.

Owns the loop, the pictures that are drawn of decisions, and the figures at the end. Satisfied with
any source: a virtual person, a recording, LSL streams. Knows nothing of Qt.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from app.accuracy import Identification
from app.attend.calibrating import Calibration
from app.attend.choosing import Pictures
from app.attend.composing import ARITHMETIC
from app.attend.reading import Ended, LookOptions, LookReader, Stepped
from app.port import Result
from app.runtime.folder import SessionFolder, encode_png
from app.runtime.session_recorder import SessionRecorder
from app.runtime.statistics import accuracy_table
from app.view_models.attend.words import HONEST
from configs import SessionConfig
from models.adapters.looks import LooksAdapter
from models.attend.stopping import bits
from pipeline.errors import PhospheneError
from pipeline.ports import Source
from pipeline.values import Outcome, Packet, StateChange, StreamRole, StreamState, Uint8

SIMULATED_CHANGES = 3
"""Changes after which a simulated person ends a composition."""


@runtime_checkable
class ShowsLooks(Protocol):
    """A source, or a screen, whose looks are begun and ended by the session."""

    @property
    def wants_look(self) -> bool:
        """Whether nothing flickers and more looks are to come."""
        ...

    def begin_look(self, target: int | None) -> None:
        """Begin a look at `target`; None: nobody is asked for anything."""
        ...

    def end_look(self) -> None:
        """Flicker no more."""
        ...


def table_of(
    options: LookOptions,
    adapter: LooksAdapter | None = None,
    *,
    composes: bool = False,
    arithmetic: int = ARITHMETIC,
) -> dict[str, Any]:
    """Return how looks are decided and composed, for `session.toml`."""
    table: dict[str, Any] = {"error_rate": options.error_rate, "no_adapt": not options.adapt}
    if options.revision > 1:
        table["revision"] = options.revision
    if composes:
        table["compose"] = True
        if arithmetic > 1:
            table["arithmetic"] = arithmetic
    if options.trial_seconds is not None:
        table |= {"trial_seconds": options.trial_seconds, "exact": True}
    if adapter is not None:
        table["adapter_sha256"] = adapter.sha256
    return table


@dataclass(slots=True)
class Tally:
    """Figures of the looks so far."""

    n_targets: int
    trials: list[dict[str, Any]] = field(default_factory=list)
    n_late: int = 0

    def add(self, ended: Ended, *, words: Sequence[str] = ()) -> None:
        """Count a look; `words` of the targets where each look has others."""
        decision = ended.decision
        self.n_late += ended.n_late
        self.trials.append(
            {
                "look": ended.look,
                "target": ended.cue,
                "decided": None if decision is None else decision.answer,
                "seconds": None if decision is None else round(decision.seconds, 3),
                "probability": None
                if decision is None
                else round(float(decision.posterior.max()), 6),
                "reason": ended.reason,
            }
        )
        if words:
            trial = self.trials[-1]
            for key in ("target", "decided"):
                trial[f"{key}_words"] = None if trial[key] is None else words[trial[key]]

    def figures(self) -> dict[str, Any]:
        """Accuracy, bits a minute and what they rest on.

        A look that was not decided counts as one that is not right, and its time counts.
        """
        read = [t for t in self.trials if t["seconds"] is not None]
        cued = [t for t in read if t["target"] is not None]
        decided = [t for t in cued if t["decided"] is not None]
        n_right = sum(t["decided"] == t["target"] for t in decided)
        seconds = [float(t["seconds"]) for t in read]
        accuracy = n_right / len(cued) if cued else None
        right = n_right / len(decided) if decided else 0.0
        told = len(decided) * bits(self.n_targets, right)
        return {
            "chance": 1 / self.n_targets,
            "targets": self.n_targets,
            "looks": len(self.trials),
            "decided": sum(t["decided"] is not None for t in read),
            "not_sure": sum(t["decided"] is None for t in read),
            "accuracy": accuracy,
            "wrong_of_decided": 1 - right if decided else None,
            "mean_seconds": float(np.mean(seconds)) if seconds else None,
            "median_seconds": float(np.median(seconds)) if seconds else None,
            "bits_per_minute": 60 * told / sum(seconds) if cued and sum(seconds) else None,
            "frames_late": self.n_late,
            "trials": self.trials,
        }


class AttendSession:
    """One session.

    Parameters
    ----------
    config : SessionConfig
    source : Source
    options : LookOptions
    out : Path or None
        Session folder; None: nothing is written.
    pictures : callable or None
        Makes the pictures from the count of targets; None: nothing is drawn.
    cues : iterator of int or None
        What the person is asked to look at, where looks are shown; None: nobody is asked.
    n_looks : int or None
        Looks after which it ends; None: with the source.
    adapter : LooksAdapter, optional
        The person's calibration.
    calibration : Calibration, optional
        Takes every look that is over.
    n_changes : int or None
        Of a composition: a simulated person chooses, and ends after so many; None: nobody is
        asked for anything.
    on_grid : callable
        Called when a composition offers another grid.
    screen : ShowsLooks, optional
        What shows the grid; None: the source does, or another program.
    """

    def __init__(
        self,
        config: SessionConfig,
        source: Source,
        options: LookOptions,
        *,
        out: Path | None,
        pictures: Callable[[int], Pictures] | None = None,
        cues: Iterator[int | None],
        n_looks: int | None = None,
        adapter: LooksAdapter | None = None,
        calibration: Calibration | None = None,
        n_changes: int | None = None,
        on_grid: Callable[[], None] = lambda: None,
        run: Mapping[str, Any] | None = None,
        screen: ShowsLooks | None = None,
    ) -> None:
        self._config, self._source, self._cues, self._n_looks = config, source, cues, n_looks
        self._reader = LookReader(config, source.streams, options, adapter=adapter)
        self._calibration = calibration
        self._n_changes, self._on_grid = n_changes, on_grid
        n_targets = self._reader.grid.n_targets
        self._pictures = None if pictures is None else pictures(n_targets)
        self._composer = None if self._pictures is None else self._pictures.composer
        self._folder = None if out is None else SessionFolder(out)
        self._screen = screen or (source if isinstance(source, ShowsLooks) else None)
        self._recorder: SessionRecorder | None = None
        self._failure = ""
        self._run = dict(run or {})
        self._identified = Identification(n_targets)
        self._n_received = 0
        self._times: list[float] = []
        self.tally = Tally(n_targets)

    def fitted(self) -> LooksAdapter:
        """Fit an adapter to the calibration's looks.

        Raises
        ------
        AppError
            There are too few.
        """
        reader = self._reader
        calibration = self._calibration or Calibration()
        return calibration.fit(
            self._config,
            reader.path.info,
            rate=reader.rate,
            grid=reader.grid,
            is_simulated=self._source.streams[StreamRole.EEG].is_simulated,
        )

    @property
    def labels(self) -> Sequence[str]:
        """Names of the targets."""
        return self._reader.grid.labels if self._pictures is None else self._pictures.labels

    def play(
        self,
        *,
        is_asked_to_end: Callable[[], bool] = lambda: False,
        on_event: Callable[[Stepped | Ended], None] = lambda _event: None,
    ) -> dict[str, Any]:
        """Read looks until the end; return the summary.

        Raises
        ------
        PhospheneError
            The source cannot go on, or the folder cannot be written.
        """
        if self._folder is not None and self._config.recording.enabled:
            self._recorder = SessionRecorder(
                self._config.recording, self._folder, clock=time.monotonic
            )
            self._recorder.declare(self._source.streams)
            self._recorder.switch(on=True)
        try:
            self._write_session()
            self._loop(is_asked_to_end, on_event)
        except PhospheneError as error:
            self._failure = str(error)
            raise
        finally:
            recorder = None if self._recorder is None else self._recorder.close()
            summary = self._summary("" if recorder is None else recorder.alarm)
            self._finish(summary)
        return summary

    def _loop(
        self, is_asked_to_end: Callable[[], bool], on_event: Callable[[Stepped | Ended], None]
    ) -> None:
        shows = self._screen
        is_over = False
        while not (is_over or is_asked_to_end() or self._has_enough()):
            if shows is not None and shows.wants_look:
                shows.begin_look(self._next_cue())
            for item in self._source.read(0.1):
                if self._recorder is not None:
                    self._recorder.put(item)
                if isinstance(item, Packet) and item.role is StreamRole.EEG:
                    self._n_received += len(item.timestamps)
                is_over |= _is_end(item)
                for event in self._reader.feed(item):
                    if isinstance(event, Ended) and shows is not None:
                        shows.end_look()
                    on_event(event)
                    if isinstance(event, Ended):
                        self._take(event)
                if self._has_enough():
                    break
        for event in self._reader.finish():
            if isinstance(event, Ended) and not self._has_enough():
                self._take(event)
                on_event(event)

    def _has_enough(self) -> bool:
        if self._composer is not None and self._composer.is_done:
            return True
        return self._n_looks is not None and len(self.tally.trials) >= self._n_looks

    def _next_cue(self) -> int | None:
        if self._composer is None:
            return next(self._cues)
        return None if self._n_changes is None else self._composer.simulated(self._n_changes)

    def _compose(self, answer: int | None) -> None:
        """Take a choice of a composition."""
        if self._composer is None or answer is None:
            return
        self._composer.choose(answer)
        if not self._composer.is_done:
            self._on_grid()

    def _composition(self) -> dict[str, Any]:
        """Path of choices, and the picture that it led to."""
        composer, pictures = self._composer, self._pictures
        if composer is None or pictures is None:
            return {}
        table = composer.table
        if (folder := self._folder) is not None and composer.mix is not None:
            mixture = composer.mix.label
            provenance = {
                "Software": "Phosphene",
                "phosphene:mode": "attend, composed",
                "phosphene:mixture": mixture,
                "phosphene:prompt": composer.prompt,
                "phosphene:seed": str(pictures.seed),
            }

            def write(key: str, number: int, pixels: Uint8) -> None:
                png = encode_png(pixels, provenance)
                path, sha = folder.write_image(number, png, below="composition")
                table.update({key: path, f"{key}_sha256": sha})

            write("image", 0, pictures.composed(mixture).pixels)
            try:
                words = pictures.prompted(composer.prompt, mixture)
            except PhospheneError as error:
                table["prompt_problem"] = str(error)
            else:
                if words is not None:
                    write("prompt_image", 1, words)
        return {"composition": table}

    def _take(self, ended: Ended) -> None:
        self.tally.add(ended, words=() if self._composer is None else self.labels)
        if self._calibration is not None:
            self._calibration.take(ended)
        index = len(self.tally.trials) - 1
        decision, labels = ended.decision, self.labels
        label = "" if ended.cue is None else labels[ended.cue]
        if decision is None:
            self._note(Result(index, ended.t_onset, label, Outcome.GAP, ended.reason))
            return
        order = np.argsort(-decision.posterior, kind="stable")
        rank = None
        if ended.cue is not None:
            rank = int(np.flatnonzero(order == ended.cue)[0]) + 1
        image, sha, hashed, confidence = self._draw(ended, index)
        is_decided = decision.answer is not None
        if rank is not None and is_decided:
            self._identified.add(label, labels[int(order[0])], rank)
        reason = "" if is_decided else f"not sure after {decision.seconds:.1f} s"
        self._note(
            Result(
                index,
                ended.t_onset,
                label,
                Outcome.DECODED if is_decided else Outcome.UNSURE,
                reason,
                top=tuple((labels[int(k)], float(decision.posterior[k])) for k in order),
                chance=1 / len(labels),
                rank=rank,
                confidence=confidence,
                image_path=image,
                image_sha256=sha,
                embedding_sha256=hashed,
                quality={"seconds": decision.seconds, "frames_late": float(ended.n_late)},
            )
        )
        self._compose(decision.answer)

    def _draw(
        self, ended: Ended, index: int
    ) -> tuple[str | None, str | None, str | None, float | None]:
        pictures = self._pictures
        if pictures is None or ended.decision is None:
            return None, None, None, None
        if self._folder is None:
            return None, None, None, None
        known = pictures.known(ended.decision.posterior, number=index, t_onset=ended.t_onset)
        picture = pictures.drawing.draw(known)
        hashed = hashlib.sha256(picture.vector.tobytes()).hexdigest()
        provenance = {
            "Software": "Phosphene",
            "phosphene:mode": "attend",
            "phosphene:embedding_sha256": hashed,
            "phosphene:seed": str(pictures.seed),
        }
        path, sha = self._folder.write_image(index, encode_png(picture.pixels, provenance))
        return path, sha, hashed, picture.confidence

    def _note(self, result: Result) -> None:
        if self._folder is not None:
            self._folder.add_event(result)

    def _write_session(self) -> None:
        if self._folder is None:
            return
        settled = {} if self._pictures is None else dict(self._pictures.drawing.settled)
        decoder = self._config.decoder.model_copy(update=settled)
        self._folder.write_session(
            self._config.model_copy(update={"decoder": decoder}),
            run={"attend": self._run},
            streams=self._source.streams,
        )

    def _summary(self, alarm: str) -> dict[str, Any]:
        learning = self._reader.decoder.learning
        trials = self.tally.trials
        decided = sum(t["decided"] is not None for t in trials)
        unsure = sum(t["decided"] is None and t["seconds"] is not None for t in trials)
        outcomes = {"decoded": decided, "unsure": unsure, "gap": len(trials) - decided - unsure}
        path = self._reader.path
        is_simulated = self._source.streams[StreamRole.EEG].is_simulated
        return {
            "schema_version": 1,
            "phase": "failed" if self._failure else "stopped",
            "message": self._failure,
            "mode": "attend",
            "subject": self._config.subject,
            "preset": self._config.preset,
            "is_simulated": is_simulated,
            "markers": len(trials),
            "outcomes": {name: n for name, n in outcomes.items() if n},
            "samples": {
                "received": self._n_received,
                "lost": path.n_lost,
                "recorded": 0 if self._recorder is None else self._recorder.n_samples,
            },
            "gaps": path.n_gaps,
            "accuracy": accuracy_table(self._identified.accuracy),
            "attend": self.tally.figures()
            | {
                "converged": learning.is_converged,
                "agreement": learning.agreement,
                "restarts": learning.n_restarts,
            }
            | self._composition(),
            "warnings": [
                HONEST,
                *(["The EEG was simulated: this says nothing of people."] if is_simulated else []),
                *([alarm] if alarm else []),
                *path.notes,
            ],
        }

    def _finish(self, summary: Mapping[str, Any]) -> None:
        from app.report.build import report_page

        if self._folder is None:
            return
        try:
            self._folder.finish(summary)
            self._folder.finish_report(report_page(self._folder.finished_in))
        finally:
            self._folder.close()


def _is_end(item: object) -> bool:
    return (
        isinstance(item, StateChange)
        and item.role is StreamRole.EEG
        and item.state is StreamState.ENDED
    )
