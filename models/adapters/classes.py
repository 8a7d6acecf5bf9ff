"""Calibration for plain classes of events (face, house, left, right) instead of pictures.

Owns the same steps as `train` for `SpatioTemporalLda`: blocks of time, chance, curve, leaks.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from models.adapters.calibration import calibrate
from models.adapters.data import CalibrationData
from models.adapters.errors import AdapterError
from models.adapters.evaluation import (
    Scored,
    compare,
    learning_curve,
    method_score,
    verdict_of,
)
from models.adapters.lda import SpatioTemporalLda
from models.adapters.leaks import check_leaks
from models.adapters.report import CalibrationReport
from models.adapters.scoring import Splits, block_splits, permutation_test
from models.adapters.selection import N_FILTERS, validate
from models.adapters.targets import Target
from models.adapters.window import Window
from pipeline.gallery import Gallery, load_gallery
from pipeline.values import Float64

if TYPE_CHECKING:
    from models.adapters.train import Calibration, _Teller

WINDOW = (0.0, 0.6)
N_PERMUTATIONS = 2000
TITLE = "discriminant in space and time"


def train_classes(
    data: CalibrationData, *, seed: int, subject: str, tell: _Teller, started: float
) -> Calibration:
    """Cross-validate and fit the discriminant; see `models.adapters.train.train_adapter`."""
    from models.adapters.train import Calibration

    gallery = load_gallery()
    targets = class_targets(data, gallery)
    window = Window(data.channels, data.sfreq, *WINDOW)
    tell(0.05, "cutting epochs")
    features = window.stack([data.epoch(row) for row in range(len(data))])
    splits = block_splits(data.onsets)
    _check_counts(data, splits)
    tell(0.1, f"cross-validating: {TITLE}")
    best = _scored(features, data, splits)
    guesses = _guesses(data, seed)
    chance = replace(best, name="chance", title="guessing", cost=0, scores=guesses, logits=guesses)
    tell(0.6, "testing against chance")
    test = permutation_test(
        [best.scores], data.rows, is_fitted=[True], seed=seed, n_permutations=N_PERMUTATIONS
    )
    leak = check_leaks(data, seed=seed)
    tell(0.7, "learning curve")
    curve = learning_curve(
        lambda minutes: _scored(features, data, splits, minutes=minutes), data.minutes, best
    )
    tell(0.9, f"fitting: {TITLE}")
    adapter = calibrate(
        [data.epoch(row) for row in range(len(data))],
        targets,
        gallery,
        filter_config=data.filter,
        ch_names=data.channels,
        tmin=WINDOW[0],
        tmax=WINDOW[1],
        subject=subject,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    score = method_score(best, chance, float(test.chance[0]))
    verdict, sentence = verdict_of(test.p_value, leak, best, [score])
    without = float(test.chance[0])
    comparison = compare(best, chance, data.onsets, seed=seed)
    report = CalibrationReport(
        verdict=verdict,
        sentence=sentence,
        method=best.name,
        reason=(
            f"{TITLE}: the one method for plain classes; {100 * best.accuracy:.1f} % of epochs "
            f"that it had not seen were right, {100 * without:.1f} % by chance."
        ),
        n_epochs=len(data),
        minutes=data.minutes,
        n_candidates=len(targets),
        is_classes=True,
        split=splits.sentence.replace(", and no stimulus of a tested epoch,", ""),
        methods=(score,),
        p_value=test.p_value,
        n_permutations=test.n_permutations,
        with_adapter=best.accuracy,
        without_adapter=without,
        difference_low=comparison.low,
        difference_high=comparison.high,
        comparison=(
            f"With the adapter {100 * best.accuracy:.1f} %, without it classes of events cannot be "
            f"told apart at all (chance {100 * without:.1f} %)."
        ),
        curve=curve,
        leak=leak,
        seconds=time.monotonic() - started,
    )
    manifest = adapter.manifest.model_copy(
        update={"montage": data.channels, "report": report, "data_sha256": data.sha256}
    )
    tell(1.0, "done")
    return Calibration(replace(adapter, manifest=manifest), report)


def class_targets(data: CalibrationData, gallery: Gallery) -> tuple[Target, ...]:
    """What the classes mean in the gallery: as given, by name, else one picture each.

    A class that is named as a stimulus or a category of the gallery means that; any other gets
    the next checkerboard or picture in the gallery's order, so that classes look different.
    """
    if data.classes:
        return data.classes
    taken = set(data.class_names)
    spare = iter(
        label
        for label in sorted(gallery.labels, key=lambda name: not name.startswith("checkerboard"))
        if label not in taken
    )
    found = []
    for name in data.class_names:
        if name in gallery.labels:
            found.append(Target(event=name, labels=(name,)))
        elif name in gallery.categories:
            found.append(Target(event=name, kind="upright", category=name))
        else:
            found.append(Target(event=name, labels=(next(spare),)))
    return tuple(found)


def _check_counts(data: CalibrationData, splits: Splits) -> None:
    n_classes = len(data.class_names)
    for train, _ in splits.folds:
        counts = np.bincount(data.rows[train], minlength=n_classes)
        if counts.min() < 2:
            absent = data.class_names[int(counts.argmin())]
            raise AdapterError(
                f"class {absent!r} has {counts.min()} epochs outside one of the blocks of time, "
                "expected at least two: show the classes in mixed order, and record longer."
            )


def _scored(
    features: Float64, data: CalibrationData, splits: Splits, *, minutes: float | None = None
) -> Scored:
    """Out-of-block logits; the count of filters is chosen inside each training part."""
    n_classes, rows = len(data.class_names), data.rows
    scores = np.zeros((len(rows), n_classes))
    tested = np.zeros(len(rows), dtype=bool)
    begin = time.monotonic()
    for train, test in splits.folds:
        kept = train
        if minutes is not None:
            units = np.floor((data.onsets[train] - data.onsets[0]) / 60)
            kept = train[np.isin(units, np.unique(units)[: max(1, round(minutes))])]
        if np.bincount(rows[kept], minlength=n_classes).min() < 4:
            continue
        try:
            n_filters = validate(
                features[kept], rows[kept], n_classes=n_classes, n_filters=N_FILTERS
            ).n_filters
        except AdapterError:  # a class is missing from an inner block: take the middle choice
            n_filters = N_FILTERS[len(N_FILTERS) // 2]
        fitted = SpatioTemporalLda.fit(
            features[kept], rows[kept], n_classes=n_classes, n_filters=n_filters
        )
        scores[test] = fitted.logits(features[test])
        tested[test] = True
    seconds = (time.monotonic() - begin) / max(len(splits.folds), 1)
    return Scored("spatio-temporal-lda", TITLE, 1, scores, scores, rows, tested, seconds)


def _guesses(data: CalibrationData, seed: int) -> Float64:
    """Scores of a decoder that guesses: the same for every class but for a tie-break."""
    rng = np.random.default_rng([seed, 67])
    return 1e-9 * rng.standard_normal((len(data), len(data.class_names)))
