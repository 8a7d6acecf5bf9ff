"""Kinds of recordings that people really have: pauses, marks, units, other signals, triggers."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs import SessionConfig, SourceConfig
from devices.bids.writing import BidsName, write_bids
from devices.choosing import StreamChoice
from devices.continuous import read_continuous
from devices.errors import FileError
from devices.files import Block, open_recording
from devices.files.base import FileEvent
from devices.files.marks import sort_marks
from devices.files.signal_types import guess_type
from devices.files.triggers import choose, codes_of, onsets, runs_of
from devices.player import Player
from devices.recorder import decode_state, encode_state
from devices.replay import RecordedSource
from pipeline.errors import InfoError
from pipeline.live import LivePath
from pipeline.values import Float64, Outcome, StateChange, StreamRole, StreamState, Verdict
from tests.devices.edf_tools import write_edf

CHANNELS = ("EEG Cz", "EEG Pz", "EEG O1", "EEG O2")


def events_of(path: Path) -> list[tuple[float, str]]:
    recording = open_recording(path)
    try:
        blocks = [block for block in recording.blocks() if block.stream == 1]
    finally:
        recording.close()
    return [(round(float(block.times[0]), 6), block.samples[0]) for block in blocks]


def times_of(path: Path) -> np.ndarray:
    recording = open_recording(path)
    try:
        return np.concatenate([b.times for b in recording.blocks() if b.stream == 0])
    finally:
        recording.close()


def judged(path: Path, **source: Any) -> tuple[LivePath, list[Verdict]]:
    """A recording through the live path, as `run --replay` and `calibrate --from` take it."""
    config = SessionConfig(source=SourceConfig(**source))
    replayed = RecordedSource(path)
    try:
        live = LivePath(config, replayed.streams)
        verdicts: list[Verdict] = []
        while items := replayed.read(0.0):
            for item in items:
                verdicts += live.feed(item)
    finally:
        replayed.close()
    return live, sorted(verdicts + live.finish(), key=lambda v: v.marker.index)


def write_fif(
    path: Path,
    notes: Sequence[tuple[float, float, str]] = (),
    *,
    seconds: float = 20.0,
    stim: dict[str, np.ndarray] | None = None,
) -> Path:
    import mne

    names = ["Cz", "Pz", "O1", "O2", *(stim or {})]
    info = mne.create_info(names, 100.0, ["eeg"] * 4 + ["stim"] * len(stim or {}))
    data = np.random.default_rng(1).normal(0, 1e-5, (4, round(seconds * 100)))
    raw = mne.io.RawArray(np.vstack([data, *(stim or {}).values()]), info, verbose="ERROR")
    if notes:
        raw.set_annotations(mne.Annotations(*zip(*notes, strict=True)))
    raw.save(path, verbose="ERROR")
    return path


# ---------------------------------------------------------------------- pauses and marks


def test_a_pause_of_edf_is_a_gap_with_the_events_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "p.edf"
    starts = [*range(5), *range(25, 30)]
    written = write_edf(path, CHANNELS, starts=starts, events=[(2, "face"), (27.5, "house")])
    times = times_of(path)
    assert len(times) == 1000
    assert np.diff(times).max() == pytest.approx(20.01)
    assert times[-1] == pytest.approx(29.99)
    assert events_of(path) == [(2.0, "face"), (27.5, "house")]
    live, verdicts = judged(path)
    assert (live.n_gaps, live.n_lost) == (1, 2000)
    assert [v.marker.t_onset for v in verdicts] == [2.0, 27.5]
    grid = read_continuous(path)
    assert grid.data.shape == (4, 3000)
    assert [(g.sample, g.label, g.n_times) for g in grid.gaps] == [(500, "BAD_ACQ_SKIP", 2000)]
    np.testing.assert_allclose(grid.data[:, 2500:], written[:, 500:], atol=1e-3)


def test_an_event_right_behind_a_long_pause_is_placed(tmp_path: Path) -> None:
    path = tmp_path / "p.edf"
    events = [(2, "face"), (605.02, "house"), (608, "face")]
    write_edf(path, CHANNELS, starts=[*range(5), *range(605, 610)], events=events)
    _, verdicts = judged(path)
    assert [v.marker.label for v in verdicts] == ["face", "house", "face"]
    outcomes = [v.outcome for v in verdicts]
    assert outcomes == [Outcome.DECODED, Outcome.GAP, Outcome.DECODED]


def test_our_own_export_is_read_back_with_its_gap(tmp_path: Path) -> None:
    pytest.importorskip("mne_bids")
    path = tmp_path / "p.edf"
    write_edf(path, CHANNELS, starts=[*range(5), *range(25, 30)], events=[(27.5, "house")])
    exported = write_bids(read_continuous(path), tmp_path / "bids", BidsName("a", "t"))
    assert events_of(exported) == [(27.5, "house")]
    times = times_of(exported)
    assert len(times) == 1000
    assert np.diff(times).max() == pytest.approx(20.01)


def test_notes_in_the_letters_of_a_country_are_read_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "old.edf"
    write_edf(path, CHANNELS, events=[(2, "Tuer"), (5, "face")])
    path.write_bytes(path.read_bytes().replace(b"Tuer", "T\xfc r".encode("latin-1")))
    recording = open_recording(path)
    recording.close()
    assert [event.label for event in recording.events] == ["T\xfc r", "face"]
    assert any("read as Latin-1" in sentence for sentence in recording.warnings)


def test_a_stretch_that_is_marked_twice_is_one(tmp_path: Path) -> None:
    path = write_fif(tmp_path / "s_raw.fif", [(2, 0, "face"), (9, 2, "BAD_ACQ_SKIP")])
    recording = open_recording(path)
    recording.close()
    assert [w for w in recording.warnings if "without data" in w] == [
        "s_raw.fif has one stretch without data: a gap each."
    ]


def test_a_start_behind_the_pause_gives_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "p.edf"
    write_edf(path, CHANNELS, starts=[*range(5), *range(25, 30)], events=[(2, "a"), (27.5, "b")])
    recording = open_recording(path)
    blocks = list(recording.blocks(start=26.0))
    recording.close()
    assert blocks[0].times[0] == pytest.approx(26.0)
    assert [b.samples[0] for b in blocks if b.stream == 1] == ["b"]


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("BAD_blink", "refused"),
        ("bad_pylossless_ch_sd", "refused"),
        ("Bad muscle", "refused"),
        ("BAD", "refused"),
        ("BAD boundary", "joins"),
        ("EDGE boundary", "joins"),
        ("boundary", "joins"),
        ("Boundary", "joins"),
        ("New Segment/", "joins"),
        ("new segment", "joins"),
        ("BAD_ACQ_SKIP", "skips"),
        ("face", "events"),
        ("badger", "events"),
        ("edgewise", "events"),
    ],
)
def test_marks_are_told_from_events(label: str, kind: str) -> None:
    marks = sort_marks([FileEvent(1.0, label, 0.5)])
    assert [name for name in ("events", "joins", "skips", "refused") if getattr(marks, name)] == [
        kind
    ]


def test_epochs_over_a_bad_stretch_are_refused_and_joins_are_breaks(tmp_path: Path) -> None:
    notes = [
        (4.0, 0.0, "face"),
        (6.0, 0.4, "BAD_blink"),
        (6.1, 0.0, "house"),
        (10.0, 0.0, "BAD boundary"),
        (10.0, 0.0, "EDGE boundary"),
        (10.1, 0.0, "face"),
        (15.0, 0.0, "house"),
    ]
    path = write_fif(tmp_path / "j_raw.fif", notes)
    live, verdicts = judged(path)
    assert [v.marker.label for v in verdicts] == ["face", "house", "face", "house"]
    assert [v.outcome for v in verdicts] == [
        Outcome.DECODED,
        Outcome.ARTIFACT,
        Outcome.GAP,
        Outcome.DECODED,
    ]
    assert "BAD_blink" in verdicts[1].reason
    assert (live.n_gaps, live.n_lost) == (1, 0)
    grid = read_continuous(path)
    assert grid.data.shape[1] == 2000
    found = [(g.sample, g.label, g.n_times) for g in grid.gaps]
    assert found == [(600, "BAD_blink", 40), (1000, "BAD_ACQ_SKIP", 0)]
    assert [e.sample for e in grid.events] == [400, 610, 1010, 1500]


def test_a_refused_stretch_survives_our_recording() -> None:
    change = StateChange(StreamRole.EEG, StreamState.REFUSED, 6.0, "BAD_x", 6.4)
    assert decode_state(json.loads(encode_state(change))) == change


def test_over_lsl_a_join_is_a_pause_and_a_bad_stretch_has_no_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = [(1.0, 0.5, "BAD_x"), (3.0, 0.0, "boundary"), (3.5, 0.0, "face")]
    path = write_fif(tmp_path / "j_raw.fif", notes, seconds=5.0)
    now = [0.0]
    sent: list[tuple[int, Any, Float64]] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            now[0] += timeout or 0.0
            return False

    player = Player(path, clock=lambda: now[0])

    def push(block: Block, stamps: Float64) -> None:
        sent.append((block.stream, block.samples, stamps))

    monkeypatch.setattr(player, "_push", push)
    player.play(Stop())
    player.close()
    stamps = np.concatenate([s for stream, _, s in sent if stream == 0])
    data = np.concatenate([v for stream, v, _ in sent if stream == 0])
    missing = np.flatnonzero(np.isnan(data).any(axis=1))
    assert (missing[0], missing[-1]) == (100, 149)
    jumps = np.flatnonzero(np.diff(stamps) > 0.02)
    assert jumps.tolist() == [299]
    assert np.diff(stamps)[299] == pytest.approx(0.51)
    marker = next(s for stream, _, s in sent if stream == 1)
    assert marker[0] - stamps[350] == pytest.approx(0.0, abs=1e-6)


# ---------------------------------------------------------------------- units and kinds


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        *(("uV", 1.0), ("µV", 1.0), ("mV", 1e3), ("V", 1e6), ("nV", 1e-3), ("microV", 1.0)),
        # MNE calls these microvolts, and leaves their values as they are.
        *(("UV", 1.0), ("uv", 1.0)),
        *(("uVolts", 1.0), ("microvol", 1.0), ("ÂµV", 1.0), ("Volts", 1e6)),
    ],
)
def test_units_of_edf_are_honoured(tmp_path: Path, unit: str, factor: float) -> None:
    path = tmp_path / "u.edf"
    written = write_edf(path, CHANNELS, units=[unit] * 4, scale=2.0)
    grid = read_continuous(path)
    np.testing.assert_allclose(grid.data, written * factor, rtol=1e-4, atol=1e-4 * factor)


@pytest.mark.parametrize("unit", ["", ".V", "?V", "MV", "ADC", "counts", "n/a", "-"])
def test_a_unit_that_is_not_there_is_asked_for(tmp_path: Path, unit: str) -> None:
    path = tmp_path / "u.edf"
    written = write_edf(path, CHANNELS, units=[unit] * 4)
    for read in (judged, read_continuous):
        with pytest.raises(InfoError, match=r"give --unit"):
            read(path)
    grid = read_continuous(path, choice=StreamChoice(source=SourceConfig(unit="microvolts")))
    np.testing.assert_allclose(grid.data, written, rtol=1e-4, atol=1e-3)
    judged(path, unit="microvolts")


def test_the_bids_table_says_the_unit_that_the_file_does_not(tmp_path: Path) -> None:
    path = tmp_path / "sub-a_task-t_eeg.edf"
    written = write_edf(path, CHANNELS, units=[""] * 4)
    rows = "".join(f"{name}\tEEG\tmV\n" for name in CHANNELS)
    (tmp_path / "sub-a_task-t_channels.tsv").write_text("name\ttype\tunits\n" + rows)
    np.testing.assert_allclose(read_continuous(path).data, written * 1e3, rtol=1e-4, atol=1.0)


@pytest.mark.parametrize(
    ("label", "unit", "sensor", "kind"),
    [
        ("EEG Fpz-Cz", "uV", "", "eeg"),
        ("C3", "", "", "eeg"),
        ("F7-T7", "uV", "", "eeg"),
        ("Ch 1", "uV", "", "eeg"),
        ("Temp rectal", "DegC", "", "misc"),
        ("SpO2", "%", "", "misc"),
        ("Event marker", "", "", "stim"),
        ("EEG EKG1-REF", "uV", "", "ecg"),
        ("EEG T1-REF", "uV", "", "eeg"),
        ("E1-M2", "uV", "", "eog"),
        ("Cz", "ADC", "", "eeg"),
        ("Cz", "kOhm", "", "misc"),
        ("Resp oro-nasal", "uV", "", "misc"),
        ("EMG submental", "uV", "", "emg"),
        ("EOG horizontal", "uV", "", "eog"),
        ("ECG II", "mV", "", "ecg"),
        ("EKG", "uV", "", "ecg"),
        ("COUNTER", "uV", "", "misc"),
        ("CQ_AF3", "", "", "misc"),
        ("Battery", "", "", "misc"),
        ("GYROX", "", "", "misc"),
        ("Accel X", "g", "", "misc"),
        ("X1", "uV", "thermistor", "misc"),
        ("X1", "uV", "AgAgCl electrode", "eeg"),
        ("X1", "bpm", "", "misc"),
    ],
)
def test_signals_are_what_they_are_called(label: str, unit: str, sensor: str, kind: str) -> None:
    assert guess_type(label, unit, sensor) == kind


def test_signals_that_are_no_eeg_stay_out(tmp_path: Path) -> None:
    path = tmp_path / "s.edf"
    labels = [*CHANNELS, "Temp rectal", "SpO2", "Event marker"]
    write_edf(path, labels, units=["uV"] * 4 + ["DegC", "%", ""])
    live, _ = judged(path)
    assert live.info.ch_names == ("Cz", "Pz", "O1", "O2")
    assert read_continuous(path).ch_names == CHANNELS


def test_a_signal_without_unit_beside_voltages_is_eeg_only_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "s.edf"
    write_edf(path, [*CHANNELS, "Body", "Extra"], units=["uV"] * 4 + ["", "?"])
    assert judged(path)[0].info.ch_names == ("Cz", "Pz", "O1", "O2")
    write_edf(path, [*CHANNELS, "EEG Fz"], units=["uV"] * 4 + [""])
    with pytest.raises(InfoError, match=r"no unit for channel 'EEG Fz'.*give --unit"):
        judged(path)


def test_signals_of_one_name_keep_their_own_units(tmp_path: Path) -> None:
    path = tmp_path / "t.edf"
    written = write_edf(path, ["EEG Cz", "EEG Cz"], units=["uV", "mV"], scale=2.0)
    found = read_continuous(path, choice=StreamChoice(SourceConfig(ch_names=("Cz", "Pz")))).data
    np.testing.assert_allclose(found, written * [[1.0], [1e3]], rtol=1e-4, atol=0.1)
    file = open_recording(path)
    assert any("several channels of one name" in said for said in file.warnings)
    file.close()


def test_a_file_of_annotations_says_so(tmp_path: Path) -> None:
    path = tmp_path / "h.edf"
    write_edf(path, (), n_records=1, events=[(0, "Sleep stage W")])
    with pytest.raises(FileError, match=r"holds annotations and no signal.*: give the file") as e:
        open_recording(path)
    assert "\n" not in str(e.value)


def test_a_difference_of_two_electrodes_is_none(tmp_path: Path) -> None:
    path = tmp_path / "b.edf"
    write_edf(path, ["FP1-F7", "F7-T7", "FZ-CZ", "C3-A2"])
    live, _ = judged(path)
    assert live.info.ch_names[:3] == ("FP1-F7", "F7-T7", "FZ-CZ")
    assert "FP1-F7, F7-T7, FZ-CZ are differences" in live.notes[0]
    write_edf(tmp_path / "r.edf", ["FP1-CZ", "F7-CZ", "O1-CZ"])
    live, _ = judged(tmp_path / "r.edf")
    assert live.info.ch_names == ("Fp1", "F7", "O1")
    assert not any("differences" in note for note in live.notes)


def test_that_there_is_no_event_is_said(tmp_path: Path) -> None:
    path = tmp_path / "n.edf"
    write_edf(path, CHANNELS)
    recording = open_recording(path)
    assert any("holds no event" in sentence for sentence in recording.warnings)
    recording.close()


# ---------------------------------------------------------------------- triggers


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([0] * 50 + [3] * 5 + [0] * 50 + [1] * 5 + [0] * 9, [(50, 3), (105, 1)]),
        ([255] * 50 + [3] * 5 + [255] * 50 + [1] * 5 + [255] * 9, [(50, 3), (105, 1)]),
        ([0] * 50 + [1] + [5] * 9 + [0] * 50 + [4] * 9 + [0] * 9, [(50, 5), (110, 4)]),
        ([0] * 50 + [1] * 40 + [2] * 60 + [3] * 30, [(50, 1), (90, 2), (150, 3)]),
        ([0] * 50 + [7] + [0] * 50, [(50, 7)]),
        ([0] * 50, []),
        ([0] * 50 + [70_000] * 5 + [0] * 50, [(50, 70_000)]),
        ([0] * 50 + [-25_536] * 5 + [0] * 50, [(50, 40_000)]),
    ],
)
def test_trigger_lines(levels: list[int], expected: list[tuple[int, int]]) -> None:
    codes = codes_of("STI 014", np.array(levels, dtype=np.float64))
    assert onsets(runs_of(codes), 250.0) == expected


def test_a_status_line_has_its_code_in_the_lower_16_bits() -> None:
    levels = np.array([0x170000 + 4] * 9 + [0x170000 + 300] * 3, dtype=np.float64)
    assert set(codes_of("Status", levels).tolist()) == {4, 300}


def test_of_several_lines_the_one_with_events_counts_and_a_choice_is_said() -> None:
    some, other = [(5, 1), (9, 2)], [(5, 1)]
    assert choose({"STI 014": some, "STI 016": []}) == ("STI 014", "")
    chosen, said = choose({"STI 001": other, "STI 014": some})
    assert chosen == "STI 014"
    assert "STI 001 (1), STI 014 (2)" in said


def test_trigger_lines_of_a_file(tmp_path: Path) -> None:
    line = np.zeros(2000)
    for k, code in enumerate((1, 2, 1)):
        line[500 * (k + 1) : 500 * (k + 1) + 10] = code
    path = write_fif(tmp_path / "t_raw.fif", stim={"STI 014": line, "STI 016": np.zeros(2000)})
    assert events_of(path) == [(5.0, "1"), (10.0, "2"), (15.0, "1")]


@pytest.mark.parametrize(
    ("notes", "n", "taken"),
    [
        (["began late"], 6, "trigger line"),
        (["began late", "eyes closed"], 6, "trigger line"),
        (["face", "house", "face"], 3, "notes"),
    ],
)
def test_notes_beside_a_trigger_line_what_is_taken_is_said(
    tmp_path: Path, notes: list[str], n: int, taken: str
) -> None:
    line = np.zeros(2000)
    for k in range(6):
        line[300 + 200 * k : 310 + 200 * k] = 1 + k % 2
    written = [(1.0 + k, 0.0, label) for k, label in enumerate(notes)]
    path = write_fif(tmp_path / "n_raw.fif", written, stim={"STI 014": line})
    recording = open_recording(path)
    recording.close()
    assert any(f"those of the {taken} are taken" in said for said in recording.warnings)
    assert len(events_of(path)) == n


def test_a_trigger_line_of_edf_counts_unless_it_is_analogue(tmp_path: Path) -> None:
    line = np.zeros(1000, dtype=int)
    line[300:310], line[600:605] = 7, 255
    path = tmp_path / "t.edf"
    write_edf(path, [*CHANNELS, "TRIG"], units=["uV"] * 4 + [""], digital={4: line})
    assert events_of(path) == [(3.0, "7"), (6.0, "255")]
    write_edf(path, [*CHANNELS, "TRIG"], units=["uV"] * 4 + [""])
    assert events_of(path) == []


def test_a_cropped_file_without_a_date_has_its_events_where_mne_has_them(tmp_path: Path) -> None:
    import mne

    notes = [(2.0, 0.0, "a"), (7.0, 0.0, "b"), (12.5, 0.0, "a")]
    raw = mne.io.read_raw_fif(write_fif(tmp_path / "w_raw.fif", notes), verbose="ERROR")
    path = tmp_path / "c_raw.fif"
    raw.crop(5.0).save(path, verbose="ERROR")
    again = mne.io.read_raw_fif(path, verbose="ERROR")
    assert again.info["meas_date"] is None
    assert again.first_samp > 0
    found, _ = mne.events_from_annotations(again, verbose="ERROR")
    expected = (found[:, 0] - again.first_samp) / 100.0
    assert [onset for onset, _ in events_of(path)] == pytest.approx(expected.tolist())


# ---------------------------------------------------------------------- BrainVision, OpenBCI


def write_brainvision(
    folder: Path, name: str, *, inside: str = "", unit: str = "µV", encoding: str = "utf-8"
) -> Path:
    inside = inside or name
    header = (
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\n"
        + ("Codepage=UTF-8\n" if encoding == "utf-8" else "")
        + f"DataFile={inside}.eeg\nMarkerFile={inside}.vmrk\nDataFormat=BINARY\n"
        "DataOrientation=MULTIPLEXED\nNumberOfChannels=2\nSamplingInterval=10000\n"
        "[Binary Infos]\nBinaryFormat=INT_16\n[Channel Infos]\n"
        f"Ch1=Cz,,0.1,{unit}\nCh2=Pz,,0.1,{unit}\n"
    )
    markers = (
        "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\n"
        f"DataFile={inside}.eeg\n[Marker Infos]\n"
        "Mk1=New Segment,,1,1,0,20240101100000000000\nMk2=Stimulus,S  1,201,1,0\n"
        "Mk3=New Segment,,601,1,0,20240101100030500000\nMk4=Stimulus,S  2,701,1,0\n"
    )
    (folder / f"{name}.vhdr").write_bytes(header.encode(encoding))
    (folder / f"{name}.vmrk").write_bytes(markers.encode(encoding))
    (folder / f"{name}.eeg").write_bytes((np.arange(2000) % 300).astype("<i2").tobytes())
    return folder / f"{name}.vhdr"


def test_a_header_that_lists_too_few_channels_is_refused_in_our_words(tmp_path: Path) -> None:
    header = write_brainvision(tmp_path, "short")
    header.write_text(header.read_text().replace("Ch2=Pz,,0.1,µV\n", ""))
    with pytest.raises(FileError, match="NumberOfChannels=2 and lists 1 under") as caught:
        open_recording(header)
    assert "data_files" not in str(caught.value)  # nothing of MNE's own advice


@pytest.mark.parametrize(
    ("inside", "encoding"), [("", "utf-8"), ("", "latin-1"), ("P12", "utf-8"), ("P12", "latin-1")]
)
def test_brainvision_is_read_renamed_and_in_old_letters(
    tmp_path: Path, inside: str, encoding: str
) -> None:
    path = write_brainvision(tmp_path, "subject01", inside=inside, encoding=encoding)
    assert events_of(path) == [(2.0, "Stimulus/S  1"), (31.5, "Stimulus/S  2")]
    times = times_of(path)
    assert len(times) == 1000
    assert np.diff(times).max() == pytest.approx(24.51)
    recording = open_recording(path)
    said = any("P12.eeg; subject01.eeg is read" in sentence for sentence in recording.warnings)
    assert said == bool(inside)
    recording.close()


def test_a_trio_without_its_samples_says_which_file_is_missing(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path, "subject01", inside="P12")
    (tmp_path / "subject01.eeg").unlink()
    with pytest.raises(FileError, match=r"P12\.eeg, which is missing.*put it there"):
        open_recording(path)


def test_a_trio_renamed_where_case_says_nothing_is_read(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path, "subject01", inside="P12")
    (tmp_path / "subject01.eeg").rename(tmp_path / "Subject01.EEG")
    (tmp_path / "subject01.vmrk").rename(tmp_path / "SUBJECT01.VMRK")
    assert events_of(path) == [(2.0, "Stimulus/S  1"), (31.5, "Stimulus/S  2")]


def test_a_marker_file_that_is_missing_or_not_named_is_said(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path, "subject01")
    text = path.read_text()
    path.write_text(text.replace("MarkerFile=subject01.vmrk\n", ""))
    recording = open_recording(path)
    recording.close()
    assert any("names no marker file; subject01.vmrk is read" in w for w in recording.warnings)
    assert len(events_of(path)) == 2
    path.write_text(text.replace("MarkerFile=subject01", "MarkerFile=gone"))
    (tmp_path / "subject01.vmrk").unlink()
    recording = open_recording(path)
    recording.close()
    assert any("gone.vmrk, which is missing" in sentence for sentence in recording.warnings)


@pytest.mark.parametrize(
    ("unit", "factor"), [("uV", 1.0), ("μV", 1.0), ("microV", 1.0), ("millivolts", 1e3), ("", 1.0)]
)
def test_units_of_brainvision_are_honoured(tmp_path: Path, unit: str, factor: float) -> None:
    path = write_brainvision(tmp_path, "a", unit=unit)
    grid = read_continuous(path)
    assert grid.ch_names == ("Cz", "Pz")
    np.testing.assert_allclose(grid.data[0, :3], np.array([0.0, 0.2, 0.4]) * factor, atol=1e-3)


def test_a_unit_of_brainvision_that_nobody_knows_is_asked_for(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path, "a", unit="ADU")
    with pytest.raises(InfoError, match=r"gives unit 'ADU' for channel 'Cz'.*give --unit"):
        judged(path)
    assert judged(path, unit="microvolts")[0].info.ch_names == ("Cz", "Pz")


@pytest.mark.parametrize("suffix", [".vhdr", ".set"])
def test_other_signals_are_told_by_name_where_mne_takes_all_for_eeg(
    tmp_path: Path, suffix: str
) -> None:
    path = write_brainvision(tmp_path, "a")
    path.write_text(path.read_text().replace("Ch2=Pz", "Ch2=ECG"))
    if suffix == ".set":
        path = write_eeglab(tmp_path, ["Cz", "ECG"], [("face", 201.0), ("face", 401.0)])
    assert judged(path)[0].info.ch_names == ("Cz",)


@pytest.mark.parametrize("boundary", ["boundary", -99])
def test_a_boundary_of_eeglab_is_a_break_in_words_and_in_numbers(
    tmp_path: Path, boundary: object
) -> None:
    kinds = ("face", "house") if boundary == "boundary" else (1, 2)
    events = [(kinds[0], 201.0), (boundary, 501.5), (kinds[1], 801.0)]
    path = write_eeglab(tmp_path, ["Cz", "Pz"], events)
    live, verdicts = judged(path)
    assert live.n_gaps == 1
    assert [v.marker.label for v in verdicts] == [str(kind) for kind in kinds]


def write_eeglab(
    folder: Path, names: Sequence[str], events: Sequence[tuple[object, float]]
) -> Path:
    from scipy.io import savemat

    data = np.random.default_rng(1).normal(0, 10, (len(names), 1000)).astype("f4")
    rows = np.array(
        [(*e, 0.0) for e in events], [(k, object) for k in ("type", "latency", "duration")]
    )
    places = np.array([(name,) for name in names], dtype=[("labels", object)])
    fields = {"setname": "x", "nbchan": len(names), "trials": 1, "pnts": 1000, "srate": 100.0}
    fields |= {"xmin": 0.0, "xmax": 9.99, "data": data, "chanlocs": places, "event": rows}
    fields |= {k: [] for k in ("icawinv", "icasphere", "icaweights", "icachansind", "epoch")}
    savemat(folder / "e.set", {"EEG": fields}, appendmat=False)
    return folder / "e.set"


@pytest.mark.parametrize(("n_channels", "sfreq"), [(4, 200), (8, 250), (16, 125)])
def test_version_3_of_the_gui_is_read(tmp_path: Path, n_channels: int, sfreq: int) -> None:
    path = tmp_path / "v3.txt"
    head = f"%OpenBCI Raw EEG Data\n%\n%Sample Rate = {sfreq}.0 Hz\n%First Column = SampleIndex\n"
    rows = []
    for k in range(600):
        values = ", ".join(f"{k}.{c}" for c in range(n_channels))
        seconds = k / sfreq
        clock = f"23:59:{58 + seconds:06.3f}" if seconds < 2 else f"00:00:{seconds - 2:06.3f}"
        rows.append(f"{k % 200}, {values}, 0.0, 0.0, 0.0, {clock}\n")
    path.write_text(head + "".join(rows))
    recording = open_recording(path)
    data = np.concatenate([b.samples for b in recording.blocks() if b.stream == 0])
    assert data.shape == (600, n_channels)
    assert data[7, 1] == pytest.approx(7.1)
    assert recording.warnings == ()
    assert times_of(path)[-1] == pytest.approx(599 / sfreq)


def write_gui(path: Path, numbers: Sequence[int], counts: Sequence[int]) -> Path:
    """The GUI's version 5: samples `numbers` at 250 Hz, with these package numbers."""
    head = "%OpenBCI Raw EXG Data\n%Number of channels = 4\n%Sample Rate = 250 Hz\n"
    head += "Sample Index, " + "".join(f"EXG Channel {k}, " for k in range(4)) + "Timestamp\n"
    rows = "".join(
        f"{count}.0, 1.0, 2.0, 3.0, {number % 50}.0, {1.6e9 + number / 250:.6f}\n"
        for number, count in zip(numbers, counts, strict=True)
    )
    path.write_text(head + rows)
    return path


@pytest.mark.parametrize("every", [10, 50])
def test_single_samples_that_text_lacks_keep_their_place(tmp_path: Path, every: int) -> None:
    numbers = [k for k in range(2000) if k % every != every - 1 or k == 1999]
    path = write_gui(tmp_path / "l.txt", numbers, [k % 256 for k in numbers])
    live, _ = judged(path)
    assert live.n_lost == 2000 - len(numbers)
    grid = read_continuous(path)
    assert grid.data.shape[1] == 2000
    np.testing.assert_array_equal(grid.data[3, numbers], [k % 50 for k in numbers])


@pytest.mark.parametrize("small", [False, True])
def test_the_sd_cards_own_text_says_what_to_do(tmp_path: Path, small: bool) -> None:
    path = tmp_path / "OBCI_01.TXT"
    rows = "".join(f"{k:02X},FFE4A1,FFE4A2,FFE4A3,FFE4A4\n" for k in range(9))
    path.write_text(rows.lower() if small else rows)
    with pytest.raises(FileError, match=r"SD card.*convert it with the OpenBCI GUI"):
        open_recording(path)
