"""A recording of a person who sees classes of things, as a FIF file, as a test wants it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

CHANNELS = ("O1", "Oz", "O2", "P7", "P8", "Pz", "PO7", "PO8")
SFREQ = 128.0


def write_person(
    path: Path,
    classes: Sequence[str],
    *,
    n_trials: int = 90,
    ch_names: Sequence[str] = CHANNELS,
    strength: float = 6.0,
    bad: str | None = None,
    shares: Sequence[float] | None = None,
    order: str = "mixed",
    seed: int = 0,
) -> Path:
    """Write trials 0.9 s apart, each followed by a `press`; `bad` swings by a millivolt.

    `strength` is the response's size in microvolts (0: none), `shares` how often each class comes,
    `order` `mixed` or `blocks`. Responses are the same whatever the seed of noise and order.
    """
    import mne

    rng, fixed = np.random.default_rng(seed), np.random.default_rng(99)
    n_times = round((5 + 0.9 * n_trials + 2) * SFREQ)
    data = 8.0 * rng.standard_normal((len(ch_names), n_times))
    kinds = rng.choice(len(classes), size=n_trials, p=shares)
    if order == "blocks":
        kinds = np.sort(kinds)
    patterns = {k: fixed.standard_normal((64, 4)) for k in range(len(classes))}
    at = 5 + 0.9 * np.arange(n_trials)
    rise = np.hanning(round(0.2 * SFREQ))
    for onset, kind in zip(at, kinds, strict=True):
        for part in range(3):
            start = round((onset + 0.08 + 0.12 * part) * SFREQ)
            shape = patterns[kind][: len(ch_names), part][:, np.newaxis]
            data[:, start : start + len(rise)] += strength * shape * rise
    if bad is not None:
        data[list(ch_names).index(bad)] += 600 * np.sin(2 * np.pi * 3 * np.arange(n_times) / SFREQ)
    info = mne.create_info(list(ch_names), SFREQ, "eeg")
    raw = mne.io.RawArray(1e-6 * data, info, verbose="ERROR")
    onsets = np.concatenate([at, at + 0.45])
    names = [classes[kind] for kind in kinds] + ["press"] * n_trials
    raw.set_annotations(mne.Annotations(onsets, 0.0, names))
    raw.save(path, overwrite=True, verbose="ERROR")
    return path
