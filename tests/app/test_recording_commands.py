"""`phosphene replay` and `phosphene record` as a user runs them: two processes and Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from devices.xdf import XdfFile, XdfWriter
from tests.devices.xdf_tools import eeg_stream, marker_stream
from tests.waiting import PATIENCE, Stopwatch

pytestmark = pytest.mark.lsl

PHOSPHENE = [sys.executable, "-m", "phosphene"]


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PHOSPHENE, *args], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_a_replay_is_recorded_and_ctrl_c_ends_both_within_two_seconds(tmp_path: Path) -> None:
    path = tmp_path / "in.xdf"
    with XdfWriter(path) as writer:
        writer.add_stream(1, eeg_stream())
        writer.add_stream(2, marker_stream())
        for k in range(20):
            data = (250 * k + np.arange(250, dtype=np.float32))[:, None] + np.zeros(4, np.float32)
            writer.write_samples(1, data, k + np.arange(250) / 250)
            writer.write_samples(2, (f"m{k}",), np.array([k + 0.5]))
    out = tmp_path / "out.xdf"
    player = subprocess.Popen(
        [*PHOSPHENE, "replay", str(path), "--source-id", "cmd-1", "--loop"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert player.stdout is not None
        assert "source_id cmd-1" in player.stdout.readline()
        done = run(
            *("record", "--out", str(out), "--source-id", "cmd-1", "cmd-1-markers"),
            *("--duration", "2.5", "--json"),
        )
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["complete"]
        again = run("record", "--out", str(out), "--source-id", "cmd-1", "--duration", "1")
        assert again.returncode == 1
        assert "never overwritten" in again.stderr
        assert again.stderr.count("\n") == 1
        watch = Stopwatch()
        player.send_signal(signal.SIGINT)
        player.wait(PATIENCE)
        assert watch.seconds() < 2.0
    finally:
        player.kill()
        player.communicate()
    with XdfFile(out) as file:
        series = {one.stream.info.type: one for one in file.load().values()}
        assert file.damage == []
    eeg = series["EEG"]
    assert len(eeg.timestamps) == report["streams"][0]["n_samples"] > 450
    assert set(np.diff(np.asarray(eeg.samples)[:, 0])) <= {1.0, -4999.0}
    assert eeg.stream.info.ch_names == ("E0", "E1", "E2", "E3")
    assert len(eeg.clock_times) >= 1
    assert len(series["Markers"].samples) >= 2
    assert all(text.startswith("m") for text in series["Markers"].samples)


def test_bad_input_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "a.edf").write_bytes(b"")
    done = run("replay", str(tmp_path / "a.edf"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "is empty" in done.stderr
    done = run("record", "--out", str(tmp_path / "x.xdf"), "--source-id", "gone", "--timeout", "1")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "Found no stream with source_id 'gone'" in done.stderr
    assert not (tmp_path / "x.xdf").exists()


def test_a_replay_obeys_lines_of_standard_input(tmp_path: Path) -> None:
    path = tmp_path / "in.xdf"
    with XdfWriter(path) as writer:
        writer.add_stream(1, eeg_stream())
        for k in range(60):
            stamps = k + np.arange(250) / 250
            writer.write_samples(1, np.zeros((250, 4), np.float32), stamps)
    done = subprocess.run(
        [*PHOSPHENE, "replay", str(path), "--source-id", "cmd-2", "--control"],
        input="pause\nfly\nseek 30\nresume\nstop\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "source_id cmd-2" in done.stdout
    assert done.stderr == "'fly' is unknown, expected pause, resume, toggle, seek S or stop.\n"
