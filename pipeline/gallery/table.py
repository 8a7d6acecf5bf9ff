"""A gallery in memory: stimuli in a fixed order, their vectors per space, and ranking in one.

Owns labels, subsets and the ranking. Reads no file but a stimulus' picture, and that through
`pictures`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.errors import GalleryError
from pipeline.gallery import pictures
from pipeline.values import Float32, Uint8, read_only

Kind = Literal["upright", "inverted", "checkerboard"]

SPACE = "phosphene-gallery-64"
"""Embedding space of the shipped gallery and of the shipped encoder and generator."""
TEMPERATURE = 0.06
"""Of a decoder that states none, units of the inner product: at 0.06 a stimulus that leads by 0.1
is 5 times as probable."""


@dataclass(frozen=True, slots=True)
class Stimulus:
    """One picture that can be shown."""

    label: str
    """Unique; what a marker carries."""
    name: str
    """For people."""
    category: str
    kind: Kind
    concept: str
    """Label of the upright form; a checkerboard's own label."""
    code_point: str | None = None
    """Unicode code points of the emoji, hexadecimal; None for anything else."""
    image: str = ""
    """File of its picture below the gallery's folder; empty for a checkerboard, which is drawn."""
    image_sha256: str = ""
    """Of that file; empty where the list does not say."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One line of a ranking."""

    label: str
    probability: float
    """Softmax over the ranked stimuli of cosine-like similarity over temperature."""
    similarity: float
    """Inner product of the vector and the stimulus' unit embedding."""


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """Stimuli in a fixed order with one embedding each in one space, immutable.

    Attributes
    ----------
    stimuli : tuple of Stimulus
        Unique labels.
    embeddings : ndarray, shape (n_stimuli, ...), float32
        Unit rows in `space`, read-only; without columns where there is no space.
    sha256 : str
        Over the list and every table: what decides the meaning of labels and vectors.
    space : str
        What the embeddings are points of: only vectors of the same space can be ranked. Empty:
        none of the gallery's.
    name : str
    licence : str
        Of the pictures, in a sentence.
    folder : Path or None
        Where its pictures lie.
    background : tuple of int
        Behind checkerboards and see-through pictures, sRGB.
    tables : mapping of str to ndarray
        Embeddings in every space, `space` included.
    """

    stimuli: tuple[Stimulus, ...]
    embeddings: Float32
    sha256: str
    space: str = SPACE
    name: str = ""
    licence: str = ""
    folder: Path | None = None
    background: tuple[int, int, int] = pictures.BACKGROUND
    tables: Mapping[str, Float32] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a table that does not fit the list."""
        n_stimuli, labels = len(self.stimuli), set(self.labels)
        for table in (self.embeddings, *self.tables.values()):
            if table.ndim < 2 or table.shape[0] != n_stimuli or not self.stimuli:
                raise GalleryError(
                    f"embeddings have shape {table.shape}, expected ({n_stimuli}, n_features): "
                    "build the gallery's list and table together."
                )
        if len(labels) != n_stimuli:
            raise GalleryError("gallery labels repeat, expected unique ones: rebuild the gallery.")
        object.__setattr__(self, "embeddings", read_only(self.embeddings))
        if self.space and self.space not in self.tables:
            tables = {**self.tables, self.space: self.embeddings}
            object.__setattr__(self, "tables", tables)

    def __len__(self) -> int:
        return len(self.stimuli)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels, in the order of the rows."""
        return tuple(each.label for each in self.stimuli)

    @property
    def names(self) -> tuple[str, ...]:
        """Names for people, in the order of the rows."""
        return tuple(each.name for each in self.stimuli)

    @property
    def categories(self) -> tuple[str, ...]:
        """Category of each stimulus, in the order of the rows."""
        return tuple(each.category for each in self.stimuli)

    @property
    def n_features(self) -> int:
        """Count of an embedding's numbers."""
        return int(np.prod(self.embeddings.shape[1:]))

    @property
    def spaces(self) -> tuple[str, ...]:
        """Names of the spaces that it has vectors in, sorted."""
        return tuple(sorted(self.tables))

    def in_space(self, space: str) -> Gallery | None:
        """Return the same stimuli with their embeddings in `space`; None where there are none."""
        if space == self.space:
            return self if space else None
        table = self.tables.get(space)
        return None if table is None else replace(self, embeddings=table, space=space)

    def demand(self, space: str, *, what: str) -> Gallery:
        """Return the same stimuli in `space`, for `what`, which cannot do without.

        Raises
        ------
        GalleryError
            There are no vectors of that space.
        """
        found = self.in_space(space)
        if found is None:
            raise GalleryError(
                f"the gallery {self.name or self.folder} has no vectors of the space {space} (it "
                f"has {', '.join(self.spaces) or 'none'}), which {what} needs: make it anew with "
                f"`phosphene gallery make FOLDER --space {space}`."
            )
        return found

    def index(self, label: str) -> int:
        """Row of a label.

        Raises
        ------
        GalleryError
            If no stimulus has that label.
        """
        for row, each in enumerate(self.stimuli):
            if each.label == label:
                return row
        raise GalleryError(
            f"{label!r} is not in the gallery of {len(self)} stimuli such as "
            f"{self.labels[0]!r}: take one of Gallery.labels."
        )

    def embedding(self, label: str) -> Float32:
        """Embedding of one stimulus, (n_features,) float32, unit norm, read-only."""
        row: Float32 = self.embeddings[self.index(label)]
        return row

    def subset(
        self,
        *,
        kind: Kind | None = None,
        category: str | None = None,
        labels: Sequence[str] | None = None,
    ) -> Gallery:
        """Those stimuli that meet every given condition, in this gallery's order.

        Raises
        ------
        GalleryError
            If nothing is left, or a label is unknown.
        """
        wanted = None if labels is None else {self.index(label) for label in labels}
        rows = [
            row
            for row, each in enumerate(self.stimuli)
            if (kind is None or each.kind == kind)
            and (category is None or each.category == category)
            and (wanted is None or row in wanted)
        ]
        if not rows:
            raise GalleryError(
                f"no stimulus with kind={kind!r}, category={category!r}: "
                f"categories are {sorted(set(self.categories))}."
            )
        # A ranking's chance depends on who takes part, so a subset is another gallery by hash.
        named = self.sha256 + "".join(f"\n{self.stimuli[row].label}" for row in rows)
        return replace(
            self,
            stimuli=tuple(self.stimuli[row] for row in rows),
            embeddings=self.embeddings[rows],
            sha256=hashlib.sha256(named.encode()).hexdigest(),
            tables={space: read_only(table[rows]) for space, table in self.tables.items()},
        )

    def rank(self, vector: Float32, *, temperature: float | None = None) -> tuple[Ranked, ...]:
        """Order the stimuli by how well they fit a decoded vector, best first.

        The vector is not brought to unit norm: a short one, which is how an encoder says that it
        does not know, gives flat probabilities, and the zero vector gives every stimulus 1/n.

        Parameters
        ----------
        vector : ndarray of n_features numbers, float
            As decoded, in this gallery's space; one token of that size is the same.
        temperature : float or None
            What the encoder states, in units of similarity; None: `TEMPERATURE`.
        """
        if vector.size != self.n_features or not vector.size or not np.isfinite(vector).all():
            raise GalleryError(
                f"cannot rank a vector of shape {vector.shape}, expected finite "
                f"{self.embeddings.shape[1:]}: use an encoder that was fitted to this gallery's "
                "space."
            )
        temperature = TEMPERATURE if temperature is None else temperature
        if not temperature > 0:
            raise GalleryError(f"temperature is {temperature}, expected more than 0.")
        rows = self.embeddings.reshape(len(self), -1).astype(np.float64)
        similarity = rows @ vector.reshape(-1).astype(np.float64)
        weights = np.exp((similarity - similarity.max()) / temperature)
        probability = weights / weights.sum()
        order = np.argsort(-similarity, kind="stable")
        return tuple(
            Ranked(self.stimuli[row].label, float(probability[row]), float(similarity[row]))
            for row in order
        )

    def image(self, label: str, *, size: int = 128) -> Uint8:
        """Picture of a stimulus.

        Parameters
        ----------
        label : str
            One of `labels`.
        size : int
            Side in pixels, at least 8; the shipped pictures have 128.

        Returns
        -------
        ndarray, shape (size, size, 3), uint8
            sRGB, read-only.

        Raises
        ------
        GalleryError
            No such stimulus, or its file is gone, changed or no picture.
        """
        if size < 8:
            raise GalleryError(f"picture size is {size} pixels, expected at least 8.")
        each = self.stimuli[self.index(label)]
        if each.kind == "checkerboard":
            side = each.label.removeprefix("checkerboard-")
            return pictures.checkerboard(side, size, self.background)
        if self.folder is None or not each.image:
            raise GalleryError(f"the gallery has no picture of {label!r}: rebuild the gallery.")
        upright = pictures.read_square(
            self.folder, each.image, each.image_sha256, size, self.background
        )
        if each.kind == "upright":
            return upright
        return read_only(np.ascontiguousarray(upright[::-1, ::-1]))
