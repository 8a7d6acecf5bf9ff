"""The model of a response: what a change of a picture's light evokes, as a sum of cosines.

Owns the regressors of reconvolution CCA (Thielen et al. 2021): what each code would evoke, sample
by sample, from the frames that were really shown. A response is a sum of cosines instead of one
free number a sample: the EEG behind the filter has no more than that to say, and half as many
numbers are learnt from half as many looks. Pictures that flicker and pictures that flash in turn
evoke different ones: `FLICKER` and `FLASH`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from pipeline.looks import Kind
from pipeline.values import Float64, Uint8


@dataclass(frozen=True, slots=True)
class Response:
    """What one kind of stimulus evokes.

    Attributes
    ----------
    seconds : float
        Length of a response, s.
    n_cosines : int
        Cosines of a response: the filter's upper edge times twice its length.
    n_events : int
        Kinds of event: a rise and a fall, or a rise alone.
    independent_hz : float
        Independent samples of EEG a second.
    is_compared : bool
        Whether a picture's events count less the mean of all pictures': where one of them flashes
        at any time, what every flash evokes tells nothing.
    decides_strangers : bool
        Whether a look may be decided of somebody whose response is not known yet. Of looks that
        followed nothing one flashed picture in ten stood out as far as a followed one does.
    """

    seconds: float
    n_cosines: int
    n_events: int
    independent_hz: float
    is_compared: bool = False
    decides_strangers: bool = True

    @property
    def n_regressors(self) -> int:
        """Numbers of a response."""
        return self.n_events * self.n_cosines


FLICKER: Final = Response(seconds=0.3, n_cosines=24, n_events=2, independent_hz=30.0)
"""Noise-tagged pictures: every rise and every fall evokes a response of the visual cortex."""
FLASH: Final = Response(
    seconds=0.8,
    n_cosines=20,
    n_events=1,
    independent_hz=12.0,
    is_compared=True,
    decides_strangers=False,
)
"""Pictures that flash in turn: the one that is attended to evokes a P300 as well."""
RESPONSES: Final[Mapping[Kind, Response]] = MappingProxyType({"flicker": FLICKER, "flash": FLASH})


def changes(states: Uint8, before: Uint8, response: Response = FLICKER) -> Float64:
    """Find the rises and falls of frames.

    Parameters
    ----------
    states : ndarray, shape (n_frames, n_targets), uint8
        1 where a target was bright.
    before : ndarray, shape (n_targets,), uint8
        The frame before the first.
    response : Response

    Returns
    -------
    ndarray, shape (n_frames, n_events, n_targets), float64
    """
    known = np.concatenate([before[np.newaxis], states]).astype(np.int8)
    step = np.diff(known, axis=0)
    kinds = [step > 0, step < 0][: response.n_events]
    return np.stack(kinds, axis=1).astype(np.float64)


def regressors(
    events: Float64, flips: Float64, times: Float64, response: Response = FLICKER
) -> Float64:
    """Lay out what each target's events evoke at given times.

    Parameters
    ----------
    events : ndarray, shape (n_frames, n_events, n_targets), float64
        Of the frames that may still act; see `changes`.
    flips : ndarray, shape (n_frames,), float64
        When each came to the screen, s.
    times : ndarray, shape (n_times,), float64
        Of the samples, s, on the same clock.
    response : Response

    Returns
    -------
    ndarray, shape (n_targets, n_regressors, n_times), float64
    """
    lag = (times[np.newaxis] - flips[:, np.newaxis]) / response.seconds
    acts = (lag >= 0) & (lag < 1)
    order = np.arange(response.n_cosines)[np.newaxis, :, np.newaxis]
    waves = np.cos(np.pi * order * lag[:, np.newaxis]) * acts[:, np.newaxis]
    n_frames, n_kinds, n_targets = events.shape
    flat = events.reshape(n_frames, n_kinds * n_targets).T @ waves.reshape(
        n_frames, response.n_cosines * len(times)
    )
    shaped = flat.reshape(n_kinds, n_targets, response.n_cosines, len(times))
    return np.ascontiguousarray(
        shaped.transpose(1, 0, 2, 3).reshape(n_targets, response.n_regressors, len(times))
    )
