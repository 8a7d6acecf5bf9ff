"""Whether the electrodes are good enough to begin: green, or what to mend.

Owns the rule and its sentences. Looks at verdicts that `pipeline.signal_quality` gave; pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pipeline.signal_quality import ChannelQuality, Grade

SECONDS = 3
"""So many seconds in a row must be good."""
DOUBTFUL_SHARE = 0.25
"""Part of the channels that may be doubtful."""
HIGH_IMPEDANCE = 100.0
"""Contact that should be mended, kΩ, where the headset measures it."""


class Light(StrEnum):
    """The check's state."""

    WAITING = "waiting"
    GREEN = "green"
    RED = "red"


@dataclass(frozen=True, slots=True)
class SignalCheck:
    """The check as shown: `worst` are labels and reasons of channels that are not good."""

    light: Light = Light.WAITING
    sentence: str = "Waiting for the stream."
    worst: tuple[tuple[str, str], ...] = ()
    n_channels: int = 0
    n_bad: int = 0


class SignalChecker:
    """Judges second after second; `feed` each new verdict on the channels."""

    def __init__(self) -> None:
        self._seen: tuple[ChannelQuality, ...] = ()
        self._good = self._n = 0
        self.state = SignalCheck()

    def feed(
        self,
        quality: tuple[ChannelQuality, ...],
        *,
        n_gaps: int = 0,
        impedance: Mapping[str, float] | None = None,
    ) -> SignalCheck:
        """Take the newest second's verdicts; the same tuple twice counts once."""
        if not quality or quality is self._seen:
            return self.state
        self._seen = quality
        self._n += 1
        bad = [one for one in quality if one.grade is Grade.BAD]
        doubtful = [one for one in quality if one.grade is Grade.DOUBTFUL]
        fine = not bad and len(doubtful) <= DOUBTFUL_SHARE * len(quality)
        self._good = self._good + 1 if fine else 0
        worst = [(one.ch_name, one.reason) for one in (*bad, *doubtful)]
        worst += [
            (name, f"impedance {value:.0f} kΩ")
            for name, value in (impedance or {}).items()
            if value > HIGH_IMPEDANCE
        ]
        light = (
            Light.GREEN
            if self._good >= SECONDS
            else Light.RED
            if not fine and self._n >= SECONDS
            else Light.WAITING
        )
        sentence = _sentence(light, quality, bad, doubtful, left=SECONDS - self._good)
        if n_gaps:
            sentence += f" The stream had {n_gaps} gap{'s' if n_gaps > 1 else ''} so far."
        self.state = SignalCheck(light, sentence, tuple(worst), len(quality), len(bad))
        return self.state


def _sentence(
    light: Light,
    quality: tuple[ChannelQuality, ...],
    bad: list[ChannelQuality],
    doubtful: list[ChannelQuality],
    *,
    left: int,
) -> str:
    if light is Light.GREEN:
        rest = f" ({len(doubtful)} doubtful)" if doubtful else ""
        return f"All {len(quality)} channels can be used{rest}."
    if light is Light.WAITING:
        return f"Looking at {len(quality)} channels: {left} good seconds to go."
    n_poor, one = len(bad or doubtful), (bad or doubtful)[0]
    word = "bad" if bad else "doubtful"
    which = f"is {word}: " if n_poor == 1 else f"are {word}, such as "
    return (
        f"{n_poor} of {len(quality)} channels {which}{one.ch_name} ({one.reason}). "
        "Mend the contact, or go on knowingly."
    )
