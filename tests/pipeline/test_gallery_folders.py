"""A gallery's folder may be anybody's: what is wrong with one is said in one sentence."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from pipeline.errors import GalleryError
from pipeline.gallery import SPACE, Gallery, load_gallery, open_gallery
from pipeline.gallery.folder import LISTING
from pipeline.gallery.making import find_pictures, make_gallery
from pipeline.gallery.pictures import read_picture
from pipeline.values import Float32, Uint8
from tests.own_pictures import save_pictures


def unit(pictures: Uint8) -> Float32:
    rows = np.random.default_rng(0).standard_normal((len(pictures), 64))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    save_pictures(folder / "pictures", ("tom", "dogs/rex", "dogs/ben"))
    out = folder / "made"
    make_gallery(find_pictures(folder / "pictures"), out, name="own", encoders={SPACE: unit})
    return out


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "made"))


def read_whole(folder: Path) -> None:
    gallery = open_gallery(folder)
    for label in gallery.labels:
        gallery.image(label)


def refuse(folder: Path, words: str) -> None:
    with pytest.raises(GalleryError, match=words) as caught:
        read_whole(folder)
    assert "\n" not in str(caught.value)


def change(folder: Path, edit: Callable[[Any], None]) -> None:
    listing = json.loads((folder / LISTING).read_text())
    edit(listing)
    (folder / LISTING).write_text(json.dumps(listing))


def test_what_was_made_is_read_back_as_it_is_called(folder: Path) -> None:
    gallery = open_gallery(folder)
    assert gallery.labels == ("tom", "ben", "rex")
    assert gallery.categories == ("picture", "dogs", "dogs")
    assert gallery.name == "own"
    assert gallery.image("rex", size=64).shape == (64, 64, 3)


def test_its_hash_follows_its_pictures_names_and_vectors(folder: Path) -> None:
    before = open_gallery(folder).sha256
    change(folder, lambda listing: listing["stimuli"][0].update(sha256="0" * 64))
    changed = open_gallery(folder).sha256
    save_file({"embeddings": unit(np.zeros((3, 1)))[::-1].copy()}, folder / f"{SPACE}.safetensors")
    assert len({before, changed, open_gallery(folder).sha256}) == 3


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png", "/etc/passwd", "images/../../secret.png", "", "images\\00000.webp",
        "C:/secret.png", "images//00000.webp", "./images/00000.webp", "images/\x00.png", "a" * 300,
    ],
)  # fmt: skip
def test_a_picture_outside_of_the_folder_is_never_opened(folder: Path, name: str) -> None:
    save_pictures(folder.parent, ("secret",))
    change(folder, lambda listing: listing["stimuli"][1].update(image=name, sha256=""))
    refuse(folder, "expected (one below that folder|a gallery's list)")


def test_a_missing_picture_is_named(folder: Path) -> None:
    (folder / "images" / "00001.webp").unlink()
    refuse(folder, r"00001\.webp is missing")


def test_a_link_is_no_picture_nor_table(folder: Path) -> None:
    secret = save_pictures(folder.parent, ("secret",))[0]
    picture = folder / "images" / "00001.webp"
    picture.unlink()
    picture.symlink_to(secret)
    refuse(folder, "is a link")
    shutil.move(folder / "images", folder.parent / "elsewhere")
    (folder / "images").symlink_to(folder.parent / "elsewhere")
    refuse(folder, "is a link")
    table = folder / f"{SPACE}.safetensors"
    table.rename(folder.parent / "table")
    table.symlink_to(folder.parent / "table")
    refuse(folder, "is a link")


def test_another_picture_under_the_same_name_is_refused(folder: Path) -> None:
    shutil.copy(folder / "images" / "00000.webp", folder / "images" / "00001.webp")
    refuse(folder, "another SHA-256")


@pytest.mark.parametrize("content", [b"", b"GIF89a" + bytes(40), b"\x89PNG\r\n\x1a\n" + bytes(60)])
def test_what_is_no_picture_is_refused(folder: Path, content: bytes) -> None:
    (folder / "images" / "00001.webp").write_bytes(content)
    change(folder, lambda listing: listing["stimuli"][2].update(image="images/00001.webp"))
    change(folder, lambda listing: [each.update(sha256="") for each in listing["stimuli"]])
    refuse(folder, "no picture that can be read")


def test_a_picture_that_is_too_large_to_decode_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"

    def chunk(kind: bytes, body: bytes) -> bytes:
        checked = kind + body
        return struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x"))
    save_pictures(tmp_path, ("other",))
    with pytest.raises(GalleryError, match=r"60000 x 60000 pixels|can be read"):
        make_gallery(find_pictures(tmp_path), tmp_path / "out", name="x", encoders={})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("cut", [0, 3, 17, 60, 100])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_cut_picture_is_one_sentence(tmp_path: Path, suffix: str, cut: int) -> None:
    path = save_pictures(tmp_path, ("one", "two"), suffix=suffix)[0]
    content = path.read_bytes()
    path.write_bytes(content[:cut])
    with pytest.raises(GalleryError) as caught:
        make_gallery(find_pictures(tmp_path), tmp_path / "out", name="x", encoders={})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (np.zeros((3, 64), np.float32), "norm 0"),
        (np.full((3, 64), np.nan, np.float32), "expected finite unit"),
        (np.full((3, 64), 1 / 8, np.float64), "expected float32"),
        (np.full((2, 64), 1 / 8, np.float32), r"\(3, n_features\)"),
        (np.ones(3, np.float32), r"\(3, n_features\)"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(folder: Path, table: Float32, words: str) -> None:
    save_file({"embeddings": table}, folder / f"{SPACE}.safetensors")
    refuse(folder, words)


def test_a_table_that_is_none_is_refused(folder: Path) -> None:
    save_file({"other": np.zeros(3, np.float32)}, folder / f"{SPACE}.safetensors")
    refuse(folder, "no tensor 'embeddings'")
    (folder / f"{SPACE}.safetensors").write_bytes(b"\xff" * 64)
    refuse(folder, "no tensor 'embeddings'")
    (folder / f"{SPACE}.safetensors").unlink()
    (folder / "A b.safetensors").write_bytes(b"")
    refuse(folder, "names no embedding space")


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{", "null", '{"schema": 1}', '{"schema": 2, "stimuli": []}', "[" * 100_000,
        '{"schema": 1, "stimuli": []}', '{"schema": 1, "stimuli": [{"label": 7}]}',
        '{"schema": 1, "background": [1, 2, 999], "stimuli": []}', "\xff\xfe", "NaN",
        '{"schema": 1, "stimuli": [{"label": "a\\u001b", "name": "a", "category": "b"}]}',
    ],
)  # fmt: skip
def test_a_list_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / LISTING).write_text(text, encoding="latin-1")
    refuse(folder, r"gallery\.json: .* is wrong")


def test_labels_that_repeat_are_refused(folder: Path) -> None:
    change(folder, lambda listing: listing["stimuli"][1].update(label="tom"))
    refuse(folder, "labels repeat")


def test_a_gallery_without_vectors_ranks_nothing(folder: Path) -> None:
    (folder / f"{SPACE}.safetensors").unlink()
    gallery = open_gallery(folder)
    assert (gallery.space, gallery.spaces) == ("", ())
    assert gallery.in_space("") is None
    with pytest.raises(GalleryError, match="cannot rank"):
        gallery.rank(np.zeros(0, np.float32))
    assert gallery.image("tom").shape == (128, 128, 3)


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(GalleryError, match="there is no gallery 'nowhere'"):
        load_gallery("nowhere")
    with pytest.raises(GalleryError, match="there is no gallery"):
        load_gallery("x" * 5000)
    with pytest.raises(GalleryError, match=r"cannot be read .*`phosphene gallery make`"):
        load_gallery(Path("/nowhere"))


# -- making ------------------------------------------------------------------------------------


def test_names_come_from_files_and_categories_from_subfolders(tmp_path: Path) -> None:
    save_pictures(tmp_path, ("My Cat_01", "a/tom", "b/tom"))
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no picture")
    found = find_pictures(tmp_path)
    assert [(each.label, each.name, each.category) for each in found] == [
        ("my-cat-01", "My Cat 01", "picture"),
        ("a-tom", "tom", "a"),
        ("b-tom", "tom", "b"),
    ]


def test_pictures_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="is no folder"):
        find_pictures(tmp_path / "nowhere")
    save_pictures(tmp_path, ("tom",))
    with pytest.raises(GalleryError, match="holds 1 pictures"):
        find_pictures(tmp_path)
    save_pictures(tmp_path, ("tom",), suffix=".jpg")
    with pytest.raises(GalleryError, match="both be called 'tom'"):
        find_pictures(tmp_path)
    (tmp_path / "tom.jpg").unlink()
    shutil.copy(tmp_path / "tom.png", tmp_path / "twin.png")
    with pytest.raises(GalleryError, match="the same picture"):
        make_gallery(find_pictures(tmp_path), tmp_path / "out", name="x", encoders={})
    with pytest.raises(GalleryError, match="not empty"):
        make_gallery(find_pictures(tmp_path), tmp_path, name="x", encoders={})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tom.png", "twin.png"]


def test_a_picture_is_seen_as_it_was_held_and_nothing_of_its_maker_is_kept(tmp_path: Path) -> None:
    wide = np.zeros((40, 60, 3), np.uint8)
    wide[:, :30] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    exif[0x010F] = "Maker of cameras"
    Image.fromarray(wide).save(tmp_path / "held.jpg", exif=exif, quality=95)
    half = np.zeros((40, 40, 4), np.uint8)
    half[:20] = 255
    Image.fromarray(half).save(tmp_path / "through.png")
    gallery = made_of(tmp_path)
    seen = gallery.image("held", size=40).astype(int)
    assert seen[:15].min() > 200
    assert seen[25:].max() < 60
    np.testing.assert_allclose(gallery.image("through", size=40)[30, 20], (210, 214, 220), atol=4)
    assert gallery.folder is not None
    for path in (gallery.folder / "images").iterdir():
        assert b"Maker of cameras" not in path.read_bytes()


def made_of(folder: Path) -> Gallery:
    return make_gallery(find_pictures(folder), folder / "out", name="x", encoders={SPACE: unit})


def test_a_file_that_is_no_picture_is_named_and_not_our_buffer(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"junk")
    with pytest.raises(GalleryError, match=r"a\.png is no picture") as caught:
        read_picture(tmp_path / "a.png")
    assert "BytesIO" not in str(caught.value)


def test_a_name_that_is_too_long_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    save_pictures(tmp_path / "pictures", ("tom", "rex"))
    found = find_pictures(tmp_path / "pictures")
    with pytest.raises(GalleryError, match="give another --name"):
        make_gallery(found, tmp_path / "out", name="n" * 80, encoders={})
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]
