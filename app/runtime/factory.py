"""What the window asks to make sessions; satisfies `app.session_factory.SessionFactory`.

The runtime (LSL, SciPy) is imported when a session is asked for, in the worker thread that asks:
the window stands a second earlier.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from app.foreign import without_foreign_fallback
from app.source_options import NO_OPTIONS, ChoiceNeededError, RecordedStream, SourceOptions
from configs import LoadedConfig, SessionConfig, read_config
from pipeline.values import StreamInfo

if TYPE_CHECKING:
    from app.runtime.session import Session
    from devices.choosing import SeveralStreamsError


_LOG = logging.getLogger(__name__)


class RuntimeFactory:
    """Makes real sessions; `out` names the folder of the first one, the rest are named by date."""

    def __init__(self, *, out: Path | None = None, duration: float | None = None) -> None:
        self._out = out
        self._duration = duration
        self._root = Path("sessions")

    def keep_in(self, folder: Path) -> None:
        """Make the folders of coming sessions below `folder`."""
        self._root = folder

    def _take_out(self) -> Path | None:
        out, self._out = self._out, None
        return out

    def discover(self) -> Sequence[StreamInfo]:
        """Streams in reach; takes a second, so call it off the GUI thread."""
        from app.runtime.launch import discover

        return discover()

    def demo(self, config: SessionConfig) -> Session:
        """A session on a new virtual headset; takes some seconds, so call it off the GUI thread."""
        from app.runtime.launch import demo_session

        return demo_session(config, out=self._take_out(), root=self._root, duration=self._duration)

    def live(self, config: SessionConfig) -> Session:
        """A session on a stream in reach."""
        from app.runtime.launch import live_session

        return live_session(
            config,
            out=self._take_out(),
            root=self._root,
            duration=self._duration,
            needs_viewer=True,
        )

    def replay(
        self, path: Path, config: SessionConfig, options: SourceOptions = NO_OPTIONS
    ) -> Session:
        """A session on a recording, at its own pace.

        A `session.toml` beside it wins, but for what the person chose of this recording.

        Raises
        ------
        ChoiceNeededError
            Several streams fit.
        """
        loaded, beside = LoadedConfig(config), path.parent / "session.toml"
        if path.suffix.lower() == ".xdf" and beside.is_file():
            loaded = read_config(beside)
            own, sentence = without_foreign_fallback(loaded, beside)
            loaded = replace(loaded, config=own)
            for each in (*loaded.warnings, sentence):
                if each:
                    _LOG.warning("%s", each)
        from app.runtime.launch import choice_of, replay_session
        from devices.choosing import SeveralStreamsError

        config = options.applied(loaded.config, is_replay=True)
        try:
            return replay_session(
                config,
                path,
                out=self._take_out(),
                root=self._root,
                speed=1.0,
                choice=choice_of(config, options),
                recorded=loaded.run,
            )
        except SeveralStreamsError as error:
            raise _question(error) from error


def _question(error: SeveralStreamsError) -> ChoiceNeededError:
    streams = [
        RecordedStream(
            # The number alone is a stream's own: source_ids may be twins, or empty.
            key=f"#{each.number}",
            name=each.info.name,
            type=each.info.type,
            source_id=each.info.source_id,
            n_channels=each.info.n_channels,
            sfreq=each.info.sfreq,
            n_samples=each.n_samples,
        )
        for each in error.streams
    ]
    return ChoiceNeededError(str(error), is_markers=error.is_markers, streams=streams)
