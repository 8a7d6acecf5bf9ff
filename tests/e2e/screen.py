"""A real X screen without a monitor: Xvfb, seen through its frame buffer, driven by xdotool."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import PySide6
from PIL import Image
from scipy.signal import fftconvolve

from pipeline.values import Float64, Uint8
from tests.waiting import PATIENCE

Found = TypeVar("Found")
TOOLS = ("Xvfb", "xdotool")
QT = Path(PySide6.__file__).resolve().parent / "Qt"


@cache
def linked_libraries() -> tuple[list[Path], list[str]]:
    """What Qt's X11 part links to: files that are there, and names of those that are not."""
    parts = [QT / "plugins/platforms/libqxcb.so", QT / "lib/libQt6XcbQpa.so.6"]
    if shutil.which("ldd") is None or not all(part.is_file() for part in parts):
        return [], ["libqxcb.so"]
    said = subprocess.run(["ldd", *parts], check=False, capture_output=True, text=True).stdout
    found = {Path(path).resolve() for path in re.findall(r"=> (/\S+)", said)}
    return sorted(found), sorted(set(re.findall(r"(\S+) => not found", said)))


def missing_parts() -> list[str]:
    """Names of the programs and libraries that are not installed."""
    return [name for name in TOOLS if shutil.which(name) is None] + linked_libraries()[1]


def until(condition: Callable[[], Found], what: str, *, timeout: float = PATIENCE) -> Found:
    """Wait for `condition` to become true and return it; fail with `what` when time is up."""
    end, pause = time.monotonic() + timeout, threading.Event()
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        pause.wait(0.1)
    return found


class Screen:
    """One X display; `environment` puts a program on it."""

    def __init__(self, number: str, folder: Path) -> None:
        self.environment = {"DISPLAY": f":{number}", "QT_QPA_PLATFORM": "xcb"}
        self._buffer = folder / "Xvfb_screen0"

    def pixels(self) -> Uint8:
        """Return what is on the screen, (height, width, 3)."""
        raw = self._buffer.read_bytes()
        head = struct.unpack(">25I", raw[:100])
        size, width, height, line, n_colours = head[0], head[4], head[5], head[12], head[19]
        start = size + 12 * n_colours
        data = np.frombuffer(raw, np.uint8, height * line, start).reshape(height, -1, 4)
        return np.ascontiguousarray(data[:, :width, 2::-1])

    def xdotool(self, *words: str) -> str:
        """Run xdotool on this display; return what it says."""
        environment = os.environ | self.environment
        command = ["xdotool", *words]
        # xdotool fails when it finds no window: the empty answer says so.
        done = subprocess.run(
            command, check=False, env=environment, capture_output=True, text=True, timeout=20
        )
        return done.stdout.strip()

    def press(self, key: str) -> None:
        """Press and release a key, as the keyboard would."""
        self.xdotool("key", key)

    def click(self, x: int, y: int) -> None:
        """Click with the left button."""
        self.xdotool("mousemove", str(x), str(y), "click", "1")

    def focus(self, title: str) -> bool:
        """Give the keyboard to the window called `title`; there is no window manager to do so."""
        names = self.xdotool("search", "--onlyvisible", "--name", title).split()
        if not names:
            return False
        self.xdotool("windowfocus", names[-1])
        return self.xdotool("getwindowfocus") == names[-1]


@contextmanager
def screen(folder: Path, *, size: str = "1280x800") -> Iterator[Screen]:
    """Start an X server of one's own on a free display; end it afterwards."""
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", f"{size}x24", "-nolisten", "tcp"]
    with subprocess.Popen(
        [*command, "-fbdir", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:
        if server.stdout is None:
            raise AssertionError("Xvfb has no output")
        try:
            yield Screen(server.stdout.readline().decode().strip(), folder)
        finally:
            server.terminate()


def find_box(pixels: Uint8, colour: tuple[int, int, int], *, width: int) -> tuple[int, int] | None:
    """Return the middle of the filled area of `colour` that is at least `width` pixels wide."""
    mask = (pixels == np.array(colour, np.uint8)).all(axis=2)
    filled = mask[:-4] & mask[1:-3] & mask[2:-2] & mask[3:-1] & mask[4:]  # a border is thinner
    wide = np.flatnonzero(filled.sum(axis=1) >= width)
    if not len(wide):
        return None
    middle = int(wide[len(wide) // 2])
    return int(np.median(np.flatnonzero(filled[middle]))), middle


def likeness(pixels: Uint8, picture: Uint8, sizes: range, *, shrink: int = 4) -> float:
    """Return the highest correlation of `picture` at any of `sizes` with any place of the screen.

    1: it stands there exactly. Both are grey and shrunk first: enough to tell pictures apart.
    """
    ground = _small(pixels, pixels.shape[1] // shrink, pixels.shape[0] // shrink)
    best = 0.0
    for size in sizes:
        side = size // shrink
        template = _small(picture, side, side)
        template -= template.mean()
        window = np.ones((side, side))
        cross = fftconvolve(ground, template[::-1, ::-1], mode="valid")
        mean = fftconvolve(ground, window, mode="valid") / side**2
        power = fftconvolve(ground**2, window, mode="valid") / side**2
        spread = side * np.sqrt(np.maximum(power - mean**2, 1.0))
        best = max(best, float((cross / (spread * np.linalg.norm(template))).max()))
    return best


def _small(image: Uint8, width: int, height: int) -> Float64:
    grey = Image.fromarray(image).convert("L").resize((width, height), Image.Resampling.BOX)
    return np.asarray(grey, dtype=np.float64)
