"""Sites of the 10-05 system among channels of other names, by position."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from configs import SourceConfig
from pipeline.electrodes import canonical_name, unit_positions
from pipeline.errors import InfoError
from pipeline.ingest import Ingest
from pipeline.nearest import nearest, positions_of
from pipeline.values import Packet, StreamInfo, StreamRole

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


def packet(cap: StreamInfo, samples: np.ndarray) -> Packet:
    return Packet(StreamRole.EEG, samples, np.arange(len(samples)) / cap.sfreq, 0.0)


def test_sites_are_found_by_where_the_electrodes_are() -> None:
    cap = stream(SITES)
    positions = positions_of(cap)
    found = [nearest(site, positions) for site in SITES]
    assert [near[0] for near in found if near] == list(cap.ch_names)
    assert nearest("E1", positions) is None
    assert nearest("Iz", positions) is None or nearest("Iz", positions)[1] <= 12
    assert nearest("Oz", dict(list(positions.items())[:5])) is None


def test_a_site_is_found_whatever_it_is_referred_to() -> None:
    cap = replace(
        stream(SITES[:4]), ch_names=("EEG T5-A1", "EEG T6-A2", "EEG OZ-A1", "Fp1-F7"), desc={}
    )
    ingest = Ingest(SourceConfig(picks=("P8", "Oz", "P7")), cap)
    assert ingest.info.ch_names == ("EEG T6-A2", "EEG OZ-A1", "EEG T5-A1")
    with pytest.raises(InfoError, match="has 'Fp1', which stream"):
        Ingest(SourceConfig(picks=("Fp1",)), cap)


def test_picks_are_read_by_position_and_no_channel_twice() -> None:
    cap = stream(SITES)
    ingest = Ingest(SourceConfig(picks=("PO7", "Oz", "E3")), cap)
    assert ingest.info.ch_names == ("PO7", "Oz", "E3")
    assert Ingest(SourceConfig(picks=("E19", "E15", "E3")), cap).info.ch_names[0] == "E19"
    with pytest.raises(InfoError, match=r"has 'E15', as for another"):
        Ingest(SourceConfig(picks=("Oz", "E15")), cap)
    with pytest.raises(InfoError, match=r"source\.picks has .Nowhere."):
        Ingest(SourceConfig(picks=("Nowhere",)), cap)


def test_who_names_sites_means_sites_also_where_other_places_are_called_so() -> None:
    cap = stream(SITES)
    labels = tuple(
        "C4" if name == "E5" else "C3" if name == "E1" else name for name in cap.ch_names
    )
    for channel, label in zip(cap.desc["channels"][0]["channel"], labels, strict=True):
        channel["label"] = [label]  # as a cap of 128 calls F4 and Fp1
    other = replace(cap, ch_names=labels)
    ingest = Ingest(SourceConfig(picks=("F4", "C4", "C3")), other)
    assert ingest.info.ch_names == ("F4", "C4", "C3")
    samples = np.arange(20, dtype=np.float32)[None] * np.ones((2, 1), dtype=np.float32)
    found = ingest.read(packet(other, samples)).data[:, 0]
    assert found.tolist() == [SITES.index(site) for site in ("F4", "C4", "C3")]
    by_label = Ingest(SourceConfig(picks=("C4", "E2")), other)
    found = by_label.read(packet(other, samples)).data[:, 0]
    assert found.tolist() == [SITES.index("F4"), 1], "labels, where all are labels"


def test_a_caps_own_names_are_no_sites_and_are_found_again() -> None:
    labels = tuple(f"{row}{k}" for row in "ABCD" for k in range(1, 33))
    cap = replace(stream(SITES), n_channels=128, ch_names=labels, ch_units=("uV",) * 128, desc={})
    names = Ingest(SourceConfig(), cap).info.ch_names
    assert names[64:67] == ("cap C1", "cap C2", "cap C3")
    assert not any(canonical_name(name) for name in names)
    again = Ingest(SourceConfig(picks=("cap C3", "A10")), cap)
    assert again.info.ch_names == ("cap C3", "A10"), "as an adapter asks for them"
    assert Ingest(SourceConfig(picks=("C3",)), cap).info.ch_names == ("C3",)
    before = SourceConfig(own_names=False)
    assert Ingest(before, cap).info.ch_names == labels, "sessions of before"
    usual = replace(stream(SITES), ch_names=SITES)
    assert Ingest(SourceConfig(), usual).info.ch_names == SITES
