"""`python -m app`: the command `phosphene`, its first lines included.

Owns what has to happen before anything else is imported.
"""

import signal
import sys
from pathlib import Path

# Until signals are caught there is nothing to lose, and nothing to tell but a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)
if not sys.flags.safe_path and Path(sys.path[0]) != Path(__file__).resolve().parents[1]:
    # `-m` looks in the current folder first, where a user's `models` or `devices.py` may lie.
    del sys.path[0]

from app.cli import main  # noqa: E402 - after what comes first

if __name__ == "__main__":
    sys.exit(main())
