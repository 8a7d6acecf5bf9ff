"""The pictures that a session's markers name, for a BIDS data set.

Owns which pictures may go along: those of the gallery that the session itself names, as long as it
is the same one still. Knows nothing of recordings.
"""

from __future__ import annotations

import io
from importlib.metadata import version
from pathlib import Path

from PIL import Image

from app.report.record import SessionRecord, as_text, dig
from app.runtime.folder import EVENTS, RECORDING, SUMMARY
from configs.plain import plain
from devices.bids.events import Shown, ShownPicture
from pipeline.errors import GalleryError
from pipeline.gallery import Gallery, load_gallery
from pipeline.gallery.pictures import read_picture

_SIDE = 256
"""Of a picture that is drawn, or turned round, pixels."""


def shown_pictures(record: SessionRecord, *, with_files: bool) -> tuple[Shown, str]:
    """Return the pictures that a session's markers name, and what is to be said of them.

    Parameters
    ----------
    record : SessionRecord
    with_files : bool
        Whether the pictures themselves go along.
    """
    presentation = {}
    if (record.number("stimuli", "shown") or 0) > 0:
        made_with = as_text(dig(record.settings, "run", "phosphene"), version("phosphene"))
        presentation = {"SoftwareName": "Phosphene", "SoftwareVersion": made_with}
    wanted = as_text(dig(record.settings, "run", "gallery_sha256"))
    if not wanted:
        return Shown(presentation=presentation), ""
    where = as_text(dig(record.settings, "gallery"))
    try:
        gallery = load_gallery(where or None)
    except GalleryError as error:
        return Shown(presentation=presentation), f"The pictures are left out: {error}"
    if gallery.sha256 != wanted:
        return (
            Shown(presentation=presentation),
            f"The pictures are left out: the gallery {plain(gallery.name)!r} is another one than "
            "the session's.",
        )
    labels = dict.fromkeys(event.label for event in record.events)
    known = [label for label in labels if label in set(gallery.labels)]
    folder = f"{gallery.name}-{gallery.sha256[:8]}"
    pictures = {label: _picture(gallery, label, folder, with_files=with_files) for label in known}
    n_gone = sum(1 for each in pictures.values() if each.content is None)
    note = f"{n_gone} of {len(known)} pictures are gone." if with_files and n_gone else ""
    licence = gallery.licence.strip() or "The gallery states no licence."
    return Shown(pictures, {f"{folder}/LICENSE.txt": f"{licence}\n"}, presentation), note


def _picture(gallery: Gallery, label: str, folder: str, *, with_files: bool) -> ShownPicture:
    """A file of the gallery as it is; a checkerboard, or one turned round, as it was shown."""
    row = gallery.index(label)
    stimulus = gallery.stimuli[row]
    if not with_files:
        return ShownPicture(stimulus.name)
    try:
        if stimulus.kind == "upright" and gallery.folder is not None:
            path = gallery.folder / stimulus.image
            read_picture(path, sha256=stimulus.image_sha256)
            content, suffix = path.read_bytes(), path.suffix.lower()
        else:
            buffer = io.BytesIO()
            Image.fromarray(gallery.image(label, size=_SIDE)).save(buffer, format="PNG")
            content, suffix = buffer.getvalue(), ".png"
    except (GalleryError, OSError):
        return ShownPicture(stimulus.name)
    # By number: a label may hold what no file's name can.
    return ShownPicture(stimulus.name, f"{folder}/{row:05d}{suffix}", content)


def session_of(path: Path) -> Path | None:
    """The session folder that a path is, or that a recording lies in; None for any other file."""
    folder = path if path.is_dir() else path.parent
    is_session = (folder / SUMMARY).exists() and (folder / EVENTS).exists()
    is_its_recording = path.is_dir() or path.name == RECORDING
    return folder if is_session and is_its_recording else None
