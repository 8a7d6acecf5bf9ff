"""Choosing the electrodes of a board on a head: which sites there are, and what a click does.

Owns the sites that are offered and the montage that is proposed for pictures. Knows nothing of Qt.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.view_models.signals.head import project
from pipeline.electrodes import canonical_name

_ROWS = (
    "Fp1 Fpz Fp2 AF7 AF3 AFz AF4 AF8 F7 F5 F3 F1 Fz F2 F4 F6 F8 FT7 FC5 FC3 FC1 FCz FC2 FC4 FC6 "
    "FT8 T7 C5 C3 C1 Cz C2 C4 C6 T8 TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 P9 P7 P5 P3 P1 Pz P2 P4 P6 "
    "P8 P10 PO7 PO3 POz PO4 PO8 O1 Oz O2 Iz"
)
SITES = tuple(_ROWS.split())
"""The 10-10 system, as caps of 64 have it."""
BEHIND = ("PO7", "PO8", "O1", "O2", "P7", "P8", "Oz", "Pz", "PO3", "PO4", "P3", "P4", "POz", "Cz")
"""Sites over the parts of the brain that see, the first ones first."""


def behind(n_channels: int) -> tuple[str, ...]:
    """Return the montage that is proposed for pictures; empty where there are too many channels."""
    return BEHIND[:n_channels] if n_channels <= len(BEHIND) else ()


def toggled(names: Sequence[str], site: str, n_channels: int) -> tuple[str, ...]:
    """Put a site behind the others, or take it out; one more than there are channels changes none.

    Parameters
    ----------
    names : sequence of str
        Sites by channel, the first channel's first.
    n_channels : int
        Of the board.
    """
    kept = [name for name in names if canonical_name(name) != site]
    if len(kept) < len(names):
        return tuple(kept)
    return (*names, site) if len(names) < n_channels else tuple(names)


def places() -> dict[str, tuple[float, float]]:
    """Where each site is seen from above; 1 is the rim of the head."""
    return {site: at for site, at in zip(SITES, project(SITES), strict=True) if at is not None}
