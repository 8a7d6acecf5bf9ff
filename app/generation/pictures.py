"""What `phosphene generate` leaves behind: pictures with provenance, grids, `generation.json`.

Owns the names of the files and the look of the grids. Knows nothing of how a picture is drawn.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from app.errors import AppError
from app.generation.items import Item
from app.runtime.folder import encode_png
from app.runtime.writing import write_atomically
from configs.plain import utf8
from configs.private import make_private
from pipeline.values import Uint8

REPORT, SHOWN = "generation.json", "shown"
ORACLE_WARNING = (
    "the true label was in the text prompt (--oracle-prompt): these pictures show what the label "
    "says, not what the EEG holds. No figure on them measures decoding."
)
ACTING = ("steps", "guidance", "size", "solver", "prior_steps", "prior_guidance", "adaptive")
"""Options that act on a picture, where the system has them; in each picture's provenance."""
CELL, GAP, TOP, LEFT = 160, 6, 24, 132
"""Pixels of a grid: its pictures, the space between, its captions."""
MOST_ROWS = 12
"""Items in one grid; the rest are in their files only."""
INK, PAPER = (40, 40, 40), (255, 255, 255)


def make_folder(out: Path) -> None:
    """Make a new folder.

    Raises
    ------
    AppError
        There is something in it.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AppError(f"{out} is not empty, expected a new folder: nothing is overwritten.")
    make_private(out)


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One item's pictures in one mode, by name in order."""

    item: Item
    sample: int
    pictures: Mapping[str, Uint8]


def write_row(
    out: Path, mode: str, row: Row, *, seed: int, facts: Mapping[str, Any]
) -> dict[str, str]:
    """Write a row's pictures to `out/MODE/`; return path to SHA-256."""
    (out / mode).mkdir(exist_ok=True)
    written: dict[str, str] = {}
    item = row.item
    vector = np.ascontiguousarray(item.embedding.vector, dtype="<f4")
    for place, (name, pixels) in enumerate(row.pictures.items()):
        oracle = "oracle_prompt" in facts.get("faults", ())
        provenance = {
            "phosphene:index": str(item.index),
            "phosphene:label": item.label,
            "phosphene:seed": str(seed),
            "phosphene:mode": mode,
            "phosphene:part": name,
            "phosphene:averaged": str(item.n_averaged),
            "phosphene:embedding_sha256": hashlib.sha256(vector.tobytes()).hexdigest(),
            "phosphene:encoder_sha256": str(facts["encoder_sha256"]),
            "phosphene:sampler_sha256": str(facts["sampler_sha256"]),
            "phosphene:system": str(facts["system"]),
            **{f"phosphene:{name}": str(facts[name]) for name in ACTING if name in facts},
            "phosphene:faults": ", ".join(facts.get("faults", ())) or "none",
            "phosphene:prompt": item.label if oracle else "",
        }
        if oracle:
            provenance["phosphene:warning"] = ORACLE_WARNING
        parts = [f"{item.index:06d}"]
        parts += [f"s{row.sample}"] if row.sample else []
        parts += [str(place + 1), name.lstrip("+")] if len(row.pictures) > 1 else []
        path = out / mode / f"{'-'.join(parts)}.png"
        png = encode_png(pixels, provenance)
        write_atomically(path, png)
        written[path.relative_to(out).as_posix()] = hashlib.sha256(png).hexdigest()
    return written


def write_shown(out: Path, pixels: Uint8) -> str:
    """Write what an item showed to `out/shown/`, once for all that showed it; return the path."""
    png = encode_png(pixels, {})
    path = out / SHOWN / f"{hashlib.sha256(png).hexdigest()}.png"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, png)
    return path.relative_to(out).as_posix()


def write_report(out: Path, report: Mapping[str, Any]) -> Path:
    """Write `generation.json`."""
    path = out / REPORT
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, utf8(text))
    return path


def draw_grid(rows: Sequence[Row]) -> Uint8:
    """Lay rows out with captions: what was shown, then the pictures in their order.

    Returns
    -------
    ndarray, shape (height, width, 3), uint8
    """
    has_shown = any(row.item.shown is not None for row in rows)
    names = [*(["shown"] if has_shown else []), *rows[0].pictures]
    width = LEFT + len(names) * (CELL + GAP) + GAP
    height = TOP + len(rows) * (CELL + GAP) + GAP
    grid = Image.new("RGB", (width, height), PAPER)
    draw, font = ImageDraw.Draw(grid), ImageFont.load_default(13)
    for column, name in enumerate(names):
        left = LEFT + column * (CELL + GAP)
        draw.text((left + 2, 5), name.replace("+", "+ "), fill=INK, font=font)
    for number, row in enumerate(rows):
        top = TOP + number * (CELL + GAP)
        caption = f"{row.item.index}  {row.item.label}"
        draw.text((6, top + CELL // 2 - 8), caption[:19], fill=INK, font=font)
        cells = [*([row.item.shown] if has_shown else []), *row.pictures.values()]
        for column, pixels in enumerate(cells):
            if pixels is not None:
                grid.paste(_cell(pixels), (LEFT + column * (CELL + GAP), top))
    return np.array(grid)


def _cell(pixels: Uint8) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    # Small pictures keep their pixels: a smooth enlargement would add what was not drawn.
    small = image.width <= CELL // 2
    how = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
    return image.resize((CELL, CELL), how)
