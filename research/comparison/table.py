"""The published systems and the embedded default on the same held-out people: table and pictures.

Owns what stands in the table and how a system's vector becomes a picture: through the embedded
generator for all of them, since no Stable Diffusion is small enough to be trained here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.embedded.encoder import EmbeddedEncoder
from models.embedded.sampler import EmbeddedSampler, load_sampler
from models.latent_diffusion.conditioning import ConditionStage
from models.multimodal.modalities import Modality
from pipeline.gallery import Gallery
from pipeline.values import Float64
from research.comparison import atm, dreamdiffusion
from research.comparison.pool import BOARD
from research.embedded.draw_grids import headed
from research.embedded.evaluate_encoder import Bench
from research.embedded.identification import (
    Encode,
    line,
    ranks,
    score,
    write_lines,
)
from research.embedded.rivals import encode_all

SNRS = (0.0, 0.5, 1.0, 2.0)
PICTURE_SNR = 1.0
N_PICTURES, N_COLUMNS = 24, 6
TEMPERATURE = 0.1
BLOCK = "comparison"
_SIDE, _GAP, _FRAME = 128, 12, 4
_COLOURS = {"first": (47, 158, 68), "five": (240, 140, 0), "wrong": (224, 49, 49)}


@dataclass(frozen=True, slots=True, eq=False)
class Systems:
    """The embedded default, DreamDiffusion's condition stage, the ATM family."""

    embedded: EmbeddedEncoder
    dreamdiffusion: ConditionStage
    atm: atm.AtmSystems

    def rows(self) -> dict[str, Encode]:
        """Every row of the table: how epochs become vectors of the gallery's space."""
        # Two rows read the same draw.
        unguided = cache(lambda epochs: atm.draw_modalities(self.atm, epochs))
        return {
            "embedded default": encode_all(self.embedded),
            "DreamDiffusion, alignment head": lambda epochs: dreamdiffusion.encode(
                self.dreamdiffusion, epochs
            ),
            "ATM-S, encoder": lambda epochs: atm.encode(self.atm, epochs),
            "ATM-S, prior": lambda epochs: atm.draw_prior(self.atm, epochs),
            "multimodal, image prior": lambda epochs: unguided(tuple(epochs))[Modality.IMAGE],
            "multimodal, five priors": lambda epochs: atm.fuse(unguided(tuple(epochs))),
            "multimodal, five priors, guidance 5": lambda epochs: atm.fuse(
                atm.draw_modalities(self.atm, epochs, guidance_scale=5.0)
            ),
        }


DRAWN: Mapping[str, str] = {
    "embedded": "embedded default",
    "dreamdiffusion": "DreamDiffusion, alignment head",
    "atm": "ATM-S, prior",
    "multimodal": "multimodal, five priors, guidance 5",
}
"""Which row each grid of pictures is drawn from, by file name."""


def write_comparison(
    systems: Systems,
    gallery: Gallery,
    document: Path,
    images: Path,
    *,
    n_people: int,
    n_stimuli: int,
) -> None:
    """Test every system on the same sessions; write table, JSON and one grid a system."""
    upright = gallery.subset(kind="upright")
    bench = Bench(upright, n_people=n_people, n_stimuli=n_stimuli)
    rows = systems.rows()
    lines = []
    for snr in SNRS:
        for name, encode in rows.items():
            own = systems.embedded.temperature if name.startswith("embedded") else TEMPERATURE
            found = score(bench.test(BOARD, snr), encode, upright, temperature=own)
            lines.append(line(name, BOARD, snr, found))
            write_lines(lines, document, block=BLOCK, without=("board",))
    images.mkdir(parents=True, exist_ok=True)
    for file_name, picture in pictures(rows, bench):
        picture.save(images / f"comparison-{file_name}.webp", quality=88)


def pictures(rows: Mapping[str, Encode], bench: Bench) -> Iterator[tuple[str, Image.Image]]:
    """Draw the first trials of the first person for each system: shown above, decoded below."""
    session = bench.test(BOARD, PICTURE_SNR)[0]
    epochs, shown = session.epochs[:N_PICTURES], session.rows[:N_PICTURES]
    sampler = load_sampler()
    for file_name, row in DRAWN.items():
        vectors = rows[row](epochs)
        table = vectors @ bench.gallery.embeddings.T.astype(np.float64)
        found = ranks(table, shown)
        drawn = sampler.draw(_drawable(row, vectors), seeds=tuple(range(len(vectors))))
        yield file_name, headed(grid(bench.gallery, shown, drawn, found), heading_of(row, sampler))


def heading_of(row: str, sampler: EmbeddedSampler) -> str:
    """What a grid shows, in a line."""
    n_steps = sampler.options["steps"]
    return (
        f"{row}, SNR {PICTURE_SNR:g}: shown above, drawn below in {n_steps} "
        f"{'step' if n_steps == 1 else 'steps'}"
    )


def _drawable(row: str, vectors: Float64) -> NDArray[np.float32]:
    """Vectors as the generator takes them: only the embedded encoder's length means something."""
    if not row.startswith("embedded"):
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors.astype(np.float32)


def grid(
    gallery: Gallery,
    shown: NDArray[np.int64],
    drawn: NDArray[np.uint8],
    rank: NDArray[np.int64],
) -> Image.Image:
    """Lay out pairs, what was shown above what was drawn; framed green, amber or red by rank."""
    n_columns = min(N_COLUMNS, len(shown))
    n_rows = -(-len(shown) // n_columns)
    width, height = _SIDE + _GAP, 2 * _SIDE + 2 * _GAP
    sheet = Image.new("RGB", (n_columns * width + _GAP, n_rows * height + _GAP), "white")
    for number, (row, made, place) in enumerate(zip(shown, drawn, rank, strict=True)):
        top, left = divmod(number, n_columns)
        at = (_GAP + left * width, _GAP + top * height)
        truth = gallery.image(gallery.labels[row], size=_SIDE)
        sheet.paste(Image.fromarray(np.array(truth)), at)
        colour = _COLOURS["first" if place == 0 else "five" if place < 5 else "wrong"]
        below = (at[0], at[1] + _SIDE)
        sheet.paste(Image.new("RGB", (_SIDE, _SIDE), colour), below)
        inner = _SIDE - 2 * _FRAME
        small = Image.fromarray(made).resize((inner, inner), Image.Resampling.LANCZOS)
        sheet.paste(small, (below[0] + _FRAME, below[1] + _FRAME))
    return sheet
