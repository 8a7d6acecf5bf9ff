"""Opens what the settings ask for; what cannot be opened is a warning, and the rest goes on.

Owns which setting opens what. Knows nothing of sessions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.errors import OutputError
from app.outputs.feed import PictureFeed
from app.outputs.lab_recorder import LabRecorderOutput
from app.outputs.osc import OscOutput
from app.outputs.port import Output
from configs import SessionConfig
from pipeline.extras import MissingExtraError


def open_outputs(
    config: SessionConfig, *, out: Path, is_simulated: bool, warn: Callable[[str], None]
) -> list[Output]:
    """Open OSC, picture feed and LabRecorder as `config.outputs` says; `out` names the session."""
    outputs = config.outputs
    makers: list[Callable[[], Output]] = []
    if outputs.osc is not None:
        makers.append(lambda: OscOutput(str(outputs.osc), is_simulated=is_simulated))
    if outputs.feed is not None:
        makers.append(lambda: PictureFeed(outputs.feed or 0, is_simulated=is_simulated))
    if outputs.lab_recorder is not None:
        makers.append(
            lambda: LabRecorderOutput(
                str(outputs.lab_recorder), name=out.name, subject=config.subject, warn=warn
            )
        )
    opened: list[Output] = []
    for make in makers:
        try:
            opened.append(make())
        except (OutputError, MissingExtraError) as error:
            warn(str(error))
    return opened
