"""What a person saw beside what a session drew: the first trials in order, none picked.

Reads a finished session folder of the faces-and-houses recording. What was shown is a word, for
the recording does not say which face or house it was; what was decoded is the session's own
picture, framed by whether the decoded class is right (green), right but for orientation or side
(amber), or wrong (red). A trial that was refused has no picture.

    python -m research.figures.brain_grid --session DIR --skip 10 --out docs/img
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from app.errors import AppError
from app.output import write_text
from configs import load_config
from models.adapters import Target
from pipeline.gallery import Gallery, load_gallery
from research.figures import scores
from research.figures.recording import TARGETS

N_TRIALS, N_COLUMNS = 60, 6
NAME = "real-brain-grid.webp"
_PICTURE, _PLATE, _GAP, _TEXT, _HEADING = 128, 92, 14, 20, 66
_RIGHT, _HALF, _WRONG, _NONE = "#2f9e44", "#f08c00", "#e03131", "#868e96"
_PAPER, _CARD, _INK, _QUIET = "#ffffff", "#20242b", "#f8f9fa", "#495057"


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial: what was shown, what was decoded (None: nothing was), and the picture."""

    index: int
    event: str
    decoded: str | None
    confidence: float | None
    image: Path | None
    seconds: float

    @property
    def is_right(self) -> bool:
        """Whether category and orientation (or side) are right."""
        return self.decoded == self.event

    @property
    def colour(self) -> str:
        """Colour of the frame."""
        if self.decoded is None:
            return _NONE
        if self.is_right:
            return _RIGHT
        return _HALF if self.decoded.split("-")[0] == self.event.split("-")[0] else _WRONG


def read_trials(folder: Path) -> list[Trial]:
    """Trials of a session, in order of their onsets; `seconds` from the first one.

    Raises
    ------
    AppError
        The folder is not a finished session's, or holds no trial of the six kinds.
    """
    try:
        lines = (folder / "events.jsonl").read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise AppError(
            f"cannot read {folder / 'events.jsonl'} ({error.strerror}), expected the folder of a "
            "finished session: give it with --session."
        ) from error
    gallery, known = load_gallery(), {target.event for target in TARGETS}
    results = sorted(
        map(json.loads, filter(None, lines)), key=lambda result: float(result["t_onset"])
    )
    wanted = [result for result in results if result["label"] in known]
    if not wanted:
        raise AppError(f"{folder} holds no face, house or checker trial: give another session.")
    first = float(wanted[0]["t_onset"])
    return [_trial(result, folder, gallery, first) for result in wanted]


def heading_of(folder: Path) -> str:
    """What the pictures of the session in `folder` are, in a line."""
    config = load_config(folder / "session.toml")
    n_steps = config.decoder.num_inference_steps
    n_channels = len(config.source.picks) if config.source.picks else "all"
    return (
        f"A real person: shown (in words) and drawn, {n_channels} electrodes, "
        f"{n_steps} step{'s' if n_steps > 1 else ''} a picture"
    )


def _decoded(result: dict[str, Any], gallery: Gallery) -> str | None:
    """The decoder's best class; by the picture that leads in sessions of before."""
    best = str(result["top"][0][0])
    return best if result.get("classes") else class_of(best, gallery)


def _trial(result: dict[str, Any], folder: Path, gallery: Gallery, first: float) -> Trial:
    top = result["top"]
    return Trial(
        index=int(result["index"]),
        event=result["label"],
        decoded=_decoded(result, gallery) if top else None,
        confidence=result["confidence"],
        image=folder / result["image"] if result["image"] else None,
        seconds=float(result["t_onset"]) - first,
    )


def class_of(label: str, gallery: Gallery) -> str:
    """Event whose target a gallery stimulus belongs to; `"something else"` if to none."""
    for target in TARGETS:
        if label in _members(target, gallery):
            return target.event
    return "something else"


def _members(target: Target, gallery: Gallery) -> tuple[str, ...]:
    return target.members(gallery).labels


def draw(trials: Sequence[Trial], heading: str, *, n_columns: int = N_COLUMNS) -> Image.Image:
    """Lay out the grid below its heading, row by row."""
    n_rows = -(-len(trials) // n_columns)
    width, height = _PLATE + _PICTURE + _GAP, _PICTURE + _TEXT + _GAP
    size = (n_columns * width + _GAP, _HEADING + n_rows * height + _GAP)
    sheet = Image.new("RGB", size, _PAPER)
    _draw_heading(sheet, heading)
    for number, trial in enumerate(trials):
        row, column = divmod(number, n_columns)
        place = (_GAP + column * width, _HEADING + _GAP + row * height)
        _draw_trial(sheet, trial, *place, number + 1)
    return sheet


def _draw_heading(sheet: Image.Image, heading: str) -> None:
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, _GAP), heading, fill=_CARD, font=_font(22))
    left = float(_GAP)
    for colour, words in (
        (_RIGHT, "right"),
        (_HALF, "right but for orientation or side"),
        (_WRONG, "wrong"),
        (_NONE, "refused: no picture"),
    ):
        pen.rectangle((left, 49, left + 14, 63), outline=colour, width=4)
        pen.text((left + 21, 56), words, fill=_QUIET, font=_font(15), anchor="lm")
        left += 21 + pen.textlength(words, font=_font(15)) + 26


def _draw_trial(sheet: Image.Image, trial: Trial, left: int, top: int, number: int) -> None:
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((left, top, left + _PLATE - 1, top + _PICTURE - 1), fill=_CARD)
    what, how = trial.event.split("-")
    middle = left + _PLATE // 2
    pen.text((middle, top + 44), what, fill=_INK, font=_font(19), anchor="mm")
    pen.text((middle, top + 70), how, fill=_INK, font=_font(15), anchor="mm")
    pen.text((left + 5, top + 5), str(number), fill=_NONE, font=_font(12))
    place = (left + _PLATE, top)
    if trial.image is not None:
        with Image.open(trial.image) as picture:
            sheet.paste(picture.convert("RGB").resize((_PICTURE, _PICTURE)), place)
    frame = (*place, place[0] + _PICTURE - 1, place[1] + _PICTURE - 1)
    pen.rectangle(frame, outline=trial.colour, width=4)
    said = trial.decoded or "not decoded"
    if trial.decoded is not None and trial.confidence is not None:
        said += f", {trial.confidence:.2f}"
    right = place[0] + _PICTURE
    pen.text((right, top + _PICTURE + 3), said, fill=_QUIET, font=_font(12), anchor="ra")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the grid and print how the whole session went."""
    parser = argparse.ArgumentParser(
        prog="python -m research.figures.brain_grid", description=__doc__
    )
    parser.add_argument("--session", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--skip", type=int, default=0, metavar="N", help="trials before the test part"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    args = parser.parse_args(argv)
    trials = read_trials(args.session)[args.skip :]
    decoded = [trial for trial in trials if trial.decoded is not None]
    right = np.array([trial.is_right for trial in decoded])
    shown = trials[:N_TRIALS]
    args.out.mkdir(parents=True, exist_ok=True)
    target = args.out / NAME
    draw(shown, heading_of(args.session)).save(target, quality=85, method=6)
    n_right = sum(trial.is_right for trial in shown)
    found = scores.percent(scores.proportion(right))
    write_text(
        f"{len(decoded)} of {len(trials)} trials decoded, {found} % right among six classes;"
        f" {n_right} of the {len(shown)} in {target}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
