"""What a session decoded, as a BIDS derivative: events, pictures, embeddings.

Owns the layout of `derivatives/phosphene`. A picture that is not the one that was drawn, by its
hash, is left out, and so is a vector. Knows nothing of how anything was decoded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.report.record import (
    Event,
    SessionRecord,
    as_text,
    dig,
    picture_is_genuine,
    read_picture,
)
from devices.bids.describing import SIMULATED
from devices.bids.events import HED_VERSION, hed_label
from devices.bids.tables import NOTHING, plain, write_json, write_table
from devices.continuous import Continuous
from devices.files.xdf import streams_of
from devices.xdf.reader import XdfFile
from pipeline.values import Float32, StreamRole

PLACE: Final = Path("derivatives", "phosphene")
_OF_SIGNAL: Final = frozenset({"artifact", "gap", "settling", "no_data"})
"""Refusals for what was in the signal, or was not."""
_COLUMNS: Final = {
    "trial_type": "How the marker, or the window, ended",
    "index": "Number of the marker in the session",
    "stimulus": "What the marker names; n/a for a window of a stream without markers",
    "decoded": "The best of the ranking",
    "score": "Its probability in the ranking",
    "chance": "What it would be where nothing is known",
    "rank": "Rank of what was shown, from 1",
    "confidence": "As the decoder states it, 0 to 1",
    "class": "The class of what was shown, where classes are decoded",
    "picture": "The picture that was drawn, beside this table",
    "embedding": "Row of the embeddings' array, from 0",
    "learnt": "Whether the decoder was fitted to this very trial, so that it is no test",
}


@dataclass(slots=True)
class Derived:
    """What was derived from one session, and how much of it could be written.

    Parameters
    ----------
    record : SessionRecord
    recording : Continuous
        The session's own.
    vectors : mapping of str to ndarray, shape (n_features,)
        Embeddings by their SHA-256.
    """

    record: SessionRecord
    recording: Continuous
    vectors: Mapping[str, Float32]
    n_pictures: int = 0
    n_vectors: int = 0
    n_events: int = 0
    notes: list[str] = field(default_factory=list)

    def write(self, root: Path, raw: Path) -> None:
        """Write below `root`, for the run whose `.vhdr` is `raw` within the data set."""
        folder = root / PLACE / raw.parent
        folder.mkdir(parents=True, exist_ok=True)
        stem = raw.name.removesuffix("_eeg.vhdr")
        pictures = f"{stem}_desc-decoded_pictures"
        rows: list[list[str]] = []
        kept: list[Float32] = []
        events = self.record.events
        placed = [(onset, event) for event in events if (onset := self._onset(event)) is not None]
        for onset, event in sorted(placed, key=lambda each: (each[0], each[1].index)):
            picture = self._write_picture(event, folder / pictures)
            vector = self.vectors.get(event.embedding_sha256 or "")
            row = NOTHING if vector is None else str(len(kept))
            kept += [] if vector is None else [vector]
            rows.append([f"{onset:.6f}", "0", *self._cells(event, picture, row)])
        self.n_events, self.n_vectors = len(rows), len(kept)
        self._say_what_is_missing(len(events))
        if rows:
            path = folder / f"{stem}_desc-decoded_events.tsv"
            write_table(path, [["onset", "duration", *_COLUMNS], *rows])
            write_json(path.with_suffix(".json"), self._columns(raw, rows))
        if kept:
            path = folder / f"{stem}_desc-decoded_embeddings.npy"
            np.save(path, np.stack(kept).astype("<f4"), allow_pickle=False)
            write_json(path.with_suffix(".json"), self._of_embeddings(raw, kept))
        self._describe(root / PLACE)

    def _onset(self, event: Event) -> float | None:
        sample = self.recording.runs.sample_at(event.t_onset)
        return None if sample is None else sample / self.recording.sfreq

    def _cells(self, event: Event, picture: str, row: str) -> list[str]:
        best = event.top[0] if event.top else None
        return [
            plain(event.outcome),
            str(event.index),
            plain(event.label),
            NOTHING if best is None else plain(best[0]),
            NOTHING if best is None else f"{best[1]:.6g}",
            _number(event.chance),
            _number(event.rank),
            _number(event.confidence),
            plain(event.true_class),
            picture,
            row,
            "yes" if event.learnt else "no",
        ]

    def _write_picture(self, event: Event, folder: Path) -> str:
        """Copy an event's picture; its path from the table, or n/a."""
        data = read_picture(self.record, event)
        if data is None or not picture_is_genuine(event, data):
            return NOTHING
        folder.mkdir(exist_ok=True)
        path = folder / f"{event.index:06d}.png"
        path.write_bytes(data)
        self.n_pictures += 1
        return f"{folder.name}/{path.name}"

    def _say_what_is_missing(self, n_lines: int) -> None:
        n_decoded = len(self.record.decoded)
        lost = {
            "events have no place in the recording": n_lines - self.n_events,
            "decoded pictures are gone or changed": n_decoded - self.n_pictures,
            "embeddings are not in the recording (outlets.enabled)": n_decoded - self.n_vectors,
        }
        self.notes += [f"{n} {what}." for what, n in lost.items() if n > 0]

    def _columns(self, raw: Path, rows: Sequence[Sequence[str]]) -> dict[str, Any]:
        table: dict[str, Any] = {name: {"Description": words} for name, words in _COLUMNS.items()}
        outcomes = [name for name in dict.fromkeys(row[2] for row in rows) if name != NOTHING]
        table["trial_type"]["Levels"] = {
            name: "A picture was drawn" if name == "decoded" else f"Refused: {name}"
            for name in outcomes
        }
        table["trial_type"]["HED"] = {name: _hed(name) for name in outcomes}
        run = dict(dig(self.record.settings, "run") or {})
        run.pop("replay_of", None)  # a place on somebody's disk
        decoder = {key: value for key, value in run.items() if isinstance(value, str | int | float)}
        # One table: validators take each key of this file for a column's.
        made = {"Decoder": decoder, "Simulated": self._is_simulated, **_sources(raw)}
        return {**table, "Phosphene": {"Description": "How it was decoded", **made}}

    def _of_embeddings(self, raw: Path, kept: Sequence[Float32]) -> dict[str, Any]:
        return {
            "Description": "What the encoder made of each epoch: NumPy's format, little-endian "
            "float32, a row a decoded event (column `embedding` of the events), a column a feature",
            "Shape": [len(kept), int(kept[0].size)],
            "Encoder": as_text(dig(self.record.settings, "run", "encoder"), NOTHING),
            "EncoderSHA256": as_text(dig(self.record.settings, "run", "encoder_sha256"), NOTHING),
            **_sources(raw),
            "Simulated": self._is_simulated,
        }

    @property
    def _is_simulated(self) -> bool:
        return self.recording.is_simulated

    def _describe(self, root: Path) -> None:
        made_by = {"Name": "Phosphene", "Version": version("phosphene")}
        if self._is_simulated:
            made_by["Description"] = f"{SIMULATED} The sidecars say of whom."
        write_json(
            root / "dataset_description.json",
            {
                "Name": "Pictures and embeddings decoded by Phosphene",
                "BIDSVersion": "1.9.0",
                "DatasetType": "derivative",
                "HEDVersion": HED_VERSION,
                "License": NOTHING,
                "GeneratedBy": [made_by],
                "SourceDatasets": [{"URL": "../../"}],
                "DatasetLinks": {"raw": "../../"},
            },
        )
        (root / ".bidsignore").write_text(
            "**/*_embeddings.npy\n**/*_embeddings.json\n**/*_pictures\n**/*_pictures/**\n",
            encoding="utf-8",
        )
        (root / "README").write_text(
            "Pictures and embeddings that Phosphene decoded from the data set two folders above.\n"
            "`*_desc-decoded_events.tsv` has a row a marker or window; it names the picture\n"
            "(`*_pictures/`) and the row of the embeddings (`*_embeddings.npy`, numpy.load).\n",
            encoding="utf-8",
        )


def read_vectors(recording: Path) -> dict[str, Float32]:
    """Embeddings that a session recorded, by the SHA-256 of their bytes; empty where none are."""
    file = XdfFile(recording)
    try:
        found = [each.number for each in streams_of(file) if each.role == StreamRole.EMBEDDING]
        series = file.load(found)
    finally:
        file.close()
    rows = [
        np.ascontiguousarray(row, "<f4")
        for each in series.values()
        if not isinstance(each.samples, tuple)
        for row in each.samples
    ]
    return {hashlib.sha256(row.tobytes()).hexdigest(): row for row in rows}


def _sources(raw: Path) -> dict[str, Any]:
    return {"Sources": [f"bids:raw:{raw.as_posix()}"]}


def _number(value: float | None) -> str:
    return NOTHING if value is None else json.dumps(value)


def _hed(outcome: str) -> str:
    if outcome == "decoded":
        return "Data-feature, (Computed-prediction, Label/Phosphene_picture)"
    if outcome in _OF_SIGNAL:
        return f"(Data-feature, Data-artifact, {hed_label(outcome)})"
    return f"(Data-feature, {hed_label(outcome)})"
