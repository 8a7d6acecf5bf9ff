"""What the events of a recording mean: HED tags, and the pictures that were shown.

Owns the columns and the sidecar of `_events.tsv`, and the folder `stimuli/`. Pictures come as
bytes: whose they are, and whether they may be given away, is the caller's to know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from devices.bids.tables import NOTHING, change_json, plain, read_json, read_table, write_table

HED_VERSION: Final = "8.3.0"
"""The newest schema that both BIDS validators and hedtools bring with them."""
_NO_WORD: Final = re.compile(r"[^A-Za-z0-9_-]+")
_BAD: Final = "Data-feature, Data-artifact"


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """A picture that markers name: what it shows, and its file below `stimuli/`.

    `content` None: the file cannot be given away, or is gone; the data set names none then.
    """

    name: str
    file: str = ""
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """The pictures that a recording's markers name.

    `texts` are further files below `stimuli/`, such as a licence; `presentation` is BIDS's
    `StimulusPresentation`, empty where another program showed them.
    """

    pictures: Mapping[str, ShownPicture] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    presentation: Mapping[str, str] = field(default_factory=dict)


def hed_label(text: str) -> str:
    """Return `Label/...` of a text: HED takes letters, digits, `-` and `_`."""
    return f"Label/{_NO_WORD.sub('-', text).strip('-') or 'unnamed'}"


def hed_of(label: str, *, is_picture: bool) -> str:
    """HED tags of a marker, as far as it is known what it stands for.

    One group: tags of two markers at one time are read together, and none may stand there twice.
    """
    if label.startswith("BAD_"):
        return f"({_BAD}, {hed_label(label)})"
    if not is_picture:
        return f"(Event, {hed_label(label)})"
    image = f"(Image, {hed_label(label)})"
    return f"(Sensory-event, Experimental-stimulus, Visual-presentation, {image})"


def describe_events(path: Path, shown: Shown) -> set[str]:
    """Add `stim_file` and HED tags to a run's events; return the labels that pictures have.

    Does nothing where the run has no events.
    """
    if not path.exists():
        return set()
    pictures = {plain(label): picture for label, picture in shown.pictures.items()}
    head, *rows = read_table(path)
    place = head.index("trial_type")
    labels = [row[place] for row in rows]
    files = [_file_of(pictures.get(label)) for label in labels]
    if any(name != NOTHING for name in files):
        head = [*head, "stim_file"]
        rows = [[*row, name] for row, name in zip(rows, files, strict=True)]
        write_table(path, [head, *rows])
    _describe_columns(path.with_suffix(".json"), dict.fromkeys(labels), pictures, head)
    if shown.presentation:
        change_json(path.with_suffix(".json"), {"StimulusPresentation": dict(shown.presentation)})
    return {label for label in labels if label in pictures}


def _file_of(picture: ShownPicture | None) -> str:
    return NOTHING if picture is None or picture.content is None else picture.file


def _describe_columns(
    path: Path, labels: Iterable[str], pictures: Mapping[str, ShownPicture], head: list[str]
) -> None:
    kinds: dict[str, Any] = dict(read_json(path).get("trial_type", {}))
    known = [label for label in labels if label != NOTHING]
    kinds["Levels"] = {
        label: f"The picture {pictures[label].name!r}" if label in pictures else _words_of(label)
        for label in known
    }
    kinds["HED"] = {label: hed_of(label, is_picture=label in pictures) for label in known}
    changes: dict[str, Any] = {"trial_type": kinds} if known else {}
    if "stim_file" in head:
        changes["stim_file"] = {
            "Description": "The picture that was shown, below the data set's folder stimuli/."
        }
    change_json(path, changes)


def _words_of(label: str) -> str:
    words = {
        "BAD_ACQ_SKIP": "Lost time: filled with zeros, or a seam where it was long",
        "BAD_values": "Values that the device marked as unusable, or that are no numbers",
    }
    return words.get(label, f"The marker {label!r}")


def write_pictures(root: Path, shown: Shown, labels: Iterable[str]) -> None:
    """Write the pictures of some labels below `stimuli/`, and the texts that go with them."""
    wanted = {plain(label): picture for label, picture in shown.pictures.items()}
    found = [wanted[label] for label in labels if wanted[label].content is not None]
    for picture in found:
        path = root / "stimuli" / picture.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture.content or b"")
    for name, text in shown.texts.items() if found else ():
        (root / "stimuli" / name).write_text(text, encoding="utf-8")
