"""Whether sessions, or people, are brought to one covariance before they are learnt from together.

Owns the choice, by cross-validation: the person's sessions are left out one after the other, or
blocks of time where there is one. A session that is tested is aligned as a live one is: by the
epochs before, without labels. The simplest way stands unless another is surely better. Knows
nothing of files and of the decoders that come after (one quick decoder stands for them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.adapters.data import CalibrationData
from models.adapters.lda import SpatioTemporalLda
from models.adapters.report import TransferReport, TransferScore
from models.adapters.scoring import Ints, block_splits, fit_temperature, log_likelihoods
from models.adapters.window import Window
from pipeline.alignment import OnlineAlignment, alignment_matrix, mean_covariance
from pipeline.values import Float32, Float64

N_FILTERS, LEAST = 5, 4
SURE = 2.0
"""Standard errors by which a richer way must be better."""
START_COUNT = 30
"""As `models.adapters.online` begins a session."""
TITLES = {
    "own": "own recordings alone",
    "own-aligned": "own recordings alone, sessions aligned",
    "all": "other people's as well",
    "all-aligned": "other people's as well, aligned",
}
"""From simple to rich."""


@dataclass(frozen=True, slots=True, eq=False)
class Transfer:
    """What was chosen.

    Attributes
    ----------
    data : CalibrationData
        What is learnt from: aligned, and with other people's epochs, where that was chosen.
    reference : ndarray, shape (n_channels, n_channels), float64, or None
        What sessions are aligned to; None: not at all.
    report : TransferReport or None
        None where there was nothing to choose.
    """

    data: CalibrationData
    reference: Float64 | None = None
    report: TransferReport | None = None


def choose_transfer(data: CalibrationData, subject: str, window: tuple[float, float]) -> Transfer:
    """Choose how the recordings of a calibration are put together.

    Parameters
    ----------
    data : CalibrationData
        With `sessions`; epochs of others than `subject` are a prior that may be left out.
    window : (float, float)
        What is decoded, s from onset.
    """
    sessions, own = np.array(data.sessions), own_rows(data, subject)
    folds = _folds(data, sessions, own)
    if len(np.unique(sessions)) < 2 or not _is_enough(data, folds):
        return Transfer(data)
    names = ["own"]
    names += ["own-aligned"] if len(np.unique(sessions[own])) > 1 else []
    names += ["all", "all-aligned"] if len(own) < len(data) else []
    reference = _reference(data.epochs, sessions)
    aligned = replace(data, epochs=aligned_sessions(data.epochs, sessions, reference))
    live = replace(data, epochs=_as_live(data.epochs, sessions, reference))
    plain, learnt, tested = (_features(each, window) for each in (data, aligned, live))
    found: dict[str, Float64] = {}
    for name in names:
        keep = np.arange(len(data)) if name.startswith("all") else own
        train_on, test_on = (learnt, tested) if name.endswith("aligned") else (plain, plain)
        found[name] = _held_out(data, train_on, test_on, folds=folds, keep=keep)[own]
    report = _judged(found, data.rows[own])
    is_aligned = report.chosen.endswith("aligned")
    kept = aligned if is_aligned else data
    kept = kept if report.chosen.startswith("all") else kept.take(own)
    return Transfer(kept, reference if is_aligned else None, report)


def own_rows(data: CalibrationData, subject: str) -> Ints:
    """Rows of the person's own epochs: all where nobody is named, or nobody is this one."""
    found = np.flatnonzero(np.array(data.subjects) == subject)
    return found if len(found) else np.arange(len(data))


def aligned_sessions(epochs: Float32, sessions: np.ndarray, reference: Float64) -> Float32:
    """Each session brought to `reference` by its own mean covariance."""
    found = np.empty_like(epochs)
    for name in np.unique(sessions):
        rows = sessions == name
        matrix = alignment_matrix(mean_covariance(epochs[rows]), reference)
        found[rows] = (matrix @ epochs[rows].astype(np.float64)).astype(np.float32)
    return found


def _reference(epochs: Float32, sessions: np.ndarray) -> Float64:
    """Mean of the sessions' covariances."""
    each = [mean_covariance(epochs[sessions == name]) for name in np.unique(sessions)]
    return np.asarray(np.mean(each, axis=0))


def _as_live(epochs: Float32, sessions: np.ndarray, reference: Float64) -> Float32:
    """Each session as alignment that follows it gives it, epoch by epoch."""
    found = np.empty_like(epochs)
    for name in np.unique(sessions):
        state = OnlineAlignment(reference, start_count=START_COUNT)
        state.resume()
        for row in np.flatnonzero(sessions == name):
            state.observe(epochs[row])
            found[row] = (state.matrix @ epochs[row].astype(np.float64)).astype(np.float32)
    return found


def _features(data: CalibrationData, window: tuple[float, float]) -> Float64:
    cut = Window(data.channels, data.sfreq, *window)
    return cut.stack([data.epoch(row) for row in range(len(data))])


def _folds(data: CalibrationData, sessions: np.ndarray, own: Ints) -> list[Ints]:
    """Rows of the person's own epochs that are left out together."""
    names = np.unique(sessions[own]) if len(sessions) else ()
    if len(names) > 1:
        return [own[sessions[own] == name] for name in names]
    return [own[test] for _, test in block_splits(data.onsets[own]).folds]


def _is_enough(data: CalibrationData, folds: Sequence[Ints]) -> bool:
    """Whether each class has epochs to learn from, also without other people's."""
    rows, own = data.rows, np.concatenate(folds)
    n_classes = len(data.class_names)
    counts = [np.bincount(rows[np.setdiff1d(own, test)], minlength=n_classes) for test in folds]
    return all(each.min() >= LEAST for each in counts)


def _held_out(
    data: CalibrationData,
    train_on: Float64,
    test_on: Float64,
    *,
    folds: Sequence[Ints],
    keep: Ints,
) -> Float64:
    """Logits of what is left out, (n, n_classes); zero elsewhere. `keep` may be learnt from."""
    rows, n_classes = data.rows, len(data.class_names)
    count = min(N_FILTERS, data.n_channels)
    logits = np.zeros((len(data), n_classes))
    for test in folds:
        train = np.setdiff1d(keep, test)
        lda = SpatioTemporalLda.fit(
            train_on[train], rows[train], n_classes=n_classes, n_filters=count
        )
        logits[test] = lda.logits(test_on[test])
    return logits


def _judged(found: dict[str, Float64], rows: Ints) -> TransferReport:
    index = np.arange(len(rows))
    likelihoods = {
        name: log_likelihoods(logits.copy(), fit_temperature(logits, rows))[index, rows]
        for name, logits in found.items()
    }
    first = next(iter(found))
    chosen = first
    scores: list[TransferScore] = []
    for name, logits in found.items():
        gain = likelihoods[name] - likelihoods[first]
        error = float(gain.std(ddof=1) / np.sqrt(len(gain)))
        score = TransferScore(
            name=name,
            accuracy=float((logits.argmax(axis=1) == rows).mean()),
            gain=float(gain.mean()),
            error=error,
        )
        best = next((each for each in scores if each.name == chosen), None)
        scores.append(score)
        if best is not None and score.gain - best.gain > max(SURE * error, 1e-9):
            chosen = name
    words = "; ".join(
        f"{TITLES[each.name]} {each.gain:+.3f} ± {each.error:.3f}" for each in scores[1:]
    )
    sentence = (
        f"Learnt from {TITLES[chosen]}, by cross-validation: over {TITLES[first]}, log likelihood "
        f"an epoch changes with {words} nats."
    )
    return TransferReport(chosen=chosen, scores=tuple(scores), sentence=sentence)
