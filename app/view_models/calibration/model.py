"""The guided calibration as a window watches it: one flow at a time, polled.

Owns the flow that is under way, the choices not yet made, and errors as sentences. Knows nothing of
Qt; how a flow is made is `CalibrationDoor`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from app import formatting
from app.calibration.background import Background
from app.calibration.flow import Flow
from app.calibration.schedule import SETS, Choices, StimulusSet, length
from app.calibration.steps import FlowView, Step
from app.port import SessionPort
from app.source_options import NO_OPTIONS, SourceOptions
from app.view_models.calibration.classes import ClassTable
from app.view_models.settings.model import SettingsModel
from app.view_models.signals.head import HeadModel
from app.view_models.sources.model import SourceChoice, SourceKind
from configs import ConfigError, SessionConfig
from pipeline.errors import PhospheneError
from pipeline.gallery import load_gallery

MINUTES = (1.0, 2.0, 3.0, 5.0, 10.0, 15.0)
"""Lengths to choose from."""


class CalibrationDoor(Protocol):
    """Makes flows; satisfied by `app.calibration.factory.CalibrationFactory`."""

    def live(
        self, config: SessionConfig, *, out: Path | None = None, choices: Choices | None = None
    ) -> Flow:
        """On a stream in reach."""
        ...

    def virtual(
        self, config: SessionConfig, *, out: Path | None = None, choices: Choices | None = None
    ) -> Flow:
        """On a virtual headset."""
        ...

    def recording(
        self,
        path: Path,
        config: SessionConfig,
        *,
        out: Path | None = None,
        options: SourceOptions = NO_OPTIONS,
        seed: int = 0,
        asks: bool = False,
    ) -> Flow:
        """From a recording; `options` are what the person chose of it, `asks`: for classes."""
        ...


MANY_CHANNELS = 16
"""Electrodes from which on many different pictures can be told apart within minutes."""


class CalibrationModel:
    """At most one calibration at a time."""

    def __init__(self, door: CalibrationDoor, settings: SettingsModel) -> None:
        self._door = door
        self._settings = settings
        self._flow: Flow | None = None
        self._ending: Background[None] | None = None
        self.view = FlowView(message="")
        self.error = ""
        self._stimulus_set: str | None = None
        self._n_channels = 0
        self.minutes = 5.0
        self.head = HeadModel()
        self.table: ClassTable | None = None

    # -- what is seen -----------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        """Whether a calibration was begun and not put away."""
        return self._flow is not None

    @property
    def active(self) -> bool:
        """Whether a calibration is under way."""
        return self._flow is not None and not self.view.over

    @property
    def port(self) -> SessionPort | None:
        """The session behind it."""
        return None if self._flow is None else self._flow.session

    @property
    def subject(self) -> str:
        """Subject code."""
        return self._settings.subject if self._flow is None else self._flow.subject

    @property
    def stimulus_set(self) -> str:
        """The chosen set; unasked what the electrodes can carry."""
        if self._stimulus_set is not None:
            return self._stimulus_set
        return "few" if 0 < self._n_channels < MANY_CHANNELS else "varied"

    @stimulus_set.setter
    def stimulus_set(self, name: str) -> None:
        self._stimulus_set = name

    @property
    def sets(self) -> tuple[StimulusSet, ...]:
        """Stimulus sets to choose from."""
        return tuple(SETS.values())

    @property
    def choices(self) -> Choices:
        """What would be shown now."""
        base = self._settings.base
        return Choices(self.stimulus_set, self.minutes, base.seed, stimuli=base.stimuli)

    @property
    def plan_sentence(self) -> str:
        """What the choices mean, in one sentence."""
        try:
            planned = Flow.plan_of(self.choices, load_gallery(self._settings.base.gallery))
        except PhospheneError as error:
            return str(error)
        labels = {each.label for each in planned if not each.is_catch}
        n_catch = sum(each.is_catch for each in planned)
        each = (len(planned) - n_catch) / max(1, len(labels))
        often = "each once or twice" if each < 2 else f"each about {round(each)} times"
        return (
            f"{len(planned) - n_catch} pictures of {len(labels)} concepts ({often}, in mixed "
            f"order), {formatting.count(n_catch, 'catch trial')}, "
            f"{formatting.duration(length(planned))} min with breaks."
        )

    # -- requests ---------------------------------------------------------------------------------

    def open(self, choice: SourceChoice) -> bool:
        """Begin a calibration on `choice`; return whether it was tried."""
        self.error = self._settings.subject_error
        if self.error or self.active:
            return False
        try:
            config = self._settings.build(choice)
        except (ConfigError, ValueError) as error:
            self.error = str(error)
            return False
        if choice.kind is SourceKind.REPLAY and choice.path is not None:
            self._start(
                self._door.recording(
                    choice.path, config, options=choice.options, seed=config.seed, asks=True
                )
            )
        elif choice.kind is SourceKind.LIVE:
            self._start(self._door.live(config))
        else:
            self._start(self._door.virtual(config))
        return True

    def proceed(self, *, override: bool = False) -> None:
        """Leave the signal check."""
        self._ask(lambda flow: flow.proceed(override=override))

    def begin(self) -> None:
        """Show the pictures."""
        self._ask(lambda flow: flow.begin(self.choices))

    def respond(self) -> None:
        """Take a press of the person's key."""
        if self.view.step is Step.COLLECT:
            self._ask(lambda flow: flow.respond())

    def finish_early(self) -> None:
        """Go on with what there is."""
        self._ask(lambda flow: flow.finish_early())

    def take_classes(self) -> None:
        """Train on the classes of the table."""
        table = self.table
        if table is not None and not table.problem:
            self._ask(lambda flow: flow.take_classes(table.classes, table.pictures))

    def cancel_training(self) -> None:
        """End the training, keep the data."""
        self._ask(lambda flow: flow.cancel_training())

    def train_again(self) -> None:
        """Train once more."""
        self._ask(lambda flow: flow.train_again())

    def save(self) -> None:
        """Store the adapter."""
        self._ask(lambda flow: flow.save())

    def discard(self) -> None:
        """Store none."""
        self._ask(lambda flow: flow.discard())

    def give_up(self) -> None:
        """End it in the background; what was recorded is kept."""
        flow = self._flow
        if flow is not None and self._ending is None and self.active:
            self._ending = Background(flow.stop, name="calibration-stop")

    def put_away(self) -> None:
        """Forget a calibration that is over."""
        if not self.active:
            self._flow, self.view = None, FlowView(message="")
            self.error = ""

    def poll(self) -> None:
        """Take what is new; call it some times a second."""
        flow, ending = self._flow, self._ending
        if flow is None:
            return
        if ending is not None:
            if ending.done:
                self._ending = None
                self.error = ending.error
                self.view = flow.view()
            return
        self._ask(lambda flow: flow.poll())
        self.view = flow.view()
        if self.view.step is Step.CLASSES and self.table is None:
            gallery = load_gallery(self._settings.base.gallery)
            self.table = ClassTable(self.view.counts.good, gallery)
        port = flow.session
        snapshot = None if port is None else port.snapshot()
        if snapshot is not None and snapshot.info is not None:
            self._n_channels = snapshot.info.n_channels
            self.head.update(snapshot.info.ch_names, snapshot.quality)

    def close(self, timeout: float = 10.0) -> None:
        """End everything; waits up to `timeout` seconds."""
        if self._ending is not None:
            self._ending.join(timeout)
            self._ending = None
        if self._flow is not None:
            self._flow.stop(timeout)
            self.view = self._flow.view()

    def _start(self, flow: Flow) -> None:
        self._flow, self.table = flow, None
        flow.start()
        self.view = flow.view()

    def _ask(self, request: Callable[[Flow], None]) -> None:
        if self._flow is None or self._ending is not None:
            return
        try:
            request(self._flow)
        except PhospheneError as error:
            self.error = str(error)
        self.view = self._flow.view()
