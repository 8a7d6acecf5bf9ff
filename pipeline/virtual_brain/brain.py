"""A virtual brain that streams: background plus the responses to stimuli, sample after sample.

Owns sample positions and the sum of the two parts; time is counted in samples from the start and
never read from a clock. How the stream is cut into reads does not change one bit of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from configs.montages import AVERAGE
from pipeline.errors import ConfigurationError, ShapeError
from pipeline.values import Float32, Float64
from pipeline.virtual_brain.background import Background
from pipeline.virtual_brain.evoked import ONSET_SECONDS, RESPONSE_SECONDS, EvokedModel
from pipeline.virtual_brain.subject import Subject


class VirtualBrain:
    """One person's EEG under one montage, in microvolts.

    Parameters
    ----------
    ch_names : sequence of str
        Labels of the 10-05 system.
    sfreq : float
        Hz, at least 100.
    subject : Subject
    leadfield : ndarray, shape (n_channels + n_extra, N_SOURCES, 3), microvolts per nAm
        From `table_leadfield` or `devices.virtual.forward.montage_leadfield`, of `ch_names` and
        then of `reference_labels(ch_names, reference)`.
    snr : float
        Factor on the pictures' own patterns, which are their embeddings through a fixed matrix: 1
        as the encoder was trained on, 0 no identity at all.
    seed : int
        Of everything random; the person's own traits do not depend on it.
    reference : str or sequence of str
        `"average"`, or labels whose mean is subtracted.

    Raises
    ------
    ConfigurationError
        The rate is below 100 Hz or `snr` is negative.
    """

    def __init__(
        self,
        *,
        ch_names: Sequence[str],
        sfreq: float,
        subject: Subject,
        leadfield: Float64,
        snr: float = 1.0,
        seed: int = 0,
        reference: str | Sequence[str] = AVERAGE,
    ) -> None:
        if not sfreq >= 100:
            raise ConfigurationError(
                f"the rate is {sfreq} Hz, expected at least 100 Hz: the evoked responses and the "
                "45 Hz that the background is stated for would not fit below half of it."
            )
        if not snr >= 0:
            raise ConfigurationError(f"snr is {snr}, expected 0 (no information) or more.")
        self.ch_names = tuple(ch_names)
        self.sfreq = float(sfreq)
        self._background = Background(
            ch_names=ch_names,
            sfreq=sfreq,
            subject=subject,
            leadfield=leadfield,
            seed=seed,
            reference=reference,
        )
        self._evoked = EvokedModel(
            ch_names=ch_names, subject=subject, leadfield=leadfield, snr=snr, reference=reference
        )
        self._trial_seed = (seed, subject.number, 2)
        self._n_stimuli = 0
        self._position = 0
        self._ready: list[Float64] = []
        self._first_ready = 0
        self._responses: list[tuple[int, Float64]] = []

    @property
    def n_channels(self) -> int:
        """Count of channels."""
        return len(self.ch_names)

    @property
    def position(self) -> int:
        """Index of the next sample to be read."""
        return self._position

    def stimulate(self, t_onset: float, embedding: Float32 | Float64 | None) -> bool:
        """Show a picture.

        Parameters
        ----------
        t_onset : float
            Onset in seconds after the first sample (sample k lies at k / sfreq); need not fall on
            a sample.
        embedding : ndarray, shape (N_FEATURES,), or None
            The picture's; None for a stimulus without one: only the common response.

        Returns
        -------
        bool
            Whether the whole response is still to come. False: the stimulus was told too late,
            and what lies before `position` is missing from its response.
        """
        return self.respond(
            t_onset,
            lambda times, rng: self._evoked.response(times, embedding, rng=rng),
            tmin=ONSET_SECONDS,
            seconds=RESPONSE_SECONDS,
        )

    def respond(
        self,
        t_onset: float,
        response: Callable[[Float64, np.random.Generator], Float64],
        *,
        tmin: float,
        seconds: float,
    ) -> bool:
        """Add a response that is made elsewhere; returns as `stimulate` does.

        Parameters
        ----------
        response : callable
            Gives (n_channels, n_times) microvolts at times, s from onset.
        tmin, seconds : float
            Where it begins, s from onset, and how long it is.
        """
        rng = np.random.default_rng([*self._trial_seed, self._n_stimuli])
        self._n_stimuli += 1
        first = int(np.ceil((t_onset + tmin) * self.sfreq))
        n_times = int(seconds * self.sfreq)
        times = (first + np.arange(n_times)) / self.sfreq - t_onset
        self._responses.append((first, response(times, rng)))
        return first >= self._position

    def read(self, n_times: int) -> Float32:
        """Return the next samples: shape (n_channels, n_times), float32, microvolts."""
        if n_times < 0:
            raise ShapeError(f"n_times is {n_times}, expected 0 or more.")
        data = self._take_background(n_times)
        stop = self._position + n_times
        for first, response in self._responses:
            low, high = max(first, self._position), min(first + response.shape[1], stop)
            if low < high:
                data[:, low - self._position : high - self._position] += response[
                    :, low - first : high - first
                ]
        self._responses = [r for r in self._responses if r[0] + r[1].shape[1] > stop]
        self._position = stop
        return data.astype(np.float32)

    def _take_background(self, n_times: int) -> Float64:
        n_block = self._background.n_block
        n_ready = len(self._ready) * n_block
        while self._first_ready + n_ready < self._position + n_times:
            self._ready.append(self._background.next_block())
            n_ready += n_block
        if not self._ready:
            return np.zeros((self.n_channels, 0))
        whole = np.concatenate(self._ready, axis=1)
        start = self._position - self._first_ready
        n_done = (start + n_times) // n_block
        self._ready = self._ready[n_done:]
        self._first_ready += n_done * n_block
        return np.array(whole[:, start : start + n_times])
