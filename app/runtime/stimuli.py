"""The app's own stimuli: which picture when, and its marker.

Owns the seeded order, the schedule and the marker's stamp; satisfies `app.port.StimulusFeed`. Knows
nothing of how a picture is painted: a window asks for the `cue`, a virtual headset listens to the
marker stream.

With a window attached the stamp is the flip at which the picture reached the screen, and the
display's own lag behind that is `markers.stimulus_offset_ms`. Without one it is the planned onset.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from app.port import Cue, DisplayFigures
from configs import StimuliConfig
from pipeline.errors import ConfigurationError
from pipeline.gallery import Gallery

LEAD = 0.5
"""From the start, or the end of a pause, to the next stimulus, s."""
LONGEST_WAIT = 3600.0
"""An infinite time is none that can be waited for, s."""
FLIP_TIMEOUT = 0.4
"""A picture that an attached window has not shown by then is stamped as planned, s."""


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
            f"{' and '.join(config.kinds)} stimuli: see gallery.json."
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
    patience : float
        A pause that lasts longer ends the showing, s.
    """

    def __init__(
        self,
        presentations: Iterator[Presentation],
        *,
        push: Callable[[str, float], None],
        clock: Callable[[], float],
        duration: float | None = None,
        patience: float = math.inf,
    ) -> None:
        self._patience = patience
        self._presentations = presentations
        self._push = push
        self._clock = clock
        self._duration = duration
        self._stop = threading.Event()
        # Guards what other threads touch, and wakes ours at a flip, a pause and the end.
        self._flip = threading.Condition()
        self._paused = False
        self._attached = False
        self._cue: Cue | None = None
        self._stamp: float | None = None
        self._delays: list[float] = []
        self._display: DisplayFigures | None = None
        self._current: str | None = None
        self._thread = threading.Thread(target=self._run, name="stimuli", daemon=True)
        self.n_shown = self.n_unseen = 0

    @property
    def current(self) -> str | None:
        """Label of the picture on screen now; None between pictures."""
        return self._current

    @property
    def finished(self) -> bool:
        """Whether the last stimulus is over."""
        return not self._thread.is_alive()

    @property
    def cue(self) -> Cue | None:
        """The next stimulus, or the one on screen."""
        return self._cue

    def clock(self) -> float:
        """`local_clock`, s."""
        return self._clock()

    def attach(self) -> None:
        """A window shows the stimuli from now on: its flips are the stamps."""
        with self._flip:
            self._attached = True

    def detach(self) -> None:
        """No window shows them any more: planned onsets are the stamps."""
        with self._flip:
            self._attached = False
            self._flip.notify_all()

    def flipped(self, number: int, stamp: float) -> None:
        """Take the flip of cue `number`; of another than the one that is due it is too late."""
        with self._flip:
            if self._cue is not None and self._cue.number == number and self._stamp is None:
                self._stamp = stamp
                self._flip.notify_all()

    def report(self, figures: DisplayFigures) -> None:
        """Take the window's newest figures."""
        self._display = figures

    def figures(self) -> dict[str, Any]:
        """How the stimuli were stamped, and how well the screen kept time, for the summary."""
        delays = 1000 * np.array(self._delays)
        ms = {f"p{q}": round(float(np.percentile(delays, q)), 3) for q in (50, 95) if len(delays)}
        return {
            "shown": self.n_shown,
            "stamped_at_flip": len(self._delays),
            "stamped_as_planned": self.n_shown - len(self._delays),
            "unseen": self.n_unseen,
            "flip_after_plan_ms": ms or None,
            "display": None if self._display is None else asdict(self._display),
        }

    def set_paused(self, paused: bool) -> None:
        """Show nothing for now, or go on; what was planned is shown later, but never too late."""
        with self._flip:
            if paused != self._paused:
                self._paused = paused
                self._flip.notify_all()

    def start(self) -> None:
        """Begin; the first stimulus comes after half a second."""
        self._thread.start()

    def stop(self) -> None:
        """End now."""
        self._stop.set()
        with self._flip:
            self._flip.notify_all()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _wait_until(self, at: float) -> bool:
        """Wait; False when the end or a pause comes first."""
        with self._flip:
            while not (self._stop.is_set() or self._paused):
                left = at - self._clock()
                if left <= 0:
                    return True
                self._flip.wait(left)
        return False

    def _wait_resumed(self, latest: float) -> bool:
        """Wait out a pause; False at the end, or when it lasts until `latest`, s."""
        with self._flip:
            self._cue = None
            while self._paused and not self._stop.is_set():
                left = latest - self._clock()
                if left <= 0:
                    return False
                self._flip.wait(min(left, LONGEST_WAIT))
            return not self._stop.is_set()

    def _wait_flip(self, cue: Cue) -> float | None:
        """Wait for the flip of `cue`; None: nobody shows it, or not in time."""
        with self._flip:
            while self._attached and self._stamp is None and not self._is_held:
                left = cue.at + FLIP_TIMEOUT - self._clock()
                if left <= 0:
                    self.n_unseen += 1
                    break
                self._flip.wait(left)
            # From here on a flip comes too late: the marker goes out.
            stamp, self._stamp = self._stamp, cue.at
            return stamp

    @property
    def _is_held(self) -> bool:
        return self._paused or self._stop.is_set()

    def _run(self) -> None:
        start = self._clock() + LEAD
        duration = math.inf if self._duration is None else self._duration
        latest = start + duration
        numbers = itertools.count()
        for item in self._presentations:
            while True:
                if item.at > duration or start + item.at > latest:
                    return
                cue = Cue(next(numbers), item.label, start + item.at, item.duration)
                if self._present(cue):
                    break
                if not self._wait_resumed(min(latest, self._clock() + self._patience)):
                    return
                # The plan goes on where it stood: the pause moves all that follows.
                start = max(start, self._clock() + LEAD - item.at)

    def _present(self, cue: Cue) -> bool:
        """Show one stimulus and stamp it; False when the end or a pause came before its onset."""
        with self._flip:
            self._cue, self._stamp = cue, None
        if not self._wait_until(cue.at):
            return False
        flip = self._wait_flip(cue)
        if self._is_held:
            return False
        if flip is not None:
            self._delays.append(flip - cue.at)
        at = cue.at if flip is None else flip
        self._current = cue.label
        self._push(cue.label, at)
        self.n_shown += 1
        self._wait_until(at + cue.duration)
        self._current = None
        return True
