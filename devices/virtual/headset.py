"""The virtual headset: a process that speaks LSL only, like a real amplifier's bridge.

Owns the EEG outlet, its absolute schedule and the ear for stimulus markers. Knows nothing of who
reads it; the physics is `pipeline.virtual_brain`'s, the forward model `devices.virtual.forward`'s.

Samples leave when their time has come, never before: stamp k is `t_start + k / sfreq` by the LSL
clock, so the stream neither drifts nor carries stamps of the future.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pylsl

from devices.lsl.hanging_up import hang_up
from devices.lsl_settings import quiet
from devices.virtual.boards import Board
from devices.virtual.forward import montage_leadfield
from devices.virtual.predicted import read_predicted
from pipeline.values import Float32
from pipeline.virtual_brain.brain import VirtualBrain
from pipeline.virtual_brain.head import reference_labels
from pipeline.virtual_brain.predicted import PREDICTED, PredictedPerson
from pipeline.virtual_brain.subject import draw_subject

logger = logging.getLogger(__name__)

CHUNK_SECONDS = 0.02
COUNTER = "COUNTER"
COUNTER_WRAP = 2**24
"""float32 counts exactly up to here; then the counter starts again from 0."""
_LOOK_SECONDS = 0.1
_OPEN_SECONDS = 3.0
_PULL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class HeadsetSettings:
    """What a virtual headset is: who wears it, which board, how strong the responses are.

    `snr`, `seed` as in `VirtualBrain`; `sfreq` Hz, None for the board's own; `counter` adds a
    channel that counts samples; `duration` s, None until stopped; `gallery` as
    `pipeline.gallery.load_gallery` takes it; `responses` a file of responses that a model of
    images predicted (`devices.virtual.predicted`), `responses_scale` microvolts a number in it.
    """

    board: Board
    subject_number: int = 1001
    sfreq: float | None = None
    snr: float = 1.0
    seed: int = 0
    name: str | None = None
    source_id: str | None = None
    counter: bool = False
    markers_source_id: str = "phosphene-stimuli"
    duration: float | None = None
    gallery: str | None = None
    responses: Path | None = None
    responses_scale: float = 1.0

    @property
    def rate(self) -> float:
        """Sampling rate, Hz."""
        return self.board.sfreq if self.sfreq is None else self.sfreq

    @property
    def stream_source_id(self) -> str:
        """The stable LSL source_id."""
        return self.source_id or f"phosphene-virtual-{self.board.name}-{self.subject_number}"

    @property
    def stream_name(self) -> str:
        """The LSL name."""
        return self.name or f"Phosphene virtual {self.board.name}"


def outlet_info(settings: HeadsetSettings) -> pylsl.StreamInfo:
    """Describe the stream: labels, units, types, reference, and that it is a simulation."""
    names = settings.board.ch_names + ((COUNTER,) if settings.counter else ())
    info = pylsl.StreamInfo(
        settings.stream_name,
        "EEG",
        len(names),
        settings.rate,
        pylsl.cf_float32,
        settings.stream_source_id,
    )
    channels = info.desc().append_child("channels")
    for name in names:
        channel = channels.append_child("channel")
        channel.append_child_value("label", name)
        channel.append_child_value("unit", "none" if name == COUNTER else "microvolts")
        channel.append_child_value("type", "misc" if name == COUNTER else "eeg")
    reference = settings.board.reference
    label = reference if isinstance(reference, str) else "+".join(reference)
    info.desc().append_child("reference").append_child_value("label", label)
    acquisition = info.desc().append_child("acquisition")
    maker = settings.board.manufacturer + (f", {PREDICTED}" if settings.responses else "")
    acquisition.append_child_value("manufacturer", maker)
    acquisition.append_child_value("model", settings.board.name)
    simulation = info.desc().append_child("simulation")
    simulation.append_child_value("subject", str(settings.subject_number))
    simulation.append_child_value("snr", f"{settings.snr:g}")
    simulation.append_child_value("seed", str(settings.seed))
    return info


def make_brain(settings: HeadsetSettings) -> VirtualBrain:
    """Make the wearer's brain with a leadfield computed by MNE."""
    board = settings.board
    everything = board.ch_names + reference_labels(board.ch_names, board.reference)
    return VirtualBrain(
        ch_names=board.ch_names,
        sfreq=settings.rate,
        subject=draw_subject(settings.subject_number),
        leadfield=montage_leadfield(everything),
        snr=settings.snr,
        seed=settings.seed,
        reference=board.reference,
    )


def _predicted(settings: HeadsetSettings) -> PredictedPerson | None:
    """The person whose responses a model predicted, where one is asked for."""
    if settings.responses is None:
        return None
    person = PredictedPerson(
        read_predicted(settings.responses, scale=settings.responses_scale),
        ch_names=settings.board.ch_names,
        reference=settings.board.reference,
        snr=settings.snr,
    )
    if person.missing:
        logger.warning("nothing was predicted of %s", ", ".join(person.missing))
    return person


class MarkerListener:
    """Listens for stimulus markers in a thread of its own, across losses of the stream.

    `take` gives what came since the last call as (label, onset on this machine's LSL clock, s).
    """

    def __init__(self, source_id: str, *, on_follow: Callable[[], None] | None = None) -> None:
        self._source_id = source_id
        self._on_follow = on_follow
        self._heard: deque[tuple[str, float]] = deque(maxlen=10_000)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="headset-markers", daemon=True)
        self._thread.start()

    def take(self) -> list[tuple[str, float]]:
        """Return what was heard since the last call."""
        return [self._heard.popleft() for _ in range(len(self._heard))]

    def close(self) -> None:
        """Stop listening; returns within about `_OPEN_SECONDS`."""
        self._stop.set()
        self._thread.join(timeout=2 * _OPEN_SECONDS)

    def _listen(self) -> None:
        # One resolver for all the time: a search of its own that is given up after a fraction of a
        # second may never see an answer on a busy machine.
        resolver = pylsl.ContinuousResolver("source_id", self._source_id, forget_after=2.0)
        while not self._stop.wait(_LOOK_SECONDS):
            found = resolver.results()
            if found:
                self._follow(found[0])

    def _follow(self, info: pylsl.StreamInfo) -> None:
        """Read one stream until it is lost or we are closed."""
        inlet = pylsl.StreamInlet(info, recover=False)
        try:
            inlet.open_stream(timeout=_OPEN_SECONDS)
            same_clock = info.hostname() == socket.gethostname()
            offset = 0.0 if same_clock else inlet.time_correction(timeout=_OPEN_SECONDS)
            logger.info("following the markers of %s", info.name())
            if self._on_follow is not None:
                self._on_follow()
            while not self._stop.is_set():
                sample, stamp = inlet.pull_sample(timeout=_PULL_SECONDS)
                if sample is not None and stamp is not None:
                    self._heard.append((str(sample[0]), stamp + offset))
        except (pylsl.util.LostError, pylsl.util.TimeoutError) as error:
            logger.info("the markers of %s ended (%s); looking again", info.name(), error)
        finally:
            inlet.close_stream()


class VirtualHeadset:
    """One running virtual headset.

    Parameters
    ----------
    settings : HeadsetSettings
    embeddings : mapping of str to ndarray, shape (N_FEATURES,)
        The pictures' embeddings by label; a label that is missing evokes only the common response.
        A person of predicted responses needs none.
    """

    def __init__(self, settings: HeadsetSettings, embeddings: Mapping[str, Float32]) -> None:
        self._settings = settings
        self._embeddings = embeddings
        self._brain = make_brain(settings)
        self._person = _predicted(settings)
        self.n_chunk = max(1, int(np.ceil(CHUNK_SECONDS * settings.rate)))
        """Samples a chunk."""
        self.n_answered = 0
        """Markers answered so far."""
        self.n_late = 0
        """Markers heard so late that the start of their response was missed."""

    def run(
        self,
        stop: threading.Event,
        *,
        on_ready: Callable[[], None] | None = None,
        on_follow: Callable[[], None] | None = None,
    ) -> None:
        """Stream until `stop` is set or the duration is over; blocks.

        `on_ready` is called once the stream can be resolved, `on_follow` (in another thread)
        whenever a stimulus marker stream was found: only then will stimuli be answered.
        """
        quiet()  # before liblsl's first call
        outlet = pylsl.StreamOutlet(outlet_info(self._settings), self.n_chunk)
        listener = MarkerListener(self._settings.markers_source_id, on_follow=on_follow)
        try:
            t_start = pylsl.local_clock()
            if on_ready is not None:
                on_ready()
            self._stream(outlet, listener, t_start, stop)
        finally:
            listener.close()
            hang_up(outlet)
            del outlet

    def _stream(
        self,
        outlet: pylsl.StreamOutlet,
        listener: MarkerListener,
        t_start: float,
        stop: threading.Event,
    ) -> None:
        rate, duration = self._settings.rate, self._settings.duration
        while not stop.is_set():
            last = self._brain.position + self.n_chunk - 1
            t_last = t_start + last / rate
            stop.wait(max(0.0, t_last - pylsl.local_clock()))
            if stop.is_set() or (duration is not None and last / rate > duration):
                return
            self._answer(listener.take(), t_start)
            outlet.push_chunk(self.next_chunk(), t_last)

    def _answer(self, markers: list[tuple[str, float]], t_start: float) -> None:
        for label, onset in markers:
            self.answer(label, onset - t_start)

    def answer(self, label: str, t_onset: float) -> None:
        """Show the picture `label`, `t_onset` seconds after the first sample."""
        if (person := self._person) is None:
            in_time = self._brain.stimulate(t_onset, self._embeddings.get(label))
        else:
            in_time = self._brain.respond(
                t_onset,
                lambda times, rng: person.response(label, times, rng),
                tmin=person.tmin,
                seconds=person.seconds,
            )
        self.n_answered += 1
        if not in_time:
            self.n_late += 1
            logger.warning("marker %r came too late: its response starts cut", label)

    def next_chunk(self) -> Float32:
        """Make the next chunk as LSL wants it: shape (n_times, n_channels), float32."""
        first = self._brain.position
        data = self._brain.read(self.n_chunk)
        if self._settings.counter:
            count = (first + np.arange(self.n_chunk)) % COUNTER_WRAP
            data = np.vstack([data, count.astype(np.float32)])
        return np.ascontiguousarray(data.T)
