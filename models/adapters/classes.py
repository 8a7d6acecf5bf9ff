"""Calibration for plain classes of events (face, house, left, right) instead of pictures.

Owns the classes' half of a calibration, what a class means in the gallery where nobody said, and
fitting without judging.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from configs import FilterConfig
from models.adapters.adapter import Adapter, open_reader
from models.adapters.class_scores import class_scores, session_score
from models.adapters.data import CalibrationData
from models.adapters.decoders import DECODERS
from models.adapters.errors import AdapterError
from models.adapters.evaluation import Comparison, Scored
from models.adapters.lda import SpatioTemporalLda
from models.adapters.manifest import (
    CLASSES,
    ENSEMBLE,
    AdapterManifest,
    EncoderReference,
    EventClasses,
    Scores,
)
from models.adapters.methods import Method
from models.adapters.methods.classes import ClassBase, ClassDiscriminant
from models.adapters.methods.ensemble import ClassEnsemble
from models.adapters.methods.names import check_methods
from models.adapters.problems import Fit, Problem
from models.adapters.report import (
    CalibrationReport,
    ClassScores,
    MethodScore,
    SessionScore,
    TransferReport,
)
from models.adapters.scoring import Ints, Splits, block_splits
from models.adapters.selection import N_BLOCKS, N_FILTERS, validate
from models.adapters.suggesting import NO_PICTURE, suggestion, target_of
from models.adapters.targets import Target, prototypes
from models.adapters.transfer import choose_transfer, own_rows
from models.adapters.window import Window
from pipeline.gallery import SPACE, Gallery, load_gallery
from pipeline.interpolation import channel_covariance
from pipeline.values import Epoch, Float64

WINDOW = (0.0, 0.6)


class ClassProblem(Problem):
    """Which class of events it was, with nothing known beforehand."""

    base: ClassBase

    def __init__(
        self,
        data: CalibrationData,
        *,
        seed: int,
        gallery: Gallery | None = None,
        methods: Sequence[str] = (),
        subject: str = "anonymous",
    ) -> None:
        check_methods(methods, is_classes=True)
        encoders = [name for name in methods if name not in (*DECODERS, ENSEMBLE)]
        # Encoders come beside the usual decoders; who names some of these wants no others.
        decoders = tuple(name for name in DECODERS if name in methods) or tuple(DECODERS)
        self.recorded, self.seed, self.subject = data, seed, subject
        self.transfer = choose_transfer(data, subject, WINDOW)
        self.data = data = self.transfer.data
        self.gallery = (gallery or load_gallery()).demand(SPACE, what="an adapter of classes")
        self.targets = class_targets(data, self.gallery)
        window = Window(data.channels, data.sfreq, *WINDOW)
        readers = {name: open_reader(name) for name in encoders}
        places = prototypes(self.targets, self.gallery)
        self.base = ClassBase(window, places, encoders=readers, decoders=decoders)
        self.batch = self.base.prepare(data)
        self.rows, self.candidates = data.rows, np.eye(len(self.targets))
        self.splits = _own_splits(data, subject)
        self.methods = (ClassEnsemble,)
        self._each: dict[str, Float64] = {}
        self._tested = np.zeros(len(self.rows), dtype=bool)
        _check_counts(data, self.splits)

    @property
    def transfer_report(self) -> TransferReport | None:
        """See the base class."""
        return self.transfer.report

    @property
    def split(self) -> str:
        """Classes cannot be held out, so only time is kept apart."""
        return self.splits.sentence.replace(", and no stimulus of a tested epoch,", "")

    def is_enough(self, kept: Ints) -> bool:
        """Whether each class has four epochs."""
        return bool(np.bincount(self.rows[kept], minlength=len(self.targets)).min() >= 4)

    def baseline(self) -> list[Scored]:
        """A decoder that knows how frequent the classes are, and guesses between equal ones."""
        rng = np.random.default_rng([self.seed, 67])
        guesses = 1e-9 * rng.standard_normal((len(self.rows), len(self.targets)))
        guesses += self._log_prior
        tested = np.zeros(len(self.rows), dtype=bool)
        tested[own_rows(self.data, self.subject)] = True
        return [Scored("chance", "guessing", 0, guesses, guesses, self.rows, tested, 0.0)]

    @property
    def _log_prior(self) -> Float64:
        counts = np.bincount(self.rows, minlength=len(self.targets)) + 1.0
        return np.asarray(np.log(counts / counts.sum()))

    def contenders(self, found: Sequence[Scored]) -> list[Scored]:
        """All but the guesses."""
        return list(found[1:])

    def others(self) -> list[Scored]:
        """Each decoder alone, of the same folds."""
        return [
            Scored(title, title, 2, logits, logits, self.rows, self._tested.copy(), 0.0)
            for title, logits in self._each.items()
        ]

    def choose(self, found: Sequence[Scored]) -> Scored:
        """The one method there is: it chooses among decoders within what it is fitted on."""
        return found[-1]

    def score(self, method: Method[Any, Any], test: Ints) -> tuple[Float64, Float64]:
        """The classes' probabilities are what a session ranks."""
        batch = self.batch.take(test)
        evidence = method.evidence(batch, self.base)
        if isinstance(method, ClassEnsemble) and not self._tested[test].any():
            for title, own in method.each_evidence(batch).items():
                self._each.setdefault(title, np.zeros((len(self.rows), len(self.targets))))
                self._each[title][test] = own
            self._tested[test] = True
        return evidence, evidence

    def class_scores(self, best: Scored, fit: Fit) -> ClassScores:
        """Everything that accuracy does not say, and each session by what the others teach."""
        blocks = np.zeros(len(self.rows), dtype=np.intp)
        for number, (_, test) in enumerate(self.splits.folds):
            blocks[test] = number
        keep = best.tested
        return class_scores(
            best.logits[keep],
            self.rows[keep],
            [target.event for target in self.targets],
            log_prior=self._log_prior,
            blocks=blocks[keep],
            sessions=self._left_out(fit),
            seed=self.seed,
        )

    def _left_out(self, fit: Fit) -> list[SessionScore]:
        names = np.array(self.data.sessions)
        if not len(names):
            return []
        whole = tuple(dict.fromkeys(names[own_rows(self.data, self.subject)]))
        found = []
        for name in whole if len(whole) > 1 else ():
            test, train = np.flatnonzero(names == name), np.flatnonzero(names != name)
            if not self.is_enough(train):
                continue
            evidence = fit(train).evidence(self.batch.take(test), self.base)
            subject = self.data.subjects[test[0]] if self.data.subjects else ""
            found.append(
                session_score(
                    evidence, self.rows[test], self._log_prior, session=name, subject=subject
                )
            )
        return found

    def words(
        self, best: Scored, scores: Sequence[MethodScore], comparison: Comparison
    ) -> tuple[float, str, str]:
        """Without an adapter classes of events cannot be told apart at all."""
        del comparison
        counts = np.bincount(self.rows)
        without = max(scores[0].chance, float(counts.max() / counts.sum()))
        alone = ", ".join(f"{each.title} {100 * each.accuracy:.1f} %" for each in scores[1:])
        return (
            without,
            f"{best.title}: {100 * best.accuracy:.1f} % of epochs that it had not seen were right, "
            f"{100 * without:.1f} % without looking; each alone: {alone}.",
            f"With the adapter {100 * best.accuracy:.1f} %, without it classes of events cannot be "
            f"told apart at all (the commonest or chance: {100 * without:.1f} %).",
        )

    def adapter(self, method: Method[Any, Any], report: CalibrationReport, subject: str) -> Adapter:
        """The adapter of a method that was fitted to all epochs; its probabilities are honest."""
        data, n_classes = self.data, len(self.targets)
        best = report.methods[0]
        manifest = AdapterManifest(
            kind=method.name,
            subject=subject,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            ch_names=data.channels,
            montage=data.channels,
            sfreq=data.sfreq,
            filter=data.filter,
            classes=EventClasses(
                targets=self.targets,
                tmin=WINDOW[0],
                tmax=WINDOW[1],
                n_filters=len(method.lda.filters) if isinstance(method, ClassDiscriminant) else 1,
                temperature=1.0,
                gallery_sha256=self.gallery.sha256,
                is_aligned=self.transfer.reference is not None,
                encoders=self._encoders(method),
                scores=Scores(
                    n_epochs=len(self.rows),
                    accuracy=best.accuracy,
                    chance=1.0 / n_classes,
                    p_value=report.p_value,
                    nll=max(best.surprise, 0.0),
                    n_blocks=max(self.splits.n_blocks, 2),
                ),
            ),
            report=report,
            data_sha256=self.recorded.sha256,
        )
        # As they come: what an epoch lacks is told before it is aligned.
        epochs = [self.recorded.epoch(row) for row in range(len(self.recorded))]
        kept = {each.system: self.base.encoders[each.system] for each in self._encoders(method)}
        base = replace(self.base, encoders=kept)
        covariance = channel_covariance(epochs, data.channels)
        return Adapter(manifest, method, base, self.transfer.reference, interpolation=covariance)

    def _encoders(self, method: Method[Any, Any]) -> tuple[EncoderReference, ...]:
        """Those whose heads were chosen; the others need not be there when it decodes."""
        chosen = method.chosen if isinstance(method, ClassEnsemble) else ()
        return tuple(
            EncoderReference(
                system=name,
                sha256=reader.spec.sha256,
                space=reader.spec.space,
                n_features=reader.spec.n_features,
            )
            for name, reader in self.base.encoders.items()
            if name in chosen
        )


def fit_classes(
    epochs: Sequence[Epoch],
    targets: Sequence[Target],
    gallery: Gallery,
    *,
    filter_config: FilterConfig,
    ch_names: Sequence[str] = (),
    tmin: float = WINDOW[0],
    tmax: float = WINDOW[1],
    n_filters: Sequence[int] = N_FILTERS,
    subject: str = "anonymous",
    created: str = "",
    recordings: Mapping[str, str] | None = None,
) -> Adapter:
    """Fit an adapter of classes, and judge nothing but its settings.

    Parameters
    ----------
    epochs : sequence of Epoch
        In order of time; those whose event is not among the targets do not count.
    targets : sequence of Target
        The classes.
    gallery : Gallery
        Whose space the embeddings are to lie in.
    filter_config : FilterConfig
        The filter that the epochs came through.
    ch_names : sequence of str
        Channels to use; empty: all of the first epoch.
    tmin, tmax : float
        Window, s from onset.
    n_filters : sequence of int
        Counts of spatial filters to choose from.

    Raises
    ------
    AdapterError
        Too few epochs of a class, or epochs that do not fit each other or the window.
    """
    classes = tuple(targets)
    order = {target.event: row for row, target in enumerate(classes)}
    used = [epoch for epoch in epochs if epoch.event in order]
    if not used:
        raise AdapterError(
            f"none of {len(epochs)} epochs is of {', '.join(order)}: check the markers' labels."
        )
    info = used[0].info
    window = Window(tuple(ch_names) or info.ch_names, info.sfreq, tmin, tmax)
    features = window.stack(used)
    labels = np.array([order[epoch.event] for epoch in used], dtype=np.intp)
    found = validate(features, labels, n_classes=len(classes), n_filters=n_filters)
    lda = SpatioTemporalLda.fit(features, labels, n_classes=len(classes), n_filters=found.n_filters)
    manifest = AdapterManifest(
        kind=CLASSES,
        subject=subject,
        created=created,
        ch_names=window.ch_names,
        sfreq=window.sfreq,
        filter=filter_config,
        classes=EventClasses(
            targets=classes,
            tmin=tmin,
            tmax=tmax,
            n_filters=len(lda.filters),
            temperature=found.temperature,
            gallery_sha256=gallery.sha256,
            scores=Scores(
                n_epochs=len(labels),
                accuracy=found.accuracy,
                chance=1.0 / len(classes),
                p_value=found.p_value,
                nll=found.nll,
                n_blocks=N_BLOCKS,
            ),
        ),
        recordings=dict(recordings or {}),
    )
    base = ClassBase(window, prototypes(classes, gallery), found.temperature)
    return Adapter(manifest, ClassDiscriminant(lda), base)


def class_probabilities(adapter: Adapter, epoch: Epoch) -> Float64:
    """Class probabilities of one epoch, (n_classes,) float64, in the order of the classes.

    Raises
    ------
    AdapterError
        The adapter decodes no classes, or the epoch does not fit it.
    """
    adapter.manifest.event_classes  # noqa: B018 - refuses an adapter of pictures
    base: Any = adapter.base
    probabilities: Float64 = base.probabilities(adapter.evidence(epoch)[np.newaxis])[0]
    return probabilities


def class_targets(data: CalibrationData, gallery: Gallery) -> tuple[Target, ...]:
    """What the classes mean in the gallery: as given, else what their names suggest.

    A class whose name suggests no picture has none: nothing else is ever put in its place.
    """
    if data.classes:
        return data.classes
    return tuple(
        target_of(name, suggestion(name, gallery) or NO_PICTURE, gallery)
        for name in data.class_names
    )


def _own_splits(data: CalibrationData, subject: str) -> Splits:
    """Blocks of time; of other people's epochs none is tested, and all are learnt from."""
    own = own_rows(data, subject)
    if len(own) == len(data):
        return block_splits(data.onsets)
    found = block_splits(data.onsets[own])
    everybody = np.arange(len(data))
    folds = tuple((np.setdiff1d(everybody, own[test]), own[test]) for _, test in found.folds)
    return replace(found, folds=folds)


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
