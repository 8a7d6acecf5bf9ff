"""The film `docs/img/free-running.gif`: windows without markers, before and after smoothing.

Owns both runs, `python -m research.figures.free_running`. The same simulated brain, looking at the
demonstration's pictures, is decoded twice by what ships: on the left each window by itself, a
picture twice a second, as it was at first; on the right four windows a second, smoothed, and mixed
on the way from one to the next, as the stage shows them.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw
from pylsl import local_clock

from app.port import Result
from app.runtime.launch import accelerated_source
from app.runtime.session import Session
from app.runtime.stimuli import candidate_labels, plan
from app.stage.motion import Motion
from configs import load_preset
from pipeline.gallery import load_gallery
from pipeline.values import Uint8

OUT = Path(__file__).parents[2] / "docs" / "img" / "free-running.gif"
SECONDS, RATE = 20.0, 6
"""Length of the film, s, and its frames a second: the stage shows 30."""
STREAM = SECONDS + 6.0
"""Length of what is decoded, s: the first windows wait for the filters."""
SIDE, HEAD, COLOURS = 100, 14, 32
TITLES = ("each by itself", "as the stage shows it")


def decoded(preset: str, out: Path) -> list[Result]:
    """Decode the simulated brain's windows by a preset."""
    config, demo = load_preset(preset), load_preset("demo")
    config = config.model_copy(
        update={
            "simulation": demo.simulation,
            "recording": config.recording.model_copy(update={"enabled": False}),
            "outlets": config.outlets.model_copy(update={"enabled": False}),
        }
    )
    labels = candidate_labels(load_gallery(), demo.stimuli)
    shown = itertools.takewhile(
        lambda item: item.at < STREAM, plan(demo.stimuli, labels, seed=config.seed)
    )
    onsets = ((item.at, item.label) for item in shown)
    source = accelerated_source(config, onsets, duration=STREAM)
    session = Session(
        config,
        out=out,
        open_source=lambda _stop: source,
        clock=local_clock,
        is_live=False,
        on_end=source.close,
        has_report=False,
    )
    session.start()
    results: list[Result] = []
    while not session.wait(0.2) or session.results(len(results)):
        results += session.results(len(results))  # only recent ones keep their pixels
    return [result for result in results if result.pixels is not None]


def frames(results: list[Result], *, moves: bool) -> list[Uint8]:
    """Return what a screen shows; `moves`: by the stage's way from one picture to the next."""
    first = min(result.t_onset for result in results)
    waiting, motion, found = list(results), Motion(), []
    held: Uint8 | None = None
    for number in range(round(SECONDS * RATE)):
        now = number / RATE
        while waiting and waiting[0].t_onset - first <= now:
            result = waiting.pop(0)
            if result.pixels is not None:
                held = result.pixels
                motion.show(held, result.t_onset - first)
        found.append(motion.frame(now) if moves or held is None else held)
    return found


def main() -> None:
    """Write the film."""
    with tempfile.TemporaryDirectory() as folder:
        before = decoded("free-running", Path(folder) / "before")
        after = decoded("stage", Path(folder) / "after")
    pairs = zip(frames(before, moves=False), frames(after, moves=True), strict=True)
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
