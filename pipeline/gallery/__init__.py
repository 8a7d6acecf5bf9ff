"""The gallery: what can be shown, what it looks like, and where it lies in the embedding space.

Owns the list of stimuli, their pictures and their embeddings, all shipped as package data and read
through `importlib.resources`. Knows nothing of EEG, of encoders or of how the embeddings were made
(that is `research/embedded/build_gallery.py`). Pictures: Fluent Emoji, MIT, see LICENSE.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load as load_safetensors

from pipeline.errors import GalleryError
from pipeline.values import read_only

Float32 = NDArray[np.float32]
Uint8 = NDArray[np.uint8]
Kind = Literal["upright", "inverted", "checkerboard"]

SCHEMA = 1
SPACE = "phosphene-gallery-64"
"""Name of the bundled gallery's embedding space, as `EncoderSpec.space` gives it."""
TEMPERATURE = 0.06
"""Units of the inner product; at 0.06 a stimulus that leads by 0.1 is 5 times as probable. The
value at which the shipped encoder's probabilities are honest (docs/models/encoder.md)."""


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
    code_point: str | None
    """Unicode code points of the emoji, hexadecimal; None for a checkerboard."""


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
    """Stimuli in a fixed order with one embedding each, immutable.

    Attributes
    ----------
    stimuli : tuple of Stimulus
        Unique labels.
    embeddings : ndarray, shape (n_stimuli, n_features), float32
        Unit rows, read-only; over the whole gallery they average to zero.
    sha256 : str
        Over the list and the table as shipped: what decides the meaning of an embedding.
    space : str
        What the embeddings are points of: only vectors of the same space can be ranked.
    """

    stimuli: tuple[Stimulus, ...]
    embeddings: Float32
    sha256: str
    space: str = SPACE

    def __post_init__(self) -> None:
        """Refuse a table that does not fit the list."""
        shape = self.embeddings.shape
        if self.embeddings.ndim != 2 or shape[0] != len(self.stimuli) or not self.stimuli:
            raise GalleryError(
                f"embeddings have shape {shape}, expected ({len(self.stimuli)}, n_features): "
                "build the gallery's list and table together."
            )
        if len(set(self.labels)) != len(self.stimuli):
            raise GalleryError("gallery labels repeat, expected unique ones: rebuild the gallery.")
        object.__setattr__(self, "embeddings", read_only(self.embeddings))

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
        """Length of an embedding."""
        return int(self.embeddings.shape[1])

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
        return Gallery(
            stimuli=tuple(self.stimuli[row] for row in rows),
            embeddings=self.embeddings[rows],
            sha256=hashlib.sha256(named.encode()).hexdigest(),
            space=self.space,
        )

    def rank(self, vector: Float32, *, temperature: float = TEMPERATURE) -> tuple[Ranked, ...]:
        """Order the stimuli by how well they fit a decoded vector, best first.

        The vector is not brought to unit norm: a short one, which is how an encoder says that it
        does not know, gives flat probabilities, and the zero vector gives every stimulus 1/n.

        Parameters
        ----------
        vector : ndarray, shape (n_features,), float
            As decoded.
        temperature : float
            In units of similarity.
        """
        if vector.shape != (self.n_features,) or not np.isfinite(vector).all():
            raise GalleryError(
                f"cannot rank a vector of shape {vector.shape}, expected finite "
                f"({self.n_features},): use an encoder that was fitted to this gallery."
            )
        if not temperature > 0:
            raise GalleryError(f"temperature is {temperature}, expected more than 0.")
        similarity = self.embeddings.astype(np.float64) @ vector.astype(np.float64)
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
        """
        if size < 8:
            raise GalleryError(f"picture size is {size} pixels, expected at least 8.")
        return _image(self.stimuli[self.index(label)], size)


@functools.lru_cache(maxsize=1024)
def _image(stimulus: Stimulus, size: int) -> Uint8:
    if stimulus.kind == "checkerboard":
        return read_only(_checkerboard(stimulus.label.removeprefix("checkerboard-"), size))
    path = resources.files(__name__) / "fluent_emoji" / "images" / f"{stimulus.concept}.webp"
    with path.open("rb") as stream, Image.open(stream) as picture:
        upright = picture.convert("RGB")
    if upright.width != size:
        upright = upright.resize((size, size), Image.Resampling.LANCZOS)
    pixels = np.asarray(upright, dtype=np.uint8)
    turned = pixels[::-1, ::-1] if stimulus.kind == "inverted" else pixels
    return read_only(np.ascontiguousarray(turned))


def _checkerboard(side: str, size: int, *, n_cells: int = 8) -> Uint8:
    """Black and white squares in the `left` or `right` half field, or `full`."""
    cell = (np.arange(size) * n_cells // size) % 2
    board = (cell[:, None] ^ cell[None, :]).astype(bool)
    pixels = np.empty((size, size, 3), np.uint8)
    pixels[:] = _document()["background"]
    left = 0 if side in ("left", "full") else size // 2
    right = size // 2 if side == "left" else size
    pixels[:, left:right] = np.where(board[:, left:right, None], 236, 22)
    return pixels


@functools.cache
def _bytes() -> tuple[bytes, bytes]:
    folder = resources.files(__name__) / "fluent_emoji"
    return (
        (folder / "gallery.json").read_bytes(),
        (folder / "phosphene-gallery-64.safetensors").read_bytes(),
    )


@functools.cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_bytes()[0])
    if document.get("schema") != SCHEMA:
        raise GalleryError(
            f"gallery.json has schema {document.get('schema')}, expected {SCHEMA}: "
            "reinstall Phosphene, or rebuild the gallery."
        )
    return document


@functools.cache
def load_gallery() -> Gallery:
    """Load the gallery that is installed with this package.

    Raises
    ------
    GalleryError
        If the files do not fit each other or this version.
    """
    listing, table = _bytes()
    keys = ("label", "name", "category", "kind", "concept", "code_point")
    return Gallery(
        stimuli=tuple(
            Stimulus(**{key: entry[key] for key in keys}) for entry in _document()["stimuli"]
        ),
        embeddings=load_safetensors(table)["embeddings"],
        sha256=hashlib.sha256(listing + table).hexdigest(),
    )
