"""The session folder: its lock, `session.toml`, `events.jsonl`, pictures, `summary.json`.

Owns the layout of the contract (cli.md) and the promise that nothing is overwritten. What becomes
of a file that the disk refuses is `writing`'s. Knows nothing of threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import tomli_w
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from app.errors import FolderError
from app.port import Result
from app.runtime.lock import LOCK, LockState, let_go, read_lock, remove_lock, write_lock
from app.runtime.writing import PatientFiles, why, write_atomically
from configs import SessionConfig
from configs.plain import utf8
from configs.private import FOLDER, make_private
from pipeline.values import StreamInfo, StreamRole, Uint8

SESSIONS = Path("sessions")
"""Where sessions lie that were given no folder, from the current one."""
EVENTS, SESSION, SUMMARY, REPORT = "events.jsonl", "session.toml", "summary.json", "report.html"
RECORDING = "recording.xdf"
RESERVE = ".phosphene.reserve"
"""A file that is given up at the end, so that events and summary find room on a full disk."""
_RESERVED = 192 << 10
_named: set[Path] = set()
"""Folders that `default_out` made, and no session has taken yet."""


def default_out(root: Path = SESSIONS, *, suffix: str = "") -> Path:
    """Make a new session folder below `root`, named by the time of day; `suffix` ends its name.

    Made at once and not only named: of many that begin in one second each gets its own.

    Raises
    ------
    FolderError
        It cannot be made.
    """
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S") + suffix
    out = root / stamp
    try:
        make_private(root)
        for number in itertools.count(2):
            with contextlib.suppress(FileExistsError):
                make_private(out, exist_ok=False)
                _named.add(out)
                break
            out = root / f"{stamp}-{number}"
    except OSError as error:
        raise FolderError(
            f"{out}: cannot be made ({error.strerror}), expected a folder to write to: choose one "
            "with --out."
        ) from None
    return out


def encode_png(pixels: Uint8, provenance: Mapping[str, str]) -> bytes:
    """Encode (height, width, 3) uint8 as PNG with `provenance` as text chunks.

    No date goes in: the same picture of the same epoch gives the same bytes in a replay.
    """
    text = PngInfo()
    for key, value in provenance.items():
        text.add_itxt(key, value)
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode=None).save(buffer, format="PNG", pnginfo=text, compress_level=3)
    return buffer.getvalue()


def result_to_json(result: Result) -> dict[str, Any]:
    """One line of `events.jsonl` as a dict, in the contract's names."""
    stages = result.stages
    return {
        "index": result.index,
        "t_onset": result.t_onset,
        "label": result.label,
        "outcome": str(result.outcome),
        "reason": result.reason,
        "top": [[label, round(score, 6)] for label, score in result.top],
        "chance": result.chance,
        "rank": result.rank,
        **_classes(result),
        **_summed(result),
        **_retrieved(result),
        "confidence": None if result.confidence is None else round(result.confidence, 6),
        "image": result.image_path,
        "image_sha256": result.image_sha256,
        "embedding_sha256": result.embedding_sha256,
        "stages_ms": None
        if stages is None
        else {
            name: round(getattr(stages, name), 3)
            for name in stages.__slots__
            if name != "network" or stages.network
        },
        **({"decoded_by": result.decoded_by} if result.decoded_by else {}),
        "quality": {name: round(float(value), 4) for name, value in result.quality.items()},
    }


def _retrieved(result: Result) -> dict[str, Any]:
    """What was found in a store of vectors, where a session has one."""
    if not result.retrieved:
        return {}
    return {"retrieved": [[label, round(cosine, 6)] for label, cosine in result.retrieved]}


def _summed(result: Result) -> dict[str, Any]:
    """What repetitions say together, where this trial completes a group of them."""
    if not result.summed:
        return {}
    return {
        "repetitions": [
            {
                "n": each.n,
                "top": [[label, round(score, 6)] for label, score in each.top],
                "chance": 1 / each.n_candidates,
                "rank": each.rank,
            }
            for each in result.summed
        ]
    }


def _classes(result: Result) -> dict[str, Any]:
    """What is said of classes, where some are decoded, and of trials that were learnt from."""
    table: dict[str, Any] = {"learnt": True} if result.learnt else {}
    if result.classes:
        table["class"] = result.truth or None
        table["classes"] = {name: round(p, 6) for name, p in result.classes}
    return table


class SessionFolder:
    """One session's output; exactly one process writes to it.

    Parameters
    ----------
    path : Path
        A folder that does not exist yet or is empty.
    fallback : Path or None
        Folder in which one of the same name takes what the disk of `path` refuses.

    Raises
    ------
    FolderError
        Another process writes there, it holds something already, or it cannot be made.
    """

    def __init__(self, path: Path, *, fallback: Path | None = None) -> None:
        self.path = self.finished_in = path
        self.fallback = None if fallback is None else fallback / path.resolve().name
        self.is_finished = False
        """Whether summary and all that belongs to it are written, in `finished_in`."""
        self._is_ours = path in _named or not path.exists()
        self._claim()
        _named.discard(path)
        self._session = b""
        self._is_settled = False
        try:
            (path / "images").mkdir(mode=FOLDER)
            self._files = PatientFiles(path, lines=EVENTS, fallback=self.fallback)
            with contextlib.suppress(OSError):
                write_atomically(path / RESERVE, bytes(_RESERVED))
        except OSError as error:
            with contextlib.suppress(OSError):
                remove_lock(path)
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> FolderError:
        return FolderError(
            f"{self.path}: cannot be written ({error.strerror}): make room, allow writing there, "
            "or choose another --out."
        )

    def _claim(self) -> None:
        try:
            make_private(self.path)
        except OSError as error:
            raise FolderError(
                f"{self.path}: cannot be made ({error.strerror}), expected a folder to write to: "
                "choose another --out."
            ) from None
        try:
            write_lock(self.path)
        except FileExistsError:
            raise FolderError(f"{self.path}: {_occupied(self.path)}") from None
        except OSError as error:
            raise self._unwritable(error) from None
        others = [entry.name for entry in self.path.iterdir() if entry.name != LOCK]
        if others:
            remove_lock(self.path)
            raise FolderError(
                f"{self.path}: already holds {others[0]!r}, expected a new or empty folder: "
                "choose another --out; nothing was overwritten."
            )

    @property
    def recording(self) -> Path:
        """Where the XDF goes."""
        return self.path / RECORDING

    def write_session(
        self,
        config: SessionConfig,
        *,
        run: Mapping[str, Any],
        streams: Mapping[StreamRole, StreamInfo],
    ) -> None:
        """Write `session.toml`: settings first, then what was found and run."""
        table = config.to_table()
        table["run"] = _without_none(dict(run))
        table["streams"] = {str(role): _stream_table(info) for role, info in streams.items()}
        self._session = utf8(tomli_w.dumps(table))
        self._files.write(SESSION, self._session)

    def write_image(self, index: int, png: bytes, *, below: str = "images") -> tuple[str, str]:
        """Write `images/NNNNNN.png`, or keep it; return its path in the folder and its SHA-256."""
        name = self._files.write(f"{below}/{index:06d}.png", png)
        return name, hashlib.sha256(png).hexdigest()

    @property
    def has_notes(self) -> bool:
        """Whether a person's notes are in it."""
        return (self.finished_in / "notes.txt").exists()

    def write_notes(self, text: str) -> None:
        """Write `notes.txt`: what the person at the computer noted, whole each time."""
        if self._files.settle({"notes.txt": utf8(text)}) is None:
            raise FolderError(
                f"{self.path / 'notes.txt'}: cannot be written ({self._why()}), the notes are "
                "not saved: make room or allow writing there."
            )

    def add_event(self, result: Result) -> None:
        """Append one line at once (order of completion), so that a crash loses none.

        One that the disk refuses waits in memory. Never raises.
        """
        self._files.append(json.dumps(result_to_json(result), ensure_ascii=False))

    def retry(self) -> None:
        """Write what the disk has refused before, about once a second; call it often."""
        self._files.retry()

    @property
    def alarm(self) -> str:
        """One sentence when the disk has refused something; `""` while all is well."""
        return self._files.alarm

    def settle(self) -> dict[str, int]:
        """Put `events.jsonl` in order of onset, with all that waits; what is missing all the same.

        No event may come afterwards.
        """
        if not self._is_settled:
            self._is_settled = True
            self._files.retry(at_once=True)
            # Not before: pictures would take what is meant for events, summary and report.
            with contextlib.suppress(OSError):
                (self.path / RESERVE).unlink()
            self._files.settle({EVENTS: self._events()})
        n_pictures = sum(name.endswith(".png") for name in self._files.missing)
        return {"events": self._files.n_lines_missing, "pictures": n_pictures}

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write `summary.json`, beside the others where they had to go elsewhere.

        Raises
        ------
        OSError
            Neither disk takes it.
        """
        self.settle()
        text = {SUMMARY: utf8(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")}
        session = {SESSION: self._session} if self._session else {}
        where = self._files.settle({EVENTS: self._events()} | session | text)
        if where is None:
            # Events as they came are on the disk already; their order takes a second copy.
            where = self._files.settle(text)
        self._finish_in(where)

    def finish_report(self, page: str) -> None:
        """Write `report.html` beside the summary; raise `OSError` where it has no room."""
        path = self.finished_in / REPORT
        try:
            write_atomically(path, utf8(page))
        except OSError:
            self.is_finished = False
            raise
        self.is_finished = True

    def _finish_in(self, where: Path | None) -> None:
        if where is None:
            raise self._files.failure or OSError(0, "cannot be written")
        self.finished_in = where
        self.is_finished = True

    def _why(self) -> str:
        return "" if self._files.failure is None else why(self._files.failure)

    def _events(self) -> bytes:
        """Every event once, by onset; a line that a full disk cut short gives way to the whole."""
        found: dict[int, tuple[float, str]] = {}
        missing = self._files.missing
        for line in self._files.lines():
            try:
                event, text = json.loads(line), line
                if event["image"] and "/".join(Path(event["image"]).parts[-2:]) in missing:
                    text = json.dumps(event | {"image": None}, ensure_ascii=False)
                found[event["index"]] = (event["t_onset"], text)
            except (ValueError, KeyError, TypeError):
                continue
        ordered = sorted((onset, index, line) for index, (onset, line) in found.items())
        return utf8("".join(f"{line}\n" for _, _, line in ordered))

    def close(self) -> None:
        """Give the folder back; one that is not finished stays locked, to be finished later.

        Never raises: it runs where something may have gone wrong already. Safe to call twice.
        """
        let_go(self.path)
        self._files.close()
        with contextlib.suppress(OSError):
            (self.path / RESERVE).unlink()
        if self.is_finished:
            with contextlib.suppress(OSError):
                remove_lock(self.path)

    def discard(self) -> None:
        """Take back the folder of a session that never began; what others put there stays.

        A folder that was there before, empty, is empty again.
        """
        self.close()
        with contextlib.suppress(OSError):
            (self.path / "images").rmdir()
            for name in (EVENTS, SESSION):
                (self.path / name).unlink(missing_ok=True)
            remove_lock(self.path)
            if self._is_ours:
                self.path.rmdir()


def _occupied(folder: Path) -> str:
    """Say of a folder with a lock who has it."""
    state, owner = read_lock(folder)
    if owner is None:
        who = "in use by a process whose lock cannot be read, or left behind by it"
    elif state is LockState.ABANDONED:
        who = f"left behind by {owner}, whose session was never finished"
    elif state is LockState.ALIVE:
        who = f"in use by {owner}"
    else:
        who = f"in use by {owner}, or left behind by it (which cannot be told from here)"
    hint = "" if state is LockState.ALIVE else f" (`phosphene recover {folder}` finishes it)"
    return (
        f"{who}, expected a folder of this session's own: choose another --out; nothing was "
        f"overwritten{hint}."
    )


def unfinished(folder: Path, error: OSError) -> str:
    """Say that a session's folder could not be finished, and what can still be done."""
    if not folder.is_dir():
        return f"The session folder {folder} is gone (somebody removed it): nothing was saved."
    return (
        f"The session folder {folder} could not be finished ({error.strerror or error}): what is "
        f"there is kept. Make room or allow writing there, then run `phosphene recover {folder}`."
    )


def _without_none(value: Any) -> Any:
    """TOML has no null: drop such keys, whose default is None."""
    if isinstance(value, Mapping):
        return {str(k): _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_without_none(v) for v in value if v is not None]
    return value


def _stream_table(info: StreamInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "type": info.type,
        "source_id": info.source_id,
        "uid": info.uid,
        "hostname": info.hostname,
        "n_channels": info.n_channels,
        "sfreq": info.sfreq,
        "channel_format": info.channel_format,
        "ch_names": list(info.ch_names),
        "ch_units": list(info.ch_units),
        "ch_types": list(info.ch_types),
        "manufacturer": info.manufacturer,
        "simulated": info.is_simulated,
    }
