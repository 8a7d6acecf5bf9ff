"""Whether an encoder and a sampler keep the contract of `models.api`.

Owns the checks that `phosphene systems NAME --check` and the tests run over every registered
system, ours and other people's. Each gives sentences; none: the contract is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from configs import DecoderConfig
from configs.plugins import reason_of
from models.api import Encoder, EncoderSpec, Sampler, SamplerSpec, StatesOptions
from models.registry import find_system
from models.systems import load_system, noise_epoch
from pipeline.errors import PhospheneError
from pipeline.values import Embedding, Epoch, GeneratedImage, Info

_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_system(name: str) -> Iterator[str]:
    """Load what a system brings, and hold it against its description and the contract.

    A generator alone is checked with vectors of the default system.

    Raises
    ------
    PhospheneError
        It is unknown, cannot be loaded, or does not fit.
    """
    descriptor = find_system(name).descriptor
    config = DecoderConfig(generator=name)
    if descriptor.encoder:
        config = DecoderConfig(system=name)
    system = load_system(config)
    if descriptor.encoder:
        yield from check_encoder(system.encoder)
    epoch = noise_epoch(system.encoder.spec)
    yield from check_sampler(system.sampler, system.encoder.encode(epoch))
    if descriptor.space != system.encoder.spec.space:
        real = system.encoder.spec.space
        yield f"it is described with the space {descriptor.space!r}, but has {real!r}"


def check_encoder(encoder: Encoder) -> Iterator[str]:
    """Hold an encoder against its own spec; one sentence for each thing that is not so."""
    spec = encoder.spec
    yield from _check_spec(spec)
    epoch = replace(noise_epoch(spec), index=7, t_onset=3.5)
    first = encoder.encode(epoch)
    yield from _check_embedding(first, spec, epoch)
    encoder.encode(noise_epoch(spec, seed=1))
    if not np.array_equal(encoder.encode(epoch).vector, first.vector):
        yield "the same epoch gives another vector the second time"
    for what, wrong, must in _wrong_epochs(epoch, spec):
        yield from _check_refusal(what, partial(encoder.encode, wrong), must=must)


def check_sampler(sampler: Sampler, embedding: Embedding) -> Iterator[str]:
    """Hold a sampler against its own spec, with an embedding of its space."""
    spec = sampler.spec
    yield from _check_identity(spec)
    if min(spec.size) < 1 or spec.steps < 0:
        yield f"spec.size is {spec.size} and spec.steps {spec.steps}, expected sizes from 1 on"
    first = sampler.sample(embedding, seed=5)
    yield from _check_picture(first, embedding, spec)
    other = sampler.sample(embedding, seed=6)
    if not np.array_equal(sampler.sample(embedding, seed=5).pixels, first.pixels):
        yield "the same embedding and seed give another picture the second time"
    if spec.steps and np.array_equal(other.pixels, first.pixels):
        yield "another seed gives the same picture"
    *outer, width = embedding.vector.shape
    wide = replace(embedding, vector=np.zeros((*outer, width + 1), np.float32))
    draw = partial(sampler.sample, wide, seed=5)
    yield from _check_refusal("a vector that is one too long", draw, must=True)
    if isinstance(sampler, StatesOptions):
        stated = sampler.options.get("steps", spec.steps)
        if stated != spec.steps:
            yield f"options say {stated} steps, spec {spec.steps}"


def _check_spec(spec: EncoderSpec) -> Iterator[str]:
    yield from _check_identity(spec)
    if not spec.tmin < spec.tmax or not spec.input.sfreq > 0 or spec.n_features < 1:
        yield (
            f"spec has tmin {spec.tmin}, tmax {spec.tmax}, sfreq {spec.input.sfreq} and "
            f"{spec.n_features} features, expected an interval, a rate and at least one feature"
        )
    if spec.temperature is not None and not spec.temperature > 0:
        yield f"spec.temperature is {spec.temperature}, expected more than 0"


def _check_identity(spec: EncoderSpec | SamplerSpec) -> Iterator[str]:
    if not spec.name:
        yield "spec.name is empty"
    if not _SHA256.fullmatch(spec.sha256):
        yield f"spec.sha256 is {spec.sha256!r}, expected 64 hexadecimal digits of its weights"


def _check_embedding(found: Embedding, spec: EncoderSpec, epoch: Epoch) -> Iterator[str]:
    if found.vector.size != spec.n_features:
        yield f"vectors have shape {found.vector.shape}, spec says {spec.n_features} features"
    if not np.isfinite(found.vector).all():
        yield "vectors hold NaN or infinity"
    if (found.index, found.t_onset) != (epoch.index, epoch.t_onset):
        yield "an embedding has not the index and onset of its epoch"
    if (found.confidence is not None) != spec.states_confidence:
        yield f"spec.states_confidence is {spec.states_confidence}, but {found.confidence} came"


def _check_picture(found: GeneratedImage, embedding: Embedding, spec: SamplerSpec) -> Iterator[str]:
    if found.pixels.shape != (*spec.size, 3):
        yield f"pictures have shape {found.pixels.shape}, spec says {spec.size}"
    if (found.index, found.t_onset, found.seed) != (embedding.index, embedding.t_onset, 5):
        yield "a picture has not the index, onset and seed that were given"


def _wrong_epochs(epoch: Epoch, spec: EncoderSpec) -> Iterator[tuple[str, Epoch, bool]]:
    """Epochs that do not fit: what is wrong, and whether the spec says that it cannot do."""
    given, n_channels = spec.input, len(epoch.info.ch_names)
    few = max(1, n_channels // 2)
    half = Info(epoch.info.ch_names[:few], given.sfreq, epoch.info.ch_types[:few])
    fewer = replace(epoch, data=epoch.data[:few], info=half)
    yield "half of the channels", fewer, bool(given.n_channels or given.ch_names)
    odd = tuple(f"nowhere {i}" for i in range(n_channels))
    unknown = replace(epoch, info=Info(odd, given.sfreq, epoch.info.ch_types))
    yield "labels that nobody knows", unknown, bool(given.ch_names)
    tmax = spec.tmin + 0.25 * (spec.tmax - spec.tmin)
    n_times = max(1, round((tmax - spec.tmin) * given.sfreq))
    short = replace(epoch, data=epoch.data[:, :n_times], tmax=tmax)
    yield "a quarter of the time", short, False


def _check_refusal(
    what: str, call: Callable[[], Embedding | GeneratedImage], *, must: bool
) -> Iterator[str]:
    """What does not fit is refused in one line, or dealt with where it can be."""
    try:
        found = call()
    except PhospheneError as error:
        if "\n" in str(error) or not str(error):
            yield f"{what} is refused in {str(error)!r}, expected one line"
    except Exception as error:  # noqa: BLE001 - whatever it raises is what is looked for
        yield f"{what} raises {reason_of(error)}, expected a PhospheneError of one line"
    else:
        if must:
            yield f"{what} is taken, expected a refusal as the spec says"
        elif isinstance(found, Embedding) and not np.isfinite(found.vector).all():
            yield f"{what} gives NaN or infinity"
