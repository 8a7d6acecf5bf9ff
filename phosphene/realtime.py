"""A client for mne-realtime: its `RtEpochs` and callbacks over our own LSL inlet.

Owns the way from packets to buffers as mne-realtime wants them: equal lengths, volts, the markers
as a stim channel. mne-realtime is discontinued, and its own `LSLClient` does not work with the
pylsl of today; MNE-LSL is what its authors and we recommend. This is for scripts that exist.
Iterate over `RtEpochs`: with MNE 1.10 and later its `get_data` fails for a changed signature.
"""

from __future__ import annotations

import logging
import math
import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.units import unit_scale
from pipeline.errors import ConfigurationError
from pipeline.extras import extras_named
from pipeline.ports import Source
from pipeline.values import ClockOffset, Float64, Packet, StateChange, StreamRole, StreamState

if TYPE_CHECKING:
    from configs import SessionConfig

with (
    warnings.catch_warnings(),
    extras_named("phosphene.realtime", otherwise="or use MNE-LSL (StreamLSL, EpochsStream)"),
):
    warnings.simplefilter("ignore", FutureWarning)  # it says that it is discontinued
    from mne_realtime.base_client import _BaseClient

_LOG = logging.getLogger(__name__)
_NOT_STARTED = "The client is not started: use it in a `with` block, or call start()."
_KINDS = frozenset({"eeg", "eog", "ecg", "emg", "misc", "stim", "bio", "seeg", "ecog"})
"""Channel types that MNE and LSL have in common; others are `misc`."""
_TURN = 0.1
"""Longest wait of one read, s."""


class LslSourceClient(_BaseClient):  # type: ignore[misc]
    """Reads an EEG stream and its markers for mne-realtime.

    Parameters
    ----------
    source_id : str, optional
        The EEG stream; None: the only one of type EEG in reach.
    markers : str, optional
        source_id of the marker stream; None: the only one in reach, if there is one.
    event_id : mapping of str to int, optional
        Number of each label on the stim channel. Others count only where they are whole numbers
        from 1 on themselves.
    buffer_size : int
        Samples of each buffer.
    wait_for_markers : float
        How long samples wait for the markers that belong to them, s. A later one is left out, said
        in the log and counted in `n_late`.
    stim_channel : str
        Name of the stim channel; `RtEpochs`'s own default.
    settings : SessionConfig, optional
        What a stream does not say itself: labels, unit.
    source : Source, optional
        Read this instead of LSL.

    Examples
    --------
    >>> from phosphene.realtime import LslSourceClient  # doctest: +SKIP
    >>> with LslSourceClient(event_id={"face": 1, "house": 2}) as client:  # doctest: +SKIP
    ...     epochs = RtEpochs(client, {"face": 1, "house": 2}, -0.2, 0.5)
    ...     epochs.start()
    """

    def __init__(
        self,
        source_id: str | None = None,
        *,
        markers: str | None = None,
        event_id: Mapping[str, int] | None = None,
        buffer_size: int = 50,
        wait_for_markers: float = 0.1,
        stim_channel: str = "STI 014",
        settings: SessionConfig | None = None,
        source: Source | None = None,
    ) -> None:
        self._recv_thread: threading.Thread | None
        super().__init__(host=source_id, buffer_size=buffer_size, wait_max=math.inf)
        self._markers_id, self._settings, self._source = markers, settings, source
        self._event_id = dict(event_id or {})
        self._wait = wait_for_markers
        self._stim_name = stim_channel
        self._stop = threading.Event()
        self.n_late = 0
        self._offsets = dict.fromkeys(StreamRole, 0.0)
        self._data: Float64 = np.zeros((0, 0))
        self._stamps: Float64 = np.zeros(0)
        self._pending: list[tuple[float, int]] = []
        self._newest = -math.inf

    def __enter__(self) -> LslSourceClient:
        """Open the stream; raises a `PhospheneError` where none fits, without trying for ever."""
        from phosphene.sources import open_stream

        if self._source is None:
            self._source = open_stream(
                source_id=self.host, markers=self._markers_id, settings=self._settings
            )
        try:
            self.info = self._create_info()
        except BaseException:
            self._source.close()
            raise
        return self

    def iter_raw_buffers(self) -> Iterator[Float64]:
        """Buffers as they come, volts, shape (n_channels + 1, buffer_size); the last row is stim.

        Ends when the stream ends, or `stop_receive_thread` is called.
        """
        if self._source is None:
            raise ConfigurationError(_NOT_STARTED)
        while not self._stop.is_set():
            for item in self._source.read(_TURN):
                if isinstance(item, StateChange):
                    if item.state is StreamState.ENDED and item.role is StreamRole.EEG:
                        self._wait = 0.0
                        yield from self._whole_buffers()
                        return
                    _LOG.info("%s", item.reason)
                elif isinstance(item, ClockOffset):
                    self._offsets[item.role] = item.offset
                elif item.role is StreamRole.EEG:
                    self._take_samples(item)
                else:
                    self._take_markers(item)
            yield from self._whole_buffers()

    def get_data_as_epoch(self, n_samples: int = 1024, picks: Any = None) -> Any:
        """Wait for the next `n_samples` and return them as one `mne.Epochs`."""
        import mne

        parts: list[Float64] = []
        for buffer in self.iter_raw_buffers():
            parts.append(buffer)
            if sum(part.shape[1] for part in parts) >= n_samples:
                break
        data = np.concatenate(parts, axis=1)[:, :n_samples]
        epochs = mne.EpochsArray(data[np.newaxis], self.info, np.array([[0, 1, 1]]))
        return epochs if picks is None else epochs.pick(picks)

    def start_receive_thread(self, nchan: int) -> None:
        """Start calling the callbacks."""
        self._stop.clear()
        super().start_receive_thread(nchan)

    def stop_receive_thread(self, stop_measurement: bool = False) -> None:
        """End the thread; with `stop_measurement` the stream is closed, too."""
        self._stop.set()
        thread: threading.Thread | None = self._recv_thread
        self._recv_thread = None
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        if stop_measurement:
            self._disconnect()

    def _disconnect(self) -> None:
        if not self._stop.is_set():
            self.stop_receive_thread()
        if self._source is not None:
            self._source.close()

    def _create_info(self) -> Any:
        import mne

        if self._source is None:
            raise ConfigurationError(_NOT_STARTED)
        stream = self._source.streams[StreamRole.EEG]
        n_channels = stream.n_channels
        names = stream.ch_names or tuple(f"EEG {k + 1:03d}" for k in range(n_channels))
        units = stream.ch_units or ("",) * n_channels
        kinds = [kind if kind in _KINDS else "misc" for kind in stream.ch_types]
        kinds = kinds or ["eeg"] * n_channels
        scales = [unit_scale(unit) for unit in units]
        for name, unit, scale, kind in zip(names, units, scales, kinds, strict=True):
            if scale is None and kind != "misc":
                raise ConfigurationError(
                    f"Channel {name!r} has the unit {unit!r}, expected a voltage: give "
                    "settings with source.unit."
                )
        # Other channels than voltages go on as they are.
        self._scales = np.array([1.0 if scale is None else 1e-6 * scale for scale in scales])
        self._data = np.zeros((n_channels, 0))
        return mne.create_info([*names, self._stim_name], stream.sfreq, [*kinds, "stim"])

    def _take_samples(self, packet: Packet) -> None:
        samples = np.asarray(packet.samples, dtype=np.float64).T * self._scales[:, np.newaxis]
        stamps = packet.timestamps + self._offsets[StreamRole.EEG]
        self._data = np.concatenate((self._data, samples), axis=1)
        self._stamps = np.concatenate((self._stamps, stamps))
        if len(stamps):
            self._newest = float(stamps[-1])

    def _take_markers(self, packet: Packet) -> None:
        offset = self._offsets[packet.role]
        for value, stamp in zip(packet.samples, packet.timestamps, strict=True):
            label = value if isinstance(value, str) else f"{int(np.ravel(value)[0])}"
            number = self._event_id.get(label, int(label) if label.isdecimal() else 0)
            if number > 0:
                self._pending.append((float(stamp) + offset, number))
        self._pending.sort()

    def _whole_buffers(self) -> Iterator[Float64]:
        """Cut what is old enough for its markers to have come."""
        size = self.buffer_size
        while len(self._stamps) >= size and self._newest - self._stamps[size - 1] >= self._wait:
            stamps, self._stamps = self._stamps[:size], self._stamps[size:]
            data, self._data = self._data[:, :size], self._data[:, size:]
            yield np.concatenate((data, self._stim(stamps)[np.newaxis]))

    def _stim(self, stamps: Float64) -> Float64:
        """The stim channel of one buffer: each marker's number at the sample nearest to it."""
        stim = np.zeros(len(stamps))
        half = 0.5 / float(self.info["sfreq"])
        while self._pending and self._pending[0][0] <= stamps[-1] + half:
            onset, number = self._pending.pop(0)
            nearest = int(np.argmin(np.abs(stamps - onset)))
            if onset < stamps[0] - half or stim[nearest]:
                self.n_late += 1
                _LOG.warning("marker %d came too late for the stim channel, or two at once", number)
            else:
                stim[nearest] = number
        return stim
