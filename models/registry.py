"""Every decoding system, by entry point: our own and those of other distributions.

Owns finding a system by name, and importing the functions that its description names. It is the
only place that can know them all, and it knows none by name. Knows nothing of torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from configs import DecoderConfig
from configs.plugins import Plugin, PluginError, find_plugins, reason_of
from models.api import Encoder, Entry, SystemDescriptor
from pipeline.errors import ConfigurationError, PhospheneError
from pipeline.extras import extras_named

SYSTEMS = "phosphene.systems"
"""Whole systems: an encoder with its generator, or what is announced."""
ENCODERS = "phosphene.encoders"
"""Encoders alone, drawn by a generator of their space."""
SAMPLERS = "phosphene.samplers"
"""Generators alone."""
GROUPS = (SYSTEMS, ENCODERS, SAMPLERS)
Part = Literal["encoder", "sampler"]


class UnknownSystemError(PhospheneError):
    """A system is unknown, or what was registered under its name cannot be used."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A system and who brings it (empty: this distribution)."""

    descriptor: SystemDescriptor
    distribution: str


@dataclass(frozen=True, slots=True)
class Registry:
    """Every system by name, and one sentence for each that cannot be used."""

    systems: Mapping[str, Registered]
    problems: tuple[str, ...]


def read_registry() -> Registry:
    """Import every description; a plug-in that cannot be imported becomes a sentence."""
    plugins = find_plugins(*GROUPS)
    systems: dict[str, Registered] = {}
    problems = list(plugins.problems)
    for plugin in plugins.found.values():
        try:
            systems[plugin.name] = _registered(plugin)
        except PluginError as error:
            problems.append(str(error))
    return Registry(systems, tuple(problems))


def find_system(name: str, *, what: str = "system") -> Registered:
    """Import the description of one system, and no other.

    Raises
    ------
    UnknownSystemError
        None has that name, or it cannot be used.
    """
    plugin = find_plugins(*GROUPS).found.get(name)
    if plugin is None:
        part: Part = "sampler" if what == "generator" else "encoder"
        known = ", ".join(names_with(part, are_listed=False))
        raise UnknownSystemError(
            f"{what} {name!r} is unknown, expected one of {known}: see `phosphene systems` for "
            "what each one needs."
        )
    try:
        return _registered(plugin)
    except PluginError as error:
        raise UnknownSystemError(str(error)) from None


def names_with(part: Part, *, are_listed: bool = True) -> tuple[str, ...]:
    """Names of the systems that bring a part: those of `phosphene systems`, or all."""
    return tuple(
        name
        for name, found in read_registry().systems.items()
        if (found.descriptor.encoder if part == "encoder" else found.descriptor.sampler)
        and (found.descriptor.is_listed or not are_listed)
    )


def find_part(name: str, part: Part, *, what: str = "system") -> Registered:
    """Find a system that brings an encoder, or a sampler.

    Raises
    ------
    UnknownSystemError
        None has that name, it brings no such part, or it cannot be used.
    """
    found = find_system(name, what=what)
    descriptor: SystemDescriptor = found.descriptor
    if not (descriptor.encoder if part == "encoder" else descriptor.sampler):
        state = f"brings no {part}" if descriptor.is_implemented else "cannot run yet"
        raise UnknownSystemError(
            f"{what} {name!r} {state}: see `phosphene systems` for what each one is."
        )
    return found


def not_a(part: Part, found: Registered) -> str:
    """Say that what a system brings is none of the contract's."""
    return (
        f"the {part} of {found.descriptor.name!r} ({found.distribution or 'phosphene'}) is none as "
        "models.api describes it: see docs/how-to/add-a-system.md."
    )


def open_encoder(config: DecoderConfig) -> Encoder:
    """Load a system's own encoder, with no adapter and no alignment before it.

    Raises
    ------
    PhospheneError
        A file is missing or damaged, or the system has no encoder.
    """
    found = find_part(config.system, "encoder")
    with named(found):
        encoder = load_function(found.descriptor.encoder)(config)
    if not isinstance(encoder, Encoder):
        raise UnknownSystemError(not_a("encoder", found))
    return encoder


def find_entry(table: Mapping[str, Entry], name: str, *, what: str) -> Callable[..., Any]:
    """Import the function of a name.

    Raises
    ------
    ConfigurationError
        The name is not in the table.
    """
    if name not in table:
        raise ConfigurationError(
            f"{what} {name!r} is unknown, expected one of {', '.join(sorted(table))}."
        )
    with extras_named(f"{what} {name}"):
        return load_function(table[name].function)


def load_function(text: str) -> Callable[..., Any]:
    """Import `module:name`."""
    module, _, function = text.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


@contextmanager
def named(found: Registered) -> Iterator[None]:
    """Turn whatever another distribution's code raises into one line that names it.

    Raises
    ------
    UnknownSystemError
        For a plug-in. Our own errors pass: a fault of ours is to be seen whole.
    """
    try:
        with extras_named(f"The system {found.descriptor.name}"):
            yield
    except PhospheneError:
        raise
    except Exception as error:
        if not found.distribution:
            raise
        raise UnknownSystemError(
            f"{found.descriptor.name!r} of {found.distribution} failed: {reason_of(error)}."
        ) from None


def _registered(plugin: Plugin) -> Registered:
    descriptor = plugin.load(SystemDescriptor)
    if descriptor.name != plugin.name:
        raise PluginError(f"{plugin.title} describes a system of another name: give both the same.")
    return Registered(descriptor, plugin.distribution)
