"""Which picture of a gallery a class of events probably means, by its name.

Owns the rules: a stimulus of that name, a checkerboard's side, a stimulus or a category that the
name speaks of, upright or upside down. Suggests nothing rather than something else.
"""

from __future__ import annotations

import hashlib
import re

from models.adapters.errors import AdapterError
from models.adapters.targets import Target
from pipeline.gallery import Gallery

NO_PICTURE = "none"
"""What is given for a class that is to be drawn as fog."""
_INVERTED = frozenset({"inverted", "inv", "upside", "down", "flipped", "rotated"})
_POSES = _INVERTED | {"upright", "up"}
_SIDES = ("left", "right", "full")


def target_of(event: str, picture: str, gallery: Gallery) -> Target:
    """Return a class that a picture stands for, by its label in the gallery; `none`: no picture.

    A category of the gallery (`face`) is its first picture.

    Raises
    ------
    AdapterError
        The gallery has no such picture.
    """
    if picture == NO_PICTURE:
        return Target(event=event)
    if picture in gallery.labels:
        digest = hashlib.sha256(gallery.image(picture).tobytes()).hexdigest()
        return Target(event=event, labels=(picture,), image_sha256=digest)
    if picture in gallery.categories:
        return target_of(event, _first(picture, gallery), gallery)
    near = suggestion(picture, gallery)
    also = f" (did you mean {near}?)" if near else ""
    raise AdapterError(
        f"class {event!r} is to be drawn as {picture!r}, which the gallery {gallery.name} has "
        f"not{also}: take a label of `phosphene gallery show`, {NO_PICTURE!r} for fog, or bring "
        "your own pictures with --gallery DIR."
    )


def suggestion(name: str, gallery: Gallery) -> str:
    """Return the label of the picture that a class of that name probably means; empty: none."""
    labels = set(gallery.labels)
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    plain = "-".join(words)
    if plain in labels:
        return plain
    if any(word.startswith("checker") for word in words):
        side = next((side for side in _SIDES if side in words), "full")
        return f"checkerboard-{side}" if f"checkerboard-{side}" in labels else ""
    is_inverted = bool(_INVERTED.intersection(words))
    core = [word for word in words if word not in _POSES and not word.isdigit()]
    found = _named(core, gallery)
    turned = f"{found}-inverted"
    if found and is_inverted:
        # Never the upright one for one upside down: that is another picture.
        return turned if turned in labels else ""
    return found


_VAGUE = frozenset({"object", "pattern", "person", "place", "tool"})
"""Categories whose pictures have nothing in common that one could stand for."""


def _named(core: list[str], gallery: Gallery) -> str:
    """The upright picture, or the first of the category, that the words speak of."""
    upright = {each.label for each in gallery.stimuli if each.kind == "upright"}
    for word in ("-".join(core), *core):
        for spelt in (word, word.removesuffix("s")):
            if spelt in upright:
                return spelt
            if spelt in gallery.categories and spelt not in _VAGUE:
                return _first(spelt, gallery)
    return ""


def _first(category: str, gallery: Gallery) -> str:
    """The picture that stands for a category: the one of its name, else its first."""
    own = [each.label for each in gallery.stimuli if each.category == category]
    return category if category in own else own[0]
