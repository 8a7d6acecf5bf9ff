"""Figures of the window of attending, and the film `docs/img/attend.gif` of its live view.

Owns the runs. The film is what the view shows step by step of a virtual person under a virtual
clock: `python -m research.figures.attend_window`; with `live` the window runs in real time instead,
and prints redraws a second and how long after its last sample each decision is in the window; with
`stills` it writes `attend-grid.png` and `attend-view.png` of such a run, at the first look whose
answer is sure. No screen shows any of it (offscreen).
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

os.environ["QT_QPA_PLATFORM"] = "offscreen"

import pylsl
from PIL import Image
from PySide6.QtCore import QBuffer, QIODevice

from app.attend.choosing import choose_pictures, cues, upright_gallery
from app.attend.drawing import Drawn, Here
from app.attend.live import LiveAttend, LiveSetup, LiveSnapshot
from app.attend.reading import Ended, LookOptions, Stepped
from app.attend.session import AttendSession
from app.commands.gui import application
from app.view_models.attend.grid_frames import GridFrames, Stage
from app.view_models.attend.warning import Answered
from app.views.attend.view import AttendView
from app.views.common.theme import DARK, apply_theme
from configs import load_preset
from devices.virtual.looker import Looker, LookerSource
from pipeline.codes import FRAME_RATE, gold_codes
from pipeline.looks import Grid
from pipeline.values import Uint8

OUT = Path(__file__).parents[2] / "docs" / "img" / "attend.gif"
N_TARGETS, N_LOOKS = 12, 7
N_STILL = 20
SURE = 0.9
"""Confidence of the picture in the stills."""
FILMED = (5, 6)
"""Looks of the film."""
EVERY = 2
"""Steps of 0.1 s a picture of the film."""
WIDTH = 430


class _Told:
    """A session that is told to the view, step by step."""

    def __init__(self, labels: tuple[str, ...], pixels: list[Uint8]) -> None:
        self.labels, self._pixels = labels, pixels
        self.now = LiveSnapshot("loading", labels=labels, is_simulated=True)

    def start(self) -> None:
        """Nothing is to be loaded."""

    def pixels(self) -> list[Uint8]:
        """Pictures of the grid."""
        return self._pixels

    def begin(self, answered: Answered, *, refresh_hz: float) -> GridFrames:
        """No grid is opened."""
        raise RuntimeError(f"{answered} at {refresh_hz} Hz")

    def snapshot(self) -> LiveSnapshot:
        """What was told last."""
        return self.now

    def stop(self) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing runs."""


def _shot(view: AttendView) -> Image.Image:
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    view.grab().save(buffer, "PNG")
    image = Image.open(io.BytesIO(buffer.data().data())).convert("RGB")
    return image.resize((WIDTH, round(image.height * WIDTH / image.width)))


def film() -> None:
    """Write the film."""
    app = application()
    config = load_preset("attend")
    drawing = Here(config)
    pictures = choose_pictures(config, drawing, N_TARGETS)
    grid = Grid(gold_codes(N_TARGETS), pictures.labels, FRAME_RATE)
    told = _Told(pictures.labels, pictures.pixels(upright_gallery(config, drawing.space)))
    view = AttendView(told, clock=pylsl.local_clock)
    view.set_theme(DARK)
    view.show()
    for button in (view.warning.accept, view.warning.understood, view.warning.begin):
        button.click()
    view.map.show_pictures(told.pixels())
    session = AttendSession(
        config,
        LookerSource(Looker(number=1), grid, n_looks=N_LOOKS),
        LookOptions(),
        out=None,
        pictures=lambda _n: pictures,
        cues=cues(config.seed, N_TARGETS),
        n_looks=N_LOOKS,
    )
    shots: list[Image.Image] = []
    n_steps = 0

    def see(event: Stepped | Ended) -> None:
        nonlocal n_steps
        n_steps += 1
        is_step = isinstance(event, Stepped)
        if event.look not in FILMED or (is_step and n_steps % EVERY):
            return
        now = replace(told.now, phase="running", look=event.look, figures=session.tally.figures())
        if isinstance(event, Stepped):
            step = event.step
            picture = drawing.draw(pictures.known(step.posterior, number=0, t_onset=0.0))
            drawn = Drawn(n_steps, picture.pixels, picture.confidence, 0.0)
            now = replace(now, seconds=step.seconds, posterior=step.posterior, drawn=drawn)
        else:
            now = replace(now, ended=event)
        told.now = now
        view.refresh()
        app.processEvents()
        shots.extend([_shot(view)] * (1 if is_step else 6))

    session.play(on_event=see)
    view.shut_down()
    flat = [shot.quantize(48, dither=Image.Dither.NONE) for shot in shots]
    flat[0].save(OUT, save_all=True, append_images=flat[1:], duration=200, loop=0, optimize=True)


@contextlib.contextmanager
def _window(n_targets: int) -> Iterator[tuple[LiveAttend, AttendView, list[bool]]]:
    """Open the window on a virtual person in real time; the list is filled when it is over."""
    application()
    with tempfile.TemporaryDirectory() as folder:
        setup = LiveSetup(
            load_preset("attend"),
            LookOptions(),
            n_targets=n_targets,
            n_looks=N_LOOKS,
            cued=True,
            looker=Looker(number=1),
            out=Path(folder) / "session",
        )
        running = LiveAttend(setup)
        view = AttendView(running, clock=pylsl.local_clock)
        over: list[bool] = []
        view.over.connect(lambda: over.append(True))
        view.show()
        for button in (view.warning.accept, view.warning.understood, view.warning.begin):
            button.click()
        yield running, view, over
        view.shut_down()


def stills() -> None:
    """Write the grid and the live view of one moment of a run in real time."""
    app = application()
    with _window(N_STILL) as (running, view, _):
        is_sure = False
        while not is_sure and running.snapshot().phase not in ("ended", "failed"):
            app.processEvents()
            drawn = running.snapshot().drawn
            window = view.grid
            flickers = window is not None and window.grid_frames.stage is Stage.FLICKER
            is_sure = flickers and drawn is not None and drawn.confidence > SURE
            time.sleep(0.002)
        view.refresh()
        app.processEvents()
        if view.grid is not None:
            view.grid.grab().save(str(OUT.with_name("attend-grid.png")))
        view.grab().save(str(OUT.with_name("attend-view.png")))


def live() -> None:
    """Run the window in real time; print its figures."""
    app = application()
    with _window(N_TARGETS) as (running, view, over):
        rates: list[float] = []
        while not over:
            app.processEvents()
            now = running.snapshot()
            if now.redraws:
                rates.append(now.redraws)
            time.sleep(0.002)
    figures = running.summary["attend"] if running.summary else {}
    after = ", ".join(f"{each:.0f}" for each in view.shown_after_ms)
    sys.stdout.write(
        f"redraws a second {sorted(rates)[len(rates) // 2]:.1f}, decisions shown after {after} ms; "
        f"{figures.get('accuracy')} right, mean {figures.get('mean_seconds')} s, "
        f"{figures.get('frames_late')} frames late\n"
    )


if __name__ == "__main__":
    apply_theme(application(), DARK)
    asked = sys.argv[1] if len(sys.argv) > 1 else "film"
    {"film": film, "live": live, "stills": stills}[asked]()
