"""Finding streams over real LSL."""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest

from configs import MarkersConfig, SourceConfig
from devices.choosing import has_id
from devices.errors import AmbiguousStreamError, StreamNotFoundError
from devices.lsl.discovery import is_marker_stream, is_source, resolve
from devices.lsl.inlet import LslSource
from devices.lsl.metadata import eeg_info, single_channel_info
from devices.lsl.outlet import EegOutlet, MarkerOutlet
from pipeline.values import StreamRole
from tests.waiting import wait_for

pytestmark = pytest.mark.lsl


def amp(source_id: str) -> EegOutlet:
    return EegOutlet(eeg_info(name="amp", source_id=source_id, ch_names=("C3", "C4"), sfreq=250))


def test_the_listing_is_stable_and_full():
    with amp("find-b"), amp("find-a"), MarkerOutlet(source_id="find-m"):
        first, second = resolve(3.0), resolve(3.0)
    ours = [info for info in first if info.source_id.startswith("find-")]
    assert [info.source_id for info in ours] == ["find-a", "find-b", "find-m"]
    assert ours[0].ch_names == ("C3", "C4")
    assert ours[0].ch_units == ("microvolts", "microvolts")
    assert [info.uid for info in first] == [info.uid for info in second]


def test_only_streams_of_one_type_are_listed_when_asked():
    with amp("find-typed"), MarkerOutlet(source_id="find-typed-m"):
        found = resolve(3.0, stream_type="markers", full=False)
    assert [info.source_id for info in found] == ["find-typed-m"]


def test_two_outlets_with_one_source_id_are_listed_and_one_can_be_chosen():
    with amp("twin") as one, amp("twin") as other:
        with pytest.raises(AmbiguousStreamError) as caught:
            LslSource(SourceConfig(source_id="twin", resolve_timeout=3))
        message = str(caught.value)
        assert one.info.uid in message
        assert other.info.uid in message
        assert "\n" not in message
        with closing(LslSource(SourceConfig(source_id=other.info.uid))) as source:
            assert source.streams[StreamRole.EEG].uid == other.info.uid


def test_a_missing_stream_is_reported_with_what_is_there():
    with (
        amp("find-present"),
        pytest.raises(
            StreamNotFoundError, match=r"'find-absent', found .*'find-present'"
        ) as caught,
    ):
        LslSource(SourceConfig(source_id="find-absent", resolve_timeout=0.5))
    assert "\n" not in str(caught.value)


def test_a_search_can_be_stopped():
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(StreamNotFoundError):
        LslSource(SourceConfig(source_id="find-never", resolve_timeout=60), stop=stop)


EEG = replace(
    eeg_info(name="amp", source_id="id", ch_names=("C3",), sfreq=250), uid="u", hostname="h"
)
MARKERS = single_channel_info(name="stim", stream_type="Markers", source_id="id")


@pytest.mark.parametrize(
    ("config", "fits"),
    [
        (SourceConfig(), True),
        (SourceConfig(type="eeg"), True),
        (SourceConfig(type="signal"), False),
        (SourceConfig(name="amp"), True),
        (SourceConfig(name="Amp"), False),
        (SourceConfig(name="amp", type="signal"), True),
        (SourceConfig(source_id="id", type="signal"), True),
        (SourceConfig(source_id="id", name="amp"), True),
        (SourceConfig(source_id="id@h"), True),
        (SourceConfig(source_id="id@elsewhere"), False),
        (SourceConfig(source_id="u"), True),
    ],
)
def test_which_stream_is_the_source(config, fits):
    assert is_source(EEG, config) is fits


def test_which_stream_may_carry_markers():
    assert is_marker_stream(MARKERS, MarkersConfig())
    assert not is_marker_stream(EEG, MarkersConfig())
    assert not is_marker_stream(replace(MARKERS, type="Events"), MarkersConfig())
    assert is_marker_stream(replace(MARKERS, type="trigger"), MarkersConfig(name="stim"))
    assert not is_marker_stream(MARKERS, MarkersConfig(name="stim", source_id="other"))
    assert has_id(MARKERS, "id")


def test_mne_lsl_sees_every_outlet_of_this_machine_under_our_settings() -> None:
    """Its liblsl 1.17 asks the machine by multicast, which one outlet of several answers."""
    lsl = pytest.importorskip("mne_lsl.lsl")
    names = {f"peer-{letter}" for letter in "abcde"}
    with ExitStack() as outlets:
        for name in names:
            outlets.enter_context(amp(name))
        wait_for(lambda: {info.source_id for info in lsl.resolve_streams(timeout=1.0)} >= names)


def test_a_name_or_an_id_outranks_the_type_and_the_type_tells_namesakes_apart() -> None:
    """OpenViBE sends type `signal`; a Muse's gyroscope shares the name of its EEG."""
    signal = eeg_info(
        name="ov", source_id="ov-1", ch_names=("C3", "C4"), sfreq=250, stream_type="signal"
    )
    gyro = eeg_info(name="amp", source_id="twice", ch_names=("X",), sfreq=50, stream_type="Gyro")
    with EegOutlet(signal), EegOutlet(gyro), amp("twice"), MarkerOutlet(name="ov", source_id="m"):
        for config, expected in (
            (SourceConfig(name="ov"), "signal"),
            (SourceConfig(source_id="ov-1"), "signal"),
            (SourceConfig(name="amp"), "EEG"),
            (SourceConfig(source_id="twice", type="Gyro"), "Gyro"),
        ):
            with closing(LslSource(config)) as source:
                assert source.streams[StreamRole.EEG].type == expected
