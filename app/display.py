"""Whether a window can be opened here, found out before Qt is asked.

Owns the system libraries that Qt links to and the packages that bring them. Qt aborts the whole
process where one is missing, with the advice to install the application again, so each is looked up
first. Knows nothing of windows.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

_ANY = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libglib-2.0.so.0": "libglib2.0-0",
}
"""What every platform of Qt on Linux needs: library and Debian's package."""
_X11 = {
    "libX11-xcb.so.1": "libx11-xcb1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-shm.so.0": "libxcb-shm0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
}
"""What an X display needs besides."""


def has_display() -> bool:
    """Whether there is a screen to open a window on, or a stand-in for one."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(
        os.environ.get("DISPLAY")
        or os.environ.get("WAYLAND_DISPLAY")
        or os.environ.get("QT_QPA_PLATFORM")
    )


def missing_packages(load: Callable[[str], object] = ctypes.CDLL) -> list[str]:
    """Return Debian's packages of the libraries that a window lacks here, each tried by `load`."""
    if not sys.platform.startswith("linux"):
        return []  # Qt's wheels bring everything there
    platform = os.environ.get("QT_QPA_PLATFORM", "").partition(":")[0]
    by_default = not platform and not os.environ.get("WAYLAND_DISPLAY")
    on_x11 = platform == "xcb" or (by_default and bool(os.environ.get("DISPLAY")))
    missing = []
    for library, package in {**_ANY, **(_X11 if on_x11 else {})}.items():
        try:
            load(library)
        except OSError:
            missing.append(package)
    return missing


def install_line(packages: list[str]) -> str:
    """Return the one line that installs packages on Debian and Ubuntu."""
    return f"sudo apt install {' '.join(packages)}"


def window_problem() -> str:
    """Return why no window can be opened here and what to do about it; empty where one can."""
    if not has_display():
        return (
            "There is no display to open a window on, expected DISPLAY or WAYLAND_DISPLAY: "
            "`--headless` does without."
        )
    missing = missing_packages()
    if not missing:
        return ""
    return (
        "System libraries that the window needs are missing: on Debian and Ubuntu "
        f"`{install_line(missing)}`; `--headless` does without."
    )
