"""Which streams are in reach, and which one is meant.

Owns the search and the sentence when it finds none or several. Opens inlets only for the moment
that it takes to read a stream's full description. Knows nothing of samples.

A stream is chosen by type, name and `source_id`. Two outlets may carry one `source_id` (a program
started twice); then its `uid`, or `source_id@hostname`, in the place of the `source_id` names one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import pylsl

from configs import MarkersConfig, SourceConfig
from configs.plain import plain
from devices.choosing import MARKER_TYPES, has_id
from devices.errors import AmbiguousStreamError, SourceError, StreamNotFoundError
from devices.lsl.metadata import from_pylsl
from pipeline.values import StreamInfo

Match = Callable[[StreamInfo], bool]

SETTLE = 0.6
"""How long to look on after the first match, s. liblsl asks by multicast first and each known port
half a second later; where multicast does not reach (machine scope), a twin answers only then."""
_PAUSE = 0.03
"""Between two looks at the resolver's list, s; the network is asked by liblsl's own thread."""


class Finder:
    """A continuous resolver and its list of streams, each with the native info behind it."""

    def __init__(self) -> None:
        self._resolver: pylsl.ContinuousResolver | None = pylsl.ContinuousResolver(forget_after=2.0)

    def look(self) -> list[tuple[StreamInfo, pylsl.StreamInfo]]:
        """Streams in reach now, in stable order, each outlet once; descriptions are short."""
        if self._resolver is None:
            return []
        found: dict[str, tuple[StreamInfo, pylsl.StreamInfo]] = {}
        for native in self._resolver.results():
            info = from_pylsl(native)
            found.setdefault(info.uid, (info, native))
        return sorted(found.values(), key=lambda pair: sort_key(pair[0]))

    def close(self) -> None:
        """Stop looking; pylsl destroys the resolver with its last reference."""
        self._resolver = None

    def __enter__(self) -> Finder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def sort_key(info: StreamInfo) -> tuple[str, str, str, float, str]:
    """Order of listings: by what a person reads first; `uid` only breaks ties."""
    return (info.type, info.name, info.source_id, info.created_at, info.uid)


def resolve(
    timeout: float = 2.0,
    *,
    stream_type: str | None = None,
    full: bool = True,
    stop: threading.Event | None = None,
) -> list[StreamInfo]:
    """Collect the streams in reach for `timeout` seconds.

    Parameters
    ----------
    timeout : float
        How long to look, s; less than 0.5 s may miss streams on other machines.
    stream_type : str or None
        Only streams of this type, case folded; None: all.
    full : bool
        Read each stream's description as well (labels, units); a stream that does not give it
        within 1 s is listed with what the resolver knows.
    stop : threading.Event or None
        Ends the search early when set.
    """
    stop = stop or threading.Event()
    with Finder() as finder:
        stop.wait(timeout)
        found = finder.look()
    wanted = [
        (info, native)
        for info, native in found
        if stream_type is None or info.type.lower() == stream_type.lower()
    ]
    return [_full_info(info, native) if full else info for info, native in wanted]


def wait_for_one(
    finder: Finder,
    match: Match,
    *,
    timeout: float,
    wanted: str,
    settle: float,
    prefer: Match | None = None,
    stop: threading.Event | None = None,
) -> tuple[StreamInfo, pylsl.StreamInfo]:
    """Wait for exactly one stream that matches.

    Parameters
    ----------
    finder : Finder
        Where to look.
    match : callable
        Tells whether a stream is meant, from its short info.
    timeout : float
        Longest wait, s.
    wanted : str
        What is looked for, for the message.
    settle : float
        How long to look on for a second match, s.
    prefer : callable or None
        Of several matches, those that it tells count alone; `SETTLE` is waited for one.
    stop : threading.Event or None
        Ends the search early when set.

    Raises
    ------
    StreamNotFoundError
        Nothing matched; the message lists what is there.
    AmbiguousStreamError
        More than one matched; the message lists them.
    """
    stop = stop or threading.Event()
    deadline = time.monotonic() + timeout
    settled = float("inf")
    while True:
        now = time.monotonic()
        found = [info for info, _ in finder.look() if match(info)]
        if found:
            is_sure = prefer is None or any(map(prefer, found))
            settled = min(settled, now + (settle if is_sure else max(settle, SETTLE)))
        if now >= min(settled, deadline) or stop.is_set():
            return only_one(finder, match, prefer=prefer, wanted=wanted, timeout=timeout)
        stop.wait(_PAUSE)


def only_one(
    finder: Finder, match: Match, *, wanted: str, timeout: float, prefer: Match | None = None
) -> tuple[StreamInfo, pylsl.StreamInfo]:
    """Return the one stream that matches now; raise as `wait_for_one`, naming its `timeout`."""
    found = finder.look()
    matches = [pair for pair in found if match(pair[0])]
    if prefer is not None:
        matches = [pair for pair in matches if prefer(pair[0])] or matches
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise StreamNotFoundError(
            f"No LSL stream found in {timeout:g} s: expected {wanted}, found "
            f"{describe_all(info for info, _ in found)}. Start the source, or choose another with "
            "--source-id or --name (`phosphene streams` lists them)."
        )
    raise AmbiguousStreamError(
        f"{len(matches)} LSL streams fit {wanted}, expected one: "
        f"{describe_all(info for info, _ in matches)}. Choose one with --source-id, giving its "
        "source_id, its uid, or source_id@host."
    )


def is_source(info: StreamInfo, config: SourceConfig) -> bool:
    """Tell whether a stream is the EEG stream that `config` means.

    A name or a `source_id` that was given outranks the type: OpenViBE sends type `signal`.
    """
    if config.name is None and config.source_id is None:
        return info.type.lower() == config.type.lower()
    return (
        info.type.lower() not in MARKER_TYPES
        and (config.name is None or info.name == config.name)
        and (config.source_id is None or has_id(info, config.source_id))
    )


def is_marker_stream(info: StreamInfo, config: MarkersConfig) -> bool:
    """Tell whether a stream is a marker stream that `config` means, or may mean."""
    if config.source_id is None and config.name is None:
        return info.type.lower() in MARKER_TYPES
    return (config.name is None or info.name == config.name) and (
        config.source_id is None or has_id(info, config.source_id)
    )


def describe_source(config: SourceConfig) -> str:
    """Say which stream is looked for, for messages."""
    parts = [f"name {config.name!r}"] if config.name is not None else []
    parts += [f"source_id {config.source_id!r}"] if config.source_id is not None else []
    return "a stream of " + ", ".join(parts or [f"type {config.type!r}"])


def describe(info: StreamInfo) -> str:
    """One stream in a few words, for messages."""
    rate = f"{info.sfreq:g} Hz" if info.sfreq else "irregular"
    return (
        f"{plain(info.name)!r} ({plain(info.type)}, {info.n_channels} ch, {rate}, source_id "
        f"{plain(info.source_id)!r}, host {plain(info.hostname)!r}, uid {plain(info.uid)})"
    )


def describe_all(infos: Iterable[StreamInfo]) -> str:
    """List streams in one line, at most eight of them."""
    known = list(infos)
    shown = "; ".join(describe(info) for info in known[:8])
    more = f"; and {len(known) - 8} more" if len(known) > 8 else ""
    return shown + more if known else "no stream at all"


def _full_info(info: StreamInfo, native: pylsl.StreamInfo, *, timeout: float = 1.0) -> StreamInfo:
    try:
        return full_info(native, timeout=timeout)
    except SourceError:
        return info


def full_info(native: pylsl.StreamInfo, *, timeout: float = 2.0) -> StreamInfo:
    """Read a stream's whole description through an inlet that is closed again at once.

    Raises
    ------
    SourceError
        The stream did not answer within `timeout` seconds, or went away.
    """
    inlet = pylsl.StreamInlet(native, max_buflen=1, recover=False)
    try:
        return from_pylsl(inlet.info(timeout))
    except (pylsl.util.TimeoutError, pylsl.util.LostError) as error:
        raise SourceError(
            f"Stream {native.name()!r} on {native.hostname()!r} did not send its description "
            f"within {timeout:g} s: check that its program runs and that no firewall blocks "
            "TCP ports 16572-16604."
        ) from error
