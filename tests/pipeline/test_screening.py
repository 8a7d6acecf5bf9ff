"""One hopeless channel does not condemn every epoch, and any cut of the stream agrees on it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.models import EpochsConfig, SessionConfig
from pipeline.live import LivePath
from pipeline.values import (
    Outcome,
    Packet,
    SourceItem,
    StateChange,
    StreamRole,
    StreamState,
    Verdict,
)
from tests.pipeline.conftest import make_eeg, make_streams

FS = 250.0
CONFIG = SessionConfig(buffer=20.0)
ONSETS = tuple(np.arange(4.0, 38.0, 2.0).tolist())


def recording(n_channels: int = 4) -> np.ndarray:
    return make_eeg(10_000, n_channels, FS)


def play(
    samples: np.ndarray,
    *,
    cuts: Sequence[int] = range(0, 10_000, 25),
    config: SessionConfig = CONFIG,
) -> tuple[list[Verdict], LivePath]:
    stamps = 500.0 + np.arange(len(samples)) / FS
    edges = sorted({0, len(samples), *cuts})
    items: list[SourceItem] = [
        Packet(StreamRole.MARKERS, ("face",), np.array([500.0 + t]), 500.0 + t) for t in ONSETS
    ]
    items += [
        Packet(StreamRole.EEG, samples[a:b], stamps[a:b], float(stamps[b - 1]))
        for a, b in pairwise(edges)
    ]
    far = config.epochs.model_copy(update={"max_future": 1e3})
    path = LivePath(config.model_copy(update={"epochs": far}), make_streams(samples.shape[1], FS))
    verdicts = [verdict for item in items for verdict in path.feed(item)]
    return verdicts + path.finish(), path


def outcomes(verdicts: Sequence[Verdict]) -> list[Outcome]:
    return [verdict.outcome for verdict in sorted(verdicts, key=lambda v: v.marker.index)]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda column: np.full_like(column, np.nan), "holds values that are no numbers"),
        (lambda column: np.where(np.arange(len(column)) % 3, np.inf, column), "no numbers"),
        (lambda column: np.full_like(column, 1.7e9), "beyond 10 V, which no electrode gives"),
        (lambda column: 3000 * np.sin(np.arange(len(column)) / 5), "swings beyond 250 µV"),
    ],
)
def test_the_others_are_decoded_and_it_is_named(spoil: object, words: str) -> None:
    samples = recording()
    clean, _ = play(samples)
    samples[:, 2] = spoil(samples[:, 2])  # type: ignore[operator]
    verdicts, path = play(samples)
    seen = [v for v in verdicts if v.marker.t_onset > 513]
    assert outcomes(seen) == [Outcome.DECODED] * 12
    for verdict in seen:
        assert verdict.epoch is not None
        assert verdict.epoch.info.ch_names == ("E0", "E1", "E3")
        same = next(v.epoch for v in clean if v.marker.index == verdict.marker.index)
        assert same is not None
        np.testing.assert_array_equal(verdict.epoch.data, same.data[[0, 1, 3]])
    (news,) = path.take_news()
    assert news.startswith("Channel E2 is left out: it ")
    assert words in news
    assert path.take_news() == []
    (left_out,) = path.screening.summary()
    assert left_out.ch_name == "E2"
    assert left_out.share > 0.8


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 9_999), max_size=40), st.integers(0, 3))
def test_any_cut_leaves_out_the_same_at_the_same_sample(cuts: list[int], channel: int) -> None:
    samples = recording()
    samples[2_600:7_100, channel] = np.nan
    samples[5_000:, (channel + 1) % 4] *= 40
    expected, one = play(samples)
    found, other = play(samples, cuts=cuts)

    def bits(verdicts: list[Verdict]) -> list[tuple[object, ...]]:
        return [
            (v.marker, v.outcome, v.reason, v.epoch and (v.epoch.info, v.epoch.data.tobytes()))
            for v in sorted(verdicts, key=lambda v: v.marker.index)
        ]

    assert bits(found) == bits(expected)
    assert one.take_news() == other.take_news() != []


def test_a_channel_that_dies_is_left_out_and_comes_back_once_it_is_good_again() -> None:
    samples = recording()
    samples[2_500:6_250, 1] = np.nan  # from 10 to 25 s
    verdicts, path = play(samples)
    found = dict(zip(ONSETS, outcomes(verdicts), strict=True))
    names = {v.marker.t_onset - 500: v.epoch.info.ch_names for v in verdicts if v.epoch is not None}
    assert found[8.0] is found[18.0] is found[24.0] is found[36.0] is Outcome.DECODED
    assert found[12.0] is Outcome.ARTIFACT  # it may come back at once
    assert "E1" in names[8.0]
    assert "E1" not in names[18.0]
    assert "E1" in names[36.0]
    words = path.take_news()
    assert [word.split(":")[0] for word in words] == [
        "Channel E1 is left out",
        "Channel E1 is taken again",
    ]


def test_all_or_most_channels_bad_is_no_single_channels_fault() -> None:
    samples = recording()
    everything, path = play(np.full_like(samples, np.nan))
    assert Outcome.DECODED not in outcomes(everything)
    assert path.take_news() == []
    samples[:, :3] += (3000 * np.sin(np.arange(10_000) / 5))[:, None].astype(np.float32)
    moving, path = play(samples)
    assert outcomes(moving)[3:] == [Outcome.ARTIFACT] * (len(ONSETS) - 3)
    assert path.take_news() == []


def test_a_number_that_is_too_large_is_not_called_no_number() -> None:
    samples = recording()
    samples[5_000:5_010, 0] = 1.7e9
    verdicts, _ = play(samples)
    (artifact,) = [v for v in verdicts if v.outcome is Outcome.ARTIFACT]
    assert (
        artifact.reason
        == "10 of its samples held numbers beyond 10 V, which no electrode gives (E0)"
    )
    samples[5_000:5_010, 0] = np.nan
    verdicts, _ = play(samples)
    (artifact,) = [v for v in verdicts if v.outcome is Outcome.ARTIFACT]
    assert artifact.reason == "10 of its samples held values that were not finite (E0)"


def test_sessions_of_before_repeat_what_they_did() -> None:
    samples = recording()
    samples[:, 2] = np.nan
    config = CONFIG.model_copy(update={"epochs": EpochsConfig(leave_out=False)})
    verdicts, path = play(samples, config=config)
    assert Outcome.DECODED not in outcomes(verdicts)
    assert path.take_news() == []


@pytest.mark.parametrize(("factor", "words"), [(8.0, "its level is "), (1.5, "")])
def test_a_stream_that_returns_at_another_level_is_said(factor: float, words: str) -> None:
    samples = recording()
    samples[5_000:] *= factor
    stamps = 500.0 + np.arange(len(samples)) / FS
    stamps[5_000:] += 3.0
    path = LivePath(CONFIG, make_streams(4, FS))
    for low in range(0, 10_000, 50):
        if low == 5_000:
            path.feed(StateChange(StreamRole.EEG, StreamState.RETURNED, 523.0, "back"))
        part = slice(low, low + 50)
        path.feed(Packet(StreamRole.EEG, samples[part], stamps[part], float(stamps[part][-1])))
    news = " ".join(path.take_news())
    if words:
        ratio = float(news.partition(words)[2].split()[0])
        assert ratio == pytest.approx(factor, rel=0.1), news
    else:
        assert news == ""
