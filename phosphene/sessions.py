"""A session folder as typed values, and as MNE and pandas take them.

Owns that view of a folder. Its tolerant reading is `app.report.record`'s, the recording's is
`devices`'s.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.report.record import Event, SessionRecord, read_picture, read_record
from app.runtime.folder import RECORDING
from configs import SessionConfig
from pipeline.errors import ConfigurationError
from pipeline.values import Float32, Uint8, read_only


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """A finished session; made by `read_session`.

    Attributes
    ----------
    folder : Path
    settings : SessionConfig
        What it ran with.
    events : tuple of Event
        One a marker, in order of onset: `index`, `t_onset` (s), `label`, `outcome`, `reason`,
        `top`, `rank`, `chance`, `confidence`, hashes, `stages_ms`.
    summary : mapping
        `summary.json`: counts by outcome, samples, latencies, accuracy against chance.
    """

    folder: Path
    settings: SessionConfig
    events: tuple[Event, ...]
    summary: Mapping[str, Any]
    _record: SessionRecord

    @property
    def recording(self) -> Path:
        """The raw streams as they came, `recording.xdf`; a path for `open_recording`."""
        return self.folder / RECORDING

    def records(self) -> list[dict[str, Any]]:
        """One flat record an event: `pandas.DataFrame(session.records())`."""
        return [each.record() for each in self.events]

    def image(self, event: Event | int) -> Uint8 | None:
        """Picture of an event, or of its index.

        Returns
        -------
        ndarray, shape (height, width, 3), uint8, or None
            sRGB, read-only; None where none was drawn, or its file is gone.
        """
        from PIL import Image

        found = self._event(event)
        data = read_picture(self._record, found)
        if data is None:
            return None
        with Image.open(io.BytesIO(data)) as picture:
            return read_only(np.asarray(picture.convert("RGB"), dtype=np.uint8))

    def embeddings(self) -> dict[int, Float32]:
        """Decoded vectors by index of the event, (n_features,) float32 each.

        Raises
        ------
        PhospheneError
            There is no recording, or it cannot be read.
        """
        from app.evaluation.session_facts import embeddings_of

        found = embeddings_of(self.recording, self.events)
        return {index: read_only(vector) for index, vector in found.items()}

    def to_raw(self) -> Any:
        """The recording as MNE has it: volts, with the markers as annotations.

        Returns
        -------
        mne.io.RawArray
            Not filtered. Lost time is filled with zeros and annotated as `BAD_ACQ_SKIP`.

        Raises
        ------
        PhospheneError
            There is no recording, or it cannot be read.
        """
        import mne

        from devices.choosing import StreamChoice
        from devices.continuous import read_continuous

        choice = StreamChoice(self.settings.source, self.settings.markers)
        found = read_continuous(self.recording, choice=choice)
        info = mne.create_info(list(found.ch_names), found.sfreq, list(found.ch_types))
        raw = mne.io.RawArray(1e-6 * found.data.astype(np.float64), info, verbose="ERROR")
        raw.info["bads"] = list(found.bads)
        marks = [*found.events, *found.gaps]
        raw.set_annotations(
            mne.Annotations(
                [mark.sample / found.sfreq for mark in marks],
                [mark.n_times / found.sfreq for mark in marks],
                [mark.label for mark in marks],
            )
        )
        return raw

    def _event(self, event: Event | int) -> Event:
        if isinstance(event, Event):
            return event
        for each in self.events:
            if each.index == event:
                return each
        raise ConfigurationError(
            f"{self.folder} has no event of index {event}, expected one of its {len(self.events)}."
        )


def read_session(folder: Path | str) -> Session:
    """Read a session folder that `phosphene run` or `demo` wrote.

    Parameters
    ----------
    folder : Path or str

    Returns
    -------
    Session

    Raises
    ------
    PhospheneError
        The folder or its `summary.json` is missing or unreadable.

    Examples
    --------
    >>> import phosphene
    >>> session = phosphene.read_session("my-session")  # doctest: +SKIP
    >>> session.summary["outcomes"]  # doctest: +SKIP
    {'decoded': 40}
    """
    from phosphene.settings import load_settings

    record = read_record(Path(folder))
    settings = load_settings(record.folder / "session.toml")
    return Session(record.folder, settings, record.events, record.summary, record)
