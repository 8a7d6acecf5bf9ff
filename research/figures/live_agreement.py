"""A session over LSL beside the file that was played to it: same epochs, same answers.

Takes the session's own `recording.xdf` (what came over the wire, clocks and jitter included) and
the file, runs both through the live path, and compares trial by trial.

    python -m research.figures.live_agreement --session DIR --data faces-houses --adapter DIR
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.errors import AppError
from app.output import write_text
from app.report.record import read_record
from models.adapters import Adapter, load_adapter
from models.adapters.classes import class_probabilities
from pipeline.values import Epoch
from research.figures import scores
from research.figures.real_brain import face_scores, truth_of
from research.figures.recording import (
    CALIBRATION,
    duration_of,
    find_recording,
    live_epochs,
    session_config,
)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a session and the file's own run compare; `difference` in microvolts."""

    n_trials: int
    difference: float
    onset_error: float
    n_same: int
    n_test: int
    six: scores.Estimate
    face_house_area: scores.Estimate
    n_pictures: int
    n_same_as_pictures: int


def compare(session: Path, data: Path, adapter: Adapter) -> Agreement:
    """Compare the trials of a session with the same ones of the file."""
    path = find_recording(data)
    config = session_config(adapter.manifest.ch_names)
    played = live_epochs(path, config).epochs
    heard = live_epochs(session / "recording.xdf", config).epochs
    pairs = _paired(played, heard)
    same = [_guess(adapter, a) == _guess(adapter, b) for a, b in pairs]
    split = CALIBRATION * duration_of(path)
    tested = [b for a, b in pairs if a.t_onset >= split]
    truth = truth_of(tested)
    probability = np.stack([class_probabilities(adapter, epoch) for epoch in tested])
    pictures = truth < 4
    drawn = {event.index: event.top[0][0] for event in read_record(session).decoded if event.top}
    names = adapter.manifest.event_classes.events
    shown = [(drawn[e.index], names[_guess(adapter, e)]) for e in tested if drawn.get(e.index)]
    return Agreement(
        n_trials=len(pairs),
        difference=max(float(np.abs(a.data - b.data).max()) for a, b in pairs),
        onset_error=max(abs(b.onset_error) for _, b in pairs),
        n_same=sum(same),
        n_test=len(tested),
        six=scores.proportion(probability.argmax(axis=1) == truth),
        face_house_area=scores.area_estimate(
            face_scores(probability)[pictures], truth[pictures] < 2
        ),
        n_pictures=len(shown),
        n_same_as_pictures=sum(a == b for a, b in shown),
    )


def _paired(played: Sequence[Epoch], heard: Sequence[Epoch]) -> list[tuple[Epoch, Epoch]]:
    """Pair what was played with what was heard: a run of the file's trials, wherever it began."""
    events = [epoch.event for epoch in heard]
    for first in range(len(played) - len(heard), -1, -1):
        run = played[first : first + len(heard)]
        if heard and [epoch.event for epoch in run] == events:
            return list(zip(run, heard, strict=True))
    raise AppError("the session's trials are no run of the file's: give the session that heard it.")


def _guess(adapter: Adapter, epoch: Epoch) -> int:
    return int(class_probabilities(adapter, epoch).argmax())


def main(argv: Sequence[str] | None = None) -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(
        prog="python -m research.figures.live_agreement", description=__doc__
    )
    parser.add_argument("--session", type=Path, required=True, metavar="DIR")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--adapter", type=Path, required=True, metavar="DIR")
    args = parser.parse_args(argv)
    found = compare(args.session, args.data, load_adapter(args.adapter))
    write_text(
        f"{found.n_trials} trials over LSL and from the file\n"
        f"largest difference of an epoch: {found.difference:.2g} µV; "
        f"onset at most {1000 * found.onset_error:.2f} ms from its sample\n"
        f"same class: {found.n_same} of {found.n_trials}\n"
        f"test part: {found.n_test} trials, six classes {scores.percent(found.six)} %, "
        f"face against house AUC {scores.decimal(found.face_house_area)}\n"
        f"the picture's nearest gallery class is the decoder's class: {found.n_same_as_pictures} "
        f"of {found.n_pictures}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
