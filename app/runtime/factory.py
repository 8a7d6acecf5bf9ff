"""What the window asks to make sessions; satisfies `app.view_models.factory.SessionFactory`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.runtime.launch import demo_session, discover, live_session, replay_session
from app.runtime.session import Session
from configs import SessionConfig
from pipeline.values import StreamInfo


class RuntimeFactory:
    """Makes real sessions; `out` names the folder of the first one, the rest are named by date."""

    def __init__(self, *, out: Path | None = None) -> None:
        self._out = out

    def _take_out(self) -> Path | None:
        out, self._out = self._out, None
        return out

    def discover(self) -> Sequence[StreamInfo]:
        """EEG streams in reach; takes a second, so call it off the GUI thread."""
        return discover()

    def demo(self, config: SessionConfig, *, duration: float | None = None) -> Session:
        """A session on a new virtual headset; takes some seconds, so call it off the GUI thread."""
        return demo_session(config, out=self._take_out(), duration=duration)

    def live(self, config: SessionConfig) -> Session:
        """A session on a stream in reach."""
        return live_session(config, out=self._take_out())

    def replay(self, config: SessionConfig, path: Path, *, speed: float | None = 1.0) -> Session:
        """A session on a recording."""
        return replay_session(config, path, out=self._take_out(), speed=speed)
