"""Montages: typed, by a board's name, from files of several kinds."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.montages import CYTON, DAISY
from devices.errors import FileError
from devices.montage import read_montage


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("Fp1, Fp2 ,C3", ("Fp1", "Fp2", "C3")),
        ("Cz", ("Cz",)),
        ("", ()),
        ("cyton", CYTON),
        ("Cyton-Daisy", DAISY),
    ],
)
def test_what_is_typed(text: str, labels: tuple[str, ...]) -> None:
    assert read_montage(text) == labels


def test_a_name_that_nobody_knows_is_no_label() -> None:
    with pytest.raises(FileError, match=r"'biosemi128' is no montage.*cyton, daisy"):
        read_montage("biosemi128")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.txt", "C3\nC4\n\nOz\n"),
        ("labels.csv", "C3,C4,Oz"),
        ("a_channels.tsv", "\ufeffname\ttype\tunits\nC3\tEEG\tuV\nC4\tEEG\tuV\nOz\tEEG\tuV\n"),
        ("a.csv", "x,Label,y\n1,C3,2\n1,C4,2\n1,Oz,2\n"),
        ("a.sfp", "C3\t-0.1\t0.2\t0.3\nC4\t0.1\t0.2\t0.3\nOz\t0.0\t-0.2\t0.3\n"),
    ],
)
def test_files(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_montage(str(tmp_path / name)) == ("C3", "C4", "Oz")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("no.txt", None, "does not exist"),
        ("empty.txt", b"", "holds no label"),
        ("bytes.txt", b"\xff\xfe\x00", "cannot be read"),
        ("big.txt", b"C3\n" * 400_000, "it has .* bytes, expected at most"),
        ("bad.sfp", b"no montage\n", "no montage that MNE reads"),
    ],
)
def test_files_that_are_none(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileError, match=words) as caught:
        read_montage(str(path))
    assert "\n" not in str(caught.value)
