"""Pictures that names of classes suggest: the right one, or none."""

from __future__ import annotations

import pytest

from models.adapters.errors import AdapterError
from models.adapters.suggesting import suggestion, target_of
from models.adapters.targets import prototypes
from pipeline.gallery import load_gallery

GALLERY = load_gallery()


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("house-upright", "house"),
        ("house_inverted", "house-inverted"),
        ("FACE/upside down", "smiling-face-inverted"),
        ("Faces", "smiling-face"),
        ("cats", "cat"),
        ("checker-left", "checkerboard-left"),
        ("Checkerboard", "checkerboard-full"),
        ("nontarget", ""),
        ("left", ""),
        ("S 11", ""),
        ("object", ""),
    ],
)
def test_a_name_suggests_what_it_says(name: str, picture: str) -> None:
    assert suggestion(name, GALLERY) == picture


def test_a_class_without_a_picture_lies_nowhere() -> None:
    targets = (target_of("a", "house", GALLERY), target_of("b", "none", GALLERY))
    where = prototypes(targets, GALLERY)
    assert where[0] @ where[0] == pytest.approx(1.0, abs=1e-5)
    assert not where[1].any()
    assert targets[0].image_sha256
    assert not targets[1].has_picture
    assert target_of("c", "face", GALLERY).picture == "smiling-face"
    with pytest.raises(AdapterError, match="`phosphene gallery show`"):
        target_of("d", "unicorn-of-mine", GALLERY)
