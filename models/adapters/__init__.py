"""Decoders of one person, fitted in seconds from a few minutes of calibration.

`calibrate` fits, `save_adapter` and `load_adapter` keep, `AdapterEncoder` decodes live as any
`pipeline.ports.Encoder`. Knows nothing of streams, sessions or pictures.
"""

from models.adapters.calibration import calibrate
from models.adapters.encoder import AdapterEncoder
from models.adapters.errors import AdapterError
from models.adapters.lda import SpatioTemporalLda
from models.adapters.manifest import AdapterManifest
from models.adapters.store import load_adapter, save_adapter
from models.adapters.targets import Target
from models.adapters.window import Window

__all__ = [
    "AdapterEncoder",
    "AdapterError",
    "AdapterManifest",
    "SpatioTemporalLda",
    "Target",
    "Window",
    "calibrate",
    "load_adapter",
    "save_adapter",
]
