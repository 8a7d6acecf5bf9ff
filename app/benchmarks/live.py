"""`phosphene bench live`: the live path against scipy offline, and against mne-lsl.

Owns the two measurements. The first sends a long file through `LivePath` packet by packet and
compares what comes out with one `sosfilt` over the whole; the second pulls the same LSL chunks
with our path and with mne-lsl's `StreamLSL`, interleaved, in one process. mne-lsl is a peer, not
a dependency: without it the second part says so.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, thread_time
from typing import TYPE_CHECKING, Any

import numpy as np

from configs import SessionConfig, SourceConfig
from devices.lsl_settings import machine_only, quieted
from pipeline.live import LivePath
from pipeline.values import Float32, Packet, StreamInfo, StreamRole

if TYPE_CHECKING:
    from collections.abc import Iterator

N_BASE = 20
"""Seconds of distinct signal; the long file repeats them."""


def run_live_bench(
    *,
    duration: float = 600.0,
    n_channels: int = 64,
    sfreq: float = 1000.0,
    chunk_ms: float = 40.0,
    n_peer_chunks: int = 150,
) -> dict[str, Any]:
    """Measure; the figures as a flat dict with `rows` for the peer.

    Parameters
    ----------
    duration : float
        Length of the file, s.
    n_channels : int
    sfreq : float
        Hz.
    chunk_ms : float
        Length of a packet, ms.
    n_peer_chunks : int
        Chunks that ours and mne-lsl take turns at; 0: no peer.
    """
    n_chunk = max(1, round(chunk_ms * sfreq / 1000))
    result = _offline(duration, n_channels, sfreq, n_chunk)
    if n_peer_chunks:
        result["rows"] = [
            _against_mne_lsl(n_channels, sfreq, n_chunk, n_peer_chunks, buffer=buffer)
            for buffer in (10.0, 60.0)
        ]
    return result


def streams_of(n_channels: int, sfreq: float) -> dict[StreamRole, StreamInfo]:
    """Info of a labelled headset in microvolts."""
    eeg = StreamInfo(
        name="bench",
        type="EEG",
        source_id="bench",
        n_channels=n_channels,
        sfreq=sfreq,
        channel_format="float32",
        ch_names=tuple(f"E{i}" for i in range(n_channels)),
        ch_units=("microvolts",) * n_channels,
        ch_types=("EEG",) * n_channels,
    )
    return {StreamRole.EEG: eeg}


def signal_of(n_channels: int, sfreq: float) -> Float32:
    """Noise, alpha, line and offsets, shape (n_times, n_channels), microvolts."""
    rng = np.random.default_rng(0)
    n_times = round(N_BASE * sfreq)
    times = np.arange(n_times)[:, np.newaxis] / sfreq
    signal = rng.normal(0, 10, (n_times, n_channels)) + 15 * np.sin(2 * np.pi * 10 * times)
    signal += 20 * np.sin(2 * np.pi * 50 * times) + 100.0 * np.arange(n_channels)
    result: Float32 = signal.astype(np.float32)
    return result


def _packets(base: Float32, n_times: int, sfreq: float, n_chunk: int) -> Iterator[Packet]:
    for low in range(0, n_times, n_chunk):
        number = np.arange(low, min(low + n_chunk, n_times))
        stamps = 1000.0 + number / sfreq
        samples = base[number % len(base)]
        yield Packet(StreamRole.EEG, samples, stamps, float(stamps[-1]))


def _offline(duration: float, n_channels: int, sfreq: float, n_chunk: int) -> dict[str, Any]:
    from scipy import signal

    base, n_times = signal_of(n_channels, sfreq), round(duration * sfreq)
    path = LivePath(SessionConfig(), streams_of(n_channels, sfreq))
    ours = np.empty((n_channels, n_times), dtype=np.float32)
    per_marker = max(1, round(1.0 * sfreq / n_chunk))
    cpu = wall = 0.0
    n_done = n_epochs = 0
    for i, packet in enumerate(_packets(base, n_times, sfreq, n_chunk)):
        items = [packet]
        if i % per_marker == 0:
            onset = packet.timestamps[:1] + 0.01
            items.append(Packet(StreamRole.MARKERS, ("stimulus",), onset, float(onset[0])))
        began, cpu_began = perf_counter(), process_time()
        for item in items:
            n_epochs += sum(verdict.epoch is not None for verdict in path.feed(item))
        cpu, wall = cpu + process_time() - cpu_began, wall + perf_counter() - began
        found = path.ring.read(n_done, path.ring.n_written)
        if found is not None:
            ours[:, n_done : n_done + found[0].shape[1]] = found[0]
            n_done += found[0].shape[1]
    worst, offline_cpu = 0.0, 0.0
    for channel in range(n_channels):  # one by one: the whole file in float64 may not fit
        whole = np.resize(base[:, channel], n_times).astype(np.float64)
        cpu_began = process_time()
        state = signal.sosfilt_zi(path.filter.sos) * whole[0]
        expected, _ = signal.sosfilt(path.filter.sos, whole, zi=state)
        offline_cpu += process_time() - cpu_began
        worst = max(worst, float(np.abs(ours[channel] - expected).max()))
    return {
        "file": f"{duration:g} s, {n_channels} channels, {sfreq:g} Hz, packets of {n_chunk}",
        "x_real_time": round(duration / wall, 1),
        "x_real_time_cpu": round(duration / cpu, 1),
        "us_per_packet_cpu": round(1e6 * cpu / max(1, -(-n_times // n_chunk)), 1),
        "n_epochs": n_epochs,
        "samples_out": n_done,
        "max_abs_difference_uv": worst,
        "offline_sosfilt_x_real_time_cpu": round(duration / offline_cpu, 1),
    }


def own_lsl() -> None:
    """Keep the benchmark's streams on this machine and to itself, unless settings are given.

    Given ones are quieted for every liblsl in the process: MNE-LSL brings one of its own.
    """
    named = os.environ.get("LSLAPICFG")
    if named is not None and not Path(named).is_file():
        return  # liblsl says that the file is missing
    text = (
        machine_only(f"bench-{uuid.uuid4().hex[:12]}")
        if named is None
        else quieted(Path(named).read_text(encoding="utf-8"))
    )
    target = Path(tempfile.mkdtemp(prefix="phosphene-bench-")) / "lsl_api.cfg"
    target.write_text(text, encoding="utf-8")
    os.environ["LSLAPICFG"] = str(target)


def _against_mne_lsl(
    n_channels: int, sfreq: float, n_chunk: int, n_rounds: int, *, buffer: float
) -> dict[str, Any]:
    """CPU time of one pull, filter and store: ours and mne-lsl's, taking turns."""
    own_lsl()
    try:
        from mne_lsl import set_log_level
        from mne_lsl.lsl import StreamInfo as PeerInfo
        from mne_lsl.lsl import StreamOutlet
        from mne_lsl.stream import StreamLSL
    except ImportError:
        return {"buffer_s": buffer, "peer": "mne-lsl is not installed (extra `peers`)"}
    from pylsl import local_clock

    from devices.lsl.inlet import LslSource

    set_log_level("ERROR")
    source_id = f"bench-{uuid.uuid4().hex[:8]}"
    about = PeerInfo("bench", "eeg", n_channels, sfreq, "float32", source_id)
    about.set_channel_names([f"E{i}" for i in range(n_channels)])
    about.set_channel_types("eeg")
    about.set_channel_units("microvolts")
    outlet = StreamOutlet(about)
    peer = StreamLSL(buffer, source_id=source_id).connect(acquisition_delay=None, timeout=10)
    order = {"order": 2, "ftype": "butter", "output": "sos"}
    peer.filter(0.5, 40.0, iir_params=order)
    peer.notch_filter(50.0)
    # The whole inlet of a session, as the peer runs the whole of its own.
    source = LslSource(SourceConfig(source_id=source_id))
    path = LivePath(SessionConfig(buffer=buffer), source.streams)
    base = signal_of(n_channels, sfreq)
    start = local_clock()
    ours, theirs = [], []
    try:
        for i in range(n_rounds):
            low = i * n_chunk % (len(base) - n_chunk)
            # Stamps at the stream's own rate, though it is pushed as fast as it goes.
            end = start + (i + 1) * n_chunk / sfreq
            outlet.push_chunk(np.ascontiguousarray(base[low : low + n_chunk]), end)
            began = thread_time()
            for item in source.read(5.0):
                path.feed(item)
            ours.append(thread_time() - began)
            theirs.append(_one_acquire(peer))
    finally:
        peer.disconnect()
        source.close()
    warm_ours, warm_theirs = ours[10:], theirs[10:]
    return {
        "buffer_s": buffer,
        "ours_us_min": round(1e6 * min(warm_ours), 1),
        "ours_us_median": round(1e6 * median(warm_ours), 1),
        "mne_lsl_us_min": round(1e6 * min(warm_theirs), 1),
        "mne_lsl_us_median": round(1e6 * median(warm_theirs), 1),
        "ratio_of_medians": round(median(warm_theirs) / median(warm_ours), 2),
    }


def _one_acquire(peer: Any) -> float:
    """CPU time of the call of `acquire` that brought data, s."""
    deadline = perf_counter() + 5.0
    while perf_counter() < deadline:
        before, began = peer.n_new_samples, thread_time()
        peer.acquire()
        taken = thread_time() - began
        if peer.n_new_samples != before:
            return taken
    return float("nan")
