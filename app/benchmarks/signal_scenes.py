"""What `phosphene bench signals` interrupts: commands, and the moments at which it does.

Owns the command lines and how a moment is seen from outside (a file, a word, a time). Knows nothing
of signals and of what is checked afterwards.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HEADSET, MARKERS = "signals-headset", "signals-markers"
"""source_ids of the headset that `run` and `record` find, and of the markers that it obeys."""

_TRAINING = """
[model]
embed_dim = 32
depth = 2
num_heads = 4
decoder_embed_dim = 16
decoder_depth = 1
decoder_num_heads = 4
[training]
passes = 4000
warmup_passes = 1
batch_size = 8
"""


class Running:
    """A command that runs in a folder of its own, seen from outside."""

    def __init__(self, arguments: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self._said = folder / "said.txt"
        self._since: float | None = None
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "phosphene", *arguments],
                cwd=folder,
                env={
                    **os.environ,
                    **environment,
                    "HOME": str(folder),
                    "XDG_DOCUMENTS_DIR": str(folder / "Documents"),
                },
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._began = time.monotonic()

    @property
    def said(self) -> str:
        """Everything that it printed."""
        return self._said.read_text(encoding="utf-8", errors="replace")

    def handles_signals(self) -> bool:
        """Whether it handles signals by now; before that it is the interpreter's own start."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

    def after(self, seconds: float) -> bool:
        """Whether it has run so long, s."""
        return time.monotonic() - self._began >= seconds

    def since(self, condition: bool, seconds: float) -> bool:
        """Whether a condition was first seen so long ago, s."""
        if self._since is None and condition:
            self._since = time.monotonic()
        return self._since is not None and time.monotonic() - self._since >= seconds

    def has(self, pattern: str, *, size: int = 0) -> bool:
        """Whether a file of that pattern lies in its folder and is larger than `size` bytes."""
        return any(size < 1 or _size(each) > size for each in self.folder.glob(pattern))

    def holds(self, pattern: str, word: str) -> bool:
        """Whether a file of that pattern holds a word."""
        return any(
            word in each.read_text(encoding="utf-8", errors="replace")
            for each in self.folder.glob(pattern)
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a temporary file that is gone again
        return 0


@dataclass(frozen=True, slots=True)
class Scene:
    """A command and a moment in it: what is run, and when the moment has come."""

    command: str
    moment: str
    arguments: tuple[str, ...]
    reached: Callable[[Running], bool]


@dataclass(frozen=True, slots=True)
class Material:
    """What the commands work on."""

    session: Path
    training: Path

    @property
    def recording(self) -> str:
        """The session's XDF."""
        return str(self.session / "recording.xdf")


def make_material(folder: Path) -> Material:
    """Record a virtual person for a minute, without waiting, and write rhythms to train on."""
    from app.runtime.launch import accelerated_session
    from configs import load_preset

    config = load_preset("demo")
    config = config.model_copy(
        update={"decoder": config.decoder.model_copy(update={"enabled": False})}
    )
    session = accelerated_session(config, out=folder / "session", duration=60.0)
    session.start()
    session.wait(120.0)
    training = folder / "training"
    training.mkdir()
    rng = np.random.default_rng(1)
    for i in range(10):
        waves = 5 * np.sin(np.arange(1300) * 0.02 + rng.uniform(0, 6, (128, 1)))
        np.save(training / f"{i}.npy", waves.astype(np.float32))
    (folder / "training.toml").write_text(_TRAINING, encoding="utf-8")
    return Material(folder / "session", training)


def scenes(material: Material) -> tuple[Scene, ...]:
    """Every command at four moments."""
    live = ("run", "--headless", "--preset", "demo", "--source-id", HEADSET, "--markers", MARKERS)
    return (
        *_session("run", (*live, "--out", "out")),
        *_session("demo", ("demo", "--headless", "--out", "out")),
        *_record(),
        *_replay(material),
        *_calibrate(material),
        *_export(material),
        *_train(material),
        *_device(),
        *_window(),
    )


def _session(name: str, arguments: tuple[str, ...]) -> tuple[Scene, ...]:
    long, short = (*arguments, "--duration", "60"), (*arguments, "--duration", "2")
    return (
        Scene(name, "importing", long, Running.handles_signals),
        Scene(name, "loading", long, lambda run: run.has("out/.phosphene.lock")),
        Scene(name, "streaming", long, lambda run: run.has("out/events.jsonl", size=10)),
        Scene(name, "report", short, lambda run: run.has("out/summary.json")),
    )


def _record() -> tuple[Scene, ...]:
    long = ("record", "--out", "out.xdf", "--source-id", HEADSET)

    def recording(run: Running) -> bool:
        return run.has("out.xdf", size=20_000)

    return (
        Scene("record", "importing", long, Running.handles_signals),
        Scene("record", "looking", long, lambda run: run.after(1.0)),
        Scene("record", "streaming", long, recording),
        Scene(
            "record",
            "footers",
            (*long, "--duration", "2"),
            lambda run: run.since("Recording" in run.said, 2.0),
        ),
    )


def _replay(material: Material) -> tuple[Scene, ...]:
    replay = ("replay", material.recording, "--source-id", "signals-replay")

    def announced(run: Running) -> bool:
        return "Ctrl-C" in run.said

    fast = (*replay, "--speed", "20")
    return (
        Scene("replay", "importing", replay, Running.handles_signals),
        Scene("replay", "announcing", replay, announced),
        Scene("replay", "streaming", replay, lambda run: run.since(announced(run), 1.0)),
        Scene("replay", "at the end", fast, lambda run: run.since(announced(run), 3.2)),
    )


def _calibrate(material: Material) -> tuple[Scene, ...]:
    source = ("--from", str(material.session), "--methods", "ridge", "--out", "out")
    words = ("calibrate", "--headless", "--subject", "signals", *source)

    def collected(run: Running) -> bool:
        return run.has("out/calibration.json")

    return (
        Scene("calibrate", "importing", words, Running.handles_signals),
        Scene("calibrate", "reading", words, lambda run: run.after(1.5)),
        Scene("calibrate", "training", words, lambda run: run.since(collected(run), 1.0)),
        Scene(
            "calibrate", "report", words, lambda run: run.holds("out/calibration.json", '"result"')
        ),
    )


def _export(material: Material) -> tuple[Scene, ...]:
    words = ("export", str(material.session), "--bids", "bids", "--subject", "1", "--task", "t")
    return (
        Scene("export", "importing", words, Running.handles_signals),
        Scene("export", "reading", words, lambda run: run.after(1.0)),
        Scene("export", "writing", words, lambda run: run.has("bids/.export-*")),
        Scene("export", "written", words, lambda run: run.has("bids/sub-1/**/*.vhdr")),
    )


def _train(material: Material) -> tuple[Scene, ...]:
    data = ("--data", str(material.training), "--out", "out")
    settings = ("--config", str(material.training.with_suffix(".toml")), "--save-every", "5")
    words = ("train", "dreamdiffusion", "a", *data, *settings, "--device", "cpu")
    return (
        Scene("train", "importing", words, Running.handles_signals),
        Scene("train", "loading", words, lambda run: run.has("out")),
        Scene("train", "training", words, lambda run: "step " in run.said),
        Scene("train", "checkpoint", words, lambda run: run.has("out/checkpoints/step-*")),
    )


def _device() -> tuple[Scene, ...]:
    words = ("device", "synthetic", "--source-id", "signals-board")

    def streams(run: Running) -> bool:
        return "Ctrl-C" in run.said

    return (
        Scene("device", "importing", words, Running.handles_signals),
        Scene("device", "connecting", words, lambda run: run.after(0.8)),
        Scene("device", "announcing", words, streams),
        Scene("device", "streaming", words, lambda run: run.since(streams(run), 1.0)),
    )


def _window() -> tuple[Scene, ...]:
    demo = ("gui", "--demo")
    return (
        Scene("gui", "importing", demo, Running.handles_signals),
        Scene("gui", "idle", ("gui",), lambda run: run.after(5.0)),
        Scene("gui", "loading", demo, lambda run: run.has("**/.phosphene.lock")),
        Scene("gui", "streaming", demo, lambda run: run.has("**/events.jsonl", size=10)),
    )
