"""Runs a virtual headset as a whole process: signals, the parent's end, the gallery.

Owns start and clean end; the streaming itself is `headset`'s.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from devices.virtual.headset import HeadsetSettings, VirtualHeadset
from pipeline.gallery import load_gallery
from pipeline.values import Float32


def gallery_embeddings() -> dict[str, Float32]:
    """Return the embedding of every gallery stimulus by its label."""
    gallery = load_gallery()
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
    }


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """Give an event that SIGINT and SIGTERM set; the earlier handlers come back afterwards."""
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_with_parent(stop: threading.Event, ended: threading.Event) -> None:
    """Set `stop` when the process that started us is gone, lest the headset streams for ever."""
    parent = os.getppid()
    while not ended.wait(1.0):
        if os.getppid() != parent:
            stop.set()


def serve(
    settings: HeadsetSettings,
    *,
    on_ready: Callable[[], None],
    on_follow: Callable[[], None] | None = None,
    follow_parent: bool = False,
) -> None:
    """Stream until a signal, the duration's end, or (with `follow_parent`) the parent's end."""
    headset = VirtualHeadset(settings, gallery_embeddings())
    ended = threading.Event()
    with stopped_by_signals() as stop:
        watcher = threading.Thread(
            target=_stop_with_parent, args=(stop, ended), name="headset-parent", daemon=True
        )
        if follow_parent:
            watcher.start()
        try:
            headset.run(stop, on_ready=on_ready, on_follow=on_follow)
        finally:
            ended.set()
