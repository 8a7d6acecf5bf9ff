"""What was shown beside what was drawn, trial by trial: `grid.webp` of a session of classes.

Owns the picture: the first trials that the decoder had not learnt from, in order, none picked.
What was shown is a word, for a marker says no more; what was decoded is the session's own picture,
framed by whether its class is right (green), right but for what follows the first hyphen (amber),
or wrong (red). A trial that was refused has no picture.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from app.formatting import count
from app.report.markup import clean
from app.report.pictures import decoded_image
from app.report.record import Event, SessionRecord, as_number, dig, read_record

GRID = "grid.webp"
N_TRIALS, N_COLUMNS = 60, 6
RIGHT, HALF, WRONG, NONE = "#2f9e44", "#f08c00", "#e03131", "#868e96"
_PICTURE, _PLATE, _GAP, _TEXT, _HEADING = 128, 92, 14, 20, 66
_PAPER, _CARD, _INK, _QUIET = "#ffffff", "#20242b", "#f8f9fa", "#495057"
_LEGEND = (
    (RIGHT, "right"),
    (HALF, "right but for orientation or side"),
    (WRONG, "wrong"),
    (NONE, "refused: no picture"),
)


def grid_of(folder: Path) -> bytes | None:
    """Draw the grid of a finished session folder, WebP; None where no class was tested."""
    record = read_record(folder)
    trials = unseen_trials(record)
    if not any(event.top for event in trials):
        return None
    buffer = io.BytesIO()
    draw(record, trials[:N_TRIALS]).save(buffer, "WEBP", quality=85, method=4)
    return buffer.getvalue()


def unseen_trials(record: SessionRecord) -> list[Event]:
    """Trials of classes that the decoder had not learnt from, the refused ones included."""
    known = {event.label for event in record.events if event.true_class}
    trials = [event for event in record.events if event.label in known]
    learnt = [k for k, event in enumerate(trials) if event.learnt]
    # A refused trial does not say that its part of the recording was learnt from.
    edges = range(learnt[0], learnt[-1] + 1) if learnt else range(0)
    return [event for k, event in enumerate(trials) if k not in edges]


def colour_of(event: Event, shown: str) -> str:
    """Colour of a trial's frame, where the class `shown` was shown."""
    if not event.top:
        return NONE
    decoded = event.top[0][0]
    if decoded == shown:
        return RIGHT
    return HALF if decoded.partition("-")[0] == shown.partition("-")[0] else WRONG


def draw(
    record: SessionRecord, trials: Sequence[Event], *, n_columns: int = N_COLUMNS
) -> Image.Image:
    """Lay out the grid below its heading, row by row."""
    classes = {event.label: event.true_class for event in record.events if event.true_class}
    n_rows = -(-len(trials) // n_columns)
    width, height = _PLATE + _PICTURE + _GAP, _PICTURE + _TEXT + _GAP
    size = (n_columns * width + _GAP, _HEADING + n_rows * height + _GAP)
    sheet = Image.new("RGB", size, _PAPER)
    _draw_heading(sheet, heading_of(record))
    for number, event in enumerate(trials):
        row, column = divmod(number, n_columns)
        place = (_GAP + column * width, _HEADING + _GAP + row * height)
        _draw_trial(sheet, record, event, classes[event.label], place, number=number + 1)
    return sheet


def heading_of(record: SessionRecord) -> str:
    """What the pictures of a session are, in a line."""
    n_channels = len(record.table("channels"))
    n_steps = as_number(dig(record.settings, "decoder", "num_inference_steps"))
    words = "Shown (in words) and drawn"
    words += f", {count(n_channels, 'electrode')}" if n_channels else ""
    return words + (f", {count(int(n_steps), 'step')} a picture" if n_steps else "")


def _draw_heading(sheet: Image.Image, heading: str) -> None:
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, _GAP), heading, fill=_CARD, font=_font(22))
    left = float(_GAP)
    for colour, words in _LEGEND:
        pen.rectangle((left, 49, left + 14, 63), outline=colour, width=4)
        pen.text((left + 21, 56), words, fill=_QUIET, font=_font(15), anchor="lm")
        left += 21 + pen.textlength(words, font=_font(15)) + 26


def _draw_trial(
    sheet: Image.Image,
    record: SessionRecord,
    event: Event,
    shown: str,
    place: tuple[int, int],
    *,
    number: int,
) -> None:
    pen, (left, top) = ImageDraw.Draw(sheet), place
    pen.rectangle((left, top, left + _PLATE - 1, top + _PICTURE - 1), fill=_CARD)
    what, _, how = clean(shown).partition("-")
    middle = left + _PLATE // 2
    pen.text((middle, top + 44), what[:10], fill=_INK, font=_font(19), anchor="mm")
    pen.text((middle, top + 70), how[:14], fill=_INK, font=_font(15), anchor="mm")
    pen.text((left + 5, top + 5), str(number), fill=NONE, font=_font(12))
    corner = (left + _PLATE, top)
    image, _ = decoded_image(record, event)
    if image is not None:
        sheet.paste(image.resize((_PICTURE, _PICTURE)), corner)
    right, foot = corner[0] + _PICTURE, top + _PICTURE
    frame = (*corner, right - 1, foot - 1)
    pen.rectangle(frame, outline=colour_of(event, shown), width=4)
    said = event.top[0][0] if event.top else event.outcome
    if event.top and event.confidence is not None:
        said += f", {event.confidence:.2f}"
    pen.text((right, foot + 3), said[:32], fill=_QUIET, font=_font(12), anchor="ra")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
