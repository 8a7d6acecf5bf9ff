"""How one picture becomes the next on the stage, and the fog where nothing is known.

Owns the frames between key frames. What is drawn is drawn by the decoder; here it is only mixed,
by light and not by code values, so that no dark dip lies between two pictures. Pure: time is an
argument.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.values import Uint8

LONGEST = 1.2
"""Longest way from one picture to the next, s."""
FOG_AFTER = 3.0
"""Without a new picture for so long, nothing is known, s."""
FADE = 1.5
"""How long fog takes to come, s."""
_SIZE = 96
_GRID = 6
_DRIFT = 0.05
"""Cells of the fog's grid that it drifts in a second."""
_TO_LIGHT = ((np.arange(256) / 255.0) ** 2.2).astype(np.float32)

Light = NDArray[np.float32]


class Motion:
    """Frames of the stage's picture; call `show` for key frames and `frame` for what to paint.

    Parameters
    ----------
    seed : int
        Of the fog.
    """

    def __init__(self, *, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._cells = rng.uniform(size=(2, _GRID, _GRID)).astype(np.float32)
        self._points: list[tuple[float, Light]] = []
        self._to: Light | None = None
        self._began = self._until = -math.inf
        self._last = -math.inf
        self._fog_from: float | None = None

    @property
    def is_fog(self) -> bool:
        """Whether there is nothing but fog to show."""
        return self._to is None

    def show(self, pixels: Uint8, now: float) -> None:
        """Move on to a picture, (height, width, 3) uint8, from what is seen at `now`, s."""
        target = _TO_LIGHT[pixels]
        start = self._light(now, target.shape[0])
        if start.shape != target.shape:  # of another size
            start = self._fog(now, target.shape[0])
        since = now - self._last
        self._points, self._to = [(0.0, start), (1.0, target)], target
        length = min(LONGEST, since if math.isfinite(since) else LONGEST)
        self._began, self._until, self._last = now, now + max(0.05, length), now
        self._fog_from = None

    def pass_by(self, pixels: Uint8, at: float, now: float) -> None:
        """Lead the way to the newest picture through another one, `at` a part of it, 0 to 1.

        What is seen at `now` does not jump; a picture that the way has passed is left out.
        """
        way = float(self._way(now))
        if self._to is None or pixels.shape != self._to.shape or not way < at < 1.0:
            return
        ahead = [(point, light) for point, light in self._points if point > way]
        ahead.append((at, _TO_LIGHT[pixels]))
        self._points = [(way, self._mixed(way)), *sorted(ahead, key=lambda each: each[0])]

    def forget(self, now: float) -> None:
        """Let fog come: what was shown was somebody else's."""
        if self._to is not None and self._fog_from is None:
            self._fog_from = now

    def frame(self, now: float) -> Uint8:
        """What to paint at `now`, s: (size, size, 3) uint8."""
        size = _SIZE if self._to is None else self._to.shape[0]
        light = self._light(now, size)
        pixels: Uint8 = np.clip(255.0 * light ** (1 / 2.2) + 0.5, 0, 255).astype(np.uint8)
        return pixels

    def _light(self, now: float, size: int) -> Light:
        if self._to is None:
            return self._fog(now, size)
        light = self._mixed(float(self._way(now)))
        fog_from = self._last + FOG_AFTER if self._fog_from is None else self._fog_from
        fog = _ease((now - fog_from) / FADE)
        if fog >= 1.0:
            self._points, self._to = [], None
            self._last = -math.inf
            return self._fog(now, size)
        if fog > 0.0:
            here = self._fog(now, light.shape[0])
            if here.shape == light.shape:
                light = light + np.float32(fog) * (here - light)
        return light

    def _way(self, now: float) -> NDArray[np.floating]:
        """How far on its way the picture is, 0 to 1."""
        return _ease((now - self._began) / max(1e-6, self._until - self._began))

    def _mixed(self, way: float) -> Light:
        """The light at a part of the way: between the two pictures that lie around it."""
        before, after = self._points[0], self._points[-1]
        for point in self._points:
            if point[0] > way:
                after = point
                break
            before = point
        part = (way - before[0]) / max(1e-6, after[0] - before[0])
        light: Light = before[1] + np.float32(min(1.0, part)) * (after[1] - before[1])
        return light

    def _fog(self, now: float, size: int) -> Light:
        """Slow clouds without a form, of the tone that the generator draws fog in."""
        mix = np.zeros((size, size), np.float32)
        for layer, way in zip(self._cells, (1.0, -0.6), strict=True):
            at = (np.arange(size) * (_GRID / size) + way * _DRIFT * now) % _GRID
            low = at.astype(int) % _GRID
            part = _ease(at - np.floor(at)).astype(np.float32)
            rows = layer[low] * (1 - part)[:, None] + layer[(low + 1) % _GRID] * part[:, None]
            columns = rows[:, low] * (1 - part) + rows[:, (low + 1) % _GRID] * part
            mix += columns
        tint = np.array([0.29, 0.31, 0.34], np.float32)
        light: Light = (0.82 + 0.18 * mix)[:, :, None] * tint
        return light


def _ease(part: NDArray[np.floating] | float) -> NDArray[np.floating]:
    """From 0 to 1 without a jolt at either end."""
    held = np.clip(part, 0.0, 1.0)
    smooth: NDArray[np.floating] = held * held * (3 - 2 * held)
    return smooth
