"""Makes calibrations: on a stream, a virtual headset, or a recording; the one door to them.

Owns the wiring of flow, session, trainer and folder. Imports what is heavy only when asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app import recordings
from app.calibration.channels import use_of
from app.calibration.collection import Collection
from app.calibration.files import DATA_FOLDER
from app.calibration.flow import Flow
from app.calibration.ports import Calibrating, Trainer
from app.calibration.schedule import Choices
from app.calibration.steps import Training
from app.calibration.words import never_came
from app.errors import FolderError
from app.runtime.folder import RECORDING, SESSIONS, default_out
from app.source_options import NO_OPTIONS, SourceOptions
from configs import SessionConfig
from devices.choosing import StreamChoice
from pipeline.gallery import load_gallery
from pipeline.values import Epoch

if TYPE_CHECKING:
    from app.calibration.extending import Earlier
    from app.calibration.reading import ReadPart, Until
    from app.calibration.stored import StoredAdapters
    from models.adapters.data import CalibrationData


class CalibrationFactory:
    """Makes flows that are not started yet.

    Parameters
    ----------
    store : Path, optional
        Root of the adapter store; the user's own by default.
    methods : tuple of str
        Adapters to choose among; empty: the usual ones.
    root : callable
        Folder below which each calibration gets its own; asked anew each time.
    """

    def __init__(
        self,
        *,
        store: Path | None = None,
        methods: tuple[str, ...] = (),
        root: Callable[[], Path] = lambda: SESSIONS,
    ) -> None:
        self._root = root
        self._store = store
        self._methods = methods

    def live(
        self, config: SessionConfig, *, out: Path | None = None, choices: Choices | None = None
    ) -> Flow:
        """A calibration on the stream that `config.source` names."""

        def open_live(out: Path, collection: Collection) -> Calibrating:
            from app.calibration.live import open_stream

            return open_stream(config, out=out, collection=collection)

        name = config.source.source_id or config.source.name or "any EEG stream"
        return self._live(config, open_live, out=out, choices=choices, origin=f"stream {name}")

    def virtual(
        self, config: SessionConfig, *, out: Path | None = None, choices: Choices | None = None
    ) -> Flow:
        """A calibration on a virtual headset of its own, over LSL, in real time."""

        def open_live(out: Path, collection: Collection) -> Calibrating:
            from app.calibration.live import open_virtual

            return open_virtual(config, out=out, collection=collection)

        return self._live(config, open_live, out=out, choices=choices, origin=_virtual(config))

    def accelerated(
        self, config: SessionConfig, *, choices: Choices, out: Path | None = None
    ) -> Flow:
        """A calibration of a virtual person without LSL and without waiting."""

        def open_live(out: Path, collection: Collection) -> Calibrating:
            from app.calibration.live import open_accelerated

            gallery = load_gallery(config.gallery)
            planned = Flow.plan_of(choices, gallery)
            # Before the first sample: it does not wait for anybody.
            collection.expect(choices.labels(gallery))
            return open_accelerated(config, out=out, collection=collection, planned=planned)

        return self._live(config, open_live, out=out, choices=choices, origin=_virtual(config))

    def recording(
        self,
        path: Path | Sequence[Path],
        config: SessionConfig,
        *,
        out: Path | None = None,
        classes: Mapping[str, str] | None = None,
        pictures: Mapping[str, str] | None = None,
        board: str | None = None,
        choice: StreamChoice | None = None,
        options: SourceOptions = NO_OPTIONS,
        until: Until | None = None,
        seed: int = 0,
        others: Sequence[Path] = (),
        before: Earlier | None = None,
        asks: bool = False,
    ) -> Flow:
        """A calibration from recordings or session folders; `classes` by marker label.

        `pictures` are labels of the gallery by class (None: see
        `app.calibration.data.calibration_data`); `choice` and `until` as in
        `app.calibration.reading.read_recording`; `options` are a person's choice of this
        recording, which a `session.toml` beside it does not outweigh. `others` are recordings of
        other people, learnt from where that helps; `before` is the calibration that is extended.
        With `asks` the flow waits for classes and pictures after reading, but for a session of
        ours, which says.

        Raises
        ------
        AppError
            A recording is given twice.
        """
        from app.calibration.reading import (
            check_once,
            recording_of,
            settings_of,
            speaks_for_itself,
        )

        paths = [*([path] if isinstance(path, Path) else path), *others]
        check_once(paths)
        if choice is None and options != NO_OPTIONS:
            from app.runtime.launch import choice_of

            config = options.applied(settings_of(recording_of(paths[0]), config), is_replay=True)
            choice = choice_of(config, options)
        folder = _new(out or default_out(self._root(), suffix="-calibration"))
        collection = Collection(classes)
        read = _Recordings(
            paths, config, collection, out=folder, board=board, choice=choice, until=until
        )
        asks = asks and not speaks_for_itself(recording_of(paths[0]))
        read.pictures, read.asks = pictures, asks
        return Flow(
            subject=config.subject,
            out=folder,
            collection=collection,
            prepare=lambda: self._trainer(
                read.config,
                collection,
                folder,
                seed=seed,
                parts=read.parts,
                pictures=read.pictures,
                note=read.notes.extend,
                n_others=len(others),
                before=before,
            ),
            read=read,
            sort=read.sort if asks else None,
            reading=lambda: read.progress,
            notes=lambda: tuple(read.notes),
            origin="recording " + ", ".join(map(str, paths)),
        )

    def stored(self) -> StoredAdapters:
        """The stored adapters."""
        from app.calibration.stored import StoredAdapters

        return StoredAdapters(self._store)

    def _live(
        self,
        config: SessionConfig,
        open_live: Callable[[Path, Collection], Calibrating],
        *,
        out: Path | None,
        choices: Choices | None,
        origin: str,
    ) -> Flow:
        folder, collection = out or default_out(self._root(), suffix="-calibration"), Collection()
        return Flow(
            subject=config.subject,
            out=folder,
            collection=collection,
            prepare=lambda: self._trainer(
                config, collection, folder, seed=config.seed, recording=folder / RECORDING
            ),
            open_live=lambda: open_live(folder, collection),
            choices=choices,
            gallery=load_gallery(config.gallery),
            origin=origin,
        )

    def _trainer(
        self,
        config: SessionConfig,
        collection: Collection,
        out: Path,
        *,
        seed: int,
        recording: Path | None = None,
        parts: Sequence[ReadPart] = (),
        pictures: Mapping[str, str] | None = None,
        note: Callable[[Sequence[str]], None] = lambda _sentences: None,
        n_others: int = 0,
        before: Earlier | None = None,
    ) -> Trainer:
        from app.calibration.data import calibration_data, joined_data, said_of
        from app.calibration.extending import unlike
        from app.calibration.reading import names_of
        from app.calibration.training import ProcessTrainer

        past = [] if before is None else before.sessions()
        names = unlike(names_of(parts), [each.session for each in past])
        if before is not None:
            before.check_new({name: part.sha256 for name, part in zip(names, parts, strict=True)})
        if parts:
            n_own = len(parts) - n_others
            whose = [
                config.subject if k < n_own else person_of(part.path, k)
                for k, part in enumerate(parts)
            ]
            each = [collection.epochs(k + 1) for k in range(len(parts))]
            found = list(zip(names, whose, each, strict=True))
            kept, refused = without_narrower(found, parts, n_own=n_own)
            found = [found[k] for k in kept]
            data = joined_data(found, config, pictures=pictures, before=past)
            used = [parts[k] for k in kept]
            note([*refused, *_said_of_channels(found, used, data), *said_of(data)])
        else:
            data = calibration_data(collection.epochs(), config, pictures=pictures)
            note([*use_of([epoch for _, epoch in collection.epochs()]).sentences, *said_of(data)])
        folder = out / DATA_FOLDER
        data.save(folder)
        return ProcessTrainer(
            folder,
            config,
            subject=config.subject,
            seed=seed,
            store=self._store,
            recording=recording,
            methods=self._methods,
            class_of=collection.class_of,
            parts=parts,
            names=names,
            before=None if before is None else before.manifest,
        )


def without_narrower(
    found: Sequence[tuple[str, str, Sequence[tuple[str, Epoch]]]],
    parts: Sequence[ReadPart],
    *,
    n_own: int,
) -> tuple[list[int], list[str]]:
    """Leave out other people's recordings that have not all of a person's own channels.

    What is joined has the channels that all share: who is offered as a help may cost none.

    Returns
    -------
    kept : list of int
    said : list of str
        What is left out, and why.
    """
    uses = [
        set(use_of([epoch for _, epoch in epochs], part.ch_names).used) if epochs else None
        for (_, _, epochs), part in zip(found, parts, strict=True)
    ]
    own = [use for use in uses[:n_own] if use is not None]
    needed = set.intersection(*own) if own else set()
    kept, said = list(range(n_own)), []
    for k in range(n_own, len(found)):
        use = uses[k]
        lacking = sorted(needed - (use or set()))
        if use is None or not lacking:
            kept.append(k)
            continue
        said.append(
            f"{found[k][0]} is not learnt from: it lacks {', '.join(lacking[:8])}, which "
            f"{'is' if len(lacking) == 1 else 'are'} good here."
        )
    return kept, said


def _said_of_channels(
    found: Sequence[tuple[str, str, Sequence[tuple[str, Epoch]]]],
    parts: Sequence[ReadPart],
    data: CalibrationData,
) -> list[str]:
    """What each recording leaves out, and what they do not share."""
    said = []
    for (name, _, epochs), part in zip(found, parts, strict=True):
        if epochs:
            use = use_of([epoch for _, epoch in epochs], part.ch_names)
            said += [f"{name}: {line}" if len(found) > 1 else line for line in use.sentences]
    widest = max((part.ch_names for part in parts), key=len)
    if len(parts) > 1 and len(data.channels) < len(widest):
        said.append(f"Used: the {len(data.channels)} channels that every recording has.")
    return said


def person_of(path: Path, number: int) -> str:
    """Whose a recording is, as its name says (BIDS: `sub-02`), else a person of its own."""
    return recordings.person_of(path) or f"other-{number + 1}"


class _Recordings:
    """Reads recordings one after the other into one collection, each into a folder of its own."""

    def __init__(
        self,
        paths: Sequence[Path],
        config: SessionConfig,
        collection: Collection,
        *,
        out: Path,
        board: str | None,
        choice: StreamChoice | None,
        until: Until | None,
    ) -> None:
        self._paths, self._collection, self._out = paths, collection, out
        self._given, self._board, self._choice, self._until = config, board, choice, until
        self.asks = False
        self.pictures: Mapping[str, str] | None = None
        self.parts: list[ReadPart] = []
        self.notes: list[str] = []
        self.progress = Training()

    @property
    def config(self) -> SessionConfig:
        """The settings that the first was read with."""
        return self.parts[0].config

    def __call__(self, stop: threading.Event) -> None:
        from app.calibration.reading import default_classes, read_recording

        for number, path in enumerate(self._paths):
            out = self._out if len(self._paths) == 1 else self._out / f"{number + 1}-{path.stem}"
            self._collection.start_session()
            part = read_recording(
                path,
                self._given,
                self._collection,
                out=out,
                stop=stop,
                board=self._board,
                choice=self._choice,
                until=self._until,
                on_progress=partial(self._tell, number),
            )
            self.parts.append(part)
        self.notes.extend(self._collection.settle())
        if (unseen := self._collection.unseen) and self._collection.counts.n_good:
            self.notes.append(never_came(unseen, self._collection.others))
        if not self._collection.class_of and not stop.is_set() and not self.asks:
            gallery = load_gallery(self.config.gallery)
            self._collection.restrict(default_classes(self._collection.counts.good, gallery))

    def sort(self, classes: Mapping[str, str], pictures: Mapping[str, str]) -> None:
        """Keep these classes of what was read, by marker's label, each drawn so."""
        self._collection.restrict(classes)
        self.pictures = dict(pictures)

    def _tell(self, n_done: int, share: float) -> None:
        self.progress = Training((n_done + share) / len(self._paths), "Reading.")


def _new(out: Path) -> Path:
    if out.exists() and any(out.iterdir()):
        raise FolderError(
            f"{out}: already holds {next(out.iterdir()).name!r}, expected a new or empty folder: "
            "choose another --out; nothing was overwritten."
        )
    return out


def _virtual(config: SessionConfig) -> str:
    simulation = config.simulation
    return (
        f"virtual person {simulation.subject_number} on {simulation.board} at SNR "
        f"{simulation.snr:g}"
    )
