"""Training, judging and loading picture adapters on virtual people."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.adapters import Adapter, AdapterError, AdapterStore, CalibrationData, OnlineAligned
from models.adapters.evaluation import Scored, choose, learning_curve
from models.adapters.fit import Progress, fit_adapter
from models.adapters.leaks import check_leaks
from models.adapters.methods import PICTURES, find_method
from models.adapters.methods.base import Fitting, Stopped, Watch
from models.adapters.network_base import NetworkBase
from models.adapters.scoring import (
    block_splits,
    permutation_test,
    time_and_stimulus_splits,
)
from models.embedded.encoder import load_encoder
from models.embedded.training_pool import pool_covariance
from models.evaluation.timing import order_test
from pipeline.values import Epoch, Float32, Float64
from research.adapters.people import record_board, uprights

FAST = ("aligned", "ridge", "pattern")


@pytest.fixture(scope="module")
def recorded() -> tuple[CalibrationData, CalibrationData]:
    both = record_board(2001, "daisy", minutes=4, test_minutes=3, snr=2.0)
    return both.calibration, both.test


@pytest.fixture(scope="module")
def calibration(recorded: tuple[CalibrationData, CalibrationData]) -> Adapter:
    return fit_adapter(recorded[0], methods=FAST, subject="s2001")


@pytest.fixture(scope="module")
def base() -> NetworkBase:
    return NetworkBase(load_encoder())


def _identified(encoder: object, data: CalibrationData) -> float:
    assert data.targets is not None
    vectors = np.stack([encoder.encode(data.epoch(k)).vector for k in range(len(data))])  # type: ignore[attr-defined]
    return float(((vectors @ data.targets.T).argmax(axis=1) == data.rows).mean())


# -- what it finds --------------------------------------------------------------------------------


def test_five_minutes_beat_the_encoder_on_pictures_never_calibrated_on(
    recorded: tuple[CalibrationData, CalibrationData], calibration: Adapter
) -> None:
    report, test = calibration.report, recorded[1]
    assert report.verdict == "found"
    assert report.p_value < 0.001
    assert report.method == "pattern"
    assert not set(test.labels) & set(recorded[0].labels)
    with_it, without = _identified(calibration, test), _identified(load_encoder(), test)
    assert with_it > without + 0.03
    assert report.with_adapter == pytest.approx(with_it, abs=0.12)
    assert "identified" in report.reason
    assert "Two more" in report.curve.sentence or "2 more minutes" in report.curve.sentence
    assert [point.minutes for point in report.curve.points] == sorted(
        point.minutes for point in report.curve.points
    )


def test_nothing_is_found_where_nothing_is() -> None:
    silent = record_board(2002, "cyton", minutes=2, test_minutes=1, snr=0.0).calibration
    report = fit_adapter(silent, methods=FAST).report
    assert report.verdict == "nothing found"
    assert report.p_value > 0.01
    assert "Nothing was found" in report.sentence


def test_fits_and_decodes_to_the_same_bits_again(
    recorded: tuple[CalibrationData, CalibrationData], calibration: Adapter
) -> None:
    few = recorded[0].first_minutes(2)
    first, second = (fit_adapter(few, methods=("pattern",), with_curve=False) for _ in "12")
    epoch = recorded[1].epoch(0)
    np.testing.assert_array_equal(first.encode(epoch).vector, second.encode(epoch).vector)
    assert first.report.model_copy(update={"seconds": 0.0}).p_value == second.report.p_value


def test_progress_is_told_and_stopping_is_asked(
    recorded: tuple[CalibrationData, CalibrationData],
) -> None:
    told: list[Progress] = []
    few = recorded[0].first_minutes(1)
    fit_adapter(few, methods=("aligned",), on_progress=told.append)
    assert told[-1].fraction == 1.0
    assert [each.fraction for each in told] == sorted(each.fraction for each in told)
    with pytest.raises(Stopped):
        fit_adapter(few, methods=("aligned",), should_stop=lambda: True)


def test_no_effect_gives_even_p_values_although_decoders_are_fitted() -> None:
    """The reason for the root of two: ridge regression from nothing, on noise."""
    p_values = []
    for seed in range(40):
        rng = np.random.default_rng([seed, 9])
        features, rows = rng.standard_normal((80, 10)), rng.integers(8, size=80)
        wanted = np.eye(8)[rows] - 1 / 8
        scores = np.zeros((80, 8))
        for fold in range(5):
            train, test = np.arange(80) % 5 != fold, np.arange(80) % 5 == fold
            weights = np.linalg.lstsq(features[train], wanted[train], rcond=None)[0]
            scores[test] = features[test] @ weights
        p_values.append(
            permutation_test([scores], rows, is_fitted=[True], seed=0, n_permutations=99).p_value
        )
    assert np.mean(np.array(p_values) <= 0.05) <= 0.1


def test_what_cannot_be_trained_is_refused(
    recorded: tuple[CalibrationData, CalibrationData],
) -> None:
    with pytest.raises(AdapterError, match="neither a method nor a pretrained encoder 'magic'"):
        fit_adapter(recorded[0], methods=("magic",))
    with pytest.raises(AdapterError, match="at least 8"):
        fit_adapter(recorded[0].take(np.arange(5)))
    narrow = replace(recorded[0], targets=np.zeros((227, 8), np.float32))
    with pytest.raises(AdapterError, match="8 features"):
        fit_adapter(narrow)


# -- each adapter ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(PICTURES))
def test_an_adapter_comes_back_from_its_arrays_to_the_bit(
    name: str,
    recorded: tuple[CalibrationData, CalibrationData],
    base: NetworkBase,
    calibration: Adapter,
) -> None:
    data = recorded[0].take(np.arange(24))
    batch, rows = base.prepare(data), data.rows
    targets = _targets(data)
    watch = Watch()
    part = find_method(name).fit(Fitting(batch, targets, rows, base, 0, watch))
    arrays = {key: np.array(value) for key, value in part.arrays().items()}
    again = find_method(name).from_arrays(arrays, calibration.manifest)
    np.testing.assert_array_equal(
        again.evidence(batch.take([0, 3]), base), part.evidence(batch.take([0, 3]), base)
    )
    np.testing.assert_array_equal(again.bias(base.memory), part.bias(base.memory))
    if name in ("low-rank", "lora"):
        training = [loss for loss, _ in watch.losses]
        assert training[-1] < training[0]


@pytest.mark.parametrize("name", ["low-rank", "lora"])
def test_layers_stop_early_and_never_change_the_encoder(
    name: str, recorded: tuple[CalibrationData, CalibrationData], base: NetworkBase
) -> None:
    """Labels dealt out at random: held-out stimuli only get worse, and nothing is changed."""
    data = recorded[0].take(np.arange(30))
    batch = base.prepare(data)
    before = copy.deepcopy(base.network.state_dict())
    wrong = _targets(data)[np.random.default_rng(0).permutation(30)]
    watch = Watch()
    part = find_method(name).fit(Fitting(batch, wrong, np.arange(30), base, 0, watch))
    assert len(watch.losses) < 30
    assert all(bool((before[k] == v).all()) for k, v in base.network.state_dict().items())
    if part.changes_nothing:
        np.testing.assert_allclose(part.evidence(batch, base), base.evidence(batch), atol=1e-5)


def test_alignment_undoes_a_mixing_of_channels(
    recorded: tuple[CalibrationData, CalibrationData], base: NetworkBase
) -> None:
    data = recorded[0]
    gains = np.exp(0.9 * np.random.default_rng(2).standard_normal(16))[:, None]
    mixed = replace(data, epochs=(data.epochs * gains).astype(np.float32))
    batch, broken = base.prepare(data), base.prepare(mixed)
    part = find_method("aligned").fit(Fitting(broken, _targets(data), data.rows, base, 0, Watch()))
    candidates = np.asarray(data.targets, dtype=np.float64)

    def hits(evidence: Float64) -> float:
        return float(((base.recall(evidence) @ candidates.T).argmax(axis=1) == data.rows).mean())

    whole, raw = hits(base.evidence(batch)), hits(base.evidence(broken))
    assert raw < 0.8 * whole
    assert hits(part.evidence(broken, base)) > (raw + whole) / 2


def _targets(data: CalibrationData) -> Float64:
    assert data.targets is not None
    return data.targets.astype(np.float64)[data.rows]


# -- splits, chance, choice -----------------------------------------------------------------------


@pytest.mark.parametrize("n_stimuli", [8, 40, 400])
def test_no_minute_and_no_stimulus_is_on_both_sides(n_stimuli: int) -> None:
    rng = np.random.default_rng(n_stimuli)
    onsets = np.arange(230) * 1.3
    groups = rng.integers(n_stimuli, size=230)
    splits = time_and_stimulus_splits(onsets, groups)
    tested = np.concatenate([test for _, test in splits.folds])
    assert sorted(tested) == list(range(230))
    for train, test in splits.folds:
        assert not set(groups[train]) & set(groups[test])
        assert not set(onsets[train] // 60) & set(onsets[test] // 60)
    assert "whole minutes" in splits.sentence
    for train, test in block_splits(onsets).folds:
        assert not set(onsets[train] // 60) & set(onsets[test] // 60)


def test_a_short_recording_is_split_into_parts_and_says_so() -> None:
    splits = time_and_stimulus_splits(np.arange(40) * 1.3, np.arange(40))
    assert splits.n_blocks == 3
    assert "17 s" in splits.sentence


def test_chance_is_chance_and_the_choice_is_part_of_the_test() -> None:
    rng = np.random.default_rng(5)
    rows = rng.integers(20, size=150)
    p_values = []
    for seed in range(40):
        noise = [np.random.default_rng([seed, k]).standard_normal((150, 20)) for k in range(4)]
        p_values.append(
            permutation_test(noise, rows, is_fitted=[False] * 4, seed=0, n_permutations=99).p_value
        )
    # Without the largest-of-four correction about a fifth would fall below 0.05.
    assert np.mean(np.array(p_values) <= 0.05) < 0.15
    assert 0.25 < np.mean(p_values) < 0.75
    found = rng.standard_normal((150, 20))
    found[np.arange(150), rows] += 0.6
    test = permutation_test([found], rows, is_fitted=[True], seed=0, n_permutations=199)
    assert test.p_value == pytest.approx(1 / 200)
    assert test.chance[0] == pytest.approx(0.05, abs=0.02)


def _scored(name: str, cost: int, strength: float, *, seed: int = 0) -> Scored:
    rng = np.random.default_rng(11)
    rows = rng.integers(20, size=400)
    shared = rng.standard_normal((400, 20))
    shared[np.arange(400), rows] += strength
    own = shared + 0.1 * np.random.default_rng([seed, 3]).standard_normal((400, 20))
    return Scored(name, name, cost, own, own, rows, np.ones(400, bool), 0.0)


def test_a_method_must_earn_its_place() -> None:
    base = _scored("zero-shot", 0, 1.0)
    better, worse = _scored("rich", 3, 1.6, seed=1), _scored("poor", 2, 0.6, seed=2)
    same = _scored("same", 1, 1.0, seed=3)
    assert choose([base, same, worse]) is base
    assert choose([base, same, worse, better]) is better


def test_the_curve_extrapolates_with_the_logarithm() -> None:
    best = _scored("rich", 3, 1.6)
    curve = learning_curve(lambda minutes: _scored("rich", 3, 0.8 + 0.3 * minutes), 5.0, best)
    assert [point.minutes for point in curve.points] == [1.0, 2.0, 4.0]
    assert curve.expected_gain > 0
    assert f"{100 * curve.expected_gain:+.1f} points" in curve.sentence


# -- leaks ----------------------------------------------------------------------------------------


def _in_blocks(data: CalibrationData, n_labels: int) -> CalibrationData:
    """The same brain, but each label's epochs in one stretch, with impedances that drift."""
    n = len(data)
    block = (np.arange(n) * n_labels / n).astype(int)
    rng = np.random.default_rng(4)
    gains = np.exp(0.4 * rng.standard_normal((n_labels, data.n_channels)))[block]
    return replace(
        data,
        epochs=(data.epochs * gains[:, :, None]).astype(np.float32),
        labels=tuple(uprights().labels[k] for k in block),
    )


def test_a_block_design_is_found_out_and_a_mixed_one_is_not(
    recorded: tuple[CalibrationData, CalibrationData],
) -> None:
    clean = check_leaks(recorded[0])
    assert not clean.is_leak
    assert clean.p_pre_stimulus > 0.002
    planted = check_leaks(_in_blocks(recorded[0], 10))
    assert planted.is_leak
    assert planted.p_pre_stimulus < 0.002
    assert "mixed order" in planted.sentence


def test_the_drift_alone_gives_a_mixed_order_away() -> None:
    """The decoder before onset works without help of the order: labels tied to an offset."""
    rng = np.random.default_rng(1)
    labels = tuple(rng.permutation(["left", "right"] * 60))
    epochs = rng.standard_normal((120, 4, 250)).astype(np.float32)
    cue = np.array([label == "left" for label in labels])
    epochs[cue, 0, :50] += np.linspace(-1, 1, 50, dtype=np.float32)
    data = CalibrationData(epochs, labels, np.arange(120.0), ("O1", "O2", "P7", "P8"), 250.0, -0.2)
    found = check_leaks(data)
    assert found.p_pre_stimulus < 0.002
    assert found.p_order > 0.01


def test_order_alone_is_judged_where_there_is_no_baseline(
    recorded: tuple[CalibrationData, CalibrationData],
) -> None:
    data = replace(recorded[0], tmin=0.0)
    assert not check_leaks(data).is_leak
    shown = np.repeat(np.eye(5), 20, axis=0)
    assert order_test(shown, seed=0) < 0.002
    assert order_test(shown[np.random.default_rng(0).permutation(100)], seed=0) > 0.002


def test_a_leak_overrules_what_was_found(
    recorded: tuple[CalibrationData, CalibrationData],
) -> None:
    data = recorded[0]
    order = np.argsort(data.rows, kind="stable")
    sorted_labels = tuple(data.labels[k] for k in order)
    leaky = replace(data, labels=sorted_labels, epochs=np.array(data.epochs)[order])
    report = fit_adapter(leaky, methods=("aligned",), with_curve=False).report
    assert report.verdict == "leak"
    assert report.sentence.startswith("Not to be trusted")


# -- plain classes --------------------------------------------------------------------------------


def _classes(amplitude: float, *, in_blocks: bool = False) -> CalibrationData:
    rng = np.random.default_rng(3)
    n = 120
    labels = [("face", "house", "left")[k % 3] for k in range(n)]
    if in_blocks:
        labels.sort()
    else:
        labels = list(rng.permutation(labels))
    times = -0.2 + np.arange(257) / 256
    noise = np.cumsum(rng.standard_normal((n, 6, 321)), axis=2)
    noise = noise[:, :, 64:] - 0.9 * noise[:, :, :-64]
    bumps = {
        c: np.exp(-0.5 * ((times - t) / 0.03) ** 2)
        for c, t in (("face", 0.17), ("house", 0.2), ("left", 0.12))
    }
    patterns = {c: rng.standard_normal((6, 1)) for c in bumps}
    for k, label in enumerate(labels):
        noise[k] += amplitude * patterns[label] * bumps[label]
    return CalibrationData(
        noise.astype(np.float32),
        tuple(labels),
        np.arange(n) * 2.0,
        ("PO7", "PO8", "O1", "O2", "P7", "P8"),
        256.0,
        times[0],
    )


def test_plain_classes_go_through_the_same_judgement(tmp_path: Path) -> None:
    data = _classes(8.0)
    calibration = fit_adapter(data)
    report = calibration.report
    assert report.verdict == "found"
    assert report.is_classes
    assert report.with_adapter > 0.6
    assert report.without_adapter == pytest.approx(1 / 3, abs=0.08)
    assert "no stimulus" not in report.split
    store = AdapterStore(tmp_path)
    record = store.save(calibration, subject="p1")
    encoder = store.load(record.adapter_id)
    epoch = data.epoch(0)
    np.testing.assert_array_equal(encoder.encode(epoch).vector, calibration.encode(epoch).vector)
    assert store.list()[0].accuracy == report.with_adapter


def test_plain_classes_without_any_difference_are_not_found() -> None:
    assert fit_adapter(_classes(0.0), with_curve=False).report.verdict == "nothing found"


def test_plain_classes_in_blocks_are_a_leak() -> None:
    report = fit_adapter(_classes(8.0, in_blocks=True), with_curve=False).report
    assert report.verdict == "leak"
    assert report.leak.p_order < 0.002


# -- decoding live --------------------------------------------------------------------------------


def test_the_live_path_scores_what_training_scored(
    recorded: tuple[CalibrationData, CalibrationData], base: NetworkBase
) -> None:
    data = recorded[0]
    together = base.prepare(data)
    for row in (0, 7):
        alone = base.prepare_epoch(data.epoch(row), together.ch_names)
        np.testing.assert_array_equal(alone.channels[0], together.channels[row])
    np.testing.assert_allclose(
        base.recall(base.evidence(together.take([0])))[0],
        load_encoder().encode(data.epoch(0)).vector,
        atol=1e-4,
    )


def test_a_lost_channel_is_interpolated_and_too_many_are_refused(
    recorded: tuple[CalibrationData, CalibrationData], calibration: Adapter
) -> None:
    epoch = recorded[1].epoch(0)
    whole = calibration.encode(epoch).vector
    info = replace(epoch.info, ch_names=("X1", *epoch.info.ch_names[1:]))
    assert np.corrcoef(calibration.encode(replace(epoch, info=info)).vector, whole)[0, 1] > 0.9
    flat = np.array(epoch.data)
    flat[5] = 0.0
    patched = calibration.encode(replace(epoch, data=flat)).vector
    assert np.corrcoef(patched, whole)[0, 1] > 0.75
    few = replace(
        epoch.info,
        ch_names=tuple(f"X{k}" if k < 6 else n for k, n in enumerate(epoch.info.ch_names)),
    )
    with pytest.raises(AdapterError, match="too many to interpolate"):
        calibration.encode(replace(epoch, info=few))
    with pytest.raises(AdapterError, match="too many to interpolate"):
        calibration.check_montage(few.ch_names)
    with pytest.raises(AdapterError, match="NaN"):
        calibration.encode(replace(epoch, data=np.full_like(epoch.data, np.nan)))


def _decoded(aligned: OnlineAligned, epoch: Epoch) -> Float32:
    """Decode an epoch as a session does: observed once, then encoded."""
    aligned.observe(epoch)
    return aligned.encode(epoch).vector


def test_online_alignment_follows_a_session_freezes_and_resets(
    recorded: tuple[CalibrationData, CalibrationData], calibration: Adapter
) -> None:
    data = recorded[1].take(np.arange(90))
    gains = np.exp(0.9 * np.random.default_rng(2).standard_normal(16))[:, None]
    moved = replace(data, epochs=(data.epochs * gains).astype(np.float32))
    reference = calibration.covariance
    names = calibration.manifest.ch_names

    def session() -> OnlineAligned:
        return OnlineAligned(calibration, ch_names=names, reference=reference)

    frozen, follows = session(), session()
    follows.resume()
    assert frozen.is_frozen
    still = [_decoded(frozen, moved.epoch(k)) for k in range(len(moved))]
    plain = [calibration.encode(moved.epoch(k)).vector for k in range(len(moved))]
    np.testing.assert_array_equal(still, plain)
    assert frozen.drift > 0.3
    vectors = np.stack([_decoded(follows, moved.epoch(k)) for k in range(len(moved))])
    late = slice(45, None)
    assert data.targets is not None
    hits = (vectors @ data.targets.T).argmax(axis=1) == data.rows
    lost = (np.stack(plain) @ data.targets.T).argmax(axis=1) == data.rows
    assert hits[late].mean() > lost[late].mean() + 0.1

    again = session()
    again.resume()
    repeated = [_decoded(again, moved.epoch(k)) for k in range(30)]
    np.testing.assert_array_equal(repeated, vectors[:30])  # a replay repeats it
    again.encode(moved.epoch(31))  # a noise control leaves no trace
    np.testing.assert_array_equal(_decoded(again, moved.epoch(30)), vectors[30])
    again.freeze()
    one = again.encode(moved.epoch(0)).vector
    np.testing.assert_array_equal(again.encode(moved.epoch(0)).vector, one)
    again.reset()
    assert again.drift == 0.0
    np.testing.assert_array_equal(again.encode(moved.epoch(0)).vector, plain[0])


def test_alignment_without_labels_runs_from_the_first_minute() -> None:
    data = record_board(2001, "daisy", minutes=1, test_minutes=1).calibration
    encoder, inner = load_encoder(), load_encoder()
    aligned = OnlineAligned(encoder, reference=pool_covariance)
    for k in range(3):
        np.testing.assert_array_equal(
            _decoded(aligned, data.epoch(k)), inner.encode(data.epoch(k)).vector
        )
    aligned.resume()
    changed = _decoded(aligned, data.epoch(3))
    assert not np.array_equal(changed, inner.encode(data.epoch(3)).vector)
    assert 0 < aligned.drift < 2
