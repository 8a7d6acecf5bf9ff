"""One decoding system, ready to run: an encoder and a sampler that fit each other.

Owns loading by name and the settings of torch that make a picture repeatable. Knows no system by
name, and nothing of streams, processes or windows.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from configs import DecoderConfig
from configs.guard import UnfitFileError, check_tree
from models.accelerators import choose_dtype
from models.api import (
    Aligning,
    Encoder,
    EncoderSpec,
    ExpectsCovariance,
    KnowsGalleries,
    Sampler,
    SavesMemory,
    StatesOptions,
)
from models.engines import Drawing, Found, find_engine
from models.generators import choose_generator
from models.pace import Pace
from models.registry import (
    UnknownSystemError,
    find_system,
    load_function,
    named,
    names_with,
    not_a,
    open_encoder,
    read_registry,
)
from models.repeatable import make_repeatable
from models.sampling.backends.choice import Choice, choose
from models.sampling.backends.engines import Engine, Say, weights_hash
from models.sampling.parts import HasParts, Part
from models.sampling.watching import timed, watched
from pipeline.gallery import load_gallery
from pipeline.values import Epoch, Info

QUICK = 1.0
"""Where no part of a picture takes longer, it is measured again on warm code, s."""


@dataclass(frozen=True, slots=True)
class System:
    """An encoder and a sampler that fit each other."""

    name: str
    encoder: Encoder
    sampler: Sampler
    versions: Mapping[str, str]
    idle: tuple[str, ...] = ()
    """Sentences on settings of the session that this system has no use for."""
    config: DecoderConfig = field(default_factory=DecoderConfig)
    """The settings that it was loaded by, resolved: device, back-end and type by name."""
    engine: Engine | None = None
    """What draws in the place of its networks; None: they do (eager)."""
    due: Choice | None = None
    """What has yet to be built, by `build_engine`, while eager draws; None: nothing."""

    @property
    def options(self) -> Mapping[str, str | int | float]:
        """Which settings act on its pictures, as far as its sampler says so."""
        own = sampler_options(self.sampler)
        return own if self.config.backend == "eager" else {**own, **self.settled}

    @property
    def settled(self) -> Mapping[str, str]:
        """What draws, as settings of `decoder`: a session by them draws the same pictures."""
        config = self.config
        return {"device": config.device, "backend": config.backend, "dtype": config.dtype}

    def build_engine(
        self, choice: Choice | None = None, *, say: Say = lambda _: None, is_fresh: bool = False
    ) -> Found:
        """Build the engine that `choice` asks for, or find it; nothing draws with it yet.

        From any thread, while this system draws: another process builds. A back-end whose engines
        live in one process alone (trace, Inductor) draws a short picture here first.
        """
        torch.set_grad_enabled(False)  # by thread
        chosen = (self.due or choose(self.config)) if choice is None else choice
        meant = replace(self, config=_settled(self.config, chosen))
        return find_engine(_drawing(meant), chosen, say=say, is_fresh=is_fresh, builds=True)

    def use(self, engine: Engine | None) -> System:
        """Draw with `engine` from the next picture on (None: eager); return what it is then.

        Between two pictures only. An engine that was used before may be used again: A, B, A draws
        what A drew.
        """
        parts = parts_of(self.sampler)
        if engine is None:
            for part in parts:
                part.use(None)
            settled = {"backend": "eager", "dtype": _eager_dtype(self.config)}
            return replace(self, engine=None, config=self.config.model_copy(update=settled))
        engine.use(parts)
        versions = {**self.versions, **engine.versions}
        settled = {"backend": engine.backend, "dtype": engine.target.dtype}
        config = self.config.model_copy(update=settled)
        return replace(self, engine=engine, versions=versions, config=config, due=None)

    @property
    def can_save_memory(self) -> bool:
        """Whether `decoder.low_memory` changes anything."""
        return isinstance(self.sampler, SavesMemory) and self.sampler.can_save_memory

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences on settings that do not act as one would think."""
        own = self.sampler.remarks if isinstance(self.sampler, StatesOptions) else ()
        return (*self.idle, *own)

    def measure(self) -> Pace:
        """Find out how long a picture takes; afterwards the first real epoch meets warm code.

        A picture of noise is begun: two steps and what comes after the last one. Where that is
        quick it is done twice, so that the times are those of warm code. A sampler that takes no
        steps of `models.sampling` draws whole pictures.
        """
        pace = self._measured()
        return self._measured() if pace.longest < QUICK else pace

    def _measured(self) -> Pace:
        began = perf_counter()
        embedding = self.encoder.encode(noise_epoch(self.encoder.spec))
        encoded = perf_counter()
        with timed(_synchronise) as runs:
            self.sampler.sample(embedding, seed=0)
        drawn = perf_counter() - encoded
        if not runs:
            return Pace(encoded - began, 0, 0.0, drawn, n_runs=0)
        taken = sum(run.taken for run in runs)
        longest = max(range(len(runs)), key=lambda i: runs[i].n_steps * runs[i].step)
        others = sum(r.n_steps * r.step for i, r in enumerate(runs) if i != longest)
        return Pace(
            encode=encoded - began,
            n_steps=runs[longest].n_steps,
            step=runs[longest].step,
            rest=max(0.0, drawn - taken) + others,
            run=longest,
            n_runs=len(runs),
        )


def _synchronise() -> None:
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()


def check_window(encoder: Encoder, *, tmin: float, tmax: float) -> None:
    """Refuse windows of `tmin` to `tmax` s if the encoder does, before anything is drawn.

    Raises
    ------
    PhospheneError
        What the encoder says of such an epoch; one sentence.
    """
    spec = encoder.spec
    slack = 1.5 / spec.input.sfreq
    if spec.input.kind != "eeg" or spec.input.n_times:
        return
    if tmin - slack <= spec.tmin and spec.tmax <= tmax + slack:
        return
    encoder.encode(noise_epoch(replace(spec, tmin=tmin, tmax=tmax)))


def noise_epoch(spec: EncoderSpec, *, seed: int = 0, oversampling: int = 1) -> Epoch:
    """Make an epoch of noise that an encoder takes, at `oversampling` times its rate."""
    given = spec.input
    numbered = tuple(f"{given.kind}{i + 1}" for i in range(given.n_channels or 0))
    ch_names = given.ch_names or given.montage or numbered or ("O1", "Oz", "O2", "P7", "P8")
    sfreq = oversampling * given.sfreq
    n_times = given.n_times or round((spec.tmax - spec.tmin) * sfreq) + 1
    noise = np.random.default_rng(seed).normal(0, 10, (len(ch_names), n_times))
    return Epoch(
        data=noise.astype(np.float32),
        tmin=spec.tmin,
        tmax=spec.tmax,
        t_onset=0.0,
        event="",
        info=Info(ch_names, sfreq, (given.kind,) * len(ch_names)),
        index=0,
    )


def load_system(
    config: DecoderConfig, *, gallery: str | None = None, say: Say = lambda _: None
) -> System:
    """Load the encoder and the generator that `config` names, and what draws for them.

    An engine that was built before is used at once. One that is asked for by name and is not there
    is built first; `say` takes its progress. With `config.build` "meanwhile" it is `System.due`.
    `gallery` is a session's: a generator that can draws its own pictures (`config.own_pictures`).

    Raises
    ------
    PhospheneError
        A name is unknown, a weight file is missing or damaged, the two do not fit, or the back-end
        is not installed; one sentence.
    """
    if config.backend == "eager" and config.dtype == "float32":
        return load_plain(config, gallery=gallery)
    choice = choose(config)
    system = load_plain(_settled(config, choice), gallery=gallery)
    is_put_off = config.build == "meanwhile"
    found = find_engine(_drawing(system), choice, say=say, is_put_off=is_put_off)
    if choice.first[0].name != "eager":
        system = system.use(found.engine)
    due = choice if found.is_due else None
    return replace(system, idle=(*system.idle, *found.remarks), due=due)


def _settled(config: DecoderConfig, choice: Choice) -> DecoderConfig:
    """The settings with what is meant to draw by name."""
    backend, target = choice.first
    settled = {"device": target.device, "backend": backend.name, "dtype": target.dtype}
    return config.model_copy(update=settled)


def parts_of(sampler: Sampler) -> tuple[Part, ...]:
    """The networks of a sampler that an engine can take the place of; empty: none."""
    return sampler.parts if isinstance(sampler, HasParts) else ()


def sampler_options(sampler: Sampler) -> dict[str, str | int | float]:
    """What acts on a sampler's pictures, as far as it says so."""
    return dict(sampler.options) if isinstance(sampler, StatesOptions) else {}


def drawing_of(system: System) -> Callable[[], object]:
    """What draws a picture of noise that ends after two steps."""
    embedding = system.encoder.encode(noise_epoch(system.encoder.spec))

    def draw() -> object:
        with torch.no_grad(), watched(lambda taken, n: taken == min(2, n)):
            return system.sampler.sample(embedding, seed=0)

    return draw


def _drawing(system: System) -> Drawing:
    parts = parts_of(system.sampler)
    return Drawing(
        config=system.config,
        parts=parts,
        weights=cache(lambda: weights_hash(parts)),
        options=sampler_options(system.sampler),
        draw=drawing_of(system),
    )


def _eager_dtype(config: DecoderConfig) -> str:
    return str(choose_dtype(config)).removeprefix("torch.")


def load_plain(config: DecoderConfig, *, gallery: str | None = None) -> System:
    """Load the encoder and the generator that `config` names; eager draws.

    `gallery` as in `load_system`.

    Raises
    ------
    PhospheneError
        A name is unknown, a weight file is missing or damaged, or the two do not fit; one
        sentence.
    """
    make_repeatable(config.threads)
    _check_folders(config)
    encoder = load_encoder(config)
    sampler = load_sampler(config)
    is_own = choose_generator(config)[0].descriptor.name == config.system
    if encoder.spec.space != sampler.spec.space or not (encoder.spec.space or is_own):
        raise UnknownSystemError(
            f"{encoder.spec.name} gives vectors of the space {encoder.spec.space or 'its own'!r}, "
            f"the generator {sampler.spec.name} takes {sampler.spec.space or 'its own'!r}: "
            f"{_fitting(encoder.spec.space)}."
        )
    if gallery is not None and config.own_pictures and isinstance(sampler, KnowsGalleries):
        sampler.know(load_gallery(gallery))
    idle = (
        f"{config.system} follows nobody: --align (decoder.align) changes nothing with it."
        if config.align and not isinstance(encoder, Aligning)
        else ""
    )
    return System(
        name=config.system,
        encoder=encoder,
        sampler=sampler,
        versions={"torch": str(torch.__version__), "diffusers": version("diffusers")},
        idle=(idle,) if idle else (),
        config=config,
    )


def _fitting(space: str) -> str:
    """Say which generators draw a space."""
    systems = read_registry().systems
    found = [name for name in names_with("sampler") if systems[name].descriptor.space == space]
    if not found or not space:
        return "no generator of that space is installed"
    return f"choose decoder.generator = {' or '.join(repr(name) for name in found)}"


def _check_folders(config: DecoderConfig) -> None:
    """Refuse folders of a stranger's settings that hold what would hang whoever opens it."""
    for folder in (config.weights, config.generator, config.adapter):
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
    encoder = find_system(config.system).descriptor.encoder
    sampler = choose_generator(config)[0].descriptor.sampler
    for text in (encoder, sampler, "models.adapters:"):
        if text:
            importlib.import_module(text.partition(":")[0])


def load_encoder(config: DecoderConfig, *, plain: Encoder | None = None) -> Encoder:
    """Load the encoder alone, the adapter's where `config` names one; from any thread.

    Where it can be aligned to a person, it stands behind online alignment, which begins frozen
    and then changes nothing. `plain` is the system's own encoder where it is loaded already: many
    people's adapters and alignments may stand behind one.

    Raises
    ------
    PhospheneError
        A file is missing or damaged, or the adapter is none of this encoder.
    """
    # Torch keeps this setting by thread.
    torch.set_grad_enabled(False)
    encoder = open_encoder(config) if plain is None else plain
    if config.adapter is not None:
        from models.adapters import load_live

        return load_live(Path(config.adapter), encoder=encoder, is_bounded=config.doubt_session)
    if isinstance(encoder, ExpectsCovariance):
        from models.adapters import OnlineAligned

        return OnlineAligned(
            encoder,
            reference=encoder.expected_covariance,
            is_bounded=config.doubt_session,
            is_of_pool=True,
        )
    return encoder


def load_sampler(config: DecoderConfig) -> Sampler:
    """Load the generator alone: the system's own, or the chosen one.

    Raises
    ------
    PhospheneError
        A file is missing or damaged, or there is no such generator.
    """
    found, weights = choose_generator(config)
    with named(found):
        own = config.model_copy(update={"weights": weights})
        sampler = load_function(found.descriptor.sampler)(own)
    if not isinstance(sampler, Sampler):
        raise UnknownSystemError(not_a("sampler", found))
    return sampler
