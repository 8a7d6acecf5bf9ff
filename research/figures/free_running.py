"""The film `docs/img/free-running.gif`: windows without markers, before and after smoothing.

Owns both runs, `python -m research.figures.free_running`. The same simulated brain, looking at the
demonstration's pictures, is decoded live twice by what ships: on the left each window by itself, a
picture twice a second, as it was at first; on the right four windows a second, smoothed, on the way
from one to the next through pictures that are drawn between, as the stage shows them.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from PIL import Image, ImageDraw

from app.port import Result
from app.runtime.launch import demo_session
from app.stage.keeper import Run, Who
from app.stage.motion import Motion
from configs import load_preset
from pipeline.values import Uint8

OUT = Path(__file__).parents[2] / "docs" / "img" / "free-running.gif"
SECONDS, RATE = 20.0, 6
"""Length of the film, s, and its frames a second: the stage shows 30."""
WARM, POLL = 6.0, 0.02
"""From the first picture on, until the alignment has settled; between two looks, s."""
SIDE, HEAD, COLOURS = 100, 14, 32
TITLES = ("each by itself", "as the stage shows it")


def seen(preset: str, out: Path, *, moves: bool) -> list[Uint8]:
    """Decode the simulated brain's windows live, and keep what a screen shows meanwhile.

    `moves`: by the stage's way from one picture to the next.
    """
    config, demo = load_preset(preset), load_preset("demo")
    config = config.model_copy(
        update={
            "simulation": demo.simulation,
            "stimuli": demo.stimuli,
            "recording": config.recording.model_copy(update={"enabled": False}),
            "outlets": config.outlets.model_copy(update={"enabled": False}),
        }
    )
    session = demo_session(config, out=out, has_report=False)
    session.start()
    run, motion, found = Run(Who.VISITOR, session, 0.0), Motion(), list[Uint8]()
    shown: Result | None = None
    passed = 0.0
    began: float | None = None
    while began is None or len(found) < SECONDS * RATE:
        time.sleep(POLL)
        now = time.monotonic()
        run.look(now)
        newest = run.newest
        if newest is None or newest.pixels is None:
            continue
        if newest is not shown:
            motion.show(newest.pixels, now)
            shown, passed = newest, 0.0
        for each in run.snapshot.between:
            if each.index == newest.index and each.at > passed:
                motion.pass_by(each.pixels, each.at, now)
                passed = each.at
        began = now + WARM if began is None else began
        if now >= began + len(found) / RATE:
            found.append(motion.frame(now) if moves else newest.pixels)
    session.stop()
    session.wait(30.0)
    return found


def main() -> None:
    """Write the film."""
    with tempfile.TemporaryDirectory() as folder:
        before = seen("free-running", Path(folder) / "before", moves=False)
        after = seen("stage", Path(folder) / "after", moves=True)
    pairs = zip(before, after, strict=True)
    film = []
    for pair in pairs:
        image = Image.new("RGB", (2 * SIDE + 8, SIDE + HEAD), (11, 13, 18))
        draw = ImageDraw.Draw(image)
        for column, (pixels, title) in enumerate(zip(pair, TITLES, strict=True)):
            picture = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            image.paste(picture, (column * (SIDE + 8), HEAD))
            draw.text((column * (SIDE + 8) + 2, 2), title, fill=(232, 234, 240))
        film.append(image.quantize(COLOURS, dither=Image.Dither.NONE))
    film[0].save(
        OUT,
        save_all=True,
        append_images=film[1:],
        duration=round(1000 / RATE),
        loop=0,
        optimize=True,
    )


if __name__ == "__main__":
    main()
