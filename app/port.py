"""What a window, or a headless run, sees of a session: frozen snapshots and a few requests.

Owns the value types between the runtime (threads, processes) and whoever watches it. Knows
nothing of Qt, LSL or torch. Watchers poll; nothing here calls back from another thread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

from app.accuracy import N_FIRST, Accuracy
from app.between import Between
from configs import SessionConfig
from pipeline.signal_quality import ChannelQuality
from pipeline.values import (
    Epoch,
    Float32,
    Float64,
    Info,
    Outcome,
    StreamInfo,
    StreamState,
    Uint8,
    Verdict,
)


class Phase(StrEnum):
    """Where a session stands; the runtime's transition table says which may follow."""

    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Milliseconds of one picture, stage by stage; they add up to `total_after_epoch`.

    `arrival`: end of the epoch to the pull that brought its last sample; `filter`; `epoch`: cut
    and hand-over; `queue`: wait for the decoder; `encode`; `sample`: draw, until it is back here.
    """

    arrival: float
    filter: float
    epoch: float
    queue: float
    encode: float
    sample: float
    total_after_epoch: float
    network: float = 0.0
    """On the way to a decoding server and back; nothing where this machine decodes."""


@dataclass(frozen=True, slots=True)
class SummedRanking:
    """What `n` repetitions of one stimulus say together: their evidence summed, ranked anew.

    `top` are the best of `n_candidates`, `rank` is the true one's place from 1.
    """

    n: int
    top: tuple[tuple[str, float], ...]
    rank: int
    n_candidates: int


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One marker's end, as shown and as written to `events.jsonl`.

    `top` ranks labels with probabilities that sum to at most 1; `chance` is that of one label,
    None where nothing was ranked; `rank` counts from 1 and is None where the true label is
    unknown. Where classes are decoded, `classes` are all of them with their probabilities, and
    `truth` the one that was shown. `learnt` says that the decoder was fitted to this very trial, so
    that it counts in no score. `confidence` in 0..1 is what the encoder states of itself, None
    where it states nothing; `pixels` is the decoded picture.
    """

    index: int
    t_onset: float
    label: str
    outcome: Outcome
    reason: str = ""
    top: tuple[tuple[str, float], ...] = ()
    chance: float | None = None
    rank: int | None = None
    classes: tuple[tuple[str, float], ...] = ()
    truth: str = ""
    learnt: bool = False
    summed: tuple[SummedRanking, ...] = ()
    """Groups of repetitions that this trial completes; see `app.repetitions`."""
    retrieved: tuple[tuple[str, float], ...] = ()
    """Nearest labels of a store of vectors (`SessionConfig.retrieval`), each with its cosine."""
    confidence: float | None = None
    pixels: Uint8 | None = None
    image_path: str | None = None
    image_sha256: str | None = None
    embedding_sha256: str | None = None
    stages: StageTimes | None = None
    quality: Mapping[str, float] = field(default_factory=dict)
    epoch_data: Float32 | None = None
    """The epoch behind the picture, (n_channels, n_times) microvolts; kept for recent ones."""
    epoch_channels: tuple[str, ...] = ()
    """Labels of its rows: a channel may have been left out."""
    control_pixels: Uint8 | None = None
    """The noise control's picture, when it was asked for."""
    decoded_by: str = ""
    """Address of the server that decoded it; empty: this machine."""
    returned: float | None = None
    """When the picture came back from the decoder, `time.monotonic`, s; for who paints it."""


@dataclass(frozen=True, slots=True, eq=False)
class EpochEvent:
    """A marker's end at the cut, before any decoding; what a collector (calibration) takes.

    `outcome` is `DECODED` for an epoch that may be used, else the refusal with its `reason`;
    `epoch` is there whenever one was cut (a rejected one included), pre-stimulus part and all.
    """

    index: int
    t_onset: float
    label: str
    outcome: Outcome
    reason: str = ""
    epoch: Epoch | None = None

    @classmethod
    def of(cls, verdict: Verdict) -> EpochEvent:
        """Return what a collector takes of a verdict."""
        marker = verdict.marker
        return cls(
            index=marker.index,
            t_onset=marker.t_onset,
            label=marker.label,
            outcome=verdict.outcome,
            reason=verdict.reason,
            epoch=verdict.epoch,
        )


AdaptCommand = Literal["freeze", "resume", "reset"]
"""What may be asked of online alignment."""


TOO_FEW = f"too few to say: a verdict takes {N_FIRST} pictures"
"""What stands in the place of p and interval where `Accuracy.is_few`."""


def kind_of(warning: str) -> str:
    """Return a warning without its numbers: one that differs in these only has been said."""
    return re.sub(r"\d+", "", warning)


def is_above_chance(found: Accuracy) -> bool:
    """Whether what was found so far is more than chance, at the 5 % level."""
    return found.p_value < 0.05


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole visible state of a session at one moment."""

    phase: Phase = Phase.IDLE
    message: str = ""
    """One sentence: what is going on, or what went wrong and what to do."""
    eeg: StreamInfo | None = None
    markers: StreamInfo | None = None
    info: Info | None = None
    """Channels as the pipeline uses them; None before the source is open."""
    stream_state: StreamState = StreamState.CONNECTING
    newest_age: float | None = None
    """Age of the newest sample, s; None before the first."""
    silent_for: float | None = None
    """How long the stream has been stalled or lost, s; None while it is neither."""
    foreign_hosts: tuple[str, ...] = ()
    """Other hosts where a stream like the lost one is found: `admit_host` takes it for that."""
    duration: float = 0.0
    """Time since the first sample, s."""
    n_received: int = 0
    n_lost: int = 0
    n_gaps: int = 0
    n_reconnects: int = 0
    effective_sfreq: float | None = None
    quality: tuple[ChannelQuality, ...] = ()
    """The newest second's verdict on each channel; empty before the first whole second."""
    clock_offset: float | None = None
    n_markers: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    n_pending: int = 0
    """Markers without an outcome yet."""
    accuracy: Accuracy | None = None
    repetitions: Mapping[int, Accuracy] = field(default_factory=dict)
    """The same of evidence summed over so many repetitions, by their number, from 2 on."""
    stages: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """p50 and p95 by stage, ms, over the last 200 pictures."""
    between: tuple[Between, ...] = ()
    """Pictures on the way to the newest one, in order, as far as they are drawn; see
    `decoder.between`."""
    decoder: str = ""
    """The decoder's state in a few words: `loading`, `ready (cpu, 1 thread)`, `restarting`."""
    decoded_by: str = ""
    """Address of the server to which EEG goes now; empty: it stays on this machine."""
    adapter: str | None = None
    """Folder of the adapter that decodes now; None: none, the decoder of everybody."""
    adapter_loading: str | None = None
    """Folder of an adapter that was asked for and is being loaded; None: none."""
    alignment: str = ""
    """Online alignment: `running`, `frozen`, or empty where the decoder has none."""
    alignment_drift: float | None = None
    """How far alignment has gone from the calibration, as the adapter defines it; None: unknown."""
    impedance: Mapping[str, float | None] = field(default_factory=dict)
    """Impedance of each electrode, kOhm, None for one that has none; empty: the stream has none."""
    recording: Path | None = None
    """The XDF being written; None when not recording."""
    recording_bytes: int = 0
    disk_free: int | None = None
    warnings: tuple[str, ...] = ()
    filter_delay: float = 0.0
    """Group delay of the causal filter at 10 Hz, s."""
    stimulus: str | None = None
    """Label of the stimulus on screen now (the app's own stimuli)."""
    awaits_viewer: bool = False
    """Whether the session's own stimuli wait until a person sees them; see `set_seen`."""
    out: Path | None = None
    outputs: tuple[str, ...] = ()
    """Where results go beside LSL, each in a few words; the picture feed's holds its token."""
    feed: str = ""
    """Address of the picture feed, token and all; empty: there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class TraceBlock:
    """Raw traces for drawing.

    `data` (n_channels, n_times) float32 microvolts, unfiltered; `timestamps` (n_times,) s;
    `start` is the absolute number of the first sample; `breaks` are absolute numbers of samples
    that follow a gap.
    """

    data: Float32
    timestamps: Float64
    start: int
    breaks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TraceMarker:
    """A marker to draw on the traces: absolute sample number (None until known) and time, s."""

    index: int
    t_onset: float
    label: str


class Movable(Protocol):
    """A recording that is played and may be moved; safe from any thread, returns at once."""

    @property
    def loop(self) -> bool:
        """Whether it starts again at the end."""
        ...

    @property
    def position(self) -> float:
        """Where it stands, s from the recording's first sample."""
        ...

    @property
    def duration(self) -> float | None:
        """Length of the recording, s; None: unknown."""
        ...

    def set_loop(self, on: bool) -> None:
        """Start again at the end, or end there."""
        ...

    def seek(self, seconds: float) -> None:
        """Go on `seconds` after the recording's first sample (kept within the recording).

        The session's own time runs on without a hole: the place is a border as a gap is one, and
        epochs across it are refused and counted.
        """
        ...


class Playback(Movable, Protocol):
    """How a replay runs."""

    @property
    def paused(self) -> bool:
        """Whether it stands still."""
        ...

    @property
    def speed(self) -> float:
        """Times real time."""
        ...

    def set_paused(self, paused: bool) -> None:
        """Stand still, or go on."""
        ...

    def set_speed(self, speed: float) -> None:
        """Run `speed` times as fast as real time."""
        ...


@dataclass(frozen=True, slots=True)
class Cue:
    """A stimulus of the session that is due: on screen from `at` (session clock) for `duration`, s.

    `number` counts from 0.
    """

    number: int
    label: str
    at: float
    duration: float


@dataclass(frozen=True, slots=True)
class DisplayFigures:
    """How well a screen kept time.

    `method` says in words what the frames follow; `locked` whether that is the screen's refresh.
    `refresh_hz` is measured (None: too few frames yet), `nominal_hz` is what the screen claims.
    """

    method: str
    locked: bool
    nominal_hz: float
    refresh_hz: float | None = None
    n_frames: int = 0
    n_dropped: int = 0
    worst_gap_ms: float = 0.0


class StimulusFeed(Protocol):
    """The session's own stimuli for a window that shows them; safe from any thread.

    While a window is attached, a marker's stamp is the flip that it reports; without one, and for
    a cue that no flip is reported of in time, it is the planned onset.
    """

    @property
    def cue(self) -> Cue | None:
        """The next stimulus, or the one on screen; known before it is due."""
        ...

    def clock(self) -> float:
        """The session's clock, s: stamp flips with it."""
        ...

    def attach(self) -> None:
        """Say that a window shows the stimuli from now on."""
        ...

    def detach(self) -> None:
        """Say that it no longer does."""
        ...

    def flipped(self, number: int, stamp: float) -> None:
        """Say when the picture of cue `number` reached the screen, by `clock`."""
        ...

    def report(self, figures: DisplayFigures) -> None:
        """Hand over the screen's figures, for the session's summary; the newest count."""
        ...


class SessionPort(Protocol):
    """A session as a watcher sees it.

    Every method is safe from any thread and returns at once, except `start` (which returns when
    the threads run; watch `snapshot().phase`) and `stop`.
    """

    @property
    def config(self) -> SessionConfig:
        """The resolved settings."""
        ...

    @property
    def playback(self) -> Playback | None:
        """What plays a recording; None where the source sets the pace."""
        ...

    @property
    def stimuli(self) -> StimulusFeed | None:
        """The session's own stimuli; None before they begin, and where it shows none."""
        ...

    def start(self) -> None:
        """Open the source in the background; phase becomes STARTING, then RUNNING or FAILED."""
        ...

    def stop(self, timeout: float = 10.0, *, at_once: bool = False) -> None:
        """End the session, finish the files; phase becomes STOPPED (or stays FAILED).

        With `at_once` pictures under way are hardly waited for.
        """
        ...

    def snapshot(self) -> Snapshot:
        """Everything visible, frozen."""
        ...

    def traces(self, since: int, limit: int) -> TraceBlock | None:
        """Raw samples from number `since` on, at most the newest `limit`; None when none are new.

        When `since` has left the buffer the block starts later: compare `start`.
        """
        ...

    def trace_markers(self, since: int) -> Sequence[TraceMarker]:
        """Markers with index >= `since`, as they arrived."""
        ...

    def results(self, since: int) -> Sequence[Result]:
        """Results in order of completion from the `since`-th on (a running count, not `index`)."""
        ...

    def set_recording(self, on: bool) -> None:
        """Start or stop the recorder."""
        ...

    def add_marker(self, label: str) -> None:
        """Stamp a manual marker now."""
        ...

    def set_seen(self, on: bool) -> None:
        """Say whether a person sees the stimuli now: a session that waits for one begins, or rests.

        Where nobody is waited for it changes nothing.
        """
        ...

    def admit_host(self, host: str) -> None:
        """Take a lost stream's namesake on `host` for it, from now on."""
        ...

    def swap_adapter(self, folder: Path | None) -> None:
        """Decode with another adapter from a coming epoch on; None: without one.

        It is loaded beside the running decoder; no sample is dropped and no epoch waits for it.
        One that is refused leaves the old one active and becomes a sentence in `warnings`.
        Recorded, so that a replay swaps at the same epoch. `Snapshot.adapter` says what decodes.
        """
        ...

    def adapt(self, command: AdaptCommand) -> None:
        """Freeze, resume or reset online alignment from the next epoch on; recorded as a swap is.

        Without a decoder that aligns itself it changes nothing.
        """
        ...

    def set_control(self, on: bool) -> None:
        """Draw a noise control beside the pictures from the next epoch on, or no longer.

        The same decoder on the same epoch with its phases scrambled. It changes no picture, so it
        is not recorded as a decision; the controls themselves lie in `controls/`.
        """
        ...

    def set_notes(self, text: str) -> None:
        """Write the person's notes into the session folder; also after the end."""
        ...
