"""The LSL player: labels, order and stamps as they are read back, over real LSL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pylsl
import pytest

from devices.errors import FileError
from devices.lsl.outlet import EegOutlet
from devices.player import Player
from devices.xdf import XdfWriter
from pipeline.values import StreamInfo
from tests.devices.edf_tools import write_edf
from tests.devices.xdf_tools import eeg_stream, marker_stream
from tests.waiting import PATIENCE, Stopwatch

pytestmark = pytest.mark.lsl


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """1.2 s of EEG that counts, a marker each 0.2 s, and our old decisions."""
    path = tmp_path / "session.xdf"
    with XdfWriter(path) as writer:
        writer.add_stream(1, eeg_stream())
        writer.add_stream(2, marker_stream())
        writer.add_stream(3, StreamInfo("e", "phosphene-events", "", 1, 0.0, "string"))
        # The clocks of the two senders differ; the markers come late in the file.
        writer.write_clock_offset(1, 10.0, -900.0)
        writer.write_clock_offset(2, 10.0, 10.0)
        data = np.arange(300, dtype=np.float32)[:, None] + np.zeros(4, np.float32)
        for first in range(0, 300, 50):
            stamps = 1000.0 + np.arange(first, first + 50) / 250
            writer.write_samples(1, data[first : first + 50], stamps)
            writer.write_samples(2, (f"m{first}",), np.array([90.0 + (first + 10) / 250]))
            writer.write_samples(3, ('{"index": 0}',), np.array([100.0]))
    return path


class Listener:
    """Reads a stream to the end in a thread."""

    def __init__(self, source_id: str) -> None:
        found = pylsl.resolve_byprop("source_id", source_id, timeout=PATIENCE)
        assert found, f"{source_id} was not published"
        self.inlet = pylsl.StreamInlet(found[0], recover=False)
        self.info = self.inlet.info(timeout=PATIENCE)
        self.inlet.open_stream(timeout=PATIENCE)
        self.samples: list[list[object]] = []
        self.stamps: list[float] = []
        self.ages: list[float] = []

    def pull(self, n: int, timeout: float = 10.0) -> None:
        deadline = time.monotonic() + timeout
        while len(self.samples) < n and time.monotonic() < deadline:
            samples, stamps = self.inlet.pull_chunk(timeout=0.2, max_samples=n - len(self.samples))
            if stamps:
                self.ages.append(pylsl.local_clock() - stamps[-1])
                self.samples += samples
                self.stamps += stamps
        assert len(self.samples) == n


def test_what_is_played_is_what_was_recorded(recording: Path) -> None:
    player = Player(recording, source_id="play-1")
    stop = threading.Event()
    assert [s.type for s in player.streams] == ["EEG", "Markers"]
    eeg, markers = Listener("play-1"), Listener("play-1-markers")
    thread = threading.Thread(target=player.play, args=(stop,))
    assert player.wait_for_consumers(5.0, stop)
    thread.start()
    try:
        eeg.pull(300)
        markers.pull(6)
    finally:
        stop.set()
        thread.join(PATIENCE)
        player.close()
        player.close()
    assert eeg.info.nominal_srate() == 250.0
    assert eeg.info.get_channel_labels() == ["E0", "E1", "E2", "E3"]
    assert set(eeg.info.get_channel_units()) == {"microvolts"}
    np.testing.assert_array_equal(np.array(eeg.samples)[:, 0], np.arange(300))
    np.testing.assert_allclose(np.diff(eeg.stamps), 1 / 250, atol=1e-6)
    assert [row[0] for row in markers.samples] == [f"m{k}" for k in range(0, 300, 50)]
    # Each marker stands where it stood: 10 samples after the first of its fifty.
    np.testing.assert_allclose(
        np.array(markers.stamps) - eeg.stamps[0], np.arange(10, 300, 50) / 250, atol=1e-6
    )
    assert min(eeg.ages + markers.ages) >= 0, "a stamp lay in the future"


def test_loops_with_stamps_that_go_on_and_never_run_ahead(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed: list[tuple[float, np.ndarray]] = []
    enough = threading.Event()

    def record(_: EegOutlet, samples: np.ndarray, stamps: np.ndarray) -> None:
        pushed.append((pylsl.local_clock(), np.array(stamps)))
        if len(pushed) > 100:
            enough.set()

    monkeypatch.setattr(EegOutlet, "push", record)
    player = Player(recording, speed=4.0, loop=True, start=0.4, source_id="play-2")
    stop = threading.Event()
    thread = threading.Thread(target=player.play, args=(stop,))
    thread.start()
    assert enough.wait(PATIENCE)
    watch = Stopwatch()
    stop.set()
    thread.join(PATIENCE)
    assert watch.seconds() < 1.0
    player.close()
    assert player.streams[0].sfreq == 1000.0
    stamps = np.concatenate([s for _, s in pushed])
    # The lap's end is no seam: laps follow each other at one period.
    np.testing.assert_allclose(np.diff(stamps), 1 / 1000, atol=1e-6)
    assert all(now >= s[-1] for now, s in pushed)
    assert player.n_laps >= 4


class SlowClock:
    """A clock that the player waits on: 10 minutes in no time, each wait a little late."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


class VirtualStop(threading.Event):
    """A stop that is never asked for; waiting moves the clock, and wakes up late."""

    def __init__(self, clock: SlowClock) -> None:
        super().__init__()
        self.clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self.clock.now += (timeout or 0.0) + 0.0007
        return False


def test_ten_minutes_drift_less_than_a_millisecond(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.xdf"
    with XdfWriter(path) as writer:
        writer.add_stream(1, eeg_stream())
        for k in range(600):
            stamps = 7.0 + k + np.arange(250) / 250
            writer.write_samples(1, np.zeros((250, 4), np.float32), stamps)
    clock = SlowClock()
    pushed: list[tuple[float, float]] = []

    def record(_: EegOutlet, samples: np.ndarray, stamps: np.ndarray) -> None:
        pushed.append((clock.now, float(stamps[-1])))

    monkeypatch.setattr(EegOutlet, "push", record)
    player = Player(path, source_id="play-3", clock=clock)
    player.play(VirtualStop(clock))
    player.close()
    ages = np.array([now - stamp for now, stamp in pushed])
    assert (ages >= 0).all()
    assert ages.max() < 1e-3
    assert pushed[-1][1] - pushed[0][1] == pytest.approx(600 - 0.04, abs=1e-6)


def test_any_format_is_played_with_its_events(shared_data: Path) -> None:
    player = Player(
        shared_data / "formats" / "eeglab_data.set", start=0.9, speed=2.0, source_id="play-4"
    )
    stop = threading.Event()
    eeg, markers = Listener("play-4"), Listener("play-4-markers")
    thread = threading.Thread(target=player.play, args=(stop,))
    thread.start()
    try:
        markers.pull(2)
        eeg.pull(100)
    finally:
        stop.set()
        thread.join(PATIENCE)
        player.close()
    assert [row[0] for row in markers.samples] == ["square", "square"]
    assert eeg.info.get_channel_labels()[:2] == ["FPz", "EOG1"]
    # 1.0001 s and 1.6954 s of the file, at double speed.
    assert markers.stamps[1] - markers.stamps[0] == pytest.approx(0.695313 / 2, abs=1e-5)
    assert eeg.info.nominal_srate() == 256.0


@pytest.mark.parametrize(
    ("options", "words"),
    [({"speed": 0.0}, "above 0"), ({"start": -1.0}, "0 or more"), ({"start": 1e6}, "less than")],
)
def test_senseless_options_are_refused(
    shared_data: Path, options: dict[str, float], words: str
) -> None:
    with pytest.raises(FileError, match=words):
        Player(shared_data / "formats" / "test.edf", **options)  # type: ignore[arg-type]


def test_a_start_behind_the_end_of_an_xdf_is_told(recording: Path) -> None:
    player = Player(recording, start=100.0, source_id="play-5")
    with pytest.raises(FileError, match="no sample after 100 s"):
        player.play(threading.Event())
    player.close()


class Pushes:
    """What a player pushes, by the position of each block; nobody listens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, clock: SlowClock) -> None:
        self.blocks: list[tuple[float, np.ndarray, np.ndarray]] = []
        monkeypatch.setattr(
            EegOutlet,
            "push",
            lambda _, x, t: self.blocks.append((clock.now, np.array(x), np.array(t))),
        )

    def first_samples(self) -> list[float]:
        return [float(x[0, 0]) for _, x, _ in self.blocks]


def test_a_pause_stalls_the_stream_and_a_seek_moves_it(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SlowClock()
    pushes = Pushes(monkeypatch, clock)
    player = Player(recording, source_id="play-6", clock=clock)

    class Script(VirtualStop):
        """Waits on the virtual clock, and does what is due."""

        due: ClassVar[list[tuple[float, Callable[[], None]]]] = [
            (50.5, player.pause),
            (53.5, lambda: player.pause(False)),
            (53.6, lambda: player.seek(0.2)),
            (53.9, player.pause),
            (54.0, lambda: player.seek(1.0)),
            (54.5, lambda: player.pause(False)),
        ]

        def wait(self, timeout: float | None = None) -> bool:
            while self.due and clock.now >= self.due[0][0]:
                self.due.pop(0)[1]()
            return super().wait(timeout)

    player.play(Script(clock))
    player.close()
    ages = np.array([now - t[-1] for now, _, t in pushes.blocks])
    assert (ages >= 0).all(), "a stamp lay in the future"
    assert ages.max() < 0.06
    stamps = np.concatenate([t for _, _, t in pushes.blocks])
    assert (np.diff(stamps) > 0).all()
    samples = pushes.first_samples()
    steps = np.diff(samples)
    # 10 samples a block; back once (to 50), ahead once (to 250).
    (back,) = np.flatnonzero(steps < 0)
    assert samples[back + 1] == 50
    ahead = np.flatnonzero(steps > 10)
    assert [samples[k + 1] for k in ahead] == [250]
    assert samples[-1] == 290
    gaps = np.diff([t[0] for _, _, t in pushes.blocks])
    assert sorted(gaps[gaps > 0.2]) == pytest.approx([0.64, 3.04], abs=0.1)


def test_seeking_beyond_the_end_is_the_end(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SlowClock()
    pushes = Pushes(monkeypatch, clock)
    player = Player(recording, source_id="play-7", clock=clock)
    player.seek(1e6)
    player.play(VirtualStop(clock))
    player.close()
    assert len(pushes.blocks) == 0
    assert player.n_laps == 1


def test_all_streams_of_an_xdf_are_played_on_one_clock(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from devices.player import TextOutlet

    clock = SlowClock()
    sent: dict[str, list[float]] = {}
    monkeypatch.setattr(
        EegOutlet, "push", lambda self, x, t: sent.setdefault(self.info.name, []).extend(t)
    )
    monkeypatch.setattr(
        TextOutlet, "push", lambda self, x, t: sent.setdefault(self.info.name, []).append(t)
    )
    path = shared_data / "xdf" / "p300-checkerboard.xdf"
    player = Player(path, clock=clock, source_id="play-8")
    names = [info.name for info in player.streams]
    assert len({info.source_id for info in player.streams}) == len(names) == 3
    player.play(VirtualStop(clock))
    player.close()
    from devices.xdf import XdfFile

    with XdfFile(path) as file:
        counts = {s.info.name: file.n_samples(k) for k, s in file.streams.items()}
    assert {name: len(stamps) for name, stamps in sent.items()} == {
        name: n for name, n in counts.items() if n
    }


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pause", (True, None, False, "")),
        ("toggle\n", (True, None, False, "")),
        ("resume", (False, None, False, "")),
        ("seek 12.5", (False, 12.5, False, "")),
        ("SEEK +10", (False, 13.0, False, "")),
        ("seek -10", (False, 0.0, False, "")),
        ("stop", (False, None, True, "")),
        ("", (False, None, False, "")),
        ("seek far", (False, None, False, "seek has 'far'")),
        ("seek", (False, None, False, "seek has ''")),
        ("seek nan", (False, None, False, "seek has 'nan'")),
        ("fly", (False, None, False, "'fly' is unknown")),
    ],
)
def test_control_lines(line: str, expected: tuple[bool, float | None, bool, str]) -> None:
    from app.commands.replay import obey

    class Stub(Player):
        def __init__(self) -> None:
            self._paused, self._sought, self._position = False, None, 3.0

    player, stop = Stub(), threading.Event()
    problem = obey(player, stop, line)
    assert (player.is_paused, player._sought, stop.is_set()) == expected[:3]
    assert problem.startswith(expected[3])
    assert bool(problem) == bool(expected[3])


def test_streams_get_ids_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "many.xdf"
    with XdfWriter(path) as writer:
        writer.add_stream(1, eeg_stream())
        for number in (2, 3):
            writer.add_stream(number, StreamInfo(f"m{number}", "Markers", "", 1, 0.0, "string"))
        writer.add_stream(4, StreamInfo("gaze", "Gaze", "", 2, 60.0, "double64"))
        writer.write_samples(1, np.zeros((5, 4), np.float32), np.arange(5.0))
        for number in (2, 3):
            writer.write_samples(number, ("a",), np.array([1.0]))
        writer.write_samples(4, np.zeros((2, 2)), np.arange(2.0))
    player = Player(path, source_id="ids")
    found = {info.name: info.source_id for info in player.streams}
    player.close()
    assert found == {"amp": "ids", "m2": "ids-markers", "m3": "ids-2", "gaze": "ids-3"}


def test_bipolar_labels_and_that_there_was_no_event_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SlowClock()
    monkeypatch.setattr(EegOutlet, "push", lambda self, x, t: None)
    path = tmp_path / "b.xdf"
    with XdfWriter(path) as writer:
        info = replace(eeg_stream(), ch_names=("FP1-F7", "F7-T7", "FZ-CZ", "C3-P3"), desc={})
        writer.add_stream(1, info)
        writer.write_samples(1, np.zeros((50, 4), np.float32), np.arange(50) / 250)
    player = Player(path, clock=clock)
    assert not any("holds no event" in sentence for sentence in player.warnings)
    player.play(VirtualStop(clock))
    player.close()
    assert any("are differences between two electrodes" in words for words in player.warnings)
    assert player.warnings[-1] == "b.xdf holds no event."


def test_that_the_recording_gives_no_unit_is_said(tmp_path: Path) -> None:
    path = tmp_path / "u.edf"
    for unit, expected in (("", True), ("ADC", True), ("mV", False)):
        write_edf(path, ["EEG Cz", "EEG Pz"], units=[unit] * 2)
        player = Player(path)
        player.close()
        said = any("no readable unit for EEG Cz, EEG Pz" in words for words in player.warnings)
        assert said == expected
