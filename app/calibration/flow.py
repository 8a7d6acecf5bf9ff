"""The guided calibration as a state machine: every window and every command drives this one.

Owns the order of the steps, what is asked before each, and the files. It is polled: `poll` never
blocks, what may block runs in a thread (`Background`) or a process (the trainer). Knows nothing of
Qt, LSL or torch; how a session is opened and an adapter is trained are arguments.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from app.calibration.background import Background
from app.calibration.catches import catch_table
from app.calibration.collection import Collection
from app.calibration.design import Design, blocked, examine, judged
from app.calibration.files import about_table, write_about
from app.calibration.ports import Calibrating, Trainer
from app.calibration.report import write_report
from app.calibration.results import CalibrationResult
from app.calibration.schedule import Choices, Planned, length, plan, timeline
from app.calibration.signal_check import Light, SignalCheck, SignalChecker
from app.calibration.steps import ENDS, FlowView, Step, Training, may_follow
from app.errors import AppError
from app.port import Phase, SessionPort, Snapshot
from pipeline.gallery import Gallery, load_gallery

LEAST_EPOCHS = 20
"""Good epochs below which nothing is trained."""
FIRST_TIMEOUT = 90.0
"""Longest wait for the first picture, s: a virtual headset that does not hear our markers."""


class Flow:
    """One calibration from the signal check to the saved adapter.

    Parameters
    ----------
    subject : str
        Subject code.
    out : Path
        The session folder (live), or where the calibration's files go (from a recording).
    collection : Collection
        Takes the epochs.
    open_live : callable, optional
        Makes and starts the session; may block.
    read : callable, optional
        Instead: reads a recording into the collection until the event is set; may block.
    prepare : callable
        Writes the epochs and makes the trainer; may block.
    choices : Choices
        What is shown unless `begin` is given others.
    gallery : Gallery
        Whose pictures are shown; the shipped one if not given.
    origin : str
        Where the epochs come from, in words.
    sort : callable, optional
        Takes class by label and picture by class, once they were asked for after reading; None:
        they are known.
    reading : callable
        How far `read` is.
    notes : callable
        Sentences on what the epochs became: channels, pictures.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        *,
        subject: str,
        out: Path,
        collection: Collection,
        prepare: Callable[[], Trainer],
        open_live: Callable[[], Calibrating] | None = None,
        read: Callable[[threading.Event], object] | None = None,
        choices: Choices | None = None,
        gallery: Gallery | None = None,
        origin: str = "",
        sort: Callable[[Mapping[str, str], Mapping[str, str]], None] | None = None,
        reading: Callable[[], Training] = Training,
        notes: Callable[[], tuple[str, ...]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if (open_live is None) == (read is None):
            raise ValueError("give one of open_live and read")
        self.subject = subject
        self.out = out
        self.collection = collection
        self._prepare = prepare
        self._open_live = open_live
        self._read = read
        self._choices = choices or Choices()
        self._gallery = gallery or load_gallery()
        self._origin = origin
        self._sort = sort
        self._progress = reading
        self._notes = notes
        self._clock = clock
        self._step = Step.OPENING if open_live is not None else Step.READING
        self._message = ""
        self._stop = threading.Event()
        self._opening: Background[Calibrating] | None = None
        self._reading: Background[object] | None = None
        self._preparing: Background[Trainer] | None = None
        self._saving: Background[str] | None = None
        self._ending: Background[None] | None = None
        self._live: Calibrating | None = None
        self._trainer: Trainer | None = None
        self._checker = SignalChecker()
        self._overridden: SignalCheck | None = None
        self._planned: tuple[Planned, ...] = ()
        self._shown_at: tuple[int, float] = (0, 0.0)
        self._begun_at = 0.0
        self._answers: list[tuple[int, float]] = []
        self._result: CalibrationResult | None = None
        self._adapter_id: str | None = None
        self._save_error = ""
        self._snapshot = Snapshot()

    # -- what watchers see ------------------------------------------------------------------------

    @property
    def session(self) -> SessionPort | None:
        """The session behind it; None before it is open, and where a recording is read."""
        return None if self._live is None else self._live.session

    def view(self) -> FlowView:
        """Everything visible, frozen; as of the last `poll`."""
        n_shown, since = self._shown_at
        elapsed, break_left = self._place(n_shown, self._clock() - since if n_shown else 0.0)
        return FlowView(
            step=self._step,
            message=self._message,
            check=self._checker.state,
            overridden=self._overridden is not None,
            choices=self._choices if self._open_live is not None else None,
            counts=self.collection.counts,
            n_shown=n_shown,
            n_planned=len(self._planned),
            elapsed=elapsed,
            remaining=max(0.0, length(self._planned) - elapsed) if self._planned else None,
            break_left=break_left if self._step is Step.COLLECT else None,
            stimulus=self._snapshot.stimulus if self._step is Step.COLLECT else None,
            training=self._progress() if self._trainer is None else self._trainer.poll(),
            result=self._result,
            adapter_id=self._adapter_id,
            save_error=self._save_error,
            out=self.out,
            notes=self._notes(),
            warnings=self._snapshot.warnings,
        )

    # -- requests ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the stream, or begin to read, in the background."""
        if self._open_live is not None:
            self._message = "Connecting."
            self._opening = Background(self._open_live, name="calibration-open")
        elif self._read is not None:
            read = self._read
            self._message = "Reading the recording."
            self._reading = Background(lambda: read(self._stop), name="calibration-read")

    def proceed(self, *, override: bool = False) -> None:
        """Leave the signal check; with `override` although it is not green.

        Raises
        ------
        AppError
            It is not green and was not overridden.
        """
        self._require(Step.CHECK, "leave the signal check")
        state = self._checker.state
        if state.light is not Light.GREEN:
            if not override:
                raise AppError(
                    f"the signal check is not green, expected usable electrodes: {state.sentence}"
                )
            self._overridden = state
        self._move(Step.CHOOSE, "Choose what is shown, and for how long.")

    def begin(self, choices: Choices | None = None) -> None:
        """Show the pictures."""
        self._require(Step.CHOOSE, "begin")
        if self._live is not None:
            self._choices = choices or self._choices
            self._planned = self.plan_of(self._choices, self._gallery)
            self.collection.expect(self._choices.labels(self._gallery))
            self._live.begin(self._planned)
        self._begun_at = self._clock()
        self._move(Step.COLLECT, "Look at the middle of the pictures.")
        self._write("collecting")

    @staticmethod
    def plan_of(choices: Choices, gallery: Gallery) -> tuple[Planned, ...]:
        """When what will be shown under these choices."""
        return timeline(plan(choices, choices.labels(gallery)))

    def respond(self) -> None:
        """Take a press of the person's key: an answer to a catch trial, or a false alarm."""
        self._answers.append((self._shown_at[0], self._clock() - self._shown_at[1]))

    def finish_early(self) -> None:
        """Show no more and go on with what there is."""
        self._require(Step.COLLECT, "finish early")
        if self._live is not None and self._ending is None:
            self._ending = Background(self._live.end_early, name="calibration-end")

    def take_classes(self, classes: Mapping[str, str], pictures: Mapping[str, str]) -> None:
        """Train on these classes (by marker's label), drawn so (by class)."""
        self._require(Step.CLASSES, "take classes")
        if self._sort is not None:
            self._sort(classes, pictures)
        self._train()

    def cancel_training(self) -> None:
        """End the training; the epochs are kept, and `train_again` begins anew."""
        self._require(Step.TRAIN, "cancel the training")
        self._drop_trainer()
        self._move(Step.CANCELLED, f"The training was cancelled; the data is kept in {self.out}.")
        self._write("cancelled")

    def train_again(self) -> None:
        """Train once more on what was collected."""
        self._require(Step.CANCELLED, "train again")
        self._train()

    def save(self) -> None:
        """Store the adapter, in the background.

        Raises
        ------
        AppError
            Nothing was found, or what was found is a leak: that is no adapter.
        """
        self._require(Step.RESULT, "save")
        if self._result is None or self._trainer is None or not self._result.may_be_saved:
            raise AppError(
                "this calibration gave no adapter to save: its data stays in "
                f"{self.out} and can be used again with `phosphene calibrate --from`."
            )
        if self._saving is None:
            self._message, self._save_error = "Saving.", ""
            self._saving = Background(self._trainer.save, name="calibration-save")

    def discard(self) -> None:
        """Store no adapter; recording and epochs stay in the folder."""
        self._require(Step.RESULT, "discard")
        self._drop_trainer()
        self._move(Step.DISCARDED, f"No adapter was stored. The data is kept in {self.out}.")
        self._write("discarded")

    def stop(self, timeout: float = 10.0) -> None:
        """Give up: end session, reading and training; what was recorded is kept."""
        self._stop.set()
        if self._saving is not None:
            # What is being stored is stored: it takes a moment.
            self._saving.join(timeout)
            self._poll_saving()
        self._drop_trainer()
        for task in (self._opening, self._reading, self._preparing, self._ending):
            if task is not None:
                task.join(timeout)
        opened = self._opening.value if self._opening is not None else None
        live = self._live or opened
        if live is not None:
            live.session.stop(timeout)
        if self._preparing is not None and self._preparing.value is not None:
            self._preparing.value.close()
        if self._step not in ENDS:
            self._move(Step.STOPPED, f"Given up. What was recorded is kept in {self.out}.")
            received = live is not None and live.session.snapshot().n_received
            if received or self.collection.counts.n_good:
                self._write("stopped")

    # -- polling ----------------------------------------------------------------------------------

    def poll(self) -> None:
        """Go on with whatever is ready; returns at once."""
        if self._live is not None and self._step in (Step.CHECK, Step.CHOOSE, Step.COLLECT):
            self._poll_session(self._live)
        act = {
            Step.OPENING: self._poll_opening,
            Step.READING: self._poll_reading,
            Step.TRAIN: self._poll_training,
            Step.RESULT: self._poll_saving,
        }.get(self._step)
        if act is not None:
            act()

    def _poll_opening(self) -> None:
        task = self._opening
        if task is None or not task.done:
            return
        if task.value is None:
            self._fail(task.error)
            return
        self._live = task.value
        if self._live.waits:
            self._move(Step.CHECK, "Sit still: the electrodes are being checked.")
        else:
            self._planned = self.plan_of(self._choices, self._gallery)
            self._move(Step.COLLECT, "Collecting.")

    def _poll_session(self, live: Calibrating) -> None:
        snapshot = self._snapshot = live.session.snapshot()
        if snapshot.phase is Phase.FAILED:
            self._fail(snapshot.message)
            return
        if live.n_shown != self._shown_at[0]:
            self._shown_at = (live.n_shown, self._clock())
        if self._waits_in_vain(live):
            self._fail(
                f"No picture was shown within {FIRST_TIMEOUT:g} s: the headset does not answer our "
                "markers, or the machine is too busy; check LSL with `phosphene doctor`."
            )
            return
        impedance = {name: v for name, v in snapshot.impedance.items() if v is not None}
        self._checker.feed(snapshot.quality, n_gaps=snapshot.n_gaps, impedance=impedance)
        if snapshot.phase is Phase.STOPPED:
            if self._step is Step.COLLECT:
                self._train()
            else:
                self._fail("The session ended before the pictures began.")

    def _waits_in_vain(self, live: Calibrating) -> bool:
        late = self._clock() - self._begun_at > FIRST_TIMEOUT
        return late and self._step is Step.COLLECT and live.waits and not live.n_shown

    def _poll_reading(self) -> None:
        task = self._reading
        if task is None or not task.done:
            return
        if task.error:
            self._fail(task.error)
        elif self._sort is not None and self.collection.counts.n_good:
            self._move(Step.CLASSES, "Which markers count, and what is drawn for each?")
        else:
            self._train()

    def _train(self) -> None:
        n_good = self.collection.counts.n_good
        if n_good < LEAST_EPOCHS:
            self._fail(
                self._names_wanted()
                or f"There are {n_good} good epochs, expected at least {LEAST_EPOCHS}: record "
                f"longer, or mend the electrodes. The data is kept in {self.out}."
            )
            return
        if alone := self._class_alone():
            self._fail(alone)
            return
        self._move(Step.TRAIN, f"Training on {n_good} epochs.")
        self._write("collected")
        self._preparing = Background(self._prepare, name="calibration-prepare")

    def _names_wanted(self) -> str:
        """What to say where not one marker is called as the classes are; else empty."""
        counts, others = self.collection.counts, self.collection.others
        if counts.n_good or counts.n_refused or not others:
            return ""
        return self._spelling(self.collection.class_of)

    def _class_alone(self) -> str:
        """What to say where fewer than two classes have an epoch; else empty."""
        good = {name: n for name, n in self.collection.counts.good.items() if n}
        if len(good) > 1:
            return ""
        (name, n), unseen = next(iter(good.items())), self.collection.unseen
        alone = f"Only the class {name!r} has good epochs ({n}), expected two or more to tell apart"
        if unseen and self.collection.others:
            return f"{alone}. {self._spelling(unseen)}"
        return f"{alone}: name more with --labels, or mend the electrodes."

    def _spelling(self, names: Iterable[str]) -> str:
        """Say which labels came, where none is called as was wanted."""
        others = self.collection.others
        most = sorted(others.items(), key=lambda each: -each[1])[:8]
        named = ", ".join(f"{label!r} ({n})" for label, n in most)
        wanted = ", ".join(map(repr, names)) or "such as the gallery's pictures"
        return (
            f"No marker is called {wanted}, expected some of those that came: {named}; name them "
            "with --labels EVENT[=CLASS], spelt as they are."
        )

    def _poll_training(self) -> None:
        task = self._preparing
        if task is not None:
            if not task.done:
                return
            self._preparing = None
            if task.value is None:
                self._fail(task.error)
                return
            self._trainer = task.value
            self._trainer.start()
        trainer = self._trainer
        if trainer is None:
            return
        trainer.poll()
        design = self._design() if trainer.error or trainer.result is not None else None
        if design is None:
            return
        if trainer.result is not None:
            self._conclude(judged(trainer.result, design))
        elif design.is_blocked:
            # What cannot be trained because of its order is told for what it is.
            self._conclude(blocked(design, trainer.error))
        else:
            self._fail(f"{trainer.error} The data is kept in {self.out}.")

    def _conclude(self, result: CalibrationResult) -> None:
        self._result = result
        self._move(Step.RESULT, result.headline)
        self._write("result")

    def _poll_saving(self) -> None:
        task = self._saving
        if task is None or not task.done:
            return
        self._saving = None
        if task.value is None:
            self._save_error = self._message = f"The adapter was not saved: {task.error}"
            return
        self._adapter_id = task.value
        self._drop_trainer()
        self._move(Step.SAVED, f"Saved as {self._adapter_id}.")
        self._write("saved")

    # -- helpers ----------------------------------------------------------------------------------

    def _require(self, step: Step, what: str) -> None:
        if self._step is not step:
            raise AppError(f"a calibration at the step {self._step} cannot {what}.")

    def _move(self, to: Step, message: str) -> None:
        if not may_follow(self._step, to):
            raise AppError(f"a calibration cannot go from {self._step} to {to}.")
        self._step, self._message = to, message

    def _fail(self, sentence: str) -> None:
        self._drop_trainer()
        self._move(Step.FAILED, sentence)
        live = self._live
        if live is not None and self._ending is None:
            self._ending = Background(live.session.stop, name="calibration-end")
        if self.collection.counts.n_good:
            self._write("failed")

    def _drop_trainer(self) -> None:
        trainer, self._trainer = self._trainer, None
        if trainer is not None:
            trainer.close()

    def _design(self) -> Design:
        return examine([name for name, _ in self.collection.epochs()])

    def _place(self, n_shown: int, since: float) -> tuple[float, float | None]:
        """Where in the plan the presentation is, s, and how long a break still goes on."""
        if not n_shown or not self._planned:
            return 0.0, None
        last = self._planned[min(n_shown, len(self._planned)) - 1]
        if n_shown >= len(self._planned):
            return length(self._planned), None
        coming = self._planned[n_shown]
        elapsed = min(last.at + since, coming.at)
        left = coming.at - elapsed
        rests = coming.break_before > 0 and left < coming.break_before
        return elapsed, left if rests else None

    def _write(self, state: str) -> None:
        write_about(
            self.out,
            about_table(
                subject=self.subject,
                choices=self._choices if self._open_live is not None else None,
                counts=self.collection.counts,
                state=state,
                origin=self._origin,
                checks=self._checks(),
                result=self._result,
                adapter_id=self._adapter_id,
            ),
        )
        if self._result is not None:
            write_report(self.view(), subject=self.subject)

    def _checks(self) -> Mapping[str, Any]:
        design = self._design()
        return {
            "signal": self._checker.state.sentence,
            "signal_overridden": None if self._overridden is None else self._overridden.sentence,
            "neighbours_alike": round(design.alike, 4),
            "neighbours_alike_if_mixed": round(design.expected, 4),
            "blocked": design.is_blocked,
            "notes": list(self._notes()),
            "catch": catch_table(self._planned, self._answers, n_shown=self._shown_at[0]),
        }
