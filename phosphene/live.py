"""The live path over any source: the same steps, in the same order, as in a session.

Owns the loop from items to verdicts. The path itself is `pipeline.live`'s.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs import SessionConfig
from phosphene.sources import as_source
from pipeline.live import LivePath
from pipeline.ports import Source, StatesWarnings
from pipeline.values import StateChange, StreamRole, StreamState, Verdict

_LOG = logging.getLogger("phosphene")
_WAIT = 0.1
"""Longest wait of one read, s."""


def cut_epochs(
    source: Path | str | Source | Any,
    *,
    settings: SessionConfig | None = None,
    duration: float | None = None,
) -> Iterator[Verdict]:
    """Filter causally, cut an epoch a marker, and give each marker's end.

    What `phosphene run` does up to the decoder, bit for bit, however the samples come in pieces.

    Parameters
    ----------
    source : path, Source, mne.io.BaseRaw or mne.BaseEpochs
        A source of the caller's stays open.
    settings : SessionConfig, optional
        `source`, `markers`, `filter` and `epochs` matter; None: the default preset.
    duration : float, optional
        Length to read of a live source, s; None: until it ends.

    Yields
    ------
    Verdict
        `marker`; `outcome` (`decoded`: an epoch was cut; else why not); `epoch`, whose `data`
        (n_channels, n_times) are float32 microvolts; `reason`, a sentence.

    Raises
    ------
    PhospheneError
        The source cannot be read, or lacks labels, units or rate.

    Examples
    --------
    >>> import mne, numpy as np, phosphene
    >>> info = mne.create_info(["O1", "Oz", "O2"], 250.0, "eeg")
    >>> noise = 1e-5 * np.random.default_rng(0).normal(size=(3, 5000))
    >>> raw = mne.io.RawArray(noise, info, verbose="ERROR")
    >>> _ = raw.set_annotations(mne.Annotations([0.5, 12.0], 0.0, ["cat", "dog"]))
    >>> for verdict in phosphene.cut_epochs(raw):
    ...     shape = None if verdict.epoch is None else verdict.epoch.data.shape
    ...     print(verdict.marker.label, verdict.outcome, shape)
    cat settling None
    dog decoded (3, 251)
    """
    settings = settings or SessionConfig()
    opened, is_ours = as_source(source, settings)
    try:
        yield from _verdicts(opened, settings, duration)
    finally:
        if is_ours:
            opened.close()


def _verdicts(source: Source, settings: SessionConfig, duration: float | None) -> Iterator[Verdict]:
    path = LivePath(settings, source.streams)
    ended: set[StreamRole] = set()
    until = None if duration is None else time.monotonic() + duration
    while not ended >= set(source.streams) and (until is None or time.monotonic() < until):
        for item in source.read(_WAIT):
            yield from path.feed(item)
            if isinstance(item, StateChange):
                (ended.add if item.state is StreamState.ENDED else ended.discard)(item.role)
        _tell(path.take_news())
    yield from path.finish()
    _tell([*path.notes, *(source.warnings if isinstance(source, StatesWarnings) else ())])


def _tell(sentences: list[str]) -> None:
    for sentence in sentences:
        _LOG.warning("%s", sentence)
