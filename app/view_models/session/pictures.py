"""Pictures of the stimuli by label, from the gallery that ships with the app.

Owns a small cache. A label without a picture (another lab's markers) is None, and the views
write its name instead.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline.values import Uint8

PictureLoader = Callable[[str], Uint8 | None]


class GalleryPictures:
    """Loads each picture once; the gallery itself at the first use, off the start-up path."""

    def __init__(self) -> None:
        self._cache: dict[str, Uint8 | None] = {}

    def __call__(self, label: str) -> Uint8 | None:
        """Return the picture of `label`, (height, width, 3) uint8, or None."""
        if label not in self._cache:
            self._cache[label] = _load(label)
        return self._cache[label]


def _load(label: str) -> Uint8 | None:
    from pipeline.errors import GalleryError
    from pipeline.gallery import load_gallery

    try:
        return load_gallery().image(label)
    except GalleryError:
        return None
