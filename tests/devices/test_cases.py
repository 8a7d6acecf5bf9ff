"""Recordings that people really have: what each gives in a session, an export and a player.

They are not part of the project: the tests take their folder from PHOSPHENE_CASES.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.continuous import Continuous, read_continuous
from devices.errors import FileError
from devices.files import open_recording
from pipeline.errors import InfoError
from pipeline.live import LivePath
from pipeline.values import Outcome, Verdict
from tests.devices.test_file_kinds import judged

ROOT = Path(__file__).resolve().parents[3]
CASES = Path(os.environ.get("PHOSPHENE_CASES", ROOT / "shared" / "cases")).resolve()


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Path:
    path: Path = CASES / request.param
    if not path.exists():
        pytest.skip(f"{path} is absent: the cases are not part of the project")
    return path


def through(path: Path, **source: Any) -> tuple[LivePath, list[Verdict], Continuous]:
    """The case through a session's path and through the export."""
    live, verdicts = judged(path, **source)
    return live, verdicts, read_continuous(path)


def played(path: Path) -> tuple[np.ndarray, list[tuple[float, str]], tuple[str, ...]]:
    """Times, events and warnings as the player has them."""
    recording = open_recording(path)
    try:
        blocks = list(recording.blocks())
        warnings = tuple(recording.warnings)
    finally:
        recording.close()
    times = np.concatenate([b.times for b in blocks if b.stream == 0])
    events = [(round(float(b.times[0]), 4), b.samples[0]) for b in blocks if b.stream == 1]
    return times, events, warnings


@pytest.mark.parametrize(
    ("case", "n_times"),
    [("board-counter/ganglion_doubled.xdf", 2400), ("board-counter/cyton_byte.xdf", 3000)],
    indirect=["case"],
)
def test_a_boards_counter(case: Path, n_times: int) -> None:
    live, verdicts, grid = through(case, counter_channel="COUNTER")
    assert (live.n_lost, live.n_gaps, live.n_duplicates, live.notes) == (0, 0, 0, ())
    assert [v.outcome for v in verdicts] == [Outcome.DECODED] * 3
    assert (grid.data.shape[1], grid.gaps) == (n_times, ())
    assert [e.sample / grid.sfreq for e in grid.events] == [3.5, 6.5, 9.5]


@pytest.mark.parametrize(
    ("case", "n_rows"),
    [
        ("ganglion-counter/wrap_at_201.txt", 1206),
        ("ganglion-counter/doubled_101_200_no_loss.txt", 1206),
        ("openbci-repeated-index/one_row_twice.txt", 1000),
        ("openbci-old-and-other-text/gui_v3_ganglion.txt", 800),
        ("openbci-old-and-other-text/SDconverted.txt", 500),
    ],
    indirect=["case"],
)
def test_text_loses_nothing(case: Path, n_rows: int) -> None:
    live, _, grid = through(case)
    assert (live.n_lost, live.n_gaps) == (0, 0)
    assert (grid.data.shape[1], grid.gaps) == (n_rows, ())
    times, _, warnings = played(case)
    np.testing.assert_allclose(times * grid.sfreq, np.arange(n_rows), atol=1e-6)
    twice = any("had come before" in sentence for sentence in warnings)
    assert twice == (case.name == "one_row_twice.txt")


@pytest.mark.parametrize("case", ["edf-plus-d-gap/pause.edf"], indirect=True)
def test_a_pause(case: Path) -> None:
    live, verdicts, grid = through(case)
    assert (live.n_gaps, live.n_lost) == (1, 5000)
    assert [(v.marker.t_onset, v.marker.label) for v in verdicts] == [
        (2.0, "face"),
        (27.0, "house"),
    ]
    assert [(e.sample, e.label) for e in grid.events] == [(500, "face"), (6750, "house")]
    times, events, _ = played(case)
    assert np.diff(times).max() == pytest.approx(20.004)
    assert events == [(2.0, "face"), (27.0, "house")]


@pytest.mark.parametrize("case", ["bad-annotations/joined_raw.fif"], indirect=True)
def test_marks_of_bad_data(case: Path) -> None:
    live, verdicts, grid = through(case)
    labels = ["face", "house", "face", "house", "face"]
    assert [v.marker.label for v in verdicts] == labels
    assert (live.n_gaps, live.n_lost) == (1, 0)
    assert [e.label for e in grid.events] == labels
    assert {(g.label, g.sample, g.n_times) for g in grid.gaps} == {
        ("BAD_blink", 1500, 100),
        ("BAD_ACQ_SKIP", 2500, 0),
    }


@pytest.mark.parametrize("case", ["edf-unit-missing/unit_blank.edf"], indirect=True)
def test_a_unit_is_asked_for(case: Path) -> None:
    for read in (judged, read_continuous):
        with pytest.raises(InfoError, match=r"gives no unit.*give --unit"):
            read(case)
    live, _ = judged(case, unit="microvolts")
    control = case.with_name("unit_uV.edf")
    np.testing.assert_array_equal(
        live.raw_ring.read(0, 9)[0], judged(control)[0].raw_ring.read(0, 9)[0]
    )  # type: ignore[index]


@pytest.mark.parametrize("case", ["edf-non-eeg-signals/psg.edf"], indirect=True)
def test_signals_that_are_no_eeg(case: Path) -> None:
    live, _, grid = through(case)
    assert live.display_names == grid.ch_names == ("EEG Fpz-Cz", "EEG Pz-Oz")


@pytest.mark.parametrize("case", ["edf-annotations-only/hypnogram.edf"], indirect=True)
def test_annotations_alone(case: Path) -> None:
    for read in (judged, read_continuous, open_recording):
        with pytest.raises(FileError, match="holds annotations and no signal"):
            read(case)


@pytest.mark.parametrize("case", ["edf-bipolar-labels/chb_like.edf"], indirect=True)
def test_bipolar_labels(case: Path) -> None:
    live, _, grid = through(case)
    assert live.info.ch_names[0] == "FP1-F7"
    assert "differences between two electrodes" in live.notes[0]
    assert any("differences between two electrodes" in sentence for sentence in grid.warnings)


@pytest.mark.parametrize(
    "case",
    ["trigger-channel/sti014_then_016_raw.fif", "trigger-channel/idle_255_raw.fif"],
    indirect=True,
)
def test_trigger_lines(case: Path) -> None:
    _, verdicts, grid = through(case)
    assert [v.marker.label for v in verdicts] == ["1", "2", "3", "1", "2", "3"]
    assert [e.sample for e in grid.events] == [500, 1000, 1500, 2000, 2500, 3000]


@pytest.mark.parametrize("case", ["fif-without-date/nomeasdate_cropped_raw.fif"], indirect=True)
def test_a_crop_without_a_date(case: Path) -> None:
    import mne

    raw = mne.io.read_raw_fif(case, verbose="ERROR")
    found, names = mne.events_from_annotations(raw, regexp="face|house", verbose="ERROR")
    _, verdicts, grid = through(case)
    assert len(grid.events) == len(verdicts) == len(found)
    assert [e.sample for e in grid.events] == (found[:, 0] - raw.first_samp).tolist()
    words = {number: name for name, number in names.items()}
    assert [v.marker.label for v in verdicts] == [words[n] for n in found[:, 2].tolist()]
    assert not [v for v in verdicts if v.outcome is Outcome.FUTURE]


@pytest.mark.parametrize(
    "case", ["brainvision-header/subject01.vhdr", "brainvision-header/latin1.vhdr"], indirect=True
)
def test_brainvision_headers(case: Path) -> None:
    live, verdicts, grid = through(case)
    assert live.n_gaps == 1
    onsets = [1.99, 4.99, 600.1]
    assert [v.marker.t_onset for v in verdicts] == pytest.approx(onsets)
    assert [e.sample for e in grid.events] == [199, 499, 60010]
    said = any("subject01.eeg is read" in sentence for sentence in played(case)[2])
    assert said == (case.name == "subject01.vhdr")
