"""Which galleries there are: registered ones by name, any other by its folder.

Owns the entry point group `phosphene.galleries`. An entry names the `Path` of a gallery's folder;
the shipped gallery registers the same way.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

from configs.plugins import PluginError, find_plugins
from pipeline.errors import GalleryError
from pipeline.gallery.folder import LISTING, open_gallery
from pipeline.gallery.table import Gallery

GROUP = "phosphene.galleries"
SHIPPED = "fluent-emoji"
SHIPPED_FOLDER = Path(__file__).parent / "fluent_emoji"


def gallery_names() -> tuple[str, ...]:
    """Names of the registered galleries, our own first."""
    return tuple(find_plugins(GROUP).found)


def load_gallery(which: str | Path | None = None) -> Gallery:
    """Load a gallery: by a registered name, by its folder, or the shipped one (None).

    Raises
    ------
    GalleryError
        There is none of that name, or its folder is not a whole gallery.
    """
    if which is None or which == SHIPPED:
        return _opened(SHIPPED_FOLDER)
    # Not `Path.is_dir`, which raises for a text that is longer than a name can be.
    if isinstance(which, Path) or os.path.isdir(which):  # noqa: PTH112
        return _opened(Path(which))
    plugin = find_plugins(GROUP).found.get(which)
    if plugin is None:
        raise GalleryError(
            f"there is no gallery {which!r}, expected a folder with {LISTING} or one of "
            f"{', '.join(gallery_names())}: `phosphene gallery make FOLDER` makes one of pictures."
        )
    try:
        return _opened(plugin.load(Path))
    except PluginError as error:
        raise GalleryError(str(error)) from None
    except GalleryError as error:
        raise GalleryError(f"gallery {which!r} of {plugin.distribution}: {error}") from None


def _opened(folder: Path) -> Gallery:
    """Open a folder anew only when its list has changed: a window asks in every frame."""
    try:
        found = (folder / LISTING).stat()
    except (OSError, ValueError):
        return open_gallery(folder)  # which says what is wrong
    return _opened_at(folder, found.st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _opened_at(folder: Path, _mtime_ns: int) -> Gallery:
    return open_gallery(folder)
