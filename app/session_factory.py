"""How the window gets a session: the one door between the views and the runtime.

Owns the Protocol only; the runtime implements it. Neither Qt nor LSL is known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from app.port import SessionPort
from app.source_options import NO_OPTIONS, SourceOptions
from configs import SessionConfig
from pipeline.values import StreamInfo


class SessionFactory(Protocol):
    """Makes sessions and lists streams.

    Every method may block (it resolves streams, spawns processes), so the window calls it from
    a worker thread. A method raises a `PhospheneError` whose text is a sentence for the user. The
    sessions that come back are not started yet.
    """

    def keep_in(self, folder: Path) -> None:
        """Make the folders of coming sessions below `folder`; returns at once."""
        ...

    def discover(self) -> Sequence[StreamInfo]:
        """List the LSL streams in reach, EEG and markers, within about a second."""
        ...

    def demo(self, config: SessionConfig) -> SessionPort:
        """Make a session on a virtual headset of its own (`config.simulation`)."""
        ...

    def live(self, config: SessionConfig) -> SessionPort:
        """Make a session on the stream that `config.source` and `config.markers` name."""
        ...

    def replay(
        self, path: Path, config: SessionConfig, options: SourceOptions = NO_OPTIONS
    ) -> SessionPort:
        """Make a session that plays the recording at `path` as if it were live.

        `config` holds the window's settings; a `session.toml` beside the recording wins, but for
        what the person chose of this recording. Raises `ChoiceNeededError` where several of its
        streams fit.
        """
        ...
