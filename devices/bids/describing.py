"""Who made a data set: its description, its sidecars, its people, its README.

Owns the words that say whether a person stands behind the data. Knows nothing of samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from devices.bids.events import HED_VERSION
from devices.bids.tables import (
    NOTHING,
    change_json,
    plain,
    read_json,
    read_table,
    write_json,
    write_table,
)
from devices.continuous import Continuous
from devices.files import bids

SIMULATED: Final = (
    f"{bids.SIMULATED} Its responses are made of the pictures' embeddings, by the code that "
    "Phosphene's decoder was trained on."
)
"""What every file that describes a simulated recording says."""
MIXED: Final = (
    "Mixed data set: some of it is simulated EEG of a virtual headset, and no person was recorded "
    "for that; nothing says so of the rest. The column `simulated` of participants.tsv says whose "
    "is which, and every simulated recording's *_eeg.json says so too."
)
"""What a data set says of which some is simulated, and not all."""
NOBODY: Final = "Nobody: simulated by Phosphene"
"""The author of a data set in which no person was recorded."""


@dataclass(frozen=True, slots=True)
class Credits:
    """What a data set says of itself; what is not given stays as it is in an older data set."""

    name: str = ""
    authors: tuple[str, ...] = ()
    licence: str = ""


def describe_recording(recording: Continuous, sidecar: Path) -> None:
    """Say what MNE-BIDS cannot know of a recording; it names the file format's maker."""
    is_simulated = recording.is_simulated
    changes: dict[str, Any] = {
        "Manufacturer": NOTHING if is_simulated else plain(recording.manufacturer),
        "EEGReference": plain(recording.reference),
    }
    if is_simulated:
        # No key of our own: the older validator takes none.
        changes["TaskDescription"] = SIMULATED
    elif recording.model:
        changes["ManufacturersModelName"] = plain(recording.model)
    change_json(sidecar, changes)


def describe_electrodes(folder: Path, said: str) -> None:
    """Say whose the positions in a coordinate system's tables are."""
    for path in folder.glob("*_coordsystem.json"):
        table = read_json(path)
        old = str(table.get("EEGCoordinateSystemDescription", "")).strip()
        words = f"{said} {old}" if old else said
        change_json(path, {"EEGCoordinateSystemDescription": words})


def describe_dataset(
    root: Path,
    subject: str,
    credits: Credits,
    *,
    folder: str,
    is_simulated: bool,
    is_known: bool,
) -> None:
    """Say who made the data set, and of whom nothing was recorded.

    `is_known`: whether the data set held a recording of the subject before this one.
    """
    words = _mark_participant(root, f"sub-{subject}", is_simulated=is_simulated, is_known=is_known)
    said = SIMULATED if words == {"yes"} else MIXED if words & {"yes", "in part"} else ""
    path = root / "dataset_description.json"
    table = read_json(path)
    table |= _credits(table, credits, folder, is_nobody=said == SIMULATED)
    table["HEDVersion"] = HED_VERSION
    if not table["Authors"]:
        del table["Authors"]
    made_by: list[dict[str, str]] = table.get("GeneratedBy", [])
    others = [entry for entry in made_by if entry.get("Name") != "Phosphene"]
    own = next((entry for entry in made_by if entry not in others), {})
    own = own | {"Name": "Phosphene", "Version": version("phosphene")}
    if said:
        own["Description"] = said
    write_json(path, table | {"GeneratedBy": [own, *others]})
    _introduce(root / "README", said)


def _introduce(readme: Path, said: str) -> None:
    """Begin the README with what is true of the data set now."""
    text = readme.read_text(encoding="utf-8-sig") if readme.exists() else ""
    if not said or said in text:
        return
    # Of earlier versions, too.
    old = f"{SIMULATED}\nparticipants.tsv says of whom.\n"
    for words in (old, SIMULATED, MIXED):
        if words in text:
            text = text.replace(words, f"{said}\n" if words == old else said)
            break
    else:
        text = f"{said}\n\n{text}"
    readme.write_text(text, encoding="utf-8")


def _credits(
    table: dict[str, Any], credits: Credits, folder: str, *, is_nobody: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    name = str(table.get("Name", ""))
    if credits.name or not name or name.startswith("[Unspecified"):
        found["Name"] = credits.name or folder
    authors = [
        who
        for who in table.get("Authors", ())
        if who != NOBODY and not who.startswith("[Unspecified")
    ]
    found["Authors"] = list(credits.authors) or authors or [NOBODY] * is_nobody
    if credits.licence or "License" not in table:
        found["License"] = credits.licence or NOTHING
    return found


def _mark_participant(
    root: Path, participant: str, *, is_simulated: bool, is_known: bool
) -> set[str]:
    """Keep the column `simulated` of participants.tsv; what it holds, nothing where it is not.

    People of whom nothing simulated was exported before the column have n/a there.
    """
    path = root / "participants.tsv"
    head, *rows = read_table(path)
    if "simulated" not in head:
        if not is_simulated:
            return set()
        head.append("simulated")
    place = head.index("simulated")
    rows = [[*row, *[NOTHING] * (len(head) - len(row))] for row in rows]
    for row in rows:
        if row[0] == participant:
            word = "yes" if is_simulated else "no"
            if row[place] == NOTHING:  # known, yet not marked: by an export before the column
                row[place] = "in part" if is_simulated and is_known else word
            elif row[place] != word:
                row[place] = "in part"
    write_table(path, [head, *rows])
    levels = {"yes": "no person", "no": "a person", "in part": "both, recording by recording"}
    what = "Whether the EEG is simulated; n/a: nothing says that it is"
    about = {"Description": what, "Levels": levels}
    change_json(root / "participants.json", {"simulated": about})
    return {row[place] for row in rows}
