"""A second kind of virtual person: responses to pictures that a published model predicted.

Owns the table and what a trial is made of it; knows nothing of files. No decoder of ours was
trained on such responses: what is decoded from them is not the undoing of a code that it knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from configs.montages import AVERAGE
from pipeline.errors import ConfigurationError
from pipeline.values import Float32, Float64
from pipeline.virtual_brain.evoked import ONSET_SECONDS

PREDICTED = "predicted responses"
"""In the name of the maker of a stream of such a person."""


@dataclass(frozen=True, slots=True, eq=False)
class PredictedResponses:
    """What a model predicts of pictures.

    Attributes
    ----------
    data : ndarray, shape (n_pictures, n_repetitions, n_channels, n_times), float32, microvolts
    times : ndarray, shape (n_times,), float64
        s from onset, growing.
    ch_names, labels : tuple of str
        Of the channels, of the pictures.
    """

    data: Float32
    times: Float64
    ch_names: tuple[str, ...]
    labels: tuple[str, ...]


class PredictedPerson:
    """Responses of one montage: a picture's own part times `snr` on what all pictures share.

    Parameters
    ----------
    responses : PredictedResponses
    ch_names : sequence of str
        The headset's; one that was not predicted shows the background alone.
    reference : str or sequence of str
        The headset's. Where the prediction lacks it, the responses stay as predicted.
    snr : float
        1: as predicted; 0: all pictures alike.

    Raises
    ------
    ConfigurationError
        Nothing was predicted of the headset's channels.
    """

    def __init__(
        self,
        responses: PredictedResponses,
        *,
        ch_names: Sequence[str],
        reference: str | Sequence[str] = AVERAGE,
        snr: float = 1.0,
    ) -> None:
        row_of = {name.upper(): row for row, name in enumerate(responses.ch_names)}
        rows = [row_of.get(name.upper(), -1) for name in ch_names]
        self.missing = tuple(name for name, row in zip(ch_names, rows, strict=True) if row < 0)
        """Channels of the headset of which nothing was predicted."""
        if len(self.missing) == len(rows):
            raise ConfigurationError(
                f"none of the channels {', '.join(ch_names[:6])} is among those predicted "
                f"({', '.join(responses.ch_names[:6])}, ...): choose another --board or --montage."
            )
        data = responses.data.astype(np.float64)
        known = [row for row in rows if row >= 0]
        wanted = [reference] if isinstance(reference, str) else list(reference)
        if wanted == [AVERAGE]:
            data = data - data[:, :, known].mean(axis=2, keepdims=True)
        elif all(name.upper() in row_of for name in wanted):
            against = [row_of[name.upper()] for name in wanted]
            data = data - data[:, :, against].mean(axis=2, keepdims=True)
        picked = data[:, :, rows]
        picked[:, :, [row < 0 for row in rows]] = 0.0
        self._shared = picked.mean(axis=(0, 1))
        self._own = snr * (picked - self._shared)
        self._row_of = {label: row for row, label in enumerate(responses.labels)}
        self._times = responses.times

    @property
    def tmin(self) -> float:
        """Where a response begins, s from onset: not before a live headset can answer."""
        return max(float(self._times[0]), ONSET_SECONDS)

    @property
    def seconds(self) -> float:
        """How long it is."""
        return float(self._times[-1]) - self.tmin

    def response(self, label: str, times: Float64, rng: np.random.Generator) -> Float64:
        """One trial's response, (n_channels, n_times), at `times` s from onset.

        One of the predicted repetitions is drawn; a picture of which nothing was predicted shows
        what all share.
        """
        row, whole = self._row_of.get(label), self._shared
        if row is not None:
            whole = whole + self._own[row, rng.integers(self._own.shape[1])]
        found = CubicSpline(self._times, whole, axis=1, extrapolate=False)(times)
        return np.asarray(np.nan_to_num(found, nan=0.0))
