"""A calibration of looks: those that were asked for, what they taught, the adapter stored.

Owns the collecting and the sentences. The fit is `models.adapters.looks`'s; a session hands every
look that is over in here, from a window, a stream or a recording alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from app.attend.reading import Ended
from app.errors import AppError
from configs import SessionConfig
from models.adapters.files import load_looks
from models.adapters.looks import ENOUGH, FEWEST, LooksAdapter, response_of
from models.adapters.manifest import LOOKS, AdapterManifest
from models.adapters.store import AdapterStore
from models.attend.evidence import Covariances
from pipeline.codes import FLASH_FRAMES, FRAME_RATE
from pipeline.looks import Grid, Kind
from pipeline.values import Info

SECONDS: Final = 6.3
"""Length of a calibration look, s: three cycles of the codes."""
N_LOOKS: Final = 20
"""Looks of a calibration: with cues and rests about three minutes."""


def calibration_seconds(kind: Kind, n_targets: int) -> float:
    """Length of a calibration look, s: where pictures flash in turn, four rounds of them."""
    if kind == "flicker":
        return SECONDS
    return 4 * n_targets * FLASH_FRAMES / FRAME_RATE


@dataclass(slots=True)
class Calibration:
    """Collects the looks of a calibration."""

    looks: list[Covariances] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)

    def take(self, ended: Ended) -> None:
        """Keep a look that was asked for and whole."""
        decision = ended.decision
        is_whole = decision is not None and decision.seconds >= SECONDS / 3
        if is_whole and ended.cue is not None and ended.sums is not None:
            self.looks.append(ended.sums)
            self.targets.append(ended.cue)

    def fit(
        self, config: SessionConfig, info: Info, *, rate: float, grid: Grid, is_simulated: bool
    ) -> LooksAdapter:
        """Fit to the looks so far.

        Raises
        ------
        AppError
            There are too few.
        """
        if len(self.looks) < FEWEST:
            raise AppError(
                f"{len(self.looks)} looks that were asked for were read, expected {FEWEST} or "
                "more: nothing is stored."
            )
        known, response = response_of(
            self.looks,
            self.targets,
            n_targets=grid.n_targets,
            rate=rate,
            is_simulated=is_simulated,
            kind=grid.kind,
        )
        manifest = AdapterManifest(
            kind=LOOKS,
            ch_names=info.ch_names,
            montage=info.ch_names,
            sfreq=info.sfreq,
            filter=config.filter,
            looks=response,
        )
        return LooksAdapter(manifest, known)


def open_adapter(config: SessionConfig, expected: str | None = None) -> LooksAdapter | None:
    """Read the adapter that a session names; None where it names none.

    Parameters
    ----------
    expected : str, optional
        Its SHA-256 in the session that is repeated.

    Raises
    ------
    PhospheneError
        It cannot be read, is of another kind, or another than it was.
    """
    if config.decoder.adapter is None:
        return None
    adapter = load_looks(Path(config.decoder.adapter))
    if expected is not None and adapter.sha256 != expected:
        raise AppError(
            f"{config.decoder.adapter} has the hash {adapter.sha256[:12]}, the session was read "
            f"with {expected[:12]}: it cannot be repeated without that adapter."
        )
    adapter.manifest.check_filter(config.filter)
    return adapter


def keep(
    adapter: LooksAdapter, config: SessionConfig, *, recordings: Mapping[str, str]
) -> dict[str, Any]:
    """Store what a calibration taught, unless it is no more than guessing.

    Returns
    -------
    dict
        `adapter` (its id, or None), and the figures of its report.
    """
    looks = adapter.manifest.looks
    if looks is None:
        raise AppError("An adapter of looks without its looks.")
    figures: dict[str, Any] = looks.model_dump() | {"chance": looks.chance, "adapter": None}
    if looks.p_value > ENOUGH:
        return figures | {"sentence": f"{_read(figures)}: no better than guessing, nothing stored."}
    record = AdapterStore().save(
        adapter,
        subject=config.subject,
        preset=config.preset,
        recordings=dict(recordings),
        activate=False,
    )
    use = f"phosphene attend --subject {config.subject} --adapter {record.adapter_id}"
    sentence = f"{_read(figures)}. Stored; use it with `{use}`."
    return figures | {"adapter": record.adapter_id, "sentence": sentence}


def _read(figures: Mapping[str, Any]) -> str:
    return (
        f"{figures['n_looks']} looks, {figures['accuracy']:.0%} read right by the others (chance "
        f"{figures['chance']:.0%})"
    )
