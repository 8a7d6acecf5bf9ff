"""Where a class of events lies in the gallery's embedding space.

Owns the rule. A class such as "face" has no picture of its own: its prototype is the stimulus that
was named as typical, or the mean direction of all its members. The mean claims less, but it lies
between pictures, and what a generator draws there is a blend of them. A class for which nobody
named anything has no picture: its prototype is zero, which is drawn as fog.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from models.adapters.errors import AdapterError
from pipeline.gallery import Gallery
from pipeline.values import Float32


class Target(BaseModel):
    """What a class of events means: stimuli of the gallery, by any of kind, category, labels."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    event: str
    """The markers' label."""
    kind: Literal["upright", "inverted", "checkerboard"] | None = None
    """Kind of the stimuli."""
    category: str | None = None
    """Category of the stimuli."""
    labels: tuple[str, ...] = ()
    """Labels of the stimuli; empty: all of the kind and category."""

    typical: str = ""
    """Label of the stimulus that stands for the class; empty: the mean direction of the members."""
    image_sha256: str = ""
    """Of the picture that stands for the class, its pixels at 128 by 128; empty where not known."""

    @property
    def has_picture(self) -> bool:
        """Whether anything of the gallery stands for it."""
        return bool(self.kind or self.category or self.labels or self.typical)

    @property
    def picture(self) -> str:
        """Label of the stimulus that stands for it; empty: none, or a blend of several."""
        return self.typical or (self.labels[0] if len(self.labels) == 1 else "")

    def members(self, gallery: Gallery) -> Gallery:
        """Return the stimuli that it stands for."""
        return gallery.subset(kind=self.kind, category=self.category, labels=self.labels or None)

    def prototype(self, gallery: Gallery) -> Float32:
        """Where the class lies, (n_features,) float32: unit norm, or zero without a picture."""
        if not self.has_picture:
            return np.zeros(gallery.n_features, dtype=np.float32)
        if self.typical:
            return gallery.embedding(self.typical)
        mean = self.members(gallery).embeddings.astype(np.float64).mean(axis=0)
        norm = float(np.linalg.norm(mean))
        if norm < 1e-6:
            raise AdapterError(
                f"the stimuli of {self.event!r} cancel out, expected some that have something in "
                "common: name a category or labels."
            )
        return np.asarray(mean / norm, dtype=np.float32)


def prototypes(targets: tuple[Target, ...], gallery: Gallery) -> Float32:
    """Prototypes in the order of `targets`, (n_classes, n_features) float32, unit or zero rows."""
    return np.stack([target.prototype(gallery) for target in targets])
