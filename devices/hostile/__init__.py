"""The hostile source: a stream under a virtual clock whose faults are arguments."""

from devices.hostile.faults import (
    Burst,
    ClockJump,
    Death,
    Drift,
    Duplicate,
    Fault,
    Flat,
    Gap,
    Jitter,
    LateMarkers,
    LineNoise,
    Loss,
    MalformedMarkers,
    MarkerStorm,
    NotFinite,
    Pop,
    Railed,
    RandomLoss,
    Reordered,
    ShuffledMarkers,
    random_faults,
)
from devices.hostile.markers import TrueMarker
from devices.hostile.settings import HostileSettings
from devices.hostile.source import HostileSource
from devices.hostile.witness import Witness, untouched

__all__ = [
    "Burst",
    "ClockJump",
    "Death",
    "Drift",
    "Duplicate",
    "Fault",
    "Flat",
    "Gap",
    "HostileSettings",
    "HostileSource",
    "Jitter",
    "LateMarkers",
    "LineNoise",
    "Loss",
    "MalformedMarkers",
    "MarkerStorm",
    "NotFinite",
    "Pop",
    "Railed",
    "RandomLoss",
    "Reordered",
    "ShuffledMarkers",
    "TrueMarker",
    "Witness",
    "random_faults",
    "untouched",
]
