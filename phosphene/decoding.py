"""From any source to decoded trials, and how good they are.

Owns the order of a session without its threads and files: live path, alignment, encoder, ranking,
generator. Each step is the session's own, so that the vectors and pictures are the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.accuracy import Accuracy
from app.ranking import rank_classes, rank_pictures
from app.runtime.messages import Steer, first_adapter
from app.runtime.results import seed_of
from app.runtime.statistics import accuracy_of_events
from app.runtime.stimuli import candidate_labels
from configs import SessionConfig
from phosphene.live import cut_epochs
from phosphene.systems import System, followed
from pipeline.errors import PhospheneError
from pipeline.gallery import Gallery, load_gallery
from pipeline.ports import Source
from pipeline.values import Embedding, Epoch, GeneratedImage, Outcome, Verdict

if TYPE_CHECKING:
    from app.report.record import Event


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One marker and what was decoded at it.

    Attributes
    ----------
    index : int
        Number of the marker, from 0.
    t_onset : float
        Its onset on the source's clock, s.
    label : str
        What the marker says was shown.
    outcome : Outcome
        `decoded`, or why there is no picture.
    reason : str
        The same as a sentence; empty when decoded.
    epoch : Epoch or None
        (n_channels, n_times) float32 microvolts, filtered.
    embedding : Embedding or None
    image : GeneratedImage or None
        (height, width, 3) uint8; None with `draw=False`.
    top : tuple of (str, float)
        Every candidate with its probability, best first: the classes of an adapter that has some,
        else the gallery's pictures; empty where these have no vectors in the encoder's space.
    rank : int or None
        Of the true label, or of its class, from 1; None where it is no candidate.
    chance : float or None
        1 / number of candidates; None without a ranking.
    confidence : float or None
        0 to 1; None where the encoder states none.
    """

    index: int
    t_onset: float
    label: str
    outcome: Outcome
    reason: str = ""
    epoch: Epoch | None = None
    embedding: Embedding | None = None
    image: GeneratedImage | None = None
    top: tuple[tuple[str, float], ...] = ()
    rank: int | None = None
    chance: float | None = None
    confidence: float | None = None

    def record(self) -> dict[str, Any]:
        """The trial as a flat record, such as a row of a pandas `DataFrame`."""
        best = self.top[0] if self.top else (None, None)
        return {
            "index": self.index,
            "t_onset": self.t_onset,
            "label": self.label,
            "outcome": str(self.outcome),
            "reason": self.reason,
            "answer": best[0],
            "probability": best[1],
            "rank": self.rank,
            "chance": self.chance,
            "confidence": self.confidence,
        }


def decode(
    source: Path | str | Source | Any,
    *,
    settings: SessionConfig | None = None,
    system: System | None = None,
    gallery: Gallery | None = None,
    draw: bool = True,
    duration: float | None = None,
) -> Iterator[Trial]:
    """Decode every marker of a source, as it comes.

    The same as `phosphene run --replay` of the same data: outcomes, vectors, rankings, pictures.

    Parameters
    ----------
    source : path, Source, mne.io.BaseRaw or mne.BaseEpochs
        See `open_recording`, `open_stream` and `from_mne`.
    settings : SessionConfig, optional
        None: those of `system`, else the default preset. What an adapter asks for holds in any
        case: its channels, its events (others are `ignored`), its window and filter.
    system : System, optional
        None: the one that `settings` name is loaded.
    gallery : Gallery, optional
        What is identified among; None: the settings' gallery, its stimuli of their kinds.
    draw : bool
        Whether to draw pictures, which takes most of the time.
    duration : float, optional
        Length to read of a live source, s.

    Yields
    ------
    Trial
        In the order in which the markers end.

    Raises
    ------
    PhospheneError
        As `open_recording` and `load_system`; an epoch that cannot be decoded is a trial that
        `failed`.

    Examples
    --------
    >>> import mne, numpy as np, phosphene
    >>> info = mne.create_info(["O1", "Oz", "O2", "P7", "P8"], 250.0, "eeg")
    >>> noise = 1e-5 * np.random.default_rng(0).normal(size=(5, 5000))
    >>> raw = mne.io.RawArray(noise, info, verbose="ERROR")
    >>> _ = raw.set_annotations(mne.Annotations([10.0, 12.0], 0.0, ["cat", "dog"]))
    >>> trials = list(phosphene.decode(raw, draw=False))
    >>> [(t.label, str(t.outcome), len(t.top)) for t in trials]
    [('cat', 'decoded', 227), ('dog', 'decoded', 227)]
    """
    if system is None:
        system = System(followed(settings or SessionConfig()))
    adapter = system.settings.decoder.adapter
    settings = system.settings if settings is None else settings
    if settings.decoder.adapter is None and adapter is not None:
        own = settings.decoder.model_copy(update={"adapter": adapter})
        settings = settings.model_copy(update={"decoder": own})
    settings = followed(settings)
    if gallery is None:
        whole = load_gallery(settings.gallery)
        gallery = whole.subset(labels=candidate_labels(whole, settings.stimuli))
    run = _Run(system, settings, gallery, draw=draw)
    for verdict in cut_epochs(source, settings=settings, duration=duration):
        yield run.take(verdict)


class _Run:
    """One pass over a source: alignment begins anew."""

    def __init__(
        self, system: System, settings: SessionConfig, gallery: Gallery, *, draw: bool
    ) -> None:
        from app.runtime.encoders import Steered

        self._system, self._settings, self._draw = system, settings, draw
        self._gallery = gallery.in_space(system.spec.space)
        self._steered = Steered(system.encoders)
        follows = settings.decoder.align
        self._steer = Steer(first_adapter(settings.decoder), frozen=False if follows else None)

    def take(self, verdict: Verdict) -> Trial:
        """Decode what a verdict brought."""
        marker, epoch = verdict.marker, verdict.epoch
        if epoch is None or verdict.outcome is not Outcome.DECODED:
            return Trial(
                marker.index,
                marker.t_onset,
                marker.label,
                verdict.outcome,
                verdict.reason,
                epoch=epoch,
            )
        try:
            return self._decode(epoch)
        except PhospheneError as error:
            return Trial(
                epoch.index, epoch.t_onset, epoch.event, Outcome.FAILED, str(error), epoch=epoch
            )

    def _decode(self, epoch: Epoch) -> Trial:
        from models.repeatable import repeatable

        with repeatable(self._settings.decoder.threads):
            encoder = self._steered.take(self._steer)
            self._steered.observe(epoch)
            embedding = encoder.encode(epoch)
        seed = seed_of(self._settings.seed, epoch)
        image = self._system.draw(embedding, seed=seed) if self._draw else None
        spec = encoder.spec
        if embedding.classes and self._settings.decoder.rank_classes:
            ranking = rank_classes(embedding.classes, spec, epoch.event)
        else:
            ranking = rank_pictures(embedding.vector, spec, epoch.event, self._gallery)
        return Trial(
            epoch.index,
            epoch.t_onset,
            epoch.event,
            Outcome.DECODED,
            epoch=epoch,
            embedding=embedding,
            image=image,
            top=ranking.top,
            rank=ranking.rank,
            chance=ranking.chance,
            confidence=embedding.confidence if spec.states_confidence else None,
        )


def score(trials: Iterable[Trial | Event]) -> Accuracy | None:
    """Count how often the shown stimulus was identified, against what shuffled labels give.

    Parameters
    ----------
    trials : iterable of Trial or Event
        Of `decode`, or a session's `events`; those without a rank are passed over.

    Returns
    -------
    Accuracy or None
        `n_correct` of `n`, `n_top5`, `mean_rank`; `chance` when the labels are shuffled among the
        trials; `low` to `high` (95 %) and `p_value`, both valid however often one looks. None
        where nothing was ranked.

    Examples
    --------
    >>> import phosphene
    >>> from phosphene import Outcome, Trial
    >>> labels = ["cat", "dog", "cow"] * 4
    >>> right = [
    ...     Trial(k, float(k), label, Outcome.DECODED, top=((label, 0.9),), rank=1, chance=1 / 3)
    ...     for k, label in enumerate(labels)
    ... ]
    >>> found = phosphene.score(right)
    >>> found.n_correct, found.n, round(found.chance, 2), found.p_value < 0.05
    (12, 12, 0.33, True)
    >>> phosphene.score([]) is None
    True
    """
    return accuracy_of_events(
        {
            "label": each.label,
            "rank": each.rank,
            "chance": each.chance,
            "top": [list(line) for line in each.top[:1]],
        }
        for each in trials
    )
