"""One suite over every kind of adapter, behind our encoders and somebody else's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from configs import DecoderConfig, FilterConfig
from models.adapters import (
    Adapter,
    AdapterError,
    AdapterStore,
    CalibrationData,
    OnlineAligned,
    load_adapter,
    save_adapter,
)
from models.adapters.adapter import base_of
from models.adapters.classes import ClassProblem
from models.adapters.files import MANIFEST_NAME, WEIGHTS_NAME
from models.adapters.fit import fit_adapter
from models.adapters.manifest import AdapterManifest, EncoderReference
from models.adapters.methods import METHODS, PICTURES, find_method
from models.adapters.methods.base import Fitting
from models.api import Aligning, ChecksFilter, ChecksMontage, Encoder, StatesDrift
from models.conformance import check_encoder
from models.registry import open_encoder
from pipeline.alignment import mean_covariance
from pipeline.errors import PhospheneError
from pipeline.gallery import load_gallery
from research.adapters.people import record_board
from tests.conformance.plugin import on_path, write_example
from tests.models.adapter_files import edit_manifest, put_weights

ANY = ("zero-shot", "ridge")
"""Methods that stand behind any encoder of vectors."""
KINDS = [
    *((name, "embedded") for name in PICTURES),
    *((name, system) for name in ANY for system in ("atm-toy", "lab-linear", "lab-fmri")),
    ("spatio-temporal-lda", ""),
    ("class-ensemble", ""),
]


@dataclass(frozen=True)
class Case:
    """An adapter with what it was fitted to."""

    adapter: Adapter
    data: CalibrationData
    encoder: Encoder | None


@pytest.fixture(autouse=True, scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("plugin") / "site"
    write_example(folder)
    with on_path(folder):
        yield


@pytest.fixture(scope="module")
def pictures() -> CalibrationData:
    return record_board(2004, "cyton", minutes=1, test_minutes=1).calibration


def _fmri() -> CalibrationData:
    gallery = load_gallery().subset(kind="upright")
    rng = np.random.default_rng(0)
    return CalibrationData(
        epochs=rng.normal(size=(30, 500, 2)).astype(np.float32),
        labels=gallery.labels[:30],
        onsets=np.arange(30.0) * 4,
        channels=tuple(f"voxel{k}" for k in range(500)),
        sfreq=0.5,
        tmin=0.0,
        targets=np.array(gallery.embeddings),
        target_labels=gallery.labels,
    )


def _classes(data: CalibrationData) -> CalibrationData:
    kinds = tuple(("face", "house")[k % 2] for k in range(len(data)))
    return replace(data, labels=kinds, targets=None, target_labels=())


def _adapted(name: str, system: str, data: CalibrationData, encoder: Encoder) -> Adapter:
    """Fit one method to everything, whatever cross-validation would choose."""
    base = base_of(encoder)
    batch = base.prepare(data)
    assert data.targets is not None
    targets = data.targets.astype(np.float64)[data.rows]
    method = find_method(name).fit(Fitting(batch, targets, data.rows, base))
    spec = encoder.spec
    manifest = AdapterManifest(
        kind=name,
        ch_names=batch.ch_names,
        sfreq=data.sfreq,
        filter=data.filter,
        encoder=EncoderReference(
            system=system, sha256=spec.sha256, space=spec.space, n_features=spec.n_features
        ),
    )
    covariance = None if system == "lab-fmri" else mean_covariance(base.channels(batch))
    return Adapter(manifest, method, base, covariance)


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: "-".join(kind).strip("-"))
def case(request: pytest.FixtureRequest, pictures: CalibrationData) -> Case:
    name, system = request.param
    if not system:
        data = _classes(pictures)
        problem = ClassProblem(data, seed=0)
        report = fit_adapter(data, with_curve=False).report
        given = Fitting(problem.batch, problem.candidates[data.rows], data.rows, problem.base)
        method = find_method(name).fit(given)
        return Case(problem.adapter(method, report, "anonymous"), data, None)
    data = _fmri() if system == "lab-fmri" else pictures.take(np.arange(24))
    if system == "atm-toy":  # which wants a whole second
        longer = np.pad(data.epochs, ((0, 0), (0, 0), (0, 60)), mode="reflect")
        data = replace(data, epochs=longer)
    encoder = open_encoder(DecoderConfig(system=system))
    return Case(_adapted(name, system, data, encoder), data, encoder)


def test_every_method_is_here() -> None:
    assert {name for name, _ in KINDS} == set(METHODS)


def test_it_comes_back_from_its_files_to_the_bit(case: Case, tmp_path: Path) -> None:
    saved = save_adapter(case.adapter, tmp_path / "adapter")
    loaded = load_adapter(tmp_path / "adapter", encoder=case.encoder)
    assert loaded.manifest == saved.manifest
    assert loaded.sha256 == saved.sha256 == loaded.spec.sha256 != ""
    for row in range(3):
        epoch = case.data.epoch(row)
        first, again = case.adapter.encode(epoch), loaded.encode(epoch)
        np.testing.assert_array_equal(again.vector, first.vector)
        assert again.confidence == first.confidence
    alone = load_adapter(tmp_path / "adapter")  # the encoder that it names is found
    np.testing.assert_array_equal(alone.encode(epoch).vector, first.vector)


def test_it_keeps_the_contract_of_an_encoder(case: Case, tmp_path: Path) -> None:
    saved = save_adapter(case.adapter, tmp_path / "adapter")
    assert isinstance(saved, Encoder)
    assert isinstance(saved, ChecksFilter)
    assert isinstance(saved, ChecksMontage)
    assert list(check_encoder(saved)) == []
    spec = saved.spec
    assert spec.name == "adapter:anonymous"
    if case.encoder is not None:
        assert spec.space == case.encoder.spec.space
        assert spec.n_features == case.encoder.spec.n_features
        assert (spec.tmin, spec.tmax) == (case.encoder.spec.tmin, case.encoder.spec.tmax)


def test_alignment_and_drift(case: Case) -> None:
    adapter, covariance = case.adapter, case.adapter.covariance
    online = OnlineAligned(
        adapter,
        ch_names=adapter.manifest.ch_names,
        reference=covariance,
        average=covariance is not None,
    )
    for capability in (Aligning, StatesDrift, ChecksFilter, ChecksMontage):
        assert isinstance(online, capability)
    assert online.is_frozen
    epoch = case.data.epoch(0)
    online.observe(epoch)
    assert online.drift >= 0.0
    np.testing.assert_array_equal(online.encode(epoch).vector, adapter.encode(epoch).vector)


def test_what_does_not_fit_is_refused_in_one_sentence(case: Case) -> None:
    adapter, epoch = case.adapter, case.data.epoch(0)
    adapter.check_filter(case.data.filter)
    with pytest.raises(AdapterError, match=r"filter\.h_freq is 30"):
        adapter.check_filter(FilterConfig(h_freq=30.0))
    with pytest.raises(PhospheneError, match="NaN") as said:
        adapter.encode(replace(epoch, data=np.full_like(epoch.data, np.nan)))
    assert "\n" not in str(said.value)


def test_foreign_files_are_refused_in_one_sentence(case: Case, tmp_path: Path) -> None:
    store = AdapterStore(tmp_path / "store")
    folder = tmp_path / "adapter"
    foreign = {
        "kind": {"kind": "magic"},
        "schema_version": {"schema_version": 9},
        "surprise": {"surprise": 1},
    }
    for field, change in foreign.items():
        save_adapter(case.adapter, folder)
        edit_manifest(folder, **change)
        with pytest.raises(AdapterError, match=f"{field}|magic") as said:
            store.import_(folder, encoder=case.encoder)
        assert "\n" not in str(said.value)
    save_adapter(case.adapter, folder)
    arrays = load((folder / WEIGHTS_NAME).read_bytes())
    put_weights(folder, save(arrays | {"extra": np.zeros(2)}))
    with pytest.raises(AdapterError, match="extra"):
        load_adapter(folder, encoder=case.encoder)
    assert store.list() == ()


def test_another_encoder_is_refused(case: Case, tmp_path: Path) -> None:
    if case.encoder is None:
        pytest.skip("an adapter of raw epochs stands behind no encoder")
    save_adapter(case.adapter, tmp_path)
    table = json.loads((tmp_path / MANIFEST_NAME).read_text())
    edit_manifest(tmp_path, encoder=table["encoder"] | {"sha256": "0" * 64})
    with pytest.raises(AdapterError, match=r"fitted to encoder 000000000000\.\.\."):
        load_adapter(tmp_path, encoder=case.encoder)


def test_an_encoder_of_tokens_or_of_another_space_is_refused(pictures: CalibrationData) -> None:
    tokens = open_encoder(DecoderConfig(system="dreamdiffusion-toy"))
    with pytest.raises(AdapterError, match="phosphene gallery make"):
        fit_adapter(pictures, encoder=tokens, system="dreamdiffusion-toy")
    n_features = tokens.spec.n_features
    wide = replace(
        pictures,
        targets=np.zeros((len(pictures.target_labels), n_features), np.float32),
        space=tokens.spec.space,
    )
    with pytest.raises(AdapterError, match="needs an encoder of vectors"):
        fit_adapter(wide, encoder=tokens, system="dreamdiffusion-toy")


def test_a_method_that_reaches_into_a_network_is_refused_behind_another(
    pictures: CalibrationData,
) -> None:
    encoder = open_encoder(DecoderConfig(system="lab-linear"))
    with pytest.raises(AdapterError, match="choose among zero-shot, ridge"):
        fit_adapter(pictures, encoder=encoder, system="lab-linear", methods=("pattern",))
    with pytest.raises(AdapterError, match="decodes classes of events"):
        fit_adapter(pictures, methods=("spatio-temporal-lda",))
