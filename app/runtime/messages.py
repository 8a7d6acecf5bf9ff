"""What crosses the pipe between a session and the decoder's process: plain values only.

Owns their layout. Knows nothing of who sends or answers them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from configs import DecoderConfig
from models.api import EncoderSpec
from models.faults import Fault
from models.pace import Pace
from models.sampling.batches import Batch
from pipeline.values import Epoch, Float32, Info, Uint8


@dataclass(frozen=True, slots=True)
class AdapterKey:
    """One adapter: its folder and what was in it.

    `folder` empty: no adapter, the system's own encoder. `sha256` empty: whatever the folder
    held when the decoder was started.
    """

    folder: str = ""
    sha256: str = ""


def first_adapter(config: DecoderConfig) -> AdapterKey:
    """The adapter that a session begins with."""
    return AdapterKey("" if config.adapter is None else str(Path(config.adapter).resolve()))


@dataclass(frozen=True, slots=True)
class Steer:
    """What decodes an epoch. Levels, not commands: a job that is dropped takes nothing with it.

    `frozen` None: alignment runs or stands as the adapter has it. `n_resets` counts how often
    alignment was reset so far; another count than before resets it.
    """

    adapter: AdapterKey = AdapterKey()
    frozen: bool | None = None
    n_resets: int = 0


Overrides = Mapping[str, str | bool | int]
"""Settings of the decoder that hold instead of the session's, by name; empty: none."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One epoch to decode, in plain arrays (a frozen `Epoch` cannot cross the pipe as it is).

    `draw` False: nothing but let alignment take the epoch in.
    """

    index: int
    t_onset: float
    data: Float32
    ch_names: tuple[str, ...]
    ch_types: tuple[str, ...]
    sfreq: float
    tmin: float
    tmax: float
    event: str
    seed: int
    steer: Steer = Steer()
    draw: bool = True
    control: bool = False
    """Draw the noise control as well."""
    overrides: Overrides | None = None
    """What it has to be drawn with: in a replay, as it was recorded. None: as the decoder runs."""
    batch: Batch | None = None
    """In a replay: the batch that it was drawn in, whose sums it has to repeat."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The decoder's answer to one `Job`; `error` is a sentence when it failed.

    `started`, `encoded`, `sampled` are `time.monotonic` of this machine, s. `control_pixels` is
    the noise control, when it is on: the same decoder on the same epoch with its phases scrambled.
    `confidence` is what the encoder stated, None where it states none.
    `observed` says that alignment took the epoch in, failure or not; `alignment` is `running`,
    `frozen` or empty, `drift` what the encoder says of itself. `aged`: there is no picture, because
    it would have come that long after the epoch was queued, s. `fault` says what of the machine
    failed, `overrides` what the epoch was decoded with.
    """

    index: int
    vector: Float32 | None = None
    pixels: Uint8 | None = None
    started: float = 0.0
    encoded: float = 0.0
    sampled: float = 0.0
    control_pixels: Uint8 | None = None
    error: str = ""
    aged: float | None = None
    observed: bool = False
    alignment: str = ""
    drift: float | None = None
    doubt: float = 0.0
    """How much of the evidence was let go because of the session as a whole, 0 to 1."""
    confidence: float | None = None
    classes: tuple[float, ...] = ()
    """Probabilities in the order of the encoder's classes."""
    fault: Fault = ""
    overrides: Overrides = field(default_factory=dict)
    overload: str = ""
    """A server had no room for it, in a sentence."""
    decoded_by: str = ""
    """Address of the server that decoded it; empty: this machine."""
    batch: Batch | None = None
    """The batch that it was drawn in; None: it was drawn alone."""
    began: bool = False
    """What follows the person (alignment, doubt) began anew with it: another place decoded."""
    network: float = 0.0
    """What of its time was spent on the way to a server and back, s."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Sent once when the models are loaded and warm.

    `options` act on the pictures; `remarks` are sentences on those that do not act as one would
    think; `pace` is how long a picture takes here (None: not known).
    """

    spec: EncoderSpec
    sampler_sha256: str
    device: str
    versions: Mapping[str, str]
    options: Mapping[str, str | int | float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    pace: Pace | None = None
    settled: Overrides = field(default_factory=dict)
    """Device, back-end and type by name, as settings of `decoder`: what `auto` came to."""
    machine: str = ""
    """What computes: the CPU's name, or the GPU's."""
    server: str = ""
    """Address of the server that says so; empty: this machine."""
    can_save_memory: bool = False
    """Whether `decoder.low_memory` changes anything."""


@dataclass(frozen=True, slots=True)
class Loading:
    """Sent now and then before `Ready`: how much the process has computed so far, s of CPU."""

    cpu: float


@dataclass(frozen=True, slots=True)
class Stepped:
    """Sent now and then while a picture is drawn: a sign of life.

    `step` of the steps that `Pace` counts are taken; None while others are.
    """

    index: int
    step: int | None


@dataclass(frozen=True, slots=True)
class Switched:
    """Sent between two answers: an engine that was built meanwhile draws from here on, or never.

    `settled` are the settings of `decoder` that hold from now on, empty: it came to nothing.
    `words` are one sentence for a person, `versions` what computes, `pace` how long a picture takes
    now.
    """

    words: str
    settled: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    pace: Pace | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """Sent when epochs are decoded elsewhere from now on.

    `place` is the server's address, empty: this machine; `server` what the server says of itself.
    `sentence` says why, for a person.
    """

    place: str
    sentence: str
    server: Ready | None = None


@dataclass(frozen=True, slots=True)
class StandsBy:
    """Sent once beside a server, when the decoder of this machine is loaded, or cannot be.

    `sentence` says which, for a person; `reason` is empty where it can take over.
    """

    sentence: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Sent instead of `Ready` when the models cannot be loaded; `reason` is a sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class Load:
    """Asks for another adapter (or none), beside the one that decodes.

    `ch_names` are the session's channels, empty while they are not known.
    """

    folder: str
    ch_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """The answer to `Load`, at any time between other answers.

    `reason` is the sentence of a refusal; then `spec` is None and `sha256` empty.
    """

    folder: str
    sha256: str = ""
    spec: EncoderSpec | None = None
    reason: str = ""


def job_of(
    epoch: Epoch,
    *,
    seed: int,
    steer: Steer | None = None,
    draw: bool = True,
    control: bool = False,
    overrides: Overrides | None = None,
    batch: Batch | None = None,
) -> Job:
    """Pack an epoch for the pipe."""
    return Job(
        index=epoch.index,
        t_onset=epoch.t_onset,
        data=np.ascontiguousarray(epoch.data),
        ch_names=epoch.info.ch_names,
        ch_types=epoch.info.ch_types,
        sfreq=epoch.info.sfreq,
        tmin=epoch.tmin,
        tmax=epoch.tmax,
        event=epoch.event,
        seed=seed,
        steer=steer or Steer(),
        draw=draw,
        control=control,
        overrides=overrides,
        batch=batch,
    )


def epoch_of(job: Job) -> Epoch:
    """Unpack it again."""
    return Epoch(
        data=job.data,
        tmin=job.tmin,
        tmax=job.tmax,
        t_onset=job.t_onset,
        event=job.event,
        info=Info(job.ch_names, job.sfreq, job.ch_types),
        index=job.index,
    )
