"""Readers of recorded EEG: against MNE, against what was written, against damage."""

from __future__ import annotations

import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.errors import FileError
from devices.files import Recording, open_recording
from devices.files.bids import read_sidecars
from devices.files.brainflow import LAYOUTS, Layout
from devices.files.mne_files import MneRecording

OPENBCI = "openbci/OpenBCI_GUI-v6-blinks-jawClench-alpha.txt"


def contents(
    recording: Recording, start: float = 0.0
) -> tuple[np.ndarray, np.ndarray, list[tuple[float, str]]]:
    """Samples (n_times, n_channels), their times, and the events."""
    data, times, events = [], [], []
    for block in recording.blocks(start=start):
        if block.stream == 0:
            data.append(block.samples)
            times.append(block.times)
        else:
            events.append((float(block.times[0]), block.samples[0]))
    recording.close()
    return np.concatenate(data), np.concatenate(times), events


# ---------------------------------------------------------------------- formats that MNE reads


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("formats/test.edf", "read_raw_edf"),
        ("formats/test.bdf", "read_raw_bdf"),
        ("formats/eeglab_data.set", "read_raw_eeglab"),
        ("formats/testbva.vhdr", "read_raw_brainvision"),
        ("formats/brainvision/test.vhdr", "read_raw_brainvision"),
    ],
)
def test_gives_what_mne_gives_in_microvolts(shared_data: Path, name: str, reader: str) -> None:
    import mne

    recording = open_recording(shared_data / name)
    info = recording.streams[0]
    data, times, events = contents(recording)
    raw = getattr(mne.io, reader)(shared_data / name, preload=False, verbose="ERROR")
    assert info.ch_names == tuple(n for n in raw.ch_names if n in info.ch_names)
    assert info.sfreq == raw.info["sfreq"]
    scale = np.array([1e6 if unit == "microvolts" else 1.0 for unit in info.ch_units])
    expected = raw.get_data(picks=list(info.ch_names)).T * scale
    np.testing.assert_array_equal(data, expected.astype(np.float32))
    np.testing.assert_allclose(times, raw.times, atol=1e-9)
    assert recording.duration == pytest.approx(raw.n_times / raw.info["sfreq"])
    if len(raw.annotations):
        # MNE 1.9 has each segment's beginning as an annotation; here it is a break.
        is_event = raw.annotations.description != "New Segment/"
        assert [label for _, label in events] == list(raw.annotations.description[is_event])
        onsets = [t for t, _ in events]
        expected = raw.annotations.onset[is_event]
        np.testing.assert_allclose(onsets, expected, atol=0.5 / info.sfreq)


def test_a_trigger_channel_gives_events(shared_data: Path) -> None:
    import mne

    path = shared_data / "formats" / "test.bdf"
    _, _, events = contents(open_recording(path))
    raw = mne.io.read_raw_bdf(path, preload=False, verbose="ERROR")
    # As MNE counts by default: the line rests at 254, its returns are no events.
    found = mne.find_events(raw, shortest_event=1, mask=0xFFFF, mask_type="and", verbose="ERROR")
    expected = [(n / raw.info["sfreq"], str(code)) for n, _, code in found]
    assert len(expected) > 10
    assert [label for _, label in events] == [label for _, label in expected]
    np.testing.assert_allclose([e[0] for e in events], [e[0] for e in expected], atol=1e-9)


def test_fif_round_trip(tmp_path: Path) -> None:
    import mne

    rng = np.random.default_rng(0)
    info = mne.create_info(["Cz", "Pz", "VEOG"], 100.0, ["eeg", "eeg", "eog"])
    raw = mne.io.RawArray(rng.standard_normal((3, 1234)) * 2e-5, info, verbose="ERROR")
    raw.set_montage(
        mne.channels.make_dig_montage(
            {"Cz": [0, 0, 0.1], "Pz": [0, -0.05, 0.08]}, coord_frame="head"
        ),
        on_missing="ignore",
    )
    raw.set_annotations(mne.Annotations([1.0, 7.255], [0.0, 0.5], ["face", "house"]))
    raw.save(tmp_path / "a_raw.fif", fmt="double", verbose="ERROR")
    recording = open_recording(tmp_path / "a_raw.fif")
    data, _, events = contents(recording)
    np.testing.assert_allclose(data, raw.get_data().T * 1e6, rtol=1e-5)
    assert events == [(1.0, "face"), (pytest.approx(7.255), "house")]
    assert recording.streams[0].ch_types == ("eeg", "eeg", "eog")
    channels = recording.streams[0].desc["channels"][0]["channel"]
    assert float(channels[0]["location"][0]["Z"][0]) > 50  # mm: Cz is on top


def test_a_truncated_fif_is_refused(tmp_path: Path) -> None:
    import mne

    info = mne.create_info(["Cz", "Pz"], 100.0, "eeg")
    raw = mne.io.RawArray(np.ones((2, 20_000)) * 1e-5, info, verbose="ERROR")
    path = tmp_path / "a_raw.fif"
    raw.save(path, verbose="ERROR")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(FileError, match=r"truncated or damaged at \d+\.\d s of"):
        open_recording(path)


def test_a_start_in_the_middle_is_the_rest_of_the_whole(shared_data: Path) -> None:
    path = shared_data / "formats" / "eeglab_data.set"
    data, times, events = contents(open_recording(path))
    late, late_times, late_events = contents(open_recording(path), start=100.0)
    first = int(np.searchsorted(times, 100.0))
    np.testing.assert_array_equal(late, data[first:])
    np.testing.assert_array_equal(late_times, times[first:])
    assert late_events == [event for event in events if event[0] >= 100.0]


@pytest.fixture(scope="session")
def faces_houses(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    archive = shared_data / "faces-houses.zip"
    if not archive.is_file():
        pytest.skip(f"{archive} is absent")
    folder = tmp_path_factory.mktemp("bids")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return next(folder.rglob("*_eeg.edf"))


def test_a_file_that_was_never_finished_is_read_and_told(shared_data: Path) -> None:
    recording = open_recording(shared_data / "formats" / "test.bdf")
    assert recording.warnings == (
        "test.bdf was never finished by its recorder; it holds 60 records.",
    )
    recording.close()


def test_bids_sidecars_give_events_labels_and_positions(faces_houses: Path) -> None:
    recording = open_recording(faces_houses)
    assert isinstance(recording, MneRecording)
    info = recording.streams[0]
    assert (info.n_channels, info.sfreq) == (128, 256.0)
    assert set(info.ch_types) == {"eeg"}
    by_label: dict[str, int] = {}
    for event in recording.events:
        by_label[event.label] = by_label.get(event.label, 0) + 1
    for label in ("face-upright", "face-inverted", "house-upright", "house-inverted"):
        assert 190 <= by_label[label] <= 205
    # Its `bad_pylossless_ch_sd`, `BAD_break` and `boundary` are no events.
    assert recording.events[1].onset == 6.25390625
    top = next(c for c in info.desc["channels"][0]["channel"] if c["label"] == ["A1"])
    assert top["location"] == [{"X": ["0.000"], "Y": ["0.000"], "Z": ["135.149"]}]
    recording.close()


def test_sidecars_with_a_byte_order_mark_and_gaps(tmp_path: Path) -> None:
    path = tmp_path / "sub-1_task-x_eeg.edf"
    (tmp_path / "sub-1_task-x_events.tsv").write_text(
        "\ufeffonset\tduration\ttrial_type\tvalue\n1.5\tn/a\tface\t3\n2\t0.1\tn/a\t7\n", "utf-8"
    )
    (tmp_path / "sub-1_task-x_channels.tsv").write_text(
        "name\ttype\tstatus\nCz\tEEG\tgood\nX\tMISC\tbad\n", "utf-8"
    )
    (tmp_path / "sub-1_electrodes.tsv").write_text("name\tx\ty\tz\nCz\t0\t1\t90\nX\tn/a\t0\t0\n")
    found = read_sidecars(path)
    assert [(e.onset, e.label, e.duration) for e in found.events or ()] == [
        (1.5, "face", 0.0),
        (2.0, "7", 0.1),
    ]
    assert found.bads == ("X",)
    assert found.positions == {"Cz": (0.0, 0.001, 0.09)}
    (tmp_path / "sub-1_task-x_events.tsv").write_text("onset\tduration\nsoon\t1\n")
    with pytest.raises(FileError, match=r"line 2: onset is 'soon'"):
        read_sidecars(path)


# ---------------------------------------------------------------------- truncated, empty, unknown


@pytest.mark.parametrize(
    ("name", "cut", "others"),
    [
        ("formats/test.edf", "test.edf", ()),
        ("formats/test.bdf", "test.bdf", ()),
        ("formats/eeglab_data.set", "eeglab_data.fdt", ("eeglab_data.fdt",)),
        ("formats/brainvision/test.vhdr", "test.eeg", ("test.eeg", "test.vmrk")),
    ],
)
def test_a_truncated_recording_does_not_pass_in_silence(
    shared_data: Path, tmp_path: Path, name: str, cut: str, others: tuple[str, ...]
) -> None:
    source = shared_data / name
    for part in (source.name, *others):
        shutil.copyfile(source.with_name(part), tmp_path / part)
    victim = tmp_path / cut
    raw = bytearray(victim.read_bytes())
    if name.endswith(".bdf"):
        raw[236:244] = b"60      "  # this one does not say how long it is
    victim.write_bytes(raw[: len(raw) * 2 // 3 + 1])
    with pytest.raises(FileError, match=r"truncated.*copy it again") as caught:
        open_recording(tmp_path / source.name)
    assert "\n" not in str(caught.value)
    victim.unlink()
    with pytest.raises(FileError, match=r"missing|does not exist"):
        open_recording(tmp_path / source.name)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.edf", b"", "is empty"),
        ("a.edf", b"not EDF at all", "damaged header"),
        ("a.fif", b"not FIF at all, but long enough to be tried", "cannot be read as FIF"),
        ("a.set", b"x" * 500, "no EEGLAB data set"),
        ("a.vhdr", b"Brain Vision\n[nothing]\n", "no BrainVision header"),
        ("a.xdf", b"", "is empty"),
        ("a.txt", b"some notes\nof mine\n", "no row of numbers"),
        ("a.txt", b"%OpenBCI Raw EXG Data\n", "names no EXG|Sample Rate"),
        ("a.csv", b"\x00\x01\x02", "is binary"),
        ("a.csv", b"1,2,3,4,5\n", "5 columns"),
        ("a.mp3", b"x", "unknown extension '.mp3'"),
        ("a.vmrk", b"x", "give the header a.vhdr"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=words) as caught:
        open_recording(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_folders_and_missing_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is a folder"):
        open_recording(tmp_path)
    with pytest.raises(FileError, match="does not exist"):
        open_recording(tmp_path / "none.edf")


# ---------------------------------------------------------------------- OpenBCI


def test_openbci_file_is_read_whole(shared_data: Path) -> None:
    path = shared_data / OPENBCI
    recording = open_recording(path)
    data, times, events = contents(recording)
    rows = [line.split(",") for line in path.read_text().splitlines() if line[:1].isdigit()]
    np.testing.assert_array_equal(
        data, np.array([[float(x) for x in row[1:9]] for row in rows]).astype(np.float32)
    )
    np.testing.assert_allclose(times, np.arange(len(rows)) / 250.0)
    assert events == []
    assert recording.warnings == ()
    assert recording.streams[0].ch_names[0] == "EXG Channel 0"


def openbci_text(packages: list[int], stamps: list[float], markers: dict[int, float]) -> str:
    head = (
        "%OpenBCI Raw EXG Data\n%Number of channels = 2\n%Sample Rate = 250 Hz\n"
        "%Board = OpenBCI_GUI$BoardCytonSerial\n"
        "Sample Index, EXG Channel 0, EXG Channel 1, Timestamp, Marker Channel\n"
    )
    return head + "".join(
        f"{package}, {k}.5, -{k}.25, {stamp:.3f}, {markers.get(k, 0)}\n"
        for k, (package, stamp) in enumerate(zip(packages, stamps, strict=True))
    )


@pytest.mark.parametrize("n_lost", [0, 1, 3, 100, 255, 256, 700])
def test_lost_packets_are_gaps_in_time(tmp_path: Path, n_lost: int) -> None:
    numbers = [*range(600), *range(600 + n_lost, 1000 + n_lost)]
    # The stamps jitter by tens of ms, as a dongle's do; the counter is exact.
    jitter = np.random.default_rng(0).uniform(0, 0.03, len(numbers))
    stamps = [1.7e9 + n / 250 + j for n, j in zip(numbers, jitter, strict=True)]
    path = tmp_path / "a.txt"
    path.write_text(openbci_text([n % 256 for n in numbers], stamps, {10: 7.0, 700: 2.0}))
    recording = open_recording(path)
    data, times, events = contents(recording)
    np.testing.assert_allclose(times * 250, numbers, atol=1e-6)
    assert data[3].tolist() == [3.5, -3.25]
    assert events == [(10 / 250, "7"), ((700 + n_lost) / 250, "2")]
    assert any(f"lacks {n_lost} samples" in w for w in recording.warnings) == (n_lost > 0)


@pytest.mark.parametrize("is_same_row", [False, True])
def test_a_row_with_the_number_of_the_one_before_it(tmp_path: Path, is_same_row: bool) -> None:
    """Other values and a number missing behind it: the row is right and its number is not."""
    packages = [n % 256 for n in range(800)]
    packages[300] = packages[299]
    text = openbci_text(packages, [1.7e9 + n / 250 for n in range(800)], {300: 7.0})
    if is_same_row:
        text = text.replace("300.5, -300.25", "299.5, -299.25")
    (tmp_path / "a.txt").write_text(text)
    recording = open_recording(tmp_path / "a.txt")
    data, times, events = contents(recording)
    expected = [n for n in range(800) if n != 300 or not is_same_row]
    np.testing.assert_allclose(times * 250, expected, atol=1e-6)
    assert data[:, 0].tolist() == [n + 0.5 for n in expected]
    assert events == ([] if is_same_row else [(300 / 250, "7")])
    assert bool(recording.warnings) == is_same_row


def test_damaged_rows_are_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    lines = openbci_text([n % 256 for n in range(800)], [1e9 + n / 250 for n in range(800)], {})
    rows = lines.splitlines(keepends=True)
    rows[105], rows[300] = "7, garbage\n", "\x01\x02,,,\n"
    path.write_text("".join(rows)[:-9])  # the last row is cut as well
    recording = open_recording(path)
    _, times, _ = contents(recording)
    np.testing.assert_allclose(
        times * 250, [n for n in range(799) if n not in (100, 295)], atol=1e-6
    )
    assert "3 damaged rows" in recording.warnings[0]


def test_version_4_has_no_column_names(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    head = (
        "%OpenBCI Raw EEG Data\n%Number of channels = 2\n%Sample Rate = 250.0 Hz\n%First Column\n"
    )
    rows = "".join(f"{n % 256}, {n}.0, 2.0, 0.1, 0.2, 0.3, 12:00:00.000\n" for n in range(300))
    path.write_text(head + rows)
    data, _, _ = contents(open_recording(path))
    assert data.shape == (300, 2)
    assert data[7].tolist() == [7.0, 2.0]


# ---------------------------------------------------------------------- BrainFlow


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize("separator", ["\t", ","])
def test_brainflow_files_of_the_common_boards(
    tmp_path: Path, layout: Layout, separator: str
) -> None:
    n_columns, sfreq, name = layout.n_columns, layout.sfreq, layout.name
    rng = np.random.default_rng(1)
    table = rng.standard_normal((400, n_columns)).round(6)
    table[:, 0] = np.arange(400) % 256
    table[:, n_columns - 2] = 1.7e9 + np.arange(400) / sfreq
    table[:, n_columns - 1] = 0.0
    table[50, n_columns - 1] = 3.0
    path = tmp_path / "a.csv"
    path.write_text("\n".join(separator.join(f"{x:.6f}" for x in row) for row in table) + "\n")
    recording = open_recording(path, board=name)
    data, times, events = contents(recording)
    np.testing.assert_array_equal(data, table[:, list(layout.eeg)].astype(np.float32))
    np.testing.assert_allclose(times * sfreq, np.arange(400), atol=1e-6)
    assert events == [(50 / sfreq, "3")]
    if n_columns == 32:
        with pytest.raises(FileError, match=r"32 columns, which fits .* or .*--board"):
            open_recording(path)
    else:
        assert open_recording(path).streams[0].manufacturer == name
    with pytest.raises(FileError, match="give the board that recorded it"):
        open_recording(path, board="1" if n_columns != 15 else "cyton")


def test_layouts_are_those_of_brainflow() -> None:
    with warnings.catch_warnings():
        # BrainFlow imports pkg_resources, which announces its end.
        warnings.simplefilter("ignore")
        board_shim = pytest.importorskip("brainflow.board_shim")
        tables = [board_shim.BoardShim.get_board_descr(layout.board_id) for layout in LAYOUTS]
    for layout, table in zip(LAYOUTS, tables, strict=True):
        assert table["num_rows"] == layout.n_columns
        assert table["sampling_rate"] == layout.sfreq
        assert tuple(table["eeg_channels"]) == layout.eeg
        assert table["package_num_channel"] == layout.package
        assert table["timestamp_channel"] == layout.stamp
        assert table["marker_channel"] == layout.marker
        if "eeg_names" in table:
            assert tuple(table["eeg_names"].split(",")) == layout.ch_names


def test_other_boards_are_asked_of_brainflow(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("brainflow.board_shim")
    path = tmp_path / "a.csv"
    path.write_text("".join("\t".join([str(n % 200)] + ["1.5"] * 18) + "\n" for n in range(100)))
    recording = open_recording(path, board="UNICORN_BOARD")
    assert recording.streams[0].ch_names[:3] == ("Fz", "C3", "Cz")
    with pytest.raises(FileError, match="unknown to BrainFlow"):
        open_recording(path, board="toaster")


# ---------------------------------------------------------------------- anything at all

_line = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.lists(st.floats().map(str) | st.integers().map(str), max_size=30).map(",".join),
    st.sampled_from(
        [
            "%Sample Rate = 250 Hz",
            "%Sample Rate = 1e999 Hz",
            "%Number of channels = 8",
            "%Number of channels = 99999999",
            "Sample Index, EXG Channel 0, EXG Channel 1, Timestamp, Marker Channel",
            "0, 1.0, 2.0, 3.0, 0",
            "1, 1e999, nan, inf, nan",
            "9" * 400 + ", 1, 2, 3, 4",
        ]
    ),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=st.lists(_line, max_size=30), percent=st.booleans())
def test_text_files_of_any_content_end_in_samples_or_one_sentence(
    tmp_path: Path, lines: list[str], percent: bool
) -> None:
    path = tmp_path / ("a.txt" if percent else "a.csv")
    head = "%OpenBCI Raw EXG Data\n%Sample Rate = 250 Hz\n" if percent else ""
    path.write_text(head + "\n".join(lines), encoding="utf-8")
    try:
        recording = open_recording(path, board=None if percent else "cyton")
    except FileError:
        return
    data, times, _ = contents(recording)
    assert len(data) == len(times)
    assert (np.diff(times) > 0).all()
