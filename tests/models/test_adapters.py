"""Adapters: the closed form, its invariances, confidence, and files that must be refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from configs import FilterConfig
from models.adapters import (
    Adapter,
    AdapterError,
    Target,
    Window,
    lda,
    load_adapter,
    save_adapter,
    selection,
)
from models.adapters.classes import class_probabilities, fit_classes
from models.adapters.files import MANIFEST_NAME, WEIGHTS_NAME
from models.adapters.lda import SpatioTemporalLda
from models.adapters.methods.classes import ClassDiscriminant, window_of
from models.api import Encoder
from pipeline.gallery import load_gallery
from pipeline.values import Epoch, Info
from tests.models.adapter_files import edit_manifest, edit_part, edit_weights, put_weights

SFREQ = 256.0
NAMES = ("PO7", "PO8", "O1", "O2", "P7", "P8")
TARGETS = (
    Target(event="face", kind="upright", category="face"),
    Target(event="house", kind="upright", category="house", typical="church"),
    Target(event="left", labels=("checkerboard-left",)),
)
N_TIMES = 257
TMIN = -51 / SFREQ


def _patterns() -> NDArray[np.float64]:
    """Evoked responses, (n_classes, n_channels, n_times), microvolts: one bump a class."""
    rng = np.random.default_rng(7)
    times = TMIN + np.arange(N_TIMES) / SFREQ
    bumps = [np.exp(-0.5 * ((times - t) / 0.03) ** 2) for t in (0.17, 0.2, 0.12)]
    return np.stack([5 * rng.normal(size=(len(NAMES), 1)) * bump for bump in bumps])


def _epochs(n: int, *, seed: int, amplitude: float = 1.0) -> list[Epoch]:
    """Epochs with stationary coloured noise that channels share."""
    rng = np.random.default_rng(seed)
    patterns, mixing = _patterns(), np.random.default_rng(8).normal(size=(len(NAMES), len(NAMES)))
    epochs = []
    for index in range(n):
        k = int(rng.integers(len(TARGETS)))
        noise = np.cumsum(rng.normal(size=(len(NAMES), N_TIMES + 64)), axis=1)
        noise = noise[:, 64:] - 0.9 * noise[:, :-64]
        data = amplitude * patterns[k] + 0.7 * mixing @ noise
        epochs.append(_epoch(data, event=TARGETS[k].event, index=index))
    return epochs


def _epoch(data: NDArray[np.float64], *, event: str = "face", index: int = 0) -> Epoch:
    return Epoch(
        data=data.astype(np.float32),
        tmin=TMIN,
        tmax=TMIN + (data.shape[1] - 1) / SFREQ,
        t_onset=float(index),
        event=event,
        info=Info(NAMES, SFREQ),
        index=index,
    )


def _fit(epochs: list[Epoch], **options: object) -> Adapter:
    filter_config = FilterConfig()
    return fit_classes(epochs, TARGETS, load_gallery(), filter_config=filter_config, **options)  # type: ignore[arg-type]


def _accuracy(adapter: Adapter, epochs: list[Epoch]) -> float:
    events = adapter.manifest.event_classes.events
    right = [events[class_probabilities(adapter, e).argmax()] == e.event for e in epochs]
    return float(np.mean(right))


@pytest.fixture(scope="module")
def adapter() -> Adapter:
    return _fit(_epochs(150, seed=1))


# -- the closed form ------------------------------------------------------------------------------


def test_decodes_new_epochs_and_says_so_beforehand(adapter: Adapter) -> None:
    found = _accuracy(adapter, _epochs(200, seed=2))
    assert found > 0.85
    assert abs(found - adapter.manifest.event_classes.scores.accuracy) < 0.12
    assert adapter.manifest.event_classes.scores.p_value < 1e-10


def test_finds_nothing_where_nothing_is() -> None:
    silent = _fit(_epochs(150, seed=3, amplitude=0.0))
    assert silent.manifest.event_classes.scores.p_value > 0.01
    assert silent.manifest.event_classes.scores.nll == pytest.approx(np.log(3), abs=0.03)
    norms = [np.linalg.norm(silent.encode(e).vector) for e in _epochs(40, seed=4, amplitude=0.0)]
    certain = _fit(_epochs(150, seed=1))
    sure = [np.linalg.norm(certain.encode(e).vector) for e in _epochs(40, seed=2)]
    assert np.mean(norms) < 0.5
    assert np.mean(sure) > 0.8


def test_is_the_gaussian_likelihood_ratio() -> None:
    features, targets = _features(80)
    fitted = SpatioTemporalLda.fit(features, targets, n_classes=3, n_filters=4)
    sources = (fitted.filters @ features).transpose(0, 2, 1)
    means = np.stack([sources[targets == k].mean(axis=0) for k in range(3)])
    noise = lda.noise_covariance(sources - means[targets])
    flat = sources.reshape(len(sources), -1)
    distance = np.stack(
        [
            np.einsum("np,pq,nq->n", d, np.linalg.inv(noise), d)
            for d in (flat - mean.reshape(-1) for mean in means)
        ],
        axis=1,
    )
    expected = -0.5 * distance
    logits = fitted.logits(features)
    shift = (logits - expected)[:, :1]
    np.testing.assert_allclose(logits - shift, expected, rtol=0, atol=1e-6)


def test_noise_model_is_block_toeplitz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lda, "STATIONARY", 1.0)
    residuals = np.random.default_rng(0).normal(size=(30, 7, 3)).cumsum(axis=1)
    blocks = lda.noise_covariance(residuals).reshape(7, 3, 7, 3)
    for lag in range(7):
        for first in range(1, 7 - lag):
            np.testing.assert_allclose(
                blocks[first, :, first + lag], blocks[0, :, lag], rtol=1e-12, atol=1e-12
            )


@settings(max_examples=25, deadline=None)
@given(
    n_epochs=st.integers(1, 40),
    n_bins=st.integers(2, 12),
    n_filters=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_noise_model_is_positive_definite_from_however_few_epochs(
    n_epochs: int, n_bins: int, n_filters: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    residuals = rng.normal(size=(n_epochs, n_bins, n_filters)).cumsum(axis=1)
    noise = lda.noise_covariance(residuals)
    np.testing.assert_array_equal(noise, noise.T)
    assert np.linalg.eigvalsh(noise).min() > 0


def test_beats_plain_shrinkage_on_stationary_noise() -> None:
    """The reason for the noise model; scikit-learn's LDA is the peer."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    first, rest = _epochs(90, seed=11, amplitude=0.6), _epochs(400, seed=11, amplitude=0.6)[90:]
    fitted = _fit(first)
    window = window_of(fitted.manifest)
    order = {t.event: k for k, t in enumerate(TARGETS)}
    peer = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    peer.fit(window.stack(first).reshape(len(first), -1), [order[e.event] for e in first])
    theirs = peer.score(window.stack(rest).reshape(len(rest), -1), [order[e.event] for e in rest])
    assert _accuracy(fitted, rest) > theirs


def test_temperature_mends_overconfidence() -> None:
    rng = np.random.default_rng(5)
    honest = rng.normal(size=(4000, 3))
    probability = selection.softmax(honest)
    targets = np.array([rng.choice(3, p=p) for p in probability], dtype=np.intp)
    assert selection.fit_temperature(4 * honest, targets) == pytest.approx(4, rel=0.1)


def test_blocks_of_time_are_not_flattered_by_drift() -> None:
    """Labels that only follow the time of day are not decodable by contiguous blocks."""
    rng = np.random.default_rng(6)
    drift = np.linspace(0, 3, 120)[:, None, None] * np.sin(np.linspace(0, 6, 20))
    features = drift + 0.05 * rng.normal(size=(120, 4, 20))
    features -= features.mean(axis=2, keepdims=True)
    targets = (np.arange(120) // 24 % 2).astype(np.intp)
    found = selection.validate(features, targets, n_classes=2)
    assert found.accuracy < 0.6


def _features(n: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    epochs = _epochs(n, seed=9)
    order = {t.event: k for k, t in enumerate(TARGETS)}
    targets = np.array([order[e.event] for e in epochs], dtype=np.intp)
    return Window(NAMES, SFREQ).stack(epochs), targets


# -- invariances ----------------------------------------------------------------------------------


def test_offsets_and_baselines_do_not_matter(adapter: Adapter) -> None:
    for epoch in _epochs(10, seed=12):
        offset = np.array([[100.0], [-30.0], [0.0], [7.0], [2.0], [50.0]])
        based = epoch.data - epoch.data[:, :52].mean(axis=1, keepdims=True)
        expected = class_probabilities(adapter, epoch)
        for data in (epoch.data + offset, based):
            other = replace(epoch, data=data.astype(np.float32))
            np.testing.assert_allclose(class_probabilities(adapter, other), expected, atol=1e-5)


def test_nothing_after_the_window_is_seen(adapter: Adapter) -> None:
    early = _fit(_epochs(150, seed=1), tmax=0.25)
    epoch = _epochs(1, seed=13)[0]
    for which, tmax in ((early, 0.25), (adapter, 0.6)):
        late = np.array(epoch.data)
        late[:, epoch.times >= tmax] += 1000
        changed = class_probabilities(which, replace(epoch, data=late))
        np.testing.assert_array_equal(changed, class_probabilities(which, epoch))
        late[:, np.flatnonzero(epoch.times < tmax)[-5]] += 1
        seen = window_of(which.manifest).features(replace(epoch, data=late))
        assert not np.array_equal(seen, window_of(which.manifest).features(epoch))


def test_channels_are_found_by_name(adapter: Adapter) -> None:
    epoch = _epochs(1, seed=14)[0]
    order = [3, 0, 5, 1, 4, 2]
    shuffled = np.concatenate([np.array(epoch.data)[order], np.zeros((1, N_TIMES), np.float32)])
    info = Info((*(NAMES[k] for k in order), "Cz"), SFREQ)
    other = replace(epoch, data=shuffled, info=info)
    np.testing.assert_array_equal(adapter.encode(other).vector, adapter.encode(epoch).vector)


def test_fits_and_decodes_to_the_same_bits_again(adapter: Adapter) -> None:
    again = _fit(_epochs(150, seed=1))
    for epoch in _epochs(5, seed=15):
        np.testing.assert_array_equal(again.encode(epoch).vector, adapter.encode(epoch).vector)


# -- the embedding --------------------------------------------------------------------------------


def test_satisfies_the_port(adapter: Adapter) -> None:
    assert isinstance(adapter, Encoder)
    spec = adapter.spec
    n_times = round((spec.tmax - spec.tmin) * spec.input.sfreq) + 1
    noise = np.random.default_rng(0).normal(0, 10, (len(spec.input.ch_names), n_times))
    epoch = Epoch(
        noise.astype(np.float32),
        spec.tmin,
        spec.tmax,
        0.0,
        "",
        Info(spec.input.ch_names, spec.input.sfreq),
        3,
    )
    embedding = adapter.encode(epoch)
    assert embedding.vector.shape == (spec.n_features,)
    assert embedding.index == 3


def test_the_vector_points_at_the_class_and_its_length_is_confidence(
    adapter: Adapter,
) -> None:
    gallery = load_gallery()
    labels = {t.event: set(t.members(gallery).labels) for t in TARGETS}
    for epoch in _epochs(30, seed=16):
        probability = class_probabilities(adapter, epoch)
        vector = adapter.encode(epoch).vector
        best = adapter.manifest.event_classes.events[probability.argmax()]
        assert np.linalg.norm(vector) == pytest.approx(probability.max(), abs=1e-5)
        if probability.max() > 0.9:
            assert gallery.rank(vector)[0].label in labels[best]
    np.testing.assert_array_equal(adapter.arrays()["prototypes"][1], gallery.embedding("church"))
    assert isinstance(adapter.method, ClassDiscriminant)
    fitted = adapter.method.lda
    flat = replace(fitted, coef=np.zeros_like(fitted.coef), intercept=np.zeros(3))
    unsure = replace(adapter, method=ClassDiscriminant(flat)).encode(_epochs(1, seed=17)[0]).vector
    assert np.linalg.norm(unsure) == pytest.approx(1 / 3, abs=1e-5)


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: replace(e, info=Info(NAMES, 250.0)), "250 Hz"),
        (lambda e: replace(e, info=Info(("Fz", *NAMES[1:]), SFREQ)), "lacks PO7"),
        (lambda e: replace(e, data=np.array(e.data[:, :120])), "does not hold"),
        (lambda e: replace(e, data=np.full_like(e.data, np.nan)), "NaN"),
    ],
)
def test_an_epoch_that_does_not_fit_is_refused(
    adapter: Adapter, change: Callable[[Epoch], Epoch], said: str
) -> None:
    with pytest.raises(AdapterError, match=said):
        adapter.encode(change(_epochs(1, seed=18)[0]))


def test_another_filter_is_refused(adapter: Adapter) -> None:
    adapter.check_filter(FilterConfig())
    with pytest.raises(AdapterError, match=r"filter\.h_freq is 30"):
        adapter.check_filter(FilterConfig(h_freq=30.0))


def test_a_calibration_that_cannot_be_is_refused() -> None:
    epochs = _epochs(60, seed=19)
    with pytest.raises(AdapterError, match="none of 0 epochs"):
        _fit([])
    with pytest.raises(AdapterError, match=r"\[\d+, \d+, 0\] epochs"):
        _fit([e for e in epochs if e.event != "left"])
    with pytest.raises(AdapterError, match="at least 10"):
        _fit(epochs[:8])
    with pytest.raises(AdapterError, match="NaN"):
        _fit([*epochs, replace(epochs[0], data=np.full_like(epochs[0].data, np.nan))])
    with pytest.raises(AdapterError, match="two bins"):
        _fit(epochs, tmax=0.01)


def test_files_come_back_to_the_bit(adapter: Adapter, tmp_path: Path) -> None:
    saved = save_adapter(adapter, tmp_path / "one")
    loaded = load_adapter(tmp_path / "one")
    assert loaded.manifest == saved.manifest
    assert loaded.sha256 == saved.sha256 == loaded.spec.sha256 != ""
    for epoch in _epochs(5, seed=20):
        np.testing.assert_array_equal(loaded.encode(epoch).vector, adapter.encode(epoch).vector)
    other = save_adapter(_fit(_epochs(150, seed=21)), tmp_path / "two")
    assert other.sha256 != saved.sha256
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == [MANIFEST_NAME, WEIGHTS_NAME]


def _poison(arrays: dict[str, NDArray[np.generic]]) -> None:
    coef = np.array(arrays["coef"])
    coef.flat[0] = np.nan
    arrays["coef"] = coef


def _crop(arrays: dict[str, NDArray[np.generic]]) -> None:
    arrays["filters"] = np.ascontiguousarray(arrays["filters"][:, :-1])


def _drop(arrays: dict[str, NDArray[np.generic]]) -> None:
    del arrays["intercept"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / WEIGHTS_NAME).unlink(), "cannot read"),
        (lambda f: (f / MANIFEST_NAME).unlink(), "cannot read"),
        (lambda f: (f / MANIFEST_NAME).write_text("no JSON"), "Invalid JSON"),
        (lambda f: (f / MANIFEST_NAME).write_text("{}"), "is wrong"),
        (lambda f: edit_manifest(f, schema_version=3), "schema_version is wrong"),
        (lambda f: edit_manifest(f, surprise=1), "surprise is wrong"),
        (lambda f: edit_part(f, "classes", n_filters=2), "have shape"),
        (lambda f: edit_manifest(f, ch_names=["O1", "O1"]), "holds a name twice"),
        (
            lambda f: (f / WEIGHTS_NAME).write_bytes((f / WEIGHTS_NAME).read_bytes()[:-9]),
            "another SHA-256",
        ),
        (lambda f: edit_weights(f, _poison), "NaN"),
        (lambda f: edit_weights(f, _crop), "have shape"),
        (lambda f: edit_weights(f, _drop), "expected coef, filters"),
    ],
)
def test_a_damaged_adapter_is_refused_in_one_sentence(
    adapter: Adapter, tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    folder = tmp_path / "adapter"
    save_adapter(adapter, folder)
    damage(folder)
    with pytest.raises(AdapterError, match=said) as caught:
        load_adapter(folder)
    assert "\n" not in str(caught.value)


def test_truncated_weights_with_a_matching_hash_are_refused(
    adapter: Adapter, tmp_path: Path
) -> None:
    save_adapter(adapter, tmp_path)
    put_weights(tmp_path, (tmp_path / WEIGHTS_NAME).read_bytes()[:-9])
    with pytest.raises(AdapterError, match="safetensors"):
        load_adapter(tmp_path)
