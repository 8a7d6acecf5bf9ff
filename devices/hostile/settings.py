"""The hostile stream as it would be without faults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HostileSettings:
    """The stream as it would be without faults.

    `sfreq` is what it declares and `true_sfreq` what it has (0: the same), Hz; `duration`,
    `latency`, `probe_interval` and `marker_interval` (0: no markers) are s; `chunk` is samples a
    packet; `clock_offset` is what the sender's clock lags behind ours, s.
    """

    ch_names: tuple[str, ...] = ("C3", "C4", "O1", "O2")
    sfreq: float = 250.0
    duration: float = 60.0
    chunk: int = 10
    true_sfreq: float = 0.0
    latency: float = 0.005
    clock_offset: float = 0.0
    probe_interval: float = 5.0
    marker_interval: float = 1.5
    labels: tuple[str, ...] = ("face", "house")
    seed: int = 0
