"""From a decoder's answer to a `Result`: rank, hashes, picture file, stages.

Owns how a result is made up; knows nothing of threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from app.port import Result, StageTimes, SummedRanking
from app.ranking import rank_classes, rank_pictures
from app.repetitions import Repetitions
from app.runtime.folder import SessionFolder, encode_png
from app.runtime.messages import AdapterKey, Answer, Job, Overrides
from configs import SessionConfig
from models.api import EncoderSpec
from models.retrieval.store import VectorStore
from models.sampling.batches import Batch
from pipeline.errors import PhospheneError
from pipeline.gallery import Gallery
from pipeline.signal_quality import ChannelQuality
from pipeline.values import Epoch, Float32, Marker, Outcome

N_TOP = 10
"""Ranked labels kept by result."""


@dataclass(frozen=True, slots=True)
class Cut:
    """An epoch on its way: `arrival` on LSL's clock, the rest on `time.monotonic`, s.

    `arrival` None: the stream's times do not agree with that clock.
    `number` counts the epochs that were cut before it; `adapter` is what decodes it.
    """

    epoch: Epoch
    arrival: float | None
    pulled: float
    filtered: float
    submitted: float
    number: int = 0
    adapter: AdapterKey = field(default_factory=AdapterKey)


def seed_of(seed: int, epoch: Epoch) -> int:
    """Seed of an epoch's picture: made of the session's seed and the epoch's own samples only."""
    digest = hashlib.sha256(seed.to_bytes(8, "little") + epoch.data.tobytes()).digest()
    return int.from_bytes(digest[:7], "little")


def refusal(marker: Marker, outcome: Outcome, reason: str, epoch: Epoch | None = None) -> Result:
    """Make the result of a marker that was not decoded."""
    return Result(
        index=marker.index,
        t_onset=marker.t_onset,
        label=marker.label,
        outcome=outcome,
        reason=reason,
        quality={} if epoch is None else epoch.quality,
        epoch_data=None if epoch is None else epoch.data,
        epoch_channels=() if epoch is None else epoch.info.ch_names,
    )


@cache
def _version() -> str:
    """Our own; looked up once, because the look-up reads files."""
    return version("phosphene")


def decoded(
    answer: Answer,
    job: Job,
    cut: Cut,
    *,
    config: SessionConfig,
    candidates: Gallery,
    folder: SessionFolder,
    spec: EncoderSpec,
    sampler_sha256: str,
    recording_sha256: str = "",
    retrieved: tuple[tuple[str, float], ...] = (),
    repetitions: Repetitions | None = None,
) -> Result:
    """Rank the candidates, write the picture, hash both.

    Classes are ranked where the encoder decodes some; else the candidates, where the encoder's
    space is theirs. There is a confidence where the encoder states one. `recording_sha256` is of
    the recording that is replayed: whether the encoder was fitted to this epoch. `retrieved` is
    what lies nearest to its vector in a store (`nearest`); `repetitions` sums up what is a test.

    Raises
    ------
    PhospheneError
        The answer has no vector and picture, or not the gallery's kind of vector.
    """
    epoch, vector, pixels = cut.epoch, answer.vector, answer.pixels
    if vector is None or pixels is None:
        raise PhospheneError(f"the decoder gave no picture of epoch {epoch.index}.")
    if answer.classes and config.decoder.rank_classes:
        ranking = rank_classes(answer.classes, spec, epoch.event)
    else:
        ranking = rank_pictures(vector, spec, epoch.event, candidates.in_space(spec.space))
    digest = hashlib.sha256(np.ascontiguousarray(vector, dtype="<f4").tobytes()).hexdigest()
    provenance = {
        "phosphene:index": str(epoch.index),
        "phosphene:t_onset": repr(epoch.t_onset),
        "phosphene:label": epoch.event,
        "phosphene:seed": str(job.seed),
        "phosphene:embedding_sha256": digest,
        "phosphene:encoder_sha256": spec.sha256,
        "phosphene:sampler_sha256": sampler_sha256,
        "phosphene:system": config.decoder.system,
        "phosphene:steps": str(config.decoder.num_inference_steps),
        # Its name: where it lies does not make another picture.
        "phosphene:adapter": Path(cut.adapter.folder).name,
        "phosphene:version": _version(),
    }
    if config.decoder.generator is not None:
        provenance["phosphene:generator"] = Path(config.decoder.generator).name
    if config.decoder.guidance_scale not in (None, 1.0):
        provenance["phosphene:guidance"] = str(config.decoder.guidance_scale)
    path, image_sha256 = folder.write_image(epoch.index, encode_png(pixels, provenance))
    if answer.control_pixels is not None:
        control = provenance | {"phosphene:control": "phase-scrambled EEG of the same epoch"}
        png = encode_png(answer.control_pixels, control)
        folder.write_image(epoch.index, png, below="controls")
    learnt = is_learnt(epoch, spec, recording_sha256)
    summed: tuple[SummedRanking, ...] = ()
    if repetitions is not None and not learnt:
        prior = dict(zip(spec.classes, spec.prior, strict=False)) if ranking.is_classes else {}
        summed = repetitions.take(epoch.event, ranking, prior=prior, n_top=N_TOP)
    return Result(
        index=epoch.index,
        t_onset=epoch.t_onset,
        label=epoch.event,
        outcome=Outcome.DECODED,
        top=ranking.top[:N_TOP],
        chance=ranking.chance,
        rank=ranking.rank,
        classes=ranking.top if ranking.is_classes else (),
        truth=ranking.truth,
        retrieved=retrieved,
        learnt=learnt,
        summed=summed,
        confidence=answer.confidence if spec.states_confidence else None,
        pixels=pixels,
        image_path=path,
        image_sha256=image_sha256,
        embedding_sha256=digest,
        quality=epoch.quality,
        epoch_data=epoch.data,
        epoch_channels=epoch.info.ch_names,
        control_pixels=answer.control_pixels,
        decoded_by=answer.decoded_by,
    )


def nearest(
    vector: Float32, spec: EncoderSpec, store: VectorStore | None
) -> tuple[tuple[str, float], ...]:
    """What of a store lies nearest to a vector; nothing where the spaces differ.

    Raises
    ------
    RetrievalError
        The store is damaged.
    """
    if store is None or store.facts.space != spec.space:
        return ()
    return tuple((hit.label, hit.cosine) for hit in store.search(vector, N_TOP))


def is_learnt(epoch: Epoch, spec: EncoderSpec, recording_sha256: str) -> bool:
    """Whether an epoch of a recording reaches into what the encoder was fitted to."""
    first, last = epoch.t_onset + epoch.tmin, epoch.t_onset + epoch.tmax
    return bool(recording_sha256) and any(
        sha256 == recording_sha256 and first <= stop and last >= start
        for sha256, start, stop in spec.learnt
    )


def stages_of(
    cut: Cut, answer: Answer, *, now: float, returned: float, is_live: bool
) -> StageTimes | None:
    """Milliseconds by stage; None where the stream's times jumped and say nothing of latency.

    The parts are differences of `time.monotonic` in two processes; the total is taken apart from
    them, on LSL's clock, so that the sum is a check and not a tautology. `now` is LSL's clock,
    `returned` is monotonic, when the picture was back.
    """
    end = cut.epoch.t_onset + cut.epoch.tmax
    # The recording's clock is not the present: a replay has no arrival.
    arrival, total = 0.0, returned - cut.pulled
    if is_live:
        if cut.arrival is None:
            return None
        arrival, total = cut.arrival - end, now - end
    return StageTimes(
        arrival=1000 * arrival,
        filter=1000 * (cut.filtered - cut.pulled),
        epoch=1000 * (cut.submitted - cut.filtered),
        queue=1000 * (answer.started - cut.submitted),
        encode=1000 * (answer.encoded - answer.started),
        sample=1000 * (returned - answer.encoded - answer.network),
        total_after_epoch=1000 * total,
        network=1000 * answer.network,
    )


def result_event(
    result: Result,
    *,
    observed: bool,
    overrides: Overrides = MappingProxyType({}),
    batch: Batch | None = None,
) -> dict[str, Any]:
    """The result as the recording's events stream carries it (and as a replay reads it back)."""
    return {
        "index": result.index,
        "t_onset": result.t_onset,
        "label": result.label,
        "outcome": str(result.outcome),
        "image_sha256": result.image_sha256,
        "embedding_sha256": result.embedding_sha256,
        "observed": observed,
        **({"overrides": dict(overrides)} if overrides else {}),
        **({"decoded_by": result.decoded_by} if result.decoded_by else {}),
        **({} if batch is None else {"batch": list(batch)}),
    }


def quality_event(newest: Sequence[ChannelQuality]) -> dict[str, Any]:
    """A second's verdict on every channel, for the recording: grade, reason, peak-to-peak."""
    channels = {one.ch_name: [str(one.grade), one.reason, round(one.ptp_uv, 2)] for one in newest}
    return {"quality": channels}
