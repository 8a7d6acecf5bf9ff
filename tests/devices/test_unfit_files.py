"""Pipes, devices and endless lines given as recordings or labels: one sentence, at once."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import edfio
import numpy as np
import pytest

from app.calibration.reading import parse_labels
from app.errors import AppError
from configs import SessionConfig
from devices.continuous import read_continuous
from devices.errors import FileError
from devices.files import open_recording
from devices.files.base import eeg_info
from devices.files.bids import read_sidecars
from devices.montage import read_montage
from devices.replay import RecordedSource
from devices.xdf.reader import XdfFile
from pipeline.errors import ConfigurationError, InfoError
from pipeline.live import LivePath
from pipeline.values import StreamRole

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are Unix's")
SUFFIXES = (
    ".xdf",
    ".xdfz",
    ".xdf.gz",
    ".fif",
    ".fif.gz",
    ".edf",
    ".bdf",
    ".vhdr",
    ".set",
    ".txt",
    ".csv",
    ".tsv",
)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_pipe_or_device_is_no_recording(tmp_path: Path, suffix: str) -> None:
    pipe, device = tmp_path / f"pipe{suffix}", tmp_path / f"device{suffix}"
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    for path, kind in ((pipe, "a pipe"), (device, "a device")):
        for read in (open_recording, RecordedSource):
            with pytest.raises(FileError) as refused:
                read(path)
            assert f"{path} cannot be read (it is {kind}, expected an" in str(refused.value)


def test_an_xdf_pipe_is_refused_by_the_reader_itself(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.xdf")
    with pytest.raises(FileError, match="it is a pipe"):
        XdfFile(tmp_path / "x.xdf")


@pytest.mark.parametrize("key", ["DataFile", "MarkerFile"])
def test_what_a_header_names_is_looked_at_too(tmp_path: Path, key: str) -> None:
    os.mkfifo(tmp_path / "x.pipe")
    header = tmp_path / "x.vhdr"
    header.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\n"
        f"{key}=x.pipe\nNumberOfChannels=1\n"
    )
    with pytest.raises(FileError, match=r"x\.pipe cannot be read \(it is a pipe"):
        open_recording(header)


def test_a_part_of_a_split_recording_is_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "x_raw.fif").write_bytes(b"\0" * 100)
    os.mkfifo(tmp_path / "x_raw-1.fif")
    with pytest.raises(FileError, match=r"x_raw-1\.fif cannot be read \(it is a pipe"):
        open_recording(tmp_path / "x_raw.fif")


def test_a_text_of_one_endless_line_is_refused_after_its_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    with path.open("wb") as file:
        file.write(b"1," * (1 << 15))
        file.truncate(400 * 10**6)
    with pytest.raises(FileError, match="no line end in its first 65536 bytes"):
        open_recording(path)


def test_sidecars_and_labels_that_are_pipes_are_refused(tmp_path: Path) -> None:
    for name in ("sub-1_events.tsv", "labels.txt"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(FileError, match=r"sub-1_events.tsv cannot be read \(it is a pipe"):
        read_sidecars(tmp_path / "sub-1_eeg.edf")
    with pytest.raises(FileError, match=r"labels.txt cannot be read \(it is a pipe"):
        read_montage(str(tmp_path / "labels.txt"))
    with pytest.raises(AppError, match=r"cannot read .*labels.txt \(it is a pipe"):
        parse_labels(str(tmp_path / "labels.txt"))
    with pytest.raises(FileError, match="it is a device"):
        read_montage("/dev/zero")


def test_labels_longer_than_a_name_are_labels() -> None:
    many = ",".join(f"E{k}" for k in range(200))
    assert len(read_montage(many)) == 200
    assert len(parse_labels(many)) == 200


def test_a_rate_that_no_amplifier_has_is_refused_before_memory_is_asked_for(
    tmp_path: Path,
) -> None:
    """EDF with a data record of 1e-7 s: 2.5 GHz, for which an export asked for 37 GiB."""
    rng = np.random.default_rng(0)
    signals = [
        edfio.EdfSignal(rng.normal(0, 20, 2500), 250.0, label=name, physical_dimension="uV")
        for name in ("Fz", "Cz")
    ]
    path = tmp_path / "fast.edf"
    edfio.Edf(signals).write(path)
    raw = bytearray(path.read_bytes())
    raw[244:252] = b"1e-7    "
    path.write_bytes(raw)
    for read in (open_recording, RecordedSource, read_continuous):
        with pytest.raises(FileError, match=r"2\.5e\+09 samples a second, expected at most 100000"):
            read(path)


def test_a_stream_whose_rate_or_buffer_fits_no_memory_is_refused() -> None:
    def path_of(sfreq: float, buffer: float = 60.0) -> LivePath:
        info = eeg_info(Path("x"), ch_names=("Fz", "Cz"), sfreq=250.0)
        stream = replace(info, sfreq=sfreq)
        return LivePath(SessionConfig(buffer=buffer), {StreamRole.EEG: stream})

    assert path_of(250.0).raw_ring.capacity == 15001
    with pytest.raises(InfoError, match=r"declares 1e\+09 Hz, expected at most 100000"):
        path_of(1e9)
    with pytest.raises(ConfigurationError, match=r"need 21.5 GiB for a buffer of 3600 s"):
        path_of(1e5, 3600.0)
