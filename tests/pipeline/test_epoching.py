"""The epoch engine: one outcome a marker, exact to the sample, in any order of arrival."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.models import EpochsConfig
from pipeline.epoching import EpochEngine
from pipeline.errors import ConfigurationError
from pipeline.values import Info, Outcome, Verdict

FS = 100.0
INFO = Info(("Cz", "Oz"), FS)
PLAIN = EpochsConfig(tmin=-0.1, tmax=0.4, baseline=None, reject_uv={})


def _engine(config: EpochsConfig = PLAIN, **options: object) -> EpochEngine:
    return EpochEngine(config, INFO, **{"capacity": 1000, **options})  # type: ignore[arg-type]


def _run(
    engine: EpochEngine,
    start: int,
    stop: int,
    *,
    first: bool = False,
    bad: tuple[int, ...] = (),
    shift: float = 0.0,
    step: int = 7,
) -> list[Verdict]:
    """Samples that count: channel 0 holds the sample's number."""
    out: list[Verdict] = []
    for low in range(start, stop, step):
        number = np.arange(low, min(low + step, stop))
        data = np.stack([number, -number]).astype(np.float32)
        flags = np.isin(number, bad)
        out += engine.feed_samples(
            data, number / FS + shift, flags, is_first=first and low == start
        )
    return out


def _outcomes(verdicts: list[Verdict]) -> list[Outcome]:
    return [verdict.outcome for verdict in verdicts]


@pytest.mark.parametrize("t_onset", [2.0, 2.0049, 2.0051, 1.996])
def test_the_onset_is_the_nearest_sample(t_onset: float) -> None:
    engine = _engine()
    out = _run(engine, 0, 150, first=True)
    out += engine.feed_marker(t_onset, "a")
    out += _run(engine, 150, 400)
    (verdict,) = out
    epoch = verdict.epoch
    assert epoch is not None
    onset = int(epoch.data[0, 10])
    assert onset == round(t_onset * FS)
    assert abs(epoch.onset_error) <= 0.5 / FS + 1e-9
    assert epoch.onset_error == pytest.approx(onset / FS - t_onset)
    np.testing.assert_array_equal(epoch.data[0], np.arange(onset - 10, onset + 41))
    assert (epoch.tmin, epoch.tmax) == (-0.1, pytest.approx(0.4))
    assert (epoch.event, epoch.index, epoch.t_onset) == ("a", 0, t_onset)


def test_it_falls_with_the_very_sample_that_completes_it() -> None:
    engine = _engine()
    _run(engine, 0, 150, first=True)
    engine.feed_marker(2.0, "a")
    assert _run(engine, 150, 240, step=1) == []
    assert _outcomes(_run(engine, 240, 241)) == [Outcome.DECODED]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_order_of_arrival_yields_the_same_epochs(data: st.DataObject) -> None:
    """Late, early, out of order, simultaneous: each marker exactly once."""
    onsets = data.draw(st.lists(st.floats(1.0, 6.0), min_size=1, max_size=12))
    onsets += onsets[:2]
    arrivals = data.draw(st.lists(st.integers(0, 800), min_size=len(onsets), max_size=len(onsets)))
    engine = _engine()
    verdicts: list[Verdict] = []
    at = 0
    for arrival, t_onset in sorted(zip(arrivals, onsets, strict=True), key=lambda pair: pair[0]):
        verdicts += _run(engine, at, arrival, first=at == 0 and arrival > 0)
        at = max(at, arrival)
        verdicts += engine.feed_marker(t_onset, repr(t_onset))
    verdicts += _run(engine, at, 800, first=at == 0)
    verdicts += engine.finish()
    assert set(_outcomes(verdicts)) == {Outcome.DECODED}
    assert sorted(v.marker.index for v in verdicts) == list(range(len(onsets)))
    for verdict in verdicts:
        epoch = verdict.epoch
        assert epoch is not None
        assert float(epoch.event) == epoch.t_onset
        assert abs(epoch.data[0, 10] / FS - epoch.t_onset) <= 0.5 / FS + 1e-9


def test_a_thousand_markers_a_second() -> None:
    engine = _engine()
    verdicts = _run(engine, 0, 100, first=True)
    for i in range(1000):
        verdicts += engine.feed_marker(1.5 + i / 1000, str(i))
    verdicts += _run(engine, 100, 400)
    assert [v.marker.label for v in verdicts] == [str(i) for i in range(1000)]
    assert set(_outcomes(verdicts)) == {Outcome.DECODED}


def test_each_refusal() -> None:
    engine = _engine(settling_time=1.0, event_id=("a",), capacity=600)
    assert engine.feed_marker(-3.0, "a") == []  # index 0: nothing is known yet
    assert engine.feed_marker(50.0, "a") == []  # 1
    out = _run(engine, 0, 300, first=True)
    assert _outcomes(out) == [Outcome.NO_DATA, Outcome.FUTURE]
    assert _outcomes(engine.feed_marker(0.05, "a")) == [Outcome.SETTLING]
    assert _outcomes(engine.feed_marker(1.05, "a")) == [Outcome.SETTLING]
    assert _outcomes(engine.feed_marker(1.11, "a")) == [Outcome.DECODED]
    assert _outcomes(engine.feed_marker(2.0, "b")) == [Outcome.IGNORED]
    assert _outcomes(engine.feed_marker(2.0, "", invalid="empty")) == [Outcome.INVALID]
    assert _outcomes(engine.feed_marker(float("nan"), "a")) == [Outcome.INVALID]
    assert _outcomes(engine.feed_marker(12.999, "a")) == [Outcome.FUTURE]
    assert _outcomes(engine.feed_marker(-0.5, "a")) == [Outcome.NO_DATA]
    assert engine.feed_marker(2.9, "a") == []  # its tail is cut off by the gap
    assert engine.feed_marker(3.5, "a") == []  # lies in the gap
    out = _run(engine, 400, 700, first=True)
    assert _outcomes(out) == [Outcome.GAP, Outcome.GAP]
    assert _outcomes(engine.feed_marker(3.2, "a")) == [Outcome.GAP]
    assert _outcomes(engine.feed_marker(2.8, "a")) == [Outcome.GAP]
    assert _outcomes(engine.feed_marker(4.05, "a")) == [Outcome.GAP]
    assert _outcomes(engine.feed_marker(4.5, "a")) == [Outcome.SETTLING]
    assert _run(engine, 700, 1000) == []
    assert _outcomes(engine.feed_marker(1.5, "a")) == [Outcome.LATE]
    assert _outcomes(engine.feed_marker(4.02, "a")) == [Outcome.GAP]
    assert engine.feed_marker(9.9, "a") == []
    assert engine.feed_marker(12.0, "a") == []
    assert _outcomes(engine.finish()) == [Outcome.NO_DATA, Outcome.NO_DATA]
    assert engine.n_pending == 0


def test_values_that_were_not_finite_refuse_only_their_own_epochs() -> None:
    engine = _engine()
    out = _run(engine, 0, 100, first=True, bad=(50,))
    for t_onset in (0.3, 0.61, 0.45):
        out += engine.feed_marker(t_onset, "a")
    out += _run(engine, 100, 200)
    found = {v.marker.t_onset: v.outcome for v in out}
    assert found == {0.3: Outcome.ARTIFACT, 0.45: Outcome.ARTIFACT, 0.61: Outcome.DECODED}


def test_overload_is_counted_and_does_not_hit_what_is_there() -> None:
    engine = _engine(EpochsConfig(tmin=-0.1, tmax=0.4, baseline=None, reject_uv={}, max_pending=2))
    _run(engine, 0, 300, first=True)
    out = [*engine.feed_marker(3.1, "a"), *engine.feed_marker(2.9, "b")]
    assert out == []
    assert _outcomes(engine.feed_marker(3.0, "c")) == [Outcome.OVERLOAD]
    assert _outcomes(engine.feed_marker(2.95, "d")) == [Outcome.OVERLOAD]
    assert _outcomes(engine.feed_marker(1.0, "e")) == [Outcome.DECODED]
    out = _run(engine, 300, 500)
    assert [v.marker.label for v in out] == ["b", "a"]


def test_rejection_of_several_leaves_the_right_ones() -> None:
    config = EpochsConfig(tmin=-0.1, tmax=0.4, baseline=None, reject_uv={"eeg": 49.5})
    engine = _engine(config)  # a ramp of one a sample swings 50 an epoch
    assert _outcomes([*_run(engine, 0, 100, first=True), *engine.feed_marker(0.5, "a")]) == [
        Outcome.ARTIFACT
    ]
    flat = EpochsConfig(tmin=-0.1, tmax=0.4, baseline=None, reject_uv={}, flat_uv={"eeg": 51.0})
    engine = _engine(flat)
    _run(engine, 0, 100, first=True)
    (verdict,) = engine.feed_marker(0.5, "a")
    assert verdict.outcome is Outcome.ARTIFACT
    assert "Cz swings 50 µV" in verdict.reason


def test_baseline_is_mne_s() -> None:
    import mne

    config = EpochsConfig(tmin=-0.2, tmax=0.5, baseline=(-0.15, -0.05), reject_uv={})
    engine = _engine(config)
    rng = np.random.default_rng(0)
    data = rng.normal(0, 20, (2, 500)).astype(np.float32)
    engine.feed_samples(data, np.arange(500) / FS, np.zeros(500, bool), is_first=True)
    (verdict,) = engine.feed_marker(2.0, "a")
    raw = mne.io.RawArray(
        data.astype(float) * 1e-6, mne.create_info(["Cz", "Oz"], FS, "eeg"), verbose="error"
    )
    theirs = mne.Epochs(
        raw,
        np.array([[200, 0, 1]]),
        tmin=-0.2,
        tmax=0.5,
        baseline=(-0.15, -0.05),
        preload=True,
        verbose="error",
    ).get_data(verbose="error")[0]
    assert verdict.epoch is not None
    np.testing.assert_allclose(verdict.epoch.data, theirs * 1e6, atol=1e-4)
    np.testing.assert_allclose(verdict.epoch.times[20], 0.0, atol=1e-12)


def test_free_running_windows_skip_settling_and_gaps() -> None:
    config = EpochsConfig(mode="free", tmin=-0.1, tmax=0.4, step=0.25, baseline=None, reject_uv={})
    engine = _engine(config, settling_time=0.5)
    out = _run(engine, 0, 300, first=True)
    out += _run(engine, 500, 700, first=True)
    starts = [int(v.epoch.data[0, 0]) for v in out if v.epoch is not None]
    assert starts == [50, 75, 100, 125, 150, 175, 200, 225, 550, 575, 600, 625]
    assert [v.marker.index for v in out] == list(range(12))
    assert {v.marker.label for v in out} == {""}
    assert _outcomes(engine.feed_marker(2.0, "a")) == [Outcome.IGNORED]


def test_a_packet_larger_than_the_ring_loses_no_epoch() -> None:
    engine = _engine(capacity=110)
    _run(engine, 0, 50, first=True)
    for t_onset in np.arange(1.0, 9.0, 0.2):
        engine.feed_marker(float(t_onset), "a")
    out = _run(engine, 50, 1000, step=950)
    assert len(out) == 40
    assert set(_outcomes(out)) == {Outcome.DECODED}


def test_a_backward_jump_of_the_clock() -> None:
    engine = _engine()
    _run(engine, 0, 300, first=True)
    engine.feed_marker(2.9, "cut")
    out = _run(engine, 300, 700, first=True, shift=-2.0)  # times 1.0 to 5.0 again
    assert _outcomes(out) == [Outcome.GAP]
    (verdict,) = engine.feed_marker(2.0, "newest run wins")
    assert verdict.epoch is not None
    assert verdict.epoch.data[0, 10] == 400


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_outcomes_add_up_under_random_faults(seed: int) -> None:
    rng = np.random.default_rng(seed)
    engine = _engine(settling_time=0.3, capacity=200)
    verdicts: list[Verdict] = []
    n_markers, shift, at, first = 0, 0.0, 0, True
    for _ in range(60):
        size = int(rng.integers(1, 60))
        if rng.random() < 0.1:
            first, shift = True, shift + float(rng.choice([0.5, -1.0, 30.0]))
        verdicts += _run(engine, at, at + size, first=first, shift=shift, bad=(at,) * (size == 9))
        first, at = False, at + size
        for _ in range(int(rng.integers(0, 4))):
            n_markers += 1
            verdicts += engine.feed_marker(at / FS + shift + rng.normal(0, 2), "a")
    verdicts += engine.finish()
    assert sorted(v.marker.index for v in verdicts) == list(range(n_markers))
    assert sum(Counter(_outcomes(verdicts)).values()) == n_markers
    assert all(v.epoch is not None for v in verdicts if v.outcome is Outcome.DECODED)
    assert [m.index for m in engine.take_arrived()] == list(range(n_markers))
    assert engine.take_arrived() == []
    assert all(v.reason or v.outcome is Outcome.DECODED for v in verdicts)


def test_a_buffer_too_small_is_one_sentence() -> None:
    with pytest.raises(ConfigurationError, match="at least 102"):
        _engine(capacity=50)
