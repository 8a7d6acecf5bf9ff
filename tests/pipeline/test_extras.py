"""The extras that modules are said to come with are those of pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from pipeline.extras import EXTRAS, MissingExtraError, extras_named

ROOT = Path(__file__).resolve().parents[2]


def test_every_extra_that_is_named_exists() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(EXTRAS.values()) <= set(table["project"]["optional-dependencies"])


def test_what_no_extra_brings_is_raised_as_it_is() -> None:
    with pytest.raises(ModuleNotFoundError), extras_named("this"):
        import no_such_library  # noqa: F401
    with (
        pytest.raises(MissingExtraError, match=r"^an MP4 needs av, .*\[video\]', or a GIF\.$"),
        extras_named("an MP4", otherwise="or a GIF"),
    ):
        raise ModuleNotFoundError(name="av.container")
