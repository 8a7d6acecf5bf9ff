"""The decoder process: the only one with torch.

Owns the loop that turns epochs into pictures behind a pipe. Knows nothing of streams, files or
windows. It is spawned, so that a crash, a hang or an out-of-memory there costs pictures, never
samples; `app.runtime.decoder` restarts it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from configs import DecoderConfig
from pipeline.errors import PhospheneError
from pipeline.ports import EncoderSpec
from pipeline.surrogates import phase_scrambled
from pipeline.values import Embedding, Epoch, Float32, Info, Uint8


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One epoch to decode, in plain arrays (a frozen `Epoch` cannot cross the pipe as it is)."""

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


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The decoder's answer to one `Job`; `error` is a sentence when it failed.

    `started`, `encoded`, `sampled` are `time.monotonic` of this machine, s. `control_pixels` is the
    noise control, when it is on: the same decoder on the same epoch with its phases scrambled.
    """

    index: int
    vector: Float32 | None = None
    pixels: Uint8 | None = None
    started: float = 0.0
    encoded: float = 0.0
    sampled: float = 0.0
    control_pixels: Uint8 | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """Sent once when the models are loaded and warm."""

    spec: EncoderSpec
    sampler_sha256: str
    device: str
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Refused:
    """Sent instead of `Ready` when the models cannot be loaded; `reason` is a sentence."""

    reason: str


def job_of(epoch: Epoch, *, seed: int) -> Job:
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
    )


def _epoch_of(job: Job) -> Epoch:
    return Epoch(
        data=job.data,
        tmin=job.tmin,
        tmax=job.tmax,
        t_onset=job.t_onset,
        event=job.event,
        info=Info(job.ch_names, job.sfreq, job.ch_types),
        index=job.index,
    )


def main(connection: Connection, config: DecoderConfig) -> None:
    """Load the models, then answer jobs until the pipe closes or `None` comes."""
    import signal

    # Ctrl-C goes to the whole process group; the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        decode, ready = _load(config)
    except PhospheneError as error:
        connection.send(Refused(str(error)))
        return
    connection.send(ready)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        if job is None:
            return
        connection.send(decode(job))


def _load(config: DecoderConfig) -> tuple[Any, Ready]:
    from models.systems import load_system

    system = load_system(config)

    def decode(job: Job) -> Answer:
        started = time.monotonic()
        control = None
        try:
            epoch = _epoch_of(job)
            embedding: Embedding = system.encoder.encode(epoch)
            encoded = time.monotonic()
            image = system.sampler.sample(embedding, seed=job.seed)
            sampled = time.monotonic()
            if config.control:
                scrambled = system.encoder.encode(phase_scrambled(epoch, seed=job.seed))
                control = np.array(system.sampler.sample(scrambled, seed=job.seed).pixels)
        except Exception as error:  # noqa: BLE001 - the thread's top loop: every failure is told
            return Answer(index=job.index, error=f"{type(error).__name__}: {error}")
        return Answer(
            index=job.index,
            vector=np.array(embedding.vector),
            pixels=np.array(image.pixels),
            started=started,
            encoded=encoded,
            sampled=sampled,
            control_pixels=control,
        )

    system.warm_up()
    ready = Ready(
        spec=system.encoder.spec,
        sampler_sha256=system.sampler.sha256,
        device=system.device,
        versions=system.versions,
    )
    return decode, ready
