"""Pictures of the window for the documentation, written by the tests that show it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QWidget

from app.port import Result

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "img"
WANTED = bool(os.environ.get("PHOSPHENE_WRITE_SCREENSHOTS"))

only_when_wanted = pytest.mark.skipif(
    not WANTED, reason="PHOSPHENE_WRITE_SCREENSHOTS=1 writes docs/img/window-*.webp and others"
)

N_BEFORE, SURE = 15, 0.9


def is_sure(pictures: Sequence[Result]) -> bool:
    """Whether the newest of `pictures` is one to show a session at.

    The first epoch after the first 15 (about 20 s) that is named exactly, with a confidence of
    90 %: what the decoder can do. What it does on average, the history in the same picture shows.
    """
    if len(pictures) <= N_BEFORE:
        return False
    newest = pictures[-1]
    return newest.rank == 1 and newest.confidence is not None and newest.confidence >= SURE


def shoot(widget: QWidget, name: str, *, kind: str = "window") -> None:
    """Write `widget` as it stands to `docs/img/KIND-NAME.webp`."""
    for _ in range(3):  # new texts ask for their room by an event
        QApplication.sendPostedEvents()
        QApplication.processEvents()
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    buffer = np.frombuffer(image.constBits(), dtype=np.uint8)
    rows = buffer.reshape(image.height(), image.bytesPerLine())[:, : 3 * image.width()]
    pixels = rows.reshape(image.height(), image.width(), 3)
    FOLDER.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(FOLDER / f"{kind}-{name}.webp", quality=82, method=6)
