"""What a stream says of itself: `pylsl.StreamInfo` to and from `pipeline.values.StreamInfo`.

Owns the layout of `<desc>` (the XDF meta-data convention for EEG) and the words for units. Reads
whatever another program wrote without trusting it: the tree is walked through liblsl's own nodes,
never parsed again, with a budget of nodes and depth. Knows nothing of inlets, outlets or sockets.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pylsl

from configs.units import unit_name
from pipeline.values import StreamInfo

MAX_NODES = 50_000
"""Nodes of one `<desc>` that are read; a 256-channel cap with positions has about 4000."""
MAX_DEPTH = 16
"""Levels of one `<desc>` that are read."""

FORMAT_WORDS = {
    pylsl.cf_float32: "float32",
    pylsl.cf_double64: "double64",
    pylsl.cf_string: "string",
    pylsl.cf_int32: "int32",
    pylsl.cf_int16: "int16",
    pylsl.cf_int8: "int8",
    pylsl.cf_int64: "int64",
}

_POWERS = {"-6": "microvolts", "-3": "millivolts", "-9": "nanovolts", "0": "volts"}
# MNE-LSL writes the power of ten of the SI unit; for these types that unit is the volt. A stim
# channel's "0" says "no unit", not volts.
_VOLT_TYPES = {"", "eeg", "eog", "ecg", "emg", "ecog", "seeg", "dbs", "ref_eeg", "bio"}


def canonical_unit(word: str, ch_type: str = "eeg") -> str:
    """Return `microvolts`, `millivolts`, `volts` or `nanovolts` for their usual spellings.

    Other words come back as they are. MNE-LSL's powers of ten (`"-6"`) are understood for the
    channel types that are measured in volts.
    """
    plain = word.strip().lower()
    if plain.lstrip("+-").isdigit() and ch_type.lower() not in _VOLT_TYPES:
        return "none" if plain == "0" else word.strip()
    return _POWERS.get(plain) or unit_name(plain) or word.strip()


def from_pylsl(info: pylsl.StreamInfo) -> StreamInfo:
    """Read a stream's info, with its channels when `info` came from an inlet.

    Labels count only when there is exactly one a channel: a list of another length could be
    matched to the channels by guessing alone, so it is treated as missing.
    """
    n_channels = int(info.channel_count())
    desc = _read_desc(info)
    stream_type = info.type()
    channels = _channel_nodes(desc)
    if len(channels) != n_channels:
        channels = []
    ch_names = _labels(channels)
    ch_types = _types(channels, stream_type)
    return StreamInfo(
        name=info.name(),
        type=stream_type,
        source_id=info.source_id(),
        n_channels=n_channels,
        sfreq=float(info.nominal_srate()),
        channel_format=FORMAT_WORDS.get(info.channel_format(), "undefined"),
        uid=info.uid(),
        hostname=info.hostname(),
        session_id=info.session_id(),
        created_at=float(info.created_at()),
        ch_names=ch_names,
        ch_units=_units(channels, ch_types),
        ch_types=ch_types,
        manufacturer=_manufacturer(desc),
        desc=desc,
    )


def to_pylsl(info: StreamInfo) -> pylsl.StreamInfo:
    """Build the info of an outlet; labels, units, types and manufacturer go where readers look.

    What `info.desc` holds beside `channels` is written as well; the channels' own further
    children (positions, impedances) are kept when `desc` has one entry a channel.
    """
    built = pylsl.StreamInfo(
        name=info.name or "phosphene",
        type=info.type,
        channel_count=info.n_channels,
        nominal_srate=info.sfreq,
        channel_format=info.channel_format,
        source_id=info.source_id,
    )
    root = built.desc()
    rest = {key: value for key, value in info.desc.items() if key != "channels"}
    if info.manufacturer:
        rest.setdefault("manufacturer", [info.manufacturer])
        rest.setdefault("acquisition", [{"manufacturer": [info.manufacturer]}])
    _append(root, rest)
    if info.ch_names or info.ch_units or info.ch_types:
        _append_channels(root.append_child("channels"), info)
    return built


def eeg_info(
    *,
    name: str,
    source_id: str,
    ch_names: Sequence[str],
    sfreq: float,
    unit: str = "microvolts",
    ch_types: Sequence[str] | None = None,
    ch_units: Sequence[str] | None = None,
    manufacturer: str = "",
    channel_format: str = "float32",
    stream_type: str = "EEG",
    desc: Mapping[str, Any] | None = None,
) -> StreamInfo:
    """Describe an EEG stream that is to be published.

    `unit` is every channel's unless `ch_units` gives one a channel; `ch_types` are MNE's words
    (all `"eeg"` by default); `sfreq` is in Hz.
    """
    n_channels = len(ch_names)
    return StreamInfo(
        name=name,
        type=stream_type,
        source_id=source_id,
        n_channels=n_channels,
        sfreq=float(sfreq),
        channel_format=channel_format,
        ch_names=tuple(ch_names),
        ch_units=tuple(ch_units) if ch_units is not None else (unit,) * n_channels,
        ch_types=tuple(ch_types) if ch_types is not None else ("eeg",) * n_channels,
        manufacturer=manufacturer,
        desc=dict(desc or {}),
    )


def impedances(info: StreamInfo) -> dict[str, float | None]:
    """Impedances that a stream tells of its channels, kOhm; empty where it tells none.

    The XDF convention's `channel/impedance`; words that are no number, or none, give None.
    """
    found: dict[str, float | None] = {}
    nodes = _channel_nodes(info.desc)
    if len(nodes) != len(info.ch_names):
        return {}
    for label, node in zip(info.ch_names, nodes, strict=True):
        try:
            value = float(_text(node, "impedance"))
        except ValueError:
            value = math.nan
        found[label] = value if math.isfinite(value) and value >= 0 else None
    return found if any(value is not None for value in found.values()) else {}


def single_channel_info(
    *, name: str, stream_type: str, source_id: str, desc: Mapping[str, Any] | None = None
) -> StreamInfo:
    """Describe a stream of strings at no fixed rate (markers, decoded events)."""
    return StreamInfo(
        name=name,
        type=stream_type,
        source_id=source_id,
        n_channels=1,
        sfreq=0.0,
        channel_format="string",
        desc=dict(desc or {}),
    )


def _read_desc(info: pylsl.StreamInfo) -> dict[str, Any]:
    """Return `<desc>` as `{tag: [child, ...]}`, a child being such a dict or a string.

    The layout is pyxdf's, so that a live stream and its recording read alike.
    """
    budget = [MAX_NODES]
    tree = _read_children(info.desc(), budget, depth=0)
    return tree if isinstance(tree, dict) else {}


def _read_children(node: Any, budget: list[int], *, depth: int) -> dict[str, Any] | str:
    children: dict[str, Any] = {}
    text = ""
    child = node.first_child()
    while not child.empty() and budget[0] > 0:
        budget[0] -= 1
        if child.is_text():
            text += child.value()
        elif depth < MAX_DEPTH:
            value = _read_children(child, budget, depth=depth + 1)
            children.setdefault(child.name(), []).append(value)
        child = child.next_sibling()
    return children or text


def _first(node: Any, key: str) -> Any:
    """Return the first child `key` of a tree as `_read_desc` makes it, or `""`."""
    values = node.get(key) if isinstance(node, Mapping) else None
    if isinstance(values, list):
        return values[0] if values else ""
    return values if values is not None else ""


def _text(node: Any, key: str) -> str:
    value = _first(node, key)
    return value.strip() if isinstance(value, str) else ""


def _channel_nodes(desc: Mapping[str, Any]) -> list[Any]:
    channels = _first(desc, "channels")
    nodes = channels.get("channel", []) if isinstance(channels, Mapping) else []
    return nodes if isinstance(nodes, list) else [nodes]


def _labels(channels: Sequence[Any]) -> tuple[str, ...]:
    labels = tuple(_text(channel, "label") for channel in channels)
    return labels if all(labels) else ()


def _types(channels: Sequence[Any], stream_type: str) -> tuple[str, ...]:
    types = tuple(_text(channel, "type").lower() for channel in channels)
    if not any(types):
        return ()
    return tuple(ch_type or stream_type.lower() for ch_type in types)


def _units(channels: Sequence[Any], ch_types: Sequence[str]) -> tuple[str, ...]:
    words = [_text(channel, "unit") for channel in channels]
    if not any(words):
        return ()
    types = ch_types or [""] * len(words)
    return tuple(canonical_unit(word, kind) for word, kind in zip(words, types, strict=True))


def _manufacturer(desc: Mapping[str, Any]) -> str:
    return _text(_first(desc, "acquisition"), "manufacturer") or _text(desc, "manufacturer")


def _append(node: Any, tree: Mapping[str, Any]) -> None:
    for key, values in tree.items():
        for value in values if isinstance(values, (list, tuple)) else [values]:
            if isinstance(value, Mapping):
                _append(node.append_child(key), value)
            else:
                node.append_child_value(key, str(value))


def _append_channels(node: Any, info: StreamInfo) -> None:
    extras = _channel_nodes(info.desc)
    if len(extras) != info.n_channels:
        extras = [{}] * info.n_channels
    for index, extra in enumerate(extras):
        channel = node.append_child("channel")
        for key, values, upper in (
            ("label", info.ch_names, False),
            ("unit", info.ch_units, False),
            # The XDF convention writes types in capitals, MNE in lower case; readers fold case.
            ("type", info.ch_types, True),
        ):
            with contextlib.suppress(IndexError):
                value = values[index]
                channel.append_child_value(key, value.upper() if upper else value)
        if isinstance(extra, Mapping):
            known = ("label", "unit", "type")
            _append(channel, {key: value for key, value in extra.items() if key not in known})
