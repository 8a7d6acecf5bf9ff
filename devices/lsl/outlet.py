"""What Phosphene publishes: EEG, markers, decoded events, embeddings, signal quality.

Owns the outlets and their shapes on the wire. Stamps are `local_clock` seconds and given by the
caller; nothing here invents a time. Knows nothing of where the values come from.
"""

from __future__ import annotations

import itertools
import json
import platform
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pylsl
from numpy.typing import ArrayLike

from devices.errors import OutletError
from devices.lsl.hanging_up import hang_up
from devices.lsl.metadata import eeg_info, from_pylsl, single_channel_info, to_pylsl
from pipeline.values import StreamInfo


class Outlet:
    """An outlet that is closed for certain; base of the others.

    Parameters
    ----------
    info : StreamInfo
        What the stream says of itself.
    max_buffered : int
        What is kept for a receiver whose network breaks: seconds, or hundreds of samples for
        irregular streams.
    """

    def __init__(self, info: StreamInfo, *, max_buffered: int = 60) -> None:
        self._lock = threading.Lock()
        try:
            self._native: Any = pylsl.StreamOutlet(to_pylsl(info), max_buffered=max_buffered)
        except RuntimeError as error:
            raise OutletError(
                f"Outlet {info.name!r} cannot be opened ({error}), expected a free LSL port: end "
                "other LSL programs, or see `phosphene doctor`."
            ) from error
        self.info: StreamInfo = from_pylsl(self._native.get_info())

    def have_consumers(self) -> bool:
        """Whether anybody listens."""
        with self._lock:
            return bool(self._open().have_consumers())

    def wait_for_consumers(self, timeout: float) -> bool:
        """Wait up to `timeout` s for a listener; True when there is one."""
        with self._lock:
            native = self._open()
        return bool(native.wait_for_consumers(timeout))

    def close(self) -> None:
        """Withdraw the stream; what no receiver has fetched yet is gone. Safe to call twice."""
        withdraw(self)

    def taken(self) -> Any:
        """Give up pylsl's outlet, once; then None."""
        with self._lock:
            native, self._native = self._native, None
            return native

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Any:
        if self._native is None:
            raise OutletError(
                f"Outlet {self.info.name!r} is closed, expected an open one: push before close()."
            )
        return self._native

    def _push(self, sample: Sequence[Any], timestamp: float) -> None:
        with self._lock:
            self._open().push_sample(sample, timestamp)


def withdraw(*outlets: Outlet) -> None:
    """Close outlets together, which takes no longer than one."""
    natives = [native for each in outlets if (native := each.taken()) is not None]
    hang_up(*natives)
    natives.clear()  # pylsl destroys an outlet with its last reference


class EegOutlet(Outlet):
    """Publishes EEG, or any numbers at a rate; describe it with `metadata.eeg_info`."""

    def push(self, samples: ArrayLike, timestamps: ArrayLike) -> None:
        """Send a chunk.

        Parameters
        ----------
        samples : array, shape (n_times, n_channels)
            In the stream's unit; converted to its format.
        timestamps : array, shape (n_times,), or float
            Stamps, `local_clock` s; a number is the newest sample's, the others follow from the
            rate.

        Raises
        ------
        OutletError
            A wrong shape, or the outlet is closed.
        """
        data = np.asarray(samples)
        stamps = np.asarray(timestamps, dtype=np.float64)
        expected = f"(n_times, {self.info.n_channels})"
        if data.ndim != 2 or data.shape[1] != self.info.n_channels:
            raise OutletError(
                f"Samples for {self.info.name!r} have shape {data.shape}, expected {expected}: "
                "give one row a sample."
            )
        if stamps.ndim and stamps.shape != (len(data),):
            raise OutletError(
                f"Timestamps for {self.info.name!r} have shape {stamps.shape}, expected "
                f"({len(data)},): give one a sample, or the newest one's alone."
            )
        if len(data) == 0:
            return
        with self._lock:
            self._open().push_chunk(data, stamps.tolist())


class MarkerOutlet(Outlet):
    """Publishes markers: type `Markers`, one string a marker, no fixed rate."""

    def __init__(
        self,
        *,
        name: str = "phosphene-markers",
        source_id: str | None = None,
        desc: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            single_channel_info(
                name=name,
                stream_type="Markers",
                source_id=source_id or own_source_id(name),
                desc=desc,
            )
        )

    def push(self, label: str, timestamp: float) -> None:
        """Send one marker; `timestamp` is the event's own time, `local_clock` s."""
        self._push([label], timestamp)


class EventsOutlet(Outlet):
    """Publishes decoded events as JSON: one object an event, on one line."""

    def __init__(self, *, name: str = "phosphene-events", source_id: str | None = None) -> None:
        super().__init__(
            single_channel_info(
                # Not "Markers": our own decisions must not be taken for stimuli.
                name=name,
                stream_type="Events",
                source_id=source_id or own_source_id(name),
            )
        )

    def push(self, event: Mapping[str, Any], timestamp: float) -> None:
        """Send one event; `timestamp` is its onset, `local_clock` s.

        Raises
        ------
        OutletError
            The event holds something that JSON does not have (NaN, an array).
        """
        try:
            text = json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError) as error:
            raise OutletError(
                f"Event for {self.info.name!r} is no JSON ({error}), expected strings, finite "
                "numbers, lists and mappings: convert arrays with tolist()."
            ) from None
        self._push([text], timestamp)


class _VectorOutlet(Outlet):
    """Publishes one float32 vector at a time."""

    def push(self, vector: ArrayLike, timestamp: float) -> None:
        """Send one vector, shape (n_channels,), stamped `timestamp` (`local_clock` s).

        Raises
        ------
        OutletError
            A wrong shape, or the outlet is closed.
        """
        values = np.asarray(vector, dtype=np.float32)
        if values.shape != (self.info.n_channels,):
            raise OutletError(
                f"Vector for {self.info.name!r} has shape {values.shape}, expected "
                f"({self.info.n_channels},)."
            )
        self._push(values.tolist(), timestamp)


class EmbeddingOutlet(_VectorOutlet):
    """Publishes embeddings: `n_features` float32, one an epoch, stamped with its onset."""

    def __init__(
        self, n_features: int, *, name: str = "phosphene-embedding", source_id: str | None = None
    ) -> None:
        super().__init__(embedding_info(n_features, name=name, source_id=source_id))


class QualityOutlet(_VectorOutlet):
    """Publishes a quality of each EEG channel (0 bad .. 1 good), labelled as the channels are."""

    def __init__(
        self,
        ch_names: Sequence[str],
        *,
        name: str = "phosphene-quality",
        source_id: str | None = None,
    ) -> None:
        super().__init__(quality_info(ch_names, name=name, source_id=source_id))


class CodesOutlet(Outlet):
    """Publishes markers as numbers, one int32 a marker, for programs that take no text.

    MNE-LSL's `EpochsStream` takes it as its `event_stream`, with `event_channels="marker"` and the
    header's codes as `event_id`. A label that is a whole number from 1 to 32767 is that number;
    the others are numbered from 1 in the order of `labels`, then as they come.
    """

    def __init__(
        self,
        labels: Sequence[str] = (),
        *,
        name: str = "phosphene-codes",
        source_id: str | None = None,
    ) -> None:
        self.codes: dict[str, int] = {}
        """What was sent, or is known beforehand: label to number."""
        for label in sorted(labels, key=lambda text: not _is_code(text)):
            self._code(label)
        super().__init__(codes_info(self.codes, name=name, source_id=source_id))

    def push(self, label: str, timestamp: float) -> None:
        """Send a marker's number; `timestamp` is the event's own time, `local_clock` s."""
        self._push([self._code(label)], timestamp)

    def _code(self, label: str) -> int:
        if label not in self.codes:
            used = set(self.codes.values())
            own = int(label) if _is_code(label) else 0
            free = (number for number in itertools.count(1) if number not in used)
            self.codes[label] = own if own and own not in used else next(free)
        return self.codes[label]


def _is_code(label: str) -> bool:
    """Whether a label is a number that readers of 16 bits can hold."""
    return label.isascii() and label.isdecimal() and 1 <= int(label[:6]) <= 32767


def embedding_info(
    n_features: int, *, name: str = "phosphene-embedding", source_id: str | None = None
) -> StreamInfo:
    """Describe a stream of embeddings, published or recorded."""
    return StreamInfo(
        name=name,
        type="Embedding",
        source_id=source_id or own_source_id(name),
        n_channels=n_features,
        sfreq=0.0,
        channel_format="float32",
    )


def quality_info(
    ch_names: Sequence[str], *, name: str = "phosphene-quality", source_id: str | None = None
) -> StreamInfo:
    """Describe a stream of the channels' quality, published or recorded."""
    return eeg_info(
        name=name,
        source_id=source_id or own_source_id(name),
        ch_names=ch_names,
        sfreq=0.0,
        unit="none",
        ch_types=["misc"] * len(ch_names),
        stream_type="Quality",
    )


def codes_info(
    codes: Mapping[str, int], *, name: str = "phosphene-codes", source_id: str | None = None
) -> StreamInfo:
    """Describe a stream of markers as numbers; `codes` are those known beforehand."""
    table = [{"label": [label], "value": [str(value)]} for label, value in codes.items()]
    return eeg_info(
        name=name,
        source_id=source_id or own_source_id(name),
        ch_names=["marker"],
        sfreq=0.0,
        unit="none",
        ch_types=["stim"],
        channel_format="int32",
        # Not "Markers" or "Stim": a session that looks for its markers must not take these.
        stream_type="MarkerCodes",
        desc={"codes": [{"code": table}]} if table else {},
    )


def own_source_id(name: str, session: str = "") -> str:
    """Build a `source_id` of ours: of the machine, and of the `session` where that is given.

    Without one it is the same after a restart on this machine, and another elsewhere.
    """
    return "-".join(filter(None, (name, platform.node() or "localhost", session)))
