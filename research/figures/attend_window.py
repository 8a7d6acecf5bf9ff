"""Runs the window of attending on a virtual person; makes `docs/img/attend.gif` of its live view.

Owns the run and the figures that it prints: redraws a second, and how long after its last sample a
decision is in the window. No screen shows it (offscreen), so nobody's answer to the warning is
taken away; the flickering grid itself is in no picture: `python -m research.figures.attend_window`.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["QT_QPA_PLATFORM"] = "offscreen"

import pylsl
from PIL import Image
from PySide6.QtCore import QBuffer, QIODevice

from app.attend.live import LiveAttend, LiveSetup
from app.attend.reading import LookOptions
from app.commands.gui import application
from app.views.attend.view import AttendView
from app.views.common.theme import DARK, apply_theme
from configs import load_preset
from devices.virtual.looker import Looker

OUT = Path(__file__).parents[2] / "docs" / "img" / "attend.gif"
N_LOOKS = 5
EVERY = 0.2
WIDTH = 480


def _shot(view: AttendView) -> Image.Image:
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    view.grab().save(buffer, "PNG")
    image = Image.open(io.BytesIO(buffer.data().data())).convert("RGB")
    return image.resize((WIDTH, round(image.height * WIDTH / image.width)))


def main() -> None:
    """Run it, print its figures, and write the film of its third look."""
    app = application()
    apply_theme(app, DARK)
    with tempfile.TemporaryDirectory() as folder:
        setup = LiveSetup(
            load_preset("attend"),
            LookOptions(),
            n_targets=12,
            n_looks=N_LOOKS,
            cued=True,
            looker=Looker(number=1),
            out=Path(folder) / "session",
        )
        live = LiveAttend(setup)
        view = AttendView(live, clock=pylsl.local_clock)
        view.set_theme(DARK)
        view.resize(720, 470)
        over: list[bool] = []
        view.over.connect(lambda: over.append(True))
        view.show()
        view.warning.accept.click()
        view.warning.understood.click()
        view.warning.begin.click()
        shots: list[Image.Image] = []
        rates: list[float] = []
        last = time.monotonic()
        while not over:
            app.processEvents()
            now = live.snapshot()
            if time.monotonic() - last >= EVERY:
                last = time.monotonic()
                if now.phase == "running" and now.look in (2, 3):
                    shots.append(_shot(view))
                if now.redraws:
                    rates.append(now.redraws)
            time.sleep(0.002)
        after = view.shown_after_ms
        view.shut_down()
    figures = live.summary["attend"] if live.summary else {}
    sys.stdout.write(
        f"redraws a second {sorted(rates)[len(rates) // 2]:.1f}, decisions shown after "
        f"{', '.join(f'{each:.0f}' for each in after)} ms; {figures.get('accuracy')} right, "
        f"mean {figures.get('mean_seconds')} s, {figures.get('frames_late')} frames late\n"
    )
    flat = [shot.quantize(64) for shot in shots]
    flat[0].save(OUT, save_all=True, append_images=flat[1:], duration=200, loop=0, optimize=True)


if __name__ == "__main__":
    main()
