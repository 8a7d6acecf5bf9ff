"""The virtual headset over real LSL, and its forward model."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pylsl
import pytest

from devices.lsl.metadata import from_pylsl
from devices.virtual.boards import BOARDS, board_of, custom_board
from devices.virtual.forward import montage_leadfield
from devices.virtual.headset import COUNTER, HeadsetSettings, VirtualHeadset
from devices.virtual.options import add_options, settings_from
from pipeline.errors import ConfigurationError
from pipeline.virtual_brain.head import table_leadfield
from pipeline.virtual_brain.subject import N_FEATURES
from tests.waiting import PATIENCE, Stopwatch

LETTER = np.eye(N_FEATURES, dtype=np.float32)[0]


@contextmanager
def running(settings: HeadsetSettings) -> Iterator[VirtualHeadset]:
    headset = VirtualHeadset(settings, {"letter": LETTER})
    stop, ready = threading.Event(), threading.Event()
    thread = threading.Thread(target=headset.run, args=(stop,), kwargs={"on_ready": ready.set})
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield headset
    finally:
        stop.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def unique(**kwargs: object) -> HeadsetSettings:
    token = uuid.uuid4().hex[:8]
    return HeadsetSettings(
        source_id=f"test-{token}", markers_source_id=f"markers-{token}", **kwargs
    )  # type: ignore[arg-type]


@contextmanager
def inlet_of(source_id: str) -> Iterator[pylsl.StreamInlet]:
    found = pylsl.resolve_byprop("source_id", source_id, 1, 10)
    inlet = pylsl.StreamInlet(found[0], recover=False)
    inlet.open_stream(timeout=PATIENCE)
    try:
        yield inlet
    finally:
        inlet.close_stream()


def pull(inlet: pylsl.StreamInlet, n: int, limit: float = 15.0) -> tuple[np.ndarray, np.ndarray]:
    samples: list[list[float]] = []
    stamps: list[float] = []
    end = time.monotonic() + limit
    while len(stamps) < n and time.monotonic() < end:
        chunk, times = inlet.pull_chunk(timeout=0.2)
        samples += chunk
        stamps += times
    assert len(stamps) >= n, "the stream gave too little"
    return np.array(samples), np.array(stamps)


@pytest.mark.lsl
def test_stream_keeps_its_schedule_and_says_what_it_is() -> None:
    settings = unique(board=board_of("cyton"), counter=True)
    with running(settings), inlet_of(settings.stream_source_id) as inlet:
        info = from_pylsl(inlet.info(timeout=PATIENCE))
        samples, stamps = pull(inlet, 500)
        now = pylsl.local_clock()
    assert info.ch_names == (*BOARDS["cyton"].ch_names, COUNTER)
    assert set(info.ch_units[:-1]) == {"microvolts"}
    assert set(info.ch_types[:-1]) == {"eeg"}
    assert info.ch_types[-1] == "misc"
    assert (info.type, info.sfreq) == ("EEG", 250.0)
    assert "virtual" in info.manufacturer
    assert np.array_equal(np.diff(samples[:, -1]), np.ones(len(samples) - 1))
    assert np.abs(np.diff(stamps) - 1 / 250).max() < 1e-6
    assert stamps[-1] <= now, "no stamps of the future"
    expected = (stamps - stamps[0]) * 250
    assert np.abs(expected - np.arange(len(stamps))).max() < 0.01, "no drift"


@pytest.mark.lsl
def test_markers_are_answered_at_their_stamp_across_a_reconnection() -> None:
    """Twin headsets, one stimulated: the difference of their streams is the response alone."""
    answered = unique(board=board_of("cyton"), counter=True, seed=4)
    onsets: list[float] = []
    with running(answered) as headset, inlet_of(answered.stream_source_id) as inlet:
        all_samples, all_stamps = pull(inlet, 10)
        for round_number in range(2):  # the second outlet comes after the first has gone
            info = pylsl.StreamInfo(
                "m", "Markers", 1, 0, pylsl.cf_string, answered.markers_source_id
            )
            outlet = pylsl.StreamOutlet(info)
            assert outlet.wait_for_consumers(PATIENCE)
            onsets.append(pylsl.local_clock())
            outlet.push_sample(["letter" if round_number == 0 else "unknown"], onsets[-1])
            samples, stamps = pull(inlet, 320)
            all_samples = np.concatenate([all_samples, samples])
            all_stamps = np.concatenate([all_stamps, stamps])
            del outlet
        assert headset.n_answered == 2
    silent = VirtualHeadset(answered, {})
    wanted = int(all_samples[-1, -1]) + 1
    twin = np.concatenate([silent.next_chunk() for _ in range(wanted // 5 + 1)])
    rows = all_samples[:, -1].astype(int)
    response = all_samples[:, :-1] - twin[rows, :-1]
    for onset in onsets:
        since = all_stamps - onset
        before, during = (since < 0.035) & (since > -0.2), (since > 0.08) & (since < 0.5)
        assert np.abs(response[before]).max() < 1e-3, "nothing before the stamp"
        assert np.abs(response[during]).max() > 1.0
        # N1 over P8 about 170 ms after the stamp: the answer sits where the stamp says.
        inside = (since > 0.13) & (since < 0.23)
        course = response[inside, BOARDS["cyton"].ch_names.index("P8")]
        assert 0.14 < since[inside][course.argmin()] < 0.22 or onset == onsets[0]


@pytest.mark.lsl
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
def test_process_announces_itself_and_ends_cleanly_on_a_signal() -> None:
    command = [sys.executable, "-m", "devices.virtual", "--board", "cyton", "--source-id", "proc"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        about = json.loads(process.stdout.readline())
        watch = Stopwatch()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert watch.seconds() < 2.0
    assert about["ready"] is True
    assert about["source_id"] == "proc"
    assert about["sfreq"] == 250


def test_shipped_leadfield_is_what_mne_computes() -> None:
    names = ("Fp1", "Cz", "P7", "Oz", "M1")
    computed, shipped = montage_leadfield(names), table_leadfield(names)
    assert np.abs(computed - shipped).max() < 1e-3 * np.abs(computed).max()


@pytest.mark.parametrize(("name", "n"), [("cyton", 8), ("daisy", 16), ("cap32", 32), ("cap63", 63)])
def test_boards_have_their_channels(name: str, n: int) -> None:
    assert len(set(board_of(name).ch_names)) == n


def parse(*words: str) -> HeadsetSettings:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return settings_from(parser.parse_args(words))


def test_options_become_settings() -> None:
    settings = parse("--montage", "O1, O2 Pz", "--sfreq", "500", "--subject", "3", "--snr", "0")
    assert settings.board.ch_names == ("O1", "O2", "Pz")
    assert (settings.rate, settings.subject_number, settings.snr) == (500.0, 3, 0.0)
    assert settings.stream_source_id == "phosphene-virtual-custom-3"
    assert parse("--reference", "Cz").board.reference == ("Cz",)
    assert parse("--reference", "average").board.reference == "average"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--board", "cytoon"), "cytoon.*cyton, daisy"),
        (("--montage", "Oz"), "at least two"),
        (("--snr", "-1"), "--snr is -1"),
        (("--sfreq", "10"), "--sfreq is 10"),
        (("--subject", "-5"), "--subject"),
    ],
)
def test_bad_options_are_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse(*words)


def test_a_montage_may_have_blanks_for_commas() -> None:
    assert custom_board("O1 O2").ch_names == ("O1", "O2")
