"""From a continuous THINGS-EEG2 recording to epochs sorted by condition, sessions merged.

Owns the published order of steps (MNE does each) and the library shuffles that choose and order
the repetitions, so that our arrays line up with the published files sample by sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mne
import numpy as np
from numpy.typing import NDArray

from models.things_eeg2.errors import ThingsError
from models.things_eeg2.montage import CH_NAMES, SEED, SFREQ, TARGET_EVENT

Float64 = NDArray[np.float64]
TRAIN_REPETITIONS, TEST_REPETITIONS = 2, 20
"""Kept of a condition in one session."""


@dataclass(frozen=True, slots=True, eq=False)
class SortedEpochs:
    """Epochs of one recording by condition.

    `data` (n_conditions, n_repetitions, n_channels, n_times) float64 in the recording's unit;
    `conditions` (n_conditions,) int64, ascending; `times` (n_all,) s from onset, the dropped
    pre-stimulus samples included.
    """

    data: Float64
    conditions: NDArray[np.int64]
    times: Float64


def shuffled(values: NDArray[np.int64], *, seed: int = SEED) -> NDArray[np.int64]:
    """Shuffle as scikit-learn's `shuffle(values, random_state=seed)` does."""
    order = np.arange(len(values))
    np.random.RandomState(seed).shuffle(order)
    return np.asarray(values[order])


def epoch_recording(
    data: NDArray[np.floating],
    ch_names: Sequence[str],
    *,
    sfreq: float,
    n_repetitions: int,
    ch_order: Sequence[str] = CH_NAMES,
    target_sfreq: float = SFREQ,
    tmin: float = -0.2,
    tmax: float = 1.0,
    n_dropped: int | None = None,
    stim_channel: str = "stim",
) -> SortedEpochs:
    """Cut, baseline, resample and sort one recording.

    Parameters
    ----------
    data : ndarray, shape (n_channels + 1, n_times)
        EEG and, under `stim_channel`, the condition of the picture at its onset.
    n_repetitions : int
        Kept of each condition; 2 in training, 20 in test recordings.
    ch_order : sequence of str
        Channels to keep, in the order wanted.
    n_dropped : int or None
        Samples to drop at the start; None: those before onset. The published script always drops
        50, which is the same at 250 Hz only.

    Raises
    ------
    ThingsError
        A channel is missing, there is no event, or a condition has too few repetitions.
    """
    missing = [name for name in (*ch_order, stim_channel) if name not in ch_names]
    if missing:
        raise ThingsError(
            f"the recording lacks {', '.join(missing[:5])}, expected {len(ch_order)} EEG channels "
            f"and {stim_channel!r}: check ch_names."
        )
    epochs = _cut(_raw(data, ch_names, sfreq, stim_channel), ch_order, (tmin, tmax), stim_channel)
    epochs.resample(target_sfreq, verbose="error")
    events = epochs.events[:, 2]
    conditions = np.unique(events)
    values = epochs.get_data(copy=False)
    onset = round(-tmin * target_sfreq) if n_dropped is None else n_dropped
    rows = [_repetitions(events, condition, n_repetitions) for condition in conditions]
    return SortedEpochs(
        data=np.stack([values[row][..., onset:] for row in rows]),
        conditions=conditions.astype(np.int64),
        times=np.array(epochs.times),
    )


def _raw(
    data: NDArray[np.floating], ch_names: Sequence[str], sfreq: float, stim_channel: str
) -> mne.io.RawArray:
    types = ["stim" if name == stim_channel else "eeg" for name in ch_names]
    info = mne.create_info(list(ch_names), sfreq, types)
    return mne.io.RawArray(np.asarray(data, dtype=np.float64), info, verbose="error")


def _cut(
    raw: mne.io.RawArray, ch_order: Sequence[str], window: tuple[float, float], stim_channel: str
) -> mne.Epochs:
    events = mne.find_events(raw, stim_channel=stim_channel, verbose="error")
    events = events[events[:, 2] != TARGET_EVENT]
    if not len(events):
        raise ThingsError(f"no event on {stim_channel!r}, expected condition numbers.")
    raw.pick(list(ch_order))
    raw.reorder_channels(list(ch_order))
    return mne.Epochs(raw, events, tmin=window[0], tmax=window[1], preload=True, verbose="error")


def _repetitions(
    events: NDArray[np.int64], condition: int, n_repetitions: int
) -> NDArray[np.int64]:
    rows = shuffled(np.flatnonzero(events == condition))
    if len(rows) < n_repetitions:
        raise ThingsError(
            f"condition {condition} has {len(rows)} repetitions, expected {n_repetitions}: "
            "the recording is cut short or is of the other kind (training, test)."
        )
    return rows[:n_repetitions]


def merge_sessions(sessions: Sequence[SortedEpochs]) -> SortedEpochs:
    """Join the repetitions of all sessions, condition by condition, in one shuffled order.

    Raises
    ------
    ThingsError
        Conditions end up with unequal counts of repetitions.
    """
    conditions = np.unique(np.concatenate([s.conditions for s in sessions]))
    merged = [
        np.concatenate([s.data[s.conditions == c].reshape(-1, *s.data.shape[2:]) for s in sessions])
        for c in conditions
    ]
    counts = {len(repetitions) for repetitions in merged}
    if len(counts) != 1:
        raise ThingsError(
            f"conditions have {sorted(counts)} repetitions, expected one count: "
            "a session is missing or was cut short."
        )
    order = shuffled(np.arange(counts.pop()))
    return SortedEpochs(np.stack(merged)[:, order], conditions, sessions[0].times)
