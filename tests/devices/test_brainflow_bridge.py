"""Boards over BrainFlow: the catalogue, the clock, the synthetic and the playback board."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pylsl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from configs import SourceConfig
from configs.montages import CYTON, DAISY
from devices import brainflow_bridge
from devices.boards import find_board, list_boards
from devices.brainflow_bridge import (
    COUNTER,
    BoardClock,
    BrainFlowBridge,
    BridgeSettings,
    StampSpreader,
)
from devices.errors import BoardError
from devices.lsl.inlet import LslSource
from pipeline.extras import MissingExtraError
from pipeline.values import StreamRole
from tests.devices.lsl_tools import has_samples, packets, read_until

try:
    from devices.boards import load_brainflow

    load_brainflow()
except BoardError as error:
    pytest.skip(str(error), allow_module_level=True)


@contextmanager
def running(bridge: BrainFlowBridge) -> Iterator[list[str]]:
    stop, told = threading.Event(), list[str]()
    thread = threading.Thread(target=bridge.run, args=(stop,), kwargs={"tell": told.append})
    thread.start()
    try:
        yield told
    finally:
        stop.set()
        thread.join()


# -- the catalogue


def test_every_board_is_listed_once_with_a_label_a_channel():
    boards = list_boards()
    assert len(boards) > 50
    assert len({board.name for board in boards}) == len(boards)
    for board in boards:
        assert len(board.ch_names) == len(board.ch_types) == len(board.rows)
        assert len(set(board.ch_names)) == len(board.ch_names)
        assert find_board(board.name, master="cyton").board_id == board.board_id


@pytest.mark.parametrize("name", ["cyton-daisy", "CYTON_DAISY_BOARD", "cyton_daisy", "2"])
def test_a_board_is_known_by_each_of_its_names(name):
    board = find_board(name)
    assert (board.board_id, board.ch_names, board.sfreq) == (2, DAISY, 125.0)


def test_documented_labels_stand_in_where_brainflow_gives_none():
    assert find_board("cyton-wifi").ch_names == CYTON
    assert find_board("cyton-daisy-wifi").ch_names == DAISY
    assert find_board("ganglion").ch_names == ("EEG1", "EEG2", "EEG3", "EEG4")
    assert set(find_board("callibri-emg").ch_types) == {"emg"}


def test_a_playback_has_the_channels_of_its_board():
    assert find_board("playback-file", master="cyton").ch_names == CYTON
    with pytest.raises(BoardError, match="--master-board"):
        find_board("playback-file")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (BridgeSettings("cytom"), "Unknown board 'cytom', expected cyton"),
        (
            BridgeSettings("nosuch"),
            "Unknown board 'nosuch', expected a board that BrainFlow knows:",
        ),
        (BridgeSettings("no"), "Unknown board 'no', expected a board that BrainFlow knows:"),
        (BridgeSettings("cyton"), "needs --serial-port"),
        (BridgeSettings("cyton-wifi", {"ip": "10.0.0.1"}), "needs --ip-port"),
        (BridgeSettings("emotibit"), "no EEG, EOG, EMG or ECG channel"),
        (BridgeSettings("synthetic", ch_names=("C3",)), "has 1 labels, expected 16"),
    ],
)
def test_what_cannot_be_bridged_is_refused_in_one_line(settings, words):
    with pytest.raises(BoardError, match=words) as caught:
        BrainFlowBridge(settings)
    assert "\n" not in str(caught.value)


def test_a_board_that_is_not_there_is_one_sentence():
    bridge = BrainFlowBridge(BridgeSettings("cyton", {"serial_port": "/dev/no-such-port"}))
    with pytest.raises(BoardError, match=r"cannot be reached .*'/dev/no-such-port'"):
        bridge.run(threading.Event())


def test_without_brainflow_the_sentence_says_how_to_install_it(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "brainflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "brainflow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'phosphene\[brainflow\]'"):
        list_boards()


# -- the clock


def test_the_offset_is_that_of_the_quickest_packet():
    clock, rng = BoardClock(window=10.0), np.random.default_rng(0)
    truth = 100.0 - 1.7e9
    found = []
    for k in range(500):
        unix = 1.7e9 + 0.04 * k
        found.append(clock.offset(unix, unix + truth + 0.002 + rng.exponential(0.02)))
    assert abs(found[-1] - (truth + 0.002)) < 0.002


def test_a_drifting_clock_is_followed():
    clock = BoardClock(window=10.0)
    for k in range(10_000):
        now = 0.04 * k
        offset = clock.offset(now * (1 + 50e-6), now + 0.003)
    assert abs(offset - (0.003 - now * 50e-6)) < 0.001


@pytest.mark.parametrize("jump", [5.0, -5.0, 3600.0])
def test_a_clock_that_is_set_is_followed_at_once(jump):
    clock = BoardClock(window=30.0)
    for k in range(300):
        clock.offset(0.04 * k, 0.04 * k + 1.0)
    for k in range(300, 304):
        offset = clock.offset(0.04 * k + jump, 0.04 * k + 1.0)
    assert offset == pytest.approx(1.0 - jump)


@settings(deadline=None)
@given(
    runs=st.lists(st.integers(1, 6), min_size=1, max_size=20),
    cuts=st.sets(st.integers(1, 60)),
)
@example(runs=[1, 1, 1, 1, 2, 6, 6, 6, 5], cuts={1, 2, 3, 19, 22})  # caught up to the rounding
def test_samples_of_one_packet_get_their_own_stamps(runs, cuts):
    period = 0.004
    last, stamps = 0.0, []
    for n_samples in runs:
        last += n_samples * period
        stamps += [last] * n_samples
    blocks = np.split(np.array(stamps), sorted(cut for cut in cuts if cut < len(stamps)))
    spreader = StampSpreader(period)
    joined = np.concatenate([spreader.spread(block) for block in blocks])
    assert np.all(np.diff(joined) > 0)
    assert np.abs(joined - period * np.arange(1, len(joined) + 1)).max() <= 6 * period


def test_stamps_without_repeats_are_left_alone():
    stamps = np.array([1.0, 1.004, 1.0081, 1.3, 0.2])
    assert np.array_equal(StampSpreader(0.004).spread(stamps), stamps)


# -- running boards


@pytest.mark.lsl
def test_the_synthetic_board_is_a_fully_described_stream():
    bridge = BrainFlowBridge(BridgeSettings("synthetic", source_id="bf-synthetic"))
    with running(bridge) as told, LslSource(SourceConfig(source_id="bf-synthetic")) as source:
        got = packets(read_until(source, has_samples(300)))
        info = source.streams[StreamRole.EEG]
    assert told == ["Synthetic is connected."]
    assert info.ch_names == (*find_board("synthetic").ch_names, COUNTER)
    assert info.ch_units == ("microvolts",) * 16 + ("none",)
    assert info.ch_types == ("eeg",) * 16 + ("misc",)
    assert info.sfreq == 250
    assert info.manufacturer == "Synthetic"
    samples = np.concatenate([packet.samples for packet in got])
    stamps = np.concatenate([packet.timestamps for packet in got])
    assert set(np.diff(samples[:, -1]) % 256) == {1.0}
    assert np.all(np.diff(stamps) > 0)
    delays = np.array([packet.received_at - packet.timestamps[-1] for packet in got])
    assert -0.01 < np.median(delays) < 0.1
    assert 1 < np.ptp(samples[:, 0]) < 1e4


@pytest.mark.lsl
def test_a_recording_is_played_back_sample_for_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(brainflow_bridge, "SILENCE", 0.5)
    n_times = 250
    rows = np.zeros((32, n_times))
    rows[0] = np.arange(n_times) % 256
    rows[1:17] = np.round(np.random.default_rng(0).normal(0, 50, (16, n_times)), 3)
    rows[30] = 1.7e9 + np.arange(n_times) / 250
    path = tmp_path / "board.csv"
    np.savetxt(path, rows.T, delimiter="\t", fmt="%.6f")
    bridge = BrainFlowBridge(
        BridgeSettings(
            "playback-file",
            {"file": str(path)},
            master_board="synthetic",
            source_id="bf-playback",
        )
    )
    # Samples go to the outlet whether anybody listens or not; take them there.
    pushed: list[np.ndarray] = []
    monkeypatch.setattr(
        "devices.lsl.outlet.EegOutlet.push", lambda self, x, t: pushed.append(np.asarray(x))
    )
    bridge.run(threading.Event())  # ends with its file
    samples = np.concatenate(pushed)
    assert bridge.n_samples == len(samples)
    assert abs(len(samples) - n_times) <= 1
    assert np.allclose(samples[:, :16], rows[1:17, : len(samples)].T, atol=1e-6)
    assert np.array_equal(samples[:, 16], rows[0, : len(samples)])


class SilentBoard:
    """Stands for a board that falls silent, cannot be reached twice, then works again."""

    n_connections = 0

    def __init__(self, board_id: int, params: object) -> None:
        self.prepared = False
        self.n_blocks = 0

    def prepare_session(self) -> None:
        SilentBoard.n_connections += 1
        if SilentBoard.n_connections in (2, 3):
            raise self.Error("BOARD_NOT_READY_ERROR")
        self.prepared = True

    def start_stream(self, n_samples: int) -> None: ...

    def is_prepared(self) -> bool:
        return self.prepared

    def release_session(self) -> None:
        self.prepared = False

    def get_board_data(self) -> np.ndarray:
        self.n_blocks += 1
        rows = np.zeros((32, 5 if self.n_blocks == 1 else 0))
        rows[30] = 1.7e9 + SilentBoard.n_connections + np.arange(rows.shape[1]) / 250
        rows[31, 2:3] = 7.0
        return rows

    class Error(Exception): ...


@pytest.mark.lsl
def test_a_board_that_falls_silent_is_connected_anew_with_longer_pauses(monkeypatch):
    monkeypatch.setattr(brainflow_bridge, "SILENCE", 0.05)
    monkeypatch.setattr(brainflow_bridge, "_FIRST_PAUSE", 0.02)
    bridge = BrainFlowBridge(BridgeSettings("synthetic", markers=True, source_id="bf-silent"))
    marked: list[tuple[str, float]] = []
    monkeypatch.setattr(
        "devices.lsl.outlet.MarkerOutlet.push", lambda self, *sent: marked.append(sent)
    )

    class Shim:
        BoardShim = SilentBoard
        BrainFlowError = SilentBoard.Error
        BrainFlowInputParams = type("Params", (), {})

    monkeypatch.setattr(bridge, "_shim", Shim)
    stop, told = threading.Event(), list[str]()

    def tell(sentence: str) -> None:
        told.append(sentence)
        if sentence.endswith("is connected.") and len(told) > 1:
            stop.set()

    bridge.run(stop, tell=tell)
    assert "No data from Synthetic" in told[1]
    assert [s.rsplit(". ", 1)[1] for s in told[2:4]] == [
        "Trying again in 0.04 s.",
        "Trying again in 0.08 s.",
    ]
    assert told[4] == "Synthetic is connected."
    ((label, stamp),) = marked
    assert label == "7"
    assert stamp == pytest.approx(pylsl.local_clock() - 2 / 250, abs=2.0)
