"""What the standalone program runs first: the command line, and the processes that it starts.

Owns the difference to an installed Phosphene. There `sys.executable` is a Python; here it is this
program itself. So it answers the two forms in which Phosphene starts Python: multiprocessing's own,
and `-m MODULE ...`.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from pathlib import Path

LIBRARIES = "LD_LIBRARY_PATH"
"""Where the system's loader looks first; the program's first lines pointed it at our own."""


def main() -> int:
    """Run what was asked for; return the exit code."""
    give_back_library_path()
    if sys.stdout is None:  # a program without a console (Windows) has no streams at all
        sys.stdout = sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    multiprocessing.freeze_support()
    words = sys.argv[1:]
    if words[:1] == ["-P"]:  # nothing of the current folder is ever imported here
        del words[0]
    if words[:1] == ["-m"] and len(words) > 1:
        sys.argv = words[1:]
        # As `python -m`, which puts a folder first; ours, so that no other is looked through.
        sys.path.insert(0, str(Path(__file__).resolve().parent))
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        return 0
    from phosphene.__main__ import main as run

    if not words and Path(sys.executable).stem == "phosphene-window":
        sys.argv.append("gui")
    return run()


def give_back_library_path() -> None:
    """Let other programs (a browser that shows a report) load the system's libraries, not ours."""
    before = os.environ.pop(f"{LIBRARIES}_ORIG", None)
    if before is not None:
        os.environ[LIBRARIES] = before
    else:
        os.environ.pop(LIBRARIES, None)


if __name__ == "__main__":
    sys.exit(main())
