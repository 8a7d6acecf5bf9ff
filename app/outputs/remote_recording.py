"""Records LSL streams as a remote control says: what `phosphene record --rcs` runs.

Owns the file's name by LabRecorder's options, and the recording of the moment. A file is never
written over: as with LabRecorder, one of the same name is renamed to `..._old1`. Files are made
below one folder only, whatever a client asks for.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from app.errors import OutputError
from configs import RecordingConfig
from configs.private import make_private
from devices.lsl.discovery import resolve
from devices.lsl_recording import LslRecording

BIDS_TEMPLATE: Final = "sub-%p/ses-%s/%m/sub-%p_ses-%s_task-%b[_acq-%a]_run-%r_%m.xdf"
"""LabRecorder's, where a client names people and runs and gives no template."""
_DEFAULTS: Final = {"participant": "P001", "session": "S001", "task": "Default", "modality": "eeg"}
_KNOWN: Final = frozenset({"root", "template", "run", "acquisition", *_DEFAULTS})


def file_name(options: Mapping[str, str], default: str) -> str:
    """The name that LabRecorder's options make, below the root; `default` where they make none.

    Raises
    ------
    OutputError
        An option is unknown, or the run is no number.
    """
    strange = sorted(set(options) - _KNOWN)
    if strange:
        raise OutputError(
            f"{strange[0]} given, expected one of {', '.join(sorted(_KNOWN))}: as LabRecorder has."
        )
    run = options.get("run", "1")
    if not run.isdecimal():
        raise OutputError(f"run is {run!r}, expected a number such as 1.")
    named = set(options) - {"root", "template"}
    template = options.get("template") or (BIDS_TEMPLATE if named else default)
    values = {**_DEFAULTS, "acquisition": "", **options}
    optional = r"\1" if values["acquisition"] else ""
    template = re.sub(r"\[([^\]]*)\]", optional, template)
    for mark, key in (("%p", "participant"), ("%s", "session"), ("%b", "task"),
                      ("%a", "acquisition"), ("%m", "modality")):  # fmt: skip
        template = template.replace(mark, values[key].replace("/", "-"))
    for mark in ("%r", "%n"):
        template = template.replace(mark, f"{int(run):03d}")
    return template if template.lower().endswith(".xdf") else f"{template}.xdf"


class RemoteRecording:
    """The recordings that a remote control starts and stops.

    Parameters
    ----------
    folder : Path
        Below it every file lies.
    default : str
        Name of the file where no client names one.
    config : RecordingConfig
    resolve_timeout : float
        How long `start` looks for streams, s.
    """

    def __init__(
        self,
        folder: Path,
        *,
        default: str,
        config: RecordingConfig | None = None,
        resolve_timeout: float = 5.0,
    ) -> None:
        self._folder, self._default = folder.resolve(), default
        self._config, self._timeout = config or RecordingConfig(), resolve_timeout
        self._options: dict[str, str] = {}
        self._everything = True
        self._lock = threading.Lock()
        self.current: LslRecording | None = None
        self.finished: list[tuple[LslRecording, bool]] = []
        """Recordings that were stopped, and whether each is whole."""

    def select(self, *, everything: bool) -> None:
        """Record every stream in reach, or none."""
        self._everything = everything

    def update(self) -> None:
        """Look for streams, so that who starts next need not wait."""
        resolve(min(1.0, self._timeout))

    def name_file(self, options: Mapping[str, str]) -> None:
        """Name the next file; refuses what would lie outside of the folder."""
        merged = {**self._options, **options}
        self._path(merged)
        self._options = merged

    def start(self) -> None:
        """Begin a recording of every stream in reach, late ones included."""
        with self._lock:
            if self.current is not None:
                raise OutputError("A recording runs already: stop it first.")
            if not self._everything:
                raise OutputError("No stream is selected: send `select all` first.")
            path = self._path(self._options)
            make_private(path.parent)
            _give_way(path)
            self.current = LslRecording(path, resolve_timeout=self._timeout, config=self._config)

    def stop(self) -> None:
        """Finish the recording."""
        with self._lock:
            recording, self.current = self.current, None
        if recording is None:
            raise OutputError("No recording runs: send `start` first.")
        whole = recording.close()
        self.finished.append((recording, whole))
        if not whole:
            raise OutputError(recording.alarm)

    def _path(self, options: Mapping[str, str]) -> Path:
        root = (self._folder / options.get("root", "")).resolve()
        path = (root / file_name(options, self._default)).resolve()
        if not path.is_relative_to(self._folder):
            raise OutputError(
                f"{path} lies outside of {self._folder}, expected a name below it: start "
                "`phosphene record --rcs` with --out on the folder that is meant."
            )
        return path


def _give_way(path: Path) -> None:
    """Rename what is there, as LabRecorder does."""
    if not path.exists():
        return
    number = 1
    while (old := path.with_stem(f"{path.stem}_old{number}")).exists():
        number += 1
    path.rename(old)
