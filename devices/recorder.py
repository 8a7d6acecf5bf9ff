"""Records a session: one XDF stream a role, items in the order of their arrival.

Owns how a session's items become samples: one samples chunk a packet, clock probes as XDF has
them, changes of state and decisions as JSON lines of an events stream, so that `devices.replay`
repeats exactly the same sequence. The thread and the file are `devices.stream_recorder`'s. Knows
nothing of where items come from.
"""

from __future__ import annotations

import json
import platform
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pylsl

from configs import RecordingConfig
from devices.choosing import OWN_EVENTS
from devices.lsl.outlet import own_source_id
from devices.stream_recorder import StreamRecorder
from devices.xdf.writer import sender_time
from pipeline.values import (
    OWN_ROLES,
    ClockOffset,
    Packet,
    SourceItem,
    StateChange,
    StreamInfo,
    StreamRole,
    StreamState,
)

EVENTS_INFO: Final = StreamInfo(
    name=OWN_EVENTS,
    type="Events",
    source_id="phosphene-events",
    n_channels=1,
    sfreq=0.0,
    channel_format="string",
)
"""The stream of our own decisions and of stream states: one JSON object a sample. Its type is that
of the events that a session publishes; recordings of earlier versions say `phosphene-events`."""


def born(info: StreamInfo, session: str, lab: str = "") -> StreamInfo:
    """Return a stream of our own as it is from now on: what LSL says of every outlet, too.

    `lab` is LSL's session id, the one under which the streams beside it are in reach.
    """
    return replace(
        info,
        source_id=own_source_id(info.name, session),
        uid=info.uid or str(uuid.uuid4()),
        session_id=info.session_id or lab,
        hostname=info.hostname or platform.node(),
        created_at=info.created_at or pylsl.local_clock(),
    )


def encode_state(change: StateChange) -> str:
    """A stream's change of state as one line of the events stream."""
    return json.dumps(
        {
            "state": {
                "role": change.role.value,
                "state": change.state.value,
                "at": change.at,
                "reason": change.reason,
                **({} if change.until is None else {"until": change.until}),
            }
        }
    )


def decode_state(event: Any) -> StateChange | None:
    """Undo `encode_state` on a parsed line; None when it is something else."""
    table = event.get("state") if isinstance(event, dict) else None
    if not isinstance(table, dict):
        return None
    try:
        return StateChange(
            role=StreamRole(table["role"]),
            state=StreamState(table["state"]),
            at=float(table["at"]),
            reason=str(table.get("reason", "")),
            until=None if table.get("until") is None else float(table["until"]),
        )
    except (KeyError, ValueError, TypeError):
        return None


def encode_time(item: Packet | ClockOffset) -> str:
    """What XDF cannot hold of the item that follows, as one line of the events stream.

    A packet's arrival, where its stamps are not finite and so cannot tell it; a probe's exact time.
    """
    what, at = (
        ("received_at", item.received_at)
        if isinstance(item, Packet)
        else ("measured_at", item.measured_at)
    )
    return json.dumps({"next": {"role": item.role.value, what: at}})


def decode_time(event: Any) -> tuple[StreamRole, str, float] | None:
    """Undo `encode_time` on a parsed line: role, attribute, value; None for something else."""
    table = event.get("next") if isinstance(event, dict) else None
    if not isinstance(table, dict):
        return None
    try:
        what = "received_at" if "received_at" in table else "measured_at"
        return StreamRole(table["role"]), what, float(table[what])
    except (KeyError, ValueError, TypeError):
        return None


_STREAM_IDS: Final = {role: number for number, role in enumerate(StreamRole, start=1)}


class Recorder:
    """A session's recorder: one stream a role, items in order of arrival.

    Parameters
    ----------
    path : Path
        File to create; never overwritten.
    streams : mapping of StreamRole to StreamInfo
        Streams known at the start; `EVENTS` is always declared, others may follow by `add_stream`.
    config : RecordingConfig
    session : str
        Ends the `source_id` of our own streams.
    **options
        As `StreamRecorder`.

    Raises
    ------
    RecordingError
        The file exists or cannot be created.
    """

    def __init__(
        self,
        path: Path | str,
        streams: Mapping[StreamRole, StreamInfo],
        config: RecordingConfig,
        *,
        session: str = "",
        max_queued: int = 256 << 20,
        free_space: Callable[[Path], int] | None = None,
    ) -> None:
        self._session = session
        self._lab = next((info.session_id for info in streams.values() if info.session_id), "")
        self._file = StreamRecorder(path, config, max_queued=max_queued, free_space=free_space)
        for role, info in {**streams, StreamRole.EVENTS: EVENTS_INFO}.items():
            self.add_stream(role, info)

    @property
    def path(self) -> Path:
        """The file that is written to."""
        return self._file.path

    @property
    def paths(self) -> Sequence[Path]:
        """All files of this recording: more than one after a fallback."""
        return tuple(self._file.paths)

    def add_stream(self, role: StreamRole, info: StreamInfo) -> None:
        """Declare a stream that joined late; a role that is there already stays as it is."""
        own = born(info, self._session, self._lab) if role in OWN_ROLES else info
        self._file.declare(_STREAM_IDS[role], own, role.value)

    def put(self, item: SourceItem) -> bool:
        """Queue one item of the source; False when it was dropped (counted). Never blocks."""
        if isinstance(item, Packet):
            if not np.isfinite(item.timestamps).all():
                self.put_event(encode_time(item), item.received_at)
            return self._file.put_samples(_STREAM_IDS[item.role], item.samples, item.timestamps)
        if isinstance(item, ClockOffset):
            if sender_time(item.measured_at, item.offset) + item.offset != item.measured_at:
                # XDF keeps the sender's time only, too coarse here to give this probe's back.
                self.put_event(encode_time(item), item.measured_at)
            return self._file.put_offset(_STREAM_IDS[item.role], item.measured_at, item.offset)
        return self.put_event(encode_state(item), item.at)

    def put_event(self, line: str, at: float) -> bool:
        """Queue one JSON line of the events stream, stamped `at` (`local_clock`, s)."""
        stamps = np.array([at], dtype=np.float64)
        return self._file.put_samples(_STREAM_IDS[StreamRole.EVENTS], (line,), stamps)

    @property
    def bytes_written(self) -> int:
        """Bytes handed to the operating system."""
        return self._file.bytes_written

    @property
    def disk_free(self) -> int | None:
        """Free bytes where the file lies; None when unknown."""
        return self._file.disk_free

    @property
    def n_dropped(self) -> int:
        """Items that are not in the file."""
        return self._file.n_dropped

    def samples_pending(self, role: StreamRole) -> int:
        """Samples of a role that were taken and are not in the file; exact once it is closed."""
        return self._file.samples_pending(_STREAM_IDS[role])

    @property
    def alarm(self) -> str:
        """One sentence while something is wrong; `""` while all is well."""
        return self._file.alarm

    def close(self, timeout: float = 10.0) -> bool:
        """Write what waits and the footers; False when not all of it is in the file."""
        return self._file.close(timeout)
