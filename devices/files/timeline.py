"""Where a file's samples lie in time: a file is not one unbroken stretch.

Owns the stretches and the places between them. Knows nothing of what is in the samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from devices.files.base import FileBreak, FileEvent


@dataclass(frozen=True, slots=True)
class Stretch:
    """Samples `first` up to `stop`, the first of them `at` s; `join` where no time is between."""

    first: int
    stop: int
    at: float
    join: FileBreak | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """The stretches of a file, in order; `sfreq` Hz."""

    stretches: tuple[Stretch, ...]
    sfreq: float

    @classmethod
    def whole(cls, n_times: int, sfreq: float) -> Timeline:
        """One stretch of everything."""
        return cls((Stretch(0, n_times, 0.0),), sfreq)

    @classmethod
    def of_records(
        cls, starts: Sequence[float], duration: float, n_times: int, sfreq: float
    ) -> Timeline:
        """Records of `duration` s that start when they say."""
        length = round(duration * sfreq)
        stretches: list[Stretch] = []
        for k, start in enumerate(starts):
            first, stop = k * length, min((k + 1) * length, n_times)
            if first >= stop:
                break
            before = stretches[-1] if stretches else None
            end = before.at + (before.stop - before.first) / sfreq if before else 0.0
            if before and abs(start - end) < 0.5 / sfreq:
                stretches[-1] = replace(before, stop=stop)
            else:
                # A record that lies before the end of the last one would run back in time.
                stretches.append(Stretch(first, stop, max(start, end)))
        return cls(tuple(stretches) or (Stretch(0, n_times, 0.0),), sfreq)

    @property
    def duration(self) -> float:
        """From the first sample to the end of the last, s."""
        last = self.stretches[-1]
        return last.at + (last.stop - last.first) / self.sfreq

    @property
    def n_pauses(self) -> int:
        """Places where time passed without samples."""
        return sum(stretch.join is None for stretch in self.stretches[1:])

    @property
    def n_joins(self) -> int:
        """Places where samples that were not neighbours stand next to each other."""
        return sum(stretch.join is not None for stretch in self.stretches)

    def place_of(self, t: float) -> float:
        """The opposite of `time_of`."""
        found = self.stretches[0]
        for stretch in self.stretches:
            if stretch.at > t + 1e-9:
                break
            found = stretch
        return min(t - found.at, (found.stop - found.first) / self.sfreq) + found.first / self.sfreq

    def time_of(self, t: float) -> float:
        """The time of what stands `t` s from the start by the count of samples alone."""
        place = t * self.sfreq
        found = self.stretches[0]
        for stretch in self.stretches:
            if stretch.first > place + 1e-6:
                break
            found = stretch
        return found.at + t - found.first / self.sfreq

    def moved(self, event: FileEvent) -> FileEvent:
        """The event at its time."""
        return replace(event, onset=self.time_of(event.onset))

    def with_pauses(self, pauses: Sequence[tuple[int, float]]) -> Timeline:
        """The samples from `first` on come `at` s: for each of `pauses`, if it is later."""
        stretches = list(self.stretches)
        for first, at in sorted(pauses):
            last = stretches[-1]
            if last.first < first < last.stop:
                end = last.at + (first - last.first) / self.sfreq
                if at > end + 0.5 / self.sfreq:
                    stretches[-1:] = [replace(last, stop=first), Stretch(first, last.stop, at)]
        return replace(self, stretches=tuple(stretches))

    def without(self, skips: Sequence[FileEvent]) -> Timeline:
        """Without the samples of these stretches: their time stays."""
        stretches = list(self.stretches)
        for skip in skips:
            low = round(skip.onset * self.sfreq)
            high = low + round(skip.duration * self.sfreq)
            kept: list[Stretch] = []
            for s in stretches:
                if high <= s.first or low >= s.stop:
                    kept.append(s)
                    continue
                if low > s.first:
                    kept.append(replace(s, stop=low))
                if high < s.stop:
                    kept.append(Stretch(high, s.stop, s.at + (high - s.first) / self.sfreq))
            stretches = kept or stretches
        return replace(self, stretches=tuple(stretches))

    def with_joins(self, joins: Sequence[FileBreak]) -> Timeline:
        """Broken, without time between, where the file was put together."""
        stretches = list(self.stretches)
        for join in joins:
            place = round(join.onset * self.sfreq)
            for k, s in enumerate(stretches):
                if s.first < place < s.stop:
                    at = s.at + (place - s.first) / self.sfreq
                    after = Stretch(place, s.stop, at, replace(join, onset=at))
                    stretches[k : k + 1] = [replace(s, stop=place), after]
                    break
        return replace(self, stretches=tuple(stretches))
