"""Our sampler on every back-end that is here, for `phosphene bench sampler`.

Owns building engines of networks that are only in memory, and the time that a picture spends in its
networks. As in `sampler_peers`, torch may be imported here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

from configs import DecoderConfig
from models.sampling.backends.base import Builds, Prepares, missing
from models.sampling.backends.cache import EngineCache
from models.sampling.backends.choice import BACKENDS, choose
from models.sampling.backends.engines import (
    Engine,
    Loaded,
    build,
    key_of,
    load,
    load_shipped,
    prepare,
)
from models.sampling.parts import Flat, Part, shapes_of
from pipeline.errors import PhospheneError

SLOW = "inductor"
"""Takes minutes on a CPU: only where it is asked for."""


def engines_of(
    parts: Sequence[Part],
    draw: Callable[[], object],
    *,
    device: str,
    dtype: str,
    compiled: bool,
) -> tuple[dict[str, Engine], list[str]]:
    """Build an engine of each back-end that is here; sentences on those that gave none."""
    kind = device.partition(":")[0]
    found: dict[str, Engine] = {}
    left: list[str] = []
    torch.set_grad_enabled(False)  # by thread, as a system that is loaded sets it
    for name, backend in BACKENDS.items():
        wanted = name != "eager" and dtype in backend.dtypes(kind)
        if not wanted or (name == SLOW and kind == "cpu" and not compiled):
            continue
        if absent := missing(backend):
            left.append(f"{name}: {absent}")
            continue
        try:
            found[name] = _engine(name, parts, draw, device=device, dtype=dtype)
        except (PhospheneError, RuntimeError, ValueError, TypeError, OSError) as error:
            left.append(f"{name}: {' '.join(str(error).split())[:200]}")
        for part in parts:
            part.use(None)
    return found, left


def _engine(
    name: str, parts: Sequence[Part], draw: Callable[[], object], *, device: str, dtype: str
) -> Engine:
    config = DecoderConfig(backend=name, dtype=dtype, device=device)
    config = config.model_copy(update={"threads": torch.get_num_threads()})
    backend, target = choose(config, BACKENDS).first
    key = key_of(parts, backend=backend, target=target, options={})
    draw()
    if isinstance(backend, Prepares):
        return prepare(
            parts, backend=backend, target=target, key=key, draw=draw, say=lambda _: None
        )
    if not isinstance(backend, Builds):
        raise PhospheneError("it neither prepares nor builds.")
    with tempfile.TemporaryDirectory(prefix="phosphene-bench-") as folder:
        cache = EngineCache(Path(folder) / "engines")
        if backend.takes_graphs and all(part.graph is not None for part in parts):
            return load_shipped(
                parts, backend=backend, target=target, key=key, cache=cache, draw=draw
            )
        manifest = build(
            parts,
            backend=backend,
            target=target,
            key=key,
            cache=cache,
            draw=draw,
            say=lambda _: None,
        )
        return load(parts, manifest, backend=backend, target=target, cache=cache)


Stages = Mapping[str, Sequence[tuple[Any, str]]]
"""What computes beside the networks, by the stage's name: callables, as owner and attribute."""


def overhead_of(
    parts: Sequence[Part],
    engine: Engine | None,
    draw: Callable[[], object],
    *,
    stages: Stages,
    n: int,
) -> dict[str, float]:
    """Time of a picture in each network, in each stage, and in nothing of them, s.

    Medians of n pictures; `overhead` is what is left of each picture, not of the medians.
    """
    spent: dict[str, list[float]] = {name: [] for name in (*(p.name for p in parts), *stages)}
    now: dict[str, float] = {}

    def timed(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def timing(*args: Any, **kwargs: Any) -> Any:
            began = perf_counter()
            output = run(*args, **kwargs)
            now[name] += perf_counter() - began
            return output

        return timing

    for part in parts:
        loaded = _eager(part) if engine is None else engine.runs[part.name]
        part.use(timed(part.name, loaded.run), loaded.shapes)
    overhead: list[float] = []
    with ExitStack() as stack:
        for name, places in stages.items():
            for owner, attribute in places:
                own = getattr(owner, attribute)
                stack.callback(setattr, owner, attribute, own)
                setattr(owner, attribute, timed(name, own))
        for _ in range(n):
            now = dict.fromkeys(spent, 0.0)
            began = perf_counter()
            draw()
            overhead.append(perf_counter() - began - sum(now.values()))
            for name, seconds in now.items():
                spent[name].append(seconds)
    for part in parts:
        part.use(None)
    return {**{name: median(each) for name, each in spent.items()}, "overhead": median(overhead)}


def _eager(part: Part) -> Loaded:
    if part.seen is None:
        raise PhospheneError(f"{part.name} took no part in a picture.")
    return Loaded(Flat(part.module, part.seen), shapes_of(part.seen.tensors))
