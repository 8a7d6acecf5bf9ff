"""The store of adapters: kept, found, moved, deleted, and refused in one sentence."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from configs import DecoderConfig
from models.adapters import Adapter, AdapterError, AdapterStore, CalibrationData, history
from models.adapters import store as store_module
from models.adapters.files import MANIFEST_NAME, WEIGHTS_NAME, load_live
from models.adapters.fit import fit_adapter
from models.embedded.encoder import load_encoder as load_shipped
from models.systems import load_encoder as load_session_encoder
from research.adapters.people import record_board
from tests.models.adapter_files import (
    edit_manifest,
    edit_part,
    edit_weights,
    put_weights,
    small_adapter,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data() -> CalibrationData:
    return record_board(2004, "cyton", minutes=1, test_minutes=1).calibration


@pytest.fixture(scope="module")
def calibration(data: CalibrationData) -> Adapter:
    return fit_adapter(data, methods=("aligned",), with_curve=False)


@pytest.fixture(scope="module")
def forced(calibration: Adapter, data: CalibrationData) -> Adapter:
    """An adapter with weights, whatever cross-validation of one minute would choose."""
    from models.adapters.methods.base import Fitting, Watch
    from models.adapters.methods.pattern import PatternModel
    from models.adapters.network_base import NetworkBase

    assert data.targets is not None
    base = calibration.base
    assert isinstance(base, NetworkBase)
    method = PatternModel.fit(
        Fitting(
            base.prepare(data),
            data.targets.astype(np.float64)[data.rows],
            data.rows,
            base,
            0,
            Watch(),
        )
    )
    manifest = calibration.manifest.model_copy(update={"kind": "pattern"})
    return replace(calibration, method=method, manifest=manifest)


@pytest.fixture
def store(tmp_path: Path) -> AdapterStore:
    return AdapterStore(tmp_path / "adapters")


def test_an_adapter_is_kept_found_and_decodes_to_the_same_bits(
    store: AdapterStore, forced: Adapter, data: CalibrationData
) -> None:
    assert store.list() == ()
    assert store.active("p1") is None
    record = store.save(
        forced, subject="p1", preset="cyton", recordings={"a.xdf": "0" * 64}, data=data
    )
    assert record.active
    assert record.has_data
    assert store.active("p1") == record
    assert store.list("p1") == (record,)
    assert sorted(p.name for p in (store.root / "p1").iterdir()) == sorted(
        [record.adapter_id, history.STATE_NAME]
    )
    epoch = data.epoch(0)
    expected = forced.encode(epoch).vector
    np.testing.assert_array_equal(store.load(record.adapter_id).encode(epoch).vector, expected)
    np.testing.assert_array_equal(load_live(record.folder).encode(epoch).vector, expected)
    manifest = store.show(record.adapter_id)
    assert manifest.kind == "pattern"
    assert manifest.encoder is not None
    assert manifest.encoder.system == "embedded"
    assert manifest.subject == "p1"
    assert manifest.preset == "cyton"
    assert manifest.montage == data.channels
    assert manifest.data_sha256 == data.sha256
    assert manifest.created
    assert forced.report.n_epochs == len(data)
    again = store.load_data(record.adapter_id)
    assert again.sha256 == data.sha256
    assert store.resolve(record.adapter_id) == store.resolve(str(record.folder)) == record.folder


def _written_by_version_1(folder: Path) -> None:
    """Write a manifest in the fields that version 1 had: pictures and classes apart."""
    table = json.loads((folder / MANIFEST_NAME).read_text())
    encoder, classes = table.pop("encoder"), table.pop("classes")
    table["schema_version"] = 1
    if classes is None:
        table |= {"kind": "personal", "method": table["kind"], "encoder": encoder["system"]}
        table |= {"encoder_sha256": encoder["sha256"], "n_features": encoder["n_features"]}
    else:
        table |= classes
    (folder / MANIFEST_NAME).write_text(json.dumps(table))


def test_adapters_of_version_1_stay_usable(
    store: AdapterStore, forced: Adapter, data: CalibrationData, tmp_path: Path
) -> None:
    expected = forced.encode(data.epoch(0)).vector
    pictures = [store.save(forced, subject="p1") for _ in "12"]
    classes = store.root / "p1" / "p1-of-version-1"
    small_adapter(classes, subject="p1")
    for folder in (classes, *(record.folder for record in pictures)):
        before = store.record(folder.name), store.show(folder.name)
        _written_by_version_1(folder)
        shown = store.show(folder.name)
        if shown.encoder is not None:  # which did not say its space
            space = before[1].encoder.space  # type: ignore[union-attr]
            named = shown.encoder.model_copy(update={"space": space})
            shown = shown.model_copy(update={"encoder": named})
        assert (store.record(folder.name), shown) == before
    first = store.load(pictures[0].adapter_id)
    np.testing.assert_array_equal(first.encode(data.epoch(0)).vector, expected)
    store.activate(classes.name)
    assert store.rollback("p1").adapter_id == pictures[1].adapter_id  # type: ignore[union-attr]
    path = store.export(pictures[0].adapter_id, tmp_path / "old")
    taken = store.import_(path, subject="p2", force=True)
    assert store.show(taken.adapter_id).schema_version == 2
    np.testing.assert_array_equal(
        store.load(taken.adapter_id).encode(data.epoch(0)).vector, expected
    )
    store.delete(classes.name)
    assert store.delete_subject("p1") == 2


def test_a_session_loads_it_by_folder_and_stays_as_it_was_without_one(
    store: AdapterStore, forced: Adapter, data: CalibrationData
) -> None:
    record, epoch = store.save(forced, subject="p1"), data.epoch(2)
    encoder = load_session_encoder(DecoderConfig(adapter=str(record.folder)))
    np.testing.assert_array_equal(encoder.encode(epoch).vector, forced.encode(epoch).vector)
    plain = load_session_encoder(DecoderConfig())
    np.testing.assert_array_equal(plain.encode(epoch).vector, load_shipped().encode(epoch).vector)


def test_nothing_is_overwritten_and_rollback_goes_back(
    store: AdapterStore, calibration: Adapter, forced: Adapter
) -> None:
    first = store.save(calibration, subject="p1")
    second = store.save(forced, subject="p1")
    third = store.save(calibration, subject="p1", activate=False)
    assert len({first.adapter_id, second.adapter_id, third.adapter_id}) == 3
    assert store.active("p1").adapter_id == second.adapter_id  # type: ignore[union-attr]
    assert store.rollback("p1").adapter_id == first.adapter_id  # type: ignore[union-attr]
    assert store.rollback("p1") is None
    with pytest.raises(AdapterError, match="no active adapter"):
        store.rollback("p1")
    store.activate(third.adapter_id)
    store.activate(second.adapter_id)
    store.delete(second.adapter_id)
    assert store.active("p1").adapter_id == third.adapter_id  # type: ignore[union-attr]
    assert {r.adapter_id for r in store.list("p1")} == {first.adapter_id, third.adapter_id}


def test_export_and_import(
    store: AdapterStore, forced: Adapter, data: CalibrationData, tmp_path: Path
) -> None:
    record = store.save(forced, subject="p1", data=data)
    path = store.export(record.adapter_id, tmp_path / "mine")
    assert path.name == "mine.zip"
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == [MANIFEST_NAME, WEIGHTS_NAME]
    with pytest.raises(AdapterError, match="exists already"):
        store.export(record.adapter_id, tmp_path / "mine")
    elsewhere = AdapterStore(tmp_path / "other")
    taken = elsewhere.import_(path)
    assert taken.subject == "p1"
    assert not taken.active
    assert not taken.has_data
    epoch = data.epoch(1)
    np.testing.assert_array_equal(
        elsewhere.load(taken.adapter_id).encode(epoch).vector, forced.encode(epoch).vector
    )
    with pytest.raises(AdapterError, match="is p1's, the session is p2's"):
        elsewhere.import_(path, subject="p2")
    moved = elsewhere.import_(record.folder, subject="p2", force=True)
    assert moved.subject == "p2"
    assert elsewhere.show(moved.adapter_id).subject == "p2"
    assert not (elsewhere.root / ".incoming").exists()


def test_a_subject_is_deleted_with_all_data(
    store: AdapterStore, forced: Adapter, data: CalibrationData
) -> None:
    store.save(forced, subject="p1", data=data)
    store.save(forced, subject="p1", data=data)
    kept = store.save(forced, subject="p2")
    assert store.delete_subject("p1") == 2
    assert not (store.root / "p1").exists()
    assert store.subjects() == ("p2",)
    assert store.list() == (kept,)
    with pytest.raises(AdapterError, match="no subject 'p1'"):
        store.delete_subject("p1")
    for name in ("..", "", "a/b", "p 1"):
        with pytest.raises(AdapterError, match="no subject code"):
            store.delete_subject(name)
    with pytest.raises(AdapterError, match="there is no adapter"):
        store.folder("../p2")


def test_another_persons_is_refused_unless_forced(store: AdapterStore, forced: Adapter) -> None:
    record = store.save(forced, subject="p1")
    with pytest.raises(AdapterError, match="is p1's, the session is p2's"):
        store.load(record.adapter_id, subject="p2")
    with pytest.raises(AdapterError, match="force it"):
        store.activate(record.adapter_id, subject="p2")
    assert store.load(record.adapter_id, subject="p2", force=True).spec.name == "adapter:p1"


def test_the_default_place_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(store_module.HOME_VARIABLE, str(tmp_path))
    assert AdapterStore().root == tmp_path / "adapters"
    monkeypatch.delenv(store_module.HOME_VARIABLE)
    assert AdapterStore().root.name == "adapters"


# -- refusals -------------------------------------------------------------------------------------


def _poison(arrays: dict[str, NDArray[np.generic]]) -> None:
    weights = np.array(arrays["weights"])
    weights.flat[3] = np.nan
    arrays["weights"] = weights


def _poison_covariance(arrays: dict[str, NDArray[np.generic]]) -> None:
    arrays["covariance"] = np.full_like(arrays["covariance"], np.inf)


def _crop(arrays: dict[str, NDArray[np.generic]]) -> None:
    arrays["weights"] = np.ascontiguousarray(arrays["weights"][:-1])


def _drop(arrays: dict[str, NDArray[np.generic]]) -> None:
    del arrays["energy"]


def _truncate(folder: Path) -> None:
    whole = (folder / WEIGHTS_NAME).read_bytes()
    (folder / WEIGHTS_NAME).write_bytes(whole[: len(whole) // 2])


def _claim_a_tebibyte(folder: Path) -> None:
    put_weights(folder, (1 << 40).to_bytes(8, "little") + b"{}")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: edit_weights(f, _crop), "weights have shape"),
        (lambda f: edit_weights(f, _poison), "weights hold NaN"),
        (lambda f: edit_weights(f, _poison_covariance), "covariance has shape .* or holds NaN"),
        (lambda f: edit_weights(f, _drop), "expected energy"),
        (lambda f: edit_part(f, "encoder", sha256="0" * 64), "fitted to encoder 000000000000"),
        (_truncate, "truncated"),
        (_claim_a_tebibyte, "not a readable safetensors"),
        (lambda f: edit_manifest(f, schema_version=3), "schema_version is wrong"),
        (lambda f: edit_manifest(f, kind="spatio-temporal-lda"), "do not go together"),
        (lambda f: edit_manifest(f, kind="magic"), "there is no adapter 'magic'"),
        (lambda f: edit_manifest(f, surprise=1), "surprise is wrong"),
        (lambda f: (f / MANIFEST_NAME).write_text("no JSON"), "Invalid JSON"),
        (lambda f: (f / MANIFEST_NAME).write_text("[]"), "Invalid JSON"),
        (lambda f: (f / WEIGHTS_NAME).unlink(), "cannot read"),
    ],
)
def test_a_damaged_adapter_is_refused_and_the_old_one_stays(
    damage: Callable[[Path], object], said: str, store: AdapterStore, forced: Adapter
) -> None:
    good = store.save(forced, subject="p1")
    bad = store.save(forced, subject="p1", activate=False)
    damage(bad.folder)
    with pytest.raises(AdapterError, match=said) as refused:
        store.load(bad.adapter_id)
    assert "\n" not in str(refused.value)
    with pytest.raises(AdapterError, match=said):
        store.activate(bad.adapter_id)
    assert store.active("p1").adapter_id == good.adapter_id  # type: ignore[union-attr]
    with pytest.raises(AdapterError, match=said.replace("cannot read", "no exported adapter")):
        store.import_(bad.folder)
    listed = {record.adapter_id: record for record in store.list("p1")}
    assert set(listed) == {good.adapter_id, bad.adapter_id}


def test_a_file_that_is_no_adapter_is_refused(store: AdapterStore, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK nothing")
    with zipfile.ZipFile(tmp_path / "y.zip", "w") as archive:
        archive.writestr("../evil.py", "print()")
    for path in (tmp_path / "x.zip", tmp_path / "y.zip", tmp_path / "none"):
        with pytest.raises(AdapterError, match="no exported adapter"):
            store.import_(path)


def test_a_kept_calibration_that_is_damaged_is_refused(
    data: CalibrationData, tmp_path: Path
) -> None:
    folder = data.save(tmp_path / "c")
    assert CalibrationData.load(folder).sha256 == data.sha256
    whole = (folder / "calibration.safetensors").read_bytes()
    (folder / "calibration.safetensors").write_bytes(whole[:-4])
    with pytest.raises(AdapterError, match="damaged or mixed up"):
        CalibrationData.load(folder)
    table = json.loads((folder / "calibration.json").read_text())
    (folder / "calibration.json").write_text(json.dumps(table | {"schema_version": 9}))
    with pytest.raises(AdapterError, match="schema_version 9"):
        CalibrationData.load(folder)
    (folder / "calibration.json").unlink()
    with pytest.raises(AdapterError, match="cannot read a calibration"):
        CalibrationData.load(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"onsets": np.zeros(3)}, "onsets have shape"),
        ({"epochs": np.zeros((45, 8, 5))}, "finite float32"),
        ({"target_labels": ("a",) * 227}, "labels without a target"),
        ({"targets": np.zeros((3, 64), np.float32)}, "targets have shape"),
    ],
)
def test_a_calibration_that_does_not_fit_itself_is_refused(
    change: dict[str, object], said: str, data: CalibrationData
) -> None:
    with pytest.raises(AdapterError, match=said):
        replace(data.take(np.arange(45)), **change)  # type: ignore[arg-type]


def test_onsets_must_rise(data: CalibrationData) -> None:
    with pytest.raises(AdapterError, match="onsets fall"):
        replace(data, onsets=np.array(data.onsets)[::-1].copy())


# -- nothing executable anywhere -------------------------------------------------------------------

_FORBIDDEN = re.compile(r"weights_only\s*=\s*False|\bpickle\b(?!\.UnpicklingError)|torch\.load\(")
_ALLOWED = re.compile(r"torch\.load\((?s:.)*?weights_only=True")


def _offences(text: str) -> list[str]:
    found = []
    code = "\n".join(line.split("#")[0] for line in text.splitlines())
    code = re.sub(r'"""(?s:.)*?"""', '""', code)
    for match in _FORBIDDEN.finditer(code):
        if match.group().startswith("torch.load"):
            call = code[match.start() : match.start() + 300]
            if _ALLOWED.match(call):
                continue
        found.append(match.group())
    return found


def test_the_search_finds_what_it_looks_for() -> None:
    assert _offences("import pickle") == ["pickle"]
    assert _offences("torch.load(path)") == ["torch.load("]
    assert _offences("torch.load(path, weights_only=False)")
    assert not _offences("torch.load(path, map_location='cpu', weights_only=True)")
    assert not _offences('"""No pickle."""\nx = 1  # pickle')


def test_no_pickle_anywhere() -> None:
    """The whole source tree: no pickle module, no `torch.load` that could run one."""
    offences = {
        path.relative_to(ROOT).as_posix(): found
        for package in ("app", "devices", "models", "pipeline", "configs")
        for path in sorted((ROOT / package).rglob("*.py"))
        if (found := _offences(path.read_text(encoding="utf-8")))
    }
    assert offences == {}
