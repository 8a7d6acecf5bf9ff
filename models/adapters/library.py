"""Adapters kept by person: one folder a subject, one below it an adapter, nothing overwritten.

Owns names, the active adapter and its history, export and import, and deleting people with all
their data. What an adapter is, `store` knows; no torch until one is loaded.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from models.adapters.data import CalibrationData
from models.adapters.encoder import AdapterEncoder
from models.adapters.errors import AdapterError
from models.adapters.files import write_pair
from models.adapters.manifest import AdapterManifest, PersonalManifest
from models.adapters.online import OnlineAligned
from models.adapters.store import (
    MANIFEST_NAME,
    WEIGHTS_NAME,
    load_any,
    load_live,
    read_manifest,
    save_adapter,
    save_personal,
)

if TYPE_CHECKING:
    from models.adapters.personal import PersonalEncoder
    from models.adapters.train import Calibration
    from models.embedded.encoder import EmbeddedEncoder

STATE_NAME = "active.json"
DATA_FOLDER = "calibration"
HOME_VARIABLE = "PHOSPHENE_HOME"
MAX_IMPORT = 64 * 2**20
"""Largest file of an imported adapter, bytes: a header that claims more is refused."""
_SUBJECT = re.compile(r"^[A-Za-z0-9_-]{1,64}$")


@dataclass(frozen=True, slots=True)
class AdapterRecord:
    """One adapter of the store, as a list shows it.

    `problem` is a sentence when its manifest cannot be read; the other fields are then empty.
    """

    id: str
    subject: str
    folder: Path
    is_active: bool
    created: str = ""
    method: str = ""
    ch_names: tuple[str, ...] = ()
    sfreq: float = 0.0
    accuracy: float | None = None
    chance: float | None = None
    p_value: float | None = None
    verdict: str = ""
    has_data: bool = False
    problem: str = ""


def default_root() -> Path:
    """Where adapters are kept: `$PHOSPHENE_HOME/adapters`, else the user's data folder."""
    import os

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
        if not self.root.is_dir():
            return ()
        return tuple(sorted(p.name for p in self.root.iterdir() if _is_subject(p)))

    def list(self, subject: str | None = None) -> tuple[AdapterRecord, ...]:
        """Return the adapters (of one person), by subject, then oldest first; never raises."""
        names = self.subjects() if subject is None else (subject,)
        return tuple(
            self._record(name, folder)
            for name in names
            if _SUBJECT.match(name)
            for folder in self._folders(name)
        )

    def show(self, id: str) -> AdapterManifest | PersonalManifest:
        """Return everything that an adapter says of itself, its report included."""
        return read_manifest(self.folder(id))

    def folder(self, id: str) -> Path:
        """Return the folder of an adapter: what `decoder.adapter` takes.

        Raises
        ------
        AdapterError
            There is none of that id.
        """
        for name in self.subjects():
            if id and Path(id).name == id and (self.root / name / id).is_dir():
                return self.root / name / id
        known = [record.id for record in self.list()]
        raise AdapterError(
            f"there is no adapter {id!r} in {self.root}, expected one of "
            f"{', '.join(known[-5:]) or 'none: calibrate first'}."
        )

    def resolve(self, reference: str) -> Path:
        """Return the folder of an id, or of a path to a folder as it is."""
        path = Path(reference)
        if (path / MANIFEST_NAME).is_file():
            return path
        return self.folder(reference)

    # -- keeping ----------------------------------------------------------------------------------

    def save(
        self,
        calibration: Calibration,
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
        _check_subject(subject)
        update = {"subject": subject, "preset": preset, "recordings": dict(recordings or {})}
        adapter = calibration.adapter
        if not adapter.manifest.created:
            update["created"] = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = adapter.manifest.model_copy(update=update)
        adapter_id = self._new_id(subject)
        partial = self.root / subject / f".{adapter_id}.part"
        _save(replace(adapter, manifest=manifest), partial)  # type: ignore[arg-type]
        if data is not None:
            data.save(partial / DATA_FOLDER)
        self._publish(partial, self.root / subject / adapter_id)
        if activate:
            self.activate(adapter_id)
        return self._record(subject, self.root / subject / adapter_id)

    def load(
        self,
        id: str,
        *,
        subject: str | None = None,
        force: bool = False,
        encoder: EmbeddedEncoder | None = None,
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
        folder = self.folder(id)
        self._check_owner(folder, subject, force=force)
        return load_live(folder, encoder=encoder)

    def load_data(self, id: str) -> CalibrationData:
        """Load the epochs that were kept with an adapter."""
        return CalibrationData.load(self.folder(id) / DATA_FOLDER)

    def activate(
        self,
        id: str,
        *,
        subject: str | None = None,
        force: bool = False,
        encoder: EmbeddedEncoder | None = None,
    ) -> AdapterRecord:
        """Make an adapter its person's active one; one that cannot be loaded is refused first."""
        folder = self.folder(id)
        self._check_owner(folder, subject, force=force)
        load_any(folder, encoder=encoder)
        owner = folder.parent.name
        history = tuple(each for each in self._history(owner) if each != id)
        self._set_history(owner, (*history, id))
        return self._record(owner, folder)

    def active(self, subject: str) -> AdapterRecord | None:
        """Return a person's active adapter; None without one."""
        _check_subject(subject)
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
        _check_subject(subject)
        history = self._history(subject)
        if not history:
            raise AdapterError(f"{subject} has no active adapter, so nothing to go back from.")
        self._set_history(subject, history[:-1])
        return self.active(subject)

    # -- moving and deleting ----------------------------------------------------------------------

    def export(self, id: str, path: Path) -> Path:
        """Write an adapter (without the epochs) as one zip file; an existing file is refused."""
        folder = self.folder(id)
        read_manifest(folder)
        path = path if path.suffix == ".zip" else path.with_name(f"{path.name}.zip")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as stream, zipfile.ZipFile(stream, "w") as archive:
                for name in (MANIFEST_NAME, WEIGHTS_NAME):
                    archive.write(folder / name, name)
        except FileExistsError as error:
            raise AdapterError(f"{path} exists already: give another name.") from error
        except OSError as error:
            raise AdapterError(f"cannot write {path} ({error}).") from error
        return path

    def import_(
        self,
        path: Path,
        *,
        subject: str | None = None,
        force: bool = False,
        encoder: EmbeddedEncoder | None = None,
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
        files = _read_files(Path(path))
        incoming = self.root / ".incoming"
        shutil.rmtree(incoming, ignore_errors=True)
        try:
            write_pair(incoming, *files)
            manifest = read_manifest(incoming)
            self._check_owner(incoming, subject, force=force, owner=manifest.subject)
            adapter = load_any(incoming, encoder=encoder)
            name = subject or manifest.subject
            adapter_id = self._new_id(name)
            partial = self.root / name / f".{adapter_id}.part"
            if name != manifest.subject:
                renamed = manifest.model_copy(update={"subject": name})
                adapter = replace(adapter, manifest=renamed)  # type: ignore[arg-type]
                _save(adapter, partial)
            else:
                partial.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(incoming, partial)
            self._publish(partial, self.root / name / adapter_id)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        return self._record(name, self.root / name / adapter_id)

    def delete(self, id: str) -> None:
        """Delete one adapter and the epochs kept with it; an active one is rolled back first."""
        folder = self.folder(id)
        owner = folder.parent.name
        history = tuple(each for each in self._history(owner) if each != id)
        self._set_history(owner, history)
        _remove(folder)

    def delete_subject(self, subject: str) -> int:
        """Delete a person: every adapter, every kept epoch; return how many adapters there were.

        Raises
        ------
        AdapterError
            There is no such person, or something could not be deleted.
        """
        _check_subject(subject)
        folder = self.root / subject
        if not folder.is_dir():
            raise AdapterError(f"there is no subject {subject!r} in {self.root}.")
        n_adapters = len(self._folders(subject))
        _remove(folder)
        return n_adapters

    # -- inside -----------------------------------------------------------------------------------

    def _folders(self, subject: str) -> tuple[Path, ...]:
        folder = self.root / subject
        if not folder.is_dir():
            return ()
        found = (p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
        return tuple(sorted(found))

    def _record(self, subject: str, folder: Path) -> AdapterRecord:
        history = self._history(subject)
        record = AdapterRecord(
            id=folder.name,
            subject=subject,
            folder=folder,
            is_active=bool(history) and history[-1] == folder.name,
            has_data=(folder / DATA_FOLDER).is_dir(),
        )
        try:
            manifest = read_manifest(folder)
        except AdapterError as error:
            return replace(record, problem=str(error))
        report = manifest.report
        record = replace(
            record, created=manifest.created, ch_names=manifest.ch_names, sfreq=manifest.sfreq
        )
        if report is None:
            if isinstance(manifest, PersonalManifest):
                return record
            scores = manifest.scores
            return replace(
                record,
                method=manifest.kind,
                accuracy=scores.accuracy,
                chance=scores.chance,
                p_value=scores.p_value,
            )
        score = report.score(report.method)
        return replace(
            record,
            method=report.method,
            accuracy=report.with_adapter,
            chance=1 / report.n_candidates if score is None else score.chance,
            p_value=report.p_value,
            verdict=report.verdict,
        )

    def _new_id(self, subject: str) -> str:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        for n in range(1, 1000):
            name = f"{subject}-{stamp}" if n == 1 else f"{subject}-{stamp}-{n}"
            if not (self.root / subject / name).exists():
                return name
        raise AdapterError(f"{self.root / subject} holds too many adapters of {stamp}.")

    @staticmethod
    def _publish(partial: Path, folder: Path) -> None:
        try:
            partial.rename(folder)
        except OSError as error:
            raise AdapterError(f"cannot write {folder} ({error}).") from error

    def _history(self, subject: str) -> tuple[str, ...]:
        path = self.root / subject / STATE_NAME
        try:
            words = json.loads(path.read_text(encoding="utf-8"))
            names = tuple(str(each) for each in words["history"])
        except (OSError, ValueError, KeyError, TypeError):
            return ()
        return tuple(each for each in names if (self.root / subject / each).is_dir())

    def _set_history(self, subject: str, history: tuple[str, ...]) -> None:
        text = json.dumps({"schema_version": 1, "history": history}, indent=1).encode() + b"\n"
        write_pair(self.root / subject, (STATE_NAME, text))

    @staticmethod
    def _check_owner(
        folder: Path, subject: str | None, *, force: bool, owner: str | None = None
    ) -> None:
        owner = owner or folder.parent.name
        if subject is not None and subject != owner and not force:
            raise AdapterError(
                f"the adapter {folder.name.lstrip('.')} is {owner}'s, the session is {subject}'s: "
                "calibrate this person, or force it."
            )


def _save(adapter: AdapterEncoder | PersonalEncoder, folder: Path) -> None:
    if isinstance(adapter, AdapterEncoder):
        save_adapter(adapter, folder)
    else:
        save_personal(adapter, folder)


def _is_subject(path: Path) -> bool:
    return path.is_dir() and bool(_SUBJECT.match(path.name))


def _check_subject(subject: str) -> None:
    if not _SUBJECT.match(subject):
        raise AdapterError(
            f"{subject!r} is no subject code, expected 1 to 64 letters, digits, '_' or '-'."
        )


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise AdapterError(f"could not delete all of {folder} ({error}).") from error


def _read_files(path: Path) -> tuple[tuple[str, bytes], ...]:
    """Read the two files of a zip or folder; weights first, the manifest last."""
    names = (WEIGHTS_NAME, MANIFEST_NAME)
    try:
        if path.is_dir():
            return tuple((name, (path / name).read_bytes()) for name in names)
        with zipfile.ZipFile(path) as archive:
            for name in names:
                if archive.getinfo(name).file_size > MAX_IMPORT:
                    raise AdapterError(
                        f"{path}: {name} claims {archive.getinfo(name).file_size} bytes, expected "
                        f"at most {MAX_IMPORT}: it is no adapter."
                    )
            return tuple((name, archive.read(name)) for name in names)
    except (OSError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise AdapterError(
            f"{path} is no exported adapter ({error}), expected a zip file or folder with "
            f"{MANIFEST_NAME} and {WEIGHTS_NAME}."
        ) from error
