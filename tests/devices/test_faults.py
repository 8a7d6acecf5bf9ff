"""Faults of disks, twins and endings (rows R4, R20, R26, R28, R31 of the list of faults)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import pyxdf

from configs import RecordingConfig, SourceConfig
from devices.errors import RecordingError
from devices.lsl.inlet import LslSource
from devices.lsl.metadata import eeg_info
from devices.lsl.outlet import EegOutlet
from devices.player import Player
from devices.recorder import Recorder
from devices.replay import RecordedSource
from devices.xdf import XdfFile, XdfWriter
from pipeline.values import ClockOffset, Packet, StateChange, StreamRole
from tests.devices.lsl_tools import CH_NAMES, Feeder, has_samples, packets, read_until
from tests.devices.test_recorder import QUIET, STREAMS, packet
from tests.devices.xdf_tools import eeg_stream, marker_stream
from tests.waiting import PATIENCE, Stopwatch, wait_for

# -- R4


@pytest.mark.lsl
def test_r4_a_twin_that_appears_later_never_mixes_in() -> None:
    """Two outlets of one source_id: what was connected to stays, by its uid."""
    with Feeder(source_id="twin") as first, LslSource(SourceConfig(source_id="twin")) as source:
        read_until(source, has_samples(20))
        uid = source.streams[StreamRole.EEG].uid
        # The twin counts from a million on, under other labels.
        with Feeder(source_id="twin", ch_names=tuple(reversed(CH_NAMES))) as second:
            second.n_pushed = 1_000_000
            items = read_until(source, has_samples(300))
            assert source.streams[StreamRole.EEG].uid == uid == first.outlet.info.uid
    numbers = np.concatenate([p.samples[:, 0] for p in packets(items)]) // 1000
    np.testing.assert_array_equal(np.diff(numbers), 1)
    assert numbers.max() < 100_000


# -- R20


@pytest.mark.lsl
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_r20_a_killed_recording_lacks_a_second_at_most(tmp_path: Path) -> None:
    """The command itself, under `kill -9`, read by pyxdf and replayed by us."""
    path = tmp_path / "killed.xdf"
    command = [
        sys.executable,
        "-m",
        "phosphene",
        "record",
        "--out",
        str(path),
        "--source-id",
        "kill-9",
    ]
    with Feeder(source_id="kill-9") as feeder:
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: path.exists() and path.stat().st_size > 30_000, 30.0)
        finally:
            process.send_signal(signal.SIGKILL)
            at_death = feeder.n_pushed
            process.wait()
    (stream,), _ = pyxdf.load_xdf(path, dejitter_timestamps=False)
    numbers = stream["time_series"][:, 0] // 1000
    np.testing.assert_array_equal(np.diff(numbers), 1)
    assert at_death - numbers[-1] <= 250 + feeder._chunk
    source = RecordedSource(path)
    replayed = []
    while items := source.read(0.0):
        replayed += [i for i in items if isinstance(i, Packet)]
    source.close()
    assert sum(len(p.timestamps) for p in replayed) == len(numbers)


# -- R26


def test_r26_a_disk_that_stalls_for_two_seconds_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, stalled, go_on = os.write, threading.Event(), threading.Event()

    def write(fd: int, data: bytes) -> int:
        if threading.current_thread().name == "recorder" and not stalled.is_set():
            stalled.set()
            go_on.wait(PATIENCE)
        return real(fd, data)

    recorder = Recorder(tmp_path / "a.xdf", STREAMS, QUIET)
    monkeypatch.setattr("devices.xdf.writer.os.write", write)
    assert recorder.put(packet(10))
    assert stalled.wait(PATIENCE)
    began, slowest = time.monotonic(), 0.0
    for k in range(1, 500):  # two seconds' worth of 64 channels would be 0.5 MB: all waits
        watch = Stopwatch()
        assert recorder.put(packet(10, 10 * k))
        slowest = max(slowest, watch.seconds())
    wait_for(lambda: "hangs" in recorder.alarm)
    assert time.monotonic() - began >= 0.9
    go_on.set()
    wait_for(lambda: not recorder.alarm)
    assert recorder.close()
    assert slowest < 0.5, "less than the disk stood still"
    with XdfFile(tmp_path / "a.xdf") as file:
        np.testing.assert_array_equal(file.load()[1].timestamps, np.arange(5000) / 250)


# -- R28


def test_r28_of_many_programs_that_record_to_one_file_one_does(tmp_path: Path) -> None:
    path = tmp_path / "one.xdf"
    barrier, refused, writers = threading.Barrier(8), list[str](), list[XdfWriter]()

    def compete() -> None:
        barrier.wait()
        try:
            writers.append(XdfWriter(path))
        except RecordingError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = writers
    winner.add_stream(1, eeg_stream())
    winner.close()
    assert len(refused) == 7
    assert all("never overwritten" in sentence for sentence in refused)
    with XdfFile(path) as file:
        assert len(file.streams) == 1


# -- R31


@contextmanager
def nothing_is_left(folder: Path) -> Iterator[None]:
    """No thread, no open file below `folder`."""
    process, threads = psutil.Process(), threading.active_count()
    yield
    assert threading.active_count() == threads
    assert [f.path for f in process.open_files() if str(folder) in f.path] == []


def test_r31_two_hundred_recordings_end_while_they_are_fed(tmp_path: Path) -> None:
    slowest = 0.0
    config = RecordingConfig(min_free_mb=0, boundary_interval=0.01)
    with nothing_is_left(tmp_path):
        for k in range(200):
            recorder = Recorder(tmp_path / f"{k}.xdf", STREAMS, config)
            stop = threading.Event()

            def feed(recorder: Recorder = recorder, stop: threading.Event = stop) -> None:
                start = 0
                while not stop.is_set():
                    recorder.put(packet(10, start))
                    start += 10

            feeder = threading.Thread(target=feed)
            feeder.start()
            if k % 10 == 0:
                wait_for(lambda recorder=recorder: recorder.bytes_written > 0)
            watch = Stopwatch()
            recorder.close()
            slowest = max(slowest, watch.seconds())
            stop.set()
            feeder.join()
            with XdfFile(tmp_path / f"{k}.xdf") as file:
                assert file.damage == []
                assert file.streams[1].footer is not None
            (tmp_path / f"{k}.xdf").unlink()
    assert slowest < 2.0


@pytest.mark.lsl
def test_r31_players_end_in_the_middle_and_withdraw_their_streams(tmp_path: Path) -> None:
    path = tmp_path / "a.xdf"
    with XdfWriter(path) as writer:
        writer.add_stream(1, eeg_stream())
        writer.add_stream(2, marker_stream())
        for k in range(60):
            stamps = k + np.arange(250) / 250
            writer.write_samples(1, np.zeros((250, 4), np.float32), stamps)
            writer.write_samples(2, (f"m{k}",), np.array([k + 0.5]))
    slowest = 0.0
    with nothing_is_left(tmp_path):
        for _ in range(20):
            player, stop, pushed = Player(path, loop=True), threading.Event(), threading.Event()
            thread = threading.Thread(
                target=player.play, args=(stop,), kwargs={"on_push": pushed.set}
            )
            thread.start()
            assert pushed.wait(PATIENCE)
            watch = Stopwatch()
            stop.set()
            thread.join()
            player.close()
            slowest = max(slowest, watch.seconds())
    assert slowest < 2.0


def test_r31_two_hundred_replays_end_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "a.xdf"
    with XdfWriter(path) as writer:
        writer.add_stream(1, eeg_stream())
        for k in range(200):
            stamps = (10 * k + np.arange(10)) / 250
            writer.write_samples(1, np.zeros((10, 4), np.float32), stamps)
    with nothing_is_left(tmp_path):
        for _ in range(200):
            source = RecordedSource(path, speed=1.0)
            source.read(0.0)
            thread = threading.Thread(target=source.read, args=(10 * PATIENCE,))
            thread.start()
            watch = Stopwatch()
            source.close()
            thread.join(PATIENCE)
            assert watch.seconds() < 2.0


# -- another clock


@pytest.mark.lsl
def test_stamps_in_unix_time_are_said_and_can_be_taken_as_such() -> None:
    """As muse-lsl stamps (streaming.md, section 6)."""
    info = eeg_info(name="unix", source_id="unix", ch_names=("Cz",), sfreq=250.0)
    with (
        EegOutlet(info) as outlet,
        LslSource(SourceConfig(source_id="unix")) as plain,
        LslSource(SourceConfig(source_id="unix", clock="unix")) as told,
    ):
        for k in range(5):
            outlet.push(np.full((10, 1), float(k)), time.time() - 0.04 + np.arange(10) / 250)
        for source in (plain, told):
            items = read_until(source, has_samples(50))
            sentences = [
                i.reason for i in items if isinstance(i, StateChange) and "days" in i.reason
            ]
            offsets = [i.offset for i in items if isinstance(i, ClockOffset)]
            newest = packets(items)[-1]
            age = newest.received_at - (newest.timestamps[-1] + offsets[-1])
            if source is told:
                assert sentences == []
                # Read late on a busy machine, but the clock is right: not hours, not days.
                assert -0.01 < age < PATIENCE
            else:
                (sentence,) = sentences
                assert "ahead of LSL's clock" in sentence
                assert sentence.endswith("set source.clock to unix.")
                assert age < -86_400
