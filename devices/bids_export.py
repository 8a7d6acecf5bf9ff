"""A recording as a BIDS data set: BrainVision with its sidecars, written by MNE-BIDS.

Owns the way from a grid of samples to MNE's `Raw` and MNE-BIDS's words. Microvolts become volts
here, at the border. Knows nothing of how recordings are read.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from devices.continuous import Continuous
from devices.errors import RecordingError
from pipeline.extras import extras_named

SIMULATED: Final = (
    "Simulated EEG of a virtual headset: no person was recorded. Its responses are made of the "
    "pictures' embeddings, by the code that Phosphene's decoder was trained on."
)
"""What every file that describes a simulated recording says."""
_MNE_TYPES: Final = {"eeg", "eog", "ecg", "emg", "misc", "bio", "stim", "resp", "gsr"}
_WORD: Final = re.compile(r"[A-Za-z0-9]{1,64}")


@dataclass(frozen=True, slots=True)
class BidsName:
    """Where in a data set a recording belongs; letters and digits, as BIDS wants them.

    Raises
    ------
    RecordingError
        A word holds anything else.
    """

    subject: str
    task: str
    session: str | None = None
    run: str | None = None

    def __post_init__(self) -> None:
        for what in ("subject", "task", "session", "run"):
            word = getattr(self, what)
            if word is not None and not _WORD.fullmatch(word):
                raise RecordingError(
                    f"BIDS {what} is {word!r}, expected letters and digits only: leave out "
                    "blanks, '-' and '_'."
                )


def write_bids(
    recording: Continuous, root: Path, name: BidsName, *, line_freq: float | None = None
) -> Path:
    """Write a recording into a data set, new or old; return its `.vhdr`.

    Raises
    ------
    RecordingError
        The recording is there already, or the folder cannot be written.
    MissingExtraError
        MNE-BIDS is not installed.
    """
    mne_bids = _load()
    raw = _make_raw(recording, line_freq)
    target = mne_bids.BIDSPath(
        root=root,
        subject=name.subject,
        task=name.task,
        session=name.session,
        run=name.run,
        datatype="eeg",
        suffix="eeg",
        extension=".vhdr",
    )
    if target.fpath.exists():
        raise RecordingError(
            f"{target.fpath} exists already and is never overwritten: give another --run, "
            "--session or --bids folder."
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        # Beside the data set first: it never holds half a recording, whatever happens.
        with tempfile.TemporaryDirectory(prefix=".export-", dir=root) as scratch, _quiet():
            tables = _copy_tables(root, Path(scratch), name)
            beside = target.copy().update(root=Path(scratch))
            mne_bids.write_raw_bids(
                raw,
                beside,
                format="BrainVision",
                allow_preload=True,
                overwrite=False,
                verbose="ERROR",
            )
            _say_origin(recording, beside)
            _move(Path(scratch), root, tables=tables)
    except OSError as error:
        # NumPy says how many bytes went through, and not why.
        reason = error.strerror or "not all of it could be written: the disk is full"
        raise RecordingError(
            f"{root} cannot be written ({reason}): free disk space or give another folder."
        ) from error
    return Path(target.fpath)


def _say_origin(recording: Continuous, target: Any) -> None:
    """Say who made the device, or that there was none; MNE-BIDS names the file format's maker."""
    root, is_simulated = Path(target.root), recording.is_simulated
    maker = "n/a" if is_simulated else _plain(recording.manufacturer)
    about = {"Simulated": True, "TaskDescription": SIMULATED} if is_simulated else {}
    _change_json(target.fpath.with_suffix(".json"), {"Manufacturer": maker, **about})
    description = root / "dataset_description.json"
    made_by: list[dict[str, str]] = _read_json(description).get("GeneratedBy", [])
    others = [entry for entry in made_by if entry.get("Name") != "Phosphene"]
    own = next((entry for entry in made_by if entry not in others), {})
    own = own | {"Name": "Phosphene", "Version": version("phosphene")}
    if is_simulated:
        own["Description"] = f"{SIMULATED} participants.tsv says whose data this is true of."
    _change_json(description, {"GeneratedBy": [own, *others]})
    _mark_participant(root, f"sub-{target.subject}", is_simulated=is_simulated)
    readme = root / "README"
    text = readme.read_text(encoding="utf-8-sig") if readme.exists() else ""
    if is_simulated and SIMULATED not in text:
        readme.write_text(
            f"{SIMULATED}\nparticipants.tsv says of whom.\n\n{text}", encoding="utf-8"
        )


def _mark_participant(root: Path, participant: str, *, is_simulated: bool) -> None:
    """Keep the column `simulated` of participants.tsv; people of other exports have n/a there."""
    path = root / "participants.tsv"
    head, *rows = [line.split("\t") for line in _lines(path)]
    if "simulated" not in head:
        if not is_simulated:
            return
        head.append("simulated")
    place = head.index("simulated")
    rows = [[*row, *["n/a"] * (len(head) - len(row))] for row in rows]
    for row in rows:
        if row[0] == participant:
            word = "yes" if is_simulated else "no"
            row[place] = word if row[place] in ("n/a", word) else "in part"
    table = "".join("\t".join(row) + "\n" for row in (head, *rows))
    path.write_text(table, encoding="utf-8-sig")
    levels = {"yes": "no person", "no": "a person", "in part": "both, recording by recording"}
    about = {"Description": "Whether the EEG is simulated", "Levels": levels}
    _change_json(root / "participants.json", {"simulated": about})


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]


def _read_json(path: Path) -> dict[str, Any]:
    table = json.loads(path.read_text(encoding="utf-8-sig")) if path.exists() else {}
    return table if isinstance(table, dict) else {}


def _change_json(path: Path, changes: dict[str, Any]) -> None:
    text = json.dumps(_read_json(path) | changes, indent=4, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def _copy_tables(root: Path, scratch: Path, name: BidsName) -> set[Path]:
    """Copy what every recording of a data set adds to; their paths within it."""
    found = [path for path in root.iterdir() if path.is_file()]
    found += (root / f"sub-{name.subject}").rglob("*_scans.tsv")
    tables = {path.relative_to(root) for path in found}
    for path in tables:
        (scratch / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, scratch / path)
    return tables


def _move(scratch: Path, root: Path, *, tables: set[Path]) -> None:
    """Move a recording into its data set: its files first, what names them last."""
    made = [path.relative_to(scratch) for path in scratch.rglob("*") if path.is_file()]
    for path in sorted(made, key=lambda path: (path in tables, path.suffix == ".vhdr", path)):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (scratch / path).replace(root / path)


def _make_raw(recording: Continuous, line_freq: float | None) -> Any:
    import mne

    types = [kind if kind in _MNE_TYPES else "misc" for kind in recording.ch_types]
    info = mne.create_info(list(recording.ch_names), recording.sfreq, types)
    raw = mne.io.RawArray(recording.data.astype(np.float64) * 1e-6, info, verbose="ERROR")
    raw.info["bads"] = list(recording.bads)
    with raw.info._unlock():  # noqa: SLF001 - MNE's own way; its setter refuses None
        raw.info["line_freq"] = line_freq
    rows = sorted((*recording.events, *recording.gaps), key=lambda event: event.sample)
    if rows:
        raw.set_annotations(
            mne.Annotations(
                # Counted in samples: an event stands exactly on the one that it is nearest to.
                onset=[row.sample / recording.sfreq for row in rows],
                duration=[row.n_times / recording.sfreq for row in rows],
                description=[_plain(row.label) for row in rows],
            )
        )
    return raw


def _plain(label: str) -> str:
    """A label that a table of tabs and lines can hold."""
    return " ".join(label.split()) or "n/a"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """MNE-BIDS warns of what was asked for: that the data were in memory and are converted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _load() -> Any:
    with extras_named("an export to BIDS"):
        import mne_bids
        import pybv  # noqa: F401 - MNE-BIDS asks for it only once it writes
    return mne_bids
