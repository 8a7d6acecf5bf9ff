"""`--source-id`, `--name` and `--markers` within a recording, through every command."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.cli import main
from devices.xdf import XdfWriter
from tests.devices.xdf_tools import eeg_stream, marker_stream

CASES = Path(os.environ.get("PHOSPHENE_CASES", "../shared/cases")).resolve()
NAMES = ("Fz", "Cz", "Pz", "O1")


def two_headsets(path: Path, *, n_events: int = 24) -> Path:
    """Two caps, the second with what was seen; an empty marker stream first."""
    rng = np.random.default_rng(3)
    channels = [{"label": [n], "unit": ["microvolts"], "type": ["EEG"]} for n in NAMES]
    cap = replace(eeg_stream(), ch_names=NAMES, desc={"channels": [{"channel": channels}]})
    caps = [replace(cap, name=f"cap{k}", source_id=f"dev-{k}", uid=f"u{k}") for k in (1, 2)]
    with XdfWriter(path) as writer:
        writer.add_stream(1, replace(marker_stream(), name="none", source_id="none"))
        writer.add_stream(2, caps[0])
        writer.add_stream(3, caps[1])
        writer.add_stream(4, replace(marker_stream(), source_id="keys", name="keys"))
        writer.add_stream(5, marker_stream())
        for k in range(n_events + 8):
            stamps = 100.0 + k + np.arange(250) / 250
            data = rng.standard_normal((250, 4)).astype(np.float32) * 5
            writer.write_samples(2, data + 4000.0 * (np.arange(250)[:, None] // 10 % 2), stamps)
            if 5 <= k < n_events + 5:
                label = ("face", "house")[k % 2]
                data[100:150] += 20.0 if label == "face" else -20.0
                writer.write_samples(5, (label,), stamps[:1] + 0.2)
                writer.write_samples(4, ("space",), stamps[:1] + 0.3)
            writer.write_samples(3, data, stamps)
    return path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    return code, *capsys.readouterr()


def test_each_command_asks_and_takes_what_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = two_headsets(tmp_path / "two.xdf")
    for number, command in enumerate(
        (
            ("run", "--headless", "--replay", path, "--out", tmp_path / "no"),
            ("export", path, "--bids", tmp_path / "no", "--subject", 1, "--task", "t"),
            ("calibrate", "--headless", "--from", path, "--out", tmp_path / "no-c"),
        )
    ):
        code, _, said = run(capsys, *command)
        assert code == 1, number
        assert "2 streams that may be the EEG: #2 'cap1'" in said
        code, _, said = run(capsys, *command, "--name", "cap2")
        assert code == 1, number
        assert "2 marker streams with events: #4 'keys'" in said
    choice = ("--source-id", "dev-2", "--markers", "stim-1")
    code, printed, said = run(
        capsys, "export", path, *choice, "--bids", tmp_path / "b", "--subject", 1, "--task", "t",
        "--json",
    )  # fmt: skip
    assert code == 0, said
    assert json.loads(printed)["n_events"] == 24
    events = (tmp_path / "b/sub-1/eeg/sub-1_task-t_events.tsv").read_text()
    assert events.count("face") == events.count("house") == 12
    assert "space" not in events


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Settings that cut and count without loading a model."""
    path = tmp_path / "cut.toml"
    path.write_text("[decoder]\nenabled = false\n")
    return path


def test_a_replay_takes_the_chosen_headset(
    tmp_path: Path, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = two_headsets(tmp_path / "two.xdf", n_events=4), tmp_path / "first"
    words = ("--source-id", "dev-2", "--markers", "stim-1", "--config", settings, "--json")
    code, printed, said = run(capsys, "run", "--headless", "--replay", path, *words, "--out", out)
    assert code == 0, said
    # The other cap swings by 4 mV: not one epoch of it could be used.
    assert json.loads(printed)["outcomes"] == {"collected": 4}
    # Its own settings repeat the choice, from the file and from the session's own recording.
    first = (out / "events.jsonl").read_text().splitlines()
    assert "face" in first[0] + first[1]
    for name, again in (("a", path), ("b", out / "recording.xdf")):
        words = ("--config", out / "session.toml", "--out", tmp_path / name)
        code, _, said = run(capsys, "run", "--headless", "--replay", again, *words)
        assert code == 0, said
        assert (tmp_path / name / "events.jsonl").read_text().splitlines() == first


def test_calibrate_reads_the_chosen_streams(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = two_headsets(tmp_path / "two.xdf")
    code, printed, said = run(
        capsys, "calibrate", "--headless", "--from", path, "--name", "cap2", "--markers", "stim-1",
        "--subject", "s1", "--methods", "shrinkage", "--out", tmp_path / "c", "--json",
    )  # fmt: skip
    about = json.loads((tmp_path / "c/calibration.json").read_text())
    assert about["epochs"]["good"] == {"face": 12, "house": 12}, (code, printed, said)


@pytest.mark.parametrize(
    ("name", "words", "n_cut"),
    [
        ("empty_marker_stream_first.xdf", (), 3),
        ("two_headsets.xdf", ("--source-id", "dev-115"), 3),
        ("two_headsets.xdf", (), None),
    ],
)
def test_the_recordings_of_public_reports(
    name: str,
    words: tuple[str, ...],
    n_cut: int | None,
    tmp_path: Path,
    settings: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = CASES / "xdf-several-streams" / name
    if not path.is_file():
        pytest.skip(f"{path} is absent: the recordings are not part of the project")
    words = (*words, "--config", str(settings), "--out", str(tmp_path / "o"), "--json")
    code, printed, said = run(capsys, "run", "--headless", "--replay", path, *words)
    if n_cut is None:
        assert code == 1
        assert "'EEG114'" in said
        assert "'EEG115'" in said
        return
    summary = json.loads(printed)
    assert summary["markers"] == 3
    assert summary["outcomes"] == {"collected": n_cut}


def test_virtual_has_streams_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = run(capsys, "calibrate", "--headless", "--virtual", "--name", "x")
    assert code == 1
    assert "--virtual has markers of its own" in said


def test_a_hopeless_channel_is_named_and_the_others_are_used(
    tmp_path: Path, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """BlueMuse sends its AUX as NaN, Emotiv types its time as EEG."""
    path, names = tmp_path / "aux.xdf", ("TP9", "AF7", "AF8", "TP10", "AUX", "TIME")
    channels = [{"label": [n], "unit": ["microvolts"], "type": ["EEG"]} for n in names]
    rng = np.random.default_rng(3)
    with XdfWriter(path) as writer:
        info = replace(eeg_stream(6), ch_names=names, desc={"channels": [{"channel": channels}]})
        writer.add_stream(1, info)
        writer.add_stream(2, marker_stream())
        for k in range(14):
            data = rng.standard_normal((250, 6)).astype(np.float32) * 5
            data[:, 4], data[:, 5] = np.nan, 1.7e9
            writer.write_samples(1, data, 100.0 + k + np.arange(250) / 250)
            if 5 <= k < 12:
                writer.write_samples(2, (("face", "house")[k % 2],), np.array([100.2 + k]))
    out = tmp_path / "out"
    words = ("--config", settings, "--out", out, "--json")
    code, printed, said = run(capsys, "run", "--headless", "--replay", path, *words)
    assert code == 0, said
    summary = json.loads(printed)
    assert summary["outcomes"] == {"collected": 7}
    assert [each["name"] for each in summary["channels_left_out"]] == ["AUX", "TIME"]
    assert [w.split(":")[0] for w in summary["warnings"] if "left out" in w] == [
        "Channel AUX is left out",
        "Channel TIME is left out",
    ]
    assert "Channel AUX is left out" in (out / "report.html").read_text()
    first = (out / "events.jsonl").read_text()
    words = ("--config", out / "session.toml", "--out", tmp_path / "again")
    assert run(capsys, "run", "--headless", "--replay", out / "recording.xdf", *words)[0] == 0
    assert (tmp_path / "again/events.jsonl").read_text() == first
    words = ("--bids", tmp_path / "b", "--subject", 1, "--task", "t")
    code, _, said = run(capsys, "export", path, *words)
    assert "Most values of AUX, TIME are unusable: marked bad." in said
    rows = (tmp_path / "b/sub-1/eeg/sub-1_task-t_channels.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in rows if "\tbad" in row] == ["AUX", "TIME"]
    assert "BAD_values" not in (tmp_path / "b/sub-1/eeg/sub-1_task-t_events.tsv").read_text()
    words = ("--picks", "AF7,AF8", *words[:1], tmp_path / "p", *words[2:])
    assert run(capsys, "export", path, *words)[0] == 0
    rows = (tmp_path / "p/sub-1/eeg/sub-1_task-t_channels.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in rows[1:]] == ["AF7", "AF8"]
    code, _, said = run(
        capsys, "calibrate", "--headless", "--from", path, "--subject", "s1",
        "--methods", "shrinkage", "--out", tmp_path / "c",
    )  # fmt: skip
    about = json.loads((tmp_path / "c/calibration.json").read_text())
    assert about["epochs"]["n_good"] == 7, said
