"""What a session publishes and records of itself, over real LSL and in its own recording."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pylsl
import pytest
import pyxdf

from app.benchmarks.idle import idle_decoder
from app.port import Phase
from app.runtime.decoder import Decoder
from app.runtime.session import Session
from configs import (
    EpochsConfig,
    FilterConfig,
    MarkersConfig,
    OutletsConfig,
    RecordingConfig,
    SessionConfig,
    SourceConfig,
)
from devices.lsl.discovery import resolve
from devices.lsl.inlet import LslSource
from devices.lsl.outlet import MarkerOutlet
from devices.xdf import XdfFile
from pipeline.gallery import load_gallery
from tests.devices.lsl_tools import CH_NAMES, Feeder
from tests.waiting import PATIENCE, wait_for

pytestmark = [pytest.mark.lsl, pytest.mark.skipif(sys.platform == "win32", reason="signals")]


def session_on(out: Path, *, publish: bool = True) -> Session:
    config = SessionConfig(
        buffer=10.0,
        source=SourceConfig(source_id="feeder"),
        markers=MarkersConfig(source_id="stimuli"),
        filter=FilterConfig(l_freq=8.0, notch_freqs=()),
        epochs=EpochsConfig(reject_uv={}, tmax=0.3, baseline=None),
        recording=RecordingConfig(clock_offset_interval=0.5),
        outlets=OutletsConfig(enabled=publish, prefix="mine"),
    )
    return Session(
        config,
        out=out,
        open_source=lambda stop: LslSource(config.source, config.markers, stop=stop),
        clock=pylsl.local_clock,
        make_decoder=partial(Decoder, target=idle_decoder),
    )


def n_seconds(session: Session) -> int:
    acquisition = session._acquisition
    return 0 if acquisition is None else acquisition.path.signal_quality.n_seconds


def has_markers(session: Session, n_markers: int) -> bool:
    return session.snapshot().n_markers == n_markers


def streams_of(path: Path) -> dict[str, Any]:
    streams, _ = pyxdf.load_xdf(path, synchronize_clocks=False, dejitter_timestamps=False)
    return {stream["info"]["type"][0]: stream for stream in streams}


def test_another_process_records_embeddings_events_and_quality(
    tmp_path: Path, popen: Callable[..., subprocess.Popen[Any]]
) -> None:
    out, copy = tmp_path / "out", tmp_path / "copy.xdf"
    command = [sys.executable, "-m", "phosphene", "record", "--out", str(copy)]
    session = session_on(out)
    with Feeder(source_id="feeder"), MarkerOutlet(name="stimuli", source_id="stimuli") as markers:
        session.start()
        wait_for(lambda: session._decoding.ready is not None)
        recorder = popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Every stream of ours has its reader, and the session hears the stimuli.
        wait_for(lambda: session.snapshot().markers is not None)
        publisher = session._publisher
        assert publisher is not None
        outlets = publisher.streams
        assert outlets is not None
        wait_for(lambda: outlets.embedding is not None)
        for outlet in (outlets.events, outlets.quality, outlets.codes, outlets.embedding):
            assert outlet is not None
            assert outlet.wait_for_consumers(PATIENCE)
        for k in range(6):
            markers.push(f"s{k % 2}", pylsl.local_clock())
            wait_for(partial(has_markers, session, k + 1))
        wait_for(lambda: sum(session.snapshot().outcomes.values()) == 6)
        # A verdict on the electrodes comes once a second; the reader has the events by then.
        n_judged = n_seconds(session)
        wait_for(lambda: n_seconds(session) >= n_judged + 2)
        session.stop()
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(PATIENCE) == 0
    assert session.snapshot().phase is Phase.STOPPED
    assert not [info for info in resolve(0.3) if info.name.startswith("mine-")], "withdrawn"
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    decoded = [event for event in events if event["outcome"] == "decoded"]
    assert len(events) == 6
    assert decoded

    n_features = load_gallery().embeddings.shape[1]
    copied, own = streams_of(copy), streams_of(out / "recording.xdf")
    heard = [json.loads(row[0]) for row in copied["Events"]["time_series"]]
    assert sorted(heard, key=lambda event: event["index"]) == events
    assert sorted(copied["Events"]["time_stamps"]) == [event["t_onset"] for event in events]
    assert copied["Embedding"]["time_series"].shape == (len(decoded), n_features)
    for streams in (copied, own):
        stamps = streams["Embedding"]["time_stamps"]
        np.testing.assert_array_equal(np.sort(stamps), [event["t_onset"] for event in decoded])
        labels = streams["Quality"]["info"]["desc"][0]["channels"][0]["channel"]
        assert [channel["label"][0] for channel in labels] == list(CH_NAMES)
        assert set(np.unique(streams["Quality"]["time_series"])) <= {0.0, 0.5, 1.0}
        assert len(streams["Quality"]["time_stamps"]) >= 1
    # The session's own file: every stream of the session, each with its clock offset (they come
    # at the start and every 5 s; this session is shorter).
    assert set(own) == {"EEG", "Markers", "Events", "Embedding", "Quality"}
    with XdfFile(out / "recording.xdf") as file:
        probes = file.clock_probes()
        for stream_id, stream in file.streams.items():
            assert len(probes.get(stream_id, ())) >= 1, stream.info.name
    np.testing.assert_array_equal(
        own["Embedding"]["time_series"], copied["Embedding"]["time_series"]
    )


def test_a_session_that_shall_not_publish_does_not(tmp_path: Path) -> None:
    session = session_on(tmp_path / "out", publish=False)
    with Feeder(source_id="feeder"):
        session.start()
        wait_for(lambda: session.snapshot().n_received > 100)
        assert not [info for info in resolve(0.3) if info.name.startswith("mine-")]
        session.stop()
    assert session.snapshot().phase is Phase.STOPPED


@pytest.mark.parametrize("n_opened", [0, 1, 2, 3])
def test_an_outlet_that_lsl_does_not_give_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_opened: int
) -> None:
    session = session_on(tmp_path / "out")
    with Feeder(source_id="feeder"):
        real, opened = pylsl.StreamOutlet, list[str]()

        def refuse(info: Any, **options: Any) -> Any:
            if len(opened) >= n_opened:
                raise RuntimeError("could not create stream outlet.")
            opened.append(info.name())
            return real(info, **options)

        monkeypatch.setattr(pylsl, "StreamOutlet", refuse)
        session.start()
        wait_for(lambda: session._decoding.ready is not None)
        wait_for(lambda: session.snapshot().warnings)
        n_received = session.snapshot().n_received
        wait_for(lambda: session.snapshot().n_received > n_received + 100)
        session.stop()
    snapshot = session.snapshot()
    assert snapshot.phase is Phase.STOPPED
    (_warning,) = [each for each in snapshot.warnings if "cannot be opened" in each]
    assert len(opened) == n_opened
