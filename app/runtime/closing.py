"""What a session writes of itself at its end: the run's table, the summary's parts.

Owns what goes into them; the layouts are `summary`'s and `folder`'s. Pure but for reading the
session's parts.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from app.runtime.acquisition import Acquisition
from app.runtime.decoding import Decoding
from app.runtime.ledger import Ledger
from app.runtime.messages import Ready
from app.runtime.summary import StreamFigures, summary_of
from configs import SessionConfig
from devices.recorder import Recorder
from pipeline.gallery import Gallery


def describe_run(
    config: SessionConfig,
    *,
    ready: Ready | None,
    gallery: Gallery,
    replay_of: Path | None,
    server: Ready | None = None,
) -> dict[str, Any]:
    """Versions, seed and hashes, for the `run` table of `session.toml`."""
    run: dict[str, Any] = {
        "phosphene": version("phosphene"),
        "numpy": np.__version__,
        "scipy": version("scipy"),
        "seed": config.seed,
        "replay_of": None if replay_of is None else str(replay_of),
        "gallery": gallery.name,
        "gallery_sha256": gallery.sha256,
        "options": {} if ready is None else dict(ready.options),
    }
    if ready is not None:
        run |= {
            "encoder": ready.spec.name,
            "encoder_sha256": ready.spec.sha256,
            "sampler_sha256": ready.sampler_sha256,
            "device": ready.device,
            **({} if ready.pace is None else {"expected_picture_s": _rounded(ready.pace.picture)}),
            **dict(ready.versions),
            "drawn_by": {"threads": str(config.decoder.threads), **_drawn_by(ready)},
        }
    if server is not None:
        run["server"] = {"url": server.server, **_drawn_by(server)}
    return run


def _drawn_by(ready: Ready) -> dict[str, Any]:
    """What a picture depends on to the bit, beside its epoch: weights, settings, machine."""
    return {
        "encoder_sha256": ready.spec.sha256,
        "sampler_sha256": ready.sampler_sha256,
        "machine": ready.machine,
        "torch": ready.versions.get("torch", ""),
        **{name: str(value) for name, value in ready.settled.items()},
    }


def _pace_table(ready: Ready | None) -> dict[str, float | int] | None:
    """What was measured before the session, s; None where nothing was."""
    if ready is None or ready.pace is None:
        return None
    pace = ready.pace
    return {
        "picture_s": _rounded(pace.picture),
        "encode_s": _rounded(pace.encode),
        "steps": pace.n_steps,
        "step_s": _rounded(pace.step),
        "rest_s": _rounded(pace.rest),
    }


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.3g}")


def settled(config: SessionConfig, ready: Ready | None) -> SessionConfig:
    """Settings with what `auto` came to in place of it, so that a replay draws by the same."""
    if ready is None or not ready.settled:
        return config
    decoder = config.decoder.model_copy(update=dict(ready.settled))
    return config.model_copy(update={"decoder": decoder})


def summarize(
    config: SessionConfig,
    *,
    ledger: Ledger,
    acquisition: Acquisition | None,
    decoding: Decoding,
    recorder: Recorder | None,
    n_recorded: int,
    failure: str,
    is_live: bool,
    replay_of: Path | None,
    warnings: list[str],
) -> dict[str, Any]:
    """`summary.json` as a dict."""
    ready = decoding.ready
    recording: dict[str, Any] | None = None
    if recorder is not None:
        recording = {
            "path": recorder.path.name,
            "bytes": recorder.bytes_written,
            "samples": n_recorded,
            "dropped": recorder.n_dropped,
        }
    return summary_of(
        ledger,
        StreamFigures() if acquisition is None else acquisition.figures(),
        config=config,
        duration=0.0 if acquisition is None else acquisition.elapsed,
        failure=failure,
        decoder={
            "system": config.decoder.system if config.decoder.enabled else "none",
            "restarts": decoding.n_restarts,
            "encoder_sha256": ready.spec.sha256 if ready else None,
            "sampler_sha256": ready.sampler_sha256 if ready else None,
            "adapter": decoding.adapter,
            "options": dict(ready.options) if ready else {},
            "pace": _pace_table(ready),
            **({"overrides": dict(decoding.overrides)} if decoding.overrides else {}),
        },
        recording=recording,
        is_live=is_live,
        replay_of=None if replay_of is None else str(replay_of),
        warnings=warnings,
    )
