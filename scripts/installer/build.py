"""Build the standalone program: `python scripts/installer/build.py`, for who has no Python.

Owns its environment (build/installer/venv, with what a user needs and the extras that need no other
program), PyInstaller's run over phosphene.spec, a trial of what came out in an empty environment,
and the archive. Each system builds its own: nothing is built for another one.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

import install  # noqa: E402

EXTRAS = "brainflow,osc,video,bids"
TRIALS = (
    ("--version",),
    ("doctor",),
    ("systems",),
    ("gallery", "list"),
    ("devices",),
    ("demo", "--headless", "--duration", "20", "--out", "{folder}/session"),
)
"""Commands that must end with 0 where nothing but the system is set."""


def build(folder: Path) -> Path:
    """Install and freeze; return the program's folder."""
    python = install.make_environment(folder / "venv")
    install.install_torch(python)
    if install.pip(python, f".[{EXTRAS}]", "pyinstaller>=6.10") != 0:
        raise SystemExit("phosphene could not be installed: see pip's message above.")
    command = [python, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN"]
    command += ["--distpath", folder / "dist", "--workpath", folder / "work"]
    subprocess.run([*command, HERE / "phosphene.spec"], cwd=folder, check=True)
    return folder / "dist" / "phosphene"


def try_out(program: Path) -> None:
    """Run the commands of `TRIALS` with an empty environment and a home of its own."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {"HOME": folder, "QT_QPA_PLATFORM": "offscreen"}
        if os.name == "nt":
            known = ("SYSTEMROOT", "TEMP", "LOCALAPPDATA", "USERPROFILE")
            environment |= {name: os.environ[name] for name in known if name in os.environ}
        for words in TRIALS:
            given = [word.format(folder=folder) for word in words]
            install.say(f"trying: phosphene {' '.join(given)}")
            subprocess.run([program, *given], cwd=folder, env=environment, check=True)


def main() -> int:
    """Build, try out, pack."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "installer")
    options = parser.parse_args()
    folder: Path = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    made = build(folder)
    try_out(made / ("phosphene.exe" if os.name == "nt" else "phosphene"))
    name = f"phosphene-{platform.system()}-{platform.machine()}".lower()
    kind = "zip" if os.name == "nt" else "gztar"
    archive = Path(shutil.make_archive(str(folder / name), kind, made.parent, made.name))
    size = sum(path.stat().st_size for path in made.rglob("*") if not path.is_symlink())
    install.say(f"{archive}: {archive.stat().st_size / 1e6:.0f} MB ({size / 1e6:.0f} MB unpacked)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
