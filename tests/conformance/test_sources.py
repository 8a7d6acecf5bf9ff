"""Every source keeps what `pipeline.ports.Source` promises, and in pieces gives the same epochs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mne
import numpy as np
import pytest

import phosphene
from configs import MarkersConfig, SessionConfig, SourceConfig, load_preset
from devices.conformance import ConformanceError, check_refusal, check_source
from devices.hostile import HostileSettings, HostileSource, random_faults
from devices.lsl.inlet import LslSource
from devices.replay import RecordedSource
from devices.virtual.accelerated import AcceleratedSource
from devices.virtual.boards import board_of
from devices.virtual.headset import HeadsetSettings
from pipeline.ports import Source
from pipeline.values import (
    ClockOffset,
    Packet,
    SourceItem,
    StateChange,
    StreamRole,
    StreamState,
    Verdict,
)
from pipeline.virtual_brain.subject import N_FEATURES
from tests.conformance.files import MAKERS
from tests.conformance.recut import Recut
from tests.devices.lsl_tools import Feeder
from tests.waiting import PATIENCE

PLAYED = sorted(set(MAKERS) - {"acme"})
"""The plug-in's own is played in tests/devices/test_readers.py."""


def hostile(seed: int) -> Source:
    settings = HostileSettings(duration=40.0, seed=seed, chunk=40)
    faults = random_faults(seed=seed, duration=40.0, ch_names=settings.ch_names, every=3.0)
    return HostileSource(settings, faults)


def headset() -> Source:
    letter = np.eye(N_FEATURES, dtype=np.float32)[0]
    settings = HeadsetSettings(board=board_of("cyton"), duration=8.0, counter=True)
    return AcceleratedSource(settings, {"letter": letter}, [(4.0, "letter"), (6.0, "letter")])


def of_mne() -> Source:
    data = np.random.default_rng(0).normal(0, 1e-5, (2, 1000))
    raw = mne.io.RawArray(data, mne.create_info(["O1", "O2"], 100.0, "eeg"), verbose="ERROR")
    raw.set_annotations(mne.Annotations([3.0, 5.0], 0.0, ["face", "house"]))
    return phosphene.from_mne(raw)


MADE: dict[str, Callable[[], Source]] = {
    "headset": headset,
    "mne": of_mne,
    **{f"hostile-{seed}": (lambda seed=seed: hostile(seed)) for seed in range(4)},  # type: ignore[misc]
}


@pytest.fixture(params=[*PLAYED, *MADE])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Source]:
    """What opens a source that ends by itself, as often as it is called."""
    name = str(request.param)
    if name in MADE:
        return MADE[name]
    path = MAKERS[name](tmp_path)
    return lambda: RecordedSource(path)


def cut(source: Source) -> list[Verdict]:
    settings = SessionConfig(buffer=10.0, filter={"notch_freqs": []})
    if source.streams[StreamRole.EEG].type == "fMRI":
        settings = load_preset("fmri-ridge")
    try:
        return list(phosphene.cut_epochs(source, settings=settings))
    finally:
        source.close()


def test_a_source_keeps_its_promises(opened: Callable[[], Source]) -> None:
    first = check_source(opened)
    assert any(isinstance(item, Packet) for item in first)
    # Opened anew it gives the same.
    assert [repr(item) for item in first] == [repr(item) for item in check_source(opened)]


def test_pieces_do_not_matter(opened: Callable[[], Source]) -> None:
    whole = cut(opened())
    assert whole
    for seed in (0, 1):
        again = cut(Recut(opened(), seed))
        assert [(v.marker, v.outcome, v.reason) for v in again] == [
            (v.marker, v.outcome, v.reason) for v in whole
        ]
        for one, other in zip(again, whole, strict=True):
            if one.epoch is not None and other.epoch is not None:
                assert np.array_equal(one.epoch.data, other.epoch.data)


@pytest.mark.lsl
def test_a_live_inlet_keeps_them_as_long_as_it_streams() -> None:
    with Feeder(source_id="conform"):
        config = SourceConfig(source_id="conform")
        items = check_source(
            lambda: LslSource(config, MarkersConfig()), ends=False, timeout=PATIENCE
        )
    assert any(isinstance(item, ClockOffset) for item in items)


@pytest.mark.lsl
def test_what_is_not_there_is_refused_in_one_line() -> None:
    config = SourceConfig(source_id="nobody", resolve_timeout=0.2)
    assert "nobody" in check_refusal(lambda: LslSource(config, MarkersConfig()))


class Spoilt:
    """A source that breaks one promise."""

    def __init__(self, how: str) -> None:
        self._inner, self._how = hostile(0), how
        self.streams, self.is_live = self._inner.streams, False
        self._ended = False

    def read(self, timeout: float) -> list[SourceItem]:
        items = self._inner.read(timeout)
        ends = [i for i in items if isinstance(i, StateChange) and i.state is StreamState.ENDED]
        if self._how == "ends twice" and ends:
            return [*items, ends[0]]
        if self._how == "never still":
            return items or [ClockOffset(StreamRole.EEG, 0.0, 0.0)]
        if self._how == "backwards":
            return items[::-1]
        return items

    def close(self) -> None:
        if self._how != "never closed":
            self._inner.close()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("ends twice", "ends 2 times"),
        ("never still", "after its end"),
        ("backwards", "not in order of arrival"),
    ],
)
def test_the_suite_sees_what_is_broken(how: str, words: str) -> None:
    with pytest.raises(ConformanceError, match=words):
        check_source(lambda: Spoilt(how))
