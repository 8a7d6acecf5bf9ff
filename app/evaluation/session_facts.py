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
from app.report.record import Event, SessionRecord, dig
from configs import DecoderConfig
from models.evaluation.protocol import repetition_curve
from models.metrics.retrieval import retrieval
from pipeline.errors import PhospheneError
from pipeline.gallery import Gallery, load_gallery
from pipeline.values import Float32, StreamRole

N_CONFUSIONS = 12


def session_facts(pictures: SessionPictures, *, seed: int = 0) -> dict[str, Any]:
    """Facts of a session for JSON and the page; what is unknown is None or empty."""
    record = pictures.record
    events = [e for e in pictures.events if e.rank is not None and e.top]
    return {
        "identification": _identification(events),
        **_of_embeddings(record, pictures.events, seed=seed),
        "confusions": _confusions(events, record),
        "latency_ms": dict(record.table("latency_ms")),
        "outcomes": dict(record.table("outcomes")),
        "provenance": _provenance(record),
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


def _of_embeddings(record: SessionRecord, events: Sequence[Event], *, seed: int) -> dict[str, Any]:
    """How often embeddings are identified: the mean of 1, 2, 4, ... of one picture, and of all."""
    nothing: dict[str, Any] = {"repetitions": [], "retrieval": None}
    recording, gallery = record.folder / "recording.xdf", _gallery_of(record)
    if gallery is None or not recording.is_file():
        return nothing
    vectors = embeddings_of(recording, events)
    labels = list(gallery.labels)
    kept = [e for e in events if e.index in vectors and e.label in gallery.labels]
    if not kept or vectors[kept[0].index].size != gallery.n_features:
        return nothing
    shown = np.array([labels.index(e.label) for e in kept], dtype=np.intp)
    rows = np.stack([vectors[e.index].reshape(-1) for e in kept])
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
