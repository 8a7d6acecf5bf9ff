"""What is composed: a shape in colours, each of them a picture of the gallery.

Owns what a choice makes of both, and the words for it. So whatever is chosen lies between two known
pictures, which the embedded generator draws as one thing (`models.embedded.blends`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from app import formatting
from pipeline.mixing import HUES, Mix

LENT: Final = 0.38
"""Weight of the picture that lends its colours: so far from the middle that no seed turns it."""


@dataclass(frozen=True, slots=True)
class Thing:
    """A shape in colours, each a picture of the gallery: whatever is chosen, two of them at most.

    Attributes
    ----------
    shape : str
    colours : str
        Empty: its own.
    giver : str
        Whose colours were asked for by name.
    looks : tuple of str
        Colours and styles that were asked for since.
    """

    shape: str
    colours: str = ""
    giver: str = ""
    looks: tuple[str, ...] = ()

    @property
    def mix(self) -> Mix:
        """What it is drawn of."""
        whole = Mix.of(self.shape)
        return whole.plus(self.colours, LENT, keeps=1 - LENT) if self.colours else whole

    @property
    def prompt(self) -> str:
        """In words that a text-to-image model takes."""
        giver = f" in the colours of a {formatting.label(self.giver)}" if self.giver else ""
        return ", ".join([f"a {formatting.label(self.shape)}{giver}", *self.looks])

    def reshaped(self, shape: str) -> Thing:
        """Give it another shape; a picture's own colours need no giver."""
        if shape == self.colours:
            return Thing(shape, looks=self.looks)
        return replace(self, shape=shape)

    def like(self, giver: str) -> Thing:
        """Colour it like a picture; the newest wins."""
        return Thing(self.shape, giver, giver)

    def looking(self, look: str, examples: Sequence[str]) -> Thing:
        """Colour it like the first of the examples that is another thing; the newest wins."""
        colours = next((each for each in examples if each != self.shape), self.colours)
        looks = tuple(each for each in self.looks if each != look and _agree(each, look))
        return replace(self, colours=colours, looks=(*looks, look))


def _agree(one: str, other: str) -> bool:
    """Whether both may be said of one thing."""
    opposite = {one, other} in ({"light", "dark"}, {"plain", "colourful"})
    return not opposite and not (one in HUES and other in HUES)
