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
    root: Path, subject: str, credits: Credits, *, folder: str, is_simulated: bool
) -> None:
    """Say who made the data set, and of whom nothing was recorded."""
    path = root / "dataset_description.json"
    table = read_json(path)
    table |= _credits(table, credits, folder, is_simulated=is_simulated)
    table["HEDVersion"] = HED_VERSION
    if all(name.startswith("[Unspecified") for name in table.get("Authors", ())):
        table.pop("Authors", None)
    made_by: list[dict[str, str]] = table.get("GeneratedBy", [])
    others = [entry for entry in made_by if entry.get("Name") != "Phosphene"]
    own = next((entry for entry in made_by if entry not in others), {})
    own = own | {"Name": "Phosphene", "Version": version("phosphene")}
    if is_simulated:
        own["Description"] = f"{SIMULATED} participants.tsv says whose data this is true of."
    write_json(path, table | {"GeneratedBy": [own, *others]})
    _mark_participant(root, f"sub-{subject}", is_simulated=is_simulated)
    readme = root / "README"
    text = readme.read_text(encoding="utf-8-sig") if readme.exists() else ""
    if is_simulated and SIMULATED not in text:
        readme.write_text(
            f"{SIMULATED}\nparticipants.tsv says of whom.\n\n{text}", encoding="utf-8"
        )


def _credits(
    table: dict[str, Any], credits: Credits, folder: str, *, is_simulated: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    name = str(table.get("Name", ""))
    if credits.name or not name or name.startswith("[Unspecified"):
        found["Name"] = credits.name or folder
    authors = [who for who in table.get("Authors", ()) if not who.startswith("[Unspecified")]
    if credits.authors:
        found["Authors"] = list(credits.authors)
    elif is_simulated and not authors:
        found["Authors"] = [NOBODY]
    if credits.licence or "License" not in table:
        found["License"] = credits.licence or NOTHING
    return found


def _mark_participant(root: Path, participant: str, *, is_simulated: bool) -> None:
    """Keep the column `simulated` of participants.tsv; people of other exports have n/a there."""
    path = root / "participants.tsv"
    head, *rows = read_table(path)
    if "simulated" not in head:
        if not is_simulated:
            return
        head.append("simulated")
    place = head.index("simulated")
    rows = [[*row, *[NOTHING] * (len(head) - len(row))] for row in rows]
    for row in rows:
        if row[0] == participant:
            word = "yes" if is_simulated else "no"
            row[place] = word if row[place] in (NOTHING, word) else "in part"
    write_table(path, [head, *rows])
    levels = {"yes": "no person", "no": "a person", "in part": "both, recording by recording"}
    about = {"Description": "Whether the EEG is simulated", "Levels": levels}
    change_json(root / "participants.json", {"simulated": about})
