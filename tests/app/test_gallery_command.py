"""`phosphene gallery`, and what its how-to says, followed line by line."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from app.cli import main
from pipeline.gallery import SPACE, load_gallery
from tests.how_to import PAGES, install, write_files
from tests.own_pictures import save_pictures

PAGE = "make-a-gallery.md"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real pictures in colour, of some size: those of the shipped gallery will do."""
    folder = tmp_path_factory.mktemp("own") / "my-pictures"
    for label, name in (
        ("house", "garden.jpg"), ("cat", "cats/tom.jpg"), ("tiger", "cats/minka.jpg"),
        ("dog", "dogs/rex.png"),
    ):  # fmt: skip
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(load_gallery().image(label, size=300)).save(path)
    return folder


@pytest.fixture(scope="module")
def made(pictures: Path) -> Path:
    out = pictures.parent / "made"
    assert main(["gallery", "make", str(pictures), "--out", str(out), "--json"]) == 0
    return out


def test_the_how_to_is_followed_line_by_line(
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(pictures, tmp_path / "my-pictures")
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^\$ phosphene (.*)$", (PAGES / PAGE).read_text(encoding="utf-8"), re.M)
    assert len(lines) == 3
    for line in lines:
        assert main(line.split()) == 0
    said = capsys.readouterr().out
    assert "my-gallery: 4 pictures" in said
    assert "most alike in phosphene-gallery-64: " in said
    text = (tmp_path / "my-demo" / "events.jsonl").read_text(encoding="utf-8")
    events = [json.loads(line) for line in text.splitlines()]
    decoded = [event for event in events if event["outcome"] == "decoded"]
    assert len(decoded) >= 5
    assert {event["label"] for event in decoded} == {"garden", "tom", "minka", "rex"}
    assert all(event["chance"] == 0.25 and event["rank"] in (1, 2, 3, 4) for event in decoded)
    # The virtual brain answers to the pictures' own vectors, and the decoder reads them.
    right = sum(event["rank"] == 1 for event in decoded)
    assert right > len(decoded) / 2
    settings = (tmp_path / "my-demo" / "session.toml").read_text(encoding="utf-8")
    assert f'gallery = "{tmp_path / "my-gallery"}"' in settings
    assert load_gallery(Path("my-gallery")).sha256 in settings
    report = (tmp_path / "my-demo" / "report.html").read_text(encoding="utf-8")
    assert "stimulus: tom" in report


def test_a_gallery_in_a_distribution_is_known_by_its_name(
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_files(PAGE, tmp_path)
    install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "acme_pictures", raising=False)
    assert main(["gallery", "list"]) == 0  # its folder was forgotten: one line, and ours is listed
    out, said = capsys.readouterr()
    assert "fluent-emoji" in out
    assert "acme " not in out
    assert said.count("\n") == 1
    assert "gallery 'acme' of acme-pictures 1.0: " in said
    shutil.copytree(made, tmp_path / "acme_pictures" / "gallery")
    assert main(["gallery", "list", "--json"]) == 0
    galleries = json.loads(capsys.readouterr().out)["galleries"]
    assert [each["name"] for each in galleries] == ["fluent-emoji", "acme"]
    assert galleries[1]["stimuli"] == 4


def test_the_lists_are_documents(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["gallery", "list", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["galleries"][0]
    assert (first["name"], first["stimuli"]) == ("fluent-emoji", 457)
    assert main(["gallery", "show", str(made), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["spaces"] == {SPACE: [64]}
    assert [each["label"] for each in shown["stimuli"]] == ["garden", "minka", "tom", "rex"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--space", "clip-vit-h-14-image"], "weights of clip-vit-h-14-image are not on this"),
        (["--space", "nonsense"], "no encoder of pictures is known for the space 'nonsense'"),
    ],
)
def test_absent_weights_are_one_line(
    words: list[str],
    said: str,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    out = tmp_path / "out"
    assert main(["gallery", "make", str(pictures), "--out", str(out), *words]) == 1
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error
    assert not out.exists()


def test_a_folder_without_pictures_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_pictures(tmp_path, ("one",))
    assert main(["gallery", "make", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "holds 1 pictures" in capsys.readouterr().err
    assert main(["demo", "--headless", "--gallery", str(tmp_path)]) == 1
    assert "gallery.json cannot be read" in capsys.readouterr().err
