"""A Cyton behind a pseudo-terminal, read by BrainFlow, bridged to LSL, counted by the live path."""

from __future__ import annotations

import itertools
import json
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from configs import SessionConfig, SourceConfig
from configs.montages import CYTON
from devices import brainflow_bridge
from devices.boards import find_board
from devices.brainflow_bridge import COUNTER, BrainFlowBridge, BridgeSettings, describe_board
from devices.emulated.cyton import (
    PACKET,
    SFREQ,
    START,
    STOP,
    EmulatedCyton,
    encode_packet,
    microvolts_per_count,
)
from devices.errors import BoardError
from devices.impedance import fit_impedance, judge_impedance, measure_cyton, measure_impedances
from devices.lsl.inlet import LslSource
from devices.lsl.metadata import from_pylsl, impedances, to_pylsl
from pipeline.live import LivePath
from pipeline.values import StreamRole
from tests.devices.lsl_tools import has_samples, packets, read_until
from tests.devices.test_brainflow_bridge import running
from tests.waiting import PATIENCE, wait_for

pytest.importorskip("brainflow", reason="BrainFlow is an extra")
if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

OHM = (5e3, 10e3, 50e3, 100e3, 300e3, 749e3, 1e6, 4e6)


def tones(numbers: np.ndarray) -> np.ndarray:
    """10 Hz, another amplitude and offset a channel, microvolts."""
    wave = np.sin(2 * np.pi * 10.0 * numbers / SFREQ)
    return np.outer(wave, 10.0 * np.arange(1, 9)) + 100.0 * np.arange(8)


# -- the packets


def decode_packet(raw: bytes) -> tuple[int, tuple[int, ...]] | None:
    """Counter and counts of a packet; None when it is none."""
    if len(raw) != PACKET or raw[0] != START or raw[-1] >> 4 != STOP >> 4:
        return None
    samples = (raw[k : k + 3] for k in range(2, 26, 3))
    return raw[1], tuple(int.from_bytes(sample, "big", signed=True) for sample in samples)


def test_real_packets_are_packets_of_ours(shared_data: Path) -> None:
    raw = (shared_data / "openbci" / "cyton-packets.txt").read_bytes()
    whole = [raw[k : k + PACKET] for k in range(0, len(raw) - PACKET + 1, PACKET)]
    decoded = [decode_packet(packet) for packet in whole]
    assert len(whole) > 10_000
    assert None not in decoded
    pairs = [pair for pair in decoded if pair is not None]
    for packet, (counter, counts) in zip(whole, pairs, strict=True):
        assert encode_packet(counter, counts, packet[26:32]) == packet
    steps = np.diff([counter for counter, _ in pairs]) % 256
    assert (steps == 1).mean() > 0.99


@pytest.mark.parametrize("count", [0, 1, -1, 2**23 - 1, -(2**23), 2**30, -(2**30)])
def test_counts_are_24_bit_and_clipped(count: int) -> None:
    decoded = decode_packet(encode_packet(300, [count] * 8))
    assert decoded is not None
    assert decoded == (44, (max(-(2**23), min(2**23 - 1, count)),) * 8)


def test_what_is_no_packet_is_none() -> None:
    good = encode_packet(1, range(8))
    assert decode_packet(good[:-1]) is None
    assert decode_packet(b"\xa1" + good[1:]) is None
    assert decode_packet(good[:-1] + b"\x00") is None


# -- the board, through BrainFlow and LSL


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brainflow_bridge, "SILENCE", 0.5)
    monkeypatch.setattr(brainflow_bridge, "_FIRST_PAUSE", 0.05)


@pytest.mark.lsl
def test_lost_packets_are_counted_exactly_and_microvolts_are_right() -> None:
    # One, four in a row, and more than a turn of the counter (300 = 256 + 44).
    lost = {150, *range(200, 204), *range(320, 620)}
    config = SessionConfig(source=SourceConfig(source_id="cyton-loss", counter_channel=COUNTER))
    with EmulatedCyton(tones, loses=lambda number: number in lost) as cyton:
        bridge = BrainFlowBridge(
            BridgeSettings("cyton", {"serial_port": cyton.port}, source_id="cyton-loss")
        )
        with running(bridge) as told, LslSource(config.source) as source:
            items = read_until(source, has_samples(500))
            info = source.streams[StreamRole.EEG]
            path = LivePath(config, source.streams, clock=lambda: 0.0)
            for item in items:
                path.feed(item)
    assert told == ["Cyton is connected."]
    assert (info.ch_names, info.sfreq) == ((*CYTON, COUNTER), 250.0)
    samples = np.concatenate([packet.samples for packet in packets(items)]).astype(np.float64)
    # The inlet may join late: the counters, with the losses in them, say where.
    counters = samples[:, -1].astype(int)
    sent = [k for k in range(cyton.n_sent + cyton.n_lost) if k not in lost]
    start = next(k for k in range(len(sent)) if _same(counters, sent[k : k + len(counters)]))
    numbers = np.array(sent[start : start + len(counters)])
    assert path.n_lost == sum(numbers[0] < number < numbers[-1] for number in lost)
    assert path.n_lost >= 300
    expected = tones(numbers)
    half = 0.5 * microvolts_per_count() + 1e-4  # float32 of 770 uV
    np.testing.assert_allclose(samples[:, :8], expected, atol=half)


def _same(counters: np.ndarray, numbers: list[int]) -> bool:
    return len(numbers) == len(counters) and bool(
        np.array_equal(np.asarray(numbers) % 256, counters)
    )


@pytest.mark.lsl
def test_a_dongle_that_is_pulled_out_and_put_back_is_found_again(
    quick: None, tmp_path: Path
) -> None:
    plugged = threading.Event()
    with EmulatedCyton(tones, link=tmp_path / "ttyUSB0") as cyton:
        bridge = BrainFlowBridge(
            BridgeSettings("cyton", {"serial_port": cyton.port}, source_id="cyton-back")
        )
        told: list[str] = []

        def tell(sentence: str) -> None:
            told.append(sentence)
            if sum("Trying again" in said for said in told) == 2 and not plugged.is_set():
                cyton.plug()
                plugged.set()

        stop = threading.Event()
        thread = threading.Thread(target=bridge.run, args=(stop,), kwargs={"tell": tell})
        thread.start()
        try:
            with LslSource(SourceConfig(source_id="cyton-back")) as source:
                read_until(source, has_samples(50))
                cyton.unplug()
                assert plugged.wait(PATIENCE)
                after = bridge.n_samples
                read_until(source, lambda _: bridge.n_samples >= after + 50)
        finally:
            stop.set()
            thread.join()
    assert told[0] == told[-1] == "Cyton is connected."
    assert "No data from Cyton for 0.5 s" in told[1]
    waits = [said.rsplit(" in ", 1)[1] for said in told if "Trying again" in said]
    assert waits == ["0.1 s.", "0.2 s."]
    assert cyton.commands[:3] == ["v", "d", "b"]
    assert cyton.commands.count("b") == 2


# -- settings and impedance


def test_commands_are_answered_as_documented() -> None:
    with EmulatedCyton() as cyton:
        answers = {
            "D": "060110$$$",
            "x3020000X": "Success: Channel set for 3$$$",
            "z401Z": "Success: Lead off set for 4$$$",
            "x9020000X": "Failure: Channel settings not valid$$$",
        }
        for command, answer in answers.items():
            assert cyton._obey(command) == answer
        assert cyton.gains[2] == 4
        assert cyton._obey("v").endswith("$$$")
        assert cyton.gains == [24] * 8


def test_the_formula_is_openbci_s_for_a_sine_and_ignores_the_rest() -> None:
    rng = np.random.default_rng(0)
    n = np.flatnonzero(rng.random(600) > 0.02).astype(np.float64)  # 2 % lost
    t = n / SFREQ
    sine = 6e-9 * (20e3 + 2200) * 1e6 * np.cos(2 * np.pi * 31.25 * t + 0.7)
    assert np.sqrt(2) * sine.std() * 1e-6 / 6e-9 - 2200 == pytest.approx(20e3, rel=0.02)
    eeg = rng.normal(0, 10, len(t)) + 40 * np.sin(2 * np.pi * 10 * t) + 500 + 30 * t
    line = 50 * np.sin(2 * np.pi * 50 * t)
    ohm, error = fit_impedance(sine + eeg + line, n, SFREQ)
    assert error < 1000
    assert abs(ohm - 20e3) < 4 * error


@pytest.mark.parametrize(
    ("ohm", "railed", "verdict"),
    [(5e3, False, "good"), (7.6e5, False, "high"), (3e6, False, "open"), (5e3, True, "railed")],
)
def test_verdicts(ohm: float, railed: bool, verdict: str) -> None:
    assert judge_impedance(ohm, railed=railed) == verdict


def test_impedances_of_the_emulator_are_measured_one_after_the_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import devices.impedance as module
    from app.cli import main

    whole = module.measure_cyton
    monkeypatch.setattr(
        module,
        "measure_cyton",
        lambda settings, **options: whole(settings, **{**options, "seconds": 1.0, "settle": 0.2}),
    )
    with EmulatedCyton(tones, ohm=OHM, speed=6.0, loses=lambda n: n % 97 == 0) as cyton:
        command = ["device", "cyton", "--serial-port", cyton.port, "--impedance", "--json"]
        assert main(command) == 1  # two electrodes are not good
        # The last command may still be on its way through the pseudo-terminal.
        wait_for(lambda: "z800Z" in cyton.commands)
    found = json.loads(capsys.readouterr().out)
    assert [z["ch_name"] for z in found] == list(CYTON)
    np.testing.assert_allclose([z["ohm"] for z in found], OHM, rtol=2e-3, atol=150)
    assert [z["verdict"] for z in found] == ["good"] * 6 + ["high", "open"]
    switched = [c for c in cyton.commands if c.startswith("z")]
    assert switched == list(
        itertools.chain.from_iterable((f"z{k}01Z", f"z{k}00Z") for k in range(1, 9))
    )


def test_only_a_cyton_has_the_lead_off_test() -> None:
    with pytest.raises(BoardError, match="expected cyton"):
        measure_cyton(BridgeSettings("synthetic"))


def test_a_board_with_resistance_rows_measures_itself() -> None:
    """The synthetic board, which makes its two rows up."""
    found = measure_impedances(BridgeSettings("synthetic"), seconds=0.3)
    assert [each.ch_name for each in found] == ["Fz", "C3"]
    assert all(each.ohm > 0 for each in found)


@pytest.mark.parametrize("board", ["muse-2", "cyton-daisy", "freeeeg32"])
def test_a_board_that_cannot_measure_impedances_says_so(board: str) -> None:
    with pytest.raises(BoardError, match=rf"{board} gives no impedances.*Expected cyton") as error:
        measure_impedances(BridgeSettings(board))
    assert "\n" not in str(error.value)


def test_what_was_measured_stands_in_the_stream_and_reaches_a_session() -> None:
    board = find_board("cyton")
    settings = BridgeSettings("cyton", impedances={"Fp1": 12.34, "O2": 900.0})
    info = from_pylsl(to_pylsl(describe_board(board, settings)))
    told = impedances(info)
    assert (told["Fp1"], told["O2"], told["C3"]) == (12.3, 900.0, None)
    assert impedances(describe_board(board, BridgeSettings("cyton"))) == {}


def test_it_runs_as_a_program_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from devices.emulated.__main__ import alpha
    from devices.emulated.__main__ import main as emulate

    assert emulate(["--link", str(tmp_path / "cyton"), "--loss", "0.5", "--duration", "0.05"]) == 0
    said = capsys.readouterr().out
    assert said == f"Cyton at {tmp_path / 'cyton'}; Ctrl-C ends it.\n0 packets sent, 0 lost.\n"
    assert not (tmp_path / "cyton").is_symlink()
    numbers = np.arange(500)
    np.testing.assert_array_equal(alpha(numbers)[100:], alpha(numbers[100:]))
