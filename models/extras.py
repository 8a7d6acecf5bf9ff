"""Libraries that only some systems need: what to install where one is missing.

Owns the names; knows nothing of what they are used for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import PhospheneError

EXTRAS = {
    "transformers": "published",
    "skimage": "published",
    "accelerate": "train",
    "tensorboard": "train",
    "moabb": "moabb",
    "onnxscript": "fast",
    "faiss": "retrieval",
}
"""Extra of pyproject.toml by the module that it brings."""


class MissingExtraError(PhospheneError):
    """A library that is installed with an extra is not there."""


@contextmanager
def extras_named(what: str) -> Iterator[None]:
    """Say which extra `what` needs, in one line, where its library cannot be imported."""
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in EXTRAS:
            raise
        raise MissingExtraError(
            f"{what} needs {library}, which is not installed: "
            f"pip install 'phosphene[{EXTRAS[library]}]'."
        ) from None
