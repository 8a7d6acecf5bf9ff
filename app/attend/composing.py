"""Composing: each choice becomes the start of the next, by arithmetic on the pictures' vectors.

Owns what the next grid offers, the way back, and the path of choices. Knows nothing of looks or of
drawing: a cell leads to a thing (`app.attend.things`), which is a mixture (`pipeline.mixing`), and
whoever shows it has it drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from app import formatting
from app.attend.things import Thing
from pipeline.gallery import Gallery
from pipeline.mixing import HUES, Mix, Mixing

ARITHMETIC: Final = 2
"""Today's. By 1, in sessions that name none, everything that is chosen adds up."""
BLENDED: Final = 0.4
"""Weight of what is blended in, by arithmetic 1; the rest is what there was."""
TURNED: Final = 0.5
"""Weight of a colour or style, by arithmetic 1."""
STYLES: Final = ("light", "dark", "plain", "colourful")
SHARES: Final = (("neighbour", 0.25), ("colour", 0.2), ("style", 0.12))
"""Parts of a grid; blends take the rest."""


class Kind(StrEnum):
    """What a cell does."""

    ZOOM = "zoom"
    START = "start"
    BLEND = "blend"
    NEIGHBOUR = "neighbour"
    COLOUR = "colour"
    STYLE = "style"
    UNDO = "undo"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a grid: what it does, to which mixture it leads, and that in words.

    `thing` is what that mixture is of; None by arithmetic 1.
    """

    kind: Kind
    mix: Mix
    words: str
    category: str = ""
    thing: Thing | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a composition stands."""

    cells: tuple[Cell, ...]
    mix: Mix | None
    thing: Thing | None = None


class Composer:
    """Offers grids and takes choices.

    Parameters
    ----------
    gallery : Gallery
        Upright pictures.
    n_cells : int
        Of every grid.
    seed : int
        Repeats every offer.
    arithmetic : int
        1 in sessions of before.
    """

    def __init__(
        self, gallery: Gallery, *, n_cells: int, seed: int, arithmetic: int = ARITHMETIC
    ) -> None:
        self._gallery, self._n_cells, self._seed = gallery, n_cells, seed
        self._is_sum = arithmetic == 1
        self._mixing = Mixing(gallery)
        self._chosen: list[int] = []
        self._places = [_Place(self._categories(), None)]
        self.path: list[Cell] = []
        """The choices that led here; what was undone is not among them."""
        self.is_done = False

    @property
    def cells(self) -> tuple[Cell, ...]:
        """What is offered now."""
        return self._places[-1].cells

    @property
    def labels(self) -> tuple[str, ...]:
        """Of what is offered now, in words."""
        return tuple(cell.words for cell in self.cells)

    @property
    def mix(self) -> Mix | None:
        """What is composed so far; None before the first picture."""
        return self._places[-1].mix

    def choose(self, number: int) -> None:
        """Take a choice: the cell with this number."""
        cell = self.cells[number]
        self._chosen.append(number)
        if cell.kind is Kind.UNDO:
            self._places.pop()
            self.path.pop()
            return
        self.path.append(cell)
        self.is_done = cell.kind is Kind.DONE
        if cell.kind is Kind.ZOOM:
            self._places.append(_Place(self._inside(cell), None))
        else:
            cells = () if self.is_done else self._changes(cell)
            self._places.append(_Place(cells, cell.mix, cell.thing))

    def simulated(self, n_changes: int) -> int:
        """Choose as a simulated person does: at random, ending after so many changes."""
        rng = self._rng(1)
        n_done = sum(cell.kind not in (Kind.ZOOM, Kind.START) for cell in self.path)
        wanted = [k for k, cell in enumerate(self.cells) if self._is_forward(cell)]
        if n_done >= n_changes:
            wanted = [k for k, cell in enumerate(self.cells) if cell.kind is Kind.DONE] or wanted
        return int(rng.choice(wanted))

    @property
    def prompt(self) -> str:
        """What is composed, in words that a text-to-image model takes; empty before a picture."""
        if self.mix is None:
            return ""
        thing = self._places[-1].thing
        if thing is not None:
            return thing.prompt
        names = [(w, n) for n, w in self.mix.weights if not n.startswith("@")]
        things = [formatting.label(name) for _, name in sorted(names, reverse=True)]
        looks = [name[1:] for name, _ in self.mix.weights if name.startswith("@")]
        blend = things[0] if len(things) == 1 else f"{things[0]} blended with {_listed(things[1:])}"
        return ", ".join([f"a {blend}", *looks])

    @property
    def table(self) -> dict[str, Any]:
        """Path of choices and where it led, for `composition.json`."""
        return {
            "path": [
                {"kind": cell.kind.value, "words": cell.words, "mixture": cell.mix.label}
                for cell in self.path
            ],
            "mixture": None if self.mix is None else self.mix.label,
            "prompt": self.prompt,
            "is_done": self.is_done,
        }

    # What is offered

    @staticmethod
    def _is_forward(cell: Cell) -> bool:
        return cell.kind not in (Kind.UNDO, Kind.DONE)

    def _rng(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, 0xC0, purpose, *self._chosen])

    def _categories(self) -> tuple[Cell, ...]:
        """Make the first grid: typical pictures of categories, then others while there is room."""
        names = sorted(set(self._gallery.categories))
        rng = self._rng(0)
        names = sorted(rng.permutation(names)[: self._n_cells].tolist())
        cells = [self._zoom(name) for name in names]
        used = {cell.mix.label for cell in cells}
        others = [label for label in self._gallery.labels if label not in used]
        more = rng.permutation(others)[: self._n_cells - len(cells)].tolist()
        return (*cells, *(self._start(label) for label in more))

    def _zoom(self, category: str) -> Cell:
        part = self._gallery.subset(category=category)
        flat = part.embeddings.reshape(len(part), -1)
        typical = part.labels[int((flat @ flat.mean(axis=0)).argmax())]
        return Cell(Kind.ZOOM, Mix.of(typical), f"{category}…", category)

    def _start(self, label: str) -> Cell:
        return self._whole(Kind.START, label, formatting.label(label), None)

    def _whole(self, kind: Kind, label: str, words: str, before: Thing | None) -> Cell:
        """Lead to another shape, in the colours of before."""
        if self._is_sum:
            return Cell(kind, Mix.of(label), words)
        return self._leading(kind, words, before.reshaped(label) if before else Thing(label))

    @staticmethod
    def _leading(kind: Kind, words: str, thing: Thing) -> Cell:
        return Cell(kind, thing.mix, words, thing=thing)

    def _inside(self, cell: Cell) -> tuple[Cell, ...]:
        """Pictures of a category; where they are few, those of others nearest to it."""
        undo = Cell(Kind.UNDO, cell.mix, "undo")
        labels = list(self._gallery.subset(category=cell.category).labels)
        labels = self._rng(0).permutation(labels)[: self._n_cells - 1].tolist()
        labels += self._nearest(cell.mix, set(labels), self._n_cells - 1 - len(labels))
        return (undo, *(self._start(label) for label in labels))

    def _changes(self, cell: Cell) -> tuple[Cell, ...]:
        """What a picture may become."""
        rng = self._rng(0)
        mix, thing = cell.mix, cell.thing
        before = self.mix or mix
        cells = [Cell(Kind.UNDO, before, "undo"), Cell(Kind.DONE, mix, "done", thing=thing)]
        room = self._n_cells - len(cells)
        counts = {name: max(1, round(share * room)) for name, share in SHARES}
        held = {name for name, _ in mix.weights}
        shape = mix if thing is None else Mix.of(thing.shape)
        near = self._nearest(shape, held, counts["neighbour"])
        cells += [
            self._whole(Kind.NEIGHBOUR, n, f"rather {formatting.label(n)}", thing) for n in near
        ]
        for kind, names in ((Kind.COLOUR, tuple(HUES)), (Kind.STYLE, STYLES)):
            for name in rng.permutation(names)[: counts[kind.value]].tolist():
                words = f"more {name}" if kind is Kind.COLOUR else name
                cells.append(self._looking(kind, name, words, cell))
        strange = [label for label in self._gallery.labels if label not in held | set(near)]
        for label in rng.permutation(strange)[: self._n_cells - len(cells)].tolist():
            cells.append(self._blended(label, cell))
        return tuple(cells)

    def _looking(self, kind: Kind, name: str, words: str, cell: Cell) -> Cell:
        if cell.thing is None:
            return Cell(kind, cell.mix.plus(f"@{name}", TURNED), words)
        return self._leading(kind, words, cell.thing.looking(name, self._mixing.examples(name)))

    def _blended(self, label: str, cell: Cell) -> Cell:
        words = f"with {formatting.label(label)}"
        if cell.thing is None:
            return Cell(Kind.BLEND, cell.mix.plus(label, BLENDED, keeps=1 - BLENDED), words)
        return self._leading(Kind.BLEND, words, cell.thing.like(label))

    def _nearest(self, mix: Mix, but: set[str], count: int) -> list[str]:
        flat = self._gallery.embeddings.reshape(len(self._gallery), -1)
        order = np.argsort(-(flat @ self._mixing.vector(mix.label).reshape(-1)), kind="stable")
        labels = [self._gallery.labels[int(row)] for row in order]
        return [label for label in labels if label not in but][:count]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
