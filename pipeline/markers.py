"""From a marker packet to labels: text, JSON, numbers of any width, one-hot rows.

Owns what a marker is called and which cannot be read. Knows nothing of epochs.
"""

from __future__ import annotations

import json
import math
from typing import Any

from pipeline.values import Packet, StreamInfo

LONGEST = 65_536
"""Bytes of UTF-8; longer text is no label."""
SHOWN = 80
"""Characters of a refused text that are kept to show."""


class MarkerReader:
    """Reads the labels of one marker stream.

    A plain text is its own label; a JSON object gives its `label`; a whole number, in whatever
    numeric format, is that number in digits (`3`, `3.0` -> `"3"`); of a one-hot row (as
    mne-lsl's player sends annotations) the label is the name of its one channel that is not 0.
    """

    def __init__(self, stream: StreamInfo | None) -> None:
        self._names = stream.ch_names if stream is not None else ()
        # mne-lsl's player sends a single kind of annotation as one channel whose value is the
        # duration; anywhere else a single number is the label itself.
        self._is_one_hot = stream is not None and stream.type.lower() == "annotations"

    def read(self, packet: Packet) -> list[tuple[str, str]]:
        """Label of each sample and, for one that cannot be read, why (else empty)."""
        if isinstance(packet.samples, tuple):
            return [_from_text(text) for text in packet.samples]
        rows = packet.samples if packet.samples.ndim == 2 else packet.samples[:, None]
        if rows.shape[1] == 1 and not self._is_one_hot:
            return [_from_number(value) for value in rows[:, 0].tolist()]
        return [self._from_row(row) for row in rows.tolist()]

    def _from_row(self, row: list[Any]) -> tuple[str, str]:
        if not all(math.isfinite(value) for value in row):
            return "", "the marker's row holds a value that is not finite"
        hot = [i for i, value in enumerate(row) if value != 0]
        if len(hot) != 1:
            return "", f"the marker's row has {len(hot)} channels that are not 0, expected one"
        name = self._names[hot[0]].strip() if hot[0] < len(self._names) else ""
        return name or str(hot[0]), ""


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
            label = str(found["label"]).strip()
    if not label:
        return "", "the marker is empty"
    return label, ""


def _from_number(value: float) -> tuple[str, str]:
    if not math.isfinite(value):
        return str(value), f"the marker is {value}, expected a finite number"
    return (str(int(value)) if value == int(value) else f"{value:g}"), ""
