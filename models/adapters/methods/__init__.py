"""The methods of adapting, from cheap to rich, by name: a table that imports none of them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from models.adapters.errors import AdapterError
from models.adapters.methods.base import Method

PICTURES: Mapping[str, str] = MappingProxyType(
    {
        "zero-shot": "models.adapters.methods.unlabelled:ZeroShot",
        "aligned": "models.adapters.methods.unlabelled:Aligned",
        "ridge": "models.adapters.methods.ridge:EmbeddingRidge",
        "pattern": "models.adapters.methods.pattern:PatternModel",
        "low-rank": "models.adapters.methods.gradient:LowRankLayers",
        "lora": "models.adapters.methods.gradient:LoraLayers",
    }
)
"""Behind an encoder of vectors, in order of cost."""
METHODS: Mapping[str, str] = MappingProxyType(
    {
        **PICTURES,
        "spatio-temporal-lda": "models.adapters.methods.classes:ClassDiscriminant",
        "class-ensemble": "models.adapters.methods.ensemble:ClassEnsemble",
    }
)
"""All: the last two decode classes of events, with no encoder before them."""


def find_method(name: str) -> type[Method[Any, Any]]:
    """Import the class of a method.

    Raises
    ------
    AdapterError
        There is none of that name.
    """
    if name not in METHODS:
        raise AdapterError(f"there is no adapter {name!r}, expected one of {', '.join(METHODS)}.")
    module, _, cls = METHODS[name].partition(":")
    found: type[Method[Any, Any]] = getattr(importlib.import_module(module), cls)
    return found


__all__ = ["METHODS", "PICTURES", "Method", "find_method"]
