"""How a decoder goes on where its machine gives out: with less memory, then on the CPU.

Owns which settings of the decoder are overridden, in which order, and the sentence for a person.
Pure; `app.runtime.decoder` starts its process anew with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.runtime.messages import Overrides
from configs import DecoderConfig
from models.faults import Fault

_KEYS: Mapping[str, type] = {
    "device": str,
    "low_memory": bool,
    "tile": int,
    "backend": str,
    "dtype": str,
}
"""Settings that may be overridden while a session runs, and what each is."""
TILE = 256
"""Side of a tile where memory has run out, pixels."""


def step_down(
    config: DecoderConfig, fault: Fault, *, device: str, can_save_memory: bool
) -> tuple[Overrides, str] | None:
    """Find what to override against a fault, and how to say it; None: nothing is left.

    Parameters
    ----------
    config : DecoderConfig
        As it runs, overrides and all.
    fault : Fault
    device : str
        Where it runs.
    can_save_memory : bool
        Whether its generator can draw with less.
    """
    if fault == "memory" and can_save_memory and not config.low_memory:
        return {"low_memory": True, "tile": TILE}, (
            "A picture did not fit into memory: from here on they are decoded in tiles "
            "(decoder.low_memory), which changes them a little."
        )
    if fault and device != "cpu":
        what = "had too little memory" if fault == "memory" else "was lost"
        plain = {"backend": "eager", "dtype": "float32"}  # an engine of the device goes with it
        is_plain = (config.backend, config.dtype) == ("eager", "float32")
        return {"device": "cpu", **({} if is_plain else plain)}, (
            f"The device {device} {what}: pictures are drawn on the CPU from here on, which takes "
            "longer; `phosphene doctor` says what is there."
        )
    return None


def overridden(config: DecoderConfig, overrides: Overrides) -> DecoderConfig:
    """Return the settings with what is overridden."""
    return DecoderConfig.model_validate({**config.model_dump(), **overrides})


def read_overrides(value: object) -> Overrides:
    """Read what a recording says was overridden; what is none of ours is left out.

    Where something is no setting of a decoder, nothing was overridden.
    """
    if not isinstance(value, Mapping):
        return {}
    found: dict[str, Any] = {key: value[key] for key in _KEYS if key in value}
    if any(type(each) is not _KEYS[key] for key, each in found.items()):
        return {}
    try:
        overridden(DecoderConfig(), found)
    except ValueError:
        return {}
    return found
