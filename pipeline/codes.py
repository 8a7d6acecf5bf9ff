"""The codes that pictures flicker by: modulated Gold codes of 126 frames.

Owns the sequences, the choice among them, and the frames that they make on a screen. Knows nothing
of pictures or EEG. Two shift registers of six stages give 65 sequences of 63 bits that resemble
each other as little as sequences can; each bit is then crossed with a clock of twice the rate, so
that no light stays on or off for more than two frames (Gold 1967; Thielen et al. 2015).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from pipeline.errors import ConfigurationError
from pipeline.values import Uint8, read_only

CYCLE: Final = 126
"""Frames of one cycle; at 60 Hz 2.1 s."""
FRAME_RATE: Final = 60.0
"""Rate that the codes are made for, frames a second: a faster screen holds each for several."""
FLASH_FRAMES: Final = 9
"""Frames that one picture's flash lasts where they flash in turn; at 60 Hz 0.15 s."""
ROUNDS: Final = 10
"""Flashes of each picture in a look where they flash in turn, at most."""
FEWEST, MOST = 2, 64
"""Targets of a grid."""
_DEGREE: Final = 6
_TAPS: Final = ((6, 1), (6, 5, 2, 1))
"""A preferred pair: x^6 + x + 1 and x^6 + x^5 + x^2 + x + 1."""


def _register(taps: tuple[int, ...]) -> Uint8:
    """One period of a shift register: a maximum length sequence."""
    state = [1] * _DEGREE
    bits = []
    for _ in range(2**_DEGREE - 1):
        bits.append(state[-1])
        state = [sum(state[tap - 1] for tap in taps) % 2, *state[:-1]]
    return np.array(bits, dtype=np.uint8)


@lru_cache(maxsize=1)
def _all_codes() -> Uint8:
    first, second = (_register(taps) for taps in _TAPS)
    rows = [first, second, *(first ^ np.roll(second, k) for k in range(len(first)))]
    held = np.repeat(np.array(rows, dtype=np.uint8), 2, axis=1)
    clock = np.tile(np.array([1, 0], dtype=np.uint8), held.shape[1] // 2)
    return read_only(held ^ clock)


@lru_cache(maxsize=64)
def gold_codes(n_targets: int) -> Uint8:
    """Choose codes that resemble each other least when all begin together.

    Parameters
    ----------
    n_targets : int
        2 to 64.

    Returns
    -------
    ndarray, shape (n_targets, CYCLE), uint8
        1 where the target is bright.

    Raises
    ------
    ConfigurationError
        There are not so many.
    """
    if not FEWEST <= n_targets <= MOST:
        raise ConfigurationError(
            f"{n_targets} targets given, expected {FEWEST} to {MOST}: there are no more codes."
        )
    codes = _all_codes()
    signs = 2.0 * codes - 1.0
    likeness = np.abs(signs @ signs.T) / CYCLE
    np.fill_diagonal(likeness, 0.0)
    chosen = [0]
    worst = likeness[0].copy()
    while len(chosen) < n_targets:
        worst[chosen] = np.inf
        following = int(worst.argmin())
        chosen.append(following)
        worst = np.maximum(worst, likeness[following])
    return read_only(codes[chosen])


@lru_cache(maxsize=64)
def flash_codes(n_targets: int) -> Uint8:
    """Let one target flash in each frame: every one once a round, in rounds of mixed order.

    The first half of a round stays the first half of the next, so that no target flashes twice in
    less than half a round.

    Parameters
    ----------
    n_targets : int
        2 to 64.

    Returns
    -------
    ndarray, shape (n_targets, n_targets * ROUNDS), uint8
        1 where the target is bright.
    """
    rng = np.random.default_rng([0xF1A5, n_targets])
    halves = np.array_split(rng.permutation(n_targets), 2)
    rounds = [rng.permutation(half) for _ in range(ROUNDS) for half in halves]
    codes = np.zeros((n_targets, n_targets * ROUNDS), dtype=np.uint8)
    codes[np.concatenate(rounds), np.arange(codes.shape[1])] = 1
    return read_only(codes)


def decoys(codes: Uint8, n_wrong: int) -> Uint8:
    """Make codes that no target has, so that each target's has `n_wrong` others beside it.

    The pairs of frames of the targets' own codes in a mixed order: as bright, as quick, unrelated.

    Returns
    -------
    ndarray, shape (n_decoys, n_frames), uint8
    """
    n_decoys = max(0, n_wrong + 1 - len(codes))
    rng = np.random.default_rng([0xDEC0, *codes.shape])
    n_frames = codes.shape[1]
    pairs = np.arange(n_frames - n_frames % 2).reshape(-1, 2)
    rest = np.arange(n_frames - n_frames % 2, n_frames)
    rows = [
        codes[k % len(codes)][np.concatenate([pairs[rng.permutation(len(pairs))].ravel(), rest])]
        for k in range(n_decoys)
    ]
    return np.array(rows, dtype=np.uint8).reshape(n_decoys, n_frames)


def frames(codes: Uint8, first: int, stop: int) -> Uint8:
    """States of the targets in frames `first` to `stop` of a look.

    Returns
    -------
    ndarray, shape (stop - first, n_targets), uint8
    """
    numbers = np.arange(first, stop) % codes.shape[1]
    return np.ascontiguousarray(codes[:, numbers].T)
