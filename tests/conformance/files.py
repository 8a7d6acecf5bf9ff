"""One small file of every registered format, by the reader's name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import mne
import numpy as np

from configs import RecordingConfig
from devices.files.volumes import write_npz
from devices.recorder import Recorder
from devices.virtual.scanner import ScanSettings, simulate_scan
from pipeline.values import StreamRole
from tests.devices.edf_tools import write_edf
from tests.devices.test_file_kinds import write_brainvision, write_eeglab
from tests.devices.test_files import openbci_text
from tests.devices.test_readers import acme_file
from tests.devices.xdf_tools import eeg_stream, marker_stream, session_items


def fif(folder: Path) -> Path:
    data = np.random.default_rng(0).normal(0, 1e-5, (3, 2000))
    raw = mne.io.RawArray(data, mne.create_info(["O1", "Oz", "O2"], 250.0, "eeg"), verbose="ERROR")
    raw.set_annotations(mne.Annotations([3.0, 5.0], 0.0, ["face", "house"]))
    raw.save(folder / "walk_raw.fif", verbose="ERROR")
    return folder / "walk_raw.fif"


def edf(folder: Path) -> Path:
    events = [(2.5, "face"), (4.0, "house")]
    write_edf(folder / "walk.edf", ["EEG O1", "EEG O2"], events=events)
    return folder / "walk.edf"


def brainvision(folder: Path) -> Path:
    return write_brainvision(folder, "walk")


def eeglab(folder: Path) -> Path:
    events = [("face", 201.0), ("boundary", 501.5), ("cat", 801.0)]
    return write_eeglab(folder, ["Cz", "Pz"], events)


def xdf(folder: Path) -> Path:
    streams = {StreamRole.EEG: eeg_stream(), StreamRole.MARKERS: marker_stream()}
    recorder = Recorder(folder / "walk.xdf", streams, RecordingConfig(min_free_mb=0))
    for item in session_items():
        recorder.put(item)
    recorder.put_event(json.dumps({"index": 0, "outcome": "overload"}), 101.0)
    assert recorder.close()
    return folder / "walk.xdf"


def openbci(folder: Path) -> Path:
    n = 1200
    stamps = [1e9 + k / 250 for k in range(n)]
    lost = 30  # samples are missing in the middle
    packages = [(k + (lost if k > 500 else 0)) % 256 for k in range(n)]
    path = folder / "walk.txt"
    path.write_text(openbci_text(packages, stamps, {700: 3.0}), encoding="utf-8")
    return path


def brainflow(folder: Path) -> Path:
    rows = np.random.default_rng(0).normal(0, 10, (1000, 24))
    rows[:, 0] = np.arange(1000) % 256
    rows[:, 22] = 1e9 + np.arange(1000) / 250
    rows[:, 23] = 0
    rows[600, 23] = 7
    np.savetxt(folder / "walk.csv", rows, delimiter="\t", fmt="%.6f")
    return folder / "walk.csv"


def cvep(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    codes = np.repeat(np.array([[0, 1] * 3, [1, 1, 0, 0, 1, 0]], dtype=np.uint8), 4, axis=1)
    path = folder / "walk.npz"
    trials = rng.normal(0, 1e-5, (3, 2, 600)).astype(np.float32)
    np.savez(path, X=trials, y=np.array([0, 1, 1], dtype=np.uint8), V=codes, fs=240)
    return path


def volumes(folder: Path) -> Path:
    path = folder / "walk.npz"
    write_npz(path, simulate_scan(ScanSettings(n_voxels=9, n_pictures=12)).held)
    return path


MAKERS: Mapping[str, Callable[[Path], Path]] = {
    "acme": acme_file,
    "brainflow": brainflow,
    "brainvision": brainvision,
    "cvep": cvep,
    "edf": edf,
    "eeglab": eeglab,
    "fif": fif,
    "openbci": openbci,
    "xdf": xdf,
    "volumes": volumes,
}
