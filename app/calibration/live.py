"""The session behind a calibration: a real one, recorded as any, that shows pictures and collects.

Owns how it is opened (a stream in reach, a virtual headset, a virtual headset without waiting) and
when its presentation begins and ends. Knows nothing of signal checks, of training or of Qt.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from pylsl import local_clock

from app.calibration.collection import Collection, by_markers
from app.calibration.schedule import Planned, length
from app.runtime.launch import OWN_HEADSET, VirtualHeadset, accelerated_source, opener
from app.runtime.session import Session
from app.runtime.stimuli import Presentation, Presenter
from configs import SessionConfig
from devices.lsl.outlet import MarkerOutlet
from devices.virtual.boards import board_of
from pipeline.ports import Source

MARKERS_SOURCE_ID = "phosphene-stimuli"
"""Where a virtual headset listens by default."""
STREAM_PATIENCE = 60.0
"""A stream that is away for longer ends the collection; what was collected is kept, s."""


class LiveCalibration:
    """A session that waits with its pictures until it is told to begin.

    Parameters
    ----------
    config : SessionConfig
        With `source` naming the stream; `markers.source_id` is where our markers go.
    out : Path
        The session folder.
    collection : Collection
        Takes the epochs.
    may_present : callable
        Whether pictures would be seen by now.
    tend : callable
        Looks after a source of our own, as `Session`'s.
    open_source : callable or None
        Opens the stream, in the session's thread; None: one in reach.
    on_end : callable or None
        Called last.
    """

    def __init__(
        self,
        config: SessionConfig,
        *,
        out: Path,
        collection: Collection,
        may_present: Callable[[], bool] = lambda: True,
        tend: Callable[[], str] = lambda: "",
        open_source: Callable[[threading.Event], Source] | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self._planned: tuple[Planned, ...] = ()
        self._begun = threading.Event()
        self._presenter: Presenter | None = None
        self._on_end = on_end
        self._outlet = MarkerOutlet(
            name="phosphene-stimuli", source_id=config.markers.source_id or MARKERS_SOURCE_ID
        )
        self.session = Session(
            config,
            out=out,
            open_source=open_source or opener(config),
            clock=local_clock,
            make_presenter=self._make_presenter,
            may_present=lambda: self._begun.is_set() and may_present(),
            tend=tend,
            on_epoch=collection.take,
            on_end=self._end,
        )

    def begin(self, planned: Sequence[Planned]) -> None:
        """Show these pictures as soon as the session is ready."""
        self._planned = tuple(planned)
        self._begun.set()

    def end_early(self) -> None:
        """Show no more; what was shown is finished and kept."""
        if self._presenter is not None:
            self._presenter.stop()
        else:
            self.session.request_stop()

    @property
    def waits(self) -> bool:
        """Its pictures wait for `begin`."""
        return True

    @property
    def n_shown(self) -> int:
        """Pictures and catch trials shown so far."""
        return 0 if self._presenter is None else self._presenter.n_shown

    def _make_presenter(self) -> Presenter:
        shown = (Presentation(each.at, each.label, each.duration) for each in self._planned)
        self._presenter = Presenter(
            shown, push=self._outlet.push, clock=local_clock, patience=STREAM_PATIENCE
        )
        return self._presenter

    def _end(self) -> None:
        self._outlet.close()
        if self._on_end is not None:
            self._on_end()


class AcceleratedCalibration:
    """A virtual person without LSL and without waiting; its pictures are planned beforehand."""

    def __init__(
        self,
        config: SessionConfig,
        *,
        out: Path,
        collection: Collection,
        planned: Sequence[Planned],
    ) -> None:
        source = accelerated_source(
            config, ((each.at, each.label) for each in planned), duration=length(planned)
        )
        self.session = Session(
            config,
            out=out,
            open_source=lambda _stop: source,
            clock=local_clock,
            is_live=False,
            on_epoch=collection.take,
            on_end=source.close,
        )

    @property
    def waits(self) -> bool:
        """It has its pictures already."""
        return False

    @property
    def n_shown(self) -> int:
        """Pictures so far."""
        return self.session.snapshot().n_markers

    def begin(self, planned: Sequence[Planned]) -> None:
        """Nothing: it has begun."""

    def end_early(self) -> None:
        """End with what there is."""
        self.session.request_stop()


def open_stream(config: SessionConfig, *, out: Path, collection: Collection) -> LiveCalibration:
    """Open a calibration on a stream in reach and start it."""
    config = _quiet(config, config.markers.source_id or MARKERS_SOURCE_ID)
    live = LiveCalibration(config, out=out, collection=collection)
    live.session.start()
    return live


def open_virtual(config: SessionConfig, *, out: Path, collection: Collection) -> LiveCalibration:
    """Open a calibration on a virtual headset of its own, which its session starts."""
    board_of(config.simulation.board)  # an unknown board is said before anything is started
    token = uuid.uuid4().hex[:8]
    headset_id, markers_id = f"{OWN_HEADSET}{token}", f"phosphene-stimuli-{token}"
    source = config.source.model_copy(update={"source_id": headset_id, "name": None})
    config = _quiet(config.model_copy(update={"source": source}), markers_id)
    headset = VirtualHeadset(config, source_id=headset_id, markers_source_id=markers_id)
    live = LiveCalibration(
        config,
        out=out,
        collection=collection,
        may_present=headset.is_following,
        tend=headset.tend,
        open_source=headset.opener(config),
        on_end=headset.close,
    )
    live.session.start()
    return live


def open_accelerated(
    config: SessionConfig, *, out: Path, collection: Collection, planned: Sequence[Planned]
) -> AcceleratedCalibration:
    """Open a calibration of a virtual person that is over as soon as it is computed."""
    live = AcceleratedCalibration(
        _quiet(config, None), out=out, collection=collection, planned=planned
    )
    live.session.start()
    return live


def _quiet(config: SessionConfig, markers_id: str | None) -> SessionConfig:
    """Settings of a session that records and collects: with our stimuli, without an adapter."""
    return by_markers(config).model_copy(
        update={
            "markers": config.markers.model_copy(update={"source_id": markers_id, "name": None}),
            "stimuli": config.stimuli.model_copy(update={"enabled": True}),
            "decoder": config.decoder.model_copy(update={"adapter": None, "enabled": False}),
            "recording": config.recording.model_copy(update={"enabled": True}),
        }
    )
