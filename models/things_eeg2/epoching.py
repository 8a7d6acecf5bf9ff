"""From a continuous THINGS-EEG2 recording to epochs sorted by condition, sessions merged.

Owns the published order of steps (MNE does each) and the library shuffles that choose and order
the repetitions, so that our arrays line up with the published files sample by sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import mne
import numpy as np
from numpy.typing import NDArray

from models.things_eeg2.errors import ThingsError
from models.things_eeg2.montage import CH_NAMES, SEED, SFREQ, TARGET_EVENT

Float64 = NDArray[np.float64]
TRAIN_REPETITIONS, TEST_REPETITIONS = 2, 20
"""Kept of a condition in one session."""
CHUNK = 500
"""Events that are cut and resampled at a time."""


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
    raw = _raw(data, ch_names, sfreq, stim_channel)
    parts = list(_cut(raw, ch_order, (tmin, tmax), stim_channel, target_sfreq))
    if not parts:
        raise ThingsError(f"the recording ends within {tmax:g} s of its events: it is cut short.")
    events = np.concatenate([epochs.events[:, 2] for epochs in parts])
    conditions = np.unique(events)
    onset = round(-tmin * target_sfreq) if n_dropped is None else n_dropped
    values = np.concatenate([epochs.get_data(copy=False)[..., onset:] for epochs in parts])
    rows = [_repetitions(events, condition, n_repetitions) for condition in conditions]
    return SortedEpochs(
        data=values[np.stack(rows)],
        conditions=conditions.astype(np.int64),
        times=np.array(parts[0].times),
    )


def _raw(
    data: NDArray[np.floating], ch_names: Sequence[str], sfreq: float, stim_channel: str
) -> mne.io.RawArray:
    types = ["stim" if name == stim_channel else "eeg" for name in ch_names]
    info = mne.create_info(list(ch_names), sfreq, types)
    return mne.io.RawArray(np.asarray(data, dtype=np.float64), info, verbose="error")


def _cut(
    raw: mne.io.RawArray,
    ch_order: Sequence[str],
    window: tuple[float, float],
    stim_channel: str,
    target_sfreq: float,
) -> Iterator[mne.Epochs]:
    """Cut, baseline and resample some hundred events at a time: all of 1 kHz would be 10 GB."""
    events = mne.find_events(raw, stim_channel=stim_channel, verbose="error")
    events = events[events[:, 2] != TARGET_EVENT]
    if not len(events):
        raise ThingsError(f"no event on {stim_channel!r}, expected condition numbers.")
    raw.pick(list(ch_order))
    raw.reorder_channels(list(ch_order))
    for first in range(0, len(events), CHUNK):
        some = events[first : first + CHUNK]
        epochs = mne.Epochs(
            raw, some, tmin=window[0], tmax=window[1], preload=True, verbose="error"
        )
        if len(epochs):  # none, where the recording ends within all of them
            yield epochs.resample(target_sfreq, verbose="error")


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


@dataclass(frozen=True, slots=True, eq=False)
class Merge:
    """Sessions joined condition by condition, read when iterated: (n_repetitions, ...) arrays.

    `shape` (n_conditions, n_repetitions, n_channels, n_times); `order` of the repetitions.
    """

    sessions: tuple[SortedEpochs, ...]
    conditions: NDArray[np.int64]
    shape: tuple[int, ...]
    order: NDArray[np.int64]

    @classmethod
    def of(cls, sessions: Sequence[SortedEpochs], *, seed: int | None = SEED) -> Merge:
        """Plan a merge; `seed` shuffles the repetitions, in one order for all (None: not).

        Raises
        ------
        ThingsError
            Conditions end up with unequal counts of repetitions.
        """
        conditions = np.unique(np.concatenate([s.conditions for s in sessions]))
        totals = np.zeros(len(conditions), dtype=np.int64)
        for session in sessions:
            totals[np.isin(conditions, session.conditions)] += session.data.shape[1]
        counts = np.unique(totals)
        if len(counts) != 1:
            raise ThingsError(
                f"conditions have {counts.tolist()} repetitions, expected one count: "
                "a session is missing or was cut short."
            )
        order = np.arange(counts[0])
        return cls(
            tuple(sessions),
            conditions,
            (len(conditions), int(counts[0]), *sessions[0].data.shape[2:]),
            order if seed is None else shuffled(order, seed=seed),
        )

    def __iter__(self) -> Iterator[NDArray[np.floating]]:
        for condition in self.conditions:
            found = [(s, np.flatnonzero(s.conditions == condition)) for s in self.sessions]
            parts = [s.data[row].reshape(-1, *self.shape[2:]) for s, row in found]
            yield np.concatenate(parts)[self.order]
