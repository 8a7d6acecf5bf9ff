"""Recordings of fMRI: what is read, and that everything else is refused in one line."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.conformance import check_recording, check_refusal
from devices.files import open_recording
from devices.files.volumes import write_npz
from devices.player import Player
from devices.virtual.scanner import ScanSettings, simulate_scan
from pipeline.errors import ConfigurationError
from tests.configs.test_arrays import foreign

N, V = 8, 5
BETAS = np.random.default_rng(0).normal(size=(N, V)).astype(np.float32)
LABELS = np.array(["cat", "dog"] * (N // 2))
EVENTS = {"onsets": 2.0 * np.arange(N), "labels": LABELS}


def _npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "scan.npz", **arrays)
    return folder / "scan.npz"


def _npy(folder: Path, betas: Any = BETAS, *, table: str | None = None, side: str = "") -> Path:
    np.save(folder / "scan.npy", betas)
    if table is not None:
        (folder / "scan_events.tsv").write_text(table, encoding="utf-8")
    if side:
        (folder / "scan.json").write_text(side, encoding="utf-8")
    return folder / "scan.npy"


def _table() -> str:
    rows = (f"{2.0 * k}\t1.0\t{label}" for k, label in enumerate(LABELS))
    return "\n".join(("onset\tduration\ttrial_type", *rows)) + "\n"


def _read(path: Path) -> tuple[np.ndarray, list[float], list[tuple[float, str]]]:
    recording = open_recording(path)
    data, times, events = [], [], []
    for block in recording.blocks():
        if isinstance(block.samples, tuple):
            events.append((float(block.times[0]), block.samples[0]))
        else:
            data.append(block.samples)
            times += block.times.tolist()
    recording.close()
    return np.concatenate(data), times, events


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.float32])
def test_both_layouts_give_the_same_stream(tmp_path: Path, dtype: Any) -> None:
    betas = BETAS.astype(dtype)
    one = _npz(tmp_path, betas=betas, tr=2.0, **EVENTS)
    two = _npy(tmp_path, betas, table=_table(), side=json.dumps({"RepetitionTime": 2.0}))
    for path in (one, two):
        data, times, events = _read(path)
        np.testing.assert_array_equal(data, betas.astype(np.float32))
        assert times == [2.0 * k for k in range(N)]
        assert events == [(2.0 * k, str(label)) for k, label in enumerate(LABELS)]
        info = open_recording(path).streams[0]
        assert (info.type, info.sfreq, info.ch_types[0]) == ("fMRI", 0.5, "fmri")
        assert info.ch_names == ("v0", "v1", "v2", "v3", "v4")
        assert not info.is_simulated


def test_an_event_a_response_makes_a_stream_without_a_rate(tmp_path: Path) -> None:
    onsets = np.array([0.0, 3.1, 14.0, 15.5, 22.0, 30.0, 41.5, 60.0])
    path = _npz(tmp_path, betas=BETAS, onsets=onsets, labels=LABELS)
    check_recording(lambda: open_recording(path))
    assert open_recording(path).streams[0].sfreq == 0
    data, times, events = _read(path)
    assert times == onsets.tolist() == [onset for onset, _ in events]
    np.testing.assert_array_equal(data, BETAS)


def test_names_unit_and_simulation_are_kept(tmp_path: Path) -> None:
    made = simulate_scan(ScanSettings(n_voxels=V, n_pictures=4, is_irregular=True))
    write_npz(tmp_path / "sim.npz", made.held)
    again = open_recording(tmp_path / "sim.npz").streams[0]
    assert again.is_simulated
    assert again.ch_units == ("z",) * V
    named = _npz(tmp_path, betas=BETAS, tr=1.5, voxels=np.array(list("abcde")), **EVENTS)
    assert open_recording(named).streams[0].ch_names == tuple("abcde")
    check_refusal(lambda: write_npz(tmp_path / "sim.npz", made.held))


def _odd_npy(folder: Path) -> Path:
    (folder / "scan.npy").write_bytes(foreign("{'descr': (\n"))
    return folder / "scan.npy"


def _odd_npz(folder: Path) -> Path:
    _npz(folder, onsets=[1.0], labels=["a"], tr=2.0)
    with zipfile.ZipFile(folder / "scan.npz", "a") as archive:
        archive.writestr("betas.npy", foreign("{'descr': ("))
    return folder / "scan.npz"


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no event table": (_npy, "no event table"),
    "no labels": (lambda f: _npz(f, betas=BETAS, tr=2.0), "no onsets and no labels"),
    "no betas": (lambda f: _npz(f, data=BETAS, **EVENTS), "no betas"),
    "a table without labels": (lambda f: _npy(f, table="onset\n1.0\n"), "trial_type"),
    "a row without an onset": (
        lambda f: _npy(f, table="onset\ttrial_type\nn/a\tcat\n"),
        "row 2",
    ),
    "no repetition time": (
        lambda f: _npz(f, betas=BETAS, onsets=[0.0], labels=["cat"]),
        "no repetition time",
    ),
    "a repetition time of 0": (lambda f: _npz(f, betas=BETAS, tr=0.0, **EVENTS), "0 s"),
    "fewer labels": (
        lambda f: _npz(f, betas=BETAS, tr=2.0, onsets=EVENTS["onsets"], labels=["cat"]),
        "8 onsets and 1 labels",
    ),
    "volumes that were not flattened": (
        lambda f: _npz(f, betas=np.zeros((2, 3, 4)), tr=2.0, **EVENTS),
        "n_samples, n_voxels",
    ),
    "objects in an npy": (
        lambda f: _npy(f, np.array([{"a": 1}], dtype=object), table=_table()),
        "holds Python objects",
    ),
    "an npy whose header is no array's": (_odd_npy, "is no array of NumPy"),
    "an npz whose header is no array's": (_odd_npz, "array betas, is no array of NumPy"),
    "objects in an npz": (
        lambda f: _npz(f, betas=BETAS, tr=2.0, onsets=[1.0], labels=np.array([1, ""], object)),
        "holds Python objects",
    ),
    "onsets that are no numbers": (
        lambda f: _npz(f, betas=BETAS, tr=2.0, onsets=[np.nan] * N, labels=LABELS),
        "finite",
    ),
    "names that repeat": (
        lambda f: _npz(f, betas=BETAS, tr=2.0, voxels=np.array(["a"] * V), **EVENTS),
        "different names",
    ),
    "no unit": (
        lambda f: _npz(f, betas=BETAS, tr=2.0, unit=np.array([], dtype="U3"), **EVENTS),
        "0 texts for unit",
    ),
    "no repetition time in its array": (
        lambda f: _npz(f, betas=BETAS, tr=np.zeros(0), **EVENTS),
        "tr of shape (0,)",
    ),
    "simulated that says nothing": (
        lambda f: _npz(f, betas=BETAS, tr=2.0, simulated=np.zeros(0), **EVENTS),
        "simulated of shape (0,)",
    ),
    "an empty event table": (lambda f: _npy(f, table="\n"), "is empty"),
    "JSON that is none": (lambda f: _npy(f, table=_table(), side="{"), "JSON"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(what: str, tmp_path: Path) -> None:
    make, said = REFUSED[what]
    path = make(tmp_path)
    sentence = check_refusal(lambda: open_recording(path))
    assert said in sentence
    assert "scan" in sentence


def test_a_label_that_no_file_can_hold_is_mended(tmp_path: Path) -> None:
    labels = np.array(["a\ud800", "dog"] * (N // 2))
    voxels = np.array([f"\ud800{k}" for k in range(V)])
    path = _npz(tmp_path, betas=BETAS, tr=2.0, voxels=voxels, **EVENTS | {"labels": labels})
    assert _read(path)[2][0] == (0.0, "a?")
    assert open_recording(path).streams[0].ch_names[0] == "?0"


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_float32_come_without_a_warning(tmp_path: Path) -> None:
    path = _npz(tmp_path, betas=np.full((N, V), 1e300), tr=2.0, **EVENTS)
    assert np.isinf(_read(path)[0]).all()


class Bomb:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("/tmp/phosphene-was-here"),)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_pickle_by_another_name_is_not_run(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(pickle.dumps(Bomb()))
    assert path.name in check_refusal(lambda: open_recording(path))


def test_a_header_that_promises_more_than_the_file_is_refused(tmp_path: Path) -> None:
    whole = _npz(tmp_path, betas=BETAS, tr=2.0, **EVENTS)
    path = tmp_path / "scan-forged.npz"
    with zipfile.ZipFile(whole) as given, zipfile.ZipFile(path, "w") as forged:
        for name in given.namelist():
            forged.writestr(name, given.read(name).replace(b"(8, 5), }", b"(8,5000)}"))
    assert "damaged" in check_refusal(lambda: open_recording(path))


def test_a_scan_of_no_voxels_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--voxels is 0"):
        ScanSettings(n_voxels=0)


def test_a_player_takes_a_recording_that_is_open() -> None:
    made = simulate_scan(ScanSettings(n_voxels=V, n_pictures=4))
    player = Player(made, source_id="scan-1")
    try:
        assert [info.source_id for info in player.streams] == ["scan-1", "scan-1-markers"]
        assert player.streams[0].n_channels == V
        assert player.streams[0].is_simulated
    finally:
        player.close()
