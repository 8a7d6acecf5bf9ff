"""What is drawn: epochs of a recording, of a session, of an MNE file, or prepared THINGS-EEG2.

Owns how each becomes embeddings with labels, one at a time. A recording goes through the live
path, so that a session's epochs come out as the session cut them. Knows nothing of modes or files
that are written.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.errors import AppError
from app.runtime.folder import RECORDING, SESSION
from app.runtime.results import seed_of
from configs import SessionConfig, load_config
from pipeline.values import Embedding, Epoch, Info, Outcome, Uint8, Verdict

if TYPE_CHECKING:
    from devices.choosing import StreamChoice
    from models.drawing import Drawer

MNE_EPOCHS = ("-epo.fif", "_epo.fif", "-epo.fif.gz", "_epo.fif.gz")
MICROVOLTS = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One thing to draw: an embedding, the true label ("" if unknown), the seed of its picture.

    `n_averaged` epochs were averaged before; `shown` is what the person saw, where it is there.
    """

    index: int
    label: str
    embedding: Embedding
    seed: int
    n_averaged: int = 1
    shown: Uint8 | None = None


_Items = Iterator[tuple[int, Callable[[], Item]]]


def parse_picks(text: str | None) -> tuple[int, ...] | None:
    """Read `--picks`: numbers and ranges with commas, `0,3,7-9`.

    Raises
    ------
    AppError
        It is something else.
    """
    if text is None:
        return None
    picks: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdigit() or not (last or first).isdigit():
            raise AppError(f"--picks has {part!r}, expected numbers or ranges such as 0,3,7-9.")
        picks += range(int(first), int(last or first) + 1)
    return tuple(dict.fromkeys(picks))


def items_of(
    data: Path,
    drawer: Drawer,
    config: SessionConfig,
    *,
    average: bool | None = None,
    picks: Sequence[int] | None = None,
    board: str | None = None,
    choice: StreamChoice | None = None,
) -> Iterator[Item]:
    """Embed what `data` holds.

    Parameters
    ----------
    data : Path
        A folder of prepared THINGS-EEG2, a session folder, MNE epochs (`-epo.fif`), or a recording
        with markers.
    average : bool or None
        One item a label (of prepared data: a picture), from the mean of its epochs; None: for
        prepared data only, as published.
    picks : sequence of int or None
        Which items, counted from 0 after averaging; all of `data` is read before the first one.
    board : str or None
        BrainFlow board of a CSV file.
    choice : StreamChoice or None
        Which of a recording's streams.

    Raises
    ------
    PhospheneError
        `data` cannot be read, holds no epoch, or lacks one that was picked.
    """
    is_mne = data.name.endswith(MNE_EPOCHS)
    epochs = _mne_epochs(data) if is_mne else _recorded(data, config, board, choice)
    items = _items(data, drawer, epochs, config, average=average)
    if picks is not None:
        items = _picked(items, set(picks), data)
    is_empty = True
    for _, make in items:
        is_empty = False
        yield make()
    if is_empty:
        raise AppError(f"{data} has no epoch that can be decoded: give other data.")


def _picked(items: _Items, wanted: set[int], data: Path) -> _Items:
    """Those that are wanted, once all of them are known to be there."""
    there: list[int] = []
    kept = []
    for index, make in items:
        there.append(index)
        if index in wanted:
            kept.append((index, make))
    missing = wanted.difference(there)
    if missing and there:
        raise AppError(
            f"{data} has no item {min(missing)}, it has {_ranges(there)}: choose among them with "
            "--picks."
        )
    yield from kept


def _ranges(numbers: Sequence[int]) -> str:
    """Rising numbers as `--picks` takes them; of many ranges the first ones."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    texts = ["-".join(map(str, run)) for run in runs]
    most = 12
    return ",".join(texts[:most]) + (f",... up to {numbers[-1]}" if len(texts) > most else "")


def _items(
    data: Path,
    drawer: Drawer,
    epochs: Iterator[Epoch],
    config: SessionConfig,
    *,
    average: bool | None,
) -> _Items:
    """Each item's number, and what makes it."""
    if (data / "eeg.npy").is_file():
        yield from _prepared(data, drawer, config.seed, average is not False)
        return

    def make(epoch: Epoch, n_averaged: int) -> Item:
        own, shown = seed_of(config.seed, epoch), _shown(epoch.event, config.gallery)
        return Item(epoch.index, epoch.event, drawer.encode(epoch), own, n_averaged, shown)

    for epoch, n_averaged in _averaged(epochs) if average else ((each, 1) for each in epochs):
        yield epoch.index, partial(make, epoch, n_averaged)


def session_of(path: Path) -> SessionConfig | None:
    """Settings of the session that made a recording, where they lie beside it."""
    beside = (path if path.is_dir() else path.parent) / SESSION
    return load_config(beside) if beside.is_file() else None


def _recorded(
    path: Path, config: SessionConfig, board: str | None, choice: StreamChoice | None
) -> Iterator[Epoch]:
    """Decodable epochs of a recording, through the live path."""
    from devices.replay import RecordedSource
    from pipeline.live import LivePath

    recording = path / RECORDING if path.is_dir() else path
    if not recording.is_file():
        raise AppError(
            f"{recording}: no such file, expected a recording, a session folder, MNE epochs "
            "(-epo.fif) or a folder of prepared THINGS-EEG2."
        )
    source = RecordedSource(recording, board=board, choice=choice)
    try:
        live = LivePath(config, source.streams)
        while items := source.read(1.0):
            for item in items:
                yield from _usable(live.feed(item))
        yield from _usable(live.finish())
    finally:
        source.close()


def _usable(verdicts: Sequence[Verdict]) -> Iterator[Epoch]:
    for verdict in verdicts:
        if verdict.epoch is not None and verdict.outcome is Outcome.DECODED:
            yield verdict.epoch


def _mne_epochs(path: Path) -> Iterator[Epoch]:
    import mne

    try:
        epochs = mne.read_epochs(path, preload=True, verbose="error")
    except (OSError, ValueError, LookupError, AttributeError, TypeError, struct.error) as error:
        # MNE reads what is damaged until something does not fit.
        raise AppError(f"{path} holds no MNE epochs ({error}).") from None
    epochs.pick("eeg")
    names = {code: name for name, code in epochs.event_id.items()}
    info = Info(tuple(epochs.ch_names), float(epochs.info["sfreq"]))
    for index, (volts, event) in enumerate(zip(epochs.get_data(), epochs.events, strict=True)):
        yield Epoch(
            (volts * MICROVOLTS).astype(np.float32),
            tmin=float(epochs.tmin),
            tmax=float(epochs.tmax),
            t_onset=float(event[0] / epochs.info["sfreq"]),
            event=names.get(int(event[2]), str(event[2])),
            info=info,
            index=index,
        )


def _averaged(epochs: Iterator[Epoch]) -> Iterator[tuple[Epoch, int]]:
    """One epoch a label, in the order of their first, with the count."""
    groups: dict[str, list[Epoch]] = {}
    for epoch in epochs:
        groups.setdefault(epoch.event, []).append(epoch)
    for index, group in enumerate(groups.values()):
        mean = np.stack([epoch.data for epoch in group]).mean(axis=0, dtype=np.float64)
        data = np.asarray(mean, dtype=np.float32)
        yield replace(group[0], data=data, index=index), len(group)


def _shown(label: str, gallery_name: str | None) -> Uint8 | None:
    from pipeline.gallery import load_gallery

    gallery = load_gallery(gallery_name)
    return gallery.image(label) if label in gallery.labels else None


def _prepared(folder: Path, drawer: Drawer, seed: int, average: bool) -> _Items:
    from models.atm.data import open_epochs

    data = open_epochs(folder, [])
    data = data.averaged() if average else data
    pictures = _manifest(folder)

    def make(index: int) -> Item:
        batch = data.batch([index])
        eeg = batch.eeg[0].numpy()
        image = int(batch.image_ids)
        name = pictures[image] if image < len(pictures) else ""
        digest = hashlib.sha256(seed.to_bytes(8, "little") + eeg.tobytes()).digest()
        return Item(
            index,
            _concept(name),
            drawer.encode_prepared(
                eeg, data.used_names, subject_id=int(batch.subject_ids), index=index
            ),
            int.from_bytes(digest[:7], "little"),
            len(data.items[index]),
            _picture(folder / "images" / name) if name else None,
        )

    for index in range(len(data)):
        yield index, partial(make, index)


def _manifest(folder: Path) -> list[str]:
    """Pictures by image id, as the stage `features` lists them; none: labels are unknown."""
    path = folder / "features" / "pictures.json"
    if not path.is_file():
        return []
    try:
        return [str(name) for name in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise AppError(f"{path} is no list of pictures ({error}).") from None


def _concept(name: str) -> str:
    from models.multimodal.features import concept_of

    return concept_of(Path(name)) if name else ""


def _picture(path: Path) -> Uint8 | None:
    from models.multimodal.features import read_picture

    return read_picture(path, side=256) if path.is_file() else None
