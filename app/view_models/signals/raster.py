"""Columns to pixels: paints traces into an image held as an array.

Owns lanes, coverage and blending. Knows nothing of Qt: the widget wraps the array in a QImage
without a copy. The image is a ring of columns as well (column `k` at `k mod width`), so sweep
mode shows it as it is, and scroll mode shows it in two pieces; both paint new columns only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.view_models.signals.columns import ColumnStore
from app.view_models.signals.traces import TraceModel

N_LEVELS = 32
Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class RasterColors:
    """Colours of the plot, 8 bits a part."""

    background: Rgb
    grid: Rgb
    marker: Rgb
    gap: Rgb
    traces: tuple[Rgb, ...]
    bad: Rgb


class TraceRaster:
    """An image of traces, `pixels` (height, width) uint32 0xffRRGGBB."""

    def __init__(self, width: int, height: int, colors: RasterColors, *, ratio: float = 1.0):
        self.width = max(1, width)
        self.height = max(1, height)
        self.pixels: NDArray[np.uint32] = np.empty((self.height, self.width), dtype=np.uint32)
        self._colors = colors
        self._thickness = 1.25 * ratio
        self._background = _pack(colors.background)
        self.pixels[:] = self._background
        self._lut: NDArray[np.uint32] = np.empty((0, N_LEVELS + 1), dtype=np.uint32)
        self._revision = -1

    def paint(self, model: TraceModel) -> tuple[int, int] | None:
        """Bring the image up to date; return the absolute columns painted, or None."""
        store = model.store
        if store is None:
            if self._revision != model.revision:
                self._revision = model.revision
                self.pixels[:] = self._background
                return 0, self.width - 1
            return None
        changes = model.drain_changes()
        if self._revision != model.revision:
            self._revision = model.revision
            self._lut = self._shades(model)
            self.pixels[:] = self._background
            last = model.view_end
            first = max(last - self.width + 1, store.oldest)
        elif changes is None or model.back:
            return None
        else:
            first, last = changes
        if last >= first:
            self._paint_columns(model, store, first, last)
        return first, last

    def lane_centres(self, n_lanes: int) -> NDArray[np.float64]:
        """Height of each lane's zero line, px from the top."""
        return (np.arange(n_lanes) + 0.5) * self.height / max(1, n_lanes)

    def _shades(self, model: TraceModel) -> NDArray[np.uint32]:
        colors = self._colors
        n_channels = 0 if model.info is None else model.info.n_channels
        level = np.linspace(0.0, 1.0, N_LEVELS + 1)[:, None]
        back = np.array(colors.background, dtype=np.float64)
        table = np.empty((n_channels, N_LEVELS + 1), dtype=np.uint32)
        for channel in range(n_channels):
            rgb = colors.traces[channel % len(colors.traces)]
            if channel in model.bad or model.selected not in (None, channel):
                rgb = colors.bad
            mixed = np.rint(back + level * (np.array(rgb, dtype=np.float64) - back))
            red, green, blue = mixed.astype(np.uint32).T
            table[channel] = np.uint32(0xFF000000) | (red << 16) | (green << 8) | blue
        return table

    def _paint_columns(self, model: TraceModel, store: ColumnStore, first: int, last: int) -> None:
        numbers = np.arange(first, last + 1, dtype=np.intp)
        x = numbers % self.width
        slots = numbers % store.n_columns
        self._paint_background(model, store, numbers, x, slots)
        lanes = slice(model.shown.start, model.shown.stop)
        n_lanes = model.n_lanes
        scale = (self.height / n_lanes) / model.scale_uv * model.gains[lanes, None]
        centres = self.lane_centres(n_lanes)[:, None]
        top = centres - store.high[lanes, slots] * scale
        bottom = centres - store.low[lanes, slots] * scale
        self._paint_spans(top, bottom, x, self._lut[lanes])

    def _paint_background(
        self,
        model: TraceModel,
        store: ColumnStore,
        numbers: NDArray[np.intp],
        x: NDArray[np.intp],
        slots: NDArray[np.intp],
    ) -> None:
        self.pixels[:, x] = self._background
        sfreq = 1.0 if model.info is None else model.info.sfreq
        seconds = np.floor(numbers * store.samples_per_column / sfreq + 1e-6)
        before = np.floor((numbers - 1) * store.samples_per_column / sfreq + 1e-6)
        self.pixels[:, x[seconds != before]] = _pack(self._colors.grid)
        gaps = np.flatnonzero(store.gaps[slots])
        if gaps.size:
            rows = np.arange(self.height)[:, None]
            hatch = (rows + numbers[gaps][None, :]) % 8 < 2
            block = np.where(hatch, _pack(self._colors.gap), self._background)
            self.pixels[:, x[gaps]] = block
        for column in model.marker_columns(int(numbers[0]), int(numbers[-1])):
            self.pixels[:, column % self.width] = _pack(self._colors.marker)

    def _paint_spans(
        self,
        top: NDArray[np.float64],
        bottom: NDArray[np.float64],
        x: NDArray[np.intp],
        shades: NDArray[np.uint32],
    ) -> None:
        """Fill each column between `top` and `bottom`, edges blended by coverage."""
        thin = np.maximum(0.0, self._thickness - (bottom - top)) / 2
        top, bottom = top - thin, bottom + thin
        np.clip(top, 0.0, self.height, out=top)
        np.clip(bottom, 0.0, self.height, out=bottom)
        seen = np.isfinite(top) & (bottom > top)
        channel, column = np.nonzero(seen)
        if channel.size == 0:
            return
        upper, lower = top[seen], bottom[seen]
        begin = np.floor(upper).astype(np.intp)
        count = np.ceil(lower).astype(np.intp) - begin
        total = int(count.sum())
        owner = np.repeat(np.arange(count.size), count)
        offset = np.arange(total) - np.repeat(np.cumsum(count) - count, count)
        row = begin[owner] + offset
        cover = np.minimum(lower[owner], row + 1) - np.maximum(upper[owner], row)
        level = np.rint(cover * N_LEVELS).astype(np.intp)
        keep = level > 0
        owner, row, level = owner[keep], row[keep], level[keep]
        self.pixels[row, x[column[owner]]] = shades[channel[owner], level]


def _pack(rgb: Rgb) -> np.uint32:
    red, green, blue = rgb
    return np.uint32(0xFF000000 | (red << 16) | (green << 8) | blue)
