"""The kinds of picture adapter, from cheap to rich, by name."""

from __future__ import annotations

from models.adapters.errors import AdapterError
from models.adapters.parts.base import PictureAdapter
from models.adapters.parts.layers import LoraLayers, LowRankLayers
from models.adapters.parts.pattern import PatternModel
from models.adapters.parts.plain import Aligned, ZeroShot
from models.adapters.parts.ridge import EmbeddingRidge

METHODS: dict[str, type[PictureAdapter]] = {
    kind.name: kind
    for kind in (ZeroShot, Aligned, EmbeddingRidge, PatternModel, LowRankLayers, LoraLayers)
}
"""In order of cost."""


def find_method(name: str) -> type[PictureAdapter]:
    """Return the class of a method.

    Raises
    ------
    AdapterError
        There is none of that name.
    """
    if name not in METHODS:
        raise AdapterError(f"there is no adapter {name!r}, expected one of {', '.join(METHODS)}.")
    return METHODS[name]


__all__ = ["METHODS", "PictureAdapter", "find_method"]
