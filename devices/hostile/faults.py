"""The faults that a headset, a network or a marker program can have, as frozen values.

Owns their arguments and a seeded random choice of them. Knows nothing of how they are played:
that is `devices.hostile.source`. Times are seconds of stream time from its start; `at` is when a
fault begins, `duration` how long it lasts. A channel is named by its label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong at `at`, s."""

    at: float


@dataclass(frozen=True, slots=True)
class Lasting(Fault):
    """Something that goes wrong for `duration`, s."""

    duration: float

    @property
    def end(self) -> float:
        """When it is over, s."""
        return self.at + self.duration


# -- samples that do not come, come late, or come twice ------------------------------------------


@dataclass(frozen=True, slots=True)
class Gap(Lasting):
    """The samples of this time are lost; the stream stays."""


@dataclass(frozen=True, slots=True)
class Loss(Fault):
    """`n_samples` in a row are lost."""

    n_samples: int = 1


@dataclass(frozen=True, slots=True)
class RandomLoss(Lasting):
    """Each sample is lost with probability `rate`."""

    rate: float = 0.01


@dataclass(frozen=True, slots=True)
class Burst(Lasting):
    """The network stalls: nothing arrives for `duration`, then all of it in one packet."""


@dataclass(frozen=True, slots=True)
class Duplicate(Fault):
    """The packet under way is delivered twice."""


@dataclass(frozen=True, slots=True)
class Reordered(Fault):
    """The packet under way arrives after the one that follows it."""


@dataclass(frozen=True, slots=True)
class Death(Lasting):
    """The source dies and returns after `duration`.

    It may return with its channels in another `order` (positions in the old one), under
    other `ch_names`, or at another `sfreq`, Hz; and with its own clock moved by `clock_shift`, s.
    """

    order: tuple[int, ...] = ()
    ch_names: tuple[str, ...] = ()
    sfreq: float | None = None
    clock_shift: float = 0.0


# -- clocks --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Jitter(Lasting):
    """Stamps err by up to `size` s, each on its own."""

    size: float = 0.005


@dataclass(frozen=True, slots=True)
class ClockJump(Fault):
    """The sender's clock jumps by `shift` s; the next probes of its offset say so."""

    shift: float = 5.0


@dataclass(frozen=True, slots=True)
class Drift(Lasting):
    """The sender's clock runs fast by `ppm` parts in a million."""

    ppm: float = 100.0


# -- values --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NotFinite(Fault):
    """`n_samples` of a channel are `value` (NaN or an infinity)."""

    ch_name: str
    n_samples: int = 1
    value: float = float("nan")


@dataclass(frozen=True, slots=True)
class Flat(Lasting):
    """A channel stands still."""

    ch_name: str


@dataclass(frozen=True, slots=True)
class Railed(Lasting):
    """A channel sits at its amplifier's limit, microvolts."""

    ch_name: str
    level_uv: float = 187_500.0


@dataclass(frozen=True, slots=True)
class LineNoise(Lasting):
    """A channel picks up the mains with `amplitude_uv`."""

    ch_name: str
    amplitude_uv: float = 500.0
    freq: float = 50.0


@dataclass(frozen=True, slots=True)
class Pop(Fault):
    """A channel's level steps for a tenth of a second."""

    ch_name: str
    size_uv: float = 400.0


OfChannel = NotFinite | Flat | Railed | LineNoise | Pop
"""A fault in the values of one channel, `ch_name`."""


# -- markers -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LateMarkers(Lasting):
    """Markers of this time arrive `delay` s after their onset."""

    delay: float = 3.0


@dataclass(frozen=True, slots=True)
class ShuffledMarkers(Lasting):
    """Markers of this time arrive together at its end, in a random order."""


@dataclass(frozen=True, slots=True)
class MalformedMarkers(Fault):
    """Markers with these texts and stamps `ahead` s from `at` (NaN: no stamp at all)."""

    texts: tuple[str, ...] = ("", "\x00", "{", "x" * 70_000, "Gesicht-ß-脸", '{"label": "face"}')
    ahead: float = 0.0


@dataclass(frozen=True, slots=True)
class MarkerStorm(Lasting):
    """`rate` markers a second."""

    rate: float = 1000.0


def random_faults(
    *,
    seed: int,
    duration: float,
    ch_names: tuple[str, ...],
    every: float = 5.0,
    first: float = 10.0,
) -> tuple[Fault, ...]:
    """Choose faults of every kind, one about `every` s, in order of time.

    Parameters
    ----------
    seed : int
    duration : float
        Length of the stream, s.
    ch_names : tuple of str
        Channels that values may go wrong in.
    every, first : float
        Mean time from one fault to the next, and when they begin, s.
    """
    rng = np.random.default_rng(seed)
    faults: list[Fault] = []
    at = first
    while at < duration - 2 * every:
        name = ch_names[int(rng.integers(len(ch_names)))]
        faults.append(_one(rng, at, name, len(ch_names)))
        if isinstance(faults[-1], Death | ClockJump):  # the next one must find it alive again
            at += 3.0 * every
        at += float(rng.uniform(0.4, 1.6)) * every
    return tuple(faults)


def _one(rng: np.random.Generator, at: float, name: str, n_channels: int) -> Fault:
    length = float(rng.choice([0.05, 0.3, 1.0, 3.0]))
    value = float(rng.choice([np.nan, np.inf, -np.inf]))
    order = tuple(int(i) for i in rng.permutation(n_channels))
    makers = (
        lambda: Gap(at, length),
        lambda: Loss(at, int(rng.integers(1, 30))),
        lambda: RandomLoss(at, 3.0, 0.01),
        lambda: Burst(at, length),
        lambda: Duplicate(at),
        lambda: Reordered(at),
        lambda: Jitter(at, 3.0, 0.004),
        lambda: Drift(at, 20.0, float(rng.uniform(-40, 40))),
        lambda: NotFinite(at, name, int(rng.integers(1, 40)), value),
        lambda: Flat(at, length, name),
        lambda: Railed(at, length, name),
        lambda: LineNoise(at, length, name),
        lambda: Pop(at, name),
        lambda: LateMarkers(at, 3.0, float(rng.choice([0.5, 3.0, 40.0]))),
        lambda: ShuffledMarkers(at, 3.0),
        lambda: MalformedMarkers(at),
        lambda: MalformedMarkers(at, ("face",), float(rng.choice([np.nan, 30.0, -500.0]))),
        lambda: MarkerStorm(at, 0.2),
        # The rarer ones, that cost a reconnection:
        lambda: Death(at, 1.5 + length, order=order),
        lambda: Death(at, 1.5 + length, clock_shift=float(rng.choice([-7.0, 0.0, 1000.0]))),
        lambda: ClockJump(at, float(rng.choice([-5.0, 5.0]))),
    )
    odds = np.array([1.0] * (len(makers) - 3) + [0.2] * 3)
    return makers[int(rng.choice(len(makers), p=odds / odds.sum()))]()
