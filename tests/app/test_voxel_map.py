"""Thousands of voxels in the window: a map and its spread, never a line each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from app.port import Outcome, Result, TraceBlock, TraceMarker
from app.view_models.signals.traces import TraceModel
from app.view_models.signals.voxel_map import VoxelMap
from app.views.session.picture_panel import PicturePanel
from app.views.session.retrieved_strip import RetrievedStrip
from app.views.signals.trace_panel import TracePanel
from pipeline.values import Info

V = 1500
INFO = Info(tuple(f"v{k}" for k in range(V)), 0.5, ("fmri",) * V)
RNG = np.random.default_rng(0)


class Scan:
    """Some samples of voxels, as a session has them."""

    def __init__(self, n_times: int) -> None:
        self.data = RNG.normal(size=(V, n_times)).astype(np.float32)

    def traces(self, since: int, limit: int) -> TraceBlock | None:
        n = self.data.shape[1]
        start = max(since, n - limit)
        if start >= n:
            return None
        return TraceBlock(self.data[:, start:], np.arange(start, n, dtype=np.float64), start)

    def trace_markers(self, since: int) -> Sequence[TraceMarker]:
        return ()


def test_the_map_is_the_newest_sample_in_the_recordings_order() -> None:
    model, scan = VoxelMap(), Scan(3)
    assert model.suits(INFO)
    assert not model.suits(Info(("Cz",), 250.0))
    model.reset(INFO)
    assert model.poll(scan)
    assert not model.poll(scan)
    np.testing.assert_array_equal(model.values, scan.data[:, -1])
    grid = model.grid(2.0)
    assert grid.size >= V
    assert 1.2 < grid.shape[1] / grid.shape[0] < 3.0
    flat = grid.reshape(-1)
    assert (flat[V:] == 128).all()
    order = np.argsort(scan.data[:, -1])
    assert flat[order[0]] < 10 < 240 < flat[order[-1]]
    np.testing.assert_allclose(model.spreads, np.sqrt((scan.data**2).mean(axis=0)), rtol=1e-5)
    assert "1500 voxels" in model.sentence


def test_voxels_that_are_all_0_have_a_map() -> None:
    model, scan = VoxelMap(), Scan(1)
    scan.data[:] = 0
    model.reset(INFO)
    model.poll(scan)
    assert (model.grid(1.0) == 128).all()


def test_the_panel_shows_the_map_instead_of_traces(qtbot: QtBot) -> None:
    traces, voxels, scan = TraceModel(n_pixels=100), VoxelMap(), Scan(4)
    panel = TracePanel(traces, voxels)
    qtbot.addWidget(panel)
    panel.resize(600, 300)
    panel.show()
    panel.refresh()
    assert panel.traces.isVisible()
    assert not panel.voxel_map.isVisible()
    voxels.reset(INFO)
    voxels.poll(scan)
    panel.refresh()
    assert panel.voxel_map.isVisible()
    assert not panel.traces.isVisible()
    assert not panel.lanes.isVisible()
    assert "1500 voxels" in panel.voxel_map.accessibleDescription()
    image = panel.voxel_map.grab().toImage()
    colours = {image.pixel(x, y) for x in range(0, 500, 7) for y in range(0, 150, 7)}
    assert len(colours) > 50
    voxels.reset(None)
    panel.refresh()
    assert panel.traces.isVisible()


def test_the_strip_ranks_what_was_retrieved(qtbot: QtBot) -> None:
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    strip = RetrievedStrip(lambda label: picture if label == "cat" else None)
    qtbot.addWidget(strip)
    strip.show()
    strip.set_values((("cat", 0.91), ("a street at night", 0.5)))
    assert strip.isVisible()
    assert strip.views[0].has_picture
    assert not strip.views[1].has_picture
    assert strip.words[0].text().startswith("0.91")
    strip.set_values(())
    assert not strip.isVisible()


def test_captions_keep_clear_of_the_pictures(qtbot: QtBot) -> None:
    """In the panel of a low window, with the strip and without."""
    window = QWidget()
    qtbot.addWidget(window)
    window.resize(432, 510)
    panel = PicturePanel(lambda _: np.zeros((8, 8, 3), dtype=np.uint8), window)
    panel.setGeometry(window.rect())
    window.show()
    for retrieved in ((("cat", 0.91),) * 5, ()):
        panel.show_result(
            Result(
                index=len(retrieved),
                label="cat",
                t_onset=0.0,
                outcome=Outcome.DECODED,
                rank=1,
                chance=0.01,
                top=(("cat", 0.5),) * 5,
                retrieved=retrieved,
            )
        )
        qtbot.wait(50)
        for view, words in ((panel.seen, panel.seen_label), (panel.decoded, panel.decoded_label)):
            assert view.geometry().bottom() < words.geometry().top()
