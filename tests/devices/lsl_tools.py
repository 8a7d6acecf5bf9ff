"""Streams to read in tests: one that counts, in a thread or in a process that can be killed."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

import numpy as np
import pylsl

from devices.lsl.inlet import LslSource
from devices.lsl.metadata import eeg_info
from devices.lsl.outlet import EegOutlet
from pipeline.values import Packet, SourceItem, StateChange, StreamRole, StreamState
from tests.waiting import PATIENCE

CH_NAMES = ("C3", "C4", "O1", "O2")
SFREQ = 250.0


def counting(start: int, n_times: int, ch_names: Sequence[str]) -> np.ndarray:
    """Samples that tell their number and their label: `1000 * number + code(label)`."""
    codes = np.array([CH_NAMES.index(label) for label in ch_names])
    return (1000.0 * np.arange(start, start + n_times)[:, None] + codes).astype(np.float64)


class Feeder:
    """Pushes counting samples at their rate from a thread until it is stopped."""

    def __init__(
        self,
        *,
        source_id: str,
        ch_names: Sequence[str] = CH_NAMES,
        sfreq: float = SFREQ,
        chunk: int = 10,
        labelled: bool = True,
        unit: str = "microvolts",
    ) -> None:
        info = eeg_info(
            name="feeder", source_id=source_id, ch_names=ch_names, sfreq=sfreq, unit=unit
        )
        if not labelled:
            from dataclasses import replace

            info = replace(info, ch_names=(), ch_units=(), ch_types=())
        self.outlet = EegOutlet(info)
        self.n_pushed = 0
        self._ch_names, self._sfreq, self._chunk = tuple(ch_names), sfreq, chunk
        self._paused = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        start = pylsl.local_clock()
        while not self._stop.is_set():
            numbers = self.n_pushed + np.arange(self._chunk)
            if not self._paused.is_set():
                self.outlet.push(
                    counting(self.n_pushed, self._chunk, self._ch_names),
                    start + (numbers + 1) / self._sfreq,
                )
            self.n_pushed += self._chunk
            due = start + (self.n_pushed + self._chunk) / self._sfreq
            self._stop.wait(max(0.0, due - pylsl.local_clock()))

    def pause(self) -> None:
        self._paused.set()

    def go_on(self) -> None:
        self._paused.clear()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.outlet.close()

    def __enter__(self) -> Feeder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _feed_for_ever(source_id: str, ch_names: tuple[str, ...], sfreq: float) -> None:
    with Feeder(source_id=source_id, ch_names=ch_names, sfreq=sfreq):
        threading.Event().wait()


@contextmanager
def feeding_process(
    source_id: str, ch_names: Sequence[str] = CH_NAMES, sfreq: float = SFREQ
) -> Iterator[BaseProcess]:
    """A process of its own that feeds until it is killed."""
    process = multiprocessing.get_context("spawn").Process(
        target=_feed_for_ever, args=(source_id, tuple(ch_names), sfreq), daemon=True
    )
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def read_until(
    source: LslSource, enough: Callable[[list[SourceItem]], bool], timeout: float = PATIENCE
) -> list[SourceItem]:
    """Read until there is enough; fail after `timeout` s."""
    items: list[SourceItem] = []
    deadline = pylsl.local_clock() + timeout
    while not enough(items):
        assert pylsl.local_clock() < deadline, f"not within {timeout} s; got {states(items)}"
        items += source.read(0.2)
    return items


def packets(items: Sequence[SourceItem], role: StreamRole = StreamRole.EEG) -> list[Packet]:
    return [item for item in items if isinstance(item, Packet) and item.role is role]


def states(items: Sequence[SourceItem], role: StreamRole = StreamRole.EEG) -> list[StreamState]:
    return [item.state for item in items if isinstance(item, StateChange) and item.role is role]


def has_state(
    state: StreamState, role: StreamRole = StreamRole.EEG
) -> Callable[[list[SourceItem]], bool]:
    return lambda items: state in states(items, role)


def has_samples(n_times: int) -> Callable[[list[SourceItem]], bool]:
    return lambda items: sum(len(p.samples) for p in packets(items)) >= n_times


def has_markers(n_markers: int) -> Callable[[list[SourceItem]], bool]:
    return lambda items: (
        sum(len(p.samples) for p in packets(items, StreamRole.MARKERS)) >= n_markers
    )
