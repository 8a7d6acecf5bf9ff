"""Every real recording: loaded, replayed, passed through our recorder; samples, events and times.

The list is the folder's: a file that nobody has thought of fails here.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from configs import RecordingConfig, SourceConfig
from devices.choosing import StreamChoice
from devices.continuous import read_continuous
from devices.errors import FileError
from devices.recorder import Recorder
from devices.replay import RecordedSource
from pipeline.values import Packet, SourceItem, StreamRole

FILES = {
    "xdf/ssvep-dsi7.xdf": (33002, 258),
    "xdf/p300-checkerboard.xdf": (19072, 40),
    "xdf/clock_resets.xdf": (27815, 175),
    "xdf/obci-test.xdf": (9520, 0),
    "xdf/minimal.xdf": (9, 9),
    "formats/eeglab_data.set": (30504, 154),
    "formats/test.bdf": (15360, 40),
    "formats/test.edf": (15360, 0),
    "formats/testbva.vhdr": (2112, 16),
    "formats/brainvision/test.vhdr": (7900, 13),
    "openbci/OpenBCI_GUI-v6-blinks-jawClench-alpha.txt": (22490, 0),
}
"""EEG samples and markers of each, as MNE, pyxdf or a count of lines have them."""
READ = {
    "muse/n170-person1_raw.fif": (184380, 1174),
    "muse/p300-person1-session1_raw.fif": (184392, 1161),
    "muse/p300-person1-session2_raw.fif": (153660, 966),
    "muse/p300-person3-session1_raw.fif": (153648, 980),
    "muse/p300-person3-session2_raw.fif": (184404, 1173),
    "muse/p300-person3-session3_raw.fif": (122904, 785),
    "muse/p300-person5_raw.fif": (153660, 984),
}
"""Long ones of one kind, which are read only; counts as MNE has them."""
REFUSED = {"xdf/empty_streams.xdf": "expected a regular numeric stream"}
NO_RECORDING = {
    *("openbci/cyton-packets.txt", "README.md", "faces-houses.zip", "cvep/README.md"),
    *(f"cvep/thielen2021_sub-0{k}.npz" for k in (1, 2, 3)),
}
"""Raw packets are `test_emulated_cyton`'s, the archive is `faces_houses`."""
PARTS = {".fdt", ".dat", ".eeg", ".vmrk", ".pth"}


def read_all(path: Path) -> tuple[RecordedSource, list[SourceItem]]:
    source = RecordedSource(path)
    items: list[SourceItem] = []
    while batch := source.read(0.0):
        items += batch
    source.close()
    return source, items


def of_role(items: list[SourceItem], role: StreamRole) -> list[Packet]:
    return [item for item in items if isinstance(item, Packet) and item.role is role]


def key(item: SourceItem) -> object:
    if isinstance(item, Packet):
        samples = item.samples
        bits = samples if isinstance(samples, tuple) else (samples.dtype, samples.tobytes())
        return (item.role, bits, item.timestamps.tobytes(), item.received_at)
    return item


def round_trip(path: Path, again: Path) -> tuple[int, int]:
    """Pass a recording through our recorder; its counts of samples and markers."""
    first, items = read_all(path)
    recorder = Recorder(again, first.streams, RecordingConfig(min_free_mb=0), max_queued=1 << 30)
    assert all(recorder.put(item) for item in items)
    assert recorder.close(60.0)
    second, repeated = read_all(again)
    assert second.streams == first.streams
    assert second.warnings == ()
    assert [key(item) for item in repeated] == [key(item) for item in items]
    eeg, markers = of_role(items, StreamRole.EEG), of_role(items, StreamRole.MARKERS)
    return sum(len(p.timestamps) for p in eeg), sum(len(p.timestamps) for p in markers)


def check_grid(path: Path, again: Path) -> None:
    """On the live path's time base, too, every event lies on the same sample."""
    first = RecordedSource(path)
    stream = first.streams[StreamRole.EEG]
    first.close()
    names = () if stream.ch_names else tuple(f"E{k}" for k in range(stream.n_channels))
    unit: Literal["", "microvolts"] = "" if any(stream.ch_units) else "microvolts"
    choice = StreamChoice(SourceConfig(ch_names=names, unit=unit))
    one, two = read_continuous(path, choice=choice), read_continuous(again, choice=choice)
    assert one.events == two.events
    assert one.gaps == two.gaps
    np.testing.assert_array_equal(one.data, two.data)


def test_every_file_is_accounted_for(shared_data: Path) -> None:
    found = {
        str(p.relative_to(shared_data))
        for p in shared_data.rglob("*")
        if p.is_file() and p.suffix not in PARTS
    }
    assert found == {*FILES, *READ, *REFUSED, *NO_RECORDING}


@pytest.mark.parametrize("name", FILES)
def test_a_recording_passes_through_our_recorder_unchanged(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    again = tmp_path / "again.xdf"
    assert round_trip(shared_data / name, again) == FILES[name]
    if FILES[name][0] > 1000:
        check_grid(shared_data / name, again)


@pytest.mark.parametrize("name", READ)
def test_every_sample_and_marker_is_read(shared_data: Path, name: str) -> None:
    _, items = read_all(shared_data / name)
    counts = [
        sum(len(packet.timestamps) for packet in of_role(items, role))
        for role in (StreamRole.EEG, StreamRole.MARKERS)
    ]
    assert tuple(counts) == READ[name]


@pytest.mark.parametrize("name", REFUSED)
def test_a_recording_without_eeg_is_refused_in_one_line(shared_data: Path, name: str) -> None:
    with pytest.raises(FileError, match=REFUSED[name]) as caught:
        RecordedSource(shared_data / name)
    assert "\n" not in str(caught.value)


@pytest.fixture
def faces_houses(shared_data: Path, tmp_path: Path) -> Iterator[Path]:
    with zipfile.ZipFile(shared_data / "faces-houses.zip") as archive:
        archive.extractall(tmp_path)
    (path,) = tmp_path.rglob("*_eeg.edf")
    yield path
    shutil.rmtree(tmp_path / "faces-houses", ignore_errors=True)


@pytest.mark.slow
def test_the_long_recording_passes_through_our_recorder_unchanged(
    faces_houses: Path, tmp_path: Path
) -> None:
    assert round_trip(faces_houses, tmp_path / "again.xdf") == (286464, 1583)


@pytest.mark.lsl
@pytest.mark.parametrize("name", FILES)
def test_a_recording_is_played_whole_with_its_events_where_they_were(
    shared_data: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from devices.lsl.outlet import EegOutlet
    from devices.player import Player, TextOutlet
    from tests.devices.test_player import SlowClock, VirtualStop

    sent: dict[object, list[tuple[float, object]]] = {}

    def push(self: EegOutlet | TextOutlet, samples: object, stamps: object) -> None:
        # Strings come one by one, numbers in chunks.
        rows = list(samples) if isinstance(samples, np.ndarray) else [samples]
        sent.setdefault(self, []).extend(zip(np.atleast_1d(stamps).tolist(), rows, strict=True))

    monkeypatch.setattr(EegOutlet, "push", push)
    monkeypatch.setattr(TextOutlet, "push", push)
    clock = SlowClock()
    player = Player(shared_data / name, clock=clock, source_id="whole")
    player.play(VirtualStop(clock))
    player.close()
    n_eeg, n_markers = FILES[name]
    _, items = read_all(shared_data / name)
    eeg, markers = of_role(items, StreamRole.EEG), of_role(items, StreamRole.MARKERS)
    (played,) = (rows for outlet, rows in sent.items() if outlet.info.source_id == "whole")
    assert len(played) == n_eeg
    expected = np.concatenate([np.asarray(p.samples) for p in eeg])
    np.testing.assert_array_equal(np.stack([row for _, row in played]), expected)
    labels = [label for p in markers for label in p.samples]
    told = [sorted(rows) for outlet, rows in sent.items() if isinstance(outlet, TextOutlet)]
    if n_markers:
        # Another program's file may hold several streams of strings; ours is one of them.
        (ours,) = (rows for rows in told if [label for _, label in rows] == labels)
        if not name.startswith("xdf/"):
            at = np.array([stamp for stamp, _ in ours]) - played[0][0]
            onsets = np.concatenate([p.timestamps for p in markers]) - eeg[0].timestamps[0]
            half = 0.5 / player.streams[0].sfreq
            np.testing.assert_allclose(at, np.sort(onsets), atol=half)
