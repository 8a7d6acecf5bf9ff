"""The head from above: where each electrode sits, and how good its signal is.

Owns the projection and the words; `pipeline.signal_quality` judges. Knows nothing of Qt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app import formatting
from pipeline.electrodes import canonical_name, unit_positions
from pipeline.signal_quality import ChannelQuality, Grade

GOOD_KOHM, WORST_KOHM = 750.0, 2500.0
"""Impedances up to which an electrode is good, and beyond which it is bad: the OpenBCI GUI's."""
GRADE_WORDS = {Grade.GOOD: "good", Grade.DOUBTFUL: "doubtful", Grade.BAD: "bad"}


@dataclass(frozen=True, slots=True)
class Electrode:
    """One channel on the head.

    `x` (right) and `y` (front) are 1 at the rim of the head, None for a label without a position;
    `grade` is None before the first verdict.
    """

    ch_name: str
    x: float | None
    y: float | None
    grade: Grade | None = None
    reason: str = ""
    peak_to_peak_uv: float | None = None
    """Peak to peak in the newest second, microvolts."""
    kohm: float | None = None
    """Impedance, kOhm; None where none is measured."""


def project(ch_names: Sequence[str]) -> list[tuple[float, float] | None]:
    """Return where each label sits seen from above (azimuthal, equal distances from Cz)."""
    places: list[tuple[float, float] | None] = []
    for name in ch_names:
        if canonical_name(name) is None:
            places.append(None)
            continue
        x, y, z = (float(value) for value in unit_positions([name])[0])
        flat = float(np.hypot(x, y))
        radius = float(np.arccos(np.clip(z, -1.0, 1.0))) / (np.pi / 2)
        places.append((radius * x / flat, radius * y / flat) if flat > 1e-9 else (0.0, 0.0))
    return places


class HeadModel:
    """Electrodes with their newest verdict."""

    def __init__(self) -> None:
        self.electrodes: tuple[Electrode, ...] = ()
        self.revision = 0
        self._names: tuple[str, ...] = ()
        self._places: list[tuple[float, float] | None] = []
        self._quality: tuple[ChannelQuality, ...] = ()
        self._impedance: dict[str, float | None] = {}

    def update(
        self,
        ch_names: Sequence[str],
        quality: tuple[ChannelQuality, ...],
        impedance: Mapping[str, float | None] | None = None,
    ) -> bool:
        """Take the newest second's verdicts, and impedances by label; tell whether any changed."""
        names, measured = tuple(ch_names), dict(impedance or {})
        same = names == self._names and measured == self._impedance
        if same and quality is self._quality:
            return False
        self._impedance = measured
        if names != self._names:
            self._names, self._places = names, project(names)
        self._quality = quality
        found = {each.ch_name: each for each in quality}
        self.electrodes = tuple(
            _electrode(name, place, found.get(name), measured.get(name))
            for name, place in zip(names, self._places, strict=True)
        )
        self.revision += 1
        return True

    @property
    def measured(self) -> list[float]:
        """Impedances that are known, kOhm."""
        return [e.kohm for e in self.electrodes if e.kohm is not None]

    @property
    def spacing(self) -> float:
        """Distance of the two electrodes that are nearest, in radii of the head."""
        at = np.array([(e.x, e.y) for e in self.electrodes if e.x is not None], dtype=np.float64)
        if len(at) < 2:
            return 1.0
        apart = np.hypot(*(at[:, np.newaxis] - at[np.newaxis]).transpose(2, 0, 1))
        return float(apart[np.triu_indices(len(at), 1)].min())

    @property
    def doubtful(self) -> list[Electrode]:
        """Electrodes that are not good, the bad ones first."""
        worse = [e for e in self.electrodes if e.grade in (Grade.BAD, Grade.DOUBTFUL)]
        return sorted(worse, key=lambda e: e.grade is not Grade.BAD)

    @property
    def sentence(self) -> str:
        """The verdicts in words."""
        if not any(e.grade for e in self.electrodes):
            return "The first verdict comes after one second of data."
        counts = Counter(e.grade for e in self.electrodes)
        parts = [f"{counts[grade]} {word}" for grade, word in GRADE_WORDS.items() if counts[grade]]
        words = f"{len(self.electrodes)} electrodes: " + ", ".join(parts)
        if self.measured:
            low, high = min(self.measured), max(self.measured)
            words += f" · {formatting.kiloohm(low)} to {formatting.kiloohm(high)}"
        return words


def _electrode(
    name: str,
    place: tuple[float, float] | None,
    quality: ChannelQuality | None,
    kohm: float | None,
) -> Electrode:
    """Put the signal and the impedance together: the worse of the two counts."""
    x, y = (None, None) if place is None else place
    grade = None if quality is None else quality.grade
    reason = "" if quality is None else quality.reason
    if kohm is not None and kohm > GOOD_KOHM:
        judged = Grade.BAD if kohm > WORST_KOHM else Grade.DOUBTFUL
        if grade is not Grade.BAD:
            grade = judged
        reason = "; ".join(filter(None, (f"impedance {formatting.kiloohm(kohm)}", reason)))
    ptp = None if quality is None else quality.ptp_uv
    return Electrode(name, x, y, grade=grade, reason=reason, peak_to_peak_uv=ptp, kohm=kohm)
