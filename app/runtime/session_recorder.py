"""The session's recording: switched on and off, fed by the acquisition and the decoder's thread.

Owns the recorder of the moment, the streams it must know, and the clock probes of our own
streams. Knows nothing of what the items mean; the file and its thread are `devices.recorder`'s.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from app.runtime.folder import SessionFolder
from configs import RecordingConfig
from devices.lsl.outlet import embedding_info
from devices.recorder import Recorder
from pipeline.values import (
    OWN_ROLES,
    ClockOffset,
    Float32,
    Packet,
    SourceItem,
    StreamInfo,
    StreamRole,
)


class SessionRecorder:
    """The recorder of a session; safe from any thread.

    Parameters
    ----------
    config : RecordingConfig
    folder : SessionFolder
        Names the files; a file that is there is never written over.
    clock : callable
        `local_clock`, s.
    session : str
        Ends the `source_id` of our own streams.
    """

    def __init__(
        self,
        config: RecordingConfig,
        folder: SessionFolder,
        *,
        clock: Callable[[], float],
        session: str = "",
    ) -> None:
        # All that the folder's disk refuses goes to one place.
        fallback = None if folder.fallback is None else str(folder.fallback)
        self._config = config.model_copy(update={"fallback": fallback})
        self._folder = folder
        self._clock = clock
        self._session = session
        self._lock = threading.Lock()
        self._streams: dict[StreamRole, StreamInfo] = {}
        self._recorder: Recorder | None = None
        self._n_samples = 0
        self._probed_at = -np.inf

    @property
    def recorder(self) -> Recorder | None:
        """The one that records now."""
        return self._recorder

    @property
    def n_samples(self) -> int:
        """EEG samples that were taken; of a closed recording those that are in its file."""
        return self._n_samples

    def fields(self) -> dict[str, Any]:
        """What a snapshot says of the recording; nothing while there is none."""
        recorder = self._recorder
        if recorder is None:
            return {}
        return {
            "recording": recorder.path,
            "recording_bytes": recorder.bytes_written,
            "disk_free": recorder.disk_free,
        }

    def declare(self, streams: Mapping[StreamRole, StreamInfo]) -> None:
        """Tell the streams; those of the start before the first recording, others as they come."""
        with self._lock:
            self._streams |= streams
            if self._recorder is not None:
                for role, info in streams.items():
                    self._recorder.add_stream(role, info)

    def switch(self, *, on: bool) -> None:
        """Start a recording, or finish the one that runs; a finished one is never reopened."""
        with self._lock:
            old = self._recorder
            if on == (old is not None):
                return
            self._recorder = self._open() if on else None
            self._probed_at = -np.inf
        if old is not None:
            self._end(old)

    def put(self, item: SourceItem) -> None:
        """Record an item; returns at once."""
        recorder = self._recorder
        if recorder is None:
            return
        written = recorder.put(item)
        if written and isinstance(item, Packet) and item.role is StreamRole.EEG:
            self._n_samples += len(item.timestamps)

    def note(self, event: Mapping[str, Any]) -> None:
        """Record one of our own facts."""
        recorder = self._recorder
        if recorder is not None:
            recorder.put_event(json.dumps(event), self._clock())

    def put_vector(self, role: StreamRole, vector: Float32, at: float) -> None:
        """Record a vector of our own streams, stamped `at` (s); the first declares embeddings."""
        if self._recorder is None:
            return
        row = np.ascontiguousarray(vector, dtype=np.float32).reshape(1, -1)
        if role is StreamRole.EMBEDDING and role not in self._streams:
            self.declare({role: embedding_info(row.shape[1])})
        self.put(Packet(role, row, np.array([at]), received_at=at))

    def probe(self) -> None:
        """Record our own streams' clock offset, nought, as often as that of the others."""
        now = self._clock()
        if self._recorder is None or now - self._probed_at < self._config.clock_offset_interval:
            return
        self._probed_at = now
        roles = {StreamRole.EVENTS, *self._streams} & OWN_ROLES
        for role in sorted(roles):
            self.put(ClockOffset(role, now, 0.0))

    def close(self) -> Recorder | None:
        """Finish the file; the recorder that wrote it, for its figures."""
        with self._lock:
            recorder, self._recorder = self._recorder, None
        if recorder is not None:
            self._end(recorder)
        return recorder

    def _end(self, recorder: Recorder) -> None:
        recorder.close()
        self._n_samples -= recorder.samples_pending(StreamRole.EEG)

    def _open(self) -> Recorder:
        target, number = self._folder.recording, 1
        while target.exists():
            number += 1
            target = self._folder.path / f"recording-{number}.xdf"
        return Recorder(target, dict(self._streams), self._config, session=self._session)
