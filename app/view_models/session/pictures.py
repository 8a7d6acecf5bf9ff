"""Pictures and categories of the stimuli by label, from the gallery of the session on show.

Owns a small cache. A label without a picture (another lab's markers) is None, and the views
write its name instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.errors import GalleryError
from pipeline.values import Uint8

if TYPE_CHECKING:
    from pipeline.gallery import Gallery

PictureLoader = Callable[[str], Uint8 | None]


class GalleryPictures:
    """Loads each picture once; the gallery itself at the first use, off the start-up path."""

    def __init__(self) -> None:
        self._which: str | None = None
        self._gallery: Gallery | None = None
        self._is_read = False
        self._cache: dict[str, Uint8 | None] = {}

    def use(self, which: str | None) -> None:
        """Show the pictures of another gallery, named as `SessionConfig.gallery`."""
        if which != self._which:
            self._which, self._gallery, self._is_read = which, None, False
            self._cache.clear()

    def __call__(self, label: str) -> Uint8 | None:
        """Return the picture of `label`, (height, width, 3) uint8, or None."""
        if label not in self._cache:
            self._cache[label] = self._picture(label)
        return self._cache[label]

    def category(self, label: str) -> str:
        """Return the category of a stimulus; a label that is none is its own."""
        gallery = self._read()
        if gallery is None or label not in gallery.labels:
            return label
        return gallery.stimuli[gallery.index(label)].category

    def _picture(self, label: str) -> Uint8 | None:
        gallery = self._read()
        try:
            return None if gallery is None else gallery.image(label)
        except GalleryError:
            return None

    def _read(self) -> Gallery | None:
        """Load the gallery once; the session itself says what is wrong with one."""
        if not self._is_read:
            from pipeline.gallery import load_gallery

            self._is_read = True
            try:
                self._gallery = load_gallery(self._which)
            except GalleryError:
                self._gallery = None
        return self._gallery
