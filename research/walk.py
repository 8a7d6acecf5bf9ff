"""Follow pages as a reader would: every `sh` block, in order, in an empty folder for each page.

`python -m research.walk docs/tutorials/*.md` prints a line a page and leaves the folders. What a
page starts with `&` ends with the page. Nothing of the user's is read or written: data and settings
have folders of their own, LSL stays on this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

LSL = "[multicast]\nResolveScope = machine\n[lab]\nKnownPeers = {{127.0.0.1}}\nSessionID = {}\n"
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def follow(page: Path, folder: Path, *, seconds: float) -> int:
    """Run a page's blocks as one script; its exit code, 124 where it took too long."""
    script = "set -eux -o pipefail\n" + "\n".join(_BLOCK.findall(page.read_text(encoding="utf-8")))
    (folder / "lsl_api.cfg").write_text(
        LSL.format(f"walk-{uuid.uuid4().hex[:8]}"), encoding="utf-8"
    )
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "LSLAPICFG": str(folder / "lsl_api.cfg"),
        "QT_QPA_PLATFORM": "offscreen",
    }
    with (folder / "walk.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=os.environ | own,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return 124
        finally:
            # With the page, what it has started.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def main() -> int:
    """Follow the pages given; 1 where one of them cannot be followed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, help="where the folders are made")
    parser.add_argument("--seconds", type=float, default=900.0, help="longest time of a page")
    asked = parser.parse_args()
    root = asked.out or Path(tempfile.mkdtemp(prefix="walk-"))
    failed = 0
    for page in asked.pages:
        folder = root / page.stem
        folder.mkdir(parents=True)
        begun = time.monotonic()
        code = follow(page.resolve(), folder.resolve(), seconds=asked.seconds)
        failed += code != 0
        print(f"{page}: exit code {code}, {time.monotonic() - begun:.0f} s, {folder}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
