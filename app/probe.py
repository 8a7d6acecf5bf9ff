"""`python -m app.probe MODULE FUNCTION`: what a function of ours finds, as one JSON document.

For `phosphene doctor`, which asks in a process of its own what may end it: broken drivers,
libraries that are not there.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Call the function and print what it returns."""
    module, function = argv
    json.dump(vars(importlib.import_module(module))[function](), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
