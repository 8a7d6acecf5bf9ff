"""Looks at a flickering grid, as a marker stream tells them: labels, codes, and frames in time.

Owns the grammar that any program can send, so that a recording decodes by itself. The stream's
metadata holds the codes: `<codes>` with `<frame_rate>`, and for each target `<code>` (a row of 0
and 1) and `<label>`. Its markers say which frame of a look came to the screen when:

    look 3 frame 0 cue 5     the third look begins; target 5 is the one that was asked for
    look 3 frame 126         the next cycle begins
    look 3 frame 171         a frame came late: from here on they are counted anew
    look 3 end               nothing flickers any more

`<kind>` says `flash` where the pictures flash in turn instead of flickering; the frame rate is then
that of the flashes. Between two markers frames follow at the frame rate. Knows nothing of LSL or
EEG.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from pipeline.codes import FRAME_RATE, decoys
from pipeline.errors import InfoError
from pipeline.values import Float64, StreamInfo, Uint8

_LABEL: Final = re.compile(r"look (\d{1,9}) (?:(end)|frame (\d{1,9})(?: cue (\d{1,3}))?)")
_LONGEST: Final = 1 << 16
_MOST: Final = 256
Kind = Literal["flicker", "flash"]
"""How the pictures change: each by its own code all the time, or one after the other."""


@dataclass(frozen=True, slots=True)
class LookMarker:
    """One marker: frame `frame` of look `look`, None for its end; `cue` is the asked target."""

    look: int
    frame: int | None
    cue: int | None = None

    @property
    def label(self) -> str:
        """As the stream carries it."""
        if self.frame is None:
            return f"look {self.look} end"
        cue = "" if self.cue is None else f" cue {self.cue}"
        return f"look {self.look} frame {self.frame}{cue}"


def read_label(label: str) -> LookMarker | None:
    """Read a marker's label; None for any other."""
    found = _LABEL.fullmatch(label)
    if found is None:
        return None
    look, end, frame, cue = found.groups()
    return LookMarker(int(look), None if end else int(frame), None if cue is None else int(cue))


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The targets: their codes and labels.

    Attributes
    ----------
    codes : ndarray, shape (n_targets, n_frames), uint8
    labels : tuple of str
    frame_rate : float
        Frames a second.
    kind : str
        `flicker`, or `flash`: in each frame one picture is bright.
    """

    codes: Uint8
    labels: tuple[str, ...]
    frame_rate: float
    kind: Kind = "flicker"

    @property
    def n_targets(self) -> int:
        """Count of targets."""
        return len(self.codes)

    def with_decoys(self, n_wrong: int) -> Grid:
        """Add codes that no target has; see `pipeline.codes.decoys`."""
        more = decoys(self.codes, n_wrong)
        labels = (*self.labels, *(f"decoy {k}" for k in range(len(more))))
        return replace(self, codes=np.concatenate([self.codes, more]), labels=labels)

    @property
    def desc(self) -> dict[str, Any]:
        """For the marker stream's metadata."""
        codes = ["".join(map(str, row)) for row in self.codes.tolist()]
        table = {
            "frame_rate": [f"{self.frame_rate:.9g}"],
            "code": codes,
            "label": list(self.labels),
        }
        if self.kind != "flicker":
            table["kind"] = [self.kind]
        return {"codes": [table]}


def read_grid(info: StreamInfo) -> Grid:
    """Read the targets out of a marker stream's metadata.

    Raises
    ------
    InfoError
        It describes no codes, or not as above.
    """
    tables = info.desc.get("codes")
    table = tables[0] if isinstance(tables, list) and tables else tables
    if not isinstance(table, Mapping):
        raise InfoError(
            f"Marker stream {info.name!r} describes no codes, expected <codes> in its metadata: "
            "choose the stream of a noise-tagged grid with --markers."
        )
    rows = _texts(table.get("code"))
    lengths = {len(row) for row in rows}
    if not 2 <= len(rows) <= _MOST or len(lengths) != 1 or not 0 < max(lengths) <= _LONGEST:
        raise InfoError(
            f"Marker stream {info.name!r} has {len(rows)} codes of {len(lengths)} lengths, "
            f"expected 2 to {_MOST} of one length."
        )
    if any(set(row) - set("01") for row in rows):
        raise InfoError(f"A code of marker stream {info.name!r} is no row of 0 and 1.")
    try:
        rate = float(_texts(table.get("frame_rate"))[0])
    except (IndexError, ValueError):
        rate = 0.0
    if not 1 <= rate <= 1000:
        raise InfoError(f"Marker stream {info.name!r} says no frame rate, expected 1 to 1000 Hz.")
    labels = _texts(table.get("label"))
    if len(labels) != len(rows):
        labels = [f"target {k}" for k in range(len(rows))]
    codes = np.array([[int(bit) for bit in row] for row in rows], dtype=np.uint8)
    kinds = _texts(table.get("kind")) or ["flicker"]
    if kinds[0] not in ("flicker", "flash"):
        raise InfoError(f"Marker stream {info.name!r} says a kind of codes that is none of ours.")
    return Grid(codes, tuple(labels), rate, "flash" if kinds[0] == "flash" else "flicker")


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(x) for x in value] if isinstance(value, Sequence) else []


class ShownFrames:
    """Which frames came to the screen in one look, and when.

    Parameters
    ----------
    grid : Grid
    onset : float
        When frame 0 came, s.
    """

    def __init__(self, grid: Grid, onset: float) -> None:
        self._grid = grid
        self._frame, self._at = 0, onset
        self._next = 0
        self._ahead: list[tuple[int, float]] = []
        exact = grid.frame_rate if grid.kind == "flicker" else FRAME_RATE
        self._late = 0.5 / exact
        self.n_late = 0
        """Frames that did not come when they were planned."""

    def mark(self, frame: int, at: float) -> None:
        """Take a marker: `frame` came at `at`, s."""
        planned = self._at + (frame - self._frame) / self._grid.frame_rate
        self.n_late += abs(at - planned) > self._late
        self._ahead.append((frame, at))
        self._ahead.sort()

    def until(self, end: float) -> tuple[Uint8, Float64]:
        """Frames that came since the last call and before `end` (s).

        Returns
        -------
        states : ndarray, shape (n_frames, n_targets), uint8
        flips : ndarray, shape (n_frames,), float64, s
        """
        numbers: list[int] = []
        flips: list[float] = []
        while True:
            if self._ahead and self._next >= self._ahead[0][0]:
                self._frame, self._at = self._ahead.pop(0)
                self._next = max(self._next, self._frame)
            at = self._at + (self._next - self._frame) / self._grid.frame_rate
            if self._ahead and at >= self._ahead[0][1] - 0.5 / self._grid.frame_rate:
                self._next = self._ahead[0][0]  # frames that were left out
                continue
            if at >= end:
                break
            numbers.append(self._next)
            flips.append(at)
            self._next += 1
        codes = self._grid.codes
        states = codes[:, np.array(numbers, dtype=np.int64) % codes.shape[1]].T
        return np.ascontiguousarray(states), np.array(flips, dtype=np.float64)
