"""The table of file formats: ours and a stranger's, found by entry points."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from devices.conformance import check_recording
from devices.errors import FileError
from devices.files import open_recording
from devices.files.readers import readers
from devices.replay import RecordedSource
from pipeline.values import Packet, StreamRole
from tests import how_to

PAGE = "add-a-file-format.md"
OURS = {"xdf", "fif", "edf", "brainvision", "eeglab", "openbci", "brainflow", "cvep", "volumes"}


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The how-to's distribution, written as the page shows it; `install` it, then look."""
    folder = tmp_path / "site"
    folder.mkdir()
    how_to.write_files(PAGE, folder)
    monkeypatch.syspath_prepend(folder)
    readers.cache_clear()
    yield folder
    sys.modules.pop("acme_eeg", None)
    readers.cache_clear()


def acme_file(folder: Path, name: str = "walk.acme") -> Path:
    rows = "\n".join(f"{k} {-k} 0.5" + (" face" if k == 100 else "") for k in range(500))
    path = folder / name
    path.write_text(f"ACME 250\nCz Pz Oz event\n{rows}\n", encoding="utf-8")
    return path


def test_our_formats_are_registered_as_a_strangers_are() -> None:
    found = readers()
    assert {e.plugin.name for e in found if not e.plugin.distribution} == OURS
    assert found.problems == ()


def test_the_how_tos_reader_is_found_read_and_passes_the_suite(
    stranger: Path, tmp_path: Path
) -> None:
    path = acme_file(tmp_path)
    with pytest.raises(FileError, match=r"unknown extension '\.acme'"):
        open_recording(path)
    readers.cache_clear()
    how_to.install(stranger)
    importlib.invalidate_caches()
    check_recording(lambda: open_recording(path))
    source = RecordedSource(path)
    try:
        packets = [item for item in source.read(0.0) if isinstance(item, Packet)]
        while items := source.read(0.0):
            packets += [item for item in items if isinstance(item, Packet)]
    finally:
        source.close()
    eeg = np.concatenate([np.asarray(p.samples) for p in packets if p.role is StreamRole.EEG])
    assert np.array_equal(eeg[:, 0], np.arange(500))
    assert [p.samples for p in packets if p.role is StreamRole.MARKERS] == [("face",)]


def test_the_how_tos_own_test_passes(stranger: Path, tmp_path: Path) -> None:
    how_to.install(stranger)
    importlib.invalidate_caches()
    spec: dict[str, object] = {}
    exec(how_to.files_of(PAGE)["test_acme_eeg.py"], spec)
    found = spec["test_acme_is_a_recording"]
    assert callable(found)
    found(tmp_path)


def test_content_decides_among_readers_of_one_suffix(stranger: Path, tmp_path: Path) -> None:
    how_to.install(stranger)
    importlib.invalidate_caches()
    path = acme_file(tmp_path, "walk.txt")
    recording = open_recording(path)
    assert type(recording).__name__ == "AcmeRecording"
    recording.close()
    other = tmp_path / "board.txt"
    other.write_text("1,2\n", encoding="utf-8")
    with pytest.raises(FileError, match="no row of numbers"):
        open_recording(other)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two"),
        ("READER = 3", "is a int, expected a Reader"),
        ("", "AttributeError"),
    ],
)
def test_a_reader_that_cannot_be_loaded_is_one_line_and_the_others_go_on(
    stranger: Path, tmp_path: Path, code: str, words: str
) -> None:
    (stranger / "acme_eeg.py").write_text(code, encoding="utf-8")
    how_to.install(stranger)
    importlib.invalidate_caches()
    (problem,) = readers().problems
    assert words in problem
    assert "acme-eeg 0.1" in problem
    assert "\n" not in problem
    assert {e.plugin.name for e in readers()} == OURS
    with pytest.raises(FileError, match=r"acme-eeg 0\.1"):
        open_recording(acme_file(tmp_path))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("return AcmeRecording(path)", "return 1 / 0", "ZeroDivisionError: division by zero"),
        ("return AcmeRecording(path)", "return path.name", "gave a str for"),
        ('head.startswith(b"ACME ")', "head + 1", "TypeError"),
    ],
)
def test_what_a_strangers_reader_does_wrong_names_its_distribution(
    stranger: Path, tmp_path: Path, before: str, after: str, words: str
) -> None:
    code = how_to.files_of(PAGE)["acme_eeg.py"]
    assert before in code
    (stranger / "acme_eeg.py").write_text(code.replace(before, after), encoding="utf-8")
    how_to.install(stranger)
    importlib.invalidate_caches()
    with pytest.raises(FileError) as caught:
        open_recording(acme_file(tmp_path))
    assert words in str(caught.value)
    assert "acme-eeg 0.1" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_strangers_own_refusal_stays_its_own(stranger: Path, tmp_path: Path) -> None:
    how_to.install(stranger)
    importlib.invalidate_caches()
    path = tmp_path / "bad.acme"
    path.write_text("ACME 250\nCz event\nx\n", encoding="utf-8")
    with pytest.raises(FileError, match=r"is damaged .* copy it again"):
        open_recording(path)
