"""Whether Qt can open a window here, for `phosphene doctor`."""

from __future__ import annotations

from PySide6 import __version__
from PySide6.QtGui import QGuiApplication


def probe_qt() -> dict[str, str]:
    """Start Qt; return its version and what it draws on. Ends the process where it cannot start."""
    application = QGuiApplication([])
    return {"qt": __version__, "platform": application.platformName()}
