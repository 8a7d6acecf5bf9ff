"""Paints views at the scale that QT_SCALE_FACTOR says and prints what it found as JSON.

Qt reads the factor at its start, so `test_view_hidpi` runs this as a program of its own.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from PySide6.QtWidgets import QApplication, QWidget

from app.view_models.signals.traces import TraceMode, TraceModel
from app.views.common.theme import DARK, apply_theme
from app.views.session.picture_view import PictureView
from app.views.signals.trace_widget import TraceWidget
from app.views.stimuli.window import StimulusWindow
from pipeline.values import Info
from tests.app.test_views import _Spike, pixels_of

SFREQ, SECONDS = 1000.0, 5.0


def device_pixels(widget: QWidget) -> np.ndarray:
    """What the widget paints, (height, width, 3) in the pixels of the screen."""
    return pixels_of(widget.grab().toImage())


def traces(mode: TraceMode) -> dict[str, Any]:
    """Compare the plot on the screen with the raster's own pixels, and look for the spike."""
    source = _Spike(SFREQ, 7000, 9001)
    model = TraceModel()
    model.window, model.mode = SECONDS, mode
    model.reset(Info(tuple(f"C{n}" for n in range(8)), SFREQ))
    model.set_scale(200.0)
    widget = TraceWidget(model)
    widget.resize(901, 481)
    widget.show()
    offsets = []
    for end in (500, 4000, 8101, 9001):
        source.end = end
        model.poll(source)
        widget.refresh()
        offsets.append(_differing(widget, model))
    plot, ratio = widget.plot, widget.devicePixelRatioF()
    lane = plot.height() / 8
    top = round((plot.top() + 1.9 * lane) * ratio)
    band = device_pixels(widget)[top : top + round(0.3 * lane * ratio)]
    color = np.array([int(DARK.traces[2][i : i + 2], 16) for i in (1, 3, 5)])
    near = np.abs(band.astype(int) - color).max(axis=2) < 40
    widget.close()
    return {
        "ratio": ratio,
        "columns": model.n_pixels,
        "plot_width": plot.width(),
        "differing": offsets,
        "spike": int(near.any(axis=1).sum()) / band.shape[0],
        "spike_width": int(near.any(axis=0).sum()),
    }


def _differing(widget: TraceWidget, model: TraceModel) -> int:
    """Pixels of the plot that are not the raster's, the sweep's cursor aside."""
    raster, ratio, plot = widget._raster, widget.devicePixelRatioF(), widget.plot
    assert raster is not None
    y, x = round(plot.top() * ratio), round(plot.left() * ratio)
    seen = device_pixels(widget)[y : y + raster.height, x : x + raster.width]
    packed = raster.pixels
    expected = np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=-1)
    columns = np.arange(raster.width)
    if model.mode is TraceMode.SWEEP:
        away = (columns - model.newest - 4 * ratio) % raster.width
        kept = (away > 24 * ratio) & (away < raster.width - 12 * ratio)
    else:
        if model.view_end >= raster.width - 1:
            expected = np.roll(expected, -(model.view_end + 1) % raster.width, axis=1)
        kept = columns >= 0
    return int((seen[:, kept] != expected[:, kept]).any(axis=2).sum())


def checks(side: int) -> np.ndarray:
    """Black and white by turns, as fine as pixels are: any blending turns it grey."""
    board = (np.indices((side, side)).sum(axis=0) % 2 * 255).astype(np.uint8)
    return np.repeat(board[:, :, None], 3, axis=2)


def picture() -> float:
    """Contrast of a picture as fine as the screen, 1: untouched, 0: blended away."""
    view = PictureView(minimum=40, radius=0)
    view.resize(101, 101)
    ratio = view.devicePixelRatioF()
    view.set_pixels(checks(round(101 * ratio)))
    found = device_pixels(view).astype(float)
    return float(found[4:-4, 4:-4].std() / 127.5)


def off_centre() -> float:
    """The same where the picture stands half a pixel off: it must not be blended."""
    view = PictureView(minimum=40, radius=0)
    view.resize(104, 101)
    ratio = view.devicePixelRatioF()
    view.set_pixels(checks(round(101 * ratio)))
    found = device_pixels(view).astype(float)
    middle = found.shape[1] // 2
    return float(found[8:-8, middle - 30 : middle + 30].std() / 127.5)


def stimulus() -> float:
    """The same of a stimulus."""
    sides: list[int] = []
    window = StimulusWindow(lambda _label: checks(sides[0]), surface="raster")
    window.resize(200, 300)
    sides.append(round(140 * window.devicePixelRatioF()))
    window.show()
    window.show_stimulus("checks")
    QApplication.processEvents()
    found = device_pixels(window).astype(float)
    y, x = (n // 2 for n in found.shape[:2])
    window.close()
    return float(found[y - 40 : y + 40, x - 40 : x + 40].std() / 127.5)


if __name__ == "__main__":
    app = QApplication(sys.argv[:1])
    apply_theme(app, DARK)
    found = {
        "sweep": traces(TraceMode.SWEEP),
        "scroll": traces(TraceMode.SCROLL),
        "picture": picture(),
        "off_centre": off_centre(),
        "stimulus": stimulus(),
    }
    sys.stdout.write(json.dumps(found))
