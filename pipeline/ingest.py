"""From the wire to microvolts: channel picks, labels, units, values that are not finite.

Owns what is read out of an EEG `Packet`, and whether the stream says enough of itself to be used.
Knows nothing of time: stamps pass through.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.labels import canonical_label, difference
from configs.models import SourceConfig
from configs.units import unit_scale
from pipeline.counter import CounterPattern
from pipeline.electrodes import canonical_name
from pipeline.errors import InfoError, ShapeError
from pipeline.nearest import nearest, positions_of
from pipeline.scattered import NOMINAL_SFREQ
from pipeline.screening import ABSURD, NOT_FINITE
from pipeline.values import Float32, Float64, Info, Packet, StreamInfo
from pipeline.volumes import KIND

HIGHEST_RATE = 1e5
"""Hz, far above every amplifier: a header that says more would ask for all of the memory."""
VOLTAGES = frozenset({"", "eeg", "eog", "ecg", "emg", "ecog", "seeg", "dbs", "bio", "misc"})
"""Types of channels that are measured in volts, or taken for it: their unit must be known."""
_COUNTERS = frozenset({"counter", "samplecounter", "packetcounter", "packagecounter"})
"""Names, letters only, of channels that number the samples, whatever their type says."""
_LETTERED = re.compile("[A-H][1-9][0-9]?")
_CAP = "cap "
"""Before a label that is a cap's own, where the 10-05 system calls another place so."""
LARGEST_UV = 1e7
"""Ten volts: no electrode gives that, and a filter would need long to forget it."""


@dataclass(frozen=True, slots=True, eq=False)
class RawBlock:
    """One packet's EEG in microvolts, still on the sender's clock.

    Attributes
    ----------
    data : ndarray, shape (n_channels, n_times), float32, microvolts, finite
    stamps : ndarray, shape (n_times,), float64, s
    flags : ndarray, shape (n_times, n_channels), uint8
        Not 0 where a value was unusable (`pipeline.screening` says how) and the channel's last
        good one stands instead.
    counts : ndarray, shape (n_times,), float64, or None
    """

    data: Float32
    stamps: Float64
    flags: NDArray[np.uint8]
    counts: Float64 | None

    @property
    def bad(self) -> NDArray[np.bool_]:
        """Samples with an unusable value in any channel, shape (n_times,)."""
        return np.asarray(self.flags.any(axis=1))


class Ingest:
    """Reads packets of one EEG stream.

    Attributes
    ----------
    info : Info
        Of the picked channels, labels spelt as in the 10-05 system.
    display_names : tuple of str
        The same channels as the stream (or the user) spells them.
    note : str
        What to say of the labels, one sentence; else "".
    is_scattered : bool
        Whether its samples have no rate: responses of fMRI, one an event.
    counter_pattern : CounterPattern or None
        How the counting channel counts, where the stream describes it.

    Raises
    ------
    InfoError
        Labels, units or rate are missing, contradict each other or do not hold the picks.
    """

    def __init__(self, source: SourceConfig, stream: StreamInfo) -> None:
        names = _names(source, stream)
        types = _types(stream)
        counter = _counter(source, names)
        picks, shown = _picks(source, stream, names, types, counter)
        self._n_stream = stream.n_channels
        self._stream_name = stream.name
        self._picks = _as_slice(picks)
        self._counter = counter
        self.counter_pattern = CounterPattern.of_stream(stream.desc)
        self._scale = _scales(source, stream, names, types, picks)
        self._last = np.zeros(len(picks), dtype=np.float32)
        self.display_names = shown
        labels, self.note = as_electrodes(self.display_names)
        typed = () if source.picks else _typed(source, types)
        taken = {*picks, counter}
        left_out = ", ".join(names[i] for i in typed if i not in taken)
        if left_out:
            said = f"{left_out} counts samples, by its name, and is not taken for EEG."
            self.note = f"{self.note} {said}".strip()
        kinds = tuple(types[pick] or "eeg" for pick in picks)
        self.is_scattered = not (source.sfreq or stream.sfreq) and set(kinds) == {KIND}
        self.info = Info(
            ch_names=_unique(labels, stream),
            sfreq=NOMINAL_SFREQ if self.is_scattered else _rate(source, stream),
            ch_types=kinds,
        )

    @property
    def has_counter(self) -> bool:
        """Whether a channel counts the samples."""
        return self._counter is not None

    def read(self, packet: Packet) -> RawBlock:
        """Convert one packet.

        Raises
        ------
        ShapeError
            The packet has other channels than the stream declared, or holds text.
        """
        samples = packet.samples
        if not isinstance(samples, np.ndarray) or samples.ndim != 2:
            raise ShapeError(
                f"A packet of {self._stream_name!r} holds no numbers of shape (n_times, "
                "n_channels), expected EEG: choose another stream with --source-id or --name."
            )
        if samples.shape[1] != self._n_stream:
            raise ShapeError(
                f"A packet of {self._stream_name!r} has {samples.shape[1]} channels, expected "
                f"{self._n_stream} as the stream declared: connect to it anew."
            )
        counts = None if self._counter is None else samples[:, self._counter].astype(np.float64)
        data, flags = self._convert(samples)
        return RawBlock(data, packet.timestamps, flags, counts)

    def _convert(self, samples: NDArray[np.generic]) -> tuple[Float32, NDArray[np.uint8]]:
        picked = samples[:, self._picks]
        # Float32 from the wire is scaled in float32; all else (volts, counts) in float64.
        precise = picked if picked.dtype == np.float32 else picked.astype(np.float64)
        if self._scale is not None:
            precise = precise.astype(np.float64) * self._scale
        with np.errstate(over="ignore"):
            data: Float32 = np.array(precise.T, dtype=np.float32, order="C")
        # A comparison with NaN is False, so one test finds NaN, infinity and the absurd.
        good = np.abs(data) <= LARGEST_UV
        flags: NDArray[np.uint8] = np.zeros(data.T.shape, dtype=np.uint8)
        if not good.all():
            # A double that is too large for float32 is a number all the same.
            numbers = np.isfinite(precise)
            flags[~good.T] = NOT_FINITE
            flags[~good.T & numbers] = ABSURD
            self._hold_last(data, good)
        if data.shape[1]:
            self._last = data[:, -1].copy()
        return data, flags

    def _hold_last(self, data: Float32, good: NDArray[np.bool_]) -> None:
        """Put the last good value of its channel in place of each bad one."""
        position = np.where(good, np.arange(data.shape[1]), -1)
        np.maximum.accumulate(position, axis=1, out=position)
        held = np.take_along_axis(data, np.maximum(position, 0), axis=1)
        data[:] = np.where(position >= 0, held, self._last[:, np.newaxis])


def _names(source: SourceConfig, stream: StreamInfo) -> tuple[str, ...]:
    names = source.ch_names or stream.ch_names
    if not names:
        raise InfoError(
            f"Stream {stream.name!r} has {stream.n_channels} channels and no labels, expected a "
            "label a channel: usable only after montage and unit are given, so give --montage "
            "(source.ch_names) and, if it has none, --unit (source.unit)."
        )
    if len(names) != stream.n_channels:
        given = "source.ch_names (--montage)" if source.ch_names else f"stream {stream.name!r}"
        raise InfoError(
            f"{given} has {len(names)} labels for {stream.n_channels} channels, expected one a "
            "channel: give as many labels with --montage (source.ch_names)."
        )
    return tuple(names)


def as_electrodes(names: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The labels as electrodes, and what to say of those that are differences of two."""
    pairs = [difference(name) for name in names]
    if None not in pairs and len({pair[1] for pair in pairs if pair}) == 1 < len(pairs):
        # All against the same electrode: that is a reference.
        return tuple(pair[0] for pair in pairs if pair), ""
    labels = tuple(canonical_label(name) for name in names)
    bipolar = [name for name, pair in zip(names, pairs, strict=True) if pair]
    if not bipolar:
        return labels, ""
    more = f" and {len(bipolar) - 4} more" if len(bipolar) > 4 else ""
    return labels, (
        f"{', '.join(bipolar[:4])}{more} are differences between two electrodes (bipolar), "
        "expected each electrode against one reference: they are not taken for electrodes."
    )


def _types(stream: StreamInfo) -> tuple[str, ...]:
    if len(stream.ch_types) != stream.n_channels:
        return ("",) * stream.n_channels
    return tuple(word.strip().lower() for word in stream.ch_types)


def _find(label: str, names: tuple[str, ...]) -> int | None:
    """Position of a label: as it is spelt, in the 10-05 spelling, or whatever its reference is."""
    if label in names:
        return names.index(label)
    wanted = canonical_label(label.removeprefix(_CAP)).lower()
    found = [i for i, name in enumerate(names) if canonical_label(name).lower() == wanted]
    if not found and (site := canonical_name(label)) is not None:
        # `EEG T5-A1` is P7 against an ear; two of them would be a guess.
        found = [i for i, name in enumerate(names) if canonical_name(name) == site]
        found = found if len(found) == 1 else []
    return found[0] if found else None


def _counter(source: SourceConfig, names: tuple[str, ...]) -> int | None:
    if source.counter_channel is None:
        return None
    position = _find(source.counter_channel, names)
    if position is None:
        raise InfoError(
            f"source.counter_channel is {source.counter_channel!r}, expected one of "
            f"{', '.join(names)}: correct the label or leave it out."
        )
    return position


def _typed(source: SourceConfig, types: tuple[str, ...]) -> list[int]:
    """Channels that are meant, by their types.

    A stream that types nothing is taken whole; one that does, for its EEG, or for what the session
    was set to read (`source.type`: fMRI).
    """
    wanted = "eeg" if "eeg" in types else source.type.strip().lower() if any(types) else ""
    return [i for i, word in enumerate(types) if word == wanted]


def _counts(name: str) -> bool:
    return "".join(c for c in name.lower() if c.isalpha()) in _COUNTERS


def _picks(
    source: SourceConfig,
    stream: StreamInfo,
    names: tuple[str, ...],
    types: tuple[str, ...],
    counter: int | None,
) -> tuple[list[int], tuple[str, ...]]:
    """Channels that are used, and what each is called: as the stream does, or by its site."""
    if not source.picks:
        picks = [i for i in _typed(source, types) if i != counter]
        # Some programs type every column of their table as EEG.
        picks = [i for i in picks if not _counts(names[i])] or picks
        if not picks:
            raise InfoError(
                f"Stream {stream.name!r} has channels of type {', '.join(sorted(set(types)))} and "
                f"none of type {source.type}: name the channels to use with --picks "
                f"(source.picks); it has {', '.join(names[:16])}."
            )
        is_own = source.own_names and _is_lettered(names)
        return picks, tuple(
            f"{_CAP}{names[i]}" if is_own and canonical_name(names[i]) else names[i] for i in picks
        )
    places = positions_of(stream)
    own = [_find(label, names) for label in source.picks]
    near = [_nearest(label, stream, places) for label in source.picks]
    # Caps of 128 call other places C3 or D4: who names sites that are no labels means sites.
    has_own_names = 2 * sum(canonical_name(name) is not None for name in names) < len(names)
    is_no_label = any(o is None and n is not None for o, n in zip(own, near, strict=True))
    means_sites = source.own_names and has_own_names and is_no_label
    found: dict[int, str] = {}
    for label, position, site in zip(source.picks, own, near, strict=True):
        is_site = site is not None and (position is None or means_sites)
        pick = site if is_site else position
        if pick is None:
            raise InfoError(
                f"source.picks has {label!r}, which stream {stream.name!r} has not (it has "
                f"{', '.join(names)}): correct source.picks or source.ch_names."
            )
        if pick in found:
            raise InfoError(
                f"source.picks has {label!r}, for which stream {stream.name!r} has "
                f"{names[pick]!r}, as for another of them: leave one out."
            )
        is_called_so = (is_site and source.own_names) or label.startswith(_CAP)
        found[pick] = label if is_called_so else names[pick]
    return list(found), tuple(found.values())


def _is_lettered(names: tuple[str, ...]) -> bool:
    """Whether a cap numbers its electrodes in rows of its own: A1 to D32, as BioSemi's of 128."""
    rows = [name[0] for name in names if _LETTERED.fullmatch(name)]
    return 2 * len(rows) > len(names) and {"A", "B"}.issubset(rows)


def _nearest(label: str, stream: StreamInfo, places: Mapping[str, Float64]) -> int | None:
    """The channel at a site, by its position; the stream's own label says which one it is."""
    near = nearest(label, places)
    found = near is not None and near[0] in stream.ch_names
    return stream.ch_names.index(near[0]) if near is not None and found else None


def _scales(
    source: SourceConfig,
    stream: StreamInfo,
    names: tuple[str, ...],
    types: tuple[str, ...],
    picks: list[int],
) -> Float64 | None:
    """Factor to microvolts, shape (n_channels,); None when all are 1.

    What is no voltage (fMRI) is taken as it comes.
    """
    units = stream.ch_units if len(stream.ch_units) == stream.n_channels else ()
    scales = np.ones(len(picks))
    for i, pick in enumerate(picks):
        unit = source.unit or (units[pick] if units else "")
        scale = unit_scale(unit)
        if scale is None and types[pick] not in VOLTAGES:
            scale = 1.0  # percent, counts: its encoder says what it wants
        if scale is None:
            said = f"unit {unit!r}" if unit.strip() else "no unit"
            raise InfoError(
                f"Stream {stream.name!r} gives {said} for channel {names[pick]!r}, expected "
                "volts, millivolts, microvolts or nanovolts: usable only after montage and unit "
                "are given, so give --unit (source.unit)."
            )
        scales[i] = scale
    return None if (scales == 1.0).all() else scales


def _rate(source: SourceConfig, stream: StreamInfo) -> float:
    rate = source.sfreq or stream.sfreq
    if not (np.isfinite(rate) and rate > 0):
        raise InfoError(
            f"Stream {stream.name!r} declares {rate:g} Hz (irregular), expected a positive rate: "
            "give source.sfreq."
        )
    if rate > HIGHEST_RATE:
        raise InfoError(
            f"Stream {stream.name!r} declares {rate:g} Hz, expected at most {HIGHEST_RATE:g}: its "
            "header is damaged; give the true rate with source.sfreq."
        )
    return rate


def _unique(names: tuple[str, ...], stream: StreamInfo) -> tuple[str, ...]:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise InfoError(
            f"Stream {stream.name!r} has the label {', '.join(twice)} more than once (T3 is T7, "
            "T5 is P7), expected each once: give --montage (source.ch_names)."
        )
    return names


def _as_slice(picks: list[int]) -> slice | list[int]:
    """Neighbouring picks as a slice: a view instead of a copy."""
    if picks == list(range(picks[0], picks[0] + len(picks))):
        return slice(picks[0], picks[0] + len(picks))
    return picks
