"""What a session says of itself beside its pictures: identification, repetitions, latency.

Owns the choice of facts. The counts are the session's own; the test that may be looked at any time
is `app.accuracy`'s, the repetition curve `models.evaluation.protocol`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from app.accuracy import Identification
from app.evaluation.sets import SessionPictures
from app.report.record import Event, SessionRecord, as_number, dig
from app.runtime.folder import RECORDING
from configs import DecoderConfig
from models.evaluation.protocol import repetition_curve
from models.metrics.retrieval import retrieval
from pipeline.errors import PhospheneError
from pipeline.gallery import Gallery, load_gallery
from pipeline.values import Float32, StreamRole

N_CONFUSIONS = 12


def session_facts(sessions: Sequence[SessionPictures], *, seed: int = 0) -> dict[str, Any]:
    """Facts of a session, or of several as one, for JSON and the page.

    What is unknown is None or empty; latency is that of a single session.
    """
    record = sessions[0].record
    events = [e for each in sessions for e in each.events if e.rank is not None and e.top]
    outcomes: Counter[str] = Counter()
    for each in sessions:
        found = {k: as_number(n) for k, n in each.record.table("outcomes").items()}
        outcomes.update({k: int(n) for k, n in found.items() if n is not None})
    provenance = [_provenance(each.record) for each in sessions]
    return {
        "identification": _identification(events),
        **_of_embeddings(sessions, seed=seed),
        "confusions": _confusions(events, record),
        "latency_ms": dict(record.table("latency_ms")) if len(sessions) == 1 else {},
        "outcomes": dict(outcomes),
        "provenance": {
            key: ", ".join(dict.fromkeys(each[key] for each in provenance if key in each))
            for key in provenance[0]
        },
        "sessions": [each.name for each in sessions],
    }


def _identification(events: Sequence[Event]) -> dict[str, Any] | None:
    n = [round(1 / e.chance) for e in events if e.chance]
    if not n:
        return None
    counter = Identification(max(n))
    for event in events:
        if event.rank is not None:
            counter.add(event.label, event.top[0][0], min(event.rank, max(n)))
    found = counter.accuracy
    if found is None:
        return None
    return {
        "n": found.n,
        "n_candidates": found.n_candidates,
        "top1": found.n_correct / found.n,
        "top5": found.n_top5 / found.n,
        "chance": found.chance,
        "low": found.low,
        "high": found.high,
        "p_value": found.p_value,
        "mean_rank": found.mean_rank,
    }


def _of_embeddings(sessions: Sequence[SessionPictures], *, seed: int) -> dict[str, Any]:
    """How often embeddings are identified: the mean of 1, 2, 4, ... of one picture, and of all."""
    nothing: dict[str, Any] = {"repetitions": [], "retrieval": None}
    gallery = _gallery_of(sessions[0].record)
    hashes = {dig(each.record.settings, "run", "gallery_sha256") for each in sessions}
    if gallery is None or len(hashes) > 1:
        return nothing
    labels, found = list(gallery.labels), []
    for each in sessions:
        recording = each.record.folder / RECORDING
        vectors = embeddings_of(recording, each.events) if recording.is_file() else {}
        found += [
            (labels.index(e.label), vectors[e.index].reshape(-1))
            for e in each.events
            if e.index in vectors and e.label in gallery.labels
        ]
    if not found or {row.size for _, row in found} != {gallery.n_features}:
        return nothing
    shown = np.array([label for label, _ in found], dtype=np.intp)
    rows = np.stack([row for _, row in found])
    among, place = np.unique(shown, return_inverse=True)
    table = gallery.embeddings.reshape(len(labels), -1)[among]
    points = repetition_curve(rows @ table.T, place, seed=seed)
    means = np.stack([rows[place == k].mean(axis=0) for k in range(len(among))])
    return {
        "repetitions": [
            {"n": n, "n_groups": n_groups, "accuracy": accuracy, "chance": 1 / len(among)}
            for n, n_groups, accuracy in points
        ],
        "retrieval": asdict(retrieval(means.astype(np.float64), table.astype(np.float64))),
    }


def _gallery_of(record: SessionRecord) -> Gallery | None:
    from models.registry import find_system

    named = dig(record.settings, "gallery")
    try:
        gallery = load_gallery(named if isinstance(named, str) else None)
        system = dig(record.settings, "decoder", "system")
        found = find_system(system if isinstance(system, str) else DecoderConfig().system)
    except PhospheneError:
        return None
    return gallery.in_space(found.descriptor.space)


def embeddings_of(recording: Path, events: Sequence[Event]) -> dict[int, Float32]:
    """Decoded vectors by index of the event, as the recording holds them.

    Raises
    ------
    PhospheneError
        There is no recording, or it cannot be read.
    """
    from devices.xdf import XdfFile

    by_onset = {round(each.t_onset, 6): each.index for each in events}
    vectors: dict[int, Float32] = {}
    with XdfFile(recording) as file:
        mine = [s.stream_id for s in file.streams.values() if s.role == StreamRole.EMBEDDING]
        for series in file.load(mine).values():
            pairs = zip(series.timestamps.tolist(), series.samples, strict=True)
            for stamp, row in pairs:
                index = by_onset.get(round(stamp, 6))
                if index is not None:
                    vectors[index] = np.asarray(row, dtype=np.float32)
    return vectors


def _confusions(events: Sequence[Event], record: SessionRecord) -> dict[str, Any]:
    """Category of what was shown against category of the answer, the commonest ones."""
    named = dig(record.settings, "gallery")
    try:
        gallery = load_gallery(named if isinstance(named, str) else None)
    except PhospheneError:
        return {}
    category: Mapping[str, str] = {s.label: s.category for s in gallery.stimuli}
    pairs = [
        (category[e.label], category[e.top[0][0]])
        for e in events
        if e.label in category and e.top[0][0] in category
    ]
    names = [name for name, _ in Counter(one for one, _ in pairs).most_common(N_CONFUSIONS)]
    if len(names) < 2:
        return {}
    counts = Counter(pairs)
    table = [[counts[one, other] for other in names] for one in names]
    left_out = len(pairs) - sum(map(sum, table))
    return {"names": names, "table": table, "n_left_out": left_out}


def _provenance(record: SessionRecord) -> dict[str, str]:
    keys = ("version", "encoder_sha256", "sampler_sha256", "gallery_sha256", "recording_sha256")
    found = {key: dig(record.settings, "run", key) for key in keys}
    found["system"] = dig(record.settings, "decoder", "system")
    found["adapter"] = dig(record.settings, "decoder", "adapter")
    found["steps"] = dig(record.settings, "decoder", "steps")
    return {key: str(value) for key, value in found.items() if value not in (None, "")}
