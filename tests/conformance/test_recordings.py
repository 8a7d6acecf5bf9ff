"""Every reader of files, ours and a plug-in's, keeps what a `Recording` promises."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest

from devices.conformance import ConformanceError, check_recording, check_refusal
from devices.files import Block, open_recording
from devices.files.mne_objects import as_recording
from devices.files.readers import readers
from tests import how_to
from tests.conformance.files import MAKERS


@pytest.fixture(autouse=True)
def _with_the_plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The how-to's distribution, installed."""
    folder = tmp_path_factory.mktemp("site")
    how_to.write_files("add-a-file-format.md", folder)
    how_to.install(folder)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    readers.cache_clear()
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("acme_eeg", None)
    importlib.invalidate_caches()
    readers.cache_clear()


def test_every_registered_reader_has_a_file_here() -> None:
    assert {entry.plugin.name for entry in readers()} == set(MAKERS)


@pytest.mark.parametrize("name", MAKERS)
def test_a_reader_keeps_its_promises(name: str, tmp_path: Path) -> None:
    path = MAKERS[name](tmp_path)
    found = readers().choose(path)
    assert found is not None
    assert found.plugin.name == name
    check_recording(lambda: open_recording(path))


@pytest.mark.parametrize("name", MAKERS)
def test_a_file_that_is_no_such_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    path = MAKERS[name](tmp_path)
    path.write_bytes(b"\x00\x01 nothing of the kind \xff" * 40)
    assert path.name in check_refusal(lambda: open_recording(path))


def test_objects_of_mne_keep_them_too() -> None:
    data = np.random.default_rng(0).normal(0, 1e-5, (2, 1000))
    raw = mne.io.RawArray(data, mne.create_info(["O1", "O2"], 100.0, "eeg"), verbose="ERROR")
    raw.set_annotations(mne.Annotations([3.0, 5.0], 0.0, ["face", "house"]))
    check_recording(lambda: as_recording(raw, name="mine"))
    events, event_id = mne.events_from_annotations(raw, verbose="ERROR")
    epochs = mne.Epochs(
        raw, events, event_id, -1.0, 1.0, baseline=None, preload=True, verbose="ERROR"
    )
    check_recording(lambda: as_recording(epochs, name="mine"))


class Broken:
    """A recording whose blocks went through `spoil`."""

    def __init__(self, path: Path, spoil: Any) -> None:
        self._inner, self._spoil = open_recording(path), spoil
        self.path, self.streams = path, self._inner.streams
        self.duration, self.warnings = self._inner.duration, self._inner.warnings

    def blocks(self, *, start: float = 0.0) -> Iterator[Block]:
        return iter(self._spoil(list(self._inner.blocks(start=start)), start))

    def close(self) -> None:
        self._inner.close()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda blocks, _: blocks[::-1], "not in order"),
        (lambda blocks, start: blocks if start else blocks[:-5] + blocks[-4:], "other samples"),
        (lambda blocks, start: blocks[1:] if start else blocks, "begins elsewhere"),
        (lambda blocks, _: [b for b in blocks if b.stream], "no sample of the EEG"),
        (lambda b, _: [replace(b[0], times=b[0].times.astype("f4")), *b[1:]], "finite float64"),
        (lambda b, _: [replace(b[0], stream=7), *b[1:]], "is of stream 7"),
    ],
)
def test_the_suite_sees_what_is_broken(tmp_path: Path, spoil: Any, words: str) -> None:
    path = MAKERS["fif"](tmp_path)
    with pytest.raises(ConformanceError, match=words):
        check_recording(lambda: Broken(path, spoil))
