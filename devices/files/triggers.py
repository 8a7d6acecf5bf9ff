"""Trigger lines: from the level of a channel to the onsets of its codes.

Owns the resting level, the settling of a line, and which of several lines is meant. Knows nothing
of files. Sources: MNE's `find_events`; BioSemi's status channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_COMPOSITE: Final = ("sti101", "sti201", "sti014", "status", "trigger", "stim")
"""Lines that by habit hold the code of all others, most likely first."""
_SETTLES: Final = 0.008
"""A level that holds no longer than this on the way to another is the line settling, s."""

Codes = NDArray[np.int64]


def plain(name: str) -> str:
    """A channel's name without blanks and case."""
    return "".join(name.split()).lower()


def is_digital(values: NDArray[np.float64]) -> bool:
    """Whether a line has whole numbers: what is called a trigger may be an analogue signal."""
    known = values[np.isfinite(values)]
    return bool(np.all(np.abs(known - np.round(known)) < 0.01))


def codes_of(name: str, values: NDArray[np.float64]) -> Codes:
    """The line's values as codes: BioSemi's lower 16 bits; a negative one ran over 16 bits."""
    codes: Codes = np.round(np.nan_to_num(values)).astype(np.int64)
    if plain(name).startswith("status"):
        return codes & 0xFFFF
    return np.where((codes < 0) & (codes >= -(1 << 15)), codes + (1 << 16), codes)


def runs_of(codes: Codes) -> list[tuple[int, int, int]]:
    """Levels as `(code, first sample, number of samples)`."""
    starts = np.flatnonzero(np.diff(codes, prepend=codes[:1] - 1))
    lengths = np.diff([*starts.tolist(), len(codes)])
    return [
        (int(codes[at]), at, n) for at, n in zip(starts.tolist(), lengths.tolist(), strict=True)
    ]


def joined(parts: Sequence[list[tuple[int, int, int]]]) -> list[tuple[int, int, int]]:
    """The levels of a line that was read in parts."""
    runs: list[tuple[int, int, int]] = []
    for part in parts:
        for code, at, n in part:
            if runs and runs[-1][0] == code:
                runs[-1] = (code, runs[-1][1], runs[-1][2] + n)
            else:
                runs.append((code, at, n))
    return runs


def onsets(runs: list[tuple[int, int, int]], sfreq: float) -> list[tuple[int, int]]:
    """Where a code begins, as `(sample, code)`; the resting level and its returns are none."""
    if len(runs) < 2:
        return []
    rest = _resting_level(runs)
    longest = max(1, int(_SETTLES * sfreq))
    found: list[tuple[int, int]] = []
    since: int | None = None
    for k, (code, at, n) in enumerate(runs):
        follows = runs[k + 1][0] if k + 1 < len(runs) else rest
        if code == rest:
            since = None
            continue
        since = at if since is None else since
        if n <= longest and follows != rest:
            continue  # the line is on its way to the next level
        if k > 0:
            found.append((since, code))
        since = None
    return found


def _resting_level(runs: list[tuple[int, int, int]]) -> int:
    """The level the line goes back to; 0, or the first, where each code holds until the next."""
    times: dict[int, int] = {}
    visits: dict[int, int] = {}
    for code, _, n in runs:
        times[code] = times.get(code, 0) + n
        visits[code] = visits.get(code, 0) + 1
    longest = max(times, key=lambda code: times[code])
    if visits[longest] >= 0.4 * len(runs):
        return longest
    return 0 if 0 in times else runs[0][0]


def choose(found: Mapping[str, list[tuple[int, int]]]) -> tuple[str | None, str]:
    """The line that is meant, and what to say of it where there are several.

    Parameters
    ----------
    found : mapping of str to list
        Onsets by channel, as `onsets` gives them.
    """
    live = {name: events for name, events in found.items() if events}
    if len(live) < 2:
        return next(iter(live), None), ""
    habit = [name for word in _COMPOSITE for name in live if plain(name) == word]
    chosen = (habit or sorted(live, key=lambda n: (-len({c for _, c in live[n]}), -len(live[n]))))[
        0
    ]
    counts = ", ".join(f"{name} ({len(events)})" for name, events in live.items())
    return chosen, f"several trigger lines have events ({counts}); {chosen} is taken."
