"""Live EEG becomes pictures, from Python.

The public API: everything in `__all__` is documented, typed and kept; what it is built of (`app`,
`devices`, `models`, `pipeline`, `configs`) is not for others to import. Importing it is instant:
torch, Qt, MNE and LSL are loaded by the call that needs them.

>>> import phosphene
>>> system = phosphene.load_system()  # doctest: +SKIP
>>> for trial in phosphene.decode("walk.fif", system=system):  # doctest: +SKIP
...     print(trial.label, trial.outcome, trial.rank)

The reference is docs/python.md, the notebooks are docs/notebooks.
"""

from __future__ import annotations

import importlib
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from phosphene._packages import check_packages

if TYPE_CHECKING:
    from app.accuracy import Accuracy
    from app.report.record import Event
    from configs import SessionConfig
    from devices.files.readers import Reader
    from models.api import EncoderSpec
    from models.embedded.pipeline import PhosphenePipeline
    from models.metrics.classification import n_way_top_k
    from models.metrics.scoring import score_pictures
    from phosphene.calibration import Calibration, calibrate
    from phosphene.decoding import Trial, decode, score
    from phosphene.live import cut_epochs
    from phosphene.sessions import Session, read_session
    from phosphene.settings import list_presets, load_settings
    from phosphene.sources import (
        from_mne,
        list_formats,
        list_streams,
        open_recording,
        open_stream,
        simulate,
    )
    from phosphene.systems import System, list_systems, load_system
    from pipeline.errors import PhospheneError
    from pipeline.gallery import Gallery, load_gallery
    from pipeline.ports import Source
    from pipeline.values import (
        Embedding,
        Epoch,
        GeneratedImage,
        Info,
        Outcome,
        Packet,
        StreamInfo,
        Verdict,
    )

_HOMES: Final = {
    "Accuracy": "app.accuracy",
    "Calibration": "phosphene.calibration",
    "Embedding": "pipeline.values",
    "EncoderSpec": "models.api",
    "Epoch": "pipeline.values",
    "Event": "app.report.record",
    "Gallery": "pipeline.gallery",
    "GeneratedImage": "pipeline.values",
    "Info": "pipeline.values",
    "Outcome": "pipeline.values",
    "Packet": "pipeline.values",
    "PhospheneError": "pipeline.errors",
    "PhosphenePipeline": "models.embedded.pipeline",
    "Reader": "devices.files.readers",
    "Session": "phosphene.sessions",
    "SessionConfig": "configs",
    "Source": "pipeline.ports",
    "StreamInfo": "pipeline.values",
    "System": "phosphene.systems",
    "Trial": "phosphene.decoding",
    "Verdict": "pipeline.values",
    "calibrate": "phosphene.calibration",
    "cut_epochs": "phosphene.live",
    "decode": "phosphene.decoding",
    "from_mne": "phosphene.sources",
    "list_formats": "phosphene.sources",
    "list_presets": "phosphene.settings",
    "list_streams": "phosphene.sources",
    "list_systems": "phosphene.systems",
    "load_gallery": "pipeline.gallery",
    "load_settings": "phosphene.settings",
    "load_system": "phosphene.systems",
    "n_way_top_k": "models.metrics.classification",
    "open_recording": "phosphene.sources",
    "open_stream": "phosphene.sources",
    "read_session": "phosphene.sessions",
    "score": "phosphene.decoding",
    "score_pictures": "models.metrics.scoring",
    "simulate": "phosphene.sources",
}
"""Where each public name is made; imported when it is first asked for."""

__all__ = [
    "Accuracy",
    "Calibration",
    "Embedding",
    "EncoderSpec",
    "Epoch",
    "Event",
    "Gallery",
    "GeneratedImage",
    "Info",
    "Outcome",
    "Packet",
    "PhospheneError",
    "PhosphenePipeline",
    "Reader",
    "Session",
    "SessionConfig",
    "Source",
    "StreamInfo",
    "System",
    "Trial",
    "Verdict",
    "calibrate",
    "cut_epochs",
    "decode",
    "from_mne",
    "list_formats",
    "list_presets",
    "list_streams",
    "list_systems",
    "load_gallery",
    "load_settings",
    "load_system",
    "n_way_top_k",
    "open_recording",
    "open_stream",
    "read_session",
    "score",
    "score_pictures",
    "simulate",
]


def __getattr__(name: str) -> Any:
    """Import a public name on its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'phosphene' has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(_HOMES)


def _is_the_command() -> bool:
    """Whether `python -m phosphene` is about to run, which puts its import path in order itself."""
    words = sys.orig_argv
    return sys.argv[:1] == ["-m"] and ("-m", "phosphene") in pairwise(words)


if not _is_the_command():
    check_packages()
