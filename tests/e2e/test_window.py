"""The whole in a real window: keys and clicks go in through X, pictures come out on screen."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pytest
from PIL import Image

from app.views.common.theme import DARK
from devices.lsl_settings import machine_only
from tests.e2e.screen import (
    QT,
    Screen,
    find_box,
    likeness,
    linked_libraries,
    missing_parts,
    screen,
    until,
)
from tests.waiting import PATIENCE

needs_a_screen = pytest.mark.skipif(
    bool(missing_parts()),
    reason=f"not installed: {' '.join(missing_parts())}; .ci/run lists the packages",
)


@pytest.fixture
def display(tmp_path: Path) -> Iterator[Screen]:
    folder = tmp_path / "screen"
    folder.mkdir()
    with screen(folder) as display:
        yield display


@pytest.fixture
def environment(tmp_path: Path, display: Screen) -> dict[str, str]:
    """Folders, LSL and a browser of its own: `xdg-open` writes down what it should open.

    The cache is the tests': an engine is not built once more.
    """
    lsl = tmp_path / "lsl_api.cfg"
    lsl.write_text(machine_only(f"e2e-{uuid.uuid4().hex[:12]}"))
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    browser = bin_folder / "xdg-open"
    browser.write_text(f'#!/bin/sh\necho "$1" >> "{tmp_path}/opened"\n')
    browser.chmod(0o755)
    names = (
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_DOCUMENTS_DIR",
        "XDG_STATE_HOME",
    )
    return (
        {name: value for name, value in os.environ.items() if name != "WAYLAND_DISPLAY"}
        | {name: str(tmp_path / name.lower()) for name in names}
        | {"LSLAPICFG": str(lsl), "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
        | display.environment
    )


def _decoded(folder: Path) -> list[dict[str, object]]:
    events = folder / "events.jsonl"
    if not events.is_file():
        return []
    lines = [json.loads(line) for line in events.read_text().splitlines() if line.endswith("}")]
    return [line for line in lines if line.get("outcome") == "decoded"]


@needs_a_screen
@pytest.mark.lsl
@pytest.mark.slow
def test_start_connect_see_pictures_record_stop_and_open_the_report(
    tmp_path: Path, display: Screen, environment: dict[str, str]
) -> None:
    began = time.monotonic()
    with (
        (tmp_path / "log").open("w+") as log,
        subprocess.Popen(
            [sys.executable, "-m", "phosphene", "gui"],
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
            stdout=log,
            stderr=log,
        ) as program,
    ):
        try:
            _use(tmp_path, display)
            display.press("ctrl+q")
            assert program.wait(PATIENCE) == 0
        finally:
            if program.poll() is None:
                Image.fromarray(display.pixels()).save(tmp_path / "last.png")
                program.kill()
            log.seek(0)
            sys.stdout.write(f"{time.monotonic() - began:.1f} s; the window said:\n{log.read()}")


def _use(folder: Path, display: Screen) -> None:
    until(lambda: display.focus("Phosphene"), "the window")
    place = until(lambda: _still_button(display), "the demo's button")
    display.press("r")  # recording is on from the start: turn it off, so that R starts it later
    display.click(*place)
    kept = folder / "xdg_documents_dir" / "Phosphene"
    session = until(lambda: next(iter(kept.glob("*/")), None), "a session folder")
    until(lambda: _decoded(session), "a decoded picture")
    assert not list(session.glob("*.xdf"))
    until(lambda: _newest_is_seen(session, display), "the picture on the screen")

    display.press("r")
    recording = session / "recording.xdf"
    until(lambda: recording.is_file() and recording.stat().st_size > 20_000, "a growing recording")
    display.press("space")
    # The window asks, with keeping on as the answer at hand: go to the other one.
    until(lambda: display.focus("A recording is running"), "the question")
    display.press("Tab")
    display.press("space")
    summary = session / "summary.json"
    report = session / "report.html"
    until(lambda: summary.is_file() and report.is_file(), "the finished folder")
    opened = folder / "opened"

    until(lambda: display.focus("Phosphene"), "the window")

    def is_opened() -> bool:
        display.press("ctrl+r")
        return opened.is_file() and bool(opened.read_text())

    until(is_opened, "the report in the browser")
    url = urlparse(opened.read_text().splitlines()[0])
    assert Path(unquote(url.path)) == report
    said = json.loads(summary.read_text())
    assert said["phase"] == "stopped"
    assert said["outcomes"]["decoded"] >= 1
    assert said["recording"]["samples"] > 0


def _still_button(display: Screen) -> tuple[int, int] | None:
    """Where the first page's large button stands, once two looks at the screen agree."""
    accent = DARK.color("accent")
    colour = (accent.red(), accent.green(), accent.blue())
    places = []
    for _ in range(2):
        places.append(find_box(display.pixels(), colour, width=180))
        threading.Event().wait(0.2)
    return places[0] if places[0] == places[1] else None


def _newest_is_seen(session: Path, display: Screen) -> bool:
    """Whether the newest picture stands on the screen; upside down it must not be found."""
    newest = _decoded(session)[-1]
    picture = np.array(Image.open(session / str(newest["image"])).convert("RGB"))
    pixels, sizes = display.pixels(), range(160, 260, 4)
    seen, other = (likeness(pixels, each, sizes) for each in (picture, picture[::-1].copy()))
    sys.stdout.write(f"{newest['image']}: likeness {seen:.3f}, upside down {other:.3f}\n")
    return seen > 0.95 and seen > other + 0.02


def _needed(packages: list[str]) -> set[str]:
    """Return `packages` with everything installed that they depend on."""
    form = "${Package}\t${Provides}\t${Pre-Depends},${Depends}\n"
    listing = subprocess.run(
        ["dpkg-query", "-W", f"-f={form}"], check=True, capture_output=True, text=True
    ).stdout
    depends: dict[str, set[str]] = {}
    provided_by: dict[str, set[str]] = {}
    for line in listing.splitlines():
        name, provides, needs = line.split("\t")
        depends.setdefault(name, set()).update(re.findall(r"(?:^|[,|]) *([a-z0-9.+-]+)", needs))
        for other in re.findall(r"(?:^|,) *([a-z0-9.+-]+)", provides):
            provided_by.setdefault(other, set()).add(name)
    found: set[str] = set()
    queue = list(packages)
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue += depends.get(name, set()) | provided_by.get(name, set())
    return found


@pytest.mark.skipif(
    not all(shutil.which(name) for name in ("dpkg-query", "ldd")), reason="no Debian to ask"
)
def test_the_packages_of_ci_bring_every_library_of_the_window() -> None:
    """What Qt's X11 part links to comes from a package that `.ci/run` installs."""
    found, missing = linked_libraries()
    installs = os.environ.get("CI") == "true" and os.geteuid() == 0
    if missing and not installs:
        pytest.skip(f"not installed: {' '.join(missing)}; .ci/run lists the packages")
    assert not missing
    outside = [str(path) for path in found if not path.is_relative_to(QT)]
    script = (Path(__file__).resolve().parents[2] / ".ci" / "run").read_text()
    listed = re.search(r"^packages=\(([^)]*)\)", script, re.MULTILINE)
    assert listed is not None
    needed = _needed(listed[1].split())
    lines = subprocess.run(
        ["dpkg-query", "-S", *outside], check=False, capture_output=True, text=True
    ).stdout.splitlines()
    owners = {line.split(":")[0] for line in lines}
    assert len(lines) >= len(outside) / 2
    assert owners - needed == set()
    for name in ("xvfb", "xdotool"):
        assert name in needed
