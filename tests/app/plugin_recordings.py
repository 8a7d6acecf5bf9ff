"""Small recordings for somebody else's systems: EEG of two classes, and fMRI."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from devices.xdf import XdfWriter
from pipeline.values import Float32, StreamInfo
from tests.devices.xdf_tools import marker_stream


def write_eeg(path: Path, *, n_trials: int = 48) -> None:
    """A second a trial; `left` and `right` differ in sign, 0.2 s after their marker."""
    names = ("Fz", "Cz", "Pz", "Oz", "O1", "O2", "P7", "P8")
    rng = np.random.default_rng(0)
    bump = 10 * np.outer(np.hanning(50), np.linspace(0.2, 1, len(names)))
    pieces: list[tuple[Float32, str]] = []
    for trial in range(n_trials + 6):
        data = rng.normal(0, 8, (250, len(names))).astype(np.float32)
        label = ("left", "right")[trial % 2] if 3 <= trial < n_trials + 3 else ""
        if label:
            data[75:125] += (bump if label == "left" else -bump).astype(np.float32)
        pieces.append((data, label))
    _write(path, "EEG", names, "microvolts", 250.0, pieces)


def write_fmri(path: Path, *, n_voxels: int = 500, n_samples: int = 60) -> None:
    """One sample a repetition time of 2 s; a marker every tenth."""
    names = tuple(f"voxel{k}" for k in range(n_voxels))
    data = np.random.default_rng(0).normal(0, 1, (n_samples, 1, n_voxels)).astype(np.float32)
    pieces = [(data[k], "cat" if k % 10 == 5 else "") for k in range(n_samples)]
    _write(path, "fMRI", names, "percent", 0.5, pieces)


def _write(
    path: Path,
    kind: str,
    names: tuple[str, ...],
    unit: str,
    sfreq: float,
    pieces: list[tuple[Float32, str]],
) -> None:
    info = StreamInfo(
        name="amp",
        type=kind,
        source_id="amp-1",
        n_channels=len(names),
        sfreq=sfreq,
        channel_format="float32",
        ch_names=names,
        ch_units=(unit,) * len(names),
        ch_types=(kind.lower(),) * len(names),
    )
    at = 100.0
    with XdfWriter(path) as writer:
        writer.add_stream(1, info)
        writer.add_stream(2, marker_stream())
        for data, label in pieces:
            writer.write_samples(1, data, at + np.arange(len(data)) / sfreq)
            if label:
                writer.write_samples(2, [[label]], np.array([at + 0.1]))
            at += len(data) / sfreq


__all__ = ["write_eeg", "write_fmri"]
