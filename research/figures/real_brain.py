"""Decode a person who saw faces, houses and checkerboards: the table of `docs/real_brain.md`.

The recording runs packet by packet through the live path. The first 60 % of its time calibrates
an adapter, settings included; the rest is decoded once. `--calibration-only` shows what
cross-validation says and never touches the rest: use it while anything is still being chosen.

    python -m research.figures.real_brain --data faces-houses --calibration-only
    python -m research.figures.real_brain --data faces-houses --out adapters
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from app.output import write_json, write_note, write_text
from models.adapters import Adapter, Window, save_adapter
from models.adapters.classes import class_probabilities, fit_classes
from models.adapters.methods.classes import window_of
from pipeline.gallery import load_gallery
from pipeline.values import Epoch, Float64
from research.figures import scores
from research.figures.recording import (
    BROKEN,
    CALIBRATION,
    FILTER,
    MONTAGES,
    TARGETS,
    duration_of,
    find_recording,
    live_config,
    live_epochs,
    session_config,
)
from research.figures.scores import Estimate

WINDOWS = {"0 to 600 ms": (0.0, 0.6), "0 to 250 ms": (0.0, 0.25), "before onset": (-0.2, 0.0)}
"""What is decoded. The second ends before any answer (buttons follow checkerboards at 0.3 s and
later); the third can know nothing: it is the check for leaks."""
N_SHUFFLES = 20
N_FACES, N_PICTURES = 2, 4
"""The first two targets are faces, the first four faces and houses."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    montage: str
    window: str
    n_calibration: int
    n_test: int
    n_filters: int
    cross_validated: float
    six: Estimate | None = None
    kind: Estimate | None = None
    face_house: Estimate | None = None
    face_house_area: Estimate | None = None
    shuffled: float | None = None
    shuffled_largest: float | None = None
    plain_six: Estimate | None = None
    plain_area: Estimate | None = None
    confusion: tuple[tuple[int, ...], ...] = ()


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, as text or JSON; keep the adapters if asked."""
    parser = argparse.ArgumentParser(
        prog="python -m research.figures.real_brain", description=__doc__
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--calibration-only", action="store_true")
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="keep adapters here")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    path = find_recording(args.data)
    everything = tuple(name for name in MONTAGES["128"] if name not in BROKEN)
    live = live_epochs(path, session_config(everything))
    write_note(f"live path: {dict(live.outcomes)}")
    split = CALIBRATION * duration_of(path)
    # An epoch that reaches over the border counts for neither side.
    first = [e for e in live.epochs if e.t_onset + e.tmax < split]
    rest = [] if args.calibration_only else [e for e in live.epochs if e.t_onset >= split]
    rows = []
    for montage in MONTAGES:
        names = tuple(name for name in MONTAGES[montage] if name not in BROKEN)
        for window in WINDOWS:
            row, adapter = _row(montage, names, window, first, rest)
            write_note(f"{montage} channels, {window}: {row.cross_validated:.3f} cross-validated")
            rows.append(row)
            if args.out is not None and window == next(iter(WINDOWS)):
                _keep(adapter, args.out / f"faces-houses-{montage}")
    if args.json:
        write_json([asdict(row) for row in rows])
    else:
        write_text(_table(rows))
    return 0


def _keep(adapter: Adapter, folder: Path) -> None:
    """Write an adapter, and beside it the settings of a session that decodes with it."""
    save_adapter(adapter, folder)
    config = live_config(adapter.manifest.ch_names, folder.resolve())
    folder.with_suffix(".toml").write_bytes(tomli_w.dumps(config.to_table()).encode())


def _row(
    montage: str, names: tuple[str, ...], window: str, first: list[Epoch], rest: list[Epoch]
) -> tuple[Row, Adapter]:
    tmin, tmax = WINDOWS[window]
    adapter = _fit(first, names, tmin, tmax)
    classes = adapter.manifest.event_classes
    row = Row(
        montage=montage,
        window=window,
        n_calibration=classes.scores.n_epochs,
        n_test=len(rest),
        n_filters=classes.n_filters,
        cross_validated=classes.scores.accuracy,
    )
    return (_tested(row, adapter, first, rest) if rest else row), adapter


def _fit(epochs: Sequence[Epoch], names: tuple[str, ...], tmin: float, tmax: float) -> Adapter:
    return fit_classes(
        epochs,
        TARGETS,
        load_gallery(),
        filter_config=FILTER,
        ch_names=names,
        tmin=tmin,
        tmax=tmax,
        subject="faces-houses",
    )


def _tested(row: Row, adapter: Adapter, first: list[Epoch], rest: list[Epoch]) -> Row:
    truth = truth_of(rest)
    probability = np.stack([class_probabilities(adapter, epoch) for epoch in rest])
    guess = probability.argmax(axis=1)
    window = window_of(adapter.manifest)
    shuffled = _shuffled(window, first, rest)
    features, plain = window.stack(first), window.stack(rest)
    plain_probability = plain_lda(features, truth_of(first), plain)
    pictures = truth < N_PICTURES
    two = face_scores(probability)[pictures]
    plain_two = face_scores(plain_probability)[pictures]
    is_face = truth[pictures] < N_FACES
    return replace(
        row,
        six=scores.proportion(guess == truth),
        kind=scores.proportion(guess // 2 == truth // 2),
        face_house=scores.proportion((two > 0) == is_face),
        face_house_area=scores.area_estimate(two, is_face),
        shuffled=float(np.mean(shuffled)),
        shuffled_largest=float(np.max(shuffled)),
        plain_six=scores.proportion(plain_probability.argmax(axis=1) == truth),
        plain_area=scores.area_estimate(plain_two, is_face),
        confusion=tuple(map(tuple, scores.confusion(truth, guess, len(TARGETS)).tolist())),
    )


def truth_of(epochs: Sequence[Epoch]) -> NDArray[np.intp]:
    """Classes of epochs, (n_epochs,), as numbers in the order of `TARGETS`."""
    order = {target.event: row for row, target in enumerate(TARGETS)}
    return np.array([order[epoch.event] for epoch in epochs], dtype=np.intp)


def face_scores(probability: Float64) -> Float64:
    """Log odds of a face against a house, upside down or not, (n_epochs,)."""
    safe = np.maximum(probability, 1e-300)
    face = np.log(safe[:, :N_FACES].sum(axis=1))
    house = np.log(safe[:, N_FACES:N_PICTURES].sum(axis=1))
    return np.asarray(face - house)


def _shuffled(window: Window, first: list[Epoch], rest: list[Epoch]) -> list[float]:
    """Accuracy after a calibration in which labels were dealt out anew, choices included."""
    rng = np.random.default_rng(0)
    truth, found = truth_of(rest), []
    for _ in range(N_SHUFFLES):
        dealt = [first[k].event for k in rng.permutation(len(first))]
        epochs = [replace(e, event=event) for e, event in zip(first, dealt, strict=True)]
        adapter = _fit(epochs, window.ch_names, window.tmin, window.tmax)
        guess = np.array([class_probabilities(adapter, epoch).argmax() for epoch in rest])
        found.append(float((guess == truth).mean()))
    return found


def plain_lda(features: Float64, truth: NDArray[np.intp], new: Float64) -> Float64:
    """Shrinkage LDA on the same features: scikit-learn's, the peer in the table."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    peer: Any = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    peer.fit(features.reshape(len(features), -1), truth)
    return np.asarray(peer.predict_proba(new.reshape(len(new), -1)), dtype=np.float64)


def _table(rows: list[Row]) -> str:
    if rows[0].six is None:
        return scores.markdown(_CHOICE_HEADINGS, [_choice_cells(row) for row in rows])
    return scores.markdown(_HEADINGS, [_cells(row) for row in rows])


_CHOICE_HEADINGS = ("channels", "window", "trials", "filters", "six classes, cross-validated, %")
_HEADINGS = (
    "channels",
    "window",
    "six classes, %",
    "face, house or checker, %",
    "face against house, %",
    "the same, AUC",
    "plain LDA: six, %",
    "plain LDA: AUC",
    "labels shuffled, %",
    "cross-validated before, %",
)


def _choice_cells(row: Row) -> tuple[str, ...]:
    counts = (str(row.n_calibration), str(row.n_filters))
    return (row.montage, row.window, *counts, f"{100 * row.cross_validated:.1f}")


def _cells(row: Row) -> tuple[str, ...]:
    shown = (row.six, row.kind, row.face_house, row.face_house_area, row.plain_six, row.plain_area)
    six, kind, two, two_area, plain_six, plain_area = (each or Estimate(0, 0, 0) for each in shown)
    return (
        row.montage,
        row.window,
        scores.percent(six),
        scores.percent(kind),
        scores.percent(two),
        scores.decimal(two_area),
        scores.percent(plain_six),
        scores.decimal(plain_area),
        f"{100 * (row.shuffled or 0):.1f} (most {100 * (row.shuffled_largest or 0):.1f})",
        f"{100 * row.cross_validated:.1f}",
    )


if __name__ == "__main__":
    raise SystemExit(main())
