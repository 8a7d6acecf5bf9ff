"""Pictures for outside: one as PNG, the history as a grid or as an animation.

Owns layout and files of what is exported, and the thread that writes. Knows nothing of Qt.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app import formatting
from app.errors import AppError
from app.port import Result
from app.view_models.session.pictures import PictureLoader
from pipeline.errors import PhospheneError
from pipeline.extras import extras_named
from pipeline.values import Uint8

if TYPE_CHECKING:
    from PIL import Image

_LOG = logging.getLogger(__name__)

CELL, GAP, CAPTION, MARGIN = 128, 8, 20, 24
COLUMNS = 6
MAX_FRAMES = 120
"""An animation shows the newest: more would be minutes long and megabytes large."""
FRAME_MS = 900
VIDEO_FPS = 10
PAPER, INK, MUTED, HIT = (255, 255, 255), (24, 32, 44), (79, 91, 107), (10, 118, 101)


def save_picture(path: Path, pixels: Uint8) -> None:
    """Write (height, width, 3) uint8 as PNG; raise `AppError` where it cannot be written."""
    from PIL import Image

    _write(path, lambda: Image.fromarray(pixels).save(path, format="PNG"))


def save_grid(path: Path, results: Sequence[Result], load: PictureLoader) -> None:
    """Write every picture beside its stimulus, oldest first, as one PNG."""
    from PIL import Image

    tiles = [_tile(result, load) for result in _with_pictures(results)]
    width, height = max(t.width for t in tiles), tiles[0].height
    n_columns = min(COLUMNS, len(tiles))
    n_rows = -(-len(tiles) // n_columns)
    size = (
        n_columns * (width + MARGIN) + MARGIN,
        n_rows * (height + MARGIN) + MARGIN,
    )
    sheet = Image.new("RGB", size, PAPER)
    for at, tile in enumerate(tiles):
        row, column = divmod(at, n_columns)
        sheet.paste(tile, (MARGIN + column * (width + MARGIN), MARGIN + row * (height + MARGIN)))
    _write(path, lambda: sheet.save(path, format="PNG"))


def save_animation(path: Path, results: Sequence[Result], load: PictureLoader) -> None:
    """Write the newest pictures, one after the other, as an animated GIF that repeats."""
    frames = [_tile(result, load) for result in _with_pictures(results)[-MAX_FRAMES:]]
    size = (max(f.width for f in frames) + 2 * MARGIN, frames[0].height + 2 * MARGIN)
    sheets = [_on_paper(frame, size) for frame in frames]
    _write(
        path,
        lambda: sheets[0].save(
            path,
            format="GIF",
            save_all=True,
            append_images=sheets[1:],
            duration=FRAME_MS,
            loop=0,
        ),
    )


def save_video(path: Path, results: Sequence[Result], load: PictureLoader) -> None:
    """Write the newest pictures, one after the other, as an MP4 (H.264) that any player shows.

    Raises
    ------
    AppError
        The file cannot be written.
    MissingExtraError
        PyAV is not installed.
    """
    with extras_named("an MP4", otherwise="or export a GIF instead"):
        import av
    frames = [_tile(result, load) for result in _with_pictures(results)[-MAX_FRAMES:]]
    width, height = max(f.width for f in frames) + 2 * MARGIN, frames[0].height + 2 * MARGIN
    # The codec halves the colours' resolution: both sides must be even.
    size = (width + width % 2, height + height % 2)
    sheets = [_on_paper(frame, size) for frame in frames]

    def write() -> None:
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=VIDEO_FPS, options={"crf": "18"})
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            for sheet in sheets:
                frame = av.VideoFrame.from_image(sheet)
                for _ in range(round(FRAME_MS / 1000 * VIDEO_FPS)):
                    frame.pts = None
                    container.mux(stream.encode(frame))
            container.mux(stream.encode())

    _write(path, write)


def export_history(path: Path, results: Sequence[Result], load: PictureLoader) -> None:
    """Write the history as what the name asks for: `.gif`, `.mp4`, else a grid."""
    writers = {".gif": save_animation, ".mp4": save_video}
    writers.get(path.suffix.lower(), save_grid)(path, results, load)


class BackgroundTask:
    """One call in a thread; its end is polled for."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error = ""

    @property
    def busy(self) -> bool:
        """Whether a call is under way, or its end has not been asked for yet."""
        return self._thread is not None

    def start(self, call: Callable[[], None]) -> bool:
        """Run `call`; return False when one is under way already."""
        if self._thread is not None:
            return False
        self._error = ""
        self._thread = threading.Thread(target=self._run, args=(call,), name="task", daemon=True)
        self._thread.start()
        return True

    def poll(self) -> str | None:
        """Return None while it runs (or nothing does), then once `""` or what went wrong."""
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread = None
        return self._error

    def close(self, timeout: float = 5.0) -> None:
        """Wait up to `timeout` s for the end."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self, call: Callable[[], None]) -> None:
        try:
            call()
        except PhospheneError as error:
            self._error = str(error)
        except Exception as error:  # noqa: BLE001  the top of a thread: becomes a sentence
            _LOG.exception("a task of the window failed")
            self._error = f"Something unexpected went wrong ({error}). The log has the details."


def _with_pictures(results: Sequence[Result]) -> list[Result]:
    found = [result for result in results if result.pixels is not None]
    if not found:
        raise AppError("There is no picture to export yet: wait for the first one.")
    return found


def _write(path: Path, write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as error:
        reason = error.strerror or error
        raise AppError(f"{path}: cannot be written ({reason}): choose another place.") from None


def _on_paper(tile: Image.Image, size: tuple[int, int]) -> Image.Image:
    from PIL import Image

    sheet = Image.new("RGB", size, PAPER)
    sheet.paste(tile, (MARGIN, MARGIN))
    return sheet


def _tile(result: Result, load: PictureLoader) -> Image.Image:
    """Stimulus, picture and control of one result, with what they are below."""
    from PIL import Image, ImageDraw, ImageFont

    pictures: list[tuple[Uint8 | None, str]] = [
        (load(result.label), formatting.label(result.label)),
        (result.pixels, _guess(result)),
    ]
    if result.control_pixels is not None:
        pictures.append((result.control_pixels, "noise control"))
    tile = Image.new("RGB", (len(pictures) * (CELL + GAP) - GAP, CELL + CAPTION), PAPER)
    draw, font = ImageDraw.Draw(tile), ImageFont.load_default(13)
    for at, (pixels, words) in enumerate(pictures):
        left = at * (CELL + GAP)
        if pixels is not None:
            tile.paste(_scaled(pixels), (left, 0))
        else:
            draw.rectangle((left, 0, left + CELL - 1, CELL - 1), outline=MUTED)
        color = HIT if at == 1 and result.rank == 1 else (MUTED if at > 1 else INK)
        text = words.encode("latin-1", "replace").decode("latin-1")
        while text and draw.textlength(text, font=font) > CELL:
            text = text[:-1]
        draw.text((left, CELL + 3), text, fill=color, font=font)
    return tile


def _guess(result: Result) -> str:
    rank = "" if result.rank is None else f"{formatting.ordinal(result.rank)}, "
    return rank + (formatting.label(result.top[0][0]) if result.top else "decoded")


def _scaled(pixels: Uint8) -> Image.Image:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    return image.resize((CELL, CELL), Image.Resampling.BICUBIC)
