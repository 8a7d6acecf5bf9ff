"""The bytes that XDF 1.0 is made of: tags, signature, formats, and headers as XML.

Owns what writer and reader must agree on. Knows nothing of files, threads or sessions.
Layout of a chunk: `[n length bytes: 1, 4 or 8][length][tag: uint16][content]`, little-endian;
the length counts tag and content. Source: the XDF specification (github.com/sccn/xdf/wiki).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum
from typing import Any
from xml.etree import ElementTree

import numpy as np

from devices.lsl.metadata import canonical_unit
from pipeline.values import StreamInfo

MAGIC = b"XDF:"
BOUNDARY = bytes.fromhex("43a546dccbf5410fb30ed5467383cbe4")
"""The 16 bytes of a boundary chunk, at which a reader finds its way again after damage."""

FORMATS: Mapping[str, str] = {
    "int8": "<i1",
    "int16": "<i2",
    "int32": "<i4",
    "int64": "<i8",
    "float32": "<f4",
    "double64": "<f8",
}
"""NumPy's dtype string of each numeric channel format; `string` is the seventh format."""

MAX_CHANNELS = 100_000
"""A header that claims more is damaged: no headset has them, and memory must stay bounded."""

NOTE = "phosphene"
"""Child of `desc` in which our recorder notes the stream's role."""

# Characters that XML 1.0 cannot hold, even escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME = re.compile(r"[A-Za-z_][\w.-]*\Z")


class Tag(IntEnum):
    """Kinds of chunk."""

    FILE_HEADER = 1
    STREAM_HEADER = 2
    SAMPLES = 3
    CLOCK_OFFSET = 4
    BOUNDARY = 5
    STREAM_FOOTER = 6


def sample_dtype(channel_format: str, n_channels: int) -> np.dtype[Any]:
    """Record of one stamped sample: flag byte, stamp, values (packed, little-endian)."""
    return np.dtype(
        [("flag", "u1"), ("stamp", "<f8"), ("values", FORMATS[channel_format], (n_channels,))]
    )


def clean_text(text: str) -> str:
    """`text` without the characters that XML cannot hold."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def add_tree(parent: ElementTree.Element, tree: Mapping[str, Any]) -> None:
    """Append nested dicts, lists and strings below `parent`; a list repeats its key."""
    for key, value in tree.items():
        name = key if _NAME.match(key) else "_" + re.sub(r"[^\w.-]", "_", key)
        for item in value if isinstance(value, list | tuple) else (value,):
            child = ElementTree.SubElement(parent, name)
            if isinstance(item, Mapping):
                add_tree(child, item)
            elif item is not None:
                child.text = clean_text(str(item))


def read_tree(element: ElementTree.Element) -> dict[str, Any]:
    """An element's children as `{tag: [child, ...]}`, a child being such a dict or a string.

    The layout of `devices.lsl.metadata`, so that a live stream and its recording read alike.
    """
    tree: dict[str, Any] = {}
    for child in element:
        value: Any = read_tree(child) if len(child) else child.text or ""
        tree.setdefault(child.tag, []).append(value)
    return tree


def header_xml(info: StreamInfo, extra: Mapping[str, str] | None = None) -> bytes:
    """Stream header: what LSL's own header says, `desc` with labels, units and types included.

    `extra` goes to `desc/phosphene`: how our own reader knows a stream's role.
    """
    root = ElementTree.Element("info")
    add_tree(
        root,
        {
            "name": info.name,
            "type": info.type,
            "channel_count": info.n_channels,
            "channel_format": info.channel_format,
            "nominal_srate": repr(float(info.sfreq)),
            "source_id": info.source_id,
            "version": "1.1",
            "created_at": repr(float(info.created_at)),
            "uid": info.uid,
            "session_id": info.session_id,
            "hostname": info.hostname,
            "desc": _desc(info, extra),
        },
    )
    return write_xml(root)


def write_xml(root: ElementTree.Element) -> bytes:
    """An XML document of a header or footer."""
    body: bytes = ElementTree.tostring(root, encoding="us-ascii")
    return b'<?xml version="1.0"?>' + body.split(b"?>", 1)[-1].lstrip()


def _desc(info: StreamInfo, extra: Mapping[str, str] | None) -> dict[str, Any]:
    desc = {key: value for key, value in info.desc.items() if key != NOTE}
    if info.manufacturer and not {"manufacturer", "acquisition"} & set(desc):
        desc["manufacturer"] = info.manufacturer
    if "channels" not in desc and (info.ch_names or info.ch_units or info.ch_types):
        columns = {"label": info.ch_names, "unit": info.ch_units, "type": info.ch_types}
        desc["channels"] = {
            "channel": [
                {key: column[k] for key, column in columns.items() if k < len(column)}
                for k in range(info.n_channels)
            ]
        }
    if extra:
        desc[NOTE] = dict(extra)
    return desc


def parse_xml(content: bytes) -> ElementTree.Element:
    """Parse a header or footer.

    Raises
    ------
    ValueError
        Not XML, or XML that declares entities (the way to a "billion laughs").
    """
    text = content.decode("utf-8", "replace").rstrip("\0 \r\n\t")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("its XML declares a document type, which no XDF header needs")
    try:
        return ElementTree.fromstring(text)  # noqa: S314 (no document type: checked above)
    except ElementTree.ParseError as error:
        raise ValueError(f"its XML cannot be parsed ({error})") from error


def created_at(content: bytes) -> datetime | None:
    """When a file was begun, by its header; None where it does not say so readably."""
    try:
        return datetime.fromisoformat(text_of(read_tree(parse_xml(content)), "datetime"))
    except ValueError:
        return None


def header_info(root: ElementTree.Element) -> tuple[str, StreamInfo]:
    """Read a stream header: the role that our recorder noted (else `""`), and the info.

    Raises
    ------
    ValueError
        A required field is absent or impossible.
    """
    tree = read_tree(root)

    def text(key: str) -> str:
        return text_of(tree, key)

    n_channels = int(text("channel_count"))
    channel_format = text("channel_format")
    sfreq = float(text("nominal_srate") or 0)
    if not 0 < n_channels <= MAX_CHANNELS:
        raise ValueError(f"it declares {n_channels} channels, expected 1 to {MAX_CHANNELS}")
    if channel_format not in FORMATS and channel_format != "string":
        raise ValueError(f"it declares the unknown format {channel_format!r}")
    if not (np.isfinite(sfreq) and sfreq >= 0):
        raise ValueError(f"it declares a rate of {sfreq} Hz")
    desc = child_of(tree, "desc")
    role = text_of(child_of(desc, NOTE), "role")
    desc.pop(NOTE, None)
    channels = child_of(desc, "channels").get("channel", [])
    # A list of another length than the channels names nothing (200 labels for 8 channels).
    labels, types, units = _columns(channels if len(channels) == n_channels else [], text("type"))
    return role, StreamInfo(
        name=text("name"),
        type=text("type"),
        source_id=text("source_id"),
        n_channels=n_channels,
        sfreq=sfreq,
        channel_format=channel_format,
        uid=text("uid"),
        hostname=text("hostname"),
        session_id=text("session_id"),
        created_at=_float(text("created_at")),
        ch_names=labels,
        ch_units=units,
        ch_types=types,
        manufacturer=text_of(child_of(desc, "acquisition"), "manufacturer")
        or text_of(desc, "manufacturer"),
        desc=desc,
    )


def child_of(tree: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The first child `key` that has children itself; an empty dict when there is none."""
    values = tree.get(key) or [{}]
    return values[0] if isinstance(values[0], dict) else {}


def text_of(tree: Mapping[str, Any], key: str) -> str:
    """The text of the first child `key`; `""` when there is none."""
    values = tree.get(key) or [""]
    return values[0].strip() if isinstance(values[0], str) else ""


def _columns(
    channels: list[Any], stream_type: str
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Labels, types and units by the rules of `devices.lsl.metadata`."""
    nodes = [channel if isinstance(channel, dict) else {} for channel in channels]
    labels = tuple(text_of(node, "label") for node in nodes)
    types = tuple(text_of(node, "type").lower() for node in nodes)
    units = tuple(text_of(node, "unit") for node in nodes)
    types = tuple(kind or stream_type.lower() for kind in types) if any(types) else ()
    if any(units):
        kinds = types or ("",) * len(units)
        units = tuple(canonical_unit(u, kind) for u, kind in zip(units, kinds, strict=True))
    return labels if all(labels) else (), types, units if any(units) else ()


def _float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if np.isfinite(value) else 0.0
