"""Several recordings as one calibration: sessions laid end to end, with the channels they share.

Owns the joining and its refusals; which session an epoch is from stays with it
(`CalibrationData.sessions`), so that whole sessions can be left out when it is judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.adapters.data import CalibrationData
from models.adapters.errors import AdapterError

MIN_CHANNELS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """One recording's epochs, the name of its session and its person."""

    data: CalibrationData
    session: str
    subject: str = "anonymous"


def pool_recordings(parts: Sequence[Recorded]) -> CalibrationData:
    """Join recordings in the order given.

    Channels that one of them lacks are left out of all; onsets go on where the one before ended.

    Raises
    ------
    AdapterError
        None are given, names of sessions repeat, or they differ in rate, window, filter, what
        was shown, or share fewer than two channels.
    """
    if not parts:
        raise AdapterError("there are no recordings, expected at least one.")
    first = parts[0].data
    names = [part.session for part in parts]
    if len(set(names)) < len(names):
        raise AdapterError(f"sessions are named {', '.join(names)}, expected each once.")
    shared = [c for c in first.channels if all(c in part.data.channels for part in parts)]
    if len(shared) < min(MIN_CHANNELS, first.n_channels):
        raise AdapterError(
            f"the recordings share {len(shared)} channels of {first.n_channels}, expected at least "
            f"{MIN_CHANNELS}: name them alike, or calibrate on each alone."
        )
    for part in parts[1:]:
        _check_alike(first, part)
    epochs, onsets, end = [], [], 0.0
    for part in parts:
        data = part.data
        rows = [data.channels.index(name) for name in shared]
        epochs.append(data.epochs[:, rows])
        onsets.append(data.onsets - data.onsets[0] + end)
        # A minute's unit of cross-validation never holds two sessions.
        end = 60 * np.ceil((onsets[-1][-1] + data.epochs.shape[2] / data.sfreq) / 60)
    candidates = tuple(dict.fromkeys(c for part in parts for c in part.data.target_labels))
    lengths = [len(part.data) for part in parts]
    return replace(
        first,
        epochs=np.ascontiguousarray(np.concatenate(epochs)),
        labels=tuple(label for part in parts for label in part.data.labels),
        onsets=np.concatenate(onsets),
        channels=tuple(shared),
        targets=_targets(parts, candidates),
        target_labels=candidates,
        sessions=_each([part.session for part in parts], lengths),
        subjects=_each([part.subject for part in parts], lengths),
    )


def _each(names: Sequence[str], lengths: Sequence[int]) -> tuple[str, ...]:
    return tuple(name for name, n in zip(names, lengths, strict=True) for _ in range(n))


def _targets(parts: Sequence[Recorded], candidates: Sequence[str]) -> np.ndarray | None:
    if parts[0].data.targets is None:
        return None
    known = {
        label: row
        for part in parts
        if part.data.targets is not None
        for label, row in zip(part.data.target_labels, part.data.targets, strict=True)
    }
    return np.stack([known[label] for label in candidates])


def _check_alike(first: CalibrationData, part: Recorded) -> None:
    data = part.data
    for name, given, expected in (
        ("a rate in Hz", data.sfreq, first.sfreq),
        ("samples an epoch", data.epochs.shape[2], first.epochs.shape[2]),
        ("a start from onset in s", data.tmin, first.tmin),
        ("a filter", data.filter, first.filter),
        ("a space", data.space, first.space),
        ("pictures (else classes)", data.targets is not None, first.targets is not None),
        ("classes", data.classes, first.classes),
    ):
        if given != expected:
            raise AdapterError(
                f"the session {part.session!r} has {name} of {given}, the first has {expected}: "
                "calibrate with recordings that were cut alike."
            )
    if not len(data):
        raise AdapterError(f"the session {part.session!r} has no epochs: leave it out.")
