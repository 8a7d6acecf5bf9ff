"""How well classes of events are decoded in recordings, beside shrinkage LDA and tangent space.

Owns which recordings are one person's sessions, the splits (by time, by session, pooled) and the
table. Every decoder gets the same epochs, cut by the live path. The peers are scikit-learn's
shrinkage LDA on the decoder's own bins, and pyRiemann's xDAWN covariances with a tangent space.
"""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.calibration.collection import Collection
from app.calibration.data import calibration_data
from app.calibration.reading import default_classes, read_recording, recordings_of
from app.errors import AppError
from app.output import write_note
from configs import SessionConfig
from models.adapters.class_scores import area_under_curve
from models.adapters.classes import WINDOW
from models.adapters.data import CalibrationData
from models.adapters.errors import AdapterError
from models.adapters.fit import fit_adapter
from models.adapters.methods.base import Fitting, Watch
from models.adapters.methods.classes import ClassBase
from models.adapters.methods.ensemble import ClassEnsemble
from models.adapters.pooling import Recorded, pool_recordings
from models.adapters.window import Window
from pipeline.class_measures import calibration_error
from pipeline.extras import extras_named
from pipeline.gallery import load_gallery
from pipeline.values import Float64

TRAINING = 0.6
"""Part of a recording's time that is learnt from; the rest tests."""
N_BOOTSTRAP = 2000
N_STRETCHES = 24
"""Stretches of time at least that a bootstrap draws from."""
SESSION = re.compile(r"[-_](session|ses|run)-?(\d+)", re.IGNORECASE)
Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """One file's epochs; `person` is its name without the session's number."""

    name: str
    person: str
    data: CalibrationData


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Probabilities (n, n_classes) of our decoder and of each peer on the same test epochs."""

    ours: Float64
    peers: dict[str, Float64]
    rows: Ints
    groups: Ints
    """What the bootstrap draws: stretches of time, as neighbours share their noise."""


def run_classes_bench(*, data: str = "", only: str = "") -> dict[str, Any]:
    """Decode every recording in `data` (a folder or a file) in each way that it allows.

    Raises
    ------
    AppError
        There is none, or the peers are not installed.
    """
    if not data:
        raise AppError("bench classes reads recordings, expected --data FOLDER (or one file).")
    _demand_peers()
    found = [_read(path) for path in _paths(Path(data)) if not only or only in path.name]
    rows = [row for each in found for row in _by_time(each)]
    rows += _across(found)
    return {"split": f"first {100 * TRAINING:.0f} % of the time train", "rows": rows}


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table for the docs."""
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    return (
        "\n".join([*lines, *(f"| {' | '.join(map(str, row.values()))} |" for row in rows)]) + "\n"
    )


def _demand_peers() -> None:
    with extras_named("bench classes"):
        import pyriemann  # noqa: F401
        import sklearn  # noqa: F401


def _paths(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    found = sorted(path for path in place.glob("*.fif")) if place.is_dir() else []
    return found or recordings_of([place])


def _read(path: Path) -> Recording:
    write_note(f"reading {path.name}")
    collection = Collection()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "session"
        part = read_recording(path, SessionConfig(), collection, out=out, stop=threading.Event())
    collection.restrict(default_classes(collection.counts.good, load_gallery()))
    data = calibration_data(collection.epochs(), part.config, pictures={})
    name = path.name.partition(".")[0].removesuffix("_raw").removesuffix("_eeg")
    return Recording(name, SESSION.sub("", name), data)


def _by_time(each: Recording) -> list[dict[str, Any]]:
    first, rest = _split(each.data)
    write_note(f"{each.name}: {len(first)} epochs to learn from, {len(rest)} to test")
    row = _row(each.name, "by time", _judge(first, rest))
    try:
        verdict = str(fit_adapter(first, with_curve=False).report.verdict)
    except AdapterError as error:
        verdict = str(error)
    return [row | {"said of the first part": verdict}]


def _split(data: CalibrationData) -> tuple[CalibrationData, CalibrationData]:
    """Before and after; an epoch that reaches over the border counts for neither side."""
    end = data.onsets[0] + TRAINING * (data.onsets[-1] - data.onsets[0])
    length = data.epochs.shape[2] / data.sfreq + data.tmin
    before, after = data.onsets + length < end, data.onsets + data.tmin >= end
    return data.take(np.flatnonzero(before)), data.take(np.flatnonzero(after))


def _across(found: Sequence[Recording]) -> list[dict[str, Any]]:
    """One session out, the person's sessions pooled, and everybody of the same classes pooled."""
    rows = []
    for person in dict.fromkeys(each.person for each in found):
        own = [each for each in found if each.person == person]
        for each in own if len(own) > 1 else []:
            others = [other for other in own if other is not each]
            write_note(f"{each.name}: by the other sessions")
            rows.append(_row(each.name, "by the other sessions", _judge(_pool(others), each.data)))
        if len(own) > 1:
            write_note(f"{person}: pooled")
            rows.append(_pooled(person, "sessions pooled, by time", own))
    for classes in dict.fromkeys(each.data.class_names for each in found):
        alike = [each for each in found if each.data.class_names == classes]
        if len({each.person for each in alike}) > 1:
            sharing = _sharing(alike)
            words = f"everybody ({', '.join(classes)})"
            if len({each.person for each in sharing}) < 2:
                write_note(f"{words} not pooled: their good channels are not the same")
                continue
            if len(sharing) < len(alike):
                words = f"{', '.join(each.name for each in sharing)} ({', '.join(classes)})"
            write_note(f"{words}: pooled")
            rows.append(_pooled(words, "people pooled, by time", sharing))
    return [row | {"said of the first part": "-"} for row in rows]


def _sharing(parts: Sequence[Recording]) -> list[Recording]:
    """The most people, then recordings, whose caps share two channels that are good."""
    names = sorted({name for each in parts for name in each.data.channels})
    found = [
        [each for each in parts if set(pair) <= set(each.data.channels)]
        for pair in combinations(names, 2)
    ]
    return max(found, key=lambda kept: (len({e.person for e in kept}), len(kept)), default=[])


def _pooled(name: str, how: str, parts: Sequence[Recording]) -> dict[str, Any]:
    split = [(each, *_split(each.data)) for each in parts]
    train = _pool([replace(each, data=first) for each, first, _ in split])
    judged = _judge(train, _pool([replace(each, data=rest) for each, _, rest in split]))
    return _row(name, how, judged)


def _pool(parts: Sequence[Recording]) -> CalibrationData:
    return pool_recordings([Recorded(each.data, each.name, each.person) for each in parts])


def _shared(data: CalibrationData, other: CalibrationData) -> CalibrationData:
    """The channels that both have: one that swings is left out of a recording."""
    kept = [k for k, name in enumerate(data.channels) if name in other.channels]
    names = tuple(data.channels[k] for k in kept)
    return replace(data, epochs=np.ascontiguousarray(data.epochs[:, kept]), channels=names)


def _judge(train: CalibrationData, test: CalibrationData) -> Judged:
    train, test = _shared(train, test), _shared(test, train)
    rows, n_classes = train.rows, len(train.class_names)
    base = ClassBase(
        Window(train.channels, train.sfreq, *WINDOW), np.zeros((n_classes, 1), dtype=np.float32)
    )
    batch = base.prepare(train)
    method = ClassEnsemble.fit(Fitting(batch, np.eye(n_classes)[rows], rows, base, 0, Watch()))
    bins = base.prepare(test)
    ours = base.probabilities(method.evidence(bins, base))
    peers = {
        "LDA": _lda(batch.values, rows, bins.values),
        "xDAWN + tangent space": _tangent(_cut(train), rows, _cut(test)),
    }
    return Judged(ours, peers, test.rows, _stretches(test.onsets))


def _stretches(onsets: Float64) -> Ints:
    """Number of each epoch's stretch of time: minutes, or shorter where there are few.

    Four minutes drawn with replacement say little of how much a difference moves.
    """
    length = min(60.0, max(1.0, float(np.ptp(onsets)) / N_STRETCHES))
    return np.asarray(np.floor((onsets - onsets[0]) / length), dtype=np.intp)


def _cut(data: CalibrationData) -> Float64:
    """Every sample of the decoder's window, (n, n_channels, n_times)."""
    begin, end = (round((edge - data.tmin) * data.sfreq) for edge in WINDOW)
    return np.asarray(data.epochs[:, :, begin:end], dtype=np.float64)


def _lda(train: Float64, rows: Ints, test: Float64) -> Float64:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    peer: Any = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    peer.fit(train.reshape(len(train), -1), rows)
    return np.asarray(peer.predict_proba(test.reshape(len(test), -1)))


def _tangent(train: Float64, rows: Ints, test: Float64) -> Float64:
    from pyriemann.estimation import XdawnCovariances
    from pyriemann.tangentspace import TangentSpace
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.pipeline import make_pipeline

    n_filters = min(4, train.shape[1])
    peer: Any = make_pipeline(
        XdawnCovariances(nfilter=n_filters, estimator="oas"),
        TangentSpace(),
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    )
    peer.fit(train, rows)
    return np.asarray(peer.predict_proba(test))


def _row(name: str, how: str, judged: Judged) -> dict[str, Any]:
    """A line: areas, the paired difference to the better peer, accuracy beside the commonest."""
    areas = {peer: area_under_curve(p, judged.rows) for peer, p in judged.peers.items()}
    better = max(areas, key=lambda peer: areas[peer])
    ours = area_under_curve(judged.ours, judged.rows)
    low, high = _paired(judged, judged.peers[better])
    counts = np.bincount(judged.rows)
    accuracy = float((judged.ours.argmax(axis=1) == judged.rows).mean())
    return {
        "recording": name,
        "split": how,
        "epochs": len(judged.rows),
        "AUC": f"{ours:.3f}",
        **{peer: f"{area:.3f}" for peer, area in areas.items()},
        "ours - better": f"{ours - areas[better]:+.3f} ({low:+.3f} to {high:+.3f})",
        "worse": "yes" if high < 0 else "no",
        "accuracy": f"{accuracy:.3f}",
        "commonest": f"{counts.max() / counts.sum():.3f}",
        "ECE": f"{calibration_error(judged.ours, judged.rows):.3f}",
    }


def _paired(judged: Judged, peer: Float64) -> tuple[float, float]:
    """95 % interval of the difference of areas: stretches are drawn, the same for both."""
    rng = np.random.default_rng(0)
    names = np.unique(judged.groups)
    members = [np.flatnonzero(judged.groups == name) for name in names]
    found = []
    for _ in range(N_BOOTSTRAP):
        drawn = np.concatenate([members[k] for k in rng.integers(len(names), size=len(names))])
        rows = judged.rows[drawn]
        if len(np.unique(rows)) > 1:
            own = area_under_curve(judged.ours[drawn], rows)
            found.append(own - area_under_curve(peer[drawn], rows))
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)
