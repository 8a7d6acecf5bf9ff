"""The command `phosphene`, and `python -m phosphene`: its first lines, before anything is imported.

Owns signals until they are caught, and the import path. The commands are `app.cli`'s.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from phosphene._packages import check_packages


def main() -> int:
    """Run the command line; return the exit code."""
    # Until signals are caught there is nothing to lose, and nothing to tell but a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from app.cli import main as run

    return run()


def _command() -> int:
    if not sys.flags.safe_path and Path(sys.path[0]) != Path(__file__).resolve().parents[1]:
        # `-m` looks in the current folder first, where a user's `models` or `devices.py` may lie.
        del sys.path[0]
    check_packages()
    return main()


if __name__ == "__main__":
    sys.exit(_command())
