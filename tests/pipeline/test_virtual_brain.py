"""The virtual brain: seeded, indifferent to cuts, and shaped like EEG."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from pipeline.errors import ConfigurationError, InfoError, ShapeError
from pipeline.values import Float32, Float64
from pipeline.virtual_brain.brain import VirtualBrain
from pipeline.virtual_brain.evoked import CODE_NAM, EvokedModel, code_matrix
from pipeline.virtual_brain.head import reference_labels, reference_matrix, table_leadfield
from pipeline.virtual_brain.subject import N_FEATURES, draw_subject

CHANNELS = ("Fp1", "Fp2", "Fz", "Cz", "Pz", "P7", "P8", "PO3", "PO4", "O1", "O2")


def brain(
    *, sfreq: float = 250.0, snr: float = 1.0, seed: int = 0, number: int = 1001
) -> VirtualBrain:
    return VirtualBrain(
        ch_names=CHANNELS,
        sfreq=sfreq,
        subject=draw_subject(number),
        leadfield=table_leadfield(CHANNELS),
        snr=snr,
        seed=seed,
    )


def pictures(n: int, *, seed: int = 5) -> Float32:
    vectors = np.random.default_rng(seed).standard_normal((n, N_FEATURES))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 170), max_size=12))
def test_how_the_stream_is_cut_changes_no_bit(cuts: list[int]) -> None:
    whole, pieces = brain(), brain()
    for each in (whole, pieces):
        each.stimulate(0.5013, pictures(2)[0])
        each.stimulate(0.9, pictures(2)[1])
    parts = [pieces.read(n) for n in cuts]
    parts.append(pieces.read(max(0, 500 - sum(cuts))))
    together = np.concatenate(parts, axis=1)
    assert together.tobytes() == whole.read(together.shape[1]).tobytes()


def test_a_stimulus_told_during_the_stream_equals_one_told_before() -> None:
    before, during = brain(), brain()
    before.stimulate(1.0, pictures(1)[0])
    first = during.read(255)  # 1.02 s: the response starts at 1.04 s
    assert during.stimulate(1.0, pictures(1)[0])
    together = np.concatenate([first, during.read(245)], axis=1)
    assert np.array_equal(together, before.read(500))
    assert not during.stimulate(1.0, None), "a second late is too late"


def test_seeds_people_and_their_independence() -> None:
    assert np.array_equal(brain(seed=3).read(300), brain(seed=3).read(300))
    assert not np.allclose(brain(seed=3).read(300), brain(seed=4).read(300))
    assert not np.allclose(brain(number=1001).read(300), brain(number=1002).read(300))
    draw_subject.cache_clear()
    once = draw_subject(7)
    draw_subject.cache_clear()
    again = draw_subject(7)
    assert once is not again
    assert np.array_equal(once.source_rotation, again.source_rotation)
    assert once.alpha_hz == again.alpha_hz
    for rotation in (once.source_rotation, once.embedding_rotation):
        assert np.allclose(rotation @ rotation.T, np.eye(len(rotation)), atol=1e-9)


def _identified(snr: float) -> tuple[int, int]:
    """Train a classifier of two pictures on one half of a session, count hits on the other."""
    n, soa, sfreq = 400, 1.1, 125.0
    two = pictures(2)
    labels = np.random.default_rng(1).integers(2, size=n)
    source = brain(snr=snr, sfreq=sfreq, seed=2)
    onsets = 3 + soa * np.arange(n)
    for onset, label in zip(onsets, labels, strict=True):
        source.stimulate(float(onset), two[label])
    sos = signal.butter(2, (1.0, 30.0), "bandpass", fs=sfreq, output="sos")
    data = signal.sosfilt(sos, source.read(int((onsets[-1] + 1) * sfreq)), axis=1)
    starts = np.round(onsets * sfreq).astype(int)
    epochs = np.stack([data[:, s + 8 : s + 80] for s in starts])
    features = epochs.reshape(n, len(CHANNELS), 12, 6).mean(axis=3).reshape(n, -1)
    features -= features[: n // 2].mean(axis=0)
    sign = 2.0 * labels - 1
    train, test = features[: n // 2], features[n // 2 :]
    gram = train.T @ train
    ridge = 0.3 * np.trace(gram) / len(gram) * np.eye(len(gram))
    weights = np.linalg.solve(gram + ridge, train.T @ sign[: n // 2])
    return int(((test @ weights > 0) == (labels[n // 2 :] == 1)).sum()), n // 2


def test_snr_0_carries_no_identity_and_snr_1_does() -> None:
    hits, n = _identified(1.0)
    assert hits > n / 2 + 4 * np.sqrt(n / 4)
    hits, n = _identified(0.0)
    assert abs(hits - n / 2) < 3 * np.sqrt(n / 4), "three standard deviations around chance"


def test_snr_0_responses_are_the_same_to_the_bit_whatever_the_picture() -> None:
    blind = [brain(snr=0.0) for _ in range(3)]
    for each, picture in zip(blind, (*pictures(2), None), strict=True):
        each.stimulate(0.3, picture)
    first, second, third = (each.read(400) for each in blind)
    assert np.array_equal(first, second)
    assert np.array_equal(first, third)


def _typical_response(embedding: Float32 | None, number: int = 1001) -> tuple[Float64, Float64]:
    model = EvokedModel(
        ch_names=CHANNELS, subject=draw_subject(number), leadfield=table_leadfield(CHANNELS)
    )
    times = np.arange(0, 1, 0.002)
    return times, model.response(times, embedding)


@pytest.mark.parametrize("number", [1001, 1002, 1003])
def test_waves_come_when_and_where_they_should(number: int) -> None:
    times, response = _typical_response(None, number)
    late = draw_subject(number).latency_shift

    def peak(name: str, low: float, high: float, sign: int) -> tuple[float, float]:
        inside = (times >= low + late) & (times <= high + late)
        course = sign * response[CHANNELS.index(name)][inside]
        at = int(course.argmax())
        assert 0 < at < len(course) - 1, "a peak, not an edge"
        return float(times[inside][at]) - late, float(course[at])

    p1_at, p1 = peak("O1", 0.07, 0.13, 1)
    n1_at, n1 = peak("P8", 0.13, 0.21, -1)
    p3_at, p3 = peak("Pz", 0.28, 0.5, 1)
    assert 0.09 < p1_at < 0.115
    assert 0.155 < n1_at < 0.185
    assert 0.33 < p3_at < 0.43
    for size in (p1, n1, p3):
        assert 2 < size < 16, "a few microvolts"
    assert np.abs(response[:, times < 0.04]).max() == 0, "nothing before cortex can know"


def test_pictures_differ_by_a_few_microvolts_over_the_back_of_the_head() -> None:
    _, common = _typical_response(None)
    patterns = np.stack([_typical_response(each)[1] - common for each in pictures(40)])
    peaks = np.abs(patterns).max(axis=(1, 2))
    assert 2 < np.median(peaks) < 7
    spread = patterns.std(axis=0).max(axis=1)
    back = spread[[CHANNELS.index(x) for x in ("O1", "O2", "P7", "P8", "PO3", "PO4")]]
    front = spread[[CHANNELS.index(x) for x in ("Fp1", "Fp2", "Fz")]]
    assert back.mean() > 1.1 * front.mean()
    assert np.isclose(np.sqrt((code_matrix() ** 2).sum(axis=2).mean()), 1)
    assert CODE_NAM > 0


def test_spectrum_looks_like_eeg() -> None:
    data = brain(seed=6).read(250 * 90)
    freqs, power = signal.welch(data, 250.0, nperseg=1000)
    occipital = power[CHANNELS.index("O1")]

    def level(low: float, high: float, density: Float64 = occipital) -> float:
        return float(density[(freqs >= low) & (freqs <= high)].mean())

    slope = np.log(level(2, 4) / level(20, 40)) / np.log(30 / 3)
    assert 0.7 < slope < 2.0, "1/f"
    centre = draw_subject(1001).alpha_hz
    beside = (level(centre - 4, centre - 3) + level(centre + 3, centre + 4)) / 2
    assert level(centre - 0.6, centre + 0.6) > 1.8 * beside, "alpha over the back"
    frontal = power[CHANNELS.index("Fp1")]
    at_front = (level(centre - 4, centre - 3, frontal) + level(centre + 3, centre + 4, frontal)) / 2
    assert level(centre - 0.6, centre + 0.6, frontal) < 1.8 * at_front, "not over the forehead"
    assert level(49.5, 50.5) > 2 * level(45, 48), "line noise"
    assert level(0.5, 3, frontal) > 2 * level(0.5, 3), "blinks over the forehead"


def test_amplitudes_are_those_of_scalp_eeg() -> None:
    data = brain(seed=8).read(250 * 60)
    sos = signal.butter(2, (0.5, 40.0), "bandpass", fs=250.0, output="sos")
    quiet = signal.sosfilt(sos, data - data[:, :1], axis=1)[:, 1000:]
    robust = 1.4826 * np.median(np.abs(quiet), axis=1)
    assert 4 < np.median(robust) < 14
    assert np.abs(quiet[0]).max() > 40, "there are blinks at Fp1"


def test_references() -> None:
    assert reference_labels(("Oz", "Pz"), "average") == ()
    assert reference_labels(("Oz", "M1"), ("M1", "M2")) == ("M2",)
    matrix = reference_matrix(("Oz", "Pz"), ("M1", "M2"))
    assert np.allclose(matrix @ np.ones(4), 0), "a potential that all share is invisible"
    assert np.allclose(matrix[:, 2:], -0.5)
    with pytest.raises(InfoError, match="reference is empty"):
        reference_labels(("Oz",), ())


def test_bad_input_is_refused_with_a_sentence() -> None:
    with pytest.raises(ConfigurationError, match="60"):
        brain(sfreq=60.0)
    with pytest.raises(ConfigurationError, match="-1"):
        brain(snr=-1.0)
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        brain().stimulate(1.0, np.zeros(3, dtype=np.float32))
    with pytest.raises(InfoError, match="Q7"):
        table_leadfield(("Oz", "Q7"))
