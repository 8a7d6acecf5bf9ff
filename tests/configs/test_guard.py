"""The door for files: ordinary ones of a bounded size, and nothing that hangs or never ends."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from configs import ConfigError, load_config
from configs.guard import (
    UnfitFileError,
    check_file,
    check_tree,
    open_file,
    read_bytes,
    read_text,
)

DEVICE = Path("/dev/zero")
pytestmark = pytest.mark.skipif(not DEVICE.exists(), reason="pipes and devices are Unix's")


def unfit(tmp_path: Path, kind: str) -> Path:
    """Something that is no ordinary file, of one kind."""
    path = tmp_path / "given"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a device":
        path.symlink_to(DEVICE)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    return path


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a device", "a socket"])
def test_what_is_no_file_is_refused_by_its_kind_and_never_opened(tmp_path: Path, kind: str) -> None:
    path = unfit(tmp_path, kind)
    for act in (
        check_file,
        open_file,
        read_text,
        lambda p: read_bytes(p, limit=10),
    ):
        with pytest.raises(UnfitFileError) as refused:
            act(path)
        assert str(refused.value) == f"it is {kind}, expected an ordinary file"
    with pytest.raises(ConfigError) as said:
        load_config(path)
    assert str(said.value) == (
        f"{path}: cannot be read (it is {kind}, expected an ordinary file), expected TOML text."
    )


def test_a_file_is_read_whole_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a\r\nb\rc\n")
    assert check_file(path) == 7
    assert read_bytes(path, limit=7) == b"a\r\nb\rc\n"
    assert read_text(path) == "a\nb\nc\n"
    with pytest.raises(UnfitFileError, match=r"^it has 7 bytes, expected at most 6$"):
        read_bytes(path, limit=6)


def test_a_file_that_says_it_is_empty_is_still_bounded() -> None:
    """Files of the kernel have no size until they are read."""
    path = Path("/proc/self/status")
    assert check_file(path) == 0
    with pytest.raises(UnfitFileError, match="expected at most 10"):
        read_bytes(path, limit=10)


def test_a_link_to_a_file_is_a_file_and_a_missing_one_is_missing(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("seed = 3\n")
    (tmp_path / "link.toml").symlink_to(tmp_path / "x")
    assert load_config(tmp_path / "link.toml").seed == 3
    with pytest.raises(FileNotFoundError):
        check_file(tmp_path / "none")


def test_settings_larger_than_any_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "big.toml"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(ConfigError, match="it has 1073741824 bytes, expected at most 1048576"):
        load_config(path)


def test_a_name_that_no_file_can_have_is_refused_like_one() -> None:
    with pytest.raises(UnfitFileError, match="a character that no file's can"):
        check_file("a\0b")
    with pytest.raises(UnfitFileError, match="a character that no file's can"):
        check_tree("a\0b")


def test_a_tree_is_looked_through_and_a_link_to_nowhere_is_no_bar(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x").write_text("1")
    (tmp_path / "a" / "gone").symlink_to(tmp_path / "nowhere")
    check_tree(tmp_path)
    check_tree(tmp_path / "a" / "b" / "x")
    with pytest.raises(FileNotFoundError):
        check_tree(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "a" / "b" / "pipe")
    with pytest.raises(UnfitFileError, match="it is a pipe") as refused:
        check_tree(tmp_path)
    assert refused.value.filename == str(tmp_path / "a" / "b" / "pipe")
