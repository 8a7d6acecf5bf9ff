"""A session without threads, LSL or torch: deterministic, driven by a clock that tests move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy import signal

from app.accuracy import Accuracy, Identification
from app.port import (
    AdaptCommand,
    Phase,
    Playback,
    Result,
    Snapshot,
    StageTimes,
    StimulusFeed,
    TraceBlock,
    TraceMarker,
)
from app.source_options import NO_OPTIONS, ChoiceNeededError, SourceOptions
from configs import SessionConfig
from pipeline.errors import PhospheneError
from pipeline.signal_quality import ChannelQuality, Grade
from pipeline.values import Float32, Info, Outcome, StreamInfo, StreamState, Uint8

CAP32 = (
    *("Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "FC5", "FC1", "FC2", "FC6", "T7", "C3", "Cz"),
    *("C4", "T8", "CP5", "CP1", "CP2", "CP6", "P7", "P3", "Pz", "P4", "P8", "PO7", "PO3", "POz"),
    *("PO4", "PO8", "O1", "O2"),
)
T0 = 1000.0
SOA = 1.25


def make_eeg(n_channels: int, n_times: int, sfreq: float, *, seed: int = 0) -> Float32:
    """Background, alpha towards the back, blinks at the front; microvolts on an offset."""
    rng = np.random.default_rng(seed)
    t = np.arange(n_times) / sfreq
    pink = signal.lfilter([1], [1, -0.97], rng.standard_normal((n_channels, n_times)), axis=1)
    pink *= 1.6
    shared = 2.0 * signal.lfilter([1], [1, -0.985], rng.standard_normal(n_times))
    back = np.linspace(0.2, 1.0, n_channels)[:, None]
    envelope = 0.6 + 0.4 * np.sin(2 * np.pi * 0.13 * t + rng.uniform(0, 6, (n_channels, 1)) * 0.2)
    alpha = 11 * back * envelope * np.sin(2 * np.pi * 10.2 * t + 0.4 * back)
    blink = np.zeros(n_times)
    for at in np.arange(2.3, n_times / sfreq, 4.7):
        blink += 95 * np.exp(-(((t - at) / 0.09) ** 2))
    front = np.exp(-np.arange(n_channels) / (n_channels / 7))[:, None]
    noise = 0.8 * rng.standard_normal((n_channels, n_times))
    offset = rng.uniform(-4000, 4000, (n_channels, 1))
    return np.asarray(pink + shared + alpha + front * blink + noise + offset, dtype=np.float32)


@dataclass
class FakeSession:
    """Satisfies `SessionPort`; `now` is the time since the first sample, s."""

    config: SessionConfig = field(default_factory=SessionConfig)
    sfreq: float = 500.0
    ch_names: tuple[str, ...] = CAP32
    length: float = 40.0
    labels: Sequence[str] = ("face", "house", "tool", "tree")
    pictures: dict[str, Uint8] = field(default_factory=dict)
    fail_at: float | None = None
    decoded_by: str = ""
    feed: str = ""
    gap_at: tuple[float, float] | None = None
    """Start and length of a loss, s."""
    out: Path | None = None
    decodes: bool = True
    playback: Playback | None = None
    stimuli: StimulusFeed | None = None
    faults: Mapping[str, tuple[Grade, str]] = field(default_factory=dict)
    impedance: Mapping[str, float | None] = field(default_factory=dict)
    adapter: str | None = None
    alignment: str = ""
    drift: float | None = None
    silent_for: float | None = None
    foreign_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.phase = Phase.IDLE
        self.now = 0.0
        self.recording = False
        self.manual: list[TraceMarker] = []
        self.stopped = 0
        self.notes = ""
        self.control = self.config.decoder.control
        self.swaps: list[Path | None] = []
        self.admitted: list[str] = []
        self.seen: list[bool] = []
        self.adaptations: list[AdaptCommand] = []
        n_times = round(self.length * self.sfreq)
        self.eeg = make_eeg(len(self.ch_names), n_times, self.sfreq)
        self.times = T0 + np.arange(n_times) / self.sfreq
        self.breaks: tuple[int, ...] = ()
        if self.gap_at is not None:
            at = round(self.gap_at[0] * self.sfreq)
            self.times[at:] += self.gap_at[1]
            self.breaks = (at,)
        good = (Grade.GOOD, "")
        self._quality = tuple(
            ChannelQuality(name, 60.0, 0.0, 0.1, 2.0, 1.0, 0, 10.0, *self.faults.get(name, good))
            for name in self.ch_names
        )
        rng = np.random.default_rng(1)
        n_markers = int((self.length - 2) / SOA)
        self.shown = [self.labels[i] for i in rng.integers(0, len(self.labels), n_markers)]
        self._results = [self._result(i) for i in range(n_markers)]

    # Requests

    def start(self) -> None:
        self.phase = Phase.RUNNING
        self.recording = self.config.recording.enabled

    def stop(self, timeout: float = 10.0, *, at_once: bool = False) -> None:
        self.stopped += 1
        self.phase = Phase.STOPPED

    def set_recording(self, on: bool) -> None:
        self.recording = on

    def add_marker(self, label: str) -> None:
        if self.phase is not Phase.RUNNING:
            raise PhospheneError("The session does not run: start it first.")
        index = 10_000 + len(self.manual)
        self.manual.append(TraceMarker(index, T0 + self.now, label))

    def set_seen(self, on: bool) -> None:
        self.seen.append(on)

    def admit_host(self, host: str) -> None:
        self.admitted.append(host)

    def swap_adapter(self, folder: Path | None) -> None:
        self.swaps.append(folder)

    def adapt(self, command: AdaptCommand) -> None:
        self.adaptations.append(command)
        self.alignment = {"freeze": "frozen", "resume": "running"}.get(command, self.alignment)
        self.drift = 0.0 if command == "reset" else self.drift

    def set_control(self, on: bool) -> None:
        self.control = on

    def set_notes(self, text: str) -> None:
        self.notes = text

    # What a watcher sees

    def onset(self, index: int) -> float:
        return T0 + 1.0 + index * SOA

    def snapshot(self) -> Snapshot:
        if self.phase is Phase.IDLE:
            return Snapshot()
        done = self._done()
        n_markers = sum(1 for i in range(len(self.shown)) if self.onset(i) <= T0 + self.now)
        outcomes: dict[str, int] = {}
        for result in done:
            outcomes[result.outcome.value] = outcomes.get(result.outcome.value, 0) + 1
        phase, message = self.phase, "Decoding: 32 channels, virtual person 1001."
        if self.fail_at is not None and self.now >= self.fail_at:
            phase = Phase.FAILED
            message = (
                "The stream “phosphene-virtual” has been silent for 5 s: check the headset's "
                "battery and dongle, then start again. What was recorded is kept."
            )
        on = next(
            (self.shown[i] for i in range(n_markers) if 0 <= T0 + self.now - self.onset(i) < 0.5),
            None,
        )
        stages = {
            name: (p50, p95)
            for name, p50, p95 in (
                *(("arrival", 11.8, 20.4), ("filter", 0.4, 0.9), ("epoch", 0.7, 1.4)),
                *(("queue", 1.1, 3.8), ("encode", 6.3, 9.2), ("sample", 148.0, 188.0)),
                ("total_after_epoch", 168.4, 214.0),
            )
        }
        return Snapshot(
            phase=phase,
            message=message,
            eeg=StreamInfo(
                name="phosphene-virtual",
                type="EEG",
                source_id="virtual-1001",
                n_channels=len(self.ch_names),
                sfreq=self.sfreq,
                channel_format="float32",
            ),
            info=Info(self.ch_names, self.sfreq),
            stream_state=self._state(phase),
            silent_for=self.silent_for,
            foreign_hosts=self.foreign_hosts,
            decoded_by=self.decoded_by,
            feed=self.feed,
            newest_age=0.012 if phase is Phase.RUNNING else 5.2,
            duration=self.now,
            n_received=round(self.now * self.sfreq),
            n_lost=0 if self.gap_at is None else round(self.gap_at[1] * self.sfreq),
            n_gaps=len(self.breaks),
            effective_sfreq=self.sfreq * 0.99994,
            quality=self._quality if self.now >= 1.0 else (),
            clock_offset=-0.00021,
            n_markers=n_markers,
            outcomes=outcomes,
            n_pending=n_markers - len(done),
            accuracy=self._accuracy(done),
            stages=stages if done else {},
            decoder="ready (cpu, 1 thread)",
            recording=Path("recording.xdf") if self.recording else None,
            recording_bytes=round(self.now * self.sfreq * len(self.ch_names) * 4),
            disk_free=182_400_000_000,
            filter_delay=0.031,
            stimulus=on,
            out=self.out,
            impedance=self.impedance,
            adapter=self.adapter,
            alignment=self.alignment,
            alignment_drift=self.drift,
        )

    def _state(self, phase: Phase) -> StreamState:
        if self.silent_for is not None:
            return StreamState.LOST
        return StreamState.STREAMING if phase is Phase.RUNNING else StreamState.STALLED

    def traces(self, since: int, limit: int) -> TraceBlock | None:
        end = min(len(self.times), int(self.now * self.sfreq + 1e-9))
        start = max(since, end - limit)
        if start >= end or self.phase is Phase.IDLE:
            return None
        return TraceBlock(
            data=self.eeg[:, start:end],
            timestamps=self.times[start:end],
            start=start,
            breaks=tuple(b for b in self.breaks if start <= b < end),
        )

    def trace_markers(self, since: int) -> Sequence[TraceMarker]:
        own = [
            TraceMarker(i, self.onset(i), label)
            for i, label in enumerate(self.shown)
            if since <= i and self.onset(i) <= T0 + self.now
        ]
        return own + [m for m in self.manual if m.index >= since]

    def results(self, since: int) -> Sequence[Result]:
        return self._done()[since:]

    def _done(self) -> list[Result]:
        if not self.decodes:
            return []
        return [r for r in self._results if r.t_onset + 0.97 <= T0 + self.now]

    def _accuracy(self, done: list[Result]) -> Accuracy | None:
        found = Identification(192)
        for result in done:
            if result.rank is not None:
                found.add(result.label, result.top[0][0], result.rank)
        return found.accuracy

    def _result(self, index: int) -> Result:
        rng = np.random.default_rng(100 + index)
        label = self.shown[index]
        common = {"index": index, "t_onset": self.onset(index), "label": label}
        if index % 9 == 4:
            reason = "Fp1 spans 312 µV, more than the 250 µV allowed."
            return Result(outcome=Outcome.ARTIFACT, reason=reason, **common)  # type: ignore[arg-type]
        rank = int(rng.choice([1, 1, 1, 2, 3, 5, 8, 21, 60]))
        weights = np.sort(rng.dirichlet(np.full(12, 0.6)))[::-1] * 0.55
        others = [name for name in self.labels if name != label]
        order = [str(name) for name in rng.permutation(others)][:11]
        if rank <= len(order):
            order.insert(rank - 1, label)
        start = round((self.onset(index) - 0.2 - T0) * self.sfreq)
        piece = self.eeg[:, start : start + round(self.sfreq)]
        t = np.arange(piece.shape[1]) / self.sfreq - 0.2
        evoked = 6 * np.exp(-(((t - 0.1) / 0.02) ** 2)) - 9 * np.exp(-(((t - 0.17) / 0.03) ** 2))
        evoked += 8 * np.exp(-(((t - 0.35) / 0.08) ** 2))
        back = np.linspace(0.1, 1, piece.shape[0])[:, None]
        epoch = piece - piece[:, : round(0.2 * self.sfreq)].mean(axis=1, keepdims=True)
        picture = self.pictures.get(order[0])
        pixels = rng.integers(60, 200, (64, 64, 3)).astype(np.uint8) if picture is None else picture
        return Result(
            outcome=Outcome.DECODED,
            top=tuple(zip(order, (float(w) for w in weights), strict=False)),
            chance=1 / 192,
            rank=rank,
            confidence=float(rng.uniform(0.4, 0.9)),
            pixels=pixels,
            image_path=f"images/{index:06d}.png",
            image_sha256="9f2b41c0" * 8,
            embedding_sha256="04dd31aa" * 8,
            stages=StageTimes(12.1, 0.4, 0.7, 1.2, 6.3, 148.0, 168.7),
            quality={"peak_to_peak_uv": 88.2},
            epoch_data=np.asarray(epoch * 0.5 + back * evoked, dtype=np.float32),
            **common,  # type: ignore[arg-type]
        )


@dataclass
class FakeFactory:
    """Makes fake sessions; keeps the newest in `session`."""

    streams: Sequence[StreamInfo] = ()
    error: str = ""
    question: ChoiceNeededError | None = None
    options: SourceOptions = NO_OPTIONS
    template: FakeSession = field(default_factory=FakeSession)
    session: FakeSession | None = None
    asked: list[tuple[str, object]] = field(default_factory=list)

    def keep_in(self, folder: Path) -> None:
        self.asked.append(("keep_in", folder))

    def discover(self) -> Sequence[StreamInfo]:
        if self.error:
            raise PhospheneError(self.error)
        return self.streams

    def demo(self, config: SessionConfig) -> FakeSession:
        self.asked.append(("demo", config.simulation.board))
        return self._make(config)

    def live(self, config: SessionConfig) -> FakeSession:
        self.asked.append(("live", config.source.source_id))
        return self._make(config)

    def replay(
        self, path: Path, config: SessionConfig, options: SourceOptions = NO_OPTIONS
    ) -> FakeSession:
        self.asked.append(("replay", path))
        self.options = options
        if self.question is not None and not (options.eeg or options.markers):
            raise self.question
        return self._make(config)

    def _make(self, config: SessionConfig) -> FakeSession:
        if self.error:
            raise PhospheneError(self.error)
        self.session = replace(self.template, config=config)
        return self.session
