"""Public recordings through MOABB, where it is installed: stage A's corpus by name.

Owns how a MOABB data set becomes `.npy` files in a cache, one a run, one subject at a time, so
that a corpus may be larger than memory. MOABB finds (and downloads, where it must) the files; it
is imported only when a data set is named. Knows nothing of training.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.training.errors import DatasetError
from pipeline.extras import extras_named


def cache_datasets(
    names: Sequence[str],
    *,
    subjects: Sequence[int] = (),
    cache: Path,
    on_note: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Write the EEG of every run of the named data sets; return their folders.

    A subject that is there already is not read again.

    Parameters
    ----------
    names : sequence of str
        Classes of `moabb.datasets`, such as `BNCI2014_001`.
    subjects : sequence of int
        Numbers of the subjects; empty: all.
    cache : Path
        Gets `NAME/SUBJECT/SESSION-RUN.npy`, each (n_channels, n_times) float32 microvolts.

    Raises
    ------
    DatasetError
        No such data set or subject, or a subject that cannot be read.
    MissingExtraError
        MOABB is not installed.
    """
    folders = []
    for name in names:
        dataset = _dataset(name)
        absent = sorted(set(subjects) - set(dataset.subject_list))
        if absent:
            raise DatasetError(
                f"{name} has no subject {absent[0]}, expected some of {_span(dataset)}: mend "
                "`subjects` in the settings' table [data]."
            )
        folders.append(cache / name)
        for subject in subjects or dataset.subject_list:
            target = cache / name / str(subject)
            if not target.is_dir():
                on_note(f"{name}, subject {subject}: reading through MOABB into {target}")
                _write_subject(dataset, subject, target, name)
    return folders


def _dataset(name: str) -> Any:
    otherwise = "or take `moabb` out of the settings' table [data]"
    with extras_named(f"MOABB's data set {name}", otherwise=otherwise):
        module = importlib.import_module("moabb.datasets")
    kind = getattr(module, name, None)
    if not isinstance(kind, type):
        near = difflib.get_close_matches(name, vars(module), n=3)
        hint = f"perhaps {', '.join(near)}" if near else "see moabb.neurotechx.com"
        raise DatasetError(f"MOABB has no data set {name!r} ({hint}): mend `moabb` in [data].")
    return kind()


def _span(dataset: Any) -> str:
    numbers = sorted(dataset.subject_list)
    return f"{numbers[0]} to {numbers[-1]}"


def _write_subject(dataset: Any, subject: int, target: Path, name: str) -> None:
    """Write a subject's runs, whole or not at all."""
    partial = target.parent.parent / f".{name}-{subject}.partial"
    partial.mkdir(parents=True, exist_ok=True)
    try:
        for label, raw in _runs(dataset.get_data(subjects=[subject])[subject]):
            signal = raw.get_data(picks="eeg", units="uV")
            np.save(partial / f"{label}.npy", signal.astype(np.float32))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DatasetError(
            f"{name}, subject {subject} cannot be read through MOABB ({reason}): check the network "
            "and MOABB's data folder."
        ) from None
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.rename(target)


def _runs(sessions: dict[str, dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    for session, runs in sessions.items():
        for run, raw in runs.items():
            yield f"{session}-{run}", raw
