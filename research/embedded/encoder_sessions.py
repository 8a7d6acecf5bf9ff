"""Whole sessions of virtual people, cut as the live path cuts them, for evaluating encoders.

Owns the honest way to test epochs: a `VirtualBrain` streams, the causal filter runs over the
stream, epochs are cut at markers and baselined; nothing is taken from the training banks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.models import EpochsConfig, FilterConfig
from configs.montages import AVERAGE
from pipeline.filters import CausalFilter
from pipeline.values import Epoch, Float32, Info
from pipeline.virtual_brain.brain import VirtualBrain
from pipeline.virtual_brain.head import reference_labels, table_leadfield
from pipeline.virtual_brain.subject import draw_subject

SOA = 1.325
"""Mean time between stimuli, s, as in `StimuliConfig` (1.25 and half the jitter)."""
LEAD = 6.0
"""Seconds before the first stimulus: the filter settles."""
REJECT_UV = 250.0


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """Epochs of one sitting and the row of the embedding that each one's picture had."""

    epochs: tuple[Epoch, ...]
    rows: NDArray[np.int64]
    n_rejected: int


def record_session(
    *,
    ch_names: tuple[str, ...],
    sfreq: float,
    subject_number: int,
    embeddings: Float32,
    n_stimuli: int,
    snr: float,
    seed: int,
    reference: str | tuple[str, ...] = AVERAGE,
) -> Session:
    """Stream a sitting with `n_stimuli` pictures drawn from `embeddings` (n_pictures, 64)."""
    rng = np.random.default_rng([seed, subject_number, 3])
    rows = rng.integers(len(embeddings), size=n_stimuli)
    onsets = LEAD + SOA * np.arange(n_stimuli) + rng.uniform(-0.075, 0.075, n_stimuli)
    brain = VirtualBrain(
        ch_names=ch_names,
        sfreq=sfreq,
        subject=draw_subject(subject_number),
        leadfield=table_leadfield((*ch_names, *reference_labels(ch_names, reference))),
        snr=snr,
        seed=seed,
        reference=reference,
    )
    for onset, row in zip(onsets, rows, strict=True):
        brain.stimulate(float(onset), embeddings[row])
    info = Info(ch_names=tuple(ch_names), sfreq=sfreq)
    causal = CausalFilter(FilterConfig(), info)
    n_seconds = int(onsets[-1] + 2)
    data = np.concatenate(
        [causal.process(brain.read(round(sfreq))) for _ in range(n_seconds)], axis=1
    )
    cut = [_cut(data, float(onset), info, index) for index, onset in enumerate(onsets)]
    keep = [i for i, epoch in enumerate(cut) if np.ptp(epoch.data, axis=1).max() < REJECT_UV]
    return Session(
        epochs=tuple(cut[i] for i in keep), rows=rows[keep], n_rejected=n_stimuli - len(keep)
    )


def _cut(data: Float32, onset: float, info: Info, index: int) -> Epoch:
    config = EpochsConfig()
    at = round(onset * info.sfreq)
    before, after = round(-config.tmin * info.sfreq), round(config.tmax * info.sfreq)
    block = data[:, at - before : at + after + 1]
    level = block[:, : before + 1].mean(axis=1, keepdims=True)
    return Epoch(
        data=(block - level).astype(np.float32),
        tmin=-before / info.sfreq,
        tmax=after / info.sfreq,
        t_onset=onset,
        event="",
        info=info,
        index=index,
    )
