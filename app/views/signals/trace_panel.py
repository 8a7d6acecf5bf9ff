"""The traces with their header: what stream it is, how healthy, and how to look at it.

Owns the controls of the traces. Each control writes to the model, and `refresh` writes the
model back to the controls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from app import formatting
from app.port import Phase, Snapshot
from app.view_models.signals.display_filter import DISPLAY_FILTERS
from app.view_models.signals.lanes import LANES
from app.view_models.signals.traces import WINDOWS, TraceMode, TraceModel
from app.view_models.signals.voxel_map import VoxelMap
from app.views.common.painted import Button, Combo, ElidedLabel, set_text, set_tone, text_label
from app.views.common.theme import DARK, Theme
from app.views.signals.trace_widget import TraceWidget
from app.views.signals.voxel_map_view import VoxelMapView
from pipeline.values import StreamState

SLOW_AGE = 0.5
"""Age of the newest sample from which it is shown as a warning, s."""
HIGH_LOSS = 0.01
T = TypeVar("T")


class TracePanel(QFrame):
    """Header, controls and traces."""

    def __init__(self, model: TraceModel, voxels: VoxelMap, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("card")
        self._model = model
        self._theme: Theme = DARK
        self._revision = -1
        self.traces = TraceWidget(model)
        self._voxels = voxels
        self.voxel_map = VoxelMapView(voxels)
        self.name = text_label("No stream", "title")
        self.state = text_label("", "small")
        self.facts = ElidedLabel("caption")
        self.age = text_label("", "caption")
        self.loss = text_label("", "caption")
        self.mode = Combo(small=True)
        self.window_length = Combo(small=True)
        self.display_filter = Combo(small=True)
        self.lanes = Combo(small=True)
        self.page_up = Button(icon_name="up", kind="plain", tip="Channels before (PgUp)")
        self.page_down = Button(icon_name="down", kind="plain", tip="Channels after (PgDown)")
        self.page = text_label("", "small")
        self.smaller = Button(icon_name="minus", kind="plain", tip="Smaller traces (-)")
        self.larger = Button(icon_name="plus", kind="plain", tip="Larger traces (+)")
        self.scale = text_label("", "small")
        self.pause = Button(icon_name="pause", kind="plain", tip="Pause the traces (P)")
        self._build()
        self._connect()

    def set_theme(self, theme: Theme) -> None:
        """Redraw the icons."""
        self._theme = theme

    def zoom(self, steps: int) -> None:
        """Make traces larger (`steps` > 0) or smaller."""
        self._after(self._model.zoom, steps)

    def toggle_pause(self) -> None:
        """Freeze the traces, or let them go on."""
        self._after(self._model.set_paused, not self._model.paused)

    def turn(self, pages: int) -> None:
        """Go to the channels after (before: negative) those in view."""
        self._after(self._model.turn, pages)
        self.refresh()

    def look_back(self, windows: float) -> None:
        """Move so many windows into the past while paused; negative: towards the newest."""
        self._after(self._model.scroll_back, round(windows * self._model.n_pixels))

    def refresh_facts(self, snapshot: Snapshot, *, replayed: bool = False) -> None:
        """Show a stream's health; `replayed`: it is a recording, which is not live."""
        if snapshot.eeg is None:
            set_text(self.name, "No stream")
            for label in (self.state, self.age, self.loss):
                set_text(label, "")
            self.facts.set_whole("")
            return
        set_text(self.name, snapshot.eeg.name)
        self._refresh_state(snapshot, "replay" if replayed else "")
        n_channels = snapshot.info.n_channels if snapshot.info else snapshot.eeg.n_channels
        rate = formatting.hertz(snapshot.info.sfreq if snapshot.info else snapshot.eeg.sfreq)
        effective = ""
        if snapshot.effective_sfreq is not None:
            effective = f" (effective {snapshot.effective_sfreq:.2f})"
        self.facts.set_whole(f"{n_channels} channels · {rate}{effective}")
        running = snapshot.phase in (Phase.STARTING, Phase.RUNNING, Phase.STOPPING)
        known = running and snapshot.newest_age is not None  # a recording's samples have no age
        age = f"newest sample {formatting.age(snapshot.newest_age)}" if known else ""
        set_text(self.age, age)
        old = snapshot.newest_age is not None and snapshot.newest_age > SLOW_AGE
        set_tone(self.age, "warn" if old and snapshot.phase is Phase.RUNNING else "")
        gaps = f" · {formatting.count(snapshot.n_gaps, 'gap')}" if snapshot.n_gaps else ""
        set_text(self.loss, f"loss {formatting.loss(snapshot)}{gaps}")
        total = snapshot.n_received + snapshot.n_lost
        set_tone(self.loss, "warn" if total and snapshot.n_lost / total > HIGH_LOSS else "")

    def refresh(self) -> None:
        """Paint the traces, and write the model back to the controls when it changed."""
        self._choose_plot()
        if self.voxel_map.isVisibleTo(self):
            self.voxel_map.refresh()
            return
        self.traces.refresh()
        model = self._model
        if self._revision == model.revision:
            return
        self._revision = model.revision
        shown, n_channels = model.shown, 0 if model.info is None else model.info.n_channels
        paged = len(shown) < n_channels
        for widget in (self.page_up, self.page_down, self.page):
            widget.setVisible(paged)
        self.page_up.setEnabled(shown.start > 0)
        self.page_down.setEnabled(shown.stop < n_channels)
        set_text(self.page, f"{shown.start + 1}–{shown.stop} of {n_channels}" if paged else "")
        for combo, at in (
            (self.lanes, _index(LANES, model.lanes.wanted)),
            (self.mode, 0 if model.mode is TraceMode.SWEEP else 1),
            (self.window_length, _index(WINDOWS, model.window)),
            (self.display_filter, _index(DISPLAY_FILTERS, model.filter_config)),
        ):
            if combo.currentIndex() != at:
                combo.setCurrentIndex(at)
        self.refresh_scale()

    def _choose_plot(self) -> None:
        """Show the map where the channels are voxels, else the traces with their controls."""
        is_map = self._voxels.info is not None
        if self.voxel_map.isVisibleTo(self) == is_map:
            return
        self.voxel_map.setVisible(is_map)
        for widget in self._of_traces:
            widget.setVisible(not is_map)
        self._revision = -1

    def refresh_scale(self) -> None:
        """Show the scale of what + and - act on, and whether the traces are paused."""
        model = self._model
        if model.selected is not None and model.info is not None:
            gain = float(model.gains[model.selected])
            set_text(self.scale, f"{model.info.ch_names[model.selected]} ×{gain:g}")
        else:
            set_text(self.scale, f"{model.scale_uv:g} µV")
        self.pause.set_icon_name("play" if model.paused else "pause", self._theme)

    def _refresh_state(self, snapshot: Snapshot, live: str) -> None:
        """Show the stream's state; `live` stands for the word of one that sends."""
        tones = {
            StreamState.STREAMING: "good",
            StreamState.RETURNED: "good",
            StreamState.STALLED: "warn",
            StreamState.LOST: "bad",
        }
        if snapshot.phase in (Phase.STOPPED, Phase.FAILED):
            set_text(self.state, "●  ended")
            set_tone(self.state, "")
            return
        words = formatting.state_words(snapshot.stream_state)
        set_text(self.state, f"●  {live if live and words == 'live' else words}")
        set_tone(self.state, tones.get(snapshot.stream_state, ""))

    def _build(self) -> None:
        for text in ("Sweep", "Scroll"):
            self.mode.addItem(text)
        for seconds in WINDOWS:
            self.window_length.addItem(f"{seconds:g} s")
        for count in LANES:
            names = {0: "Readable", None: "All channels"}
            self.lanes.addItem(names.get(count, f"{count} channels"))
        self.lanes.setToolTip("Channels in view at once; PgUp and PgDown go to the others")
        for config in DISPLAY_FILTERS:
            self.display_filter.addItem(config.name)
        self.mode.setToolTip("Sweep writes over the old, scroll moves everything")
        self.window_length.setToolTip("Length of the window")
        self.display_filter.setToolTip("Filter of the picture only; decoding has its own")
        self.scale.setMinimumWidth(48)
        top = QHBoxLayout()
        top.setSpacing(10)
        for label in (self.name, self.state):
            top.addWidget(label)
        top.addWidget(self.facts, 1)
        self.facts.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for label in (self.loss, self.age):
            top.addWidget(label)
        bottom = QHBoxLayout()
        bottom.setSpacing(6)
        for combo in (self.mode, self.window_length, self.display_filter, self.lanes):
            combo.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
            bottom.addWidget(combo)
        for widget in (self.page_up, self.page, self.page_down):
            widget.hide()
            bottom.addWidget(widget)
        bottom.addStretch(1)
        for widget in (self.smaller, self.scale, self.larger, self.pause):
            bottom.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(14, 10, 10, 8)
        layout.setSpacing(6)
        layout.addLayout(top)
        layout.addLayout(bottom)
        layout.addWidget(self.traces, 1)
        layout.addWidget(self.voxel_map, 1)
        self.voxel_map.hide()
        self._of_traces: tuple[QWidget, ...] = (
            self.traces,
            self.mode,
            self.window_length,
            self.display_filter,
            self.lanes,
            self.page_up,
            self.page,
            self.page_down,
            self.smaller,
            self.scale,
            self.larger,
            self.pause,
        )

    def _connect(self) -> None:
        model = self._model
        self.mode.activated.connect(
            lambda at: self._after(model.set_mode, (TraceMode.SWEEP, TraceMode.SCROLL)[at])
        )
        self.window_length.activated.connect(lambda at: self._after(model.set_window, WINDOWS[at]))
        self.display_filter.activated.connect(
            lambda at: self._after(model.set_filter, DISPLAY_FILTERS[at])
        )
        self.lanes.activated.connect(lambda at: self._after(model.set_lanes, LANES[at]))
        self.page_up.clicked.connect(lambda: self.turn(-1))
        self.page_down.clicked.connect(lambda: self.turn(1))
        self.smaller.clicked.connect(lambda: self.zoom(-1))
        self.larger.clicked.connect(lambda: self.zoom(1))
        self.pause.clicked.connect(self.toggle_pause)
        self.traces.scale_changed.connect(self.refresh_scale)

    def _after(self, change: Callable[[T], object], value: T) -> None:
        """Change the model, then show it."""
        change(value)
        self.refresh_scale()
        self.traces.refresh()
        self.traces.update()


def _index(choices: Sequence[object], value: object) -> int:
    """Where `value` stands among the choices; -1 when it is none of them."""
    return choices.index(value) if value in choices else -1
