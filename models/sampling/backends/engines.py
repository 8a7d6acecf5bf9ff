"""From a sampler's parts to an engine, and back: build, check, keep, load, use.

Owns the order of these steps. A back-end that keeps its engines is built elsewhere
(`models.compiling`), because a compiler may crash; here its engine is loaded, asked whether it
answers as it did when it was checked, and handed over. Knows no back-end by name.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from models.sampling.backends.base import (
    Backend,
    BackendError,
    Builds,
    Prepares,
    Refits,
    Revised,
    Target,
    versions_of,
)
from models.sampling.backends.cache import EngineCache, Key, Manifest
from models.sampling.backends.checks import (
    TOLERANCE,
    answer_of,
    check_part,
    deviation,
    require,
)
from models.sampling.backends.machine import describe
from models.sampling.parts import Flat, Part, Run, Shape, shapes_of

Say = Callable[[str], None]
"""Takes one line of progress."""
_DTYPES = {
    str(each).removeprefix("torch."): each
    for each in (torch.float32, torch.float16, torch.bfloat16, torch.int64)
}
"""What a network is given, by the name in a manifest."""


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """What runs one part, for tensors of which sizes."""

    run: Run
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """What draws in the place of a sampler's parts.

    Attributes
    ----------
    backend : str
    target : Target
    runs : mapping of str to Loaded
        By part.
    versions : mapping of str to str
        Of what computes.
    manifest : Manifest
        How it was built and checked.
    """

    backend: str
    target: Target
    runs: Mapping[str, Loaded]
    versions: Mapping[str, str]
    manifest: Manifest

    def use(self, parts: Sequence[Part]) -> None:
        """Take the place of `parts` from their next call on."""
        for part in parts:
            loaded = self.runs[part.name]
            part.use(loaded.run, loaded.shapes)


def weights_hash(parts: Sequence[Part]) -> str:
    """SHA-256 over every parameter and buffer of the parts, and over their states."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.name} {part.state}\n".encode())
        for name, value in part.module.state_dict().items():
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(memoryview(flat.view(torch.uint8).numpy()))
    return digest.hexdigest()


def key_of(
    parts: Sequence[Part],
    *,
    backend: Backend,
    target: Target,
    options: Mapping[str, object],
    weights: str | None = None,
) -> Key:
    """Everything that an engine of these parts depends on.

    `weights` is their hash, where it is known. `options` are the sampler's; how many steps it takes
    changes nothing about its networks.
    """
    facts = {
        "backend": backend.name,
        "versions": dict(versions_of(backend)),
        "machine": describe(target.device),
        "device": target.device,
        "dtype": target.dtype,
        "threads": target.threads,
        "options": {name: value for name, value in options.items() if name != "steps"},
        "parts": {part.name: _architecture(part) for part in parts},
    }
    if isinstance(backend, Revised):
        facts["revision"] = backend.revision
    return Key(facts, weights_hash(parts) if weights is None else weights)


def _architecture(part: Part) -> str:
    lines = [f"{type(part.module).__name__}"]
    lines += [f"{k} {tuple(v.shape)} {v.dtype}" for k, v in part.module.state_dict().items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def build(
    parts: Sequence[Part],
    *,
    backend: Builds,
    target: Target,
    key: Key,
    cache: EngineCache,
    draw: Callable[[], object],
    say: Say,
) -> Manifest:
    """Build engines of parts that have just drawn a picture, check them, and keep them.

    Parameters
    ----------
    draw : callable
        Draws that picture again: the engines' one is held against eager's, before rounding.

    Returns
    -------
    Manifest
        What was built; `refused` says why it must not be used.
    """
    began = time.monotonic()
    engines: dict[str, bytes] = {}
    runs: dict[str, Run] = {}
    deviations: dict[str, float] = {}
    examples = {part.name: _examples(part) for part in parts}
    relative = next(iter(cache.relatives(key)), None) if isinstance(backend, Refits) else None
    refused = ""
    try:
        for i, part in enumerate(parts):
            say(f"{part.name} ({i + 1} of {len(parts)}): building")
            engines[part.name] = _engine(part, backend, target, cache, relative)
            runs[part.name] = backend.load(engines[part.name], part.weights, target)
            say(f"{part.name} ({i + 1} of {len(parts)}): checking against eager")
            deviations[part.name] = check_part(part, runs[part.name], dtype=target.dtype)
        say("a picture: checking against eager")
        deviations["picture"] = _check_picture(parts, runs, draw, target)
        answers = {name: answer_of(run, examples[name]) for name, run in runs.items()}
    except BackendError as error:
        refused, engines, answers = str(error), {}, {}
    manifest = Manifest(
        key=key.name,
        architecture=key.architecture,
        facts=dict(key.facts),
        files={name: hashlib.sha256(content).hexdigest() for name, content in engines.items()},
        shapes={name: [_plain(each) for each in tensors] for name, tensors in examples.items()},
        answers=answers,
        deviations=deviations,
        tolerance=TOLERANCE[target.dtype],
        seconds=round(time.monotonic() - began, 3),
        n_bytes=sum(len(content) for content in engines.values()),
        is_refitted=relative is not None,
        refused=refused,
    )
    cache.store(manifest, engines)
    for part in parts:
        part.use(None)
    return manifest


def _engine(
    part: Part, backend: Builds, target: Target, cache: EngineCache, relative: Manifest | None
) -> bytes:
    if part.seen is None:
        raise BackendError(f"{part.name} took no part in the picture.")
    module, tensors = Flat(part.compiled, part.seen).eval(), _examples(part)
    if relative is not None and isinstance(backend, Refits):
        return backend.refit(cache.load(relative, part.name), module, tensors, target)
    return backend.build(module, tensors, target)


def _check_picture(
    parts: Sequence[Part], runs: Mapping[str, Run], draw: Callable[[], object], target: Target
) -> float:
    """Draw with the engines; how far that is from eager's picture, which must be little."""
    last = parts[-1]
    if last.seen is None:
        raise BackendError(f"{last.name} took no part in the picture.")
    expected, drawn = last.seen.result.clone(), []

    def keep(*tensors: Tensor) -> Tensor:
        drawn.append(runs[last.name](*tensors).clone())
        return drawn[-1]

    for part in parts:
        part.use(keep if part is last else runs[part.name], shapes_of(_examples(part)))
    draw()
    found = deviation(drawn[-1], expected)
    require(found, dtype=target.dtype, what="the picture")
    return found


def load(
    parts: Sequence[Part],
    manifest: Manifest,
    *,
    backend: Builds,
    target: Target,
    cache: EngineCache,
) -> Engine:
    """Load what was built, and see whether it answers as it did then.

    Raises
    ------
    BackendError
        It was refused, is not what was built, or answers otherwise.
    """
    return _answering(
        parts,
        manifest,
        {part.name: cache.load(manifest, part.name) for part in parts if not manifest.refused},
        backend=backend,
        target=target,
        place=cache.folder / manifest.key,
    )


def load_shipped(
    parts: Sequence[Part],
    *,
    backend: Builds,
    target: Target,
    key: Key,
    cache: EngineCache,
    draw: Callable[[], object],
    is_fresh: bool = False,
) -> Engine:
    """Load the graphs that ship with parts.

    They are held against eager once for these graphs, weights, versions and this machine; that is
    kept, and from then on they are asked whether they answer as they did then. Where nothing can be
    kept, they are held against eager each time.

    Parameters
    ----------
    draw : callable
        Draws a short picture.
    is_fresh : bool
        Hold them against eager whatever is kept.

    Raises
    ------
    BackendError
        A part has no graph, or what it gives is not what eager gives.
    """
    graphs: dict[str, bytes] = {}
    for part in parts:
        if part.graph is None:
            raise BackendError(f"{part.name} has no graph that ships with it.")
        graphs[part.name] = part.graph.read_bytes()
    files = {name: hashlib.sha256(graph).hexdigest() for name, graph in graphs.items()}
    # What is kept and cannot be trusted, or answers otherwise, counts as if it were not there.
    with contextlib.suppress(BackendError):
        known = None if is_fresh else cache.find(key)
        if known is not None and known.files == files:
            place = cache.folder / known.key
            return _answering(parts, known, graphs, backend=backend, target=target, place=place)
    began = time.monotonic()
    draw()
    runs = {part.name: backend.load(graphs[part.name], part.weights, target) for part in parts}
    engine = _checked(parts, runs, backend=backend, target=target, key=key, draw=draw)
    manifest = replace(
        engine.manifest,
        files=files,
        shapes={part.name: [_plain(each) for each in _examples(part)] for part in parts},
        answers={part.name: answer_of(runs[part.name], _examples(part)) for part in parts},
        seconds=round(time.monotonic() - began, 3),
        n_bytes=sum(len(graph) for graph in graphs.values()),
    )
    with contextlib.suppress(BackendError):  # it is checked anew at the next start
        cache.store(manifest, {})
    return replace(engine, manifest=manifest)


def _answering(
    parts: Sequence[Part],
    manifest: Manifest,
    engines: Mapping[str, bytes],
    *,
    backend: Builds,
    target: Target,
    place: Path,
) -> Engine:
    """Load engines that were checked before, and see whether they answer as they did then."""
    if manifest.refused:
        raise BackendError(manifest.refused)
    runs: dict[str, Loaded] = {}
    for part in parts:
        shapes = tuple(_shape(each) for each in manifest.shapes.get(part.name, ()))
        empty = tuple(torch.empty(s, dtype=d, device=target.device) for s, d in shapes)
        try:
            run = backend.load(engines[part.name], part.weights, target)
            answer = answer_of(run, empty)
        except (RuntimeError, LookupError, ValueError, TypeError) as error:
            # Another's engine: what it is made of, or its inputs' names and shapes, are others.
            raise BackendError(
                f"{part.name} cannot be run as it was when it was checked "
                f"({type(error).__name__}): refused; delete {place}, and it is built anew."
            ) from error
        if answer != manifest.answers.get(part.name):
            raise BackendError(
                f"{part.name} does not answer as it did when it was checked: refused; delete "
                f"{place}, and it is built anew."
            )
        runs[part.name] = Loaded(run, shapes)
    return Engine(backend.name, target, runs, versions_of(backend), manifest)


def prepare(
    parts: Sequence[Part],
    *,
    backend: Prepares,
    target: Target,
    key: Key,
    draw: Callable[[], object],
    say: Say,
) -> Engine:
    """Make an engine that lives in this process, and check it as `build` does.

    Raises
    ------
    BackendError
        It cannot be made, or deviates from eager.
    """
    began = time.monotonic()
    runs: dict[str, Run] = {}
    for i, part in enumerate(parts):
        if part.seen is None:
            raise BackendError(f"{part.name} took no part in the picture.")
        say(f"{part.name} ({i + 1} of {len(parts)}): compiling")
        module = Flat(part.compiled, part.seen).eval()
        runs[part.name] = backend.prepare(module, _examples(part), target)
    engine = _checked(parts, runs, backend=backend, target=target, key=key, draw=draw)
    seconds = round(time.monotonic() - began, 3)
    return replace(engine, manifest=replace(engine.manifest, seconds=seconds))


def _checked(
    parts: Sequence[Part],
    runs: Mapping[str, Run],
    *,
    backend: Backend,
    target: Target,
    key: Key,
    draw: Callable[[], object],
) -> Engine:
    """An engine that was checked against eager and is kept nowhere."""
    deviations = {
        part.name: check_part(part, runs[part.name], dtype=target.dtype) for part in parts
    }
    deviations["picture"] = _check_picture(parts, runs, draw, target)
    for part in parts:
        part.use(None)
    manifest = Manifest(
        key=key.name,
        architecture=key.architecture,
        facts=dict(key.facts),
        deviations=deviations,
        tolerance=TOLERANCE[target.dtype],
    )
    loaded = {part.name: Loaded(runs[part.name], shapes_of(_examples(part))) for part in parts}
    return Engine(backend.name, target, loaded, versions_of(backend), manifest)


def _examples(part: Part) -> tuple[Tensor, ...]:
    return () if part.seen is None else part.seen.tensors


def _plain(tensor: Tensor) -> list[object]:
    return [list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]


def _shape(plain: Sequence[object]) -> Shape:
    sizes, name = plain
    if not isinstance(sizes, list) or name not in _DTYPES:
        raise BackendError(f"the engine's manifest says sizes {plain}, which cannot be read.")
    return tuple(int(size) for size in sizes), _DTYPES[str(name)]
