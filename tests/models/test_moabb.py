"""MOABB's data sets reach stage A by name; nothing is imported or read that was not asked for."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from models.dreamdiffusion.moabb import cache_datasets
from models.dreamdiffusion.recordings import open_folder
from models.training.errors import DatasetError
from pipeline.extras import MissingExtraError


class _Raw:
    """As much of an MNE recording as is read: two EEG channels, one of stimuli."""

    def __init__(self, level: float) -> None:
        self._level = level

    def get_data(self, *, picks: str, units: str) -> Any:
        assert (picks, units) == ("eeg", "uV")
        return np.full((2, 300), self._level)


class Motor:
    """A data set in MOABB's shape: subject, session, run."""

    subject_list: ClassVar[list[int]] = [1, 2, 3]
    read: ClassVar[list[int]] = []

    def get_data(self, subjects: list[int]) -> Any:
        type(self).read += subjects
        if subjects == [3]:
            raise ConnectionError("no route to the server")
        runs = {"0": _Raw(10.0 * subjects[0]), "1": _Raw(10.0 * subjects[0] + 1)}
        return {subjects[0]: {"0train": runs}}


@pytest.fixture
def moabb(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("moabb.datasets")
    module.Motor = Motor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "moabb", types.ModuleType("moabb"))
    monkeypatch.setitem(sys.modules, "moabb.datasets", module)
    monkeypatch.setattr(Motor, "read", [])


@pytest.mark.usefixtures("moabb")
def test_every_run_becomes_an_array_once(tmp_path: Path) -> None:
    notes: list[str] = []
    cache = tmp_path / "cache"
    for _ in range(2):
        folders = cache_datasets(["Motor"], subjects=[1, 2], cache=cache, on_note=notes.append)
    assert Motor.read == [1, 2]
    assert len(notes) == 2
    (tmp_path / "none").mkdir()
    signals = open_folder(tmp_path / "none", n_channels=2, n_times=300, more=folders)
    assert len(signals) == 4
    np.testing.assert_array_equal(np.load(folders[0] / "2" / "0train-1.npy"), 21.0)


@pytest.mark.usefixtures("moabb")
@pytest.mark.parametrize(
    ("names", "subjects", "sentence"),
    [
        (["Moto"], [], r"MOABB has no data set 'Moto' \(perhaps Motor\)"),
        (["Motor"], [4], "Motor has no subject 4, expected some of 1 to 3"),
        (["Motor"], [3], r"Motor, subject 3 cannot be read .*no route to the server"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(
    names: list[str], subjects: list[int], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=sentence) as info:
        cache_datasets(names, subjects=subjects, cache=tmp_path)
    assert "\n" not in str(info.value)
    assert not list(tmp_path.rglob("*.npy"))


def test_without_moabb_the_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "moabb.datasets", None)
    assert cache_datasets([], cache=tmp_path) == []
    with pytest.raises(MissingExtraError, match=r"pip install 'phosphene\[moabb\]'"):
        cache_datasets(["BNCI2014_001"], cache=tmp_path)
