"""Which streams of a recording are meant: its EEG, and its markers.

Owns the rules and the sentence where several fit: empty streams are passed over, what was asked
for by name or source_id wins whatever its type, and nothing is ever taken merely because it stands
first. Pure: the streams come as a list. Knows nothing of file formats or of LSL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from configs import MarkersConfig, SourceConfig
from configs.plain import plain
from devices.errors import FileError
from pipeline.values import StreamInfo, StreamRole

MARKER_TYPES: Final = frozenset({"marker", "markers", "stim", "annotations"})
"""Types that are taken for marker streams when none is named (in lower case)."""
OWN_TYPES: Final = frozenset({"phosphene-events", "embedding", "quality", "markercodes"})
"""Types of what a session publishes of itself (in lower case)."""
OWN_EVENTS: Final = "phosphene-events"
"""Name of the stream of our own decisions; until 0.1 also its type, which now is `Events`."""


@dataclass(frozen=True, slots=True)
class StreamChoice:
    """What is asked of a recording that may hold several streams.

    Attributes
    ----------
    source : SourceConfig
        Name, source_id and type of the EEG.
    markers : MarkersConfig
        Name and source_id of the markers.
    must_fit, markers_must_fit : bool
        Whether the person asked for these streams: nothing else will do then. Settings of another
        session may name streams that this file has not; what fits stands in, and it is said.
    """

    source: SourceConfig = field(default_factory=SourceConfig)
    markers: MarkersConfig = field(default_factory=MarkersConfig)
    must_fit: bool = False
    markers_must_fit: bool = False

    @property
    def names_eeg(self) -> bool:
        """Whether it names the EEG."""
        return self.source.name is not None or self.source.source_id is not None

    @property
    def names_markers(self) -> bool:
        """Whether it names the markers."""
        return self.markers.name is not None or self.markers.source_id is not None


@dataclass(frozen=True, slots=True)
class FileStream:
    """One stream of a file: its number there, what it says of itself, and how much it holds."""

    number: int
    info: StreamInfo
    n_samples: int
    role: str = ""
    """What our own recorder noted."""


class SeveralStreamsError(FileError):
    """Several streams of a recording may be the EEG, or the markers (`is_markers`)."""

    def __init__(self, streams: Sequence[FileStream], path: Path, *, is_markers: bool) -> None:
        super().__init__((several_markers if is_markers else several_eeg)(streams, path))
        self.streams = tuple(streams)
        self.is_markers = is_markers


@dataclass(frozen=True, slots=True)
class Chosen:
    """The streams that are meant; `notes` are sentences for the user."""

    eeg: FileStream
    markers: FileStream | None = None
    notes: tuple[str, ...] = ()


def is_own_events(info: StreamInfo) -> bool:
    """Tell whether a stream holds a session's own decisions, and nothing that came from outside."""
    return info.type == OWN_EVENTS or (info.type == "Events" and info.name == OWN_EVENTS)


def has_id(info: StreamInfo, wanted: str) -> bool:
    """Tell whether `wanted` names the stream: `source_id`, `source_id@hostname` or `uid`."""
    return wanted in (info.source_id, info.uid, f"{info.source_id}@{info.hostname}")


def choose_streams(streams: Sequence[FileStream], choice: StreamChoice, path: Path) -> Chosen:
    """Choose a recording's EEG and markers.

    What our own recorder noted counts, unless the person asked for something else.

    Raises
    ------
    FileError
        There is no EEG, several fit, or what was asked for is not there.
    """
    usable = [s for s in streams if s.info.type.lower() not in OWN_TYPES or s.role]
    noted = {s.role: s for s in usable if s.role}
    notes: list[str] = []
    if StreamRole.EEG in noted and not choice.must_fit:
        eeg = noted[StreamRole.EEG]
    else:
        eeg = choose_eeg(usable, choice, path, notes)
    if StreamRole.EEG in noted and not choice.markers_must_fit:
        return Chosen(eeg, noted.get(StreamRole.MARKERS), tuple(notes))
    rest = [s for s in usable if s is not eeg and s.role != StreamRole.EVENTS]
    return Chosen(eeg, choose_markers(rest, choice, path, notes), tuple(notes))


def eeg_candidates(streams: Sequence[FileStream], *, stream_type: str = "EEG") -> list[FileStream]:
    """Streams with samples that may be the EEG when none is named."""
    full = [s for s in streams if s.n_samples and s.info.channel_format != "string"]
    return _first_kind(full, _eeg_kinds(stream_type))


def marker_candidates(streams: Sequence[FileStream]) -> list[FileStream]:
    """Streams with events that may be the markers when none is named."""
    return _first_kind([s for s in streams if s.n_samples], _MARKER_KINDS)


def listed(streams: Iterable[FileStream]) -> str:
    """Name streams in one line, at most eight of them."""
    known = list(streams)
    shown = "; ".join(_described(each) for each in known[:8])
    more = f"; and {len(known) - 8} more" if len(known) > 8 else ""
    return shown + more if known else "no stream"


def several_eeg(streams: Sequence[FileStream], path: Path) -> str:
    """Say that several streams may be the EEG, and how one is chosen."""
    return (
        f"{path} holds {len(streams)} streams that may be the EEG: {listed(streams)}. Choose one "
        f"with --source-id or --name{_twins(streams)}; in the window: Channels…"
    )


def several_markers(streams: Sequence[FileStream], path: Path) -> str:
    """Say that several streams may be the markers, and how one is chosen."""
    return (
        f"{path} holds {len(streams)} marker streams with events: {listed(streams)}. Choose one "
        f"with --markers{_twins(streams)}; in the window: Channels…"
    )


def check_only(streams: Sequence[StreamInfo], choice: StreamChoice, path: Path) -> None:
    """Refuse a choice that a file of one EEG stream and perhaps its markers does not hold.

    Raises
    ------
    FileError
        What was asked for by name or source_id is neither.
    """
    asked = (
        (choice.must_fit, choice.source.name, choice.source.source_id, "EEG"),
        (choice.markers_must_fit, choice.markers.name, choice.markers.source_id, "markers"),
    )
    for k, (must_fit, name, source_id, what) in enumerate(asked):
        if not must_fit or (name is None and source_id is None):
            continue
        info = streams[k] if k < len(streams) else None
        known = () if info is None else (info.name, info.source_id)
        if not all(word is None or word in known for word in (name, source_id)):
            has = "none" if info is None else f"one stream of them, {info.name!r}"
            raise FileError(
                f"{path} has no {what} of {_wanted(name, source_id)} ({has}): a file of this "
                "format needs no choice, so leave it out."
            )


_Kind = Callable[[StreamInfo], bool]
_MARKER_KINDS: Final[tuple[_Kind, ...]] = (
    lambda info: info.type.lower() == "markers",
    lambda info: info.type.lower() in MARKER_TYPES and info.sfreq == 0,
    lambda info: "marker" in f"{info.type} {info.name}".lower(),
    lambda info: "event" in f"{info.type} {info.name}".lower(),
    lambda info: info.channel_format == "string" and info.sfreq == 0,
)


def _eeg_kinds(stream_type: str) -> tuple[_Kind, ...]:
    words = dict.fromkeys((stream_type.lower(), "eeg", "signal"))
    return tuple(partial(_is_of, word) for word in words)


def _is_of(word: str, info: StreamInfo) -> bool:
    return info.type.lower() == word


def _first_kind(streams: Sequence[FileStream], kinds: Iterable[_Kind]) -> list[FileStream]:
    for kind in kinds:
        found = [s for s in streams if kind(s.info)]
        if found:
            return found
    return []


def choose_eeg(
    streams: Sequence[FileStream], choice: StreamChoice, path: Path, notes: list[str]
) -> FileStream:
    """Choose the EEG; what to say of the choice is added to `notes`. Raises as `choose_streams`."""
    source = choice.source
    numeric = [s for s in streams if s.info.channel_format != "string"]
    if choice.names_eeg:
        fits = [
            s
            for s in numeric
            if (source.name is None or s.info.name == source.name)
            and (source.source_id is None or is_meant(s, source.source_id))
        ]
        full = [s for s in fits if s.n_samples]
        # A headset's streams may share a name: its EEG is meant then, else whatever there is.
        found = eeg_candidates(full, stream_type=source.type) or full
        if len(found) == 1:
            return found[0]
        if found:
            raise SeveralStreamsError(found, path, is_markers=False)
        wanted = _wanted(source.name, source.source_id)
        if choice.must_fit:
            what = "has no sample in" if fits else "has no EEG stream of"
            raise FileError(f"{path} {what} {wanted}, expected one of: {listed(numeric)}.")
        notes.append(f"The settings name an EEG stream of {wanted}, which {path.name} has not.")
    found = eeg_candidates(numeric, stream_type=source.type)
    if len(found) > 1:
        raise SeveralStreamsError(found, path, is_markers=False)
    if not found:
        raise FileError(
            f"{path} holds {listed(streams)}; expected a regular numeric stream of type EEG with "
            "samples: name the stream with --source-id or --name, or give another file."
        )
    return found[0]


def choose_markers(
    streams: Sequence[FileStream], choice: StreamChoice, path: Path, notes: list[str]
) -> FileStream | None:
    """Choose the markers among what is not the EEG, if there are any; see `choose_eeg`."""
    markers = choice.markers
    if choice.names_markers:
        by_name = [s for s in streams if markers.name is None or s.info.name == markers.name]
        wanted_id = markers.source_id
        fits = [s for s in by_name if wanted_id is None or is_meant(s, wanted_id)]
        fits = fits or [s for s in by_name if s.info.name == wanted_id]
        full = [s for s in fits if s.n_samples]
        if len(full) == 1:
            return full[0]
        if full:
            raise SeveralStreamsError(full, path, is_markers=True)
        if choice.markers_must_fit:
            wanted = _wanted(markers.name, wanted_id)
            what = "has no event in the marker stream of" if fits else "has no marker stream of"
            raise FileError(f"{path} {what} {wanted}, expected one of: {listed(streams)}.")
    found = marker_candidates(streams)
    if len(found) > 1:
        raise SeveralStreamsError(found, path, is_markers=True)
    others = [s for s in streams if s not in found and s.n_samples and _MARKER_KINDS[-1](s.info)]
    if found and others:
        notes.append(
            f"Markers are read from {listed(found)}; not from {listed(others)} (--markers chooses)."
        )
    return found[0] if found else None


def is_meant(stream: FileStream, wanted: str) -> bool:
    """Tell whether `wanted` names a stream of a file; see `has_id`; `#3` is its number there."""
    return has_id(stream.info, wanted) or wanted == f"#{stream.number}"


def _wanted(name: str | None, source_id: str | None) -> str:
    words = [f"name {name!r}"] if name is not None else []
    words += [f"source_id {source_id!r}"] if source_id is not None else []
    return " and ".join(words)


def _described(stream: FileStream) -> str:
    info = stream.info
    rate = f"{info.sfreq:g} Hz" if info.sfreq else "irregular"
    return (
        f"#{stream.number} {plain(info.name)!r} ({plain(info.type)}, source_id "
        f"{plain(info.source_id)!r}, "
        f"{info.n_channels} ch, {rate}, {stream.n_samples} samples)"
    )


def _twins(streams: Sequence[FileStream]) -> str:
    ids = [s.info.source_id for s in streams]
    if len(set(ids)) == len(ids) and all(ids):
        return ""
    return f" (where a source_id says too little, its number does: '#{streams[0].number}')"
