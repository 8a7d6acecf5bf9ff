"""The XDF writer and reader: against pyxdf, against each other, against damage and death."""

from __future__ import annotations

import logging
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyxdf
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from devices.errors import FileError, RecordingError
from devices.files import open_recording
from devices.xdf import XdfFile, XdfOffset, XdfSamples, XdfWriter
from devices.xdf.layout import FORMATS, Tag
from devices.xdf.writer import sender_time
from pipeline.values import StreamInfo
from tests.devices.xdf_tools import chunk_positions, eeg_stream, marker_stream, write_eeg_file


def load_raw(path: Path) -> dict[int, Any]:
    """What pyxdf reads, without its repairs."""
    logging.disable(logging.ERROR)
    try:
        streams, _ = pyxdf.load_xdf(path, synchronize_clocks=False, dejitter_timestamps=False)
    finally:
        logging.disable(logging.NOTSET)
    return {stream["info"]["stream_id"]: stream for stream in streams}


@pytest.mark.parametrize(
    "name",
    [
        "minimal.xdf",
        "clock_resets.xdf",
        "empty_streams.xdf",
        "obci-test.xdf",
        "ssvep-dsi7.xdf",
        "p300-checkerboard.xdf",
    ],
)
def test_reads_the_example_files_as_pyxdf_does(shared_data: Path, name: str) -> None:
    path = shared_data / "xdf" / name
    expected = load_raw(path)
    with XdfFile(path) as file:
        series = file.load()
        assert list(series) == list(expected)
        assert file.damage == []
    for stream_id, theirs in expected.items():
        ours = series[stream_id]
        np.testing.assert_array_equal(ours.timestamps, theirs["time_stamps"])
        np.testing.assert_array_equal(ours.clock_times, theirs["clock_times"])
        np.testing.assert_array_equal(ours.clock_offsets, theirs["clock_values"])
        assert ours.stream.info.name == theirs["info"]["name"][0]
        if isinstance(ours.samples, tuple):
            assert [[text] for text in ours.samples] == theirs["time_series"]
        else:
            np.testing.assert_array_equal(ours.samples, theirs["time_series"])


@pytest.mark.parametrize("name", ["minimal.xdf", "clock_resets.xdf", "p300-checkerboard.xdf"])
def test_chunk_by_chunk_gives_the_same_as_whole(shared_data: Path, name: str) -> None:
    with XdfFile(shared_data / "xdf" / name) as file:
        series = file.load()
        for stream_id, whole in series.items():
            chunks = [
                c for c in file.iter_chunks(streams=(stream_id,)) if isinstance(c, XdfSamples)
            ]
            stamps = np.concatenate([c.timestamps for c in chunks] or [np.empty(0)])
            np.testing.assert_array_equal(stamps, whole.timestamps)
            assert file.n_samples(stream_id) == len(whole.timestamps)


@pytest.mark.parametrize("fmt", list(FORMATS))
def test_pyxdf_reads_every_number_format(tmp_path: Path, fmt: str) -> None:
    dtype = np.dtype(FORMATS[fmt])
    rng = np.random.default_rng(3)
    data = (
        rng.standard_normal((50, 3)).astype(dtype)
        if dtype.kind == "f"
        else rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (50, 3), dtype=dtype)
    )
    stamps = 1e9 + np.arange(50) / 250
    with XdfWriter(tmp_path / "a.xdf") as writer:
        writer.add_stream(7, eeg_stream(3, fmt=fmt))
        writer.write_clock_offset(7, 12.0, -1.5)
        writer.write_samples(7, data[:20], stamps[:20])
        writer.write_samples(7, data[20:], stamps[20:])
    theirs = load_raw(tmp_path / "a.xdf")[7]
    np.testing.assert_array_equal(theirs["time_series"], data)
    assert theirs["time_series"].dtype == dtype
    np.testing.assert_array_equal(theirs["time_stamps"], stamps)
    assert theirs["clock_values"] == [-1.5]
    # XDF keeps the probe on the sender's clock.
    assert theirs["clock_times"] == [13.5]
    assert theirs["footer"]["info"]["sample_count"] == ["50"]
    channels = theirs["info"]["desc"][0]["channels"][0]["channel"]
    assert [c["label"][0] for c in channels] == ["E0", "E1", "E2"]
    assert {c["unit"][0] for c in channels} == {"microvolts"}


def test_pyxdf_reads_strings_of_every_kind(tmp_path: Path) -> None:
    texts = ("", "face", "größe µV 脳", "x" * 300, "y" * 70_000, '{"a": "<&>"}', "new\nline\0zero")
    with XdfWriter(tmp_path / "a.xdf") as writer:
        writer.add_stream(2, marker_stream())
        writer.write_samples(2, texts, np.arange(7.0))
    assert load_raw(tmp_path / "a.xdf")[2]["time_series"] == [[text] for text in texts]
    with XdfFile(tmp_path / "a.xdf") as file:
        assert file.load()[2].samples == texts


def test_a_header_survives_the_round_trip(tmp_path: Path) -> None:
    info = eeg_stream(3)
    with XdfWriter(tmp_path / "a.xdf") as writer:
        writer.add_stream(1, info, {"role": "eeg"})
    with XdfFile(tmp_path / "a.xdf") as file:
        assert file.streams[1].info == info
        assert file.streams[1].role == "eeg"


def test_hostile_text_in_a_header_is_kept_readable(tmp_path: Path) -> None:
    info = StreamInfo("a<b>&\x00\x1b", "EEG", "", 1, 0.0, "int8", desc={"1 bad tag": ["x\x07y"]})
    with XdfWriter(tmp_path / "a.xdf") as writer:
        writer.add_stream(1, info)
    load_raw(tmp_path / "a.xdf")
    with XdfFile(tmp_path / "a.xdf") as file:
        assert file.streams[1].info.name.startswith("a<b>&")


_texts = st.text(st.characters(codec="utf-8"), max_size=20)
_chunks = st.lists(
    st.one_of(
        st.tuples(st.just("eeg"), st.integers(1, 9), st.integers(0, 2**32 - 1)),
        st.tuples(st.just("text"), st.lists(_texts, min_size=1, max_size=4), st.just(0)),
        st.tuples(st.just("probe"), st.floats(0, 1e6), st.floats(-1e6, 1e6)),
    ),
    max_size=25,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(chunks=_chunks, fmt=st.sampled_from(list(FORMATS)))
def test_what_is_written_is_read_in_the_same_order(
    tmp_path: Path, chunks: list[Any], fmt: str
) -> None:
    path = tmp_path / f"{time.monotonic_ns()}.xdf"
    written: list[tuple[Any, ...]] = []
    with XdfWriter(path) as writer:
        writer.add_stream(1, eeg_stream(3, fmt=fmt))
        writer.add_stream(2, marker_stream())
        for kind, a, b in chunks:
            if kind == "eeg":
                data = np.random.default_rng(b).integers(-99, 99, (a, 3)).astype(FORMATS[fmt])
                writer.write_samples(1, data, np.arange(a) + 0.5)
                written.append((1, data.tolist(), (np.arange(a) + 0.5).tolist()))
            elif kind == "text":
                writer.write_samples(2, a, np.arange(float(len(a))))
                written.append((2, a, np.arange(float(len(a))).tolist()))
            else:
                writer.write_clock_offset(1, a, b)
                written.append((1, sender_time(a, b), b))
    with XdfFile(path) as file:
        read = [
            (item.stream_id, item.collected, item.offset)
            if isinstance(item, XdfOffset)
            else (
                item.stream_id,
                item.samples.tolist() if isinstance(item.samples, np.ndarray) else [*item.samples],
                item.timestamps.tolist(),
            )
            for item in file.iter_chunks()
        ]
        assert file.damage == []
    assert read == written
    path.unlink()


def test_a_stamp_that_is_missing_follows_from_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "a.xdf"
    with XdfWriter(path) as writer:
        writer.add_stream(1, eeg_stream(1, sfreq=100.0, fmt="int16"))
        writer.write_samples(1, np.array([[1]], np.int16), np.array([5.0]))
    raw = bytearray(path.read_bytes())
    # A second chunk as other recorders write it: no stamp, then a stamp, then none.
    body = struct.pack("<IBB", 1, 1, 3)
    body += struct.pack("<Bh", 0, 2) + struct.pack("<Bdh", 8, 9.0, 3) + struct.pack("<Bh", 0, 4)
    raw[chunk_positions(bytes(raw), Tag.STREAM_FOOTER)[0] :] = (
        struct.pack("<BBH", 1, len(body) + 2, Tag.SAMPLES) + body
    )
    path.write_bytes(raw)
    with XdfFile(path) as file:
        series = file.load()[1]
        assert file.damage == []
    np.testing.assert_allclose(series.timestamps, [5.0, 5.01, 9.0, 9.01], atol=1e-12)
    np.testing.assert_array_equal(series.samples, [[1], [2], [3], [4]])
    np.testing.assert_array_equal(series.timestamps, load_raw(path)[1]["time_stamps"])


def test_seek_finds_the_chunk_that_holds_a_time(tmp_path: Path) -> None:
    _, stamps = write_eeg_file(tmp_path / "a.xdf")
    with XdfFile(tmp_path / "a.xdf") as file:
        for t in (0.0, stamps[0], stamps[777], (stamps[777] + stamps[778]) / 2, stamps[-1]):
            item = next(file.iter_chunks(file.seek(float(t), 1)))
            assert isinstance(item, XdfSamples)
            assert item.timestamps[-1] >= t
            assert item.position == 0 or t <= stamps[0] or item.timestamps[0] - 1 / 250 <= t
        assert file.seek(float(stamps[-1]) + 1, 1) == file.n_chunks


# ---------------------------------------------------------------------- writing fails


def test_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "a.xdf").write_bytes(b"precious")
    with pytest.raises(RecordingError, match="never overwritten"):
        XdfWriter(tmp_path / "a.xdf")
    assert (tmp_path / "a.xdf").read_bytes() == b"precious"


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="folder that exists"):
        XdfWriter(tmp_path / "none" / "a.xdf")


def test_a_vanished_file_is_told(tmp_path: Path) -> None:
    writer = XdfWriter(tmp_path / "a.xdf")
    writer.flush()
    (tmp_path / "a.xdf").unlink()
    with pytest.raises(RecordingError, match="vanished"):
        writer.flush()
    with pytest.raises(RecordingError, match="vanished"):
        writer.close()


@pytest.mark.parametrize("has_room_again", [True, False])
def test_a_full_disk_is_told_and_nothing_is_lost_once_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_room_again: bool
) -> None:
    """Without space the file ends with its last whole chunk."""
    real, room = os.write, [1500]

    def limited(fd: int, data: Any) -> int:
        n = min(len(data), room[0])
        if n == 0 and len(data):
            raise OSError(28, "No space left on device")
        room[0] -= n
        return real(fd, data[:n])

    writer = XdfWriter(tmp_path / "a.xdf")
    writer.add_stream(1, eeg_stream())
    data = np.arange(400, dtype=np.float32).reshape(100, 4)
    for k in range(0, 100, 10):
        writer.write_samples(1, data[k : k + 10], np.arange(k, k + 10.0))
    monkeypatch.setattr("devices.xdf.writer.os.write", limited)
    with pytest.raises(RecordingError, match="No space left"):
        writer.flush()
    assert writer.bytes_pending > 0
    if not has_room_again:
        with pytest.raises(RecordingError, match="No space left"):
            writer.close()
        n_kept = 100 - writer.samples_pending(1)
        assert 0 < n_kept < 100
        with XdfFile(tmp_path / "a.xdf") as file:
            np.testing.assert_array_equal(file.load()[1].samples, data[:n_kept])
            assert file.damage == []
        return
    room[0] = 1 << 30
    writer.close()
    np.testing.assert_array_equal(load_raw(tmp_path / "a.xdf")[1]["time_series"], data)


_VICTIM = """
import sys, time
import numpy as np
from pathlib import Path
from devices.xdf import XdfWriter
from tests.devices.xdf_tools import eeg_stream

writer = XdfWriter(Path(sys.argv[1]))
writer.add_stream(1, eeg_stream())
began = time.monotonic()
n = 0
while True:
    now = int((time.monotonic() - began) * 1000)
    if now > n:
        stamps = began + np.arange(n, now) / 1000
        writer.write_samples(1, np.ones((now - n, 4), np.float32), stamps)
        n = now
    writer.tick()
    print(time.monotonic(), flush=True)
    time.sleep(0.02)
"""


def test_kill_9_costs_less_than_a_second(
    tmp_path: Path, popen: Callable[..., subprocess.Popen[Any]]
) -> None:
    path = tmp_path / "a.xdf"
    child = popen([sys.executable, "-c", _VICTIM, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    began = float(child.stdout.readline())
    alive = began
    while alive < began + 1.3:
        alive = float(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    rest = child.communicate()[0].split()
    alive = float(rest[-1]) if rest else alive
    stamps = load_raw(path)[1]["time_stamps"]
    assert stamps[0] == pytest.approx(began, abs=0.2)
    assert alive - stamps[-1] < 1.0
    with XdfFile(path) as file:
        ours = file.load()[1]
    # We keep at least what pyxdf keeps (and the whole samples of a chunk cut in two).
    np.testing.assert_array_equal(ours.timestamps[: len(stamps)], stamps)


# ---------------------------------------------------------------------- reading damage


def test_what_is_no_xdf_is_refused_in_one_sentence(tmp_path: Path) -> None:
    for content, words in ((b"", "empty"), (b"hello, this is text", "no XDF file")):
        (tmp_path / "a.xdf").write_bytes(content)
        with pytest.raises(FileError, match=words):
            XdfFile(tmp_path / "a.xdf")
    with pytest.raises(FileError, match="cannot be read"):
        XdfFile(tmp_path / "none.xdf")


def test_a_wrong_length_byte_costs_what_lies_before_the_next_boundary(tmp_path: Path) -> None:
    path = tmp_path / "a.xdf"
    data, stamps = write_eeg_file(path)
    raw = bytearray(path.read_bytes())
    victim = chunk_positions(bytes(raw), Tag.SAMPLES)[50]
    raw[victim] = 77  # no such count of length bytes
    path.write_bytes(raw)
    with XdfFile(path) as file:
        assert len(file.damage) == 1
        assert file.damage[0].start == victim
        series = file.load()[1]
    # Boundaries come every 20 packets of 10 samples: what is left is right, in order.
    kept = np.isin(stamps, series.timestamps)
    assert 0 < (~kept).sum() <= 200
    np.testing.assert_array_equal(series.samples, data[kept])


def test_a_length_that_lies_costs_one_stretch_only(tmp_path: Path) -> None:
    path = tmp_path / "a.xdf"
    _, stamps = write_eeg_file(path)
    raw = bytearray(path.read_bytes())
    victim = chunk_positions(bytes(raw), Tag.SAMPLES)[50]
    raw[victim + 4] = 0x7F  # two gigabytes, where pyxdf runs out of memory
    path.write_bytes(raw)
    with XdfFile(path) as file:
        series = file.load()[1]
        assert file.damage
    assert len(stamps) - 200 <= len(series.timestamps) < len(stamps)


def test_a_flag_byte_flipped_costs_one_chunk(tmp_path: Path) -> None:
    path = tmp_path / "a.xdf"
    data, _ = write_eeg_file(path)
    raw = bytearray(path.read_bytes())
    victim = chunk_positions(bytes(raw), Tag.SAMPLES)[50]
    raw[victim + 5 + 2 + 4 + 5] ^= 0xFF
    path.write_bytes(raw)
    with XdfFile(path) as file:
        series = file.load()[1]
        assert [d.reason for d in file.damage] == [
            "a samples chunk does not hold what it claims; left out"
        ]
    np.testing.assert_array_equal(series.samples, np.delete(data, slice(500, 510), axis=0))


def test_a_header_with_four_million_channels_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.xdf"
    write_eeg_file(path, n_packets=20)
    raw = path.read_bytes()
    fat = raw.replace(b"<channel_count>4<", b"<channel_count>4000000<")
    header = chunk_positions(raw, Tag.STREAM_HEADER)[0]
    length = struct.unpack_from("<I", raw, header + 1)[0] + 6
    fat = fat[: header + 1] + struct.pack("<I", length) + fat[header + 5 :]
    path.write_bytes(fat)
    with XdfFile(path) as file:
        assert file.streams == {}
        assert "4000000 channels" in file.damage[0].reason
        assert file.load() == {}


def test_xml_bombs_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.xdf"
    bomb = b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><info><name>&c;</name></info>'
    body = struct.pack("<HI", Tag.STREAM_HEADER, 1) + bomb
    path.write_bytes(b"XDF:" + struct.pack("<BI", 4, len(body)) + body)
    with XdfFile(path) as file:
        assert file.streams == {}
        assert "document type" in file.damage[0].reason


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7, 0.999])
def test_a_file_cut_anywhere_gives_what_is_there(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.xdf"
    data, stamps = write_eeg_file(path)
    raw = path.read_bytes()
    cut = int(share * len(raw))
    path.write_bytes(raw[:cut])
    with XdfFile(path) as file:
        series = file.load()[1]
        assert file.damage or cut in [0, *chunk_positions(raw[:cut], Tag.SAMPLES)]
    n = len(series.timestamps)
    np.testing.assert_array_equal(series.timestamps, stamps[:n])
    np.testing.assert_array_equal(series.samples, data[:n])
    # Every chunk that ends before the cut is there (pyxdf raises at some of these cuts).
    assert n >= 10 * sum(p + 5 + 2 + 9 + 250 <= cut for p in chunk_positions(raw, Tag.SAMPLES))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(hits=[], keep=0.8518145622385997)  # cut inside the head of a chunk: a count of -1
@given(
    hits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=12),
    keep=st.floats(0.02, 1),
)
def test_no_damage_raises_or_takes_memory(
    tmp_path: Path, hits: list[tuple[float, int]], keep: float
) -> None:
    source = tmp_path / "good.xdf"
    if not source.exists():
        clock = [0.0]
        with XdfWriter(source, boundary_interval=1.0, clock=lambda: clock[0]) as writer:
            writer.add_stream(1, eeg_stream())
            writer.add_stream(2, marker_stream())
            for k in range(40):
                clock[0] += 0.1
                writer.write_clock_offset(1, 1.0 * k, 0.5)
                writer.write_samples(1, np.full((5, 4), k, np.float32), np.arange(5.0) + k)
                writer.write_samples(2, (f"marker {k}",), np.array([1.0 * k]))
                writer.tick()
    raw = bytearray(source.read_bytes())
    for where, value in hits:
        raw[max(4, int(where * len(raw)))] = value
    path = tmp_path / f"{time.monotonic_ns()}.xdf"
    path.write_bytes(raw[: max(4, int(keep * len(raw)))])
    with XdfFile(path) as file:
        n = 0
        for item in file.iter_chunks():
            n += len(item.timestamps) if isinstance(item, XdfSamples) else 0
        series = file.load()
        total = sum(len(one.timestamps) for one in series.values())
        assert total == n
        assert total <= len(raw)
        assert all(0 <= d.start <= d.stop <= len(raw) for d in file.damage)
    path.unlink()


def test_damage_is_reported_once_however_often_it_is_read(tmp_path: Path) -> None:
    """Found by `phosphene bench fuzz` (seed 0, case 117): a second reading gave 4260 to 2481."""
    path = tmp_path / "a.xdf"
    write_eeg_file(path, n_packets=40)
    raw = bytearray(path.read_bytes())
    for position in chunk_positions(bytes(raw), Tag.SAMPLES)[10:30:9]:
        raw[position + 16] = 3  # a flag that says neither "stamp" nor "none"
    path.write_bytes(raw)
    with XdfFile(path) as file:
        list(file.iter_chunks())
        once = list(file.damage)
        file.load()
        list(file.iter_chunks())
        assert file.damage == once
    assert len(once) == 3
    assert all(0 <= d.start < d.stop <= len(raw) for d in once)


def test_an_hour_is_opened_and_sought_in_a_fifth_of_a_second(tmp_path: Path) -> None:
    """CPU time, best of three: an hour of 40 ms packets, some of uneven length."""
    path = tmp_path / "hour.xdf"
    block = np.zeros((11, 8), np.float32)
    with XdfWriter(path, boundary_interval=10.0, clock=iter(np.arange(0, 1e6, 0.04)).__next__) as w:
        w.add_stream(1, eeg_stream(8))
        n = 0
        for k in range(90_000):
            size = 10 if k % 50 else 11
            w.write_samples(1, block[:size], 1000.0 + np.arange(n, n + size) / 250)
            n += size
            if k % 125 == 0:
                w.write_clock_offset(1, 1000.0 + k / 25, 0.5)
                w.tick()
    took = []
    for _ in range(3):
        began = time.process_time()
        with XdfFile(path) as file:
            number = file.seek(1000.0 + 3000.0, 1)
            found = next(file.iter_chunks(number))
            took.append(time.process_time() - began)
            assert file.n_samples(1) == n
    assert isinstance(found, XdfSamples)
    assert found.timestamps[0] <= 4000.0 <= found.timestamps[-1]
    assert min(took) < 0.2


def test_chunks_of_one_size_are_indexed_like_any_others(tmp_path: Path) -> None:
    path = tmp_path / "a.xdf"
    data, stamps = write_eeg_file(path, n_packets=300, boundary_every=7)
    raw = bytearray(path.read_bytes())
    damaged = chunk_positions(bytes(raw), Tag.SAMPLES)[150]
    with XdfFile(path) as file:
        np.testing.assert_array_equal(file.load()[1].samples, data)
    raw[damaged + 6] ^= 1  # the tag: no longer like its neighbours
    path.write_bytes(raw)
    with XdfFile(path) as file:
        series = file.load()[1]
        assert file.damage
    left = np.isin(stamps, series.timestamps)
    assert left.sum() >= len(stamps) - 70
    np.testing.assert_array_equal(series.samples, data[left])


def test_flipped_bits_that_make_giants_are_reported_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.xdf"
    write_eeg_file(path, n_packets=40)
    raw = bytearray(path.read_bytes())
    chunk = chunk_positions(bytes(raw), Tag.SAMPLES)[7]
    # Head 16 bytes, flag 1, stamp 8: the first value's highest exponent bit.
    raw[chunk + 16 + 9 + 3] |= 0x40
    path.write_bytes(raw)
    with XdfFile(path) as file:
        series = file.load()[1]
        one_by_one = [item for item in file.iter_chunks() if isinstance(item, XdfSamples)]
        (damage,) = file.damage
    assert "1 values lie beyond 10 V" in damage.reason
    assert chunk < damage.start < damage.stop < chunk + 300
    assert np.abs(series.samples[70, 0]) > 1e7
    assert len(series.samples) == 400 == sum(len(item.timestamps) for item in one_by_one)


@pytest.mark.parametrize("suffix", [".xdfz", ".xdf.gz"])
def test_a_compressed_file_is_read_even_when_it_is_cut(tmp_path: Path, suffix: str) -> None:
    import gzip

    plain = tmp_path / "a.xdf"
    data, _ = write_eeg_file(plain)
    path = tmp_path / f"b{suffix}"
    packed = gzip.compress(plain.read_bytes())
    path.write_bytes(packed)
    with XdfFile(path) as file:
        np.testing.assert_array_equal(file.load()[1].samples, data)
    recording = open_recording(path)
    assert sum(len(block.times) for block in recording.blocks()) == len(data)
    recording.close()
    path.write_bytes(packed[: len(packed) // 2])
    with XdfFile(path) as file:
        part = file.load()[1].samples
    assert 100 < len(part) < len(data)
    np.testing.assert_array_equal(part, data[: len(part)])
    path.write_bytes(gzip.compress(b"no XDF at all"))
    with pytest.raises(FileError, match="holds no XDF"):
        XdfFile(path)
