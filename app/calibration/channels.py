"""Which channels a calibration uses: those that hardly any epoch lacks.

Owns the rule, and the sentence on what is left out. A channel that is bad for most of a recording
costs itself, not its trials; one that is bad now and then is estimated from the others there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from pipeline.interpolation import channel_covariance, filled, may_fill
from pipeline.values import Epoch

LACKING = 0.1
"""A channel that a larger share of the epochs lacks is left out of all."""
SHOWN = 8


@dataclass(frozen=True, slots=True)
class ChannelUse:
    """Channels of a calibration.

    Attributes
    ----------
    used : tuple of str
    left_out : dict of str to float
        The others, with the share of the epochs that lack them.
    n_filled : int
        Epochs of which a used channel was estimated from the others.
    """

    used: tuple[str, ...] = ()
    left_out: dict[str, float] = field(default_factory=dict)
    n_filled: int = 0

    @property
    def sentences(self) -> tuple[str, ...]:
        """What to tell; empty where every epoch has every channel."""
        said = []
        if self.left_out:
            worst = sorted(self.left_out.items(), key=lambda each: -each[1])
            names = ", ".join(f"{name} ({share:.0%})" for name, share in worst[:SHOWN])
            more = f" and {len(worst) - SHOWN} more" if len(worst) > SHOWN else ""
            said.append(
                f"Left out: {names}{more}. In brackets the share of the epochs in which the "
                "channel cannot be used, or is not there."
            )
        if self.n_filled:
            said.append(
                f"In {self.n_filled} epochs a channel swung too far and was estimated from the "
                "others."
            )
        return tuple(said)


def use_of(epochs: Sequence[Epoch], known: Iterable[str] = ()) -> ChannelUse:
    """Choose the channels for these epochs; `known` are all that there are, in their order."""
    counts = Counter(name for epoch in epochs for name in epoch.info.ch_names)
    widest = max(epochs, key=lambda epoch: epoch.info.n_channels).info.ch_names
    order = dict.fromkeys((*known, *widest, *counts))
    lacking = {name: 1 - counts[name] / len(epochs) for name in order}
    used = tuple(name for name in order if lacking[name] <= LACKING)
    left_out = {name: round(lacking[name], 4) for name in order if name not in used}
    n_filled = sum(not set(used).issubset(epoch.info.ch_names) for epoch in epochs)
    return ChannelUse(used, left_out, n_filled)


def with_channels(epochs: Sequence[Epoch], names: Sequence[str]) -> list[Epoch | None]:
    """Return each epoch with these channels; None for one that lacks too many of them."""
    covariance = None
    found: list[Epoch | None] = []
    for epoch in epochs:
        n_missing = len(set(names).difference(epoch.info.ch_names))
        if not n_missing:
            found.append(only(epoch, names))
        elif may_fill(n_missing, len(names)):
            if covariance is None:
                covariance = channel_covariance(epochs, names)
            found.append(filled(epoch, names, covariance))
        else:
            found.append(None)
    return found


def only(epoch: Epoch, names: Sequence[str]) -> Epoch:
    """Return the epoch with these of its channels, in this order."""
    if epoch.info.ch_names == tuple(names):
        return epoch
    rows = [epoch.info.ch_names.index(name) for name in names]
    types = tuple(epoch.info.ch_types[row] for row in rows)
    info = replace(epoch.info, ch_names=tuple(names), ch_types=types)
    return replace(epoch, data=epoch.data[rows].copy(), info=info)
