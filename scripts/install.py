"""Make a virtual environment and install Phosphene into it, editable.

Owns two questions that pip cannot answer. Which build of torch: on Linux the plain wheel brings
gigabytes of CUDA libraries; a machine without an NVIDIA GPU gets the CPU build instead. And whether
the floors of pyproject.toml are true: `--lowest` installs exactly them (`make test-lowest`). Uses
the standard library only, because it runs before anything is installed; the user's own pip
configuration (mirrors, local wheels) is honoured and asked first.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MINIMUM = (3, 11)
TORCH = "torch>=2.13,<2.14"
# A local version is an exact pin to the CPU build: PyPI has none, so pip can take it only from
# an index or a folder that really holds CPU wheels.
TORCH_CPU = "torch==2.13.0+cpu"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SILENCE = 5.0
"""Longest time without a word while pip works, s."""


def say(text: str) -> None:
    """Write one line of progress."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def has_nvidia_gpu() -> bool:
    """Whether the driver's own tool lists a GPU."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return False
    try:
        done = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and "GPU" in done.stdout


def torch_attempts(*, linux: bool, gpu: bool) -> list[tuple[str, ...]]:
    """List pip's arguments for torch, in the order to try them."""
    plain = (TORCH,)
    if not linux or gpu:
        return [plain]  # PyPI's macOS and Windows wheels carry no CUDA
    return [(TORCH_CPU,), (TORCH_CPU, "--extra-index-url", CPU_INDEX), plain]


@contextlib.contextmanager
def signs_of_life() -> Iterator[None]:
    """Within, a line says every `SILENCE` s that work is done."""
    over, began = threading.Event(), time.monotonic()

    def tell() -> None:
        while not over.wait(SILENCE):
            say(f"  ... {time.monotonic() - began:.0f} s")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def make_environment(folder: Path) -> Path:
    """Create the environment unless a working one is there; return its Python."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    works = python.exists() and (
        subprocess.run(
            [python, "-c", "import pip"], capture_output=True, timeout=60, check=False
        ).returncode
        == 0
    )
    if not works:
        say(f"making {folder}")
        try:
            with signs_of_life():
                venv.create(folder, clear=folder.exists(), with_pip=True)
        except subprocess.CalledProcessError:
            raise SystemExit(
                "This Python cannot make virtual environments (no ensurepip): install its venv "
                "package (Debian, Ubuntu: apt install python3-venv) and try again."
            ) from None
    return python


def pip(python: Path, *arguments: str, quiet: bool = False) -> int:
    """Run pip in the environment, saying what it does; return its exit status.

    One line a package, and a sign of life where pip says nothing for long. With `quiet` its
    complaints are kept back: another attempt follows.
    """
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--progress-bar", "off", *arguments]
    errors = subprocess.DEVNULL if quiet else None
    began, lines = time.monotonic(), queue.SimpleQueue[str | None]()
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True
    ) as process:
        reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
        reader.start()
        while True:
            try:
                line = lines.get(timeout=SILENCE)
            except queue.Empty:
                say(f"  ... {time.monotonic() - began:.0f} s")
                continue
            if line is None:
                return process.wait()
            if text := progress(line):
                say(text)


def _read(process: subprocess.Popen[str], lines: queue.SimpleQueue[str | None]) -> None:
    for line in process.stdout or ():
        lines.put(line)
    lines.put(None)


def progress(line: str) -> str:
    """Return what a line of pip's tells a person; empty where it tells nothing."""
    words = line.split()
    if words[:3] == ["Installing", "collected", "packages:"]:
        return f"  installing {len(words) - 3} packages"
    if not words or words[0] not in ("Downloading", "Processing", "Using"):
        return ""
    name = words[2] if words[0] == "Using" else words[1]
    # Versions are looked up in metadata: that is no package yet.
    if name.endswith(".metadata") or not name.endswith((".whl", ".tar.gz", ".zip")):
        return ""
    size = re.search(r"\([\d.]+ [kMG]?B\)", line)
    package = re.split(r"-(?:cp|py)\d", name.rpartition("/")[2])[0]
    return f"  {package} {size[0]}" if size else f"  {package}"


def install_torch(python: Path) -> None:
    """Install torch, unless one that serves is there."""
    probe = "import torch, sys; sys.exit(not torch.__version__.startswith('2.13.'))"
    with signs_of_life():
        done = subprocess.run([python, "-c", probe], capture_output=True, timeout=300, check=False)
    if done.returncode == 0:
        return
    attempts = torch_attempts(linux=sys.platform.startswith("linux"), gpu=has_nvidia_gpu())
    for number, attempt in enumerate(attempts, start=1):
        say(f"installing {' '.join(attempt)}")
        if pip(python, *attempt, quiet=number < len(attempts)) == 0:
            return
    raise SystemExit(f"torch could not be installed ({TORCH}): see pip's message above.")


def lowest(python: Path, folder: Path, extras: str) -> list[str]:
    """Return pip's arguments that hold every requirement of ours at its floor.

    uv resolves them, because pip always takes the newest; what ours require in turn is the newest.
    """
    pins = folder / "lowest.txt"
    if pip(python, "uv") != 0:
        raise SystemExit("uv could not be installed, which finds the lowest versions.")
    command = [python, "-m", "uv", "pip", "compile", "pyproject.toml", "--quiet", "--no-header"]
    command += ["--resolution", "lowest-direct", "--no-annotate", "--output-file", pins]
    command += [part for extra in extras.split(",") if extra for part in ("--extra", extra)]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise SystemExit("The lowest versions could not be found: see uv's message above.")
    return ["--constraint", str(pins)]


def main(argv: Sequence[str] | None = None) -> int:
    """Install; return 0, or 1 after pip said why not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="folder to install into")
    parser.add_argument("--extras", default="", help="extras of pyproject.toml, comma-separated")
    parser.add_argument("--stamp", type=Path, help="file to touch when everything is installed")
    parser.add_argument("--lowest", action="store_true", help="the oldest versions allowed")
    options = parser.parse_args(argv)
    if sys.version_info < MINIMUM:
        raise SystemExit(
            f"Python {sys.version.split()[0]} is too old: Phosphene needs 3.11 or newer."
        )
    python = make_environment(options.venv)
    install_torch(python)
    target = f".[{options.extras}]" if options.extras else "."
    say(f"installing phosphene ({target}) and what it needs")
    pins = lowest(python, options.venv, options.extras) if options.lowest else []
    if pip(python, "--editable", target, *pins) != 0:
        raise SystemExit("phosphene could not be installed: see pip's message above.")
    if options.stamp is not None:
        options.stamp.touch()
    say(f"ready: {options.venv}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
