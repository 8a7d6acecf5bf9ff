"""Decoders of one person, fitted in seconds from a few minutes of calibration.

`train_adapter` (in `models.adapters.train`) cross-validates adapters and chooses, `AdapterStore`
keeps them, `OnlineAligned` is what a session decodes with. `calibrate`, `save_adapter` and
`load_adapter` are the parts for plain classes of events. Knows nothing of streams, sessions or
pictures. Nothing here loads torch before an adapter is trained or loaded.
"""

from models.adapters.calibration import calibrate
from models.adapters.data import CalibrationData
from models.adapters.encoder import AdapterEncoder
from models.adapters.errors import AdapterError
from models.adapters.lda import SpatioTemporalLda
from models.adapters.library import AdapterRecord, AdapterStore
from models.adapters.manifest import AdapterManifest, PersonalManifest
from models.adapters.online import OnlineAligned
from models.adapters.report import CalibrationReport
from models.adapters.store import load_adapter, load_live, save_adapter
from models.adapters.targets import Target
from models.adapters.window import Window

__all__ = [
    "AdapterEncoder",
    "AdapterError",
    "AdapterManifest",
    "AdapterRecord",
    "AdapterStore",
    "CalibrationData",
    "CalibrationReport",
    "OnlineAligned",
    "PersonalManifest",
    "SpatioTemporalLda",
    "Target",
    "Window",
    "calibrate",
    "load_adapter",
    "load_live",
    "save_adapter",
]
