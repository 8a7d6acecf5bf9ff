"""From a marker packet to labels: text, JSON, numbers of any width, one-hot rows.

Owns what a marker is called and which cannot be read. Knows nothing of epochs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from configs.plain import encodable
from pipeline.errors import InfoError
from pipeline.values import Packet, StreamInfo

LONGEST = 65_536
"""Bytes of UTF-8; longer text is no label."""
SHOWN = 80
"""Characters of a refused text that are kept to show."""


_COLUMNS = "marker_columns"


def as_text(info: StreamInfo) -> StreamInfo:
    """Describe a marker stream whose samples are strings, one a sample.

    Several columns stand in one string with tabs between (`join_columns`); their names are kept.
    """
    if info.n_channels == 1:
        return replace(info, channel_format="string")
    names = info.ch_names or tuple(str(k + 1) for k in range(info.n_channels))
    rest = {key: value for key, value in info.desc.items() if key != "channels"}
    return replace(
        info,
        n_channels=1,
        channel_format="string",
        ch_names=(),
        ch_units=(),
        ch_types=(),
        desc=rest | {_COLUMNS: [{"column": list(names)}]},
    )


def join_columns(row: Sequence[str]) -> str:
    """One string for the values of a marker's columns."""
    return row[0] if len(row) == 1 else "\t".join(value.replace("\t", " ") for value in row)


def columns_of(info: StreamInfo) -> tuple[str, ...]:
    """Names of a marker stream's columns; a single one has none."""
    for tree in info.desc.get(_COLUMNS, ()):
        if isinstance(tree, dict) and isinstance(tree.get("column"), list):
            return tuple(map(str, tree["column"]))
    if info.channel_format == "string" or info.n_channels == 1:
        return ()
    return info.ch_names or tuple(str(k + 1) for k in range(info.n_channels))


class MarkerReader:
    """Reads the labels of one marker stream.

    A plain text is its own label; a JSON object gives its `label`; a whole number, in whatever
    numeric format, is that number in digits (`3`, `3.0` -> `"3"`); of a one-hot row (as
    mne-lsl's player sends annotations) the label is the name of its one channel that is not 0.
    Of several columns of text (value, time, duration) the first is the label.

    Parameters
    ----------
    stream : StreamInfo or None
    column : str
        Name or number (from 1) of the column that holds the label; empty: as above.

    Raises
    ------
    InfoError
        The stream has no such column.
    """

    def __init__(self, stream: StreamInfo | None, *, column: str = "") -> None:
        self._names = stream.ch_names if stream is not None else ()
        self._columns = columns_of(stream) if stream is not None else ()
        self._column = _place(column, stream, self._columns)
        # mne-lsl's player sends a single kind of annotation as one channel whose value is the
        # duration; anywhere else a single number is the label itself.
        self._is_one_hot = stream is not None and stream.type.lower() == "annotations"

    def read(self, packet: Packet) -> list[tuple[str, str]]:
        """Label of each sample and, for one that cannot be read, why (else empty)."""
        if isinstance(packet.samples, tuple):
            return [_from_text(self._cell(text)) for text in packet.samples]
        rows = packet.samples if packet.samples.ndim == 2 else packet.samples[:, None]
        if self._column is not None:
            return [_from_number(value) for value in rows[:, self._column].tolist()]
        if rows.shape[1] == 1 and not self._is_one_hot:
            return [_from_number(value) for value in rows[:, 0].tolist()]
        return [self._from_row(row) for row in rows.tolist()]

    @property
    def note(self) -> str:
        """Say which of several columns of text is read unasked; else empty."""
        if self._column is not None or not self._columns or self._names:
            return ""
        named = ", ".join(self._columns[:8])
        return (
            f"The markers have {len(self._columns)} columns ({named}); the first is their label "
            "(--marker-column, markers.column: another)."
        )

    def _cell(self, text: str) -> str:
        """Cut the label's column out of several; a manual marker has no others."""
        if not self._columns:
            return text
        cells = text.split("\t")
        return cells[self._column or 0] if len(cells) == len(self._columns) else cells[0]

    def _from_row(self, row: list[Any]) -> tuple[str, str]:
        if not all(math.isfinite(value) for value in row):
            return "", "the marker's row holds a value that is not finite"
        hot = [i for i, value in enumerate(row) if value != 0]
        if len(hot) != 1:
            return "", (
                f"the marker's row has {len(hot)} channels that are not 0, expected one: name "
                "the column of the label with --marker-column (markers.column)"
            )
        name = self._names[hot[0]].strip() if hot[0] < len(self._names) else ""
        return name or str(hot[0]), ""


def _place(column: str, stream: StreamInfo | None, names: tuple[str, ...]) -> int | None:
    """Position of the label's column; None: not chosen."""
    if not column or stream is None:
        return None
    known = names or stream.ch_names[:1] or ("1",)
    folded = [name.casefold() for name in known]
    if column.casefold() in folded:
        return folded.index(column.casefold())
    if column.isdecimal() and 1 <= int(column) <= len(known):
        return int(column) - 1
    raise InfoError(
        f"markers.column is {column!r}, which marker stream {stream.name!r} has not (it has "
        f"{', '.join(known[:8])}): give one of them or its number with --marker-column."
    )


def _from_text(text: str) -> tuple[str, str]:
    size = len(text.encode("utf-8", errors="replace"))
    if size > LONGEST:
        return text[:SHOWN], f"the marker has {size} bytes, expected at most {LONGEST}"
    label = text.strip("\x00 \t\r\n")
    if label.startswith("{"):
        try:
            found = json.loads(label)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict) and isinstance(found.get("label"), str | int | float):
            label = encodable(str(found["label"])).strip()  # JSON escapes can hold a surrogate
    if not label:
        return "", "the marker is empty"
    return label, ""


def _from_number(value: float) -> tuple[str, str]:
    if not math.isfinite(value):
        return str(value), f"the marker is {value}, expected a finite number"
    return (str(int(value)) if value == int(value) else f"{value:g}"), ""
