"""Libraries that come with an extra: what to install where one is missing.

Owns the names of the extras, and the one sentence that every package says; knows nothing of what
the libraries are used for, and imports none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from pipeline.errors import PhospheneError

EXTRAS: Final = MappingProxyType(
    {
        "transformers": "published",
        "skimage": "published",
        "accelerate": "train",
        "tensorboard": "train",
        "moabb": "moabb",
        "openvino": "fast",
        "onnxscript": "fast",
        "onnx": "fast",
        "torch_tensorrt": "tensorrt",
        "faiss": "retrieval",
        "brainflow": "brainflow",
        "pkg_resources": "brainflow",
        "mne_bids": "bids",
        "pybv": "bids",
        "av": "video",
        "mne_lsl": "peers",
        "pyxdf": "peers",
        "sklearn": "peers",
        "pyriemann": "peers",
        "pyntbci": "attend",
        "ray": "serve",
        "uvicorn": "serve",
        "prometheus_client": "serve",
        "cryptography": "serve",
        "zeroconf": "serve",
        "ifaddr": "serve",
        "psutil": "serve",
        "pyqtgraph": "peers",
        "pythonosc": "osc",
        "mne_realtime": "mne-realtime",
        "shtab": "completion",
    }
)
"""Extra of pyproject.toml by the module that it brings."""


class MissingExtraError(PhospheneError):
    """A library that is installed with an extra is not there."""


def missing_extra(
    what: str, error: ImportError, *, otherwise: str = ""
) -> MissingExtraError | None:
    """Say which extra `what` needs; None where no extra brings what could not be imported.

    Parameters
    ----------
    what : str
        What needs the library, as the sentence begins.
    error : ImportError
        From the import.
    otherwise : str, optional
        What can be done instead, without a full stop.
    """
    library = (error.name or "").partition(".")[0]
    if library not in EXTRAS:
        return None
    rest = f", {otherwise}" if otherwise else ""
    return MissingExtraError(
        f"{what} needs {library}, which is not installed: "
        f"pip install 'phosphene[{EXTRAS[library]}]'{rest}."
    )


@contextmanager
def extras_named(what: str, *, otherwise: str = "") -> Iterator[None]:
    """Say which extra `what` needs, in one line, where its library cannot be imported.

    Raises
    ------
    MissingExtraError
        The library is not there; an import that no extra could mend passes as it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        found = missing_extra(what, error, otherwise=otherwise)
        if found is None:
            raise
        raise found from None
