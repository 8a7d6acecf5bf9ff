"""Adapters kept by person: one folder a subject, one below it an adapter, nothing overwritten.

Owns the active adapter, import, and deleting people with all their data, each safe beside other
processes: what arrives is staged out of sight and renamed into place under one lock. What an
adapter's files are, `files` knows; names are `naming`'s. No torch until one is loaded.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import platformdirs

from configs.private import make_private
from models.adapters import staging
from models.adapters.adapter import Adapter
from models.adapters.archive import read_adapter_files, write_archive
from models.adapters.atomic import write_pair
from models.adapters.data import CalibrationData
from models.adapters.errors import AdapterError, unwritable
from models.adapters.files import (
    MANIFEST_NAME,
    load_adapter,
    load_any,
    load_live,
    read_manifest,
    save_adapter,
)
from models.adapters.history import read_history, write_history
from models.adapters.looks import LooksAdapter
from models.adapters.manifest import AdapterManifest, parse_manifest
from models.adapters.naming import (
    check_adapter_id,
    check_inside,
    check_subject,
    is_adapter_id,
    is_subject,
    new_adapter_id,
)
from models.adapters.online import OnlineAligned
from models.api import Encoder
from models.locking import HeldError, locked

DATA_FOLDER = "calibration"
HOME_VARIABLE = "PHOSPHENE_HOME"
LOCK_NAME = ".lock"
LOCK_TIMEOUT = 30.0
"""Longest wait for another process that changes the store, s; each change takes milliseconds."""


@dataclass(frozen=True, slots=True)
class AdapterRecord:
    """One adapter of the store, as a list shows it.

    `accuracy`, `chance`, `without` are of its calibration's cross-validation; `p_value` of its
    permutation test; `created` is an ISO date; `system` is that of the encoder that it stands
    behind, empty for one of plain classes; `problem` is a sentence when its manifest cannot be
    read (what that tells is then empty); `has_data` says whether epochs are kept with it;
    `recordings` are the files that it was made from.
    """

    adapter_id: str
    subject: str
    folder: Path
    active: bool
    created: str = ""
    method: str = ""
    verdict: str = ""
    accuracy: float | None = None
    chance: float | None = None
    without: float | None = None
    p_value: float | None = None
    minutes: float = 0.0
    n_epochs: int = 0
    n_channels: int = 0
    sfreq: float = 0.0
    system: str = ""
    problem: str = ""
    has_data: bool = False
    recordings: tuple[str, ...] = ()

    def to_table(self) -> dict[str, Any]:
        """As JSON holds it; scripts know `adapter_id` as `id`."""
        return {"id": self.adapter_id} | asdict(self) | {"folder": str(self.folder)}

    def described(self, manifest: AdapterManifest) -> AdapterRecord:
        """Fill in what a manifest tells."""
        report, classes = manifest.report, manifest.classes
        record = replace(
            self,
            created=manifest.created,
            method=manifest.kind,
            n_channels=len(manifest.ch_names),
            sfreq=manifest.sfreq,
            system="" if manifest.encoder is None else manifest.encoder.system,
            recordings=tuple(manifest.recordings),
        )
        if report is not None:
            score = report.score(report.method)
            return replace(
                record,
                method=report.method,
                verdict=report.verdict,
                accuracy=report.with_adapter,
                chance=1 / report.n_candidates if score is None else score.chance,
                without=None if report.is_classes else report.without_adapter,
                p_value=report.p_value,
                minutes=report.minutes,
                n_epochs=report.n_epochs,
            )
        if manifest.looks is not None:
            looks = manifest.looks
            return replace(
                record,
                accuracy=looks.accuracy,
                chance=looks.chance,
                p_value=looks.p_value,
                minutes=looks.seconds / 60,
                n_epochs=looks.n_looks,
            )
        if classes is None:
            return record
        found = classes.scores
        return replace(record, accuracy=found.accuracy, chance=found.chance, p_value=found.p_value)


def default_root() -> Path:
    """Where adapters are kept: `$PHOSPHENE_HOME/adapters`, else the user's data folder."""
    home = os.environ.get(HOME_VARIABLE)
    if home:
        return Path(home) / "adapters"
    return Path(platformdirs.user_data_path("phosphene", appauthor=False)) / "adapters"


class AdapterStore:
    """The adapters below one folder.

    Parameters
    ----------
    root : Path, optional
        Made when something is saved; `default_root()` if not given.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = default_root() if root is None else Path(root)

    # -- looking ----------------------------------------------------------------------------------

    def subjects(self) -> tuple[str, ...]:
        """Codes of the people in the store, sorted."""
        return tuple(p.name for p in _folders_in(self.root) if is_subject(p.name))

    def list(self, subject: str | None = None) -> tuple[AdapterRecord, ...]:
        """Return the adapters (of one person), by subject, then oldest first; never raises."""
        names = self.subjects() if subject is None else (subject,)
        return tuple(
            self._record(name, folder)
            for name in names
            if is_subject(name)
            for folder in self._folders(name)
        )

    def record(self, adapter_id: str) -> AdapterRecord:
        """Return one adapter as a list shows it; raises where there is none of that id."""
        folder = self.folder(adapter_id)
        return self._record(folder.parent.name, folder)

    def show(self, adapter_id: str) -> AdapterManifest:
        """Return everything that an adapter says of itself, its report included."""
        return read_manifest(self.folder(adapter_id))

    def folder(self, adapter_id: str) -> Path:
        """Return the folder of an adapter: what `decoder.adapter` takes.

        Raises
        ------
        AdapterError
            There is none of that id, or it is no id.
        """
        check_adapter_id(adapter_id)
        for name in self.subjects():
            if (self.root / name / adapter_id).is_dir():
                return check_inside(self.root, self.root / name / adapter_id)
        known = [record.adapter_id for record in self.list()]
        raise AdapterError(
            f"there is no adapter {adapter_id!r} in {self.root}, expected one of "
            f"{', '.join(known[-5:]) or 'none: calibrate first'}."
        )

    def resolve(self, reference: str) -> Path:
        """Return the folder of an id, or of a path to a folder (to read from) as it is."""
        path = Path(reference)
        # Not `Path.is_file`, which raises for a text that is longer than a name can be.
        if os.path.isfile(path / MANIFEST_NAME):  # noqa: PTH113
            return path
        return self.folder(reference)

    # -- keeping ----------------------------------------------------------------------------------

    def save(
        self,
        adapter: Adapter | LooksAdapter,
        *,
        subject: str,
        preset: str = "",
        recordings: dict[str, str] | None = None,
        data: CalibrationData | None = None,
        activate: bool = True,
    ) -> AdapterRecord:
        """Keep an adapter under a new id; nothing is ever overwritten.

        Parameters
        ----------
        data : CalibrationData, optional
            Epochs to keep beside it; deleted with the person.
        activate : bool
            Make it the person's active one.
        """
        check_subject(subject)
        update = {"subject": subject, "preset": preset, "recordings": dict(recordings or {})}
        if not adapter.manifest.created:
            update["created"] = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = adapter.manifest.model_copy(update=update)
        with self._staged(subject) as room:
            save_adapter(replace(adapter, manifest=manifest), room)
            if data is not None:
                data.save(room / DATA_FOLDER)
            return self._publish(room, subject, activate=activate)

    def load(
        self,
        adapter_id: str,
        *,
        subject: str | None = None,
        force: bool = False,
        encoder: Encoder | None = None,
    ) -> OnlineAligned:
        """Load an adapter, ready to decode.

        Parameters
        ----------
        subject : str, optional
            Who is wearing the headset: another person's adapter is refused unless `force`.

        Raises
        ------
        AdapterError
            Unknown, damaged, made for another encoder, or another person's.
        """
        folder = self.folder(adapter_id)
        self._check_owner(adapter_id, folder.parent.name, subject, force=force)
        return load_live(folder, encoder=encoder)

    def load_data(self, adapter_id: str) -> CalibrationData:
        """Load the epochs that were kept with an adapter."""
        return CalibrationData.load(self.folder(adapter_id) / DATA_FOLDER)

    def activate(
        self,
        adapter_id: str,
        *,
        subject: str | None = None,
        force: bool = False,
        encoder: Encoder | None = None,
    ) -> AdapterRecord:
        """Make an adapter its person's active one; one that cannot be loaded is refused first."""
        folder = self.folder(adapter_id)
        self._check_owner(adapter_id, folder.parent.name, subject, force=force)
        load_adapter(folder, encoder=encoder)
        with self._changing():
            self._make_active(self.folder(adapter_id))
        return self._record(folder.parent.name, folder)

    def active(self, subject: str) -> AdapterRecord | None:
        """Return a person's active adapter; None without one."""
        check_subject(subject)
        history = self._history(subject)
        return self._record(subject, self.root / subject / history[-1]) if history else None

    def rollback(self, subject: str) -> AdapterRecord | None:
        """Make the adapter active that was so before; None: back to no adapter.

        The one that was active stays in the store.

        Raises
        ------
        AdapterError
            The person has no active adapter.
        """
        check_subject(subject)
        with self._changing():
            history = self._history(subject)
            if not history:
                raise AdapterError(f"{subject} has no active adapter, so nothing to go back from.")
            write_history(check_inside(self.root, self.root / subject), history[:-1])
        return self.active(subject)

    # -- moving and deleting ----------------------------------------------------------------------

    def export(self, adapter_id: str, path: Path) -> Path:
        """Write an adapter (without the epochs) as one zip file; an existing file is refused."""
        folder = self.folder(adapter_id)
        read_manifest(folder)
        path = path if path.suffix == ".zip" else path.with_name(f"{path.name}.zip")
        write_archive(folder, path)
        return path

    def import_(
        self,
        path: Path,
        *,
        subject: str | None = None,
        force: bool = False,
        encoder: Encoder | None = None,
    ) -> AdapterRecord:
        """Take in an exported zip file, or an adapter's folder, under a new id; not activated.

        Parameters
        ----------
        subject : str, optional
            Who it must be of; with `force` another person's is taken under this code.

        Raises
        ------
        AdapterError
            Not an adapter, damaged, made for another encoder, or another person's.
        """
        files = read_adapter_files(Path(path))
        manifest = parse_manifest(dict(files)[MANIFEST_NAME], Path(path) / MANIFEST_NAME)
        self._check_owner(str(path), manifest.subject, subject, force=force)
        name = check_subject(subject or manifest.subject)
        with self._staged(name) as room:
            write_pair(room, *files)
            try:
                adapter = load_any(room, encoder=encoder)
            except AdapterError as error:
                # The room is gone in a moment: the person knows the file that was given.
                raise AdapterError(str(error).replace(str(room), str(path))) from error
            if name != manifest.subject:
                renamed = manifest.model_copy(update={"subject": name})
                save_adapter(replace(adapter, manifest=renamed), room)
            return self._publish(room, name, activate=False)

    def delete(self, adapter_id: str) -> None:
        """Delete one adapter and the epochs kept with it; an active one is rolled back.

        Needs no room on the disk: the history is put in order afterwards, if that can be written.
        """
        with self._changing(writes=False):
            folder = self.folder(adapter_id)
            staging.discard(folder)
            with contextlib.suppress(AdapterError):
                if staging.has_history(folder.parent):
                    write_history(folder.parent, self._history(folder.parent.name))

    def delete_subject(self, subject: str) -> int:
        """Delete a person: every adapter, every kept epoch, every import that was never finished.

        Returns
        -------
        int
            How many adapters there were.

        Raises
        ------
        AdapterError
            There is no such person, or something could not be deleted.
        """
        with self._changing(writes=False):
            folder, left = self._person(subject)
            n_adapters = len(_folders_in(folder))
            for each in (*left, *((folder,) if folder.is_dir() else ())):
                staging.discard(each)
            # Of an import of earlier versions that died early nobody can say whose it was.
            staging.sweep(self.root, folder)
        return n_adapters

    def n_unfinished(self, subject: str) -> int:
        """Count the imports and calibrations of a person that were begun and never finished.

        Raises
        ------
        AdapterError
            There is no such person.
        """
        folder, left = self._person(subject)
        return len(staging.left_in(folder)) + len(left)

    # -- inside -----------------------------------------------------------------------------------

    def _person(self, subject: str) -> tuple[Path, tuple[Path, ...]]:
        """A person's folder, and what is left of this person outside of it."""
        folder = check_inside(self.root, self.root / check_subject(subject))
        left = staging.left_at_root(self.root, subject)
        if not folder.is_dir() and not left:
            raise AdapterError(f"there is no subject {subject!r} in {self.root}.")
        return folder, left

    @contextlib.contextmanager
    def _changing(self, *, writes: bool = True) -> Iterator[None]:
        """Hold the store's lock; without `writes` a full disk that has no room for it is no bar."""
        with contextlib.ExitStack() as stack:
            try:
                if writes:
                    make_private(self.root)
                    staging.tighten(self.root)
                if self.root.is_dir():
                    try:
                        stack.enter_context(locked(self.root / LOCK_NAME, timeout=LOCK_TIMEOUT))
                    except HeldError as error:
                        raise AdapterError(str(error)) from None
            except OSError as error:
                if writes:
                    raise AdapterError(unwritable(self.root, error)) from error
            yield

    @contextlib.contextmanager
    def _staged(self, subject: str) -> Iterator[Path]:
        """A folder that nobody else sees, in which an adapter is made; gone at the block's end."""
        parent = self.root / subject
        with self._changing():
            check_inside(self.root, parent)
            try:
                make_private(parent)
                staging.sweep(self.root, parent)
                room = staging.Staged.open(parent)
            except OSError as error:
                raise AdapterError(unwritable(parent, error)) from error
        try:
            yield room.folder
        finally:
            with self._changing(writes=False):
                room.close()

    def _publish(self, room: Path, subject: str, *, activate: bool) -> AdapterRecord:
        """Rename a finished adapter into its place, and make it the active one if asked to."""
        with self._changing():
            folder = self.root / subject / new_adapter_id(subject)
            try:
                room.rename(folder)
            except FileNotFoundError:
                raise AdapterError(
                    f"{subject} was deleted while this adapter was being stored: nothing is kept."
                ) from None
            except OSError as error:
                raise AdapterError(unwritable(folder, error)) from error
            if activate:
                self._make_active(folder)
        return self._record(subject, folder)

    def _make_active(self, folder: Path) -> None:
        """Put it last in its person's history; the lock is held."""
        before = (each for each in self._history(folder.parent.name) if each != folder.name)
        write_history(folder.parent, (*before, folder.name))

    def _history(self, subject: str) -> tuple[str, ...]:
        return read_history(self.root / subject)

    def _folders(self, subject: str) -> tuple[Path, ...]:
        return _folders_in(self.root / subject)

    def _record(self, subject: str, folder: Path) -> AdapterRecord:
        history = self._history(subject)
        record = AdapterRecord(
            adapter_id=folder.name,
            subject=subject,
            folder=folder,
            active=bool(history) and history[-1] == folder.name,
            has_data=(folder / DATA_FOLDER).is_dir(),
        )
        try:
            if not is_adapter_id(folder.name):
                raise AdapterError(f"{folder} has a name that is no id: it is not used.")
            return record.described(read_manifest(check_inside(self.root, folder)))
        except AdapterError as error:
            return replace(record, problem=str(error))

    @staticmethod
    def _check_owner(what: str, owner: str, subject: str | None, *, force: bool) -> None:
        if subject is not None and subject != owner and not force:
            raise AdapterError(
                f"the adapter {what} is {owner}'s, the session is {subject}'s: calibrate this "
                "person, or force it."
            )


def _folders_in(folder: Path) -> tuple[Path, ...]:
    """Folders that are shown, by name; a place that cannot be looked into holds none."""
    try:
        found = [p for p in folder.iterdir() if not p.name.startswith(".") and p.is_dir()]
    except OSError:
        return ()
    return tuple(sorted(found))
