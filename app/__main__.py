"""`python -m app`: the command `phosphene` without its script."""

import sys
from pathlib import Path

if not sys.flags.safe_path and Path(sys.path[0]) != Path(__file__).resolve().parents[1]:
    # `-m` looks in the current folder first, where a user's `models` or `devices.py` may lie.
    del sys.path[0]

from app.cli import main

if __name__ == "__main__":
    sys.exit(main())
