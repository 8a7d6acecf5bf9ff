"""An adapter for one person, from any source of labelled epochs.

Owns the order of the steps: the live path, the classes, the fit, the store. Each is the command's
own (`phosphene calibrate --from`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.calibration.collection import Collection, by_markers
from app.port import EpochEvent
from configs import SessionConfig
from phosphene.live import cut_epochs
from pipeline.gallery import load_gallery
from pipeline.ports import Source

if TYPE_CHECKING:
    from models.adapters import CalibrationReport


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What a calibration found; made by `calibrate`.

    Attributes
    ----------
    report : CalibrationReport
        Accuracy under cross-validation against chance and against no adapter, p-value, whether
        the data leak the answer, and the same in sentences.
    folder : Path or None
        The stored adapter, for `load_system(adapter=...)`; None where nothing was stored.
    adapter_id : str
        As `phosphene adapters list` shows it; empty where nothing was stored.
    counts : mapping of str to int
        Usable epochs by class.
    """

    report: CalibrationReport
    folder: Path | None
    adapter_id: str
    counts: Mapping[str, int]


def calibrate(
    source: Path | str | Source | Any,
    *,
    subject: str = "anonymous",
    labels: Mapping[str, str] | Sequence[str] | None = None,
    settings: SessionConfig | None = None,
    store: Path | None = None,
    save: bool = True,
    methods: Sequence[str] = (),
    seed: int = 0,
) -> Calibration:
    """Fit an adapter to a person, and say what it is worth.

    Parameters
    ----------
    source : path, Source, mne.io.BaseRaw or mne.BaseEpochs
        A few minutes with labelled events; see `from_mne`.
    subject : str
        Code, no name: letters, digits, `_`, `-`.
    labels : mapping of str to str, or sequence of str, optional
        Class by event, or the events that are classes. None: the gallery's labels among the
        events, else every event that came at least ten times.
    settings : SessionConfig, optional
        Filter and epochs; sessions that use the adapter need the same filter.
    store : Path, optional
        Root of the adapter store; None: the user's own.
    save : bool
        Keep the adapter in the store, where something was found.
    methods : sequence of str
        To choose among: `aligned`, `ridge`, `pattern`, `low-rank`, `lora`; empty: the usual ones.
        The encoder as it is always takes part.
    seed : int
        Of every random choice.

    Returns
    -------
    Calibration

    Raises
    ------
    PhospheneError
        Too few epochs of a class, or a source that cannot be read.

    Examples
    --------
    >>> import phosphene
    >>> person = phosphene.calibrate("walk.fif", subject="s01")  # doctest: +SKIP
    >>> system = phosphene.load_system(adapter=person.folder)  # doctest: +SKIP
    """
    from app.calibration.data import calibration_data
    from app.calibration.reading import default_classes
    from models.adapters import AdapterStore
    from models.adapters.fit import fit_adapter
    from models.registry import open_encoder
    from models.repeatable import given_back

    settings = by_markers(settings or SessionConfig())
    wanted = dict(labels) if isinstance(labels, Mapping) else {name: name for name in labels or ()}
    collection = Collection(wanted)
    for verdict in cut_epochs(source, settings=settings):
        collection.take(EpochEvent.of(verdict))
    if not wanted:
        collection.restrict(default_classes(collection.counts.good, load_gallery(settings.gallery)))
    data = calibration_data(collection.epochs(), settings)
    with given_back():
        encoder = None if data.is_classes else open_encoder(settings.decoder)
        adapter = fit_adapter(
            data,
            encoder=encoder,
            system=settings.decoder.system,
            methods=methods,
            seed=seed,
            subject=subject,
        )
    counts = collection.counts.good
    if not save or adapter.report.verdict != "found":
        return Calibration(adapter.report, None, "", counts)
    record = AdapterStore(store).save(adapter, subject=subject, preset=settings.preset)
    return Calibration(adapter.report, record.folder, record.adapter_id, counts)
