"""Mixtures of a gallery's pictures: arithmetic on their vectors, written as text.

Owns the grammar and the sum. `cat` is a picture; `0.6*cat + 0.4*tulip` a blend; `@red` a direction
(the mean of the pictures that are mostly red, less that of all), so that `1*cat + 0.5*@red` is a
redder cat. A mixture is as long as a picture's vector. Says too which pictures' objects show a
colour or style most. Knows nothing of who chooses them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigurationError
from pipeline.gallery import Gallery
from pipeline.gallery.pictures import object_of
from pipeline.values import Float32, Float64, Uint8

Bool = npt.NDArray[np.bool_]
HUES: Final[Mapping[str, tuple[float, float]]] = {
    "red": (345, 15),
    "orange": (15, 45),
    "yellow": (45, 70),
    "green": (70, 165),
    "blue": (165, 255),
    "violet": (255, 345),
}
"""Colours by their hue, degrees."""
DIRECTIONS: Final = (*HUES, "light", "dark", "plain", "colourful")
"""Names of the directions; the last four are styles."""
_SHARE: Final = 12
"""Pictures that show a direction most."""
_LEAST_OBJECT: Final = 0.1
"""Share of a picture that its object covers before it stands for a colour or style."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Weights by name: a label of the gallery, or a direction after `@`."""

    weights: tuple[tuple[str, float], ...]

    @classmethod
    def of(cls, name: str) -> Mix:
        """One picture."""
        return cls(((name, 1.0),))

    @property
    def label(self) -> str:
        """As text; one picture is called as the gallery calls it."""
        if len(self.weights) == 1 and self.weights[0][1] == 1.0:
            return self.weights[0][0]
        return " + ".join(f"{weight:.3g}*{name}" for name, weight in self.weights)

    def plus(self, name: str, weight: float, *, keeps: float = 1.0) -> Mix:
        """Add to it, after scaling what it holds by `keeps`; small weights fall away."""
        table = {each: keeps * own for each, own in self.weights}
        table[name] = table.get(name, 0.0) + weight
        kept = tuple((each, float(f"{own:.3g}")) for each, own in table.items() if own > 0.02)
        return Mix(kept)


class Mixing:
    """Reads mixtures of one gallery.

    Parameters
    ----------
    gallery : Gallery
    """

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._known = frozenset(gallery.labels)

    def read(self, text: str) -> Mix:
        """Read a mixture.

        Raises
        ------
        ConfigurationError
            It is none, or names a picture that is not in the gallery.
        """
        if text in self._known:
            return Mix.of(text)
        weights = []
        for term in text.split(" + "):
            number, _, name = term.partition("*")
            is_known = name in self._known or name.removeprefix("@") in DIRECTIONS
            try:
                weight = float(number)
            except ValueError:
                weight = math.nan
            if not is_known or not math.isfinite(weight) or abs(weight) > 100:
                raise ConfigurationError(
                    f"{text[:80]!r} is no picture of the gallery and no mixture, expected a label "
                    "or such as '0.6*cat + 0.4*dog + 0.5*@red'."
                )
            weights.append((name, weight))
        return Mix(tuple(weights))

    def vector(self, text: str) -> Float32:
        """Vector of a mixture, (n_features,) float32, as long as that of a picture."""
        mix = self.read(text)
        if len(mix.weights) == 1 and mix.label == text and text in self._known:
            return self._gallery.embedding(text)
        total = np.sum([weight * self._part(name) for name, weight in mix.weights], axis=0)
        length = float(np.linalg.norm(total))
        found: Float32 = (total / max(length, 1e-12)).astype(np.float32)
        return found

    def examples(self, direction: str) -> tuple[str, ...]:
        """Upright pictures, by how much their objects show a colour or style, most first."""
        return _examples(self._gallery)[direction]

    def _part(self, name: str) -> Float64:
        if name.startswith("@") and name not in self._known:
            return self._directions[name[1:]]
        return self._gallery.embedding(name).astype(np.float64)

    @cached_property
    def _directions(self) -> dict[str, Float64]:
        upright = self._gallery.subset(kind="upright")
        looks = [_looks_of(upright.image(label)) for label in upright.labels]
        vectors = upright.embeddings.astype(np.float64)
        found = {}
        for name in DIRECTIONS:
            shown = np.array([look[name] for look in looks])
            most = np.argsort(-shown, kind="stable")[:_SHARE]
            away = vectors[most].mean(axis=0) - vectors.mean(axis=0)
            found[name] = away / max(float(np.linalg.norm(away)), 1e-12)
        return found


@lru_cache(maxsize=4)
def _examples(gallery: Gallery) -> dict[str, tuple[str, ...]]:
    """Upright pictures by how much their objects show of each direction, most first."""
    upright = gallery.subset(kind="upright")
    shown = {}
    for label in upright.labels:
        pixels = upright.image(label)[::4, ::4].reshape(-1, 3)
        objects = pixels[object_of(pixels, gallery.background)]
        if len(objects) >= _LEAST_OBJECT * len(pixels):
            shown[label] = _colours_of(objects)
    return {name: tuple(sorted(shown, key=lambda each: -shown[each][name])) for name in DIRECTIONS}


def _looks_of(pixels: Uint8) -> dict[str, float]:
    """How much a picture shows of each direction: shares of its pixels, and means."""
    rgb = pixels[::4, ::4].reshape(-1, 3) / 255.0
    spread, bright = np.ptp(rgb, axis=1), float(rgb.max(axis=1).mean())
    found = {name: float((is_it & (spread > 0.2)).mean()) for name, is_it in _hues_of(rgb)}
    return found | _styles_of(bright, float(spread.mean()))


def _colours_of(objects: Uint8) -> dict[str, float]:
    """How much an object's pixels (n_pixels, 3) show of each direction: pale ones of a hue less."""
    rgb = objects / 255.0
    spread = np.ptp(rgb, axis=1)
    found = {name: float((is_it * spread).mean()) for name, is_it in _hues_of(rgb)}
    return found | _styles_of(float(rgb.mean()), float(spread.mean()))


def _hues_of(rgb: Float64) -> Iterator[tuple[str, Bool]]:
    """Which pixels (n_pixels, 3) are of each hue."""
    near = rgb @ np.array([[1.0], [np.exp(2j * np.pi / 3)], [np.exp(4j * np.pi / 3)]])
    hue = np.degrees(np.angle(near[:, 0])) % 360
    for name, (first, last) in HUES.items():
        yield name, (hue - first) % 360 < (last - first) % 360


def _styles_of(bright: float, saturation: float) -> dict[str, float]:
    return {"light": bright, "dark": -bright, "plain": -saturation, "colourful": saturation}
