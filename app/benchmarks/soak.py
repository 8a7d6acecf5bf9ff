"""`phosphene bench soak`: hours of faults under the virtual clock, then many starts and stops.

Owns two endurance runs. The first plays a hostile stream for hours through the live path: every
marker must be accounted for, no sample may come out under a wrong label, memory must not grow. The
second starts and stops a whole session over real LSL, with a decoder that does nothing, and counts
what it leaves behind.
"""

from __future__ import annotations

import gc
import multiprocessing
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from app.benchmarks.idle import idle_decoder
from configs import SessionConfig
from configs.models import SourceConfig
from devices.hostile import HostileSettings, HostileSource, Witness, random_faults, untouched
from pipeline.live import LivePath
from pipeline.values import Outcome, Verdict

HOURS = 8.0
N_STARTS = 200
WARM = 0.125
"""Part of the hours after which memory is first read: rings and tables are full by then."""


def run_soak_bench(
    *, minutes: float = 60 * HOURS, n_starts: int = N_STARTS, seed: int = 0
) -> dict[str, Any]:
    """Run both; a dict with `rows`.

    Parameters
    ----------
    minutes : float
        Stream time of each of the two hostile runs: loss from a counting channel, from stamps.
    n_starts : int
        Starts and stops of a session.
    seed : int
        Of the faults.
    """
    hours = minutes / 60
    rows = [_hostile(hours, seed=seed, counter=counter) for counter in (True, False)]
    if n_starts:
        rows.append(_starts(n_starts))
    return {"hours": hours, "starts": n_starts, "rows": rows}


# -- hours of faults -----------------------------------------------------------------------------


def _hostile(hours: float, *, seed: int, counter: bool) -> dict[str, Any]:
    duration = 3600.0 * hours
    settings = HostileSettings(duration=duration, chunk=40, seed=seed, clock_offset=77.7)
    faults = random_faults(seed=seed, duration=duration, ch_names=settings.ch_names)
    source = HostileSource(settings, faults)
    path = LivePath(untouched(source, trusts_counter=counter), source.streams)
    tally = _Tally(Witness(source, path))
    began, n_markers, grown_from = perf_counter(), 0, 0.0
    while items := source.read(0.0):
        for item in items:
            tally.add(path.feed(item))
        path.take_new_markers()
        n_markers += len(source.take_true_markers())
        tally.witness.look()
        if not grown_from and source.now > 1000.0 + WARM * duration:
            grown_from = memory_mb()
    growth = memory_mb() - grown_from
    tally.add(path.finish())
    n_late = path.n_duplicates - source.n_doubled
    ok = (
        tally.is_complete(n_markers)
        and not (tally.witness.n_wrong or tally.witness.n_backward)
        and path.n_received == path.raw_ring.n_written + path.n_duplicates
        and growth <= 20.0
    )
    if counter:
        ok = ok and not tally.n_torn and path.n_lost - n_late == source.n_lost
    return {
        "what": f"{hours:g} h of faults, loss from {'a counter' if counter else 'stamps'}",
        "met": ok,
        "seconds": round(perf_counter() - began, 1),
        "faults": len(faults),
        "markers": n_markers,
        "unaccounted": n_markers - tally.n_once,
        "outcomes": {str(k): v for k, v in sorted(tally.outcomes.items())},
        "samples": tally.witness.n_seen,
        "mislabelled": tally.witness.n_wrong,
        "backward": tally.witness.n_backward,
        "lost": [path.n_lost - n_late, source.n_lost],
        "gaps": path.n_gaps,
        "epochs_with_a_loss_inside": tally.n_torn,
        "onset_error_samples_p50_p999_max": tally.errors(),
        "memory_growth_mb": round(growth, 1),
    }


class _Tally:
    """Counts verdicts without keeping epochs."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness
        self.outcomes: Counter[Outcome] = Counter()
        self.n_torn = 0
        # A byte a marker and eight an epoch: what is kept must not look like a leak.
        self._seen = bytearray()
        self._errors = np.zeros(1_000_000, dtype=np.float32)
        self._n_errors = 0

    def add(self, verdicts: list[Verdict]) -> None:
        """Count verdicts, and check their epochs."""
        for verdict in verdicts:
            self.outcomes[verdict.outcome] += 1
            index = verdict.marker.index
            if index >= len(self._seen):
                self._seen.extend(bytes(index + 1 - len(self._seen)))
            self._seen[index] = min(255, self._seen[index] + 1)
            if verdict.epoch is not None:
                self.n_torn += not self.witness.is_whole(verdict.epoch)
                error = abs(self.witness.onset_error(verdict.epoch))
                self._errors[self._n_errors % len(self._errors)] = error
                self._n_errors += 1

    @property
    def n_once(self) -> int:
        """Markers with exactly one verdict."""
        return self._seen.count(1)

    def is_complete(self, n_markers: int) -> bool:
        """Whether each of so many markers has exactly one verdict."""
        return self.n_once == n_markers == len(self._seen)

    def errors(self) -> list[float]:
        """Quantiles of the distance of marker and onset sample, samples."""
        errors = self._errors[: min(self._n_errors, len(self._errors))]
        return [round(float(np.quantile(errors, q)), 3) for q in (0.5, 0.999, 1.0)]


def memory_mb() -> float:
    """Resident memory of this process, MB; 0 where the system does not say."""
    gc.collect()
    if not sys.platform.startswith("linux"):
        return 0.0
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * 4096 / 1e6


# -- starts and stops ----------------------------------------------------------------------------


def _starts(n_starts: int) -> dict[str, Any]:
    """Start a session, wait for its first samples, stop it; again and again."""
    from app.benchmarks.live import own_lsl

    own_lsl()
    import pylsl

    from devices.lsl.metadata import eeg_info
    from devices.lsl.outlet import EegOutlet

    info = eeg_info(
        name="soak", source_id="soak-1", ch_names=HostileSettings().ch_names, sfreq=250.0
    )
    seconds: list[float] = []
    first: dict[str, int] = {}
    phases: Counter[str] = Counter()
    done = threading.Event()
    with tempfile.TemporaryDirectory(prefix="phosphene-soak-") as folder, EegOutlet(info) as outlet:

        def push() -> None:
            n_pushed, began = 0, pylsl.local_clock()
            values = np.random.default_rng(0).normal(0, 10, (10, 4))
            while not done.is_set():
                n_pushed += 10
                due = began + n_pushed / 250.0
                done.wait(max(0.0, due - pylsl.local_clock()))
                outlet.push(values, due)

        pusher = threading.Thread(target=push, name="soak-pusher", daemon=True)
        pusher.start()
        try:
            for i in range(n_starts):
                phase, took = _start_and_stop(Path(folder) / str(i))
                phases[phase] += 1
                seconds.append(took)
                if i == min(4, n_starts - 1):
                    first = _what_is_there()
            last = _what_is_there()
        finally:
            done.set()
            pusher.join()
    grown = {name: last[name] - first[name] for name in first}
    return {
        "what": f"{n_starts} starts and stops of a session over LSL",
        "met": phases == {"stopped": n_starts}
        and not any(grown[name] > 0 for name in ("threads", "processes", "open_files"))
        and max(seconds) <= 2.0,
        "phases": dict(phases),
        "left_behind": grown,
        "stop_seconds_median_max": [round(float(np.median(seconds)), 2), round(max(seconds), 2)],
    }


def _start_and_stop(out: Path) -> tuple[str, float]:
    """Phase at the end, and how long the stop took, s."""
    from functools import partial

    import pylsl

    from app.runtime.decoder import Decoder
    from app.runtime.session import Session
    from devices.lsl.inlet import LslSource

    config = SessionConfig(buffer=10.0, source=SourceConfig(source_id="soak-1"))
    session = Session(
        config,
        out=out,
        open_source=lambda stop: LslSource(config.source, None, stop=stop),
        clock=pylsl.local_clock,
        make_decoder=partial(Decoder, target=idle_decoder),
    )
    session.start()
    deadline = perf_counter() + 30.0
    while session.snapshot().n_received < 25 and perf_counter() < deadline:
        if session.wait(0.01):
            break
    began = perf_counter()
    session.stop()
    return str(session.snapshot().phase), perf_counter() - began


def _what_is_there() -> dict[str, int]:
    gc.collect()
    descriptors = Path("/proc/self/fd")
    return {
        "threads": threading.active_count(),
        "os_threads": len(list(Path("/proc/self/task").iterdir())) if descriptors.is_dir() else 0,
        "processes": len(multiprocessing.active_children()),
        "open_files": len(list(descriptors.iterdir())) if descriptors.is_dir() else 0,
        "memory_mb": round(memory_mb()),
    }
