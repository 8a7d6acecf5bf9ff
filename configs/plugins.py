"""What installed distributions register by entry point, ours and other people's alike.

Owns finding entries by group and name, and loading one without a traceback: a plug-in that cannot
be imported costs one sentence that names its distribution. Knows nothing of what is registered.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from configs.plain import plain

OURS: Final = "phosphene"
"""Name of the distribution that this code is installed as."""
ID_RULE: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""What something can be registered as: it is typed, and becomes part of file names."""

T = TypeVar("T")


class PluginError(Exception):
    """Something that was registered cannot be used; one line that names its distribution."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """One registered entry; nothing of it is imported before `load`.

    Attributes
    ----------
    name : str
        What it is asked for by.
    distribution : str
        Name and version of what registered it; empty for our own.
    """

    name: str
    distribution: str
    entry: EntryPoint

    def load(self, kind: type[T]) -> T:
        """Import the registered object.

        Raises
        ------
        PluginError
            The import fails in any way, or the object is of another type.
        """
        try:
            # What a module prints must not end up in a JSON document of ours.
            with contextlib.redirect_stdout(sys.stderr):
                found = self.entry.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - other people's code runs here
            raise PluginError(f"{self.title} cannot be loaded: {reason_of(error)}.") from None
        if not isinstance(found, kind):
            raise PluginError(
                f"{self.title} is a {plain(type(found).__name__)}, expected a {kind.__name__}: "
                "mend its entry point."
            )
        return found

    @property
    def title(self) -> str:
        """How a sentence names it."""
        origin = self.distribution or OURS
        return f"{self.name!r} of {origin} ({self.entry.group})"


@dataclass(frozen=True, slots=True)
class Plugins:
    """Entries by name, our own first, and one sentence for each entry that was left out."""

    found: Mapping[str, Plugin]
    problems: tuple[str, ...]


def find_plugins(*groups: str) -> Plugins:
    """List the entries of `groups`; an unfit name, or one that is taken, is left out and named.

    What is installed is read again as soon as a folder of `sys.path` has changed, or `sys.path`.
    """
    return _find(groups, tuple((path, _changed(path)) for path in sys.path))


@lru_cache(maxsize=16)
def _find(groups: tuple[str, ...], _where: tuple[tuple[str, int], ...]) -> Plugins:
    found: dict[str, Plugin] = {}
    problems = []
    for entry in sorted(_entries(groups), key=lambda e: (bool(_distribution(e)), e.name)):
        origin = _distribution(entry)
        if not ID_RULE.fullmatch(entry.name):
            problems.append(
                f"{plain(entry.name)!r} of {origin or OURS} ({entry.group}) is left out: expected "
                "a name of small letters, digits, '.', '_' and '-', 64 at most."
            )
        elif entry.name in found:
            first = found[entry.name].distribution or OURS
            problems.append(
                f"{entry.name!r} of {origin or OURS} ({entry.group}) is left out: {first} has that "
                "name already; remove one of the two."
            )
        else:
            found[entry.name] = Plugin(entry.name, origin, entry)
    return Plugins(MappingProxyType(found), tuple(problems))


def _changed(path: str) -> int:
    """When a folder last gained or lost an entry, ns; 0 where there is none."""
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


def reason_of(error: BaseException) -> str:
    """Say in one clean line what other people's code raised."""
    lines = str(error).strip().splitlines()
    return plain(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)


def _entries(groups: tuple[str, ...]) -> list[EntryPoint]:
    table = entry_points()
    return [entry for group in groups for entry in table.select(group=group)]


def _distribution(entry: EntryPoint) -> str:
    """Name and version of who registered an entry; empty for our own."""
    if entry.dist is None or entry.dist.name == OURS:
        return ""
    return plain(f"{entry.dist.name} {entry.dist.version}")
