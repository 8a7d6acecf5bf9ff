"""The recorded source: the same items at any pace, from any place, of any file."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from app.runtime.decoding import read_past
from configs import MarkersConfig, RecordingConfig, SourceConfig
from devices.choosing import StreamChoice
from devices.errors import FileError
from devices.recorder import Recorder
from devices.replay import RecordedSource
from devices.replay_items import choose_roles
from devices.xdf import XdfFile, XdfWriter
from pipeline.markers import MarkerReader
from pipeline.values import (
    ClockOffset,
    Packet,
    SourceItem,
    StateChange,
    StreamInfo,
    StreamRole,
)
from tests.devices.xdf_tools import eeg_stream, marker_stream, session_items
from tests.waiting import PATIENCE

STREAMS = {StreamRole.EEG: eeg_stream(), StreamRole.MARKERS: marker_stream()}


class VirtualTime:
    """A clock that moves only when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits = 0

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        assert seconds >= 0
        self.waits += 1
        self.now += seconds


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "session.xdf"
    recorder = Recorder(path, STREAMS, RecordingConfig(min_free_mb=0))
    for item in session_items():
        recorder.put(item)
    recorder.put_event(json.dumps({"index": 0, "outcome": "overload"}), 101.0)
    recorder.put_event("no JSON at all", 101.0)
    recorder.put_event(json.dumps({"index": 3, "outcome": "decoded"}), 101.0)
    recorder.put_event(json.dumps({"index": 0, "outcome": "failed"}), 102.0)
    assert recorder.close()
    return path


def drain(source: RecordedSource) -> list[SourceItem]:
    items: list[SourceItem] = []
    while batch := source.read(0.0):
        items += batch
    return items


def key(item: SourceItem) -> object:
    if isinstance(item, Packet):
        return (item.role, np.asarray(item.samples).tolist(), item.timestamps.tolist())
    return item


def test_is_a_source_that_is_not_live(recording: Path) -> None:
    source = RecordedSource(recording)
    assert not source.is_live
    assert source.streams == STREAMS
    assert source.warnings == ()
    source.close()


def test_recorded_decisions_are_found_the_last_one_counts(recording: Path) -> None:
    source = RecordedSource(recording)
    assert read_past(source.recorded_events()).outcomes == {0: "failed", 3: "decoded"}
    # Asking changes nothing of what is replayed.
    assert len(drain(source)) > 100
    source.close()


@pytest.mark.parametrize("speed", [0.5, 1.0, 7.0])
def test_any_speed_gives_the_same_items_on_an_absolute_schedule(
    recording: Path, speed: float
) -> None:
    fast = RecordedSource(recording)
    expected = drain(fast)
    fast.close()
    time = VirtualTime()
    source = RecordedSource(recording, speed=speed, clock=time.clock, wait=time.wait)
    items: list[SourceItem] = []
    first: float | None = None
    while True:
        batch = source.read(0.25)
        for item in batch:
            if isinstance(item, Packet) and item.role is StreamRole.EEG:
                first = item.received_at if first is None else first
                played = (time.now - 1000.0) * speed
                # Never early; a sample late at most, when a marker is stamped ahead of it.
                assert -1e-6 <= played - (item.received_at - first) <= 1 / 250 + 1e-4
        items += batch
        if any(isinstance(i, StateChange) and i.role is StreamRole.MARKERS for i in batch):
            break
    source.close()
    assert [key(i) for i in items] == [key(i) for i in expected]


def test_a_paced_read_returns_in_time_when_nothing_is_due(recording: Path) -> None:
    time = VirtualTime()
    source = RecordedSource(recording, speed=0.001, clock=time.clock, wait=time.wait)
    source.read(0.1)
    before = time.now
    assert source.read(0.1) == []
    assert time.now - before == pytest.approx(0.1)
    source.close()


def test_close_ends_a_read_that_waits(recording: Path) -> None:
    source = RecordedSource(recording, speed=1e-6)
    source.read(0.0)
    got: list[list[SourceItem]] = []
    thread = threading.Thread(target=lambda: got.append(source.read(60.0)))
    thread.start()
    source.close()
    thread.join(PATIENCE)
    assert got == [[]]


def test_a_start_in_the_middle_brings_the_probe_that_is_valid_there(recording: Path) -> None:
    whole = RecordedSource(recording)
    items = drain(whole)
    whole.close()
    source = RecordedSource(recording, start=2.0)
    late = drain(source)
    source.close()
    assert {i.role for i in late[:2] if isinstance(i, ClockOffset)} == set(STREAMS)
    eeg = [i for i in late if isinstance(i, Packet) and i.role is StreamRole.EEG]
    assert eeg[0].timestamps[-1] >= 5002.0 > eeg[0].timestamps[0] - 0.1
    assert [key(i) for i in late[2:]] == [key(i) for i in items[-len(late[2:]) :]]


def test_other_programs_files_are_understood(shared_data: Path) -> None:
    expected = {
        "ssvep-dsi7.xdf": ("DSI7", "Unity_SSVEP", 33002, 258),
        "p300-checkerboard.xdf": ("g.USBamp-1", "UnityMarkerStream", 19072, 40),
        "clock_resets.xdf": ("BioSemi", "MyMarkerStream", 27815, 175),
        "minimal.xdf": ("SendDataC", "SendDataString", 9, 9),
    }
    for name, (eeg, markers, n_eeg, n_markers) in expected.items():
        source = RecordedSource(shared_data / "xdf" / name)
        assert source.streams[StreamRole.EEG].name == eeg
        assert source.streams[StreamRole.MARKERS].name == markers
        counts = {StreamRole.EEG: 0, StreamRole.MARKERS: 0}
        for item in drain(source):
            if isinstance(item, Packet):
                counts[item.role] += len(item.timestamps)
        assert counts == {StreamRole.EEG: n_eeg, StreamRole.MARKERS: n_markers}
        assert source.recorded_events() == []
        source.close()


def test_streams_can_be_named(shared_data: Path) -> None:
    path = shared_data / "xdf" / "p300-checkerboard.xdf"
    choice = StreamChoice(markers=MarkersConfig(name="PythonResponse"), markers_must_fit=True)
    source = RecordedSource(path, choice=choice)
    assert source.streams[StreamRole.MARKERS].name == "PythonResponse"
    source.close()
    with pytest.raises(
        FileError, match=r"no EEG stream of name 'nope', expected one of: #1 'g\.USB"
    ):
        RecordedSource(path, choice=StreamChoice(SourceConfig(name="nope"), must_fit=True))


def test_a_file_without_eeg_says_what_it_holds(shared_data: Path) -> None:
    with pytest.raises(FileError, match=r"'ctrl' \(control, .*expected a regular numeric"):
        RecordedSource(shared_data / "xdf" / "empty_streams.xdf")


def test_roles_follow_the_habits_of_lsl(tmp_path: Path) -> None:
    path = tmp_path / "a.xdf"
    with XdfWriter(path) as writer:
        writer.add_stream(1, StreamInfo("quality", "Quality", "", 2, 1.0, "float32"))
        writer.add_stream(2, StreamInfo("keys", "Keyboard", "", 1, 0.0, "string"))
        writer.add_stream(3, StreamInfo("ov", "signal", "", 2, 250.0, "float32"))
        writer.add_stream(4, StreamInfo("ints", "Markers", "", 1, 0.0, "int32"))
        for number in (1, 3):
            writer.write_samples(number, np.zeros((3, 2), np.float32), np.arange(3.0))
        writer.write_samples(2, ["key"], np.array([1.0]))
        writer.write_samples(4, np.array([[7]], np.int32), np.array([1.0]))
    with XdfFile(path) as file:
        roles, notes = choose_roles(file, StreamChoice())
    assert roles == {3: StreamRole.EEG, 4: StreamRole.MARKERS}
    assert "not from #2 'keys'" in notes[0]


def test_several_columns_of_text_come_as_one_string(tmp_path: Path) -> None:
    path = tmp_path / "a.xdf"
    with XdfWriter(path) as writer:
        writer.add_stream(1, eeg_stream())
        writer.add_stream(2, StreamInfo("m", "Markers", "", 2, 0.0, "string"))
        writer.write_samples(1, np.zeros((3, 4), np.float32), np.arange(3.0))
        writer.write_samples(2, [("A", "B")], np.array([1.0]))
    source = RecordedSource(path)
    packets = [i for i in drain(source) if isinstance(i, Packet)]
    source.close()
    assert packets[1].samples == ("A\tB",)
    assert MarkerReader(source.streams[StreamRole.MARKERS]).read(packets[1]) == [("A", "")]


def test_damage_is_told_and_the_rest_replayed(recording: Path) -> None:
    raw = recording.read_bytes()
    recording.write_bytes(raw[: len(raw) // 2])
    source = RecordedSource(recording)
    assert len(drain(source)) > 50
    assert "session.xdf, bytes" in source.warnings[0]
    source.close()


def test_any_other_format_becomes_eeg_and_markers(shared_data: Path) -> None:
    source = RecordedSource(shared_data / "formats" / "eeglab_data.set")
    items = drain(source)
    source.close()
    assert [type(i) for i in items[:2]] == [ClockOffset, ClockOffset]
    eeg = [i for i in items if isinstance(i, Packet) and i.role is StreamRole.EEG]
    markers = [i for i in items if isinstance(i, Packet) and i.role is StreamRole.MARKERS]
    assert sum(len(p.timestamps) for p in eeg) == 30504
    assert len(markers) == 154
    assert {p.samples[0] for p in markers} == {"square", "rt"}
    assert max(len(p.timestamps) for p in eeg) == 5  # 40 ms
    # A marker comes before the packet that holds its sample, after the one before.
    for k, item in enumerate(items):
        if isinstance(item, Packet) and item.role is StreamRole.MARKERS:
            after = next(i for i in items[k:] if isinstance(i, Packet) and i.role is StreamRole.EEG)
            assert after.timestamps[0] - 1e-9 <= item.timestamps[0] < after.timestamps[-1] + 1 / 128


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_senseless_speed_is_refused(recording: Path, speed: float) -> None:
    with pytest.raises(FileError, match="above 0"):
        RecordedSource(recording, speed=speed)
