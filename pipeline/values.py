"""The values that flow: `Packet -> Epoch -> Embedding -> GeneratedImage`.

Owns their shapes, dtypes, units and clocks; a value that exists is valid. Knows nothing of
where data comes from (LSL, a file) or who computes on it. Every array is read-only.

One axis order `(n_channels, n_times)`, one unit (microvolts), one clock (seconds of LSL's
`local_clock`). Only a `Packet` is still native: as the wire delivered it, for the recorder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.plain import encodable
from pipeline.errors import InfoError, ShapeError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Uint8 = NDArray[np.uint8]


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view of `array` that refuses writes (the caller keeps no other view)."""
    view = array.view()
    view.flags.writeable = False
    return view


def to_float32(values: NDArray[Any], scale: Float64 | float | None = None) -> Float32:
    """Scaled numbers as float32: too large ones are infinite, which no epoch takes; no warning."""
    with np.errstate(over="ignore"):
        return np.asarray(values if scale is None else values * scale, dtype=np.float32)


def _freeze(owner: object, name: str, array: NDArray[Any]) -> None:
    object.__setattr__(owner, name, read_only(array))


@dataclass(frozen=True, slots=True)
class Info:
    """What a block of EEG is: the part of `mne.Info` that the core needs.

    Attributes
    ----------
    ch_names : tuple of str
        Unique labels, one a channel.
    sfreq : float
        Sampling rate, Hz.
    ch_types : tuple of str
        MNE's types (`"eeg"`, `"eog"`, `"emg"`, `"misc"`), one a channel; all EEG by default.
    """

    ch_names: tuple[str, ...]
    sfreq: float
    ch_types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no filter could use."""
        if not self.ch_types:
            object.__setattr__(self, "ch_types", ("eeg",) * len(self.ch_names))
        if len(set(self.ch_names)) != len(self.ch_names) or not self.ch_names:
            raise InfoError(
                f"Info.ch_names is {self.ch_names}, expected at least one label and none twice: "
                "give a montage with --montage or source.ch_names."
            )
        if len(self.ch_types) != len(self.ch_names):
            raise InfoError(
                f"Info has {len(self.ch_types)} ch_types for {len(self.ch_names)} ch_names: "
                "give one type a channel."
            )
        if not (np.isfinite(self.sfreq) and self.sfreq > 0):
            raise InfoError(
                f"Info.sfreq is {self.sfreq}, expected a positive rate in Hz: "
                "irregular streams (rate 0) cannot be filtered."
            )

    @property
    def n_channels(self) -> int:
        """Count of channels."""
        return len(self.ch_names)


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What an LSL stream says of itself, EEG or markers.

    `ch_names`, `ch_units` and `ch_types` are empty where the stream does not say
    (the OpenBCI GUI's outlet); `sfreq` 0 means irregular; `channel_format` is LSL's word
    (`"float32"`, `"double64"`, `"int32"`, `"string"`, ...).
    """

    name: str
    type: str
    source_id: str
    n_channels: int
    sfreq: float
    channel_format: str
    uid: str = ""
    hostname: str = ""
    session_id: str = ""
    created_at: float = 0.0
    ch_names: tuple[str, ...] = ()
    ch_units: tuple[str, ...] = ()
    ch_types: tuple[str, ...] = ()
    manufacturer: str = ""
    desc: Mapping[str, Any] = field(default_factory=dict)
    """The `<desc>` tree as nested dicts and lists of strings."""

    def __post_init__(self) -> None:
        """Take out of its texts what no file can hold."""
        for name in ("name", "type", "source_id", "hostname", "manufacturer"):
            object.__setattr__(self, name, encodable(getattr(self, name)))
        for name in ("ch_names", "ch_units", "ch_types"):
            object.__setattr__(self, name, tuple(map(encodable, getattr(self, name))))

    @property
    def is_simulated(self) -> bool:
        """Whether it says of itself that no person stands behind it."""
        return "simulation" in self.desc


class StreamRole(StrEnum):
    """Which part a stream plays in a session (also the key of its packets)."""

    EEG = "eeg"
    MARKERS = "markers"
    EVENTS = "events"
    """Our own decisions (JSON strings), recorded so that a replay repeats them."""
    EMBEDDING = "embedding"
    """What the encoder made of each epoch; ours, as `EVENTS`."""
    QUALITY = "quality"
    """Grade of each channel, once a second; ours, as `EVENTS`."""


OWN_ROLES = frozenset({StreamRole.EVENTS, StreamRole.EMBEDDING, StreamRole.QUALITY})
"""Streams that a session makes itself: a replay makes them anew."""


@dataclass(frozen=True, slots=True, eq=False)
class Packet:
    """One pull, as the wire delivered it: native format, native unit, raw stamps.

    Attributes
    ----------
    role : StreamRole
    samples : ndarray, shape (n_times, n_channels), native dtype, native unit; or tuple of str
        LSL's own order. One string a sample for string streams, such as UTF-8 can hold.
    timestamps : ndarray, shape (n_times,), float64
        Raw stamps in the *sender's* clock, s.
    received_at : float
        `local_clock` when the pull returned, s.
    """

    role: StreamRole
    samples: NDArray[Any] | tuple[str, ...]
    timestamps: Float64
    received_at: float

    def __post_init__(self) -> None:
        """Check that there is one stamp a sample."""
        if len(self.samples) != len(self.timestamps):
            raise ShapeError(
                f"Packet has {len(self.samples)} samples and {len(self.timestamps)} timestamps: "
                "give one stamp a sample."
            )
        if isinstance(self.samples, np.ndarray):
            _freeze(self, "samples", self.samples)
        else:
            object.__setattr__(self, "samples", tuple(map(encodable, self.samples)))
        _freeze(self, "timestamps", self.timestamps)


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """One clock probe of a stream: `local = sender + offset`.

    `measured_at` is `local_clock` at the probe (s), `offset` in s.
    """

    role: StreamRole
    measured_at: float
    offset: float


class StreamState(StrEnum):
    """State of a source's stream as the session sees it."""

    CONNECTING = "connecting"
    STREAMING = "streaming"
    STALLED = "stalled"
    LOST = "lost"
    RETURNED = "returned"
    SOUGHT = "sought"
    """A replay goes on at another place of its recording."""
    JOINED = "joined"
    """A recording was put together here: what follows is not the neighbour of what was before."""
    REFUSED = "refused"
    """Somebody marked the samples from `at` to `until` of a recording as unusable."""
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class StateChange:
    """A stream's state changed at `at` (`local_clock`, s); `reason` is one sentence.

    Of `REFUSED` the state holds until `until` (s), and `reason` is the mark's label. Of `JOINED`
    the samples go on at `until`; None: nobody knows how much is missing.
    """

    role: StreamRole
    state: StreamState
    at: float
    reason: str = ""
    until: float | None = None


SourceItem = Packet | ClockOffset | StateChange
"""What a `Source` yields, in the order of arrival; a recording keeps that order."""


@dataclass(frozen=True, slots=True)
class Marker:
    """One stimulus marker.

    `index` counts markers in order of arrival from 0; `t_onset` is the event on this machine's
    LSL clock (s), stimulus offset included; `label` is the event's name as text.
    """

    index: int
    t_onset: float
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class Epoch:
    """EEG around one event.

    Attributes
    ----------
    data : ndarray, shape (n_channels, n_times), float32, microvolts
    tmin, tmax : float
        First and last sample's time from onset, s (both included).
    t_onset : float
        LSL clock of this machine, s.
    event : str
        The marker's label; `""` for a free-running window.
    info : Info
    index : int
        The marker's index: a lost epoch is a gap in `index`.
    onset_error : float
        Time of the sample taken as onset minus `t_onset`, s (at most half a sample).
    quality : mapping
        Peak-to-peak in microvolts and the like, by name.
    """

    data: Float32
    tmin: float
    tmax: float
    t_onset: float
    event: str
    info: Info
    index: int
    onset_error: float = 0.0
    quality: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a wrong shape or dtype."""
        if self.data.ndim != 2 or self.data.shape[0] != self.info.n_channels:
            raise ShapeError(
                f"Epoch.data has shape {self.data.shape}, expected ({self.info.n_channels}, "
                "n_times): give one row a channel."
            )
        if self.data.dtype != np.float32:
            raise ShapeError(f"Epoch.data is {self.data.dtype}, expected float32 microvolts.")
        _freeze(self, "data", self.data)

    @property
    def times(self) -> Float64:
        """Times of the samples from onset, shape (n_times,), s."""
        n_times = self.data.shape[1]
        return self.tmin + np.arange(n_times, dtype=np.float64) / self.info.sfreq


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """What an encoder made of one epoch.

    `vector` is (n_features,) or (n_tokens, n_features), float32. `confidence` in 0..1 is what the
    encoder states about itself, None where it states nothing: nobody else may guess one. `classes`
    are probabilities in the order of the encoder's classes, empty where it decodes none.
    `condition` (n,) float32 is what the system's own generator draws with beside the vector, None
    where the vector is all: it is ranked by nobody, and leaves the decoder's process nowhere.
    """

    vector: Float32
    index: int
    t_onset: float
    confidence: float | None = None
    classes: tuple[float, ...] = ()
    condition: Float32 | None = None

    def __post_init__(self) -> None:
        """Refuse a wrong shape, dtype or a value that is not finite."""
        if self.vector.ndim not in (1, 2) or self.vector.dtype != np.float32:
            raise ShapeError(
                f"Embedding.vector is {self.vector.dtype} of shape {self.vector.shape}, "
                "expected float32 (n_features,) or (n_tokens, n_features)."
            )
        if not np.isfinite(self.vector).all():
            raise ShapeError(
                "Embedding.vector holds NaN or infinity, expected finite numbers: "
                "check the adapter and the epoch."
            )
        if self.confidence is not None and not 0.0 <= self.confidence <= 1.0:
            raise ShapeError(
                f"Embedding.confidence is {self.confidence}, expected 0 to 1: leave it out where "
                "the encoder states none."
            )
        _freeze(self, "vector", self.vector)
        if self.condition is not None:
            if self.condition.ndim != 1 or self.condition.dtype != np.float32:
                raise ShapeError(
                    f"Embedding.condition is {self.condition.dtype} of shape "
                    f"{self.condition.shape}, expected float32 (n,)."
                )
            _freeze(self, "condition", self.condition)


def length_of(vector: Float32) -> float:
    """Length of a vector, at most 1: the confidence of encoders whose vectors shrink in doubt."""
    return min(1.0, float(np.linalg.norm(vector)))


@dataclass(frozen=True, slots=True, eq=False)
class GeneratedImage:
    """One picture: `pixels` (height, width, 3) uint8 sRGB, made from `seed` and an embedding."""

    pixels: Uint8
    seed: int
    index: int
    t_onset: float

    def __post_init__(self) -> None:
        """Refuse a wrong shape or dtype."""
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.dtype != np.uint8:
            raise ShapeError(
                f"GeneratedImage.pixels is {self.pixels.dtype} of shape {self.pixels.shape}, "
                "expected uint8 (height, width, 3)."
            )
        _freeze(self, "pixels", self.pixels)


class Outcome(StrEnum):
    """How a marker ended; each marker ends in exactly one."""

    DECODED = "decoded"
    COLLECTED = "collected"
    """Cut and kept: the session decodes nothing (calibration)."""
    GAP = "gap"
    """Samples were lost inside the epoch."""
    ARTIFACT = "artifact"
    """Amplitude beyond `reject`, or below `flat`, values that were not finite, or a recording's
    own mark of bad samples."""
    SETTLING = "settling"
    """The filter had not settled after a start or a gap."""
    LATE = "late"
    """The marker came after its samples had left the buffer."""
    NO_DATA = "no_data"
    """The samples never came before the session ended."""
    FUTURE = "future"
    """The marker lies further ahead of the data than can be waited for."""
    INVALID = "invalid"
    """The marker cannot be read (empty, too long, NaN)."""
    IGNORED = "ignored"
    """Its label is not among `event_id`."""
    OVERLOAD = "overload"
    """The decoder was still busy and the queue was full."""
    FAILED = "failed"
    """The decoder failed on this epoch."""
    UNSURE = "unsure"
    """A look at a flickering grid ended without a decision."""


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """A marker's end as the epoch engine sees it.

    `outcome` is `DECODED` when an epoch was cut (decoding comes after), else the refusal;
    `epoch` is there when one was cut; `reason` is one sentence.
    """

    marker: Marker
    outcome: Outcome
    epoch: Epoch | None = None
    reason: str = ""
