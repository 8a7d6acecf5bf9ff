"""`phosphene bench gui`: what a frame of traces costs, beside the viewers people have.

Owns the measurement: ours in sweep and in scroll mode, pyqtgraph's `setData` with its
peak downsampling, and the
drawing code of MNE-LSL's viewer, all in one process, taking turns frame by frame, on the same
samples and at the same size. Counted is the CPU time of the process from the samples' arrival to
the painted window. Ours includes its display filter; MNE-LSL's excludes its inlet and filter.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import numpy as np

from app.port import TraceBlock, TraceMarker
from pipeline.values import Float32, Float64

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

SIZE = (1280, 800)
BUFFER = 30.0
"""MNE-LSL's viewer keeps that many seconds."""
GOALS = {
    ("scroll", "mne-lsl viewer"): 4.0,
    ("scroll", "pyqtgraph"): 3.0,
    ("sweep", "mne-lsl viewer"): 30.0,
}
"""How many times less CPU time a frame may cost, at 64 channels and 1 kHz."""


class _Stream:
    """Samples that arrive by hand; ours asks it as it would ask a session."""

    def __init__(self, n_channels: int, sfreq: float) -> None:
        rng = np.random.default_rng(0)
        n_times = round(2 * BUFFER * sfreq)
        noise = rng.standard_normal((n_channels, n_times)).astype(np.float32)
        smooth = noise + np.roll(noise, 1, axis=1) + np.roll(noise, 2, axis=1)
        self._data: Float32 = np.asarray(12 * smooth, dtype=np.float32)
        self.sfreq = sfreq
        self.end = 0

    def latest(self, n_times: int) -> Float32:
        """The newest samples, shape (n_channels, n_times)."""
        return self._data[:, self.end - n_times : self.end]

    def traces(self, since: int, limit: int) -> TraceBlock | None:
        """As `SessionPort.traces`."""
        start = max(since, self.end - limit)
        if start >= self.end:
            return None
        stamps: Float64 = 1000.0 + np.arange(start, self.end) / self.sfreq
        return TraceBlock(self.latest(self.end - start), stamps, start)

    def trace_markers(self, since: int) -> list[TraceMarker]:
        """No markers."""
        _ = since
        return []


Frame = Callable[[], None]


def run_gui_bench(
    *,
    n_channels: int = 64,
    sfreq: float = 1000.0,
    window: float = 10.0,
    frame_ms: float = 20.0,
    n_frames: int = 60,
    n_warm: int = 5,
) -> dict[str, Any]:
    """Measure CPU milliseconds a frame; `rows` compares ours with each peer.

    Parameters
    ----------
    n_channels : int
    sfreq : float
        Hz.
    window : float
        Length of the traces, s.
    frame_ms : float
        New data a frame, ms.
    n_frames, n_warm : int
        Frames that are counted, and those before that are not.
    """
    app = _application()
    stream = _Stream(n_channels, sfreq)
    n_new = max(1, round(frame_ms * sfreq / 1000))
    stream.end = round(BUFFER * sfreq)
    frames, left_out = _contenders(stream, n_channels, window, n_new)
    times: dict[str, list[float]] = {name: [] for name in frames}
    for number in range(n_warm + n_frames):
        stream.end += n_new
        for name, frame in frames.items():
            app.processEvents()
            before = process_time()
            frame()
            app.processEvents()
            if number >= n_warm:
                times[name].append(1000 * (process_time() - before))
    result: dict[str, Any] = {
        "channels": n_channels,
        "sfreq": sfreq,
        "window_s": window,
        "frame_ms": frame_ms,
        "frames": n_frames,
        "cpu_ms_min_median": {
            name: [round(min(values), 3), round(median(values), 3)]
            for name, values in times.items()
        },
        "start_to_window_s": round(_start_to_window(), 2),
        "rows": _rows(times),
    }
    if left_out:
        result["left_out"] = left_out
    _close(app)
    return result


def _rows(times: dict[str, list[float]]) -> list[dict[str, Any]]:
    rows = []
    for mode in ("scroll", "sweep"):
        for peer in ("mne-lsl viewer", "pyqtgraph"):
            if peer not in times:
                continue
            ours, theirs = median(times[mode]), median(times[peer])
            goal = GOALS.get((mode, peer))
            ratio = theirs / ours
            rows.append(
                {
                    "what": f"CPU ms a frame, {mode} against {peer}",
                    "ours": round(ours, 3),
                    "peer": round(theirs, 3),
                    "ratio": round(ratio, 1),
                    "goal": goal,
                    "met": goal is None or ratio >= goal,
                }
            )
    return rows


def _contenders(
    stream: _Stream, n_channels: int, window: float, n_new: int
) -> tuple[dict[str, Frame], str]:
    frames = {
        "scroll": _ours(stream, n_channels, window, "scroll"),
        "sweep": _ours(stream, n_channels, window, "sweep"),
    }
    peers: dict[str, Callable[[], Frame]] = {
        "pyqtgraph": lambda: _pyqtgraph(stream, n_channels, window),
        "mne-lsl viewer": lambda: _mne_lsl(stream, n_channels, window, n_new),
    }
    left_out = []
    for name, peer in peers.items():
        try:
            frames[name] = peer()
        except ImportError as error:
            left_out.append(f"{name} ({error})")
    return frames, f"{', '.join(left_out)}; pip install 'phosphene[peers]'" if left_out else ""


def _ours(stream: _Stream, n_channels: int, window: float, mode: str) -> Frame:
    from app.view_models.signals.traces import TraceMode, TraceModel
    from app.views.signals.trace_widget import TraceWidget
    from pipeline.values import Info

    model = TraceModel()
    model.window, model.mode = window, TraceMode(mode)
    model.reset(Info(tuple(f"E{n}" for n in range(n_channels)), stream.sfreq))
    model.set_scale(100.0)
    widget = TraceWidget(model)
    widget.resize(*SIZE)
    widget.show()
    _KEPT.append(widget)

    def frame() -> None:
        model.poll(stream)
        widget.refresh()

    return frame


def _pyqtgraph(stream: _Stream, n_channels: int, window: float) -> Frame:
    """Every curve gets the whole window in every frame, thinned by pyqtgraph's own peak method."""
    import pyqtgraph

    plot = pyqtgraph.PlotWidget()
    plot.resize(*SIZE)
    plot.disableAutoRange()
    plot.setRange(xRange=[0, window], yRange=[-100.0 * n_channels, 100.0])
    n_times = round(window * stream.sfreq)
    x = np.arange(n_times) / stream.sfreq
    curves = [
        plot.plot(pen=pyqtgraph.mkPen(pyqtgraph.intColor(n, n_channels))) for n in range(n_channels)
    ]
    for curve in curves:
        curve.setDownsampling(auto=True, method="peak")
        curve.setClipToView(True)
    plot.show()
    _KEPT.append(plot)

    def frame() -> None:
        data = stream.latest(n_times)
        for number, curve in enumerate(curves):
            curve.setData(x, data[number] - 100.0 * number)

    return frame


def _mne_lsl(stream: _Stream, n_channels: int, window: float, n_new: int) -> Frame:
    """MNE-LSL's own canvas, driven frame by frame; its timer is not started."""
    os.environ.setdefault("QT_API", "pyside6")
    from mne_lsl.stream_viewer.backends.pyqtgraph import _BackendPyQtGraph

    class Scope:
        """What its canvas asks of its inlet."""

        def __init__(self) -> None:
            n_buffer = round(BUFFER * stream.sfreq)
            self.stream_name = "bench"
            self.sample_rate = stream.sfreq
            self.duration_buffer = BUFFER
            self.nb_channels = n_channels
            self.channels_labels = [f"E{n}" for n in range(n_channels)]
            self.selected_channels = list(range(n_channels))
            self.data_buffer = stream.latest(n_buffer).copy()
            self.trigger_buffer = np.zeros(n_buffer)
            self.ts_list: list[float] = []

        def update_loop(self) -> None:
            """Take the newest samples into its buffer, as it does after a pull."""
            self.ts_list = [0.0] * n_new
            self.data_buffer = np.roll(self.data_buffer, -n_new, axis=1)
            self.data_buffer[:, -n_new:] = stream.latest(n_new)

    canvas = _BackendPyQtGraph(Scope(), (0, 0, *SIZE), window, 100.0)
    _KEPT.append(canvas)

    def frame() -> None:
        canvas._update_loop()  # noqa: SLF001  the peer has no public way to draw one frame

    return frame


_KEPT: list[Any] = []
"""Windows of the contenders: Qt would close them with their last reference."""


def _application() -> QApplication:
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PySide6.QtWidgets import QApplication

    existing = QApplication.instance()
    return existing if isinstance(existing, QApplication) else QApplication(sys.argv[:1])


def _close(app: QApplication) -> None:
    for widget in _KEPT:
        widget.close()
    _KEPT.clear()
    app.processEvents()


def _start_to_window() -> float:
    """Start a fresh process up to its first painted window, s; torch must not be in it."""
    import subprocess

    code = (
        "import sys\n"
        "from PySide6.QtWidgets import QApplication\n"
        "app = QApplication(['bench'])\n"
        "from app.views.window.main_window import MainWindow\n"
        "from configs import SessionConfig\n"
        "class Factory:\n"
        "    discover = demo = live = replay = None\n"
        "window = MainWindow(Factory(), SessionConfig())\n"
        "window.show(); app.processEvents()\n"
        "assert 'torch' not in sys.modules\n"
        "window.close()\n"
    )
    before = perf_counter()
    subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True)
    return perf_counter() - before
