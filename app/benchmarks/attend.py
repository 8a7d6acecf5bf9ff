"""`phosphene bench attend`: how often looks at noise-tagged pictures are decided right, on people.

Owns the tables of docs/attend.md: looks without calibration, looks that end by themselves, both
stopping rules beside fixed lengths, calibration trials, codes that are not those that were shown.
The trials (`.npz`, see `devices.files.cvep`) pass through the session's causal filter, each from
its first sample on, and through the decoder of `phosphene attend`. The peer is rCCA of `pyntbci`,
where it is installed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import AppError
from app.output import show_progress
from configs import load_preset
from devices.files.cvep import CvepRecording
from models.attend.decoder import STEP, AttendDecoder, Decision, thinning
from models.attend.evidence import Covariances
from models.attend.stopping import Rule, Stopping, bits
from pipeline.filters import CausalFilter
from pipeline.looks import Grid, ShownFrames
from pipeline.values import Float32, Float64, Info, Uint8

FOLDER = "PHOSPHENE_CVEP"
"""Environment variable that names the folder of `.npz` files."""
LONG = 8.4
N_LOOKS = 30
YOUNG = 5
"""Looks of a run before those that are counted as known."""
LENGTHS = (1.05, 2.1, 4.2, 8.4)


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One person's trials behind the causal filter.

    Attributes
    ----------
    trials : ndarray, shape (n_trials, n_channels, n_times), float64, microvolts, thinned
    targets : ndarray, shape (n_trials,)
    """

    name: str
    trials: Float64
    targets: Any
    grid: Grid
    rate: float
    raw: Float32
    sfreq: float

    def decoder(self, **options: Any) -> AttendDecoder:
        """Make a decoder for this person's stream."""
        return AttendDecoder(
            n_targets=self.grid.n_targets,
            n_channels=self.trials.shape[1],
            rate=self.rate,
            **options,
        )


def read_people(folder: Path) -> list[Person]:
    """Read every `.npz` of a folder."""
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise AppError(
            f"{folder} holds no .npz file, expected noise-tagged trials: name their folder in "
            f"{FOLDER}."
        )
    return [_person(path) for path in paths]


def _person(path: Path) -> Person:
    recording = CvepRecording(path)
    eeg = recording.streams[0]
    causal = CausalFilter(load_preset("attend").filter, Info(eeg.ch_names, recording.sfreq))
    thin = thinning(recording.sfreq)
    filtered = []
    for trial in recording.trials:
        causal.reset()
        filtered.append(causal.process(trial)[:, ::thin].astype(np.float64))
    return Person(
        path.stem,
        np.array(filtered),
        recording.targets,
        recording.grid,
        recording.sfreq / thin,
        recording.trials,
        recording.sfreq,
    )


def look_at(
    person: Person,
    decoder: AttendDecoder,
    trial: int,
    *,
    grid: Grid | None = None,
    step: float = STEP,
) -> Decision:
    """Decide one trial as `phosphene attend` does."""
    shown = ShownFrames(grid or person.grid, 0.0)
    decoder.begin()
    n_step = max(1, round(step * person.rate))
    data = person.trials[trial]
    for start in range(0, data.shape[1] - n_step + 1, n_step):
        times = np.arange(start, start + n_step) / person.rate
        decoder.show(*shown.until(float(times[-1])))
        found = decoder.step(data[:, start : start + n_step], times)
        if found.is_decided or found.seconds >= decoder.longest - 0.5 / person.rate:
            break
    return decoder.end()


def calibrated(person: Person, trials: Sequence[int]) -> Covariances:
    """What the person's own trials teach, whose targets are known."""
    known: Covariances | None = None
    for trial in trials:
        decoder = person.decoder(adapt=False, trial_seconds=1e6)
        look_at(person, decoder, trial, step=1.05)
        taught = decoder.teach(int(person.targets[trial]))
        known = taught if known is None else known.plus(taught)
    if known is None:
        raise AppError("no calibration trial given, expected one or more.")
    return known


def run_attend_bench(*, quick: bool = False, seed: int = 0, only: str = "") -> dict[str, Any]:
    """Measure on every person of the folder that `PHOSPHENE_CVEP` names.

    Parameters
    ----------
    quick : bool
        Two orders of the trials instead of ten.
    seed : int
        Of the orders.
    only : str
        Words of a part: `looks`, `stopping`, `calibrated`, `control`, `cost`.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        raise AppError(f"{FOLDER} is not set: name the folder of noise-tagged trials (.npz) in it.")
    people = read_people(Path(folder))
    n_orders = 2 if quick else 10
    rng = np.random.default_rng(seed)
    orders = [
        [int(k) for k in rng.permutation(len(people[0].trials))[:N_LOOKS]] for _ in range(n_orders)
    ]
    parts: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
        "looks": lambda: _looks(people, orders),
        "stopping": lambda: _stopping(people, orders),
        "calibrated": lambda: _calibrated(people),
        "control": lambda: _control(people, orders[:2]),
        "cost": lambda: _cost(people[0]),
    }
    rows: list[dict[str, Any]] = []
    for name, part in parts.items():
        if only and name not in only.split():
            continue
        for row in part():
            show_progress(f"{name}: {row}")
            rows.append({"part": name, **row})
    return {"people": [person.name for person in people], "orders": n_orders, "rows": rows}


def _run(
    person: Person, order: Sequence[int], decoder: AttendDecoder
) -> list[tuple[Decision, int]]:
    # Steps on the way change nothing where the length is fixed.
    step = STEP if decoder.trial_seconds is None else 1.05
    return [
        (look_at(person, decoder, trial, step=step), int(person.targets[trial])) for trial in order
    ]


def _looks(people: Sequence[Person], orders: Sequence[Sequence[int]]) -> Iterator[dict[str, Any]]:
    """Fixed looks, no calibration: by place in the run, and run by run."""
    for person in people:
        right = []
        for order in orders:
            decoder = person.decoder(trial_seconds=LONG)
            run = _run(person, order, decoder)
            right.append([decision.answer == target for decision, target in run])
        table = np.array(right)
        late = table[:, YOUNG:].mean(axis=1)
        yield {
            "what": f"{person.name}, looks of {LONG} s, no calibration",
            "by_look": [round(float(x), 2) for x in table.mean(axis=0)],
            "from_sixth": [round(float(x), 3) for x in late],
            "lost": int((late < 0.5).sum()),
            "met": bool((late >= 0.95).all()),
        }


def _stopping(
    people: Sequence[Person], orders: Sequence[Sequence[int]]
) -> Iterator[dict[str, Any]]:
    """Looks that end by themselves, by both rules, beside fixed lengths."""
    rules: tuple[tuple[Rule, float], ...] = (("bayes", 0.05), ("margin", 0.05), ("bayes", 0.01))
    settings: list[tuple[str, dict[str, Any]]] = [
        (f"{rule}, {rate:.0%} stated", {"stopping": Stopping(error_rate=rate, rule=rule)})
        for rule, rate in rules
    ]
    settings += [(f"fixed {length} s", {"trial_seconds": length}) for length in (2.1, 4.2, 8.4)]
    for name, options in settings:
        everyone: list[tuple[Decision, int]] = []
        for person in people:
            found: list[tuple[Decision, int]] = []
            for order in orders:
                found += _run(person, order, person.decoder(**options))
            everyone += found
            yield {"what": f"{name}, {person.name}", **figures(found, person.grid.n_targets)}
        yield {"what": f"{name}, all", **figures(everyone, people[0].grid.n_targets)}


def figures(found: Sequence[tuple[Decision, int]], n_targets: int) -> dict[str, Any]:
    """Figures of looks: time, errors, bits a minute; a look that is not decided costs its time."""
    decided = [(d, target) for d, target in found if d.answer is not None]
    n_right = sum(d.answer == target for d, target in decided)
    seconds = [d.seconds for d, _ in found]
    told = len(decided) * bits(n_targets, n_right / max(1, len(decided)))
    return {
        "mean_s": round(float(np.mean(seconds)), 2),
        "median_s": round(float(np.median(seconds)), 2),
        "right": round(n_right / len(found), 4),
        "wrong_of_decided": round(1 - n_right / max(1, len(decided)), 4),
        "not_sure": round(1 - len(decided) / len(found), 4),
        "bits_per_minute": round(60 * told / sum(seconds), 1),
    }


def _calibrated(people: Sequence[Person]) -> Iterator[dict[str, Any]]:
    """Twenty trials of the person's own, beside pyntbci's rCCA on the same filtered trials."""
    for person in people:
        own = list(range(0, len(person.trials), 5))
        rest = [k for k in range(len(person.trials)) if k % 5]
        known = calibrated(person, own)
        for length in LENGTHS:
            n_right = 0
            for trial in rest:
                decoder = person.decoder(known=known, adapt=False, trial_seconds=length)
                decision = look_at(person, decoder, trial, step=1.05)
                n_right += int(decision.posterior.argmax()) == person.targets[trial]
            ours = n_right / len(rest)
            peer = _pyntbci(person, own, rest, length)
            yield {
                "what": f"{person.name}, 20 calibration trials, {length} s",
                "ours": round(ours, 4),
                "peer": None if peer is None else round(peer, 4),
            }


def _pyntbci(
    person: Person, own: Sequence[int], rest: Sequence[int], length: float
) -> float | None:
    try:
        from pyntbci.classifiers import rCCA
    except ImportError:
        return None
    fs = int(person.rate)
    held = round(fs / person.grid.frame_rate)
    classifier = rCCA(
        stimulus=np.repeat(person.grid.codes, held, axis=1),
        fs=fs,
        event="refe",
        encoding_length=0.3,
        onset_event=True,
    )
    classifier.fit(person.trials[list(own)], person.targets[list(own)])
    found = classifier.predict(person.trials[list(rest)][:, :, : round(length * fs)])
    return float(np.mean(found == person.targets[list(rest)]))


def _control(people: Sequence[Person], orders: Sequence[Sequence[int]]) -> Iterator[dict[str, Any]]:
    """Codes that nobody saw: turned by a random time in a mixed order, or their bits mixed."""
    rng = np.random.default_rng(1)

    def turned(codes: Uint8) -> Uint8:
        rows = [np.roll(code, int(rng.integers(20, 106))) for code in codes]
        return np.array(rows)[rng.permutation(len(rows))]

    def mixed(codes: Uint8) -> Uint8:
        pairs = codes.reshape(len(codes), -1, 2)
        rows = [row[rng.permutation(len(row))].ravel() for row in pairs]
        return np.array(rows)

    for person in people:
        for name, change in (("turned", turned), ("mixed", mixed)):
            found: list[tuple[Decision, int]] = []
            for order in orders:
                decoder = person.decoder()
                for trial in order:
                    grid = Grid(
                        change(person.grid.codes), person.grid.labels, person.grid.frame_rate
                    )
                    decision = look_at(person, decoder, trial, grid=grid)
                    found.append((decision, int(person.targets[trial])))
            row = figures(found, person.grid.n_targets)
            yield {
                "what": f"{person.name}, {name} codes",
                **row,
                "goal": "not_sure >= 0.95",
                "met": row["not_sure"] >= 0.95,
            }


def _cost(person: Person) -> Iterator[dict[str, Any]]:
    """CPU time of one step: in the second look (20 histories), known, and calibrated."""
    known = calibrated(person, range(5))
    for name, decoder in (
        ("calibrated", person.decoder(known=known, adapt=False, trial_seconds=10.0)),
        ("known from eight looks", _after_looks(person, 8)),
        ("first look", _after_looks(person, 0)),
        ("second look, 20 histories", _after_looks(person, 1)),
    ):
        spent: list[float] = []
        for trial in range(20, 24):
            shown = ShownFrames(person.grid, 0.0)
            decoder.begin()
            n_step = round(STEP * person.rate)
            for start in range(0, 40 * n_step, n_step):
                times = np.arange(start, start + n_step) / person.rate
                started = time.process_time()
                decoder.show(*shown.until(float(times[-1])))
                decoder.step(person.trials[trial][:, start : start + n_step], times)
                spent.append(time.process_time() - started)
        median = 1000 * float(np.median(spent))
        yield {
            "what": f"one step, {person.grid.n_targets} targets, {name}",
            "cpu_ms": round(median, 2),
            "goal": "<= 3 ms",
            "met": median <= 3,
        }


def _after_looks(person: Person, n_looks: int) -> AttendDecoder:
    decoder = person.decoder(trial_seconds=8.4)
    for trial in range(n_looks):
        look_at(person, decoder, trial, step=1.05)
    return decoder
