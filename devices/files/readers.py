"""The table of file formats: which reader opens a file, ours and other distributions' alike.

Owns the entry points `phosphene.readers` and the choice among them by suffix and content. Knows no
format: ours are in `devices.files.formats` and register as a stranger's do. How to add one:
docs/how-to/add-a-file-format.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from configs.guard import open_file
from configs.plugins import Plugin, PluginError, find_plugins, reason_of
from devices.choosing import StreamChoice
from devices.errors import FileError
from devices.files.base import Recording
from pipeline.errors import PhospheneError

GROUP: Final = "phosphene.readers"
HEAD: Final = 1 << 16
"""Bytes of a file that `sniff` is shown."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a person said of a file; a reader takes what its format has a use for.

    Attributes
    ----------
    choice : StreamChoice
        Which of several streams are meant.
    board : str or None
        BrainFlow board (id or name) that recorded it.
    """

    choice: StreamChoice = field(default_factory=StreamChoice)
    board: str | None = None


def _takes_all(_head: bytes) -> bool:
    return True


def _nothing(_path: Path) -> Iterable[Path]:
    return ()


@dataclass(frozen=True, slots=True)
class Reader:
    """A file format.

    Attributes
    ----------
    title : str
        What people call it.
    suffixes : tuple of str
        Ends of its files' names, in small letters (`".edf"`, `".fif.gz"`).
    open : callable
        Opens a file. Raises `FileError`, one line, where it cannot.
    sniff : callable
        Whether a file that begins with these bytes (`HEAD` at most) is one; needed where others
        have the same suffix.
    beside : callable
        Files that it opens besides the one it is given; they are checked beforehand.
    chooses : bool
        Whether its files hold several streams, among which it chooses by `ReadOptions.choice`.
    """

    title: str
    suffixes: tuple[str, ...]
    open: Callable[[Path, ReadOptions], Recording]
    sniff: Callable[[bytes], bool] = _takes_all
    beside: Callable[[Path], Iterable[Path]] = _nothing
    chooses: bool = False

    def __post_init__(self) -> None:
        """Refuse suffixes that no name ends with."""
        odd = [s for s in self.suffixes if not s.startswith(".") or s != s.lower()]
        if odd or not self.suffixes:
            raise ValueError(f"suffixes {self.suffixes}, expected some like '.edf'")

    def suits(self, path: Path) -> bool:
        """Whether the file's name is one of the format."""
        return path.name.lower().endswith(self.suffixes)


@dataclass(frozen=True, slots=True)
class Registered:
    """A reader and where it came from."""

    plugin: Plugin
    reader: Reader

    def recognises(self, head: bytes, path: Path) -> bool:
        """Ask `sniff`; a stranger's that fails costs one sentence."""
        return bool(self._guarded(lambda: self.reader.sniff(head), path))

    def open(self, path: Path, options: ReadOptions) -> Recording:
        """Open a file.

        Raises
        ------
        FileError
            It cannot be read, or another distribution's reader is at fault, which is then named.
        """
        found = self._guarded(lambda: self.reader.open(path, options), path)
        if not isinstance(found, Recording):
            raise FileError(
                f"{self.plugin.title} gave a {type(found).__name__} for {path}, expected a "
                "Recording (devices.files.base): ask whoever made it."
            )
        return found

    def beside(self, path: Path) -> tuple[Path, ...]:
        """Files that it opens besides `path`."""
        found = self._guarded(lambda: tuple(self.reader.beside(path)), path)
        return found if isinstance(found, tuple) else ()

    def _guarded(self, call: Callable[[], object], path: Path) -> object:
        if not self.plugin.distribution:
            return call()
        try:
            return call()
        except PhospheneError:
            raise
        except Exception as error:  # other people's code runs here
            raise FileError(
                f"{path} cannot be read by {self.plugin.title} ({reason_of(error)}): ask whoever "
                "made it, or remove that distribution."
            ) from error


@dataclass(frozen=True, slots=True)
class Readers:
    """Every reader that can be used, other people's first, and a sentence for each that cannot."""

    entries: tuple[Registered, ...]
    problems: tuple[str, ...]

    def __iter__(self) -> Iterator[Registered]:
        return iter(self.entries)

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Every suffix that is read, each once, sorted."""
        return tuple(sorted({s for entry in self.entries for s in entry.reader.suffixes}))

    def choose(self, path: Path) -> Registered | None:
        """The reader of a file; None for a suffix that nobody reads.

        Of several readers of one suffix the first that recognises the content is meant; a
        stranger's goes before ours, for somebody installed it on purpose.

        Raises
        ------
        FileError
            Nobody recognises the content.
        """
        fitting = [entry for entry in self.entries if entry.reader.suits(path)]
        if not fitting:
            return None
        with open_file(path) as file:
            head = file.read(HEAD)
        for entry in fitting:
            if entry.recognises(head, path):
                return entry
        titles = " or ".join(entry.reader.title for entry in fitting)
        raise FileError(f"{path} does not begin as {titles} does: it is damaged, or no such file.")


@cache
def readers() -> Readers:
    """Load the table, once; a reader that cannot be loaded is logged and left out."""
    plugins = find_plugins(GROUP)
    found: list[Registered] = []
    problems = list(plugins.problems)
    for plugin in plugins.found.values():
        try:
            found.append(Registered(plugin, plugin.load(Reader)))
        except PluginError as error:
            problems.append(str(error))
    for sentence in problems:
        _LOG.warning("%s", sentence)
    return Readers(tuple(sorted(found, key=lambda e: not e.plugin.distribution)), tuple(problems))
