"""Keeping diffusers and transformers quiet: a session has a line of its own."""

from __future__ import annotations

import importlib
from typing import Any


def quiet_libraries() -> None:
    """Turn off the libraries' chatter on standard error."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    # Even a bar that is off starts tqdm's watching thread, which never ends.
    bar: Any = importlib.import_module("tqdm").tqdm
    bar.monitor_interval = 0
