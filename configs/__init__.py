"""Frozen pydantic models of every setting, and the TOML presets.

Owns defaults, units and rules; knows nothing of streams, tensors or windows.
"""

from configs.loading import (
    ConfigError,
    LoadedConfig,
    list_presets,
    load_config,
    load_preset,
    read_config,
)
from configs.models import (
    DecoderConfig,
    EpochsConfig,
    FilterConfig,
    MarkersConfig,
    OutletsConfig,
    OutputsConfig,
    RecordingConfig,
    SessionConfig,
    SimulationConfig,
    SourceConfig,
    StimuliConfig,
)

__all__ = [
    "ConfigError",
    "DecoderConfig",
    "EpochsConfig",
    "FilterConfig",
    "LoadedConfig",
    "MarkersConfig",
    "OutletsConfig",
    "OutputsConfig",
    "RecordingConfig",
    "SessionConfig",
    "SimulationConfig",
    "SourceConfig",
    "StimuliConfig",
    "list_presets",
    "load_config",
    "load_preset",
    "read_config",
]
