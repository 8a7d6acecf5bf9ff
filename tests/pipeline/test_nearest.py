"""Sites of the 10-05 system among channels of other names, by position."""

from __future__ import annotations

import numpy as np
import pytest

from configs import SourceConfig
from pipeline.electrodes import unit_positions
from pipeline.errors import InfoError
from pipeline.ingest import Ingest
from pipeline.nearest import nearest, positions_of
from pipeline.values import StreamInfo

_FRONT = ("Fp1", "Fp2", "F3", "Fz", "F4", "C3", "Cz", "C4", "T7", "T8")
SITES = (*_FRONT, "P3", "Pz", "P4", "O1", "Oz", "O2", "P7", "P8", "PO7", "PO8")


def stream(
    sites: list[str], *, centre: tuple[float, float, float] = (1.0, 4.0, 40.0)
) -> StreamInfo:
    """A cap whose channels are called E1 and so on, a little off its sites and no ball."""
    rng = np.random.default_rng(0)
    points = 95 * unit_positions(sites) * (1 + 0.04 * rng.standard_normal((len(sites), 1)))
    names = tuple(f"E{k + 1}" for k in range(len(sites)))
    channels = [
        {"label": [name], "location": [dict(zip("XYZ", ([str(v)] for v in xyz), strict=True))]}
        for name, xyz in zip(names, points + np.array([1.0, 4.0, 40.0]), strict=True)
    ]
    desc = {"channels": [{"channel": channels}]}
    units = ("microvolts",) * len(names)
    return StreamInfo(
        "cap", "EEG", "c", len(names), 250.0, "float32", ch_names=names, ch_units=units, desc=desc
    )


def test_sites_are_found_by_where_the_electrodes_are() -> None:
    cap = stream(SITES)
    positions = positions_of(cap)
    found = [nearest(site, positions) for site in SITES]
    assert [near[0] for near in found if near] == list(cap.ch_names)
    assert nearest("E1", positions) is None
    assert nearest("Iz", positions) is None or nearest("Iz", positions)[1] <= 12
    assert nearest("Oz", dict(list(positions.items())[:5])) is None


def test_picks_are_read_by_position_and_no_channel_twice() -> None:
    cap = stream(SITES)
    ingest = Ingest(SourceConfig(picks=("PO7", "Oz", "E3")), cap)
    assert ingest.info.ch_names == ("E19", "E15", "E3")
    with pytest.raises(InfoError, match=r"has 'E15', as for another"):
        Ingest(SourceConfig(picks=("Oz", "E15")), cap)
    with pytest.raises(InfoError, match=r"source\.picks has .Nowhere."):
        Ingest(SourceConfig(picks=("Nowhere",)), cap)
