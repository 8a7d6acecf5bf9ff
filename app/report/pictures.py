"""Pictures for a report: read, shrunk to what a page needs, inlined.

Owns decoding of PNG bytes of unknown origin and their encoding as data URIs. The files in
`images/` stay the originals.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable

import numpy as np
from PIL import Image

from app.report.record import Event, SessionRecord, dig, picture_is_genuine, read_picture
from pipeline.values import Uint8

MAX_SIDE = 160
MAX_PIXELS = 4096 * 4096
"""A picture larger than this is not one of ours."""

Stimuli = Callable[[str], Uint8 | None]
"""Looks up the picture of a label: (height, width, 3) uint8, None where there is none."""


def data_uri(pixels: Uint8) -> str:
    """Encode pixels, (height, width, 3) uint8, as an inline WebP of at most `MAX_SIDE`."""
    return _encode(Image.fromarray(np.ascontiguousarray(pixels)))


def decoded_uri(record: SessionRecord, event: Event) -> tuple[str | None, bool]:
    """Return an event's picture as a data URI, and whether its hash is the one written down."""
    image, is_genuine = decoded_image(record, event)
    return None if image is None else _encode(image), is_genuine


def decoded_image(record: SessionRecord, event: Event) -> tuple[Image.Image | None, bool]:
    """Return an event's picture, RGB, and whether its hash is the one written down."""
    data = read_picture(record, event)
    if data is None:
        return None, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                if image.width * image.height > MAX_PIXELS:
                    return None, False
                return image.convert("RGB"), picture_is_genuine(event, data)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None, False


def gallery_stimuli(record: SessionRecord) -> Stimuli:
    """Look labels up in the session's gallery; none are found where it is gone or changed."""
    from pipeline.errors import GalleryError
    from pipeline.gallery import load_gallery

    named = dig(record.settings, "gallery")
    recorded = dig(record.settings, "run", "gallery_sha256")
    try:
        gallery = load_gallery(named if isinstance(named, str) else None)
    except GalleryError:
        return lambda _label: None

    def look_up(label: str) -> Uint8 | None:
        try:
            return gallery.image(label) if label in gallery.labels else None
        except GalleryError:
            return None

    # Other pictures under the same labels would be shown as what the person saw.
    is_same = named is None or recorded is None or gallery.sha256 == recorded
    return look_up if is_same else lambda _label: None


def _encode(image: Image.Image) -> str:
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", quality=86, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
