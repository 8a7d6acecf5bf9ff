"""mne-realtime's own `RtEpochs` over our client: known samples at known onsets."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Mapping
from functools import partial

import numpy as np
import pylsl
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mne_realtime import RtEpochs

from devices.lsl.outlet import MarkerOutlet
from phosphene.realtime import LslSourceClient
from pipeline.errors import ConfigurationError
from pipeline.values import (
    ClockOffset,
    Packet,
    SourceItem,
    StateChange,
    StreamInfo,
    StreamRole,
    StreamState,
)
from tests.devices.lsl_tools import Feeder
from tests.waiting import PATIENCE, wait_for

SFREQ = 250.0
EVENTS = {"face": 1, "house": 2}


class Written:
    """A source that gives what was written down, then its end."""

    is_live = False

    def __init__(self, items: list[SourceItem], unit: str = "microvolts") -> None:
        self._items = items
        self.streams: Mapping[StreamRole, StreamInfo] = {
            StreamRole.EEG: StreamInfo(
                "cap", "EEG", "cap", 2, SFREQ, "float32",
                ch_names=("O1", "O2"), ch_units=(unit,) * 2, ch_types=("eeg",) * 2,
            )
        }  # fmt: skip

    def read(self, timeout: float) -> list[SourceItem]:
        if self._items:
            return [self._items.pop(0)]
        return [StateChange(StreamRole.EEG, StreamState.ENDED, 0.0)]

    def close(self) -> None:
        pass


def samples(start: int, stop: int) -> Packet:
    """Sample `k` is `k` and `-k` (of the unit), stamped in the sender's clock."""
    k = np.arange(start, stop)
    return Packet(StreamRole.EEG, np.stack((k, -k), axis=1).astype(np.float32), k / SFREQ, 0.0)


def marker(label: str, sample: float) -> Packet:
    return Packet(StreamRole.MARKERS, (label,), np.array([sample / SFREQ + 100.0]), 0.0)


def written(markers: list[tuple[str, float]], *, cut: int = 37) -> list[SourceItem]:
    """One stream in uneven pieces, 100 s off the markers' clock; each marker 10 samples late."""
    items: list[SourceItem] = [ClockOffset(StreamRole.EEG, 0.0, 100.0)]
    waiting = list(markers)
    for start in range(0, 1000, cut):
        items.append(samples(start, min(start + cut, 1000)))
        while waiting and waiting[0][1] + 10 <= start + cut:
            items.append(marker(*waiting.pop(0)))
    return items


@pytest.mark.parametrize(("size", "cut"), [(20, 37), (50, 1), (50, 200), (7, 13)])
def test_rt_epochs_hold_the_samples_of_their_onsets(size: int, cut: int) -> None:
    # Onsets on borders of buffers and pieces, too; one label that is not asked for.
    shown = [("face", 200), ("house", 350.3), ("other", 400), ("face", 499.6), ("2", 701)]
    source = Written(written(shown, cut=cut))
    wait = 0.05 + cut / SFREQ  # a marker comes with the piece after its own at the latest
    with LslSourceClient(
        source=source, event_id=EVENTS, buffer_size=size, wait_for_markers=wait
    ) as client:
        epochs = RtEpochs(client, EVENTS, -0.2, 0.5, baseline=None, isi_max=0.0)
        epochs.start()
        client._recv_thread.join()
        events = epochs.events
        data = [next(epochs) for _ in events]
        epochs.stop()
    assert client.n_late == 0
    assert events[:, 2].tolist() == [1, 2, 1, 2]
    assert events[:, 0].tolist() == [200, 350, 500, 701]
    for epoch, onset in zip(data, events[:, 0], strict=True):
        expected = 1e-6 * np.arange(onset - 50, onset - 50 + epoch.shape[1])
        np.testing.assert_allclose(epoch[0], expected, atol=1e-15)
        np.testing.assert_allclose(epoch[1], -expected, atol=1e-15)


def test_units_are_read_and_one_that_is_none_is_refused() -> None:
    with LslSourceClient(source=Written(written([]), unit="mV"), buffer_size=10) as client:
        epoch = client.get_data_as_epoch(n_samples=25)
    np.testing.assert_allclose(epoch.get_data()[0, 0], 1e-3 * np.arange(25))
    assert epoch.ch_names == ["O1", "O2", "STI 014"]
    with pytest.raises(ConfigurationError, match="'O1' has the unit 'kelvin', expected a voltage"):
        LslSourceClient(source=Written([], unit="kelvin")).start()
    with pytest.raises(ConfigurationError, match="not started"):
        next(LslSourceClient().iter_raw_buffers())


def test_a_marker_that_comes_too_late_is_counted() -> None:
    items = [*written([]), marker("face", 10)]
    with LslSourceClient(source=Written(items), event_id=EVENTS, buffer_size=10) as client:
        stim = np.concatenate([buffer[-1] for buffer in client.iter_raw_buffers()])
    assert client.n_late == 1
    assert not stim.any()


def more_epochs(epochs: RtEpochs, n_epochs: int) -> bool:
    return len(epochs.events) > n_epochs


@pytest.mark.lsl
@pytest.mark.skipif(sys.platform == "win32", reason="LSL beside MNE")
def test_rt_epochs_and_callbacks_work_live() -> None:
    heard: list[int] = []
    with (
        Feeder(source_id="feeder"),
        MarkerOutlet(name="stimuli", source_id="stimuli") as markers,
        LslSourceClient("feeder", markers="stimuli", event_id=EVENTS, buffer_size=25) as client,
    ):
        client.register_receive_callback(lambda buffer: heard.append(buffer.shape[1]))
        epochs = RtEpochs(client, EVENTS, 0.0, 0.1, baseline=None, isi_max=5.0, sleep_time=0.01)
        epochs.start()
        assert markers.wait_for_consumers(PATIENCE)
        wait_for(lambda: len(heard) > 4)
        for label in ("face", "house"):
            n_epochs = len(epochs.events)
            markers.push(label, pylsl.local_clock())
            wait_for(partial(more_epochs, epochs, n_epochs))
        found = [next(epochs) for _ in range(2)]
        events = epochs.events
        epochs.stop(stop_measurement=True)
    assert events[:, 2].tolist() == [1, 2]
    assert set(heard) == {25}
    for epoch in found:
        numbers = epoch[0] / 1e-6  # C3 counts in thousands
        np.testing.assert_allclose(np.diff(numbers), 1000.0, rtol=1e-4)
    assert not [t for t in threading.enumerate() if t.name.startswith("phosphene")]
