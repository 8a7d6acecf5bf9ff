"""The verdicts on electrodes: each fault is named within a second, at any cut of the stream."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.models import EpochsConfig, FilterConfig, SessionConfig
from pipeline.live import LivePath
from pipeline.ring import Ring
from pipeline.signal_quality import (
    ChannelQuality,
    Grade,
    QualityShare,
    SignalQuality,
    mostly_bad,
)
from pipeline.values import Info, Packet, StateChange, StreamRole, StreamState
from tests.pipeline.conftest import make_streams

FS = 250.0
INFO = Info(("Fz", "Cz", "Pz"), FS)


def _eeg(n_times: int, seed: int = 0) -> np.ndarray:
    """Quiet EEG with an electrode's offset, (3, n_times) float32 microvolts."""
    rng = np.random.default_rng(seed)
    times = np.arange(n_times) / FS
    data = rng.normal(0, 5, (3, n_times)) + 15 * np.sin(2 * np.pi * 10 * times)
    return (data + 4 * np.sin(2 * np.pi * 50 * times) + 3000).astype(np.float32)


def _judge(data: np.ndarray) -> tuple[ChannelQuality, ...]:
    ring = Ring(data.shape[0], 5000)
    quality = SignalQuality(INFO, ring)
    ring.append(data.astype(np.float32), np.arange(data.shape[1]) / FS)
    quality.update()
    return quality.newest


def test_quiet_eeg_is_good_and_nothing_is_said_before_a_whole_second() -> None:
    assert _judge(_eeg(249)) == ()
    found = _judge(_eeg(250))
    assert [each.ch_name for each in found] == ["Fz", "Cz", "Pz"]
    assert {(each.grade, each.reason) for each in found} == {(Grade.GOOD, "")}
    assert found[0].line_uv == pytest.approx(4 / np.sqrt(2), rel=0.3)


def _clipped(data: np.ndarray) -> np.ndarray:
    return np.clip(data + 300 * np.sin(2 * np.pi * 3 * np.arange(len(data)) / FS), 2900, 3150)


TIMES = np.arange(500) / FS


@pytest.mark.parametrize(
    ("fault", "grade", "word"),
    [
        (lambda x: np.full_like(x, 12.0), Grade.BAD, "flat"),
        (lambda x: np.full_like(x, -187_500.0), Grade.BAD, "railed: stands at -188 mV"),
        (_clipped, Grade.BAD, "railed"),
        (lambda x: x + 150 * np.sin(2 * np.pi * 50 * TIMES), Grade.BAD, "line noise"),
        (lambda x: x + 40 * np.sin(2 * np.pi * 60 * TIMES), Grade.DOUBTFUL, "line noise"),
        (lambda x: x + np.random.default_rng(1).normal(0, 100, 500), Grade.BAD, "muscle"),
        (lambda x: x + np.random.default_rng(1).normal(0, 30, 500), Grade.DOUBTFUL, "muscle"),
        (lambda x: x + 400 * (TIMES > 1.5), Grade.DOUBTFUL, "pops: 1"),
        (lambda x: x + 400 * (TIMES > 1.2) + 400 * (TIMES > 1.4) - 500 * (TIMES > 1.6), Grade.BAD,
         "pops: 3"),
        (lambda x: x + 800 * np.sin(2 * np.pi * 0.9 * TIMES), Grade.DOUBTFUL, "movement"),
    ],
)  # fmt: skip
def test_each_fault_is_named_in_its_channel_only(fault: object, grade: Grade, word: str) -> None:
    data = _eeg(500)
    data[1] = fault(data[1])  # type: ignore[operator]
    found = _judge(data)
    assert (found[1].grade, found[1].reason[: len(word)]) == (grade, word)
    assert [found[0].grade, found[2].grade] == [Grade.GOOD, Grade.GOOD]


def test_a_pop_on_the_border_of_two_seconds_is_seen() -> None:
    data = _eeg(500)
    data[0, 250:] += 300
    assert _judge(data)[0].n_pops == 1


def test_seconds_that_the_rate_cannot_hold_are_not_asked_for() -> None:
    """At 100 Hz there is no muscle band, and 50 Hz cannot be told apart."""
    ring = Ring(1, 1000)
    quality = SignalQuality(Info(("Cz",), 100.0), ring, line_freqs=(50.0,))
    ring.append(
        np.random.default_rng(0).normal(0, 9, (1, 300)).astype(np.float32), np.arange(300.0)
    )
    quality.update()
    assert quality.n_seconds == 3
    assert (quality.newest[0].muscle_uv, quality.newest[0].line_ratio) == (0.0, 0.0)


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 2999), max_size=40))
def test_any_cut_gives_the_same_verdicts(cuts: list[int]) -> None:
    data = _eeg(3000)
    data[1, 700:1500] = 5.0
    seen = []
    for borders in ([0, 3000], sorted({0, 3000, *cuts})):
        ring, newest = Ring(3, 4000), []
        quality = SignalQuality(INFO, ring)
        for low, high in pairwise(borders):
            ring.append(data[:, low:high], np.arange(low, high) / FS)
            quality.update()
            newest.append(quality.newest)
        windows = [(a, a + 250, quality.n_bad_channels(a, a + 250)) for a in range(0, 2750, 50)]
        seen.append((quality.shares(), newest[-1], windows, quality.n_seconds))
    assert seen[0] == seen[1]
    assert seen[0][3] == 12


def test_epochs_carry_how_many_channels_were_bad_however_the_samples_came() -> None:
    streams = make_streams(3, FS)
    config = SessionConfig(
        buffer=20.0,
        epochs=EpochsConfig(reject_uv={}),
        filter=FilterConfig(l_freq=None, h_freq=None, notch_freqs=()),
    )
    samples = _eeg(5000).T.copy()
    samples[2000:4000, 0] = 3000.0
    samples[3000:4000, 2] = 3000.0
    onsets = np.arange(2.0, 18.0, 0.77)
    markers = [Packet(StreamRole.MARKERS, ("face",), np.array([t]), t) for t in onsets]
    found = []
    for chunk in (1, 50, 5000):
        path, verdicts, waiting = LivePath(config, streams), [], list(markers)
        for low in range(0, 5000, chunk):
            stamps = np.arange(low, low + chunk) / FS
            while waiting and chunk < 5000 and waiting[0].received_at < stamps[-1]:
                verdicts += path.feed(waiting.pop(0))
            verdicts += path.feed(
                Packet(StreamRole.EEG, samples[low : low + chunk], stamps, float(stamps[-1]))
            )
        for marker in waiting:  # late, but its samples are still there
            verdicts += path.feed(marker)
        epochs = [v.epoch for v in verdicts if v.epoch is not None]
        found.append({epoch.t_onset: epoch.quality["n_bad_channels"] for epoch in epochs})
    assert found[0] == found[1] == found[2]
    by_time = found[0]
    assert by_time[min(by_time)] == 0
    assert max(by_time.values()) == 2
    assert {n for t, n in by_time.items() if 10 < t < 11} == {1}


def test_a_gap_starts_the_second_anew() -> None:
    path = LivePath(SessionConfig(buffer=20.0), make_streams(3, FS))
    samples = _eeg(1000).T
    path.feed(Packet(StreamRole.EEG, samples[:400], np.arange(400) / FS, 0.0))
    assert path.signal_quality.n_seconds == 1
    path.feed(StateChange(StreamRole.EEG, StreamState.RETURNED, 9.0, "back"))
    path.feed(Packet(StreamRole.EEG, samples[400:640], 9 + np.arange(240) / FS, 0.0))
    assert path.signal_quality.n_seconds == 1
    path.feed(Packet(StreamRole.EEG, samples[640:700], 9.96 + np.arange(60) / FS, 0.0))
    assert path.signal_quality.n_seconds == 2


def test_channels_that_were_mostly_bad_are_named_with_the_reason() -> None:
    ring = Ring(3, 5000)
    quality = SignalQuality(INFO, ring)
    assert quality.shares() == ()
    data = _eeg(2500)
    data[2, 500:] = 7.0
    ring.append(data, np.arange(2500) / FS)
    quality.update()
    shares = quality.shares()
    assert shares[2] == QualityShare("Pz", 0.8, 0.0, "flat")
    sentence = mostly_bad(shares)
    assert sentence == "1 of 3 channels were bad for most of the session: Pz 80% (flat)."
    assert mostly_bad(shares[:2]) == ""
