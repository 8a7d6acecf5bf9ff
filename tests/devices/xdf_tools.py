"""Recordings for the tests: streams, packets, whole files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from devices.xdf import XdfWriter
from devices.xdf.layout import BOUNDARY
from pipeline.values import ClockOffset, Packet, SourceItem, StreamInfo, StreamRole


def eeg_stream(n_channels: int = 4, sfreq: float = 250.0, fmt: str = "float32") -> StreamInfo:
    names = tuple(f"E{k}" for k in range(n_channels))
    return StreamInfo(
        name="amp",
        type="EEG",
        source_id="amp-1",
        n_channels=n_channels,
        sfreq=sfreq,
        channel_format=fmt,
        uid="u-1",
        hostname="here",
        created_at=12.25,
        ch_names=names,
        ch_units=("microvolts",) * n_channels,
        ch_types=("eeg",) * n_channels,
        manufacturer="Ours",
        desc={
            "manufacturer": ["Ours"],
            "channels": [
                {
                    "channel": [
                        {"label": [name], "unit": ["microvolts"], "type": ["EEG"]} for name in names
                    ]
                }
            ],
        },
    )


def marker_stream() -> StreamInfo:
    return StreamInfo(
        name="stimuli",
        type="Markers",
        source_id="stim-1",
        n_channels=1,
        sfreq=0.0,
        channel_format="string",
    )


def session_items(
    seconds: float = 4.0, *, n_channels: int = 4, sfreq: float = 250.0, seed: int = 0
) -> list[SourceItem]:
    """A session as it arrives: probes, EEG packets of uneven length, markers in between."""
    rng = np.random.default_rng(seed)
    items: list[SourceItem] = []
    n, total = 0, int(seconds * sfreq)
    next_marker, next_probe = 0.5, 0.0
    while n < total:
        size = int(rng.integers(1, 20))
        stamps = 5000.0 + np.arange(n, n + size) / sfreq + rng.normal(0, 1e-5, size)
        t = (n + size) / sfreq
        if t >= next_probe:
            for role in (StreamRole.EEG, StreamRole.MARKERS):
                items.append(ClockOffset(role, 100.1 + t, -4899.9 + 1e-5 * rng.normal()))
            next_probe += 1.0
        if t >= next_marker:
            label = f"house-{n} µ"
            items.append(Packet(StreamRole.MARKERS, (label,), np.array([5000.0 + t]), t))
            next_marker += 0.5
        data = rng.standard_normal((size, n_channels)).astype(np.float32) * 30
        items.append(Packet(StreamRole.EEG, data, stamps, float(stamps[-1]) - 4899.9))
        n += size
    return items


def write_eeg_file(
    path: Path, *, n_packets: int = 200, per_packet: int = 10, boundary_every: int = 20
) -> tuple[np.ndarray, np.ndarray]:
    """An XDF of one EEG stream with a boundary every few chunks; its samples and stamps."""
    rng = np.random.default_rng(1)
    clock = [0.0]
    data, stamps = [], []
    with XdfWriter(path, boundary_interval=1.0, clock=lambda: clock[0]) as writer:
        writer.add_stream(1, eeg_stream())
        for k in range(n_packets):
            clock[0] += 1.0 / boundary_every
            data.append(rng.standard_normal((per_packet, 4)).astype(np.float32))
            stamps.append(1000.0 + (k * per_packet + np.arange(per_packet)) / 250.0)
            writer.write_samples(1, data[-1], stamps[-1])
            writer.tick()
    return np.concatenate(data), np.concatenate(stamps)


def chunk_positions(raw: bytes, tag: int) -> list[int]:
    """Where chunks of a kind start (our writer's: four length bytes)."""
    found, position = [], 4
    while position < len(raw):
        length, kind = struct.unpack_from("<IH", raw, position + 1)
        if kind == tag:
            found.append(position)
        position += 5 + length
    return found


__all__ = [
    "BOUNDARY",
    "chunk_positions",
    "eeg_stream",
    "marker_stream",
    "session_items",
    "write_eeg_file",
]
