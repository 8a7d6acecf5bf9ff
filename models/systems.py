"""One decoding system, ready to run: an encoder and a sampler that fit each other.

Owns loading by name and the settings of torch that make a picture repeatable. Knows no system by
name, and nothing of streams, processes or windows.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from configs import DecoderConfig
from configs.guard import UnfitFileError, check_tree
from models.api import (
    Aligning,
    Encoder,
    EncoderSpec,
    ExpectsCovariance,
    Sampler,
    StatesOptions,
    SystemDescriptor,
)
from models.registry import (
    Registered,
    UnknownSystemError,
    find_system,
    load_function,
    named,
    read_registry,
)
from pipeline.values import Epoch, Info


@dataclass(frozen=True, slots=True)
class System:
    """An encoder and a sampler that fit each other."""

    name: str
    encoder: Encoder
    sampler: Sampler
    versions: Mapping[str, str]
    idle: tuple[str, ...] = ()
    """Sentences on settings of the session that this system has no use for."""

    @property
    def options(self) -> Mapping[str, str | int | float]:
        """Which settings act on its pictures, as far as its sampler says so."""
        return self.sampler.options if isinstance(self.sampler, StatesOptions) else {}

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences on settings that do not act as one would think."""
        own = self.sampler.remarks if isinstance(self.sampler, StatesOptions) else ()
        return (*self.idle, *own)

    def warm_up(self) -> None:
        """Decode one epoch of noise, so that the first real one meets warm code."""
        epoch = noise_epoch(self.encoder.spec)
        for _ in range(2):
            self.sampler.sample(self.encoder.encode(epoch), seed=0)


def noise_epoch(spec: EncoderSpec, *, seed: int = 0) -> Epoch:
    """Make an epoch of noise that an encoder takes."""
    given = spec.input
    numbered = tuple(f"{given.kind}{i + 1}" for i in range(given.n_channels or 0))
    ch_names = given.ch_names or given.montage or numbered or ("O1", "Oz", "O2", "P7", "P8")
    n_times = given.n_times or round((spec.tmax - spec.tmin) * given.sfreq) + 1
    noise = np.random.default_rng(seed).normal(0, 10, (len(ch_names), n_times))
    return Epoch(
        data=noise.astype(np.float32),
        tmin=spec.tmin,
        tmax=spec.tmax,
        t_onset=0.0,
        event="",
        info=Info(ch_names, given.sfreq, (given.kind,) * len(ch_names)),
        index=0,
    )


def load_system(config: DecoderConfig) -> System:
    """Load the encoder and the generator that `config` names.

    Raises
    ------
    PhospheneError
        A name is unknown, a weight file is missing or damaged, or the two do not fit; one
        sentence.
    """
    _make_repeatable(config.threads)
    _check_folders(config)
    encoder = load_encoder(config)
    sampler = load_sampler(config)
    if encoder.spec.space != sampler.spec.space:
        raise UnknownSystemError(
            f"{encoder.spec.name} gives vectors of the space {encoder.spec.space or 'its own'!r}, "
            f"the generator {sampler.spec.name} takes {sampler.spec.space or 'its own'!r}: "
            f"{_fitting(encoder.spec.space)}."
        )
    import diffusers

    idle = (
        f"{config.system} follows nobody: --align (decoder.align) changes nothing with it."
        if config.align and not isinstance(encoder, Aligning)
        else ""
    )
    return System(
        name=config.system,
        encoder=encoder,
        sampler=sampler,
        versions={"torch": str(torch.__version__), "diffusers": diffusers.__version__},
        idle=(idle,) if idle else (),
    )


def _fitting(space: str) -> str:
    """Say which generators draw a space."""
    found = [
        name
        for name, each in read_registry().systems.items()
        if space and each.descriptor.sampler and each.descriptor.space == space
    ]
    if not found:
        return "no generator of that space is installed"
    return f"choose decoder.generator = {' or '.join(repr(name) for name in found)}"


def _check_folders(config: DecoderConfig) -> None:
    """Refuse folders of a stranger's settings that hold what would hang whoever opens it."""
    for folder in (config.weights, config.adapter):
        try:
            if folder is not None:
                check_tree(folder)
        except UnfitFileError as error:
            raise UnknownSystemError(
                f"{error.filename} cannot be read ({error}): give a folder of weights on the disk."
            ) from None
        except OSError:
            continue  # what is missing, and what it takes, its loader says better


def import_system(config: DecoderConfig) -> None:
    """Import the modules of the system that `config` names, and load nothing."""
    found = find_system(config.system).descriptor
    for text in (found.encoder, found.sampler, "models.adapters:"):
        if text:
            importlib.import_module(text.partition(":")[0])


def load_encoder(config: DecoderConfig) -> Encoder:
    """Load the encoder alone, the adapter's where `config` names one; from any thread.

    Where it can be aligned to a person, it stands behind online alignment, which begins frozen
    and then changes nothing.

    Raises
    ------
    PhospheneError
        A file is missing or damaged, or the adapter is none of this encoder.
    """
    # Torch keeps this setting by thread.
    torch.set_grad_enabled(False)
    found = _found(config.system, "encoder")
    with named(found):
        encoder = load_function(found.descriptor.encoder)(config)
    if not isinstance(encoder, Encoder):
        raise UnknownSystemError(_not_a("encoder", found))
    if config.adapter is not None:
        from models.adapters import load_live

        return load_live(Path(config.adapter), encoder=encoder)
    if isinstance(encoder, ExpectsCovariance):
        from models.adapters import OnlineAligned

        return OnlineAligned(encoder, reference=encoder.expected_covariance)
    return encoder


def load_sampler(config: DecoderConfig) -> Sampler:
    """Load the generator alone.

    Raises
    ------
    PhospheneError
        A file is missing or damaged, or the system has no generator.
    """
    found = _found(config.system, "sampler")
    with named(found):
        sampler = load_function(found.descriptor.sampler)(config)
    if not isinstance(sampler, Sampler):
        raise UnknownSystemError(_not_a("sampler", found))
    return sampler


def _found(name: str, part: str) -> Registered:
    found = find_system(name)
    descriptor: SystemDescriptor = found.descriptor
    if not (descriptor.encoder if part == "encoder" else descriptor.sampler):
        state = f"brings no {part}" if descriptor.is_implemented else "cannot run yet"
        raise UnknownSystemError(
            f"system {name!r} {state}: see `phosphene systems` for what each one is."
        )
    return found


def _not_a(part: str, found: Registered) -> str:
    return (
        f"the {part} of {found.descriptor.name!r} ({found.distribution or 'phosphene'}) is none as "
        "models.api describes it: see docs/how-to/add-a-system.md."
    )


def _make_repeatable(threads: int) -> None:
    # The order of a sum depends on how many threads share it: one count, one picture.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_grad_enabled(False)
