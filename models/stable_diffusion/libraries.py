"""Keeping diffusers and transformers quiet: a session has a line of its own."""

from __future__ import annotations

import importlib
import warnings
from typing import Any


def quiet_libraries() -> None:
    """Turn off the libraries' chatter on standard error."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    # What diffusers thinks of a file's settings goes to who wrote it, and repeats its text raw.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"diffusers\.")
    # Even a bar that is off starts tqdm's watching thread, which never ends.
    bar: Any = importlib.import_module("tqdm").tqdm
    bar.monitor_interval = 0
