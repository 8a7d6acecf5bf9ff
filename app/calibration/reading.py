"""A calibration from a recording: a session over a file, as fast as it goes, that decodes nothing.

Owns which file and settings are meant by a path, which labels count, and the reading itself. Gives
the same epochs that the live calibration gave, bit for bit: a session's own `session.toml` beside
its recording is used as it stands.
"""

from __future__ import annotations

import filecmp
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.calibration.collection import USABLE, Collection, by_markers
from app.errors import AppError
from app.port import EpochEvent, Phase
from app.recordings import file_sha256
from app.runtime.folder import RECORDING
from configs import SessionConfig, load_config
from configs.guard import read_text
from devices.choosing import StreamChoice
from devices.replay import RecordedSource
from models.adapters.suggesting import NO_PICTURE
from pipeline.gallery import Gallery


def recording_of(path: Path) -> Path:
    """Return the recording that a path means: a file, or a session folder's."""
    if not path.is_dir():
        return path
    found = path / RECORDING
    if not found.is_file():
        raise AppError(
            f"{path} holds no {RECORDING}, expected a session folder or a recording: name the file."
        )
    return found


def recordings_of(paths: Sequence[Path], subject: str | None = None) -> list[Path]:
    """Return the recordings that paths mean: files, session folders, BIDS data sets.

    Of a data set those of `subject`, where it has some of that name; else everybody's.

    Raises
    ------
    AppError
        A folder that is neither.
    """
    found: list[Path] = []
    for path in paths:
        is_bids = path.is_dir() and (
            (path / "dataset_description.json").is_file() or path.name.startswith("sub-")
        )
        if not is_bids:
            found.append(recording_of(path))
            continue
        everything = [
            file
            for file in sorted(path.rglob("sub-*_eeg.*"))
            if file.suffix.lower() in BIDS_RECORDINGS
        ]
        own = [file for file in everything if file.name.startswith(f"sub-{subject}_")]
        if not everything:
            raise AppError(
                f"{path} is a BIDS data set without a recording (sub-*_eeg with "
                f"{', '.join(BIDS_RECORDINGS)}): name a file."
            )
        found += own or everything
    return found


def others_of(paths: Sequence[Path], own: Sequence[Path], subject: str) -> list[Path]:
    """Return other people's recordings that `paths` mean: none of `own`, none of `subject`.

    Raises
    ------
    AppError
        Nothing is left.
    """
    taken = {path.resolve() for path in own}
    found = [
        path
        for path in recordings_of(paths)
        if path.resolve() not in taken and f"sub-{subject}" not in path.parts[-3:]
    ]
    if paths and not found:
        raise AppError(
            f"--others names no recording but those of {subject} themselves, expected other "
            "people's: leave it out, or name another folder."
        )
    return found


def check_once(paths: Sequence[Path]) -> None:
    """Refuse a recording that is given twice, by its path or as a copy.

    Raises
    ------
    AppError
        It would be tested on what was learnt from it.
    """
    files = [recording_of(path) for path in paths]
    seen: dict[int, list[Path]] = {}
    for path in files:
        try:
            size = path.stat().st_size
        except OSError:
            continue  # reading it says what is wrong
        for other in seen.setdefault(size, []):
            if path.samefile(other) or filecmp.cmp(path, other, shallow=False):
                same = "given twice" if path.samefile(other) else f"a copy of {other}"
                raise AppError(
                    f"{path} is {same}, expected each recording once: a decoder would be tested "
                    "on what it learnt from."
                )
        seen[size].append(path)


BIDS_RECORDINGS = (".edf", ".bdf", ".vhdr", ".set", ".fif")
"""Formats of EEG in a BIDS data set, and MNE's own."""


def speaks_for_itself(recording: Path) -> bool:
    """Whether a session of ours made it, so that its markers name pictures of the gallery."""
    return recording.suffix.lower() == ".xdf" and (recording.parent / "session.toml").is_file()


def settings_of(recording: Path, config: SessionConfig) -> SessionConfig:
    """Settings of the recording's own session where it has one, else `config`."""
    if speaks_for_itself(recording):
        return load_config(recording.parent / "session.toml").model_copy(
            update={"subject": config.subject}
        )
    return config


def parse_labels(text: str | None) -> dict[str, str]:
    """Read `--labels`: `EVENT[=CLASS],…`, or a file of such lines where events hold commas.

    Events of one class are put together.

    Raises
    ------
    AppError
        An empty name, fewer than two classes, or a file that cannot be read.
    """
    if text is None:
        return {}
    classes: dict[str, str] = {}
    for part in _parts(text):
        event, found, name = (word.strip() for word in part.rpartition("="))
        if not name or (found and not event):
            raise AppError(
                f"--labels has {part!r}, expected EVENT or EVENT=CLASS with commas between (or a "
                "file of such lines): such as face,house or 11=face,12=face,21=house."
            )
        classes[event or name] = name
    if len(set(classes.values())) < 2:
        raise AppError(
            f"--labels names {len(set(classes.values()))} class, expected at least two to tell "
            "apart."
        )
    return classes


def _parts(text: str) -> list[str]:
    # Not `Path.exists`, which raises for a text that is longer than a name can be.
    if not os.path.exists(text):  # noqa: PTH110
        return text.split(",")
    try:
        lines = read_text(text).split("\n")
    except (OSError, ValueError) as error:
        raise AppError(f"cannot read {text} ({error}), expected lines EVENT=CLASS.") from None
    return [line for line in lines if line.strip()]


def parse_pictures(text: str | None) -> dict[str, str] | None:
    """Read `--pictures`: `CLASS=PICTURE,…`, or a file of such lines; None where it was not given.

    Raises
    ------
    AppError
        Anything but such pairs, or a class twice.
    """
    if text is None:
        return None
    pictures: dict[str, str] = {}
    for part in _parts(text):
        name, found, picture = (word.strip() for word in part.rpartition("="))
        if not (name and found and picture) or name in pictures:
            raise AppError(
                f"--pictures has {part!r}, expected CLASS=PICTURE with commas between, each class "
                f"once: such as face=smiling-face,house=house; {NO_PICTURE!r} draws fog."
            )
        pictures[name] = picture
    return pictures


def parse_until(text: str | None) -> Until | None:
    """Read `--until`: seconds from the beginning, or a part of the recording in percent."""
    if text is None:
        return None
    word = text.strip()
    try:
        number = float(word.removesuffix("%"))
    except ValueError:
        number = math.nan
    highest = 100.0 if word.endswith("%") else math.inf
    if not 0 < number < math.inf or number > highest:
        raise AppError(
            f"--until is {text!r}, expected seconds from the recording's beginning such as 600, or "
            "a part of it such as 60%."
        )
    return Until(number / 100, is_share=True) if word.endswith("%") else Until(number)


@dataclass(frozen=True, slots=True)
class Until:
    """How much of a recording is learnt from: s, or a share of it."""

    amount: float
    is_share: bool = False

    def seconds(self, duration: float | None, path: Path) -> float:
        """Return it in s; refuse a share of a recording whose length nobody knows."""
        if not self.is_share:
            return self.amount
        if duration is None:
            raise AppError(
                f"{path} does not say how long it is, so {self.amount:.0%} of it cannot be "
                "found: give --until in seconds."
            )
        return self.amount * duration


@dataclass(frozen=True, slots=True)
class ReadPart:
    """What was read of a recording.

    Attributes
    ----------
    path : Path
    config : SessionConfig
        The settings that were used.
    sha256 : str
    ch_names : tuple of str
        Channels that it has, those that no epoch could use included.
    start, stop : float or None
        First and last moment of the epochs that may be learnt from, s on the recording's clock.
    """

    path: Path
    config: SessionConfig
    sha256: str
    ch_names: tuple[str, ...] = ()
    start: float | None = None
    stop: float | None = None


def names_of(parts: Sequence[ReadPart]) -> tuple[str, ...]:
    """Name each recording shortly, and no two alike."""
    short = [part.path.name for part in parts]
    return tuple(
        name if short.count(name) == 1 else f"{number}: {part.path.parent.name}/{name}"
        for number, (name, part) in enumerate(zip(short, parts, strict=True), 1)
    )


def read_recording(
    path: Path,
    config: SessionConfig,
    collection: Collection,
    *,
    out: Path,
    stop: threading.Event,
    board: str | None = None,
    choice: StreamChoice | None = None,
    until: Until | None = None,
    on_progress: Callable[[float], None] = lambda _share: None,
) -> ReadPart:
    """Replay a recording into `collection`: a session that decodes nothing, with its folder.

    Parameters
    ----------
    path : Path
        A recording, or a session folder.
    config : SessionConfig
        Settings where the recording has none of its own beside it.
    out : Path
        The session folder to write, new or empty.
    stop : threading.Event
        Ends the reading.
    choice : StreamChoice, optional
        Which streams of the recording the person asked for; `config` then holds the settings to
        use as they are. None: a `session.toml` beside the recording wins.
    until : Until, optional
        How much of it is read; None: all.
    on_progress : callable
        Called now and then with the share that has been read; where the length is known.

    Raises
    ------
    PhospheneError
        The file cannot be read, or does not say enough of itself.
    """
    from app.runtime.launch import replay_session

    recording = recording_of(path)
    used = by_markers(config if choice is not None else settings_of(recording, config))
    decoder = used.decoder.model_copy(update={"enabled": False, "adapter": None})
    used = used.model_copy(update={"decoder": decoder})
    spans: list[float] = []

    def take(event: EpochEvent) -> None:
        collection.take(event)
        if event.epoch is not None and event.outcome in USABLE:
            spans.extend(event.t_onset + edge for edge in (event.epoch.tmin, event.epoch.tmax))

    duration = length_of_recording(recording, board=board, choice=choice)
    limit = None if until is None else until.seconds(duration, recording)
    session = replay_session(
        used, recording, out=out, board=board, choice=choice, duration=limit, on_epoch=take
    )
    session.start()
    while not session.wait(0.1):
        if stop.is_set():
            session.request_stop(at_once=True)
        if duration:
            on_progress(min(1.0, session.snapshot().duration / min(duration, limit or duration)))
    snapshot = session.snapshot()
    if snapshot.phase is Phase.FAILED:
        raise AppError(snapshot.message)
    edges = (min(spans), max(spans)) if spans else (None, None)
    ch_names = () if snapshot.info is None else snapshot.info.ch_names
    return ReadPart(recording, used, file_sha256(recording), ch_names, *edges)


def length_of_recording(
    recording: Path, *, board: str | None = None, choice: StreamChoice | None = None
) -> float | None:
    """Length of a recording, s; None where only reading it would tell."""
    source = RecordedSource(recording, board=board, choice=choice)
    try:
        return source.duration
    finally:
        source.close()


def default_classes(counts: Mapping[str, int], gallery: Gallery) -> dict[str, str]:
    """Classes where none were named: what the gallery knows, else every label often enough.

    Raises
    ------
    AppError
        Fewer than two labels can be classes.
    """
    known = {label: label for label in counts if label in set(gallery.labels)}
    if len(known) >= 2:
        return known
    often = {label: label for label, n in counts.items() if n >= LEAST_OFTEN}
    if len(often) < 2:
        found = ", ".join(f"{label!r} ({n})" for label, n in list(counts.items())[:8]) or "none"
        raise AppError(
            f"the recording's usable markers are {found}, expected at least two labels with "
            f"{LEAST_OFTEN} epochs each: name them with --labels."
        )
    return often


LEAST_OFTEN = 10
"""Epochs that a label needs to be taken for a class unasked."""
