"""What adapters raise."""

from pathlib import Path

from pipeline.errors import PhospheneError


class AdapterError(PhospheneError):
    """An adapter cannot be fitted, loaded or applied; the message is one sentence."""


def unwritable(path: Path, error: OSError) -> str:
    """What to say where `path` cannot be written."""
    reason = error.strerror or str(error)
    return f"{path} cannot be written ({reason}): free disk space, or choose another folder."
