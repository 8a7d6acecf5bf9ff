"""The faces-and-houses recording, through the live path.

Owns where its files lie, what its events mean in the gallery, which electrodes stand for which
headset, and the settings of a session on it. The recording is not part of the project: every
command takes its folder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.errors import AppError
from configs import (
    DecoderConfig,
    EpochsConfig,
    FilterConfig,
    MarkersConfig,
    SessionConfig,
    SourceConfig,
    StimuliConfig,
)
from devices.files import open_recording
from devices.replay import RecordedSource
from models.adapters import Target
from pipeline.live import LivePath
from pipeline.values import Epoch, Outcome, Packet

TARGETS = (
    Target(event="face-upright", kind="upright", category="face", typical="smiling-face"),
    Target(
        event="face-inverted", kind="inverted", category="face", typical="smiling-face-inverted"
    ),
    Target(event="house-upright", kind="upright", category="house", typical="house"),
    Target(event="house-inverted", kind="inverted", category="house", typical="house-inverted"),
    Target(event="checker-left", labels=("checkerboard-left",)),
    Target(event="checker-right", labels=("checkerboard-right",)),
)
"""The six kinds of trial, and what they are in the gallery."""

CALIBRATION = 0.6
"""Part of the recording's time that calibrates; the rest tests."""

# BioSemi's own labels of the sites where an OpenBCI owner would put electrodes: on the sphere of
# MNE's `biosemi64`, which the file's positions lie on, each is 0.0 degrees from its 10-20 site.
_EIGHT = {
    "A10": "PO7",
    "B7": "PO8",
    "A15": "O1",
    "A28": "O2",
    "D31": "P7",
    "B11": "P8",
    "A23": "Oz",
    "A19": "Pz",
}
_SIXTEEN = _EIGHT | {
    "D7": "F7",
    "C7": "F8",
    "D4": "F3",
    "C4": "F4",
    "D23": "T7",
    "B26": "T8",
    "A7": "P3",
    "B4": "P4",
}
_THIRTY_TWO = {
    "C29": "Fp1",
    "C27": "AF3",
    "D7": "F7",
    "D4": "F3",
    "C24": "FC1",
    "D10": "FC5",
    "D23": "T7",
    "D19": "C3",
    "D17": "CP1",
    "D26": "CP5",
    "D31": "P7",
    "A7": "P3",
    "A19": "Pz",
    "A17": "PO3",
    "A15": "O1",
    "A23": "Oz",
    "A28": "O2",
    "A30": "PO4",
    "B4": "P4",
    "B11": "P8",
    "B16": "CP6",
    "B19": "CP2",
    "B22": "C4",
    "B26": "T8",
    "B29": "FC6",
    "C11": "FC2",
    "C4": "F4",
    "C7": "F8",
    "C14": "AF4",
    "C16": "Fp2",
    "C21": "Fz",
    "A1": "Cz",
}
_ALL = tuple(f"{letter}{number}" for letter in "ABCD" for number in range(1, 33))

MONTAGES: dict[str, tuple[str, ...]] = {
    "8": tuple(_EIGHT),
    "16": tuple(_SIXTEEN),
    "32": tuple(_THIRTY_TWO),
    "128": _ALL,
}
"""BioSemi labels: the 8 sites, those with 8 more as on a Daisy, a 32-channel cap, everything."""

BROKEN = ("C10",)
"""Swings by more than 250 microvolts in every calibration trial: a signal check would say so."""

SITES = _THIRTY_TWO | _SIXTEEN
"""10-20 site (the nearest one) by BioSemi label."""

FILTER = FilterConfig(l_freq=0.5, h_freq=40.0, order=2, notch_freqs=(60.0,))
"""The default filter with the notch of the country where this was recorded."""


@dataclass(frozen=True, slots=True)
class LiveEpochs:
    """What the live path cut: epochs in order of time, and how each wanted marker ended."""

    epochs: tuple[Epoch, ...]
    outcomes: dict[str, int]


def find_recording(data: Path) -> Path:
    """Return the EDF file below `data` (the unzipped BIDS folder or one above it)."""
    found = sorted(data.rglob("sub-s01_task-faceO_eeg.edf"))
    if not found:
        raise AppError(
            f"{data} holds no sub-s01_task-faceO_eeg.edf, expected the unzipped folder "
            "`faces-houses`: give it with --data."
        )
    return found[0]


def duration_of(path: Path) -> float:
    """Length of a recording, s."""
    recording = open_recording(path)
    try:
        return float(recording.duration or 0.0)
    finally:
        recording.close()


def session_config(picks: Sequence[str], *, filter_config: FilterConfig = FILTER) -> SessionConfig:
    """Settings of a session on these channels: the six kinds of trial, and none of them rejected.

    Nothing is rejected, so that the figures are over every trial, bad ones too.
    """
    return SessionConfig(
        source=SourceConfig(picks=tuple(picks)),
        markers=MarkersConfig(event_id=tuple(target.event for target in TARGETS)),
        filter=filter_config,
        epochs=EpochsConfig(tmin=-0.2, tmax=0.8, reject_uv={}),
    )


def live_config(picks: Sequence[str], adapter: Path) -> SessionConfig:
    """Settings of a session that decodes the recording with an adapter and draws.

    Pictures are ranked among the six that stand for the classes. One of them, `house-inverted`, is
    called as its event is: the session counts these trials as identified or not, and no others.
    """
    config = session_config(picks)
    return config.model_copy(
        update={
            "subject": "faces-houses",
            "stimuli": StimuliConfig(
                kinds=("upright", "inverted", "checkerboard"),
                labels=tuple(target.typical or target.labels[0] for target in TARGETS),
            ),
            "decoder": DecoderConfig(adapter=str(adapter)),
        }
    )


def live_epochs(
    path: Path, config: SessionConfig, *, start: float = 0.0, stop: float = math.inf
) -> LiveEpochs:
    """Run a recording's packets from `start` to `stop` (s) through the live path, at full speed."""
    source = RecordedSource(path, start=start)
    try:
        live = LivePath(config, source.streams)
        verdicts = []
        now = start
        while now < stop and (items := source.read(1.0)):
            for item in items:
                verdicts += live.feed(item)
                now = item.received_at if isinstance(item, Packet) else now
        verdicts += live.finish()
    finally:
        source.close()
    outcomes: dict[str, int] = {}
    for verdict in verdicts:
        if verdict.outcome is not Outcome.IGNORED:
            outcomes[verdict.outcome] = outcomes.get(verdict.outcome, 0) + 1
    epochs = sorted(
        (v.epoch for v in verdicts if v.epoch is not None and v.outcome is Outcome.DECODED),
        key=lambda epoch: epoch.t_onset,
    )
    return LiveEpochs(tuple(epochs), outcomes)
