"""The live source over real LSL: what arrives, what is lost, what comes back."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pylsl
import pytest

from configs import MarkersConfig, SourceConfig
from devices.errors import SourceError, StreamChangedError
from devices.lsl.inlet import LslSource
from devices.lsl.metadata import eeg_info, to_pylsl
from devices.lsl.outlet import EegOutlet, MarkerOutlet, Outlet
from pipeline.ports import Source
from pipeline.values import (
    ClockOffset,
    SourceItem,
    StateChange,
    StreamInfo,
    StreamRole,
    StreamState,
)
from tests.devices.lsl_tools import (
    CH_NAMES,
    SFREQ,
    Feeder,
    counting,
    feeding_process,
    has_markers,
    has_samples,
    has_state,
    packets,
    read_until,
    states,
)
from tests.waiting import PATIENCE, Stopwatch, starved, wait_for

pytestmark = pytest.mark.lsl

FORMATS = {
    "float32": np.float32,
    "double64": np.float64,
    "int8": np.int8,
    "int16": np.int16,
    "int32": np.int32,
    "int64": np.int64,
}
EEG, MARKERS = StreamRole.EEG, StreamRole.MARKERS


def open_all(configs: dict[str, tuple[SourceConfig, MarkersConfig | None]]) -> dict[str, LslSource]:
    """Open sources side by side: each waits 0.6 s for its clock."""
    with ThreadPoolExecutor(len(configs)) as pool:
        futures = {key: pool.submit(LslSource, *config) for key, config in configs.items()}
    return {key: future.result() for key, future in futures.items()}


def native_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_every_numeric_format_arrives_bit_for_bit():
    values = {
        name: (
            np.array([[np.iinfo(dtype).min, np.iinfo(dtype).max], [0, -1], [1, 2]], dtype=dtype)
            if np.issubdtype(dtype, np.integer)
            else np.array([[np.nan, -np.inf], [np.finfo(dtype).max, 1e-30], [0.1, -0.0]], dtype)
        )
        for name, dtype in FORMATS.items()
    }
    outlets = {
        name: EegOutlet(
            eeg_info(
                name=name,
                source_id=f"format-{name}",
                ch_names=("C3", "C4"),
                sfreq=250,
                channel_format=name,
                # MNE-LSL writes the type in lower case.
                stream_type="eeg" if name == "int8" else "EEG",
            )
        )
        for name in FORMATS
    }
    sources = open_all({n: (SourceConfig(source_id=f"format-{n}"), None) for n in FORMATS})
    stamps = pylsl.local_clock() + np.arange(3) / 250
    for name, source in sources.items():
        outlets[name].push(values[name], stamps)
        got = packets(read_until(source, has_samples(3)))
        samples = np.concatenate([packet.samples for packet in got])
        assert samples.dtype == FORMATS[name]
        assert samples.tobytes() == values[name].tobytes(), name
        assert np.array_equal(np.concatenate([p.timestamps for p in got]), stamps)
        assert source.streams[EEG].channel_format == name
        source.close()
        outlets[name].close()


@pytest.mark.parametrize("chunk", [1, 600])
def test_no_sample_is_lost_doubled_or_changed_later(chunk):
    with (
        Feeder(source_id="whole", chunk=chunk, sfreq=2000) as feeder,
        LslSource(SourceConfig(source_id="whole")) as source,
    ):
        assert isinstance(source, Source)
        assert source.is_live
        assert set(source.streams) == {EEG}
        info = source.streams[EEG]
        assert (info.ch_names, info.uid) == (CH_NAMES, feeder.outlet.info.uid)
        assert info.ch_units == ("microvolts",) * 4
        items = read_until(source, has_samples(2000))
        got = packets(items)
    # Before any sample: what it is connected to, and how its clock relates to ours.
    assert states(items[:1]) == [StreamState.CONNECTING]
    assert isinstance(items[1], ClockOffset)
    assert abs(items[1].offset) < 0.01
    assert states(items) == [StreamState.CONNECTING, StreamState.STREAMING]
    # Kept until now: an array that aliased the inlet's buffer would have been overwritten.
    samples = np.concatenate([packet.samples for packet in got])
    stamps = np.concatenate([packet.timestamps for packet in got])
    first = int(samples[0, 0] // 1000)
    assert np.array_equal(samples, counting(first, len(samples), CH_NAMES).astype(np.float32))
    assert np.all(np.diff(stamps) > 0)
    assert not any(packet.samples.flags.writeable for packet in got)
    assert all(packet.received_at >= packet.timestamps[-1] for packet in got)


def test_a_burst_after_a_network_stall_arrives_whole():
    with (
        EegOutlet(eeg_info(name="b", source_id="burst", ch_names=CH_NAMES, sfreq=250)) as outlet,
        LslSource(SourceConfig(source_id="burst")) as source,
    ):
        numbers = np.arange(10_000)
        outlet.push(np.repeat(numbers[:, None], 4, axis=1), pylsl.local_clock() + numbers / 250)
        watch = Stopwatch()
        # liblsl keeps 30 s x 250 Hz: the oldest 2500 samples are dropped, the rest is not.
        got = packets(
            read_until(
                source,
                lambda items: packets(items)[-1:] and (packets(items)[-1].samples[-1, 0] == 9999),
            )
        )
        assert watch.seconds() < 1.0
    samples = np.concatenate([packet.samples for packet in got])[:, 0]
    assert np.all(np.diff(samples) == 1) or samples[0] == 0
    assert len(samples) >= 7500


def test_markers_of_every_format_arrive_at_once_and_keep_their_type():
    kinds: dict[str, StreamInfo] = {
        name: StreamInfo(f"m-{name}", "Markers", f"m-{name}", n, 0.0, name)
        for name, n in {"string": 1, "int32": 1, "int64": 2, "float32": 1, "double64": 3}.items()
    }
    kinds["two strings"] = StreamInfo("m2", "Markers", "m-two strings", 2, 0.0, "string")
    natives = {name: pylsl.StreamOutlet(to_pylsl(info)) for name, info in kinds.items()}
    sent = {
        "string": ["gesicht äöü"],
        "int32": [40_000],
        "int64": [2**40, -1],
        "float32": [1.5],
        "double64": [0.0, -1.0, 7.25],
        "two strings": ["face", "left"],
    }
    with Feeder(source_id="kinds"):
        sources = open_all(
            {
                name: (SourceConfig(source_id="kinds"), MarkersConfig(source_id=info.source_id))
                for name, info in kinds.items()
            }
        )
        for name, source in sources.items():
            read_until(source, has_state(StreamState.STREAMING, MARKERS))
            stamp, before = pylsl.local_clock(), starved()
            natives[name].push_sample(sent[name], stamp)
            (packet,) = packets(read_until(source, has_markers(1)), MARKERS)
            assert packet.received_at - stamp - (starved() - before) < 0.1
            assert packet.timestamps.tolist() == [stamp]
            assert source.streams[MARKERS].source_id == f"m-{name}"
            if "string" in name:
                assert packet.samples == ("\t".join(sent[name]),)
                assert source.streams[MARKERS].n_channels == 1
            else:
                assert packet.samples.tolist() == [sent[name]]
            source.close()


def test_bytes_that_are_no_utf8_do_not_end_the_session():
    native = pylsl.StreamOutlet(pylsl.StreamInfo("m", "Markers", 1, 0, "string", "latin"))
    with (
        Feeder(source_id="latin-eeg"),
        LslSource(SourceConfig(source_id="latin-eeg"), MarkersConfig(source_id="latin")) as source,
    ):
        read_until(source, has_state(StreamState.STREAMING, MARKERS))
        native.push_sample([b"f\xfcr"])
        native.push_sample(["x" * 65536])
        got = packets(read_until(source, has_markers(2)), MARKERS)
    texts = [text for packet in got for text in packet.samples]
    assert texts == ["f\ufffdr", "x" * 65536]


def test_the_only_marker_stream_is_taken_and_may_come_late_and_return():
    with Feeder(source_id="late-eeg"):
        config = SourceConfig(source_id="late-eeg")
        with LslSource(config, MarkersConfig(), marker_wait=0.0) as source:
            read_until(source, has_samples(1))
            assert MARKERS not in source.streams
            with MarkerOutlet(name="late", source_id="late") as outlet:
                read_until(source, has_state(StreamState.STREAMING, MARKERS))
                outlet.push("one", pylsl.local_clock())
                read_until(source, has_markers(1))
            read_until(source, has_state(StreamState.LOST, MARKERS))
            with MarkerOutlet(name="late", source_id="late") as outlet:
                read_until(source, has_state(StreamState.RETURNED, MARKERS), timeout=PATIENCE)
                outlet.push("two", pylsl.local_clock())
                (packet,) = packets(read_until(source, has_markers(1)), MARKERS)
            assert packet.samples == ("two",)
            source.close()
            said = source.read(0.1)
            assert states(said) == states(said, MARKERS) == [StreamState.ENDED]
            assert source.read(0.1) == []


def test_of_two_marker_streams_none_is_taken_without_a_word():
    with (
        Feeder(source_id="two-eeg"),
        MarkerOutlet(name="m1", source_id="two-m1"),
        MarkerOutlet(name="m2", source_id="two-m2"),
        LslSource(SourceConfig(source_id="two-eeg"), MarkersConfig(), marker_wait=0.0) as source,
    ):
        items = read_until(source, has_state(StreamState.CONNECTING, MARKERS))
        assert MARKERS not in source.streams
    (said,) = [i for i in items if isinstance(i, StateChange) and i.role is MARKERS]
    assert "two-m1" in said.reason
    assert "two-m2" in said.reason


def test_manual_markers_come_in_their_turn_on_this_machines_clock():
    with (
        Feeder(source_id="manual-eeg"),
        LslSource(SourceConfig(source_id="manual-eeg"), marker_wait=0.0) as source,
    ):
        read_until(source, has_samples(1))
        stamp = source.inject_marker("button")
        items = read_until(source, has_markers(1))
        (packet,) = packets(items, MARKERS)
        offsets = [i.offset for i in items if isinstance(i, ClockOffset) and i.role is MARKERS]
        assert packet.samples == ("button",)
        assert packet.timestamps[0] + offsets[-1] == pytest.approx(stamp, abs=1e-9)
        assert source.streams[MARKERS].channel_format == "string"


def test_manual_markers_fit_into_a_stream_of_numbers_or_are_refused():
    info = StreamInfo("codes", "Markers", "codes", 1, 0.0, "int16")
    with (
        Outlet(info),
        Feeder(source_id="codes-eeg"),
        LslSource(SourceConfig(source_id="codes-eeg"), MarkersConfig(source_id="codes")) as source,
    ):
        items = read_until(source, has_state(StreamState.STREAMING, MARKERS))
        stamp = source.inject_marker("42")
        items += read_until(source, has_markers(1))
        (packet,) = packets(items, MARKERS)
        offsets = [i.offset for i in items if isinstance(i, ClockOffset) and i.role is MARKERS]
        assert packet.samples.tolist() == [[42]]
        assert packet.samples.dtype == np.int16
        assert packet.timestamps[0] + offsets[-1] == pytest.approx(stamp, abs=1e-9)
        for label in ("face", "40000", "1.5"):
            with pytest.raises(SourceError, match="expected a number of format int16"):
                source.inject_marker(label)


def test_a_killed_source_stalls_within_a_second_and_returns_under_the_right_labels():
    config = SourceConfig(source_id="killed")
    with feeding_process("killed") as process:
        source = LslSource(config, clock_offset_interval=0.2)
        with source:
            items = read_until(source, has_samples(50))
            process.kill()
            last = packets(items)[-1].received_at
            gone = read_until(
                source, lambda new: {StreamState.STALLED, StreamState.LOST} & set(states(new))
            )
            last = max([last, *(p.received_at for p in packets(gone))])
            (first, *_) = [i for i in gone if isinstance(i, StateChange)]
            assert first.at - last <= 1.0
            assert all(np.isfinite(i.offset) for i in gone if isinstance(i, ClockOffset))
            swapped = ("O2", "C3", "O1", "C4")
            with Feeder(source_id="killed", ch_names=swapped):
                restarted = pylsl.local_clock()
                back = read_until(source, has_samples(20))
                assert packets(back)[0].received_at - restarted <= 2.0
                seen = states(gone) + states(back)
                assert StreamState.LOST in seen
                assert states(back)[-2:] == [StreamState.RETURNED, StreamState.STREAMING]
                assert source.streams[EEG].ch_names == CH_NAMES
                samples = np.concatenate([p.samples for p in packets(back)])
                assert np.array_equal(samples % 1000, np.tile(np.arange(4.0), (len(samples), 1)))
            # And once more, at another rate: this one must not go on.
            with Feeder(source_id="killed", sfreq=500):
                ended = read_until(source, has_state(StreamState.ENDED))
                assert states(ended)[-2:] == [StreamState.LOST, StreamState.ENDED]
                with pytest.raises(StreamChangedError, match="rate was 250 Hz and is 500 Hz"):
                    source.read(0.1)


def test_r3_a_stream_that_returns_with_another_unit_ends_the_session():
    """The same labels in volts: going on would be wrong by a million, so it stops and says so."""
    feeder = Feeder(source_id="unit")
    with feeder, LslSource(SourceConfig(source_id="unit")) as source:
        read_until(source, has_samples(50))
        n_before = feeder.n_pushed
        feeder.close()
        with Feeder(source_id="unit", unit="volts"):
            ended = read_until(source, has_state(StreamState.ENDED), timeout=PATIENCE)
            with pytest.raises(StreamChangedError, match=r"units? w.*microvolts.*volts"):
                source.read(0.1)
    numbers = [p.samples[:, 0] for p in packets(ended)]
    assert all(n.max() // 1000 < n_before for n in numbers), "not one sample of the other unit"


def test_a_stream_that_pauses_is_stalled_and_goes_on_without_being_lost():
    with (
        Feeder(source_id="pause") as feeder,
        LslSource(SourceConfig(source_id="pause")) as source,
    ):
        read_until(source, has_samples(50))
        feeder.pause()
        items = read_until(source, has_state(StreamState.STALLED))
        assert "No sample for" in [i for i in items if isinstance(i, StateChange)][-1].reason
        feeder.go_on()
        items = read_until(source, has_samples(10))
        assert states(items) == [StreamState.STREAMING]
        # A twin that appears while we run is not ours to take.
        with Feeder(source_id="pause", ch_names=CH_NAMES[::-1]):
            items = read_until(source, has_samples(100))
        assert states(items) == []
        assert source.streams[EEG].uid == feeder.outlet.info.uid
        assert np.all(packets(items)[-1].samples % 1000 == np.arange(4))


def test_a_stream_without_labels_or_units_is_read_as_it_is():
    with Feeder(source_id="openbcigui", labelled=False):
        with LslSource(SourceConfig(source_id="openbcigui", ch_names=CH_NAMES)) as source:
            read_until(source, has_samples(10))
            assert source.streams[EEG].ch_names == ()
            assert source.streams[EEG].ch_units == ()
        with pytest.raises(SourceError, match="has 2 labels, expected 4"):
            LslSource(SourceConfig(source_id="openbcigui", ch_names=("C3", "C4")))


def test_a_stream_of_strings_is_no_eeg():
    info = StreamInfo("words", "EEG", "words", 1, 0.0, "string")
    with Outlet(info), pytest.raises(SourceError, match="carries string values, expected numbers"):
        LslSource(SourceConfig(source_id="words"))


def test_close_during_a_read_ends_it_and_leaves_nothing():
    with Feeder(source_id="leak") as feeder:
        feeder.pause()
        config = SourceConfig(source_id="leak")
        LslSource(config, MarkersConfig()).close()  # liblsl starts its lasting threads once
        before = native_threads()
        source = LslSource(config, MarkersConfig())
        source.read(0)
        read: list[SourceItem] = []

        def read_to_the_end() -> None:
            while not has_state(StreamState.ENDED)(read):
                read.extend(source.read(30))

        reader = threading.Thread(target=read_to_the_end)
        reader.start()
        watch = Stopwatch()
        source.close()
        source.close()
        reader.join(PATIENCE)
        assert not reader.is_alive()
        assert watch.seconds() < 2.0
        assert source.read(0) == []
        wait_for(lambda: native_threads() <= before)


def test_samples_that_were_dropped_because_nobody_read_are_counted(monkeypatch):
    monkeypatch.setattr("devices.lsl.eeg.BUFFER", 1)
    with (
        EegOutlet(eeg_info(name="d", source_id="drop", ch_names=CH_NAMES, sfreq=SFREQ)) as outlet,
        LslSource(SourceConfig(source_id="drop")) as source,
    ):
        began = pylsl.local_clock()
        stamps = began + np.arange(2000) / SFREQ
        outlet.push(counting(0, 10, CH_NAMES), stamps[:10])
        first = packets(read_until(source, has_samples(10)))
        for start in range(10, 2000, 10):
            outlet.push(counting(start, 10, CH_NAMES), stamps[start : start + 10])
        threading.Event().wait(1.1)
        rest = packets(
            read_until(
                source,
                lambda items: (
                    packets(items)[-1:] and (packets(items)[-1].samples[-1, 0] == 1_999_000)
                ),
            )
        )
        n_received = sum(len(p.samples) for p in first + rest)
        assert source.n_overflowed == 2000 - n_received > 0


def test_a_program_started_anew_is_taken_and_said():
    with closing(Feeder(source_id="anew")) as first:
        source = LslSource(SourceConfig(source_id="anew"), None)
        with closing(source):
            read_until(source, has_samples(50))
            before = source.streams[StreamRole.EEG].uid
            first.close()
            with closing(Feeder(source_id="anew")):
                items = read_until(source, has_state(StreamState.RETURNED), timeout=20)
                (word,) = [
                    item.reason
                    for item in items
                    if isinstance(item, StateChange) and item.state is StreamState.RETURNED
                ]
    after = source.streams[StreamRole.EEG].uid
    assert after != before
    assert "as another outlet (its program was started anew: uid was " + before[:8] in word
    assert "created_at was" in word


@pytest.mark.parametrize("any_host", [False, True])
def test_a_namesake_on_another_host_is_refused_until_the_user_agrees(any_host):
    with closing(Feeder(source_id="moved")) as first:
        source = LslSource(SourceConfig(source_id="moved", any_host=any_host), None)
        with closing(source):
            read_until(source, has_samples(50))
            # The stream was another machine's: the outlet that comes now is a stranger's.
            reader = source._eeg
            reader.info = replace(reader.info, hostname="elsewhere")
            first.close()
            with closing(Feeder(source_id="moved")):
                if any_host:
                    items = read_until(source, has_state(StreamState.RETURNED), timeout=20)
                    words = [i.reason for i in items if isinstance(i, StateChange)]
                    assert "another host's: host was 'elsewhere' and is" in " ".join(words)
                    return
                items = read_until(
                    source,
                    lambda seen: any(
                        "Not taken for the lost stream" in item.reason
                        for item in seen
                        if isinstance(item, StateChange)
                    ),
                    timeout=20,
                )
                hosts = source.foreign_hosts
                source.admit("a third computer")
                assert not has_state(StreamState.RETURNED)(source.read(1.0))
                assert source.foreign_hosts == hosts == (socket.gethostname(),)
                # The user agrees while it is looked for.
                source.admit(hosts[0])
                again = read_until(source, has_state(StreamState.RETURNED), timeout=20)
                words = [i.reason for i in again if isinstance(i, StateChange)]
                assert "another host's: host was 'elsewhere' and is" in " ".join(words)
                assert source.foreign_hosts == ()
    assert not has_state(StreamState.RETURNED)(items)
    notes = " ".join(i.reason for i in items if isinstance(i, StateChange))
    assert "Not taken for the lost stream, for it comes from another host: 'feeder'" in notes
    assert "--any-host" in notes
