"""A recording as a BIDS data set: BrainVision with its sidecars, written by MNE-BIDS.

Owns the way from a grid of samples to MNE's `Raw` and MNE-BIDS's words. Microvolts become volts
here, at the border. Knows nothing of how recordings are read.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any, Final

import numpy as np

from devices.bids.describing import (
    Credits,
    describe_dataset,
    describe_electrodes,
    describe_recording,
)
from devices.bids.electrodes import place_electrodes
from devices.bids.events import Shown, describe_events, write_pictures
from devices.bids.tables import plain
from devices.continuous import Continuous
from devices.errors import RecordingError
from pipeline.extras import extras_named

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
    recording: Continuous,
    root: Path,
    name: BidsName,
    *,
    line_freq: float | None = None,
    credits: Credits | None = None,
    shown: Shown | None = None,
    derive: Callable[[Path, Path], object] = lambda _root, _raw: None,
) -> Path:
    """Write a recording into a data set, new or old; return its `.vhdr`.

    Parameters
    ----------
    line_freq : float, optional
        Of the mains, Hz.
    credits : Credits, optional
        Name, authors and licence of the data set.
    shown : Shown, optional
        The pictures that its markers name.
    derive : callable
        Takes a folder that will be put into the data set as it is, and the `.vhdr`'s path within
        it; writes what was derived from the recording.

    Raises
    ------
    RecordingError
        The recording is there already, or the folder cannot be written.
    MissingExtraError
        MNE-BIDS is not installed.
    """
    mne_bids = _load()
    raw = _make_raw(recording, line_freq)
    placed = place_electrodes(raw, recording)
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
            stem = str(beside.fpath.with_suffix("")).removesuffix("_eeg")
            describe_recording(recording, beside.fpath.with_suffix(".json"))
            describe_electrodes(beside.fpath.parent, placed)
            labels = describe_events(Path(f"{stem}_events.tsv"), shown or Shown())
            write_pictures(Path(scratch), shown or Shown(), labels)
            describe_dataset(
                Path(scratch),
                name.subject,
                credits or Credits(),
                folder=root.resolve().name,
                is_simulated=recording.is_simulated,
                is_known=(root / f"sub-{name.subject}").exists(),
            )
            derive(Path(scratch), beside.fpath.relative_to(scratch))
            _move(Path(scratch), root, tables=tables)
    except OSError as error:
        # NumPy says how many bytes went through, and not why.
        reason = error.strerror or "not all of it could be written: the disk is full"
        raise RecordingError(
            f"{root} cannot be written ({reason}): free disk space or give another folder."
        ) from error
    return Path(target.fpath)


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
    if recording.measured_at is not None:
        raw.set_meas_date(recording.measured_at.astimezone(UTC))
    with raw.info._unlock():  # noqa: SLF001 - MNE's own way; its setter refuses None
        raw.info["line_freq"] = line_freq
    rows = sorted((*recording.events, *recording.gaps), key=lambda event: event.sample)
    if rows:
        raw.set_annotations(
            mne.Annotations(
                # Counted in samples: an event stands exactly on the one that it is nearest to.
                onset=[row.sample / recording.sfreq for row in rows],
                duration=[row.n_times / recording.sfreq for row in rows],
                description=[plain(row.label) for row in rows],
            )
        )
    return raw


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
