"""Sessions of looks as a window opens them: settings and choices in, what to begin out.

Owns what the preset of attending takes over from a main window's settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.attend.calibrating import N_LOOKS, Calibration, calibration_seconds
from app.attend.live import LiveSetup
from app.attend.reading import FLASH_FILTER, LookOptions
from app.view_models.attend.light import Flicker
from configs import SessionConfig, load_preset
from devices.virtual.looker import Looker
from pipeline.looks import Kind

DEFAULT_LOOKS = 20


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be done."""

    composes: bool = False
    calibrates: bool = False
    kind: Kind = "flicker"


def live_setup(
    settings: SessionConfig,
    choice: Choice,
    *,
    n_targets: int,
    flicker: Flicker,
    folder: Path,
    is_live: bool,
) -> LiveSetup:
    """Set a session up: the settings' source and person, everything else the preset's."""
    kept = {
        "source": settings.source,
        "subject": settings.subject,
        "seed": settings.seed,
        "gallery": settings.gallery,
    }
    config = filtered(load_preset("attend").model_copy(update=kept), choice.kind)
    seconds = calibration_seconds(choice.kind, n_targets)
    n_looks = N_LOOKS if choice.calibrates else None if is_live else DEFAULT_LOOKS
    return LiveSetup(
        config,
        LookOptions(trial_seconds=seconds if choice.calibrates else None),
        n_targets,
        n_looks,
        cued=choice.calibrates,
        looker=None if is_live else Looker(seed=config.seed),
        out=None,
        root=folder,
        calibration=Calibration() if choice.calibrates else None,
        composes=choice.composes,
        flicker=flicker,
        kind=choice.kind,
    )


def filtered(config: SessionConfig, kind: Kind) -> SessionConfig:
    """Set the filter to what the pictures evoke."""
    if kind == "flicker":
        return config
    return config.model_copy(update={"filter": config.filter.model_copy(update=FLASH_FILTER)})
