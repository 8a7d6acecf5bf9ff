"""Rows of virtual people's EEG: systems without a word about the person, and every adapter.

Owns who is asked and what calibrates; systems are `research.comparison`'s at reduced size and the
one that ships. The test's pictures are never among the calibration's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.adapters.adapter import embed
from models.adapters.data import CalibrationData
from models.adapters.fit import fit_adapter
from models.adapters.methods import PICTURES, find_method
from models.adapters.methods.base import Fitting, Watch
from models.adapters.network_base import NetworkBase
from models.embedded.encoder import load_encoder
from models.evaluation.audit import Material
from pipeline.values import Float64
from research.adapters.people import Recorded, record_board
from research.comparison.pool import BOARD
from research.embedded.identification import Encode
from research.leaderboard.rows import Asked, Row, audited, row_of

FIRST_PERSON = 1601
"""Of the table; nothing was ever chosen on them."""
SNR = 1.0
CHOSEN = "what `calibrate` chooses"


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Each one's calibration and test, and the auditor's word on both."""

    recorded: tuple[Recorded, ...]
    audit: str

    @property
    def data(self) -> str:
        """What the rows are of."""
        minutes = self.recorded[0].calibration.minutes
        return f"virtual people, {BOARD}, SNR {SNR:g}; adapters learn from {minutes:.0f} minutes"


def record_people(n: int, *, minutes: float, test_minutes: float) -> People:
    """Record people whom no system has met."""
    recorded = tuple(
        record_board(FIRST_PERSON + k, BOARD, minutes=minutes, test_minutes=test_minutes, snr=SNR)
        for k in range(n)
    )
    return People(recorded, audited([_material(each) for each in recorded]))


def _material(recorded: Recorded) -> Material:
    test = recorded.test
    return Material(
        labels=test.labels,
        epochs=test.epochs,
        sfreq=test.sfreq,
        tmin=test.tmin,
        train_stimuli=tuple(dict.fromkeys(recorded.calibration.labels)),
        test_stimuli=tuple(dict.fromkeys(test.labels)),
    )


def system_rows(people: People, systems: dict[str, Encode]) -> Iterator[Row]:
    """Every system on every person, as it is."""
    for name, encode in systems.items():
        yield _row(people, name, partial(_encoded, encode))


def _encoded(encode: Encode, person: Recorded) -> Float64:
    test = person.test
    return encode([test.epoch(row) for row in range(len(test))])


def adapter_rows(people: People, *, seed: int = 0) -> Iterator[Row]:
    """Every adapter behind the encoder that ships, and the one that a calibration would keep."""
    base = NetworkBase(load_encoder())

    def vectors(name: str, person: Recorded) -> Float64:
        learnt, test = person.calibration, base.prepare(person.test)
        if name == CHOSEN:
            method = fit_adapter(learnt, seed=seed, with_curve=False).method
        else:
            targets = np.zeros((0, 0)) if learnt.targets is None else learnt.targets[learnt.rows]
            method = find_method(name).fit(
                Fitting(
                    base.prepare(learnt),
                    targets.astype(np.float64),
                    learnt.rows,
                    base,
                    seed,
                    Watch(),
                )
            )
        return embed(method, test, base)

    for name in (*PICTURES, CHOSEN):
        title = f"adapter: {name}"
        yield _row(people, title, partial(vectors, name))


def _row(people: People, name: str, vectors: Callable[[Recorded], Float64]) -> Row:
    asked: Sequence[Asked] = [
        Asked(vectors(each) @ _targets(each.test).T, each.test.rows) for each in people.recorded
    ]
    return row_of(people.data, name, asked, audit=people.audit)


def _targets(data: CalibrationData) -> Float64:
    if data.targets is None:
        return np.zeros((0, 0))
    return data.targets.astype(np.float64)
