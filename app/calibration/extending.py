"""A person's adapter and one more session: what the later calibration takes over.

Owns which settings, classes, pictures and epochs of the earlier calibration hold for the new one.
The adapter itself is not changed: a new one is stored beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.contract import follow
from app.errors import AppError
from configs import SessionConfig
from models.adapters.data import CalibrationData
from models.adapters.errors import AdapterError
from models.adapters.manifest import AdapterManifest
from models.adapters.pooling import Recorded
from models.adapters.store import AdapterStore
from models.adapters.suggesting import NO_PICTURE


@dataclass(frozen=True, slots=True, eq=False)
class Earlier:
    """The calibration that is extended.

    Attributes
    ----------
    adapter_id : str
    folder : Path
    manifest : AdapterManifest
    data : CalibrationData
        Its epochs, as they were kept with it.
    """

    adapter_id: str
    folder: Path
    manifest: AdapterManifest
    data: CalibrationData

    @property
    def classes(self) -> dict[str, str]:
        """Class by marker's label; empty for pictures, which stand for themselves."""
        classes = self.manifest.classes
        return {} if classes is None else dict(classes.class_of)

    @property
    def pictures(self) -> dict[str, str] | None:
        """Picture by class; None for pictures, which stand for themselves."""
        classes = self.manifest.classes
        if classes is None:
            return None
        return {each.event: each.picture or NO_PICTURE for each in classes.targets}

    def settings(self, config: SessionConfig) -> SessionConfig:
        """Settings under which a recording gives epochs like the earlier ones."""
        found, _ = follow(config, self.folder)
        data = self.data
        cut = {"tmin": data.tmin, "tmax": data.tmin + (data.epochs.shape[2] - 1) / data.sfreq}
        # Cut samples lie on the grid; a setting that means the same ones stands.
        given = {"tmin": found.epochs.tmin, "tmax": found.epochs.tmax}
        wrong = {
            name: value
            for name, value in cut.items()
            if round(given[name] * data.sfreq) != round(value * data.sfreq)
        }
        table = found.to_table()
        return SessionConfig.model_validate(table | {"epochs": table["epochs"] | wrong})

    def sessions(self) -> list[Recorded]:
        """The earlier epochs, session by session."""
        data, subject = self.data, self.manifest.subject
        if not data.sessions:
            name = next(iter(self.manifest.recordings), self.adapter_id)
            return [Recorded(data, name, subject)]
        names, who = np.array(data.sessions), data.subjects or (subject,) * len(data)
        found = []
        for name in dict.fromkeys(data.sessions):
            rows = np.flatnonzero(names == name)
            found.append(Recorded(data.take(rows), name, who[rows[0]]))
        return found

    def check_new(self, hashes: Mapping[str, str]) -> None:
        """Refuse a recording (SHA-256 by name) that the adapter was made from."""
        known = set(self.manifest.recordings.values())
        again = [name for name, sha256 in hashes.items() if sha256 in known]
        if again:
            raise AppError(
                f"{again[0]} is a recording that the adapter {self.adapter_id} was made from, "
                "expected a later one: leave --extend out, or name another recording."
            )


def earlier(reference: str, *, store: Path | None, subject: str | None) -> Earlier:
    """Find an adapter and the epochs that were kept with it.

    Raises
    ------
    PhospheneError
        There is none of that id, it is another person's, or its epochs were not kept.
    """
    adapters = AdapterStore(store)
    folder = adapters.folder(reference)
    manifest = adapters.show(reference)
    if subject not in (None, manifest.subject):
        raise AppError(
            f"the adapter {reference} is of {manifest.subject}, and --subject says {subject}: "
            "another person's session makes another adapter (--others learns from both)."
        )
    try:
        data = adapters.load_data(reference)
    except AdapterError:
        raise AppError(
            f"no epochs are kept with the adapter {reference} (it came from an archive, or from an "
            "earlier version): name its recordings with --from as well, and leave --extend out."
        ) from None
    return Earlier(reference, folder, manifest, data)


def unlike(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """Names of new sessions, none of them one of `taken`."""
    found: list[str] = []
    for name in names:
        new, number = name, 2
        while new in taken or new in found:
            new, number = f"{name} ({number})", number + 1
        found.append(new)
    return found
