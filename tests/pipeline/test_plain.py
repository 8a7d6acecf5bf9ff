"""Text that others wrote, made safe to show."""

from __future__ import annotations

import json

import pytest

from configs.plain import REPLACEMENT, plain, plain_json

NASTY = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b2J",
    "a\rphosphene: all is well",
    "a\nphosphene: all is well",
    "a\u2028b\u2029c\x85d\x0be",
    "\u202egnp.exe",
    "\u2066x\u2069\u200f\ufeff",
    "nul\x00bell\x08back\x7fdel",
    "\ud800lone",
)


@pytest.mark.parametrize("text", NASTY)
def test_nothing_that_moves_a_terminal_is_left(text: str) -> None:
    shown = plain(text)
    assert all(c.isprintable() for c in shown), ascii(shown)
    assert REPLACEMENT in shown
    assert len(shown) == len(text)


@pytest.mark.parametrize(
    "text", ["amp-1", "Größe µV", "脳波", "ناقل", "می‌خواهم", "👩‍🔬", "a b", ""]
)
def test_what_people_write_stays(text: str) -> None:
    assert plain(text) == text


def test_length_and_kept_characters() -> None:
    assert plain("x" * 500) == "x" * 199 + "…"
    assert plain("x" * 500, limit=None) == "x" * 500
    assert plain("a\nb\tc", keep="\n") == f"a\nb{REPLACEMENT}c"


@pytest.mark.parametrize("text", NASTY)
def test_json_reads_back_the_same_and_holds_no_control_character(text: str) -> None:
    written = plain_json({"name": text, "µ": 1})
    assert json.loads(written) == {"name": text, "µ": 1}
    assert all(c.isprintable() or c == "\n" for c in written)
