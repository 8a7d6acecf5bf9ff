"""Engines built before a session needs them, and what they are worth on this machine.

Owns building them one back-end after the other, and the comparison with eager. Knows nothing of
sessions or of printing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from configs import DecoderConfig
from models.accelerators import choose_dtype
from models.engines import Found
from models.pace import Pace
from models.sampling.backends.base import Backend, BackendError, Prepares, Target
from models.sampling.backends.choice import Choice, choose
from models.sampling.backends.engines import Say
from models.systems import System, load_plain, parts_of

TURNS = 3
"""Times that eager and an engine take turns; the least time of each counts."""


@dataclass(frozen=True, slots=True)
class Built:
    """A back-end's engine of one system, or why there is none.

    Attributes
    ----------
    backend, device, dtype : str
    reason : str
        Why there is no engine; empty: there is one.
    is_kept : bool
        Whether later processes find it; else it is made anew in each.
    n_bytes : int
        Of the engine, without weights that it takes from the model; 0: it is no bytes.
    seconds : float
        That building and checking it took, s, when that was.
    deviation, tolerance : float
        Largest difference from eager that was found before rounding, and the largest allowed one,
        as parts of the largest value.
    picture, eager : float
        Time of a picture by the engine and by eager, taking turns, s.
    """

    backend: str
    device: str
    dtype: str
    reason: str = ""
    is_kept: bool = False
    n_bytes: int = 0
    seconds: float = 0.0
    deviation: float = 0.0
    tolerance: float = 0.0
    picture: float = 0.0
    eager: float = 0.0


def build_ahead(
    config: DecoderConfig, *, say: Say = lambda _: None, is_fresh: bool = False
) -> Iterator[Built]:
    """Build the engines of every back-end that a session by `config` may draw by.

    Each is given as soon as it is measured. `config.backend` names one; `auto` means all that are
    installed.

    Parameters
    ----------
    say : callable
        Takes a line of progress.
    is_fresh : bool
        Build and check what is there already as well.

    Raises
    ------
    PhospheneError
        The system cannot be loaded, or the named back-end is not installed.
    """
    system: System | None = None
    for backend, target in choose(config).candidates:
        if backend.name == "eager":
            continue
        settled = {"device": target.device, "backend": backend.name, "dtype": target.dtype}
        system = _loaded(config.model_copy(update=settled), system, say=say)
        yield _built(system, backend, target, say=say, is_fresh=is_fresh)


def _loaded(config: DecoderConfig, before: System | None, *, say: Say) -> System:
    """The system by `config`: the one before where its modules are the same, for they may be large.

    Raises
    ------
    BackendError
        Its sampler shows no networks.
    """
    if before is not None and (before.config.device, choose_dtype(before.config)) == (
        config.device,
        choose_dtype(config),
    ):
        return replace(before, config=config)
    say("loading the networks")
    system = load_plain(config)
    if not parts_of(system.sampler):
        raise BackendError(
            f"{config.system} shows no networks to back-ends: eager draws its pictures, and there "
            "is nothing to build."
        )
    return system


def _built(system: System, backend: Backend, target: Target, *, say: Say, is_fresh: bool) -> Built:
    said: list[str] = []

    def named(line: str) -> None:
        said.append(line)
        say(f"{backend.name}: {line}")

    one = Choice(((backend, target),), is_asked=True, why="")
    found = system.build_engine(one, say=named, is_fresh=is_fresh)
    plain = Built(backend.name, target.device, target.dtype)
    if found.engine is None:
        return replace(plain, reason=_reason(found, backend))
    manifest = found.engine.manifest
    named("measuring")
    picture, eager = _measured(system, found)
    return replace(
        plain,
        is_kept=not isinstance(backend, Prepares),
        n_bytes=manifest.n_bytes,
        seconds=manifest.seconds,
        deviation=max(manifest.deviations.values(), default=0.0),
        tolerance=manifest.tolerance,
        picture=picture,
        eager=eager,
    )


def _measured(system: System, found: Found) -> tuple[float, float]:
    """Time of a picture by an engine and by eager, s."""
    times: tuple[list[Pace], list[Pace]] = ([], [])
    for _ in range(TURNS):
        times[0].append(system.use(found.engine).measure())
        times[1].append(system.use(None).measure())
    return _least(times[0]), _least(times[1])


def _least(paces: Sequence[Pace]) -> float:
    return min(pace.picture - pace.encode for pace in paces)


def _reason(found: Found, backend: Backend) -> str:
    said = [
        each.removeprefix(f"The back-end {backend.name} is not used: ") for each in found.remarks
    ]
    return said[0] if said else "it made none."
