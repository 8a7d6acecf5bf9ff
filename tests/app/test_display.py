"""A display without what Qt needs: said in one line, and the demo goes on without a window."""

from __future__ import annotations

from typing import Any

import pytest

from app import display
from app.cli import main
from app.commands import demo
from app.diagnosis import Status, check_qt
from app.display import missing_packages, window_problem

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="Qt brings all there")


@pytest.fixture
def on_x11(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":77")


def lacking(*libraries: str) -> Any:
    def load(name: str) -> None:
        if name in libraries:
            raise OSError(f"{name}: cannot open shared object file")

    return load


def test_each_missing_library_is_a_package(on_x11: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_packages(lacking()) == []
    assert missing_packages(lacking("libxcb-cursor.so.0")) == ["libxcb-cursor0"]
    assert missing_packages(lacking("libEGL.so.1", "libxkbcommon-x11.so.0")) == [
        *("libegl1", "libxkbcommon-x11-0"),
    ]
    # Nothing of X11 is needed where Qt does not use it.
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert missing_packages(lacking("libxcb-cursor.so.0")) == []
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    assert missing_packages(lacking("libxcb-cursor.so.0")) == ["libxcb-cursor0"]


@pytest.fixture
def without_cursor(on_x11: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "missing_packages", lambda: ["libxcb-cursor0"])


def test_the_window_says_what_to_install(
    without_cursor: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gui"]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "`sudo apt install libxcb-cursor0`" in line
    check = check_qt()
    assert check.status is Status.NOTE
    assert check.advice == "Debian, Ubuntu: sudo apt install libxcb-cursor0"


def test_the_demo_goes_on_without_a_window(
    without_cursor: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def watch(_make: object, *, note: str, **_: object) -> int:
        said.append(note)
        return 0

    monkeypatch.setattr(demo, "watch", watch)
    assert main(["demo", "--duration", "2"]) == 0
    assert said == [f"{window_problem()} The demo goes on headless."]
