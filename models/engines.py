"""Which engine draws for a system: found, built where that was asked for, or eager with a word.

Owns the way from settings to an engine that is checked and ready. Knows no system and no back-end
by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from configs import DecoderConfig
from models.sampling.backends.base import Backend, BackendError, Builds, Prepares, Target
from models.sampling.backends.cache import EngineCache
from models.sampling.backends.choice import Choice
from models.sampling.backends.engines import (
    Engine,
    Say,
    key_of,
    load,
    load_shipped,
    prepare,
)
from models.sampling.backends.spawn import build_apart, request_of
from models.sampling.parts import Part
from pipeline.errors import PhospheneError

TROUBLE = (PhospheneError, RuntimeError, ValueError, TypeError, OSError, ImportError)
"""What back-ends raise of their own; a crash of theirs is their process's."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What was found: an engine (None: eager draws), and sentences on what was passed over.

    `is_due`: the engine that was asked for has yet to be built.
    """

    engine: Engine | None
    remarks: tuple[str, ...] = ()
    is_due: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """A system as engines see it.

    Attributes
    ----------
    config : DecoderConfig
        Resolved: what the building process loads the same networks by.
    parts : sequence of Part
    options : mapping
        The sampler's.
    draw : callable
        Draws a short picture of noise.
    weights : callable
        Hash of the parts' weights.
    """

    config: DecoderConfig
    parts: Sequence[Part]
    options: Mapping[str, object]
    draw: Callable[[], object]
    weights: Callable[[], str]
    cache: EngineCache = field(default_factory=EngineCache)


def find_engine(
    drawing: Drawing,
    choice: Choice,
    *,
    say: Say = lambda _: None,
    is_fresh: bool = False,
    builds: bool | None = None,
    is_put_off: bool = False,
) -> Found:
    """Take the first back-end of a choice whose engine is there, can be made, and passes its check.

    Parameters
    ----------
    is_fresh : bool
        Build anew what was built already.
    builds : bool or None
        Whether to build what is not there; None: where it was asked for by name, and of networks
        that ship with Phosphene, which are small.
    is_put_off : bool
        Leave what another process would build for later, and say so.
    """
    small = bool(drawing.parts) and all(part.graph is not None for part in drawing.parts)
    remarks: list[str] = []
    absent: list[str] = []
    for backend, target in choice.candidates:
        if backend.name == "eager":
            break
        if not drawing.parts:
            if choice.is_asked:
                remarks.append(f"{drawing.config.system} shows no networks to {backend.name}.")
            break
        may_build = (choice.is_asked or small) if builds is None else builds
        waits = may_build and is_put_off and not small and isinstance(backend, Builds)
        try:
            engine = _engine(
                drawing, backend, target, say=say, fresh=is_fresh, builds=may_build and not waits
            )
        except TROUBLE as error:
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            remarks.append(f"The back-end {backend.name} is not used: {reason}")
            for part in drawing.parts:
                part.use(None)
            continue
        if engine is not None:
            return Found(engine, tuple(remarks))
        if waits:
            remarks.append(
                f"An engine of {backend.name} is built meanwhile; eager draws until it is there "
                "(decoder.build)."
            )
            return Found(None, tuple(remarks), is_due=True)
        absent.append(backend.name)
    if absent:
        remarks.append(
            f"No engine of these networks is kept yet ({', '.join(absent)} could draw): "
            "`phosphene compile` with these settings builds them and says what they gain."
        )
    if remarks:
        remarks.append("Pictures are drawn by eager.")
    return Found(None, tuple(remarks))


def _engine(
    drawing: Drawing, backend: Backend, target: Target, *, say: Say, fresh: bool, builds: bool
) -> Engine | None:
    parts, cache = drawing.parts, drawing.cache
    if not builds and (isinstance(backend, Prepares) or not cache.usage()[0]):
        return None  # without a hash over gigabytes
    key = key_of(
        parts, backend=backend, target=target, options=drawing.options, weights=drawing.weights()
    )
    if isinstance(backend, Prepares):
        drawing.draw()
        return prepare(parts, backend=backend, target=target, key=key, draw=drawing.draw, say=say)
    if not isinstance(backend, Builds):
        raise BackendError(f"{backend.name} neither prepares nor builds.")
    if backend.takes_graphs and all(part.graph is not None for part in parts):
        return load_shipped(
            parts,
            backend=backend,
            target=target,
            key=key,
            cache=cache,
            draw=drawing.draw,
            is_fresh=fresh,
        )
    manifest = cache.find(key)
    if manifest is None or fresh:
        if not builds:
            return None
        request = request_of(
            drawing.config, backend=backend.name, target=target, cache=cache.folder
        )
        build_apart(request, say=say)
        manifest = cache.find(key)
        if manifest is None:
            raise BackendError("the process that builds it kept nothing.")
    return load(parts, manifest, backend=backend, target=target, cache=cache)
