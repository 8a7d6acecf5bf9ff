"""What the core asks of the parts around it: a `Source`, an `Encoder`, an `ImageSampler`.

Protocols only. `devices` satisfies `Source`, `models` the other two; neither is imported here,
so the core runs with neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pipeline.values import Embedding, Epoch, GeneratedImage, SourceItem, StreamInfo, StreamRole


@runtime_checkable
class Source(Protocol):
    """Streams of one session, live or recorded, as one sequence in order of arrival."""

    @property
    def streams(self) -> Mapping[StreamRole, StreamInfo]:
        """Infos of the open streams; EEG is always there."""
        ...

    @property
    def is_live(self) -> bool:
        """Whether `received_at` is the present (False for a replayed recording)."""
        ...

    def read(self, timeout: float) -> list[SourceItem]:
        """Wait up to `timeout` seconds for data; an empty list when none came.

        Blocks without polling. After the end it returns a `StateChange` `ENDED` once for each
        stream, then empty lists. Raises `SourceError` (devices) when the stream cannot go on.
        """
        ...

    def close(self) -> None:
        """Release the streams; safe to call twice and while `read` runs in another thread."""
        ...


@runtime_checkable
class Admitting(Protocol):
    """A source that refuses a lost stream's namesake of another host until somebody agrees."""

    @property
    def foreign_hosts(self) -> tuple[str, ...]:
        """Hosts of the namesakes that are refused now; empty while there are none."""
        ...

    def admit(self, host: str) -> None:
        """Take namesakes of `host` for the lost streams from now on. Safe from any thread."""
        ...


@runtime_checkable
class TakesMarkers(Protocol):
    """A source that a person can add a marker to, stamped now."""

    def inject_marker(self, label: str) -> float:
        """Add a marker and return its stamp (`local_clock`, s). Safe from any thread.

        Raises `SourceError` (devices) where the marker stream has no place for `label`.
        """
        ...


@runtime_checkable
class StatesWarnings(Protocol):
    """A source that says what is odd about what it reads; may grow until the end."""

    @property
    def warnings(self) -> Sequence[str]:
        """One sentence each."""
        ...


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """What an encoder wants and gives.

    `sfreq` Hz, `tmin`/`tmax` s from onset, `l_freq`/`h_freq` Hz are what it was trained on;
    `ch_names` empty means any labelled montage. `sha256` is of its weights. `space` names what
    the vectors mean: only a gallery of the same space can rank them; empty: a space of its own.
    `states_confidence` says whether its embeddings carry a confidence.
    """

    name: str
    sfreq: float
    tmin: float
    tmax: float
    l_freq: float | None
    h_freq: float | None
    n_features: int
    ch_names: tuple[str, ...] = ()
    sha256: str = ""
    space: str = ""
    states_confidence: bool = False


@runtime_checkable
class Encoder(Protocol):
    """Maps an epoch to an image embedding."""

    @property
    def spec(self) -> EncoderSpec:
        """What it wants and gives."""
        ...

    def encode(self, epoch: Epoch) -> Embedding:
        """Embed one epoch of any labelled montage and rate; deterministic."""
        ...


@runtime_checkable
class ImageSampler(Protocol):
    """Draws the picture of an embedding."""

    @property
    def sha256(self) -> str:
        """Hash of its weights."""
        ...

    def sample(self, embedding: Embedding, *, seed: int) -> GeneratedImage:
        """Draw; a pure function of the embedding, the seed and the sampler's settings."""
        ...


@runtime_checkable
class StatesOptions(Protocol):
    """A sampler that says which settings act on its pictures."""

    @property
    def options(self) -> Mapping[str, str | int | float]:
        """What acts beside the embedding and the seed, by name: `steps`, `guidance`, ..."""
        ...

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences on settings that do not act as one would think."""
        ...
