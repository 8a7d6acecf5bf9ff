"""The recorder: order kept, nobody blocked, every failure said within a second."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import pyxdf

from configs import RecordingConfig
from devices.errors import RecordingError
from devices.recorder import EVENTS_INFO, Recorder
from devices.replay import RecordedSource
from devices.xdf import XdfFile
from pipeline.values import ClockOffset, Packet, SourceItem, StateChange, StreamRole, StreamState
from tests.devices.xdf_tools import eeg_stream, marker_stream, session_items
from tests.waiting import PATIENCE, Stopwatch, wait_for

QUIET = RecordingConfig(min_free_mb=0)
STREAMS = {StreamRole.EEG: eeg_stream(), StreamRole.MARKERS: marker_stream()}


def read_all(path: Path) -> list[SourceItem]:
    source = RecordedSource(path)
    items: list[SourceItem] = []
    while batch := source.read(0.0):
        items += batch
    source.close()
    return items


def packet(n: int, start: int = 0) -> Packet:
    stamps = (start + np.arange(n)) / 250.0
    return Packet(StreamRole.EEG, np.ones((n, 4), np.float32), stamps, 0.0)


def test_a_replay_repeats_the_items_in_the_order_of_their_arrival(tmp_path: Path) -> None:
    items = session_items()
    # Changes of state in between, and a sender whose clock reads far more than ours.
    items.insert(40, StateChange(StreamRole.EEG, StreamState.STALLED, 1.25, "No sample."))
    items.insert(44, StateChange(StreamRole.EEG, StreamState.STREAMING, 1.5))
    items.insert(50, ClockOffset(StreamRole.EEG, 100.1, -299_999.7))
    recorder = Recorder(tmp_path / "a.xdf", STREAMS, QUIET)
    assert [recorder.put(item) for item in items] == [True] * len(items)
    assert recorder.close()
    again = read_all(tmp_path / "a.xdf")
    assert [type(i) for i in again[: len(items)]] == [type(i) for i in items]
    for ours, theirs in zip(again, items, strict=False):
        if isinstance(theirs, Packet):
            assert isinstance(ours, Packet)
            assert ours.role == theirs.role
            np.testing.assert_array_equal(ours.timestamps, theirs.timestamps)
            if isinstance(theirs.samples, np.ndarray):
                assert isinstance(ours.samples, np.ndarray)
                assert ours.samples.dtype == theirs.samples.dtype
                np.testing.assert_array_equal(ours.samples, theirs.samples)
            else:
                assert ours.samples == theirs.samples
        else:
            assert ours == theirs
    ends = again[len(items) :]
    assert {(e.role, e.state) for e in ends if isinstance(e, StateChange)} == {
        (StreamRole.EEG, StreamState.ENDED),
        (StreamRole.MARKERS, StreamState.ENDED),
    }
    assert len(ends) == 2


def test_a_marker_without_a_time_keeps_its_arrival(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.xdf", STREAMS, QUIET)
    marker = Packet(StreamRole.MARKERS, ("?",), np.array([np.nan]), 123.456)
    for item in (packet(10), marker, packet(10, 10)):
        assert recorder.put(item)
    assert recorder.close()
    again = [i for i in read_all(tmp_path / "a.xdf") if isinstance(i, Packet)]
    assert [i.role for i in again] == [StreamRole.EEG, StreamRole.MARKERS, StreamRole.EEG]
    assert again[1].received_at == 123.456
    assert np.isnan(again[1].timestamps).all()


def test_pyxdf_reads_all_streams_with_their_clocks(tmp_path: Path) -> None:
    items = session_items()
    recorder = Recorder(tmp_path / "a.xdf", STREAMS, QUIET)
    for item in items:
        recorder.put(item)
    recorder.put_event(json.dumps({"index": 0, "outcome": "decoded"}), 101.0)
    assert recorder.close()
    streams, _ = pyxdf.load_xdf(tmp_path / "a.xdf", dejitter_timestamps=False)
    by_name = {stream["info"]["name"][0]: stream for stream in streams}
    assert set(by_name) == {"amp", "stimuli", EVENTS_INFO.name}
    n_samples = sum(
        len(i.timestamps) for i in items if isinstance(i, Packet) and i.role is StreamRole.EEG
    )
    assert len(by_name["amp"]["time_stamps"]) == n_samples
    # Synchronised by the probes: the sender's 5000 s are our 100.1 s.
    assert by_name["amp"]["time_stamps"][0] == pytest.approx(100.1, abs=1e-3)
    assert json.loads(by_name[EVENTS_INFO.name]["time_series"][-1][0])["outcome"] == "decoded"


def test_a_late_stream_joins(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.xdf", {StreamRole.EEG: eeg_stream()}, QUIET)
    marker = Packet(StreamRole.MARKERS, ("face",), np.array([1.0]), 0.0)
    recorder.put(packet(10))
    assert not recorder.put(marker)
    recorder.add_stream(StreamRole.MARKERS, marker_stream())
    recorder.add_stream(StreamRole.MARKERS, marker_stream())
    assert recorder.put(marker)
    recorder.close()
    assert recorder.n_dropped == 1
    with XdfFile(tmp_path / "a.xdf") as file:
        assert sorted(s.role for s in file.streams.values()) == ["eeg", "events", "markers"]
        assert file.damage == []


def test_an_item_that_does_not_fit_costs_no_other(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.xdf", STREAMS, QUIET)
    recorder.put(packet(10))
    recorder.put(Packet(StreamRole.EEG, np.ones((3, 9), np.float32), np.arange(3.0), 0.0))
    recorder.put(packet(10, 10))
    assert not recorder.close()
    assert recorder.n_dropped == 1
    assert "missing" in recorder.alarm
    with XdfFile(tmp_path / "a.xdf") as file:
        assert file.n_samples(1) == 20


def test_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "a.xdf").write_bytes(b"old")
    with pytest.raises(RecordingError, match="never overwritten"):
        Recorder(tmp_path / "a.xdf", STREAMS, QUIET)


def test_little_space_is_said_from_the_start(tmp_path: Path) -> None:
    recorder = Recorder(
        tmp_path / "a.xdf", STREAMS, RecordingConfig(), free_space=lambda _: 150_000_000
    )
    assert recorder.disk_free == 150_000_000
    assert "150 MB are free" in recorder.alarm
    assert recorder.close()


def test_a_disk_that_hangs_blocks_nobody_and_is_said(tmp_path: Path) -> None:
    go_on, calls = threading.Event(), [0]

    def hanging(_: Path) -> int:
        calls[0] += 1
        if calls[0] > 1:
            go_on.wait(PATIENCE)
        return 1 << 40

    recorder = Recorder(tmp_path / "a.xdf", STREAMS, QUIET, max_queued=50_000, free_space=hanging)
    try:
        wait_for(lambda: calls[0] > 1)
        worst, n_put = 0.0, 0
        for k in range(500):
            watch = Stopwatch()
            n_put += recorder.put(packet(10, 10 * k))
            worst = max(worst, watch.seconds())
        assert worst < 0.1
        assert recorder.n_dropped == 500 - n_put > 0
        wait_for(lambda: "hangs" in recorder.alarm)
    finally:
        go_on.set()
        recorder.close()
    assert "missing" in recorder.alarm
    with XdfFile(tmp_path / "a.xdf") as file:
        stamps = file.load()[1].timestamps
    # What is dropped is the newest: the file holds the beginning without a hole.
    np.testing.assert_array_equal(stamps, np.arange(10 * n_put) / 250.0)


def test_a_deleted_file_is_said_within_a_second(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.xdf", STREAMS, QUIET)
    recorder.put(packet(10))
    wait_for(lambda: recorder.bytes_written > 0)
    (tmp_path / "a.xdf").unlink()
    assert wait_for(lambda: "vanished" in recorder.alarm) < 1.0
    assert recorder.put(packet(10, 10))
    assert not recorder.close()


_FULL_DISK = """
import json, resource, signal, sys
from pathlib import Path
import numpy as np
from configs import RecordingConfig
from devices.recorder import Recorder
from pipeline.values import Packet, StreamRole
from tests.devices.xdf_tools import eeg_stream
from tests.waiting import Stopwatch, wait_for

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
soft, hard = 30_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
recorder = Recorder(sys.argv[1], {StreamRole.EEG: eeg_stream()}, RecordingConfig(min_free_mb=0))
put = lambda k: recorder.put(
    Packet(StreamRole.EEG, np.full((100, 4), k, np.float32), k + np.arange(100) / 100, 0.0)
)
for k in range(30):
    assert put(k)
slowest = 0.0
took, alarm = wait_for(lambda: recorder.alarm), recorder.alarm
for k in range(30, 60):
    watch = Stopwatch()
    assert put(k)
    slowest = max(slowest, watch.seconds())
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
wait_for(lambda: not recorder.alarm)
calm = recorder.alarm
print(json.dumps([took, alarm, slowest, calm, recorder.close(), recorder.n_dropped]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_is_said_and_the_file_goes_on_when_there_is_space(tmp_path: Path) -> None:
    path = tmp_path / "a.xdf"
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    took, alarm, slowest, calm, is_whole, n_dropped = json.loads(done.stdout)
    assert took < 1.0
    assert "free disk space" in alarm
    assert slowest < 0.1
    assert (calm, is_whole, n_dropped) == ("", True, 0)
    with XdfFile(path) as file:
        series = file.load()[1]
        assert file.damage == []
    np.testing.assert_array_equal(series.samples[:, 0], np.repeat(np.arange(60.0), 100))


def test_closing_twice_and_putting_afterwards_is_harmless(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.xdf", STREAMS, QUIET)
    assert recorder.close()
    assert recorder.close()
    assert not recorder.put(packet(5))


# ---------------------------------------------------------------------- the fallback folder


def _fail_writes_of(monkeypatch: pytest.MonkeyPatch, path: Path, code: int) -> None:
    """Writes to one file fail from now on, as on a medium that was pulled or is read-only."""
    real, file = os.write, path.stat()

    def write(fd: int, data: bytes) -> int:
        if os.path.samestat(os.fstat(fd), file):
            raise OSError(code, os.strerror(code))
        return real(fd, data)

    monkeypatch.setattr("devices.xdf.writer.os.write", write)


def _numbers(path: Path) -> np.ndarray:
    with XdfFile(path) as file:
        assert all("ends inside a chunk" in damage.reason for damage in file.damage)
        return np.round(file.load()[1].timestamps * 250).astype(int)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EIO, errno.ENOSPC])
def test_a_medium_that_fails_is_left_for_the_fallback_without_a_hole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    config = RecordingConfig(min_free_mb=0, fallback=str(tmp_path / "other" / "disk"))
    first, second = tmp_path / "a.xdf", tmp_path / "other" / "disk" / "a.xdf"
    recorder = Recorder(first, STREAMS, config)
    for k in range(20):
        recorder.put(packet(10, 10 * k))
    wait_for(lambda: first.stat().st_size > 200 * 25 + 1000)
    _fail_writes_of(monkeypatch, first, code)
    for k in range(20, 40):
        recorder.put(packet(10, 10 * k))
    assert wait_for(lambda: recorder.path == second) < 1.0
    assert "goes on in" in recorder.alarm
    assert os.strerror(code) in recorder.alarm
    for k in range(40, 60):
        recorder.put(packet(10, 10 * k))
    recorder.put(Packet(StreamRole.MARKERS, ("face",), np.array([2.0]), 0.0))
    assert recorder.close()
    assert recorder.paths == (first, second)
    assert recorder.n_dropped == 0
    assert set(_numbers(first)) == set(range(200))
    # The second begins anew with all that a pulled disk might have lost.
    np.testing.assert_array_equal(_numbers(second), np.arange(600))
    with XdfFile(second) as file:
        assert file.n_samples(2) == 1
        assert all(stream.footer for stream in file.streams.values())


def test_a_folder_that_vanishes_is_left_for_the_fallback(tmp_path: Path) -> None:
    folder = tmp_path / "stick"
    folder.mkdir()
    config = RecordingConfig(min_free_mb=0, fallback=str(tmp_path / "disk"))
    recorder = Recorder(folder / "a.xdf", STREAMS, config)
    recorder.put(packet(10))
    wait_for(lambda: recorder.bytes_written > 0)
    shutil.rmtree(folder)
    recorder.put(packet(10, 10))
    assert wait_for(lambda: recorder.path.parent.name == "disk") < 1.0
    assert "vanished" in recorder.alarm
    recorder.put(packet(10, 20))
    assert recorder.close()
    np.testing.assert_array_equal(_numbers(tmp_path / "disk" / "a.xdf"), np.arange(30))


def test_a_folder_that_cannot_be_written_at_all_is_said_or_avoided(tmp_path: Path) -> None:
    nowhere = Path("/proc/nowhere.xdf") if sys.platform == "linux" else tmp_path / "no" / "a.xdf"
    with pytest.raises(RecordingError, match="cannot be created"):
        Recorder(nowhere, STREAMS, QUIET)
    (tmp_path / nowhere.name).write_bytes(b"an older one")
    config = RecordingConfig(min_free_mb=0, fallback=str(tmp_path))
    recorder = Recorder(nowhere, STREAMS, config)
    assert recorder.put(packet(10))
    assert recorder.close()
    assert "cannot be created" in recorder.alarm
    assert recorder.paths == (tmp_path / f"{nowhere.stem}-2.xdf",)
    assert len(_numbers(recorder.path)) == 10
    assert (tmp_path / nowhere.name).read_bytes() == b"an older one"


def test_a_fallback_that_fails_too_is_said_and_nothing_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    config = RecordingConfig(min_free_mb=0, fallback=str(tmp_path / "file" / "folder"))
    recorder = Recorder(tmp_path / "a.xdf", STREAMS, config)
    with monkeypatch.context() as patch:
        _fail_writes_of(patch, tmp_path / "a.xdf", errno.EIO)
        recorder.put(packet(10))
        wait_for(lambda: "fallback failed too" in recorder.alarm)
        recorder.put(packet(10, 10))
    wait_for(lambda: not recorder.alarm)
    assert recorder.close()
    np.testing.assert_array_equal(_numbers(tmp_path / "a.xdf"), np.arange(20))
