"""Which part of a stream or a recording is meant, where it does not go without saying.

Owns what a person may choose, how it enters the settings, and the question that a recording of
several streams raises. Knows nothing of windows, of file formats or of LSL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.errors import AppError
from configs import SessionConfig


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What of a source is used, where it does not go without saying.

    `picks` are channels by label, `column` the markers' column with the label; `eeg` and `markers`
    are source_ids (or numbers, `#2`) of the streams meant in a recording that holds several.
    """

    picks: tuple[str, ...] = ()
    column: str = ""
    eeg: str = ""
    markers: str = ""

    @property
    def sentence(self) -> str:
        """What is set, in a few words."""
        words = [f"channels {', '.join(self.picks)}"] if self.picks else []
        words += [f"marker column {self.column}"] if self.column else []
        words += [f"recording's stream {self.eeg}"] if self.eeg else []
        words += [f"recording's markers {self.markers}"] if self.markers else []
        return "; ".join(words)

    def applied(self, config: SessionConfig, *, is_replay: bool) -> SessionConfig:
        """Put them into settings; what is not chosen stays as it was."""
        source: dict[str, object] = {"picks": self.picks} if self.picks else {}
        markers: dict[str, object] = {"column": self.column} if self.column else {}
        if is_replay and self.eeg:
            source |= {"source_id": self.eeg, "name": None}
        if is_replay and self.markers:
            markers |= {"source_id": self.markers, "name": None}
        return config.model_copy(
            update={
                "source": config.source.model_copy(update=source),
                "markers": config.markers.model_copy(update=markers),
            }
        )


NO_OPTIONS = SourceOptions()
"""Nothing was chosen."""


@dataclass(frozen=True, slots=True)
class RecordedStream:
    """A stream of a recording, to choose from; `key` names it in `SourceOptions`."""

    key: str
    name: str
    type: str
    source_id: str
    n_channels: int
    sfreq: float
    n_samples: int


class ChoiceNeededError(AppError):
    """Several streams of a recording fit, and only a person knows which is meant."""

    def __init__(
        self, sentence: str, *, is_markers: bool, streams: Sequence[RecordedStream]
    ) -> None:
        super().__init__(sentence)
        self.is_markers = is_markers
        self.streams = tuple(streams)

    def answered(self, options: SourceOptions, key: str) -> SourceOptions:
        """`options` with the stream `key` chosen."""
        return replace(options, markers=key) if self.is_markers else replace(options, eeg=key)
