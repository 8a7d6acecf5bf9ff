"""The extras that modules are said to come with are those of pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from pipeline.extras import EXTRAS, MissingExtraError, extras_named

ROOT = Path(__file__).resolve().parents[2]


def test_every_extra_that_is_named_exists() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(EXTRAS.values()) <= set(table["project"]["optional-dependencies"])


def test_every_library_of_an_extra_has_its_sentence() -> None:
    """What an installed library is imported as is told by its own files."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra, needs in table["optional-dependencies"].items():
        for need in needs if extra not in ("test", "check", "site") else ():
            try:
                files = distribution(re.split(r"[\[<>=~;! ]", need)[0]).files or ()
            except PackageNotFoundError:
                continue
            assert {each.parts[0].removesuffix(".py") for each in files} & set(EXTRAS), need


def test_what_no_extra_brings_is_raised_as_it_is() -> None:
    with pytest.raises(ModuleNotFoundError), extras_named("this"):
        import no_such_library  # noqa: F401
    with (
        pytest.raises(MissingExtraError, match=r"^an MP4 needs av, .*\[video\]', or a GIF\.$"),
        extras_named("an MP4", otherwise="or a GIF"),
    ):
        raise ModuleNotFoundError(name="av.container")
