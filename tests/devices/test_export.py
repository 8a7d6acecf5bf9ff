"""The export to BIDS: what MNE-BIDS reads back is what was recorded, event by event."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.cli import main
from app.runtime.folder import encode_png
from configs import SourceConfig
from devices.bids.writing import BidsName
from devices.choosing import StreamChoice
from devices.continuous import GridEvent, read_continuous
from devices.errors import RecordingError
from devices.xdf import XdfWriter
from pipeline.gallery import load_gallery
from pipeline.values import StreamInfo
from tests.devices.xdf_tools import eeg_stream, marker_stream

mne_bids = pytest.importorskip("mne_bids", reason="MNE-BIDS is an extra (phosphene[bids])")

SFREQ = 250.0
GAP = 130
"""Samples that are lost after the first 1000."""


def write_session(folder: Path) -> np.ndarray:
    """8 s of EEG with jitter, a gap, one NaN, markers on another clock; its samples."""
    folder.mkdir()
    rng = np.random.default_rng(5)
    data = (rng.standard_normal((2000, 4)) * 40).astype(np.float32)
    data[1500, 2] = np.nan
    numbers = np.r_[np.arange(1000), np.arange(1000 + GAP, 2000 + GAP)]
    stamps = 5000.0 + numbers / SFREQ + rng.normal(0, 2e-4, 2000)
    with XdfWriter(folder / "recording.xdf") as writer:
        writer.add_stream(1, eeg_stream(), {"role": "eeg"})
        writer.add_stream(2, marker_stream(), {"role": "markers"})
        writer.write_clock_offset(1, 100.0, -4900.0)
        writer.write_clock_offset(2, 100.0, 90.0)
        for first in range(0, 2000, 10):
            writer.write_samples(1, data[first : first + 10], stamps[first : first + 10])
        # EEG sample n is at 100 + n / 250 on our clock; the markers' sender reads 90 s less.
        for number, label in ((100, "bride"), (1060, "in the\tgap"), (1800, '{"label": "house"}')):
            writer.write_samples(2, (label,), np.array([10.0 + number / SFREQ]))
        writer.write_samples(2, ("far away",), np.array([10.0 + 9999.0]))
        writer.add_stream(3, replace(eeg_stream(64, 0.0), type="Embedding"), {"role": "embedding"})
        vector = load_gallery().embedding("bride")
        writer.write_samples(3, vector[np.newaxis], np.array([100 + 100 / SFREQ]))
    return data


def write_results(folder: Path) -> np.ndarray:
    """What a session leaves of those markers: one picture, one refusal; the embedding."""
    gallery = load_gallery()
    vector = gallery.embedding("bride")
    png = encode_png(gallery.image("bride"), {})
    (folder / "images").mkdir()
    (folder / "images" / "000000.png").write_bytes(png)
    decoded = {
        **{"index": 0, "t_onset": 100 + 100 / SFREQ, "label": "bride", "outcome": "decoded"},
        **{"top": [["bride", 0.5]], "chance": 0.1, "rank": 1, "image": "images/000000.png"},
        "image_sha256": hashlib.sha256(png).hexdigest(),
        "embedding_sha256": hashlib.sha256(vector.tobytes()).hexdigest(),
    }
    refused = {"index": 1, "t_onset": 100 + 1060 / SFREQ, "label": "a gap", "outcome": "gap"}
    lines = "".join(json.dumps(each) + "\n" for each in (decoded, refused))
    (folder / "events.jsonl").write_text(lines, encoding="utf-8")
    (folder / "summary.json").write_text('{"stimuli": {"shown": 1}}', encoding="utf-8")
    run = f'[run]\ngallery = "{gallery.name}"\ngallery_sha256 = "{gallery.sha256}"\n'
    run += 'replay_of = "/home/somebody/recording.xdf"\n'
    (folder / "session.toml").write_text(run, encoding="utf-8")
    return vector


def read_back(path: Path) -> Any:
    target = mne_bids.get_bids_path_from_fname(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = mne_bids.read_raw_bids(target, verbose="ERROR")
        raw.load_data(verbose="ERROR")
    return raw


def test_a_session_is_read_back_equal_with_its_events(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_session(tmp_path / "session")
    vector = write_results(tmp_path / "session")
    command = [
        *("export", str(tmp_path / "session"), "--bids", str(tmp_path / "bids")),
        *("--subject", "01", "--task", "faces", "--line-freq", "50", "--json"),
    ]
    assert main(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["n_times"], said["n_filled"], said["n_events"]) == (2000 + GAP, GAP, 3)
    assert (said["n_gaps"], said["n_left_out"]) == (2, 1)

    raw = read_back(Path(said["file"]))
    assert (raw.ch_names, raw.info["sfreq"]) == (["E0", "E1", "E2", "E3"], SFREQ)
    assert raw.info["line_freq"] == 50
    expected = data.copy()
    expected[1500, 2] = data[1499, 2]
    got = raw.get_data().T * 1e6
    np.testing.assert_allclose(got[:1000], expected[:1000], rtol=1e-6)
    np.testing.assert_allclose(got[1000 + GAP :], expected[1000:], rtol=1e-6)
    assert not got[1000 : 1000 + GAP].any()
    found = {a["description"]: a["onset"] * SFREQ for a in raw.annotations}
    for label, number in {"bride": 100, "in the gap": 1060, "house": 1800}.items():
        assert abs(found[label] - number) <= 0.5
    assert abs(found["BAD_ACQ_SKIP"] - 1000) <= 0.5
    assert abs(found["BAD_values"] - 1500 - GAP) <= 0.5

    folder = Path(said["file"]).parent
    rows = (folder / "sub-01_task-faces_channels.tsv").read_text(encoding="utf-8-sig").split("\n")
    assert rows[0].split("\t")[:3] == ["name", "type", "units"]
    assert rows[1].split("\t")[:3] == ["E0", "EEG", "µV"]
    sidecar = json.loads((folder / "sub-01_task-faces_eeg.json").read_text(encoding="utf-8"))
    assert (sidecar["SamplingFrequency"], sidecar["PowerLineFrequency"]) == (250, 50)

    check_what_was_shown(tmp_path / "bids", raw)
    check_what_was_decoded(tmp_path / "bids" / "derivatives" / "phosphene", vector)
    before = sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*"))
    assert main(command) == 1
    assert "never overwritten" in capsys.readouterr().err
    assert sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*")) == before
    assert main([*command, "--run", "2"]) == 0


def check_what_was_shown(root: Path, raw: Any) -> None:
    shown = next(each for each in raw.annotations.extras if each.get("stim_file") != "n/a")
    picture = root / "stimuli" / shown["stim_file"]
    gallery = load_gallery()
    stimulus = gallery.stimuli[gallery.index("bride")]
    assert gallery.folder is not None
    assert picture.read_bytes() == (gallery.folder / stimulus.image).read_bytes()
    assert shown["HED"].endswith("Visual-presentation, (Image, Label/bride))")
    assert "MIT" in picture.with_name("LICENSE.txt").read_text(encoding="utf-8")
    about = table_of(root / "sub-01" / "eeg" / "sub-01_task-faces_events.json")
    assert about["trial_type"]["HED"]["in the gap"] == "(Event, Label/in-the-gap)"
    assert about["StimulusPresentation"]["SoftwareName"] == "Phosphene"
    described = table_of(root / "dataset_description.json")
    assert (described["HEDVersion"], described["Name"]) == ("8.3.0", "bids")
    assert abs(time.time() - raw.info["meas_date"].timestamp()) < 3600


def check_what_was_decoded(root: Path, vector: np.ndarray) -> None:
    described = table_of(root / "dataset_description.json")
    assert described["DatasetType"] == "derivative"
    assert described["GeneratedBy"][0]["Name"] == "Phosphene"
    folder = root / "sub-01" / "eeg"
    stem = "sub-01_task-faces_desc-decoded"
    head, *rows = [
        line.split("\t")
        for line in (folder / f"{stem}_events.tsv").read_text(encoding="utf-8").splitlines()
    ]
    decoded, refused = (dict(zip(head, row, strict=True)) for row in rows)
    said = [decoded[key] for key in ("onset", "decoded", "rank", "embedding")]
    assert said == ["0.400000", "bride", "1", "0"]
    assert (refused["trial_type"], refused["picture"], refused["decoded"]) == ("gap", "n/a", "n/a")
    np.testing.assert_array_equal(np.load(folder / f"{stem}_embeddings.npy"), vector[np.newaxis])
    with Image.open(folder / decoded["picture"]) as picture:
        assert picture.size == (128, 128)
    about = table_of(folder / f"{stem}_events.json")
    assert about["Phosphene"]["Sources"] == ["bids:raw:sub-01/eeg/sub-01_task-faces_eeg.vhdr"]
    assert "somebody" not in json.dumps(about)  # no place on a disk is given away


def test_references_and_positions_go_on_as_they_are_known(tmp_path: Path) -> None:
    names = ("Fp1", "Oz", "here", "C3")
    head = {"reference": [{"label": ["M1"]}]}
    known = replace(eeg_stream(), ch_names=names, desc=head)
    folder = export(write_recording(tmp_path / "a.xdf", known), tmp_path / "bids", "01")
    assert table_of(folder / "sub-01_task-rest_eeg.json")["EEGReference"] == "M1"
    system = table_of(folder / "sub-01_space-CapTrak_coordsystem.json")
    assert "not measured on this head" in system["EEGCoordinateSystemDescription"]
    places = places_of(folder / "sub-01_space-CapTrak_electrodes.tsv")
    assert places["here"] == ["n/a"] * 3
    assert float(places["Oz"][1]) < 0 < float(places["Fp1"][1])

    # What stands beside a file is read again, and said to come from there.
    again = export(folder / "sub-01_task-rest_eeg.vhdr", tmp_path / "again", "02")
    assert table_of(again / "sub-02_task-rest_eeg.json")["EEGReference"] == "M1"
    system = table_of(again / "sub-02_space-CapTrak_coordsystem.json")
    assert "as the recording brings them" in system["EEGCoordinateSystemDescription"]
    found = places_of(again / "sub-02_space-CapTrak_electrodes.tsv")
    for name in ("Fp1", "Oz"):
        apart = np.array(found[name], float) - np.array(places[name], float)
        assert np.abs(apart).max() < 2e-3


VALIDATORS = {
    "bids-validator": lambda out: json.loads(out)["issues"]["errors"],
    "bids-validator-deno": lambda out: [
        each for each in json.loads(out)["issues"]["issues"] if each["severity"] == "error"
    ],
    "validate_bids": lambda out: [] if "Found 0 issues" in out else [out],
}
"""Programs that check a data set (npm, PyPI, hedtools), and how each says its errors."""


@pytest.mark.parametrize("program", VALIDATORS)
def test_a_validator_finds_no_error(program: str, tmp_path: Path) -> None:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed: none of the extras brings it")
    write_session(tmp_path / "session")
    write_results(tmp_path / "session")
    data_set = tmp_path / "bids"
    words = ["export", str(tmp_path / "session"), "--bids", str(data_set), "--subject", "1"]
    assert main([*words, "--task", "faces", "--author", "A. Person"]) == 0
    options = {"bids-validator": ["--json"], "bids-validator-deno": ["--format", "json"]}
    command = [found, str(data_set), *options.get(program, [])]
    quiet = os.environ | {"DENO_NO_UPDATE_CHECK": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=quiet
    )
    assert VALIDATORS[program](done.stdout) == []


def test_tags_of_two_events_at_one_time_do_not_mix(shared_data: Path, tmp_path: Path) -> None:
    """Validators read tags of one onset together; two markers of this recording share one."""
    path, data_set = shared_data / "xdf" / "ssvep-dsi7.xdf", tmp_path / "bids"
    assert (
        main(["export", str(path), "--bids", str(data_set), "--subject", "1", "--task", "t"]) == 0
    )
    folder = data_set / "sub-1" / "eeg"
    rows = (folder / "sub-1_task-t_events.tsv").read_text(encoding="utf-8-sig").splitlines()
    onsets = [row.split("\t")[0] for row in rows]
    assert len(set(onsets)) < len(onsets)
    kinds = json.loads((folder / "sub-1_task-t_events.json").read_text(encoding="utf-8"))
    tags = list(kinds["trial_type"]["HED"].values())
    assert all(re.fullmatch(r"\((?:[^()]|\([^()]*\))*\)", each) for each in tags), "one group each"


def test_voxels_are_no_eeg(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = replace(eeg_stream(), ch_types=("fmri",) * 4, desc={})
    path = str(write_recording(tmp_path / "a.xdf", stream))
    command = ["export", path, "--bids", str(tmp_path / "b"), "--subject", "1", "--task", "t"]
    assert main(command) == 1
    assert "holds volumes of fMRI, expected EEG" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def places_of(path: Path) -> dict[str, list[str]]:
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return {line.split("\t")[0]: line.split("\t")[1:4] for line in lines}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("formats/testbva.vhdr", SourceConfig()),
        ("xdf/p300-checkerboard.xdf", SourceConfig()),
        ("xdf/ssvep-dsi7.xdf", SourceConfig()),
    ],
)
def test_real_recordings_lie_on_the_grid(
    shared_data: Path, name: str, source: SourceConfig
) -> None:
    from devices.replay import RecordedSource
    from pipeline.values import Packet, StreamRole

    grid = read_continuous(shared_data / name, choice=StreamChoice(source))
    recording = RecordedSource(shared_data / name)
    packets = []
    while items := recording.read(0.0):
        packets += [i for i in items if isinstance(i, Packet)]
    recording.close()
    data = np.concatenate([np.asarray(p.samples) for p in packets if p.role is StreamRole.EEG])
    n_markers = sum(len(p.timestamps) for p in packets if p.role is StreamRole.MARKERS)
    assert grid.data.shape[1] == len(data) + grid.n_filled
    assert len(grid.events) + grid.n_left_out == n_markers
    skipped = np.zeros(grid.data.shape[1], dtype=bool)
    for gap in grid.gaps:
        skipped[gap.sample : gap.sample + gap.n_times] = gap.label == "BAD_ACQ_SKIP"
    assert skipped.sum() == grid.n_filled
    n_channels = len(grid.ch_names)
    first = data[:, :n_channels].astype(np.float32)
    np.testing.assert_allclose(grid.data[:, ~skipped].T, first, rtol=1e-5)


def test_long_lost_time_is_a_seam_and_not_zeros(tmp_path: Path) -> None:
    path = tmp_path / "a.xdf"
    with XdfWriter(path) as writer:
        writer.add_stream(1, eeg_stream())
        for start in (0.0, 5000.0):
            writer.write_samples(1, np.ones((500, 4), np.float32), start + np.arange(500) / SFREQ)
    grid = read_continuous(path)
    assert grid.data.shape == (4, 1000)
    assert grid.gaps == (GridEvent(500, "BAD_ACQ_SKIP", 0),)


@pytest.mark.parametrize("word", ["", "a b", "a_b", "ü", "x" * 65])
def test_words_that_bids_refuses_are_refused_in_one_line(word: str) -> None:
    with pytest.raises(RecordingError, match="letters and digits only") as caught:
        BidsName(word, "task")
    assert "\n" not in str(caught.value)


def test_a_stream_without_labels_says_what_to_give(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(shared_data / "xdf" / "obci-test.xdf")
    command = ["export", path, "--bids", str(tmp_path), "--subject", "1", "--task", "t", "--json"]
    assert main(command) == 1
    assert "--montage" in capsys.readouterr().err
    labels = "Fp1,Fp2,C3,C4,P7,P8,O1,O2"
    assert main([*command, "--montage", labels, "--unit", "microvolts"]) == 0
    raw = read_back(Path(json.loads(capsys.readouterr().out)["file"]))
    assert raw.ch_names == labels.split(",")


def simulated_stream() -> StreamInfo:
    """What a virtual headset says of itself, as `record` keeps it."""
    acquisition = {"manufacturer": ["Phosphene (virtual)"], "model": ["cap32"]}
    desc = {"acquisition": [acquisition], "simulation": [{"subject": ["1001"], "snr": ["1"]}]}
    return replace(eeg_stream(), manufacturer="Phosphene (virtual)", desc=desc)


def write_recording(path: Path, stream: StreamInfo) -> Path:
    with XdfWriter(path) as writer:
        writer.add_stream(1, stream)
        writer.write_samples(1, np.ones((500, 4), np.float32), 10.0 + np.arange(500) / SFREQ)
    return path


def export(recording: Path, root: Path, subject: str, *more: str) -> Path:
    """Export; the folder of the files."""
    words = ["--bids", str(root), "--subject", subject, "--task", "rest", *more]
    assert main(["export", str(recording), *words]) == 0
    return root / f"sub-{subject}" / "eeg"


def table_of(path: Path) -> dict[str, Any]:
    table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8-sig"))
    return table


def participants(root: Path) -> dict[str, str]:
    head, *rows = [
        line.split("\t")
        for line in (root / "participants.tsv").read_text(encoding="utf-8-sig").split("\n")
        if line
    ]
    place = head.index("simulated")
    return {row[0]: row[place] for row in rows}


def test_a_simulated_person_is_called_so_in_every_file(tmp_path: Path) -> None:
    root = tmp_path / "bids"
    virtual = write_recording(tmp_path / "virtual.xdf", simulated_stream())
    real = write_recording(tmp_path / "real.xdf", eeg_stream())
    folder = export(virtual, root, "v1")
    sidecar = table_of(folder / "sub-v1_task-rest_eeg.json")
    assert sidecar["Manufacturer"] == "n/a"
    assert "CapManufacturer" not in sidecar
    assert "no person was recorded" in sidecar["TaskDescription"]
    description = table_of(root / "dataset_description.json")
    made_by = {each["Name"]: each for each in description["GeneratedBy"]}
    assert set(made_by) == {"Phosphene", "MNE-BIDS"}
    assert "no person was recorded" in made_by["Phosphene"]["Description"]
    assert "no person was recorded" in (root / "README").read_text(encoding="utf-8")
    assert participants(root) == {"sub-v1": "yes"}

    # A person beside it, then the same code for both: each row says what is true of it.
    sidecar = table_of(export(real, root, "p1") / "sub-p1_task-rest_eeg.json")
    assert sidecar["Manufacturer"] == "Ours"
    assert "simulated" not in sidecar.get("TaskDescription", "").lower()
    assert participants(root) == {"sub-v1": "yes", "sub-p1": "no"}
    says_that_it_is_mixed(root)
    export(virtual, root, "v1", "--run", "2")
    export(virtual, root, "p1", "--run", "2")
    assert participants(root) == {"sub-v1": "yes", "sub-p1": "in part"}
    assert (root / "README").read_text(encoding="utf-8").count("no person was recorded") == 1
    description = table_of(root / "dataset_description.json")
    assert [each["Name"] for each in description["GeneratedBy"]].count("Phosphene") == 1
    assert table_of(root / "participants.json")["simulated"]["Levels"]["yes"] == "no person"

    # It stays so when what was exported is read and exported again.
    again = export(folder / "sub-v1_task-rest_eeg.vhdr", tmp_path / "again", "v9")
    told = table_of(again / "sub-v9_task-rest_eeg.json")
    assert "no person was recorded" in told["TaskDescription"]


def says_that_it_is_mixed(root: Path) -> None:
    description = table_of(root / "dataset_description.json")
    made_by = next(e for e in description["GeneratedBy"] if e["Name"] == "Phosphene")
    text = (root / "README").read_text(encoding="utf-8")
    for said in (made_by["Description"], text):
        assert said.startswith("Mixed data set")
        assert "`simulated` of participants.tsv" in said
        assert "Simulated EEG of a virtual headset: no person" not in said
    assert "Nobody" not in json.dumps(description.get("Authors", []))


def test_what_is_simulated_beside_a_person_makes_a_mixed_set(tmp_path: Path) -> None:
    """The person came first: neither is called the other, nor is the person nobody."""
    root = tmp_path / "bids"
    virtual = write_recording(tmp_path / "virtual.xdf", simulated_stream())
    export(write_recording(tmp_path / "real.xdf", eeg_stream()), root, "p1")
    export(virtual, root, "v1")
    assert participants(root) == {"sub-p1": "n/a", "sub-v1": "yes"}
    says_that_it_is_mixed(root)
    export(virtual, root, "p1", "--run", "2")
    assert participants(root) == {"sub-p1": "in part", "sub-v1": "yes"}
    says_that_it_is_mixed(root)


def test_a_real_recording_names_its_own_maker_and_no_other(tmp_path: Path) -> None:
    """MNE-BIDS would call everything in BrainVision's format Brain Products'."""
    root = tmp_path / "bids"
    nameless = replace(eeg_stream(), manufacturer="", desc={})
    folder = export(write_recording(tmp_path / "a.xdf", nameless), root, "01")
    assert table_of(folder / "sub-01_task-rest_eeg.json")["Manufacturer"] == "n/a"
    assert "simulated" not in (root / "participants.tsv").read_text(encoding="utf-8-sig")


def test_a_clock_that_jumped_back_takes_no_event_from_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "jump.xdf"
    with XdfWriter(path) as writer:
        writer.add_stream(1, eeg_stream())
        writer.add_stream(2, marker_stream())
        writer.write_samples(2, ("face", "house"), np.array([103.5, 22.0]))
        for second in range(10):
            stamps = (100.0 if second < 6 else 20.0 - 6) + second + np.arange(250) / 250
            writer.write_samples(1, np.ones((250, 4), np.float32), stamps)
    events = [(event.sample, event.label) for event in read_continuous(path).events]
    assert events == [(875, "face"), (2000, "house")]


@pytest.mark.parametrize("jitter", [0.0, 0.002])
@pytest.mark.parametrize("n_lost", [0, 8])
def test_a_ganglion_that_begins_with_a_lone_zero_has_no_seam_there(
    tmp_path: Path, jitter: float, n_lost: int
) -> None:
    lap = [0, *(number for number in range(101, 201) for _ in range(2))]
    counts = np.array((lap * 10)[:1500], np.float32)
    kept = np.delete(np.arange(1500), np.arange(702, 702 + n_lost))
    stamps = 100.0 + np.arange(1500) / 200 + np.random.default_rng(0).normal(0, jitter, 1500)
    data = np.column_stack([np.random.default_rng(1).normal(0, 20, (1500, 4)), counts])
    info = eeg_stream(5, 200.0)
    names = (*info.ch_names[:4], "COUNTER")
    path = tmp_path / "g.xdf"
    with XdfWriter(path) as writer:
        writer.add_stream(1, replace(info, ch_names=names, desc={}))
        writer.write_samples(1, data[kept].astype(np.float32), stamps[kept])
    grid = read_continuous(path)
    assert grid.data.shape[1] == 1500
    assert [(gap.sample, gap.n_times) for gap in grid.gaps] == ([(702, n_lost)] if n_lost else [])
