"""Which markers of a recording are classes, and which picture stands for each: a table to fill in.

Owns the rows, what they suggest unasked, and what is wrong with them in a sentence. Knows nothing
of Qt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.calibration.reading import LEAST_OFTEN
from models.adapters.suggesting import NO_PICTURE, suggestion
from pipeline.gallery import Gallery

NONE = NO_PICTURE
"""The picture of a class that is drawn as fog."""
MOST_ROWS = 60
"""Labels that are offered, the commonest first: more are no classes."""


@dataclass(slots=True)
class ClassRow:
    """One marker's label.

    Attributes
    ----------
    label : str
    count : int
        Good epochs of it.
    name : str
        Its class; labels of one name are one class. Empty: it does not count.
    picture : str
        Label in the gallery of what is drawn; `none`: fog.
    """

    label: str
    count: int
    name: str
    picture: str


class ClassTable:
    """The rows of one recording."""

    def __init__(self, counts: Mapping[str, int], gallery: Gallery) -> None:
        self.gallery = gallery
        often = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:MOST_ROWS]
        self.rows = [
            ClassRow(label, n, label if n >= LEAST_OFTEN else "", self.suggested(label))
            for label, n in often
        ]

    def suggested(self, name: str) -> str:
        """What the name of a class speaks of; `none` where of nothing."""
        return suggestion(name, self.gallery) or NO_PICTURE

    def rename(self, row: int, name: str) -> None:
        """Put a label in a class; the class's picture comes with it."""
        found = self.rows[row]
        found.name = name.strip()
        same = [each.picture for each in self.rows if each.name == found.name and each is not found]
        if found.name:
            found.picture = same[0] if same else self.suggested(found.name)

    def draw(self, row: int, picture: str) -> None:
        """Choose the picture of a row's class."""
        name = self.rows[row].name
        for each in self.rows:
            if each is self.rows[row] or (name and each.name == name):
                each.picture = picture

    @property
    def classes(self) -> dict[str, str]:
        """Class by marker's label, of those that count."""
        return {each.label: each.name for each in self.rows if each.name}

    @property
    def pictures(self) -> dict[str, str]:
        """Picture by class."""
        return {each.name: each.picture for each in self.rows if each.name}

    @property
    def problem(self) -> str:
        """Why it cannot be trained yet; empty when it can."""
        n = len(self.pictures)
        if n < 2:
            return f"{n or 'No'} class is named, expected at least two to tell apart."
        return ""
