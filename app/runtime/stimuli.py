"""The app's own stimuli: which picture when, and its marker.

Owns the seeded order, the schedule and the marker's stamp. Knows nothing of who looks at the
picture: a window polls `current`, a virtual headset listens to the marker stream.

The stamp is the planned onset of the picture. A window that paints later by its frame time is
measured and corrected with `markers.stimulus_offset_ms`; the virtual headset needs neither.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from configs import StimuliConfig
from pipeline.errors import ConfigurationError
from pipeline.gallery import Gallery


@dataclass(frozen=True, slots=True)
class Presentation:
    """One planned stimulus: `at` and `duration` in s from the start."""

    at: float
    label: str
    duration: float


def plan(config: StimuliConfig, labels: Sequence[str], *, seed: int) -> Iterator[Presentation]:
    """Plan stimuli without end: shuffled rounds through `labels`, never one label twice in a row.

    The order and the jitter depend on `seed` only.
    """
    rng = np.random.default_rng([seed, 0x57131])
    at, last = 0.0, ""
    while True:
        order = [labels[i] for i in rng.permutation(len(labels))]
        if len(order) > 1 and order[0] == last:
            order.append(order.pop(0))
        for label in order:
            yield Presentation(at, label, config.duration)
            at += config.soa + float(rng.uniform(0, config.jitter))
            last = label


def candidate_labels(gallery: Gallery, config: StimuliConfig) -> list[str]:
    """Labels that are shown and identified among, in the gallery's order.

    Raises
    ------
    ConfigurationError
        `stimuli.labels` names one that the chosen kinds do not have.
    """
    known = [each.label for each in gallery.stimuli if each.kind in config.kinds]
    unknown = sorted(set(config.labels) - set(known))
    if unknown:
        raise ConfigurationError(
            f"stimuli.labels names {unknown[0]!r}, expected labels of the gallery's "
            f"{' and '.join(config.kinds)} stimuli: see pipeline/gallery/gallery.json."
        )
    return [label for label in known if not config.labels or label in config.labels]


class Presenter:
    """Presents stimuli in its own thread until it is stopped or `duration` is over.

    Parameters
    ----------
    push : callable
        Publishes a marker: `(label, local_clock stamp)`.
    clock : callable
        `local_clock`, s.
    duration : float or None
        No stimulus starts later than this from the first, s.
    """

    def __init__(
        self,
        presentations: Iterator[Presentation],
        *,
        push: Callable[[str, float], None],
        clock: Callable[[], float],
        duration: float | None = None,
    ) -> None:
        self._presentations = presentations
        self._push = push
        self._clock = clock
        self._duration = duration
        self._stop = threading.Event()
        self._current: str | None = None
        self._thread = threading.Thread(target=self._run, name="stimuli", daemon=True)
        self.n_shown = 0

    @property
    def current(self) -> str | None:
        """Label of the picture on screen now; None between pictures."""
        return self._current

    @property
    def finished(self) -> bool:
        """Whether the last stimulus is over."""
        return not self._thread.is_alive()

    def start(self) -> None:
        """Begin; the first stimulus comes after half a second."""
        self._thread.start()

    def stop(self) -> None:
        """End now."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _wait_until(self, at: float) -> bool:
        while (left := at - self._clock()) > 0:
            if self._stop.wait(left):
                return False
        return not self._stop.is_set()

    def _run(self) -> None:
        start = self._clock() + 0.5
        for item in self._presentations:
            if self._duration is not None and item.at > self._duration:
                return
            if not self._wait_until(start + item.at):
                return
            self._current = item.label
            self._push(item.label, start + item.at)
            self.n_shown += 1
            shown = self._wait_until(start + item.at + item.duration)
            self._current = None
            if not shown:
                return
