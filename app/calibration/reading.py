"""A calibration from a recording: the same live path over a file, as fast as it goes.

Owns which file and settings are meant by a path, which labels count, and the reading itself. Gives
the same epochs that the live calibration gave, bit for bit: a session's own `session.toml` beside
its recording is used as it stands.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from app.calibration.collection import Collection, by_markers
from app.calibration.files import RECORDING
from app.errors import AppError
from app.port import EpochEvent
from configs import SessionConfig, load_config
from configs.guard import read_text
from devices.choosing import StreamChoice
from devices.replay import RecordedSource
from pipeline.gallery import Gallery
from pipeline.live import LivePath
from pipeline.values import Packet, StreamRole, Verdict


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


def settings_of(recording: Path, config: SessionConfig) -> SessionConfig:
    """Settings of the recording's own session where it has one, else `config`."""
    beside = recording.parent / "session.toml"
    if recording.suffix.lower() == ".xdf" and beside.is_file():
        return load_config(beside).model_copy(update={"subject": config.subject})
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


def read_epochs(
    path: Path,
    config: SessionConfig,
    collection: Collection,
    *,
    stop: threading.Event,
    board: str | None = None,
    choice: StreamChoice | None = None,
    on_progress: Callable[[float, float | None], None] = lambda _at, _whole: None,
) -> SessionConfig:
    """Run a recording through the live path into `collection`.

    Parameters
    ----------
    path : Path
        A recording, or a session folder.
    config : SessionConfig
        Settings where the recording has none of its own beside it.
    stop : threading.Event
        Ends the reading.
    choice : StreamChoice, optional
        Which streams of the recording the person asked for; `config` then holds the settings to
        use as they are. None: a `session.toml` beside the recording wins.
    on_progress : callable
        Called with the seconds read so far and the whole length (None: unknown).

    Returns
    -------
    SessionConfig
        The settings that were used.

    Raises
    ------
    PhospheneError
        The file cannot be read, or does not say enough of itself.
    """
    recording = recording_of(path)
    used = by_markers(config if choice is not None else settings_of(recording, config))
    choice = choice or StreamChoice(used.source, used.markers)
    source = RecordedSource(recording, board=board, choice=choice)
    try:
        live = LivePath(used, source.streams)
        first: float | None = None
        while not stop.is_set() and (items := source.read(1.0)):
            for item in items:
                _take_all(collection, live.feed(item))
                if (
                    isinstance(item, Packet)
                    and item.role is StreamRole.EEG
                    and len(item.timestamps)
                ):
                    first = item.received_at if first is None else first
                    on_progress(item.received_at - first, None)
        _take_all(collection, live.finish())
    finally:
        source.close()
    return used


def _take_all(collection: Collection, verdicts: Sequence[Verdict]) -> None:
    for verdict in verdicts:
        collection.take(EpochEvent.of(verdict))


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
