"""Galleries: what can be shown, what it looks like, and where it lies in an embedding space.

A gallery is a folder: `gallery.json` (labels, names, categories, licence), pictures, and one table
of vectors per embedding space, `<space>.safetensors`. The shipped one is the first; others are
named by their path or registered under the entry point group `phosphene.galleries`. Nothing here
knows EEG, encoders, or how vectors are made.
"""

from pipeline.gallery.folder import open_gallery
from pipeline.gallery.installed import gallery_names, load_gallery
from pipeline.gallery.table import (
    SPACE,
    TEMPERATURE,
    Gallery,
    Kind,
    Ranked,
    Stimulus,
)

__all__ = [
    "SPACE",
    "TEMPERATURE",
    "Gallery",
    "Kind",
    "Ranked",
    "Stimulus",
    "gallery_names",
    "load_gallery",
    "open_gallery",
]
