"""Decoders of one person, fitted in seconds from a few minutes of calibration.

`fit_adapter` (in `models.adapters.fit`) cross-validates methods and chooses, `AdapterStore` keeps
what came out, `OnlineAligned` is what a session decodes with. Knows nothing of streams, sessions
or pictures. Nothing here loads torch before an adapter is fitted, or one is loaded that stands
behind an encoder.
"""

from models.adapters.adapter import Adapter
from models.adapters.data import CalibrationData
from models.adapters.errors import AdapterError
from models.adapters.files import load_adapter, load_live, save_adapter
from models.adapters.manifest import AdapterManifest
from models.adapters.online import OnlineAligned
from models.adapters.pooling import Recorded, pool_recordings
from models.adapters.report import CalibrationReport
from models.adapters.store import AdapterRecord, AdapterStore
from models.adapters.targets import Target
from models.adapters.window import Window

__all__ = [
    "Adapter",
    "AdapterError",
    "AdapterManifest",
    "AdapterRecord",
    "AdapterStore",
    "CalibrationData",
    "CalibrationReport",
    "OnlineAligned",
    "Recorded",
    "Target",
    "Window",
    "load_adapter",
    "load_live",
    "pool_recordings",
    "save_adapter",
]
