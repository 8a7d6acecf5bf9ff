"""The one question that commands ask before something is done that cannot be undone."""

from __future__ import annotations

import io
import sys

import pytest

from app.output import ask


class Terminal(io.StringIO):
    """Text that comes from, or goes to, a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "answer"),
    [("y\n", True), (" YES \n", True), ("n\n", False), ("", False), ("yy\n", False)],
)
def test_yes_is_yes_and_everything_else_is_no(
    monkeypatch: pytest.MonkeyPatch, typed: str, answer: bool
) -> None:
    said = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys, "stderr", said)
    assert ask("All goes:\n  a\x1b[2J", "Really?") is answer
    assert said.getvalue() == "All goes:\n  a?[2J\nReally? [y/N] "


@pytest.mark.parametrize("name", ["stdin", "stderr"])
def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    said = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setattr(sys, name, io.StringIO("y\n"))
    assert ask("All goes.", "Really?") is None
    assert said.getvalue() == ""
