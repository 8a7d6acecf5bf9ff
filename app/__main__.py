"""`python -m app`: the command `phosphene` without its script."""

import sys

from app.cli import main

if __name__ == "__main__":
    sys.exit(main())
