"""The session that the window watches: opened and closed in the background, polled in front.

Owns the calls that may block (they run in one worker thread at a time) and turns their errors
into sentences. Knows nothing of Qt.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from app.port import AdaptCommand, Phase, SessionPort, Snapshot
from app.session_factory import SessionFactory
from app.source_options import ChoiceNeededError
from app.view_models.session.history import HistoryModel
from app.view_models.session.paint_times import PaintTimes
from app.view_models.session.pictures import GalleryPictures
from app.view_models.settings.model import SettingsModel
from app.view_models.signals.evoked import EvokedModel
from app.view_models.signals.head import HeadModel
from app.view_models.signals.spectrum import SpectrumModel
from app.view_models.signals.stream_health import StreamHealthModel
from app.view_models.signals.traces import TraceModel
from app.view_models.signals.voxel_map import VoxelMap
from app.view_models.sources.model import SourceChoice, SourceKind
from configs import ConfigError
from pipeline.errors import PhospheneError
from pipeline.signal_quality import Grade
from pipeline.values import Info

_LOG = logging.getLogger(__name__)

ACTIVE = (Phase.STARTING, Phase.RUNNING, Phase.STOPPING)


class SessionModel:
    """At most one session at a time, with what is known of it."""

    def __init__(
        self, factory: SessionFactory, settings: SettingsModel, *, n_pixels: int = 800
    ) -> None:
        self._factory = factory
        self._settings = settings
        self.port: SessionPort | None = None
        self.snapshot = Snapshot(message="")
        self.traces = TraceModel(n_pixels=n_pixels)
        self.voxels = VoxelMap()
        """Takes the place of the traces where the channels are voxels."""
        self.history = HistoryModel()
        self.spectrum = SpectrumModel()
        self.head = HeadModel()
        self.pictures = GalleryPictures()
        """Of the stimuli of the session on show."""
        self.evoked = EvokedModel(self.pictures.category)
        self.health = StreamHealthModel()
        self.paint_times = PaintTimes()
        self.notes = ""
        """What the person notes on this session; saved by `save_notes`."""
        self._saved_notes = ""
        self.error = ""
        """A sentence to show until it is dismissed; empty when all is well."""
        self._task: threading.Thread | None = None
        self._opened: SessionPort | None = None
        self._failed = ""
        self.question: ChoiceNeededError | None = None
        """Which stream of the recording is meant? Whoever asks the person sets it to None."""
        self._asks: ChoiceNeededError | None = None
        self._stop_asked = False

    @property
    def busy(self) -> bool:
        """Whether a call is under way in the background."""
        return self._task is not None

    @property
    def phase(self) -> Phase:
        """Phase as the window shows it."""
        if self.busy and self.port is None:
            return Phase.STARTING
        if self.busy and self.snapshot.phase in (Phase.RUNNING, Phase.STARTING):
            return Phase.STOPPING if self._stop_asked else self.snapshot.phase
        return self.snapshot.phase

    @property
    def silent_for(self) -> float | None:
        """How long nothing has streamed into a running session, s; None while something does."""
        return self.snapshot.silent_for if self.phase is Phase.RUNNING else None

    @property
    def active(self) -> bool:
        """Whether a session is open or being opened or closed."""
        return self.busy or self.phase in ACTIVE

    def open(self, choice: SourceChoice) -> bool:
        """Make and start a session on `choice` in the background; return whether it was tried."""
        if self.active:
            return False
        self.error = self._settings.subject_error
        if self.error:
            return False
        try:
            config = self._settings.build(choice)
        except (ConfigError, ValueError) as error:
            self.error = str(error)
            return False
        self._forget()
        if choice.kind is SourceKind.REPLAY and choice.path is not None:
            path = choice.path
            self._run(
                lambda: self._start(self._factory.replay(path, config, choice.options)), "open"
            )
        elif choice.kind is SourceKind.LIVE:
            self._run(lambda: self._start(self._factory.live(config)), "open")
        else:
            self._run(lambda: self._start(self._factory.demo(config)), "open")
        return True

    def adopt(self, port: SessionPort) -> None:
        """Watch a session that somebody else made and started."""
        self._forget()
        self.port = port

    def stop(self) -> bool:
        """End the session in the background; return whether there was one to end."""
        port = self.port
        if port is None or self.busy or self.phase not in (Phase.STARTING, Phase.RUNNING):
            return False
        self._stop_asked = True
        self._run(port.stop, "stop")
        return True

    def toggle_recording(self) -> None:
        """Start or stop the recorder of a running session; else the switch of the next one."""
        if self.port is not None and self.phase is Phase.RUNNING:
            self._request(lambda port: port.set_recording(self.snapshot.recording is None))
        elif not self.active:
            self._settings.record = not self._settings.record

    def add_marker(self, label: str) -> bool:
        """Stamp a manual marker; return whether a session took it."""
        if self.phase is not Phase.RUNNING:
            return False
        return self._request(lambda port: port.add_marker(label))

    @property
    def foreign_hosts(self) -> tuple[str, ...]:
        """Other hosts where a stream like the lost one of a running session is found."""
        return self.snapshot.foreign_hosts if self.phase is Phase.RUNNING else ()

    def admit_host(self, host: str) -> None:
        """Go on with the stream on `host`."""
        self._request(lambda port: port.admit_host(host))

    def set_seen(self, on: bool) -> None:
        """Say whether a person sees the session's own stimuli."""
        self._request(lambda port: port.set_seen(on))

    def set_control(self, on: bool) -> None:
        """Draw the noise control, or not, from the next epoch on and in sessions to come."""
        self._settings.control = on
        if self.phase is Phase.RUNNING:
            self._request(lambda port: port.set_control(on))

    def adapt(self, command: AdaptCommand) -> None:
        """Freeze, resume or reset the online alignment of a running session."""
        if self.phase is Phase.RUNNING:
            self._request(lambda port: port.adapt(command))

    def toggle_alignment(self) -> None:
        """Let alignment follow the person, or freeze it; nothing where the decoder has none."""
        if self.snapshot.alignment:
            self.adapt("freeze" if self.snapshot.alignment == "running" else "resume")

    def save_notes(self) -> None:
        """Save the notes when they changed and there is a session to save them with."""
        if self.port is None or self.notes == self._saved_notes:
            return
        notes = self.notes
        # Not tried again until it changes: the sentence about a full disk need not come back.
        self._saved_notes = notes
        self._request(lambda port: port.set_notes(notes))

    def poll(self) -> None:
        """Take what is new; call it in every frame."""
        self._finish_task()
        port = self.port
        if port is None:
            return
        self.pictures.use(port.config.gallery)
        self.snapshot = port.snapshot()
        if self.snapshot.phase is Phase.FAILED and not self.error and not self._stop_asked:
            self.error = self.snapshot.message
        if VoxelMap.suits(self.snapshot.info):
            self._poll_voxels(port, self.snapshot.info)
            return
        if self.voxels.info is not None and self.snapshot.info is not None:
            self.voxels.reset(None)
        if _differs(self.traces.info, self.snapshot.info):
            self.traces.suggest_notch(port.config.filter.notch_freqs)
            self.traces.reset(self.snapshot.info)
            self.spectrum.reset()
            self.evoked.reset(self.snapshot.info.ch_names if self.snapshot.info else ())
        self.traces.poll(port)
        self.health.update(self.snapshot)
        if self.snapshot.info is not None:
            self.traces.set_verdicts(_bad_channels(self.snapshot))
            self.head.update(
                self.snapshot.info.ch_names, self.snapshot.quality, self.snapshot.impedance
            )
        new = port.results(self.history.taken)
        self.evoked.extend(new)
        self.history.extend(new)

    def _poll_voxels(self, port: SessionPort, info: Info | None) -> None:
        """Take what is new of voxels: a map and pictures; they have no traces, spectrum or head."""
        if _differs(self.voxels.info, info):
            self.voxels.reset(info)
            self.traces.reset(None)
            self.spectrum.reset()
            self.evoked.reset(())
        self.voxels.poll(port)
        self.health.update(self.snapshot)
        self.history.extend(port.results(self.history.taken))

    def poll_spectrum(self) -> None:
        """Estimate the spectrum anew when there is new data; only while somebody looks."""
        info = self.snapshot.info
        if self.port is not None and info is not None and self.voxels.info is None:
            self.spectrum.poll(self.port, info.sfreq)

    def close(self, timeout: float = 10.0) -> None:
        """End everything at once; waits up to `timeout` seconds in all."""
        end = time.monotonic() + timeout
        if self._task is not None:
            self._task.join(timeout)
            self._finish_task()
        self.save_notes()
        if self.port is not None and self.port.snapshot().phase in ACTIVE:
            self._stop_asked = True
            try:
                self.port.stop(max(0.1, end - time.monotonic()), at_once=True)
            except PhospheneError as error:
                _LOG.error("the session did not stop cleanly: %s", error)
            self.snapshot = self.port.snapshot()

    def _forget(self) -> None:
        if self.port is not None:
            self.save_notes()
            self.notes = ""
        self._saved_notes = ""
        self.port = None
        self.snapshot = Snapshot()
        self.question = None
        self.history.clear()
        self.traces.reset(None)
        self.voxels.reset(None)
        self.spectrum.reset()
        self.evoked.reset()
        self.health.reset()
        self.paint_times.reset()
        self.head.update((), ())
        self._stop_asked = False

    def _start(self, port: SessionPort) -> None:
        self._opened = port
        port.start()

    def _request(self, request: Callable[[SessionPort], None]) -> bool:
        if self.port is None:
            return False
        try:
            request(self.port)
        except PhospheneError as error:
            self.error = str(error)
            return False
        return True

    def _run(self, call: Callable[[], None], name: str) -> None:
        self._failed = ""
        self._task = threading.Thread(target=self._guard, args=(call,), name=name, daemon=True)
        self._task.start()

    def _guard(self, call: Callable[[], None]) -> None:
        try:
            call()
        except ChoiceNeededError as error:
            self._asks = error
        except PhospheneError as error:
            self._failed = str(error)
        except Exception as error:  # noqa: BLE001  the top of a thread
            _LOG.exception("a request of the window failed")
            self._failed = f"Something unexpected went wrong ({error}). The log has the details."

    def _finish_task(self) -> None:
        task = self._task
        if task is None:
            return
        if self._opened is not None:
            self.port, self._opened = self._opened, None
        if task.is_alive():
            return
        self._task = None
        self.question, self._asks = self._asks or self.question, None
        if self._failed:
            self.error, self._failed = self._failed, ""
            if self.port is None:
                self.snapshot = Snapshot(phase=Phase.FAILED, message=self.error)


def _bad_channels(snapshot: Snapshot) -> dict[int, str]:
    """Channels that the session calls bad, by their number, with the reason."""
    names = () if snapshot.info is None else snapshot.info.ch_names
    reasons = {q.ch_name: q.reason for q in snapshot.quality if q.grade is Grade.BAD}
    return {at: reasons[name] for at, name in enumerate(names) if name in reasons}


def _differs(mine: Info | None, theirs: Info | None) -> bool:
    if mine is theirs or theirs is None:
        return False
    return mine is None or mine != theirs
