"""Which pictures of a gallery stand on the grid, and what a person is asked to look at.

Owns the seeded choices. Knows nothing of windows or streams.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from app.attend.composing import ARITHMETIC, Cell, Composer
from app.attend.drawing import Draws, Known, Picture
from app.attend.signs import SIGNS
from app.errors import AppError
from configs import SessionConfig
from pipeline.gallery import Gallery, load_gallery
from pipeline.values import Float64, Uint8


class Pictures:
    """What the targets are, and what draws.

    Parameters
    ----------
    labels : sequence of str
        Of the gallery's pictures, one a target.
    drawing : Draws
    seed : int
        The same for every picture of a session, so that a picture condenses instead of jumping.
    composer : Composer, optional
        Offers the targets in the place of `labels`, others after each choice.
    """

    def __init__(
        self, labels: Sequence[str], drawing: Draws, seed: int, composer: Composer | None = None
    ) -> None:
        self._labels = tuple(labels)
        self.drawing, self.seed, self.composer = drawing, seed, composer

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the targets, in words."""
        if self.composer is None or self.composer.is_done:
            return self._labels
        return tuple(cell.words for cell in self.composer.cells)

    @property
    def mixtures(self) -> tuple[str, ...]:
        """What each target is drawn of; see `pipeline.mixing`."""
        if self.composer is None or self.composer.is_done:
            return self._labels
        return tuple(cell.mix.label for cell in self.composer.cells)

    def known(self, posterior: Float64, *, number: int, t_onset: float) -> Known:
        """What is known of a look at them, as it is drawn."""
        return Known(posterior, self.mixtures, number, t_onset, self.seed)

    def pixels(self, gallery: Gallery) -> list[Uint8]:
        """Pictures of the targets: the gallery's, drawn ones of mixtures, two signs."""
        if self.composer is None:
            return [gallery.image(label) for label in self._labels]
        return [self._cell(gallery, cell) for cell in self.composer.cells]

    def composed(self, mixture: str) -> Picture:
        """Draw a mixture as it is when it is certain."""
        return self.drawing.draw(Known(np.ones(1), (mixture,), 0, 0.0, self.seed, is_look=False))

    def prompted(self, prompt: str, mixture: str) -> Uint8 | None:
        """Draw a mixture's words, where the generator takes words."""
        known = Known(np.ones(1), (mixture,), 0, 0.0, self.seed, is_look=False)
        return self.drawing.draw_prompt(prompt, known)

    def _cell(self, gallery: Gallery, cell: Cell) -> Uint8:
        if cell.kind in SIGNS:
            return SIGNS[cell.kind]
        label = cell.mix.label
        is_own = label in gallery.labels
        return gallery.image(label) if is_own else self.composed(label).pixels


def upright_gallery(config: SessionConfig, space: str) -> Gallery:
    """Open the session's gallery in the generator's space, without its upside-down pictures."""
    gallery = load_gallery(config.gallery).demand(space, what="the generator")
    return gallery.subset(kind="upright")


def choose_pictures(
    config: SessionConfig,
    drawing: Draws,
    n_targets: int,
    *,
    composes: bool = False,
    arithmetic: int = ARITHMETIC,
) -> Pictures:
    """Choose as many pictures as there are targets; the seed repeats the choice.

    `arithmetic` of a composition is 1 in sessions of before.
    """
    upright = upright_gallery(config, drawing.space)
    if composes:
        composer = Composer(upright, n_cells=n_targets, seed=config.seed, arithmetic=arithmetic)
        return Pictures(composer.labels, drawing, config.seed, composer)
    if len(upright) < n_targets:
        raise AppError(
            f"The gallery has {len(upright)} pictures, expected {n_targets}: choose another "
            "with --gallery, or fewer --targets."
        )
    rng = np.random.default_rng([config.seed, 0xA77E])
    rows = np.sort(rng.choice(len(upright), n_targets, replace=False))
    return Pictures(tuple(upright.labels[row] for row in rows), drawing, config.seed)


def cues(seed: int, n_targets: int) -> Iterator[int]:
    """Ask for the targets in shuffled rounds."""
    rng = np.random.default_rng([seed, 0xC0E5])
    rounds = (rng.permutation(n_targets).tolist() for _ in itertools.count())
    return itertools.chain.from_iterable(rounds)
