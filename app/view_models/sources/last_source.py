"""The source of last time, as text that the window keeps between two starts.

Owns that text; a text of another version, or of another hand, is no source. Knows nothing of Qt and
does not ask whether the stream is still there: whoever starts on it does.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from app.view_models.sources.model import SourceChoice, SourceKind
from pipeline.values import StreamInfo


class _Stream(BaseModel):
    """What names a stream at the next start: its uid changes with each of its own starts."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)

    name: str
    type: str
    source_id: str
    n_channels: int
    sfreq: float
    channel_format: str
    ch_names: tuple[str, ...]
    ch_units: tuple[str, ...]

    @classmethod
    def of(cls, stream: StreamInfo | None) -> _Stream | None:
        """Keep a stream, where there is one."""
        return None if stream is None else cls.model_validate(stream)

    def info(self) -> StreamInfo:
        """Return it as a search would."""
        return StreamInfo(**self.model_dump())


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: SourceKind
    stream: _Stream | None = None
    markers: _Stream | None = None
    path: str | None = None
    ch_names: list[str] = []
    unit: str = ""


def source_text(choice: SourceChoice) -> str:
    """Return the text of a choice."""
    return _Source(
        kind=choice.kind,
        stream=_Stream.of(choice.stream),
        markers=_Stream.of(choice.markers),
        path=None if choice.path is None else str(choice.path.absolute()),
        ch_names=list(choice.ch_names),
        unit=choice.unit,
    ).model_dump_json()


def source_of(text: str) -> SourceChoice | None:
    """Return the choice of a text; None where it is none, or its recording is gone."""
    try:
        kept = _Source.model_validate_json(text)
    except ValidationError:
        return None
    if kept.kind is SourceKind.REPLAY and not (kept.path and Path(kept.path).is_file()):
        return None
    if kept.kind is SourceKind.LIVE and kept.stream is None:
        return None
    return SourceChoice(
        kept.kind,
        stream=None if kept.stream is None else kept.stream.info(),
        markers=None if kept.markers is None else kept.markers.info(),
        path=None if kept.path is None else Path(kept.path),
        ch_names=tuple(kept.ch_names),
        unit=kept.unit,
    )
