"""Runs a virtual headset until it is to stop: what it says of itself, the pictures it knows.

The streaming itself is `headset`'s.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from devices.virtual.headset import HeadsetSettings, VirtualHeadset
from pipeline.gallery import SPACE, load_gallery
from pipeline.values import Float32


def gallery_embeddings(which: str | None = None) -> dict[str, Float32]:
    """Return the embedding of every stimulus of a gallery by its label.

    Raises
    ------
    GalleryError
        There is no such gallery, or it has no vectors that the virtual brain is made for.
    """
    gallery = load_gallery(which).demand(SPACE, what="the virtual headset")
    return dict(zip(gallery.labels, gallery.embeddings, strict=True))


def description(settings: HeadsetSettings) -> dict[str, Any]:
    """Describe the running stream, for whoever started the process."""
    return {
        "ready": True,
        "pid": os.getpid(),
        "name": settings.stream_name,
        "source_id": settings.stream_source_id,
        "board": settings.board.name,
        "ch_names": list(settings.board.ch_names),
        "sfreq": settings.rate,
        "subject": settings.subject_number,
        "snr": settings.snr,
        "seed": settings.seed,
        "markers_source_id": settings.markers_source_id,
        "responses": None if settings.responses is None else str(settings.responses),
    }


def serve(
    settings: HeadsetSettings,
    stop: threading.Event,
    *,
    on_ready: Callable[[], None],
    on_follow: Callable[[], None] | None = None,
) -> None:
    """Stream until `stop` is set or the duration is over."""
    knows_pictures = settings.responses is not None
    headset = VirtualHeadset(
        settings, {} if knows_pictures else gallery_embeddings(settings.gallery)
    )
    headset.run(stop, on_ready=on_ready, on_follow=on_follow)
