"""A person's adapter and one more session: what holds of the earlier calibration."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.calibration.collection import Collection
from app.calibration.data import joined_data
from app.calibration.extending import earlier, unlike
from app.calibration.factory import person_of, without_narrower
from app.calibration.reading import ReadPart, check_once, others_of, read_recording
from app.errors import AppError
from configs import SessionConfig
from models.adapters import AdapterStore, CalibrationData
from models.adapters.classes import fit_classes
from models.adapters.manifest import Learnt
from models.adapters.suggesting import target_of
from pipeline.gallery import load_gallery
from pipeline.values import Epoch, Info
from tests.app.class_recording import CHANNELS, write_person

CLASSES = {"a": "face", "b": "house"}


def stored(root: Path, data: CalibrationData, *, keeps: bool = True) -> str:
    """An adapter of the data, in a store."""
    gallery = load_gallery()
    targets = tuple(target_of(name, "cat", gallery) for name in ("face", "house"))
    data = replace(data, classes=targets)
    epochs = [data.epoch(row) for row in range(len(data))]
    adapter = fit_classes(epochs, targets, gallery, filter_config=data.filter, subject="kim")
    classes = adapter.manifest.event_classes.model_copy(update={"labels": CLASSES})
    learnt = (Learnt(sha256="ab" * 32, start=0.0, stop=9.0),)
    manifest = adapter.manifest.model_copy(update={"classes": classes, "learnt": learnt})
    record = AdapterStore(root).save(
        replace(adapter, manifest=manifest),
        subject="kim",
        recordings={"one.fif": "ab" * 32},
        data=data if keeps else None,
    )
    return record.adapter_id


def first(n: int = 40) -> CalibrationData:
    rng = np.random.default_rng(0)
    n_times = 26 + round(SessionConfig().epochs.tmax * 128) + 1  # as the live path cuts them
    return CalibrationData(
        epochs=rng.standard_normal((n, 7, n_times)).astype(np.float32),
        labels=("face", "house") * (n // 2),
        onsets=np.arange(n) * 1.0,
        channels=CHANNELS[:7],
        sfreq=128.0,
        tmin=-26 / 128,
    )


def test_a_later_session_is_cut_like_the_earlier_and_joined(tmp_path: Path) -> None:
    reference = stored(tmp_path / "store", first())
    before = earlier(reference, store=tmp_path / "store", subject=None)
    assert before.classes == CLASSES
    assert before.pictures == {"face": "cat", "house": "cat"}
    config = before.settings(SessionConfig())
    assert (config.subject, config.source.picks) == ("kim", CHANNELS[:7])
    path = write_person(tmp_path / "two_raw.fif", ("a", "b"), n_trials=12)
    collection = Collection(before.classes)
    collection.start_session()
    options = {"out": tmp_path / "c", "stop": threading.Event()}
    part = read_recording(path, config, collection, **options)
    data = joined_data(
        [("two_raw.fif", "kim", collection.epochs(1))],
        part.config,
        pictures=before.pictures,
        before=before.sessions(),
    )
    assert data.sessions == ("one.fif",) * 40 + ("two_raw.fif",) * 12
    assert (len(data), data.channels, set(data.subjects)) == (52, CHANNELS[:7], {"kim"})
    before.check_new({"two_raw.fif": part.sha256})
    with pytest.raises(AppError, match=r"one\.fif again is a recording that the adapter"):
        before.check_new({"one.fif again": "ab" * 32})


def test_what_cannot_be_extended_is_said(tmp_path: Path) -> None:
    reference = stored(tmp_path, first(), keeps=False)
    with pytest.raises(AppError, match="no epochs are kept with the adapter"):
        earlier(reference, store=tmp_path, subject="kim")
    with pytest.raises(AppError, match=r"is of kim, and --subject says lee.*--others"):
        earlier(reference, store=tmp_path, subject="lee")
    assert unlike(["a", "a", "b"], ["a"]) == ["a (2)", "a (3)", "b"]
    assert person_of(Path("ds/sub-02/eeg/sub-02_task-x_eeg.edf"), 3) == "02"
    assert person_of(Path("his.fif"), 3) == "other-4"


def test_a_recording_is_learnt_from_once(tmp_path: Path) -> None:
    for name, content in (("a.edf", b"one"), ("b.edf", b"two"), ("c.edf", b"one")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (tmp_path / f"{name}.edf" for name in "abc")
    check_once([a, b, tmp_path / "not there.edf"])
    with pytest.raises(AppError, match=r"a\.edf is given twice, expected each recording once"):
        check_once([a, b, a])
    with pytest.raises(AppError, match=r"c\.edf is a copy of .*a\.edf"):
        check_once([a, b, c])


def test_nobody_is_among_the_others_of_themselves(tmp_path: Path) -> None:
    (tmp_path / "dataset_description.json").write_text("{}")
    files = [tmp_path / f"sub-{who}/eeg/sub-{who}_eeg.edf" for who in ("01", "02")]
    for file in files:
        file.parent.mkdir(parents=True)
        file.touch()
    assert others_of([tmp_path], files[:1], "kim") == files[1:]
    assert others_of([tmp_path], [], "02") == files[:1]
    assert others_of([], files, "01") == []
    with pytest.raises(AppError, match="no recording but those of 01"):
        others_of([files[0]], files[:1], "01")


def test_who_is_offered_as_a_help_costs_no_channel(tmp_path: Path) -> None:
    def part(*names: str) -> tuple[list[tuple[str, Epoch]], ReadPart]:
        info = Info(names, 100.0, ("eeg",) * len(names))
        epoch = Epoch(
            data=np.zeros((len(names), 3), np.float32),
            tmin=0.0,
            tmax=0.02,
            t_onset=0.0,
            event="a",
            info=info,
            index=0,
        )
        return [("a", epoch)] * 3, ReadPart(tmp_path / names[-1], SessionConfig(), "0" * 64, names)

    given = [part("Pz", "Oz"), part("Oz", "Pz", "Cz"), part("Oz")]
    found = [(f"r{k}", f"p{k}", epochs) for k, (epochs, _) in enumerate(given)]
    kept, said = without_narrower(found, [each for _, each in given], n_own=1)
    assert kept == [0, 1]
    assert said == ["r2 is not learnt from: it lacks Pz, which is good here."]
