"""One live session, and five foreign programs that it works with at the same time."""

from __future__ import annotations

import http.client
import json
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pylsl
import pytest
import pyxdf
from mne_lsl.stream import EpochsStream, StreamLSL
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import BlockingOSCUDPServer

from app.benchmarks.idle import idle_decoder
from app.outputs.feed import PictureFeed
from app.outputs.remote_control import RemoteControlServer
from app.outputs.remote_recording import RemoteRecording
from app.port import Phase
from app.runtime.decoder import Decoder
from app.runtime.session import Session
from configs import (
    DecoderConfig,
    EpochsConfig,
    FilterConfig,
    MarkersConfig,
    OutletsConfig,
    OutputsConfig,
    RecordingConfig,
    SessionConfig,
    SourceConfig,
)
from devices.lsl.inlet import LslSource
from devices.lsl.outlet import MarkerOutlet
from tests.app.chromium import Chromium, chromium_here
from tests.devices.lsl_tools import CH_NAMES, Feeder
from tests.waiting import wait_for

pytestmark = [pytest.mark.lsl, pytest.mark.skipif(sys.platform == "win32", reason="MNE-LSL")]
LABELS = ("face", "house", "face")
SHOWS = "document.images[0].naturalWidth === 8 && document.body.innerText.trim() !== ''"


def session_on(out: Path, outputs: OutputsConfig) -> Session:
    config = SessionConfig(
        buffer=10.0,
        source=SourceConfig(source_id="feeder"),
        markers=MarkersConfig(source_id="stimuli"),
        filter=FilterConfig(l_freq=8.0, notch_freqs=()),
        epochs=EpochsConfig(reject_uv={}, tmax=0.3, baseline=None),
        decoder=DecoderConfig(max_wait=None),  # each is answered, however busy the machine
        recording=RecordingConfig(clock_offset_interval=0.5),
        outlets=OutletsConfig(prefix="mine"),
        outputs=outputs,
    )
    return Session(
        config,
        out=out,
        open_source=lambda stop: LslSource(config.source, config.markers, stop=stop),
        clock=pylsl.local_clock,
        make_decoder=partial(Decoder, target=idle_decoder),
        has_report=False,
    )


def has_ended(session: Session, n_markers: int) -> bool:
    return sum(session.snapshot().outcomes.values()) == n_markers


def n_events(heard: list[tuple[str, list[Any]]]) -> int:
    return [address for address, _ in heard].count("/phosphene/event")


def take_epochs(epochs: EpochsStream, n_epochs: int) -> bool:
    epochs.acquire()
    return bool(epochs.n_new_epochs == n_epochs)


def test_foreign_programs_work_with_a_live_session(tmp_path: Path) -> None:
    heard: list[tuple[str, list[Any]]] = []
    dispatcher = Dispatcher()
    dispatcher.set_default_handler(lambda address, *values: heard.append((address, list(values))))
    control = RemoteRecording(tmp_path / "copies", default="copy.xdf")
    with (
        BlockingOSCUDPServer(("127.0.0.1", 0), dispatcher) as receiver,
        Feeder(source_id="feeder"),
        MarkerOutlet(name="stimuli", source_id="stimuli") as markers,
    ):
        receiver.timeout = 5.0
        server = RemoteControlServer(control, port=0)
        osc = f"127.0.0.1:{receiver.server_address[1]}"
        session = session_on(tmp_path / "out", OutputsConfig(osc=osc, feed=0))
        session.start()
        wait_for(lambda: session._decoding.ready is not None)
        wait_for(lambda: session.snapshot().markers is not None)
        publisher = session._publisher
        assert publisher is not None
        assert publisher.streams is not None
        streams = publisher.streams
        codes = streams.codes
        assert codes is not None

        # A LabRecorder script.
        with socket.create_connection(("127.0.0.1", server.port), 5.0) as script:
            for line in ("select all", "filename {template:take_%n}{run:2}", "start"):
                script.sendall(f"{line}\n".encode())
                assert script.recv(300) == b"OK", line

            # MNE-LSL.
            eeg = StreamLSL(10.0, stype="EEG", source_id="feeder").connect(
                acquisition_delay=0.01, processing_flags=["clocksync"]
            )
            events = StreamLSL(10, stype="MarkerCodes", source_id=codes.info.source_id).connect(
                acquisition_delay=0.01, processing_flags=["clocksync"]
            )
            # One label of the gallery, by the stream's own header, and one that nobody foresaw.
            known = events.sinfo.desc.child("codes").child("code")
            while known.child_value("label") != "house":
                known = known.next_sibling()
            event_id = {
                "house": int(known.child_value("value")),
                "face": len(codes.codes) + 1,
            }
            epochs = EpochsStream(
                eeg, 10, event_id, "marker", events, tmin=0.0, tmax=0.2, baseline=None
            ).connect(acquisition_delay=None)

            # A browser, and a script that reads events as one does.
            (about,) = [text for text in session.snapshot().outputs if text.startswith("Pict")]
            port, token = about.rpartition(":")[2].split("/?token=")
            browser = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10.0)
            browser.request("GET", f"/events?token={token}")
            feed = browser.getresponse()
            assert feed.readline() == b": phosphene\n"
            program = chromium_here()
            url = session.snapshot().feed
            page = None if program is None else Chromium(program, url, tmp_path / "profile")
            if page is not None:
                (pictures,) = [one for one in publisher._outputs if isinstance(one, PictureFeed)]
                wait_for(lambda: pictures.n_clients == 3)  # the script, and two of the page

            wait_for(lambda: codes.wait_for_consumers(1.0))
            wait_for(lambda: eeg.n_new_samples > 100)
            for k, label in enumerate(LABELS):
                markers.push(label, pylsl.local_clock())
                wait_for(partial(has_ended, session, k + 1))
                while n_events(heard) <= k:
                    receiver.handle_request()
            wait_for(partial(take_epochs, epochs, len(LABELS)))
            script.sendall(b"stop\n")
            assert script.recv(300) == b"OK"
        shown = None
        if page is not None:
            wait_for(partial(page.evaluate, SHOWS))
            shown = page.evaluate("document.body.innerText.trim()")
            page.close()
        lines = [json.loads(line) for line in read_events(feed, len(LABELS))]
        onsets = [line["t_onset"] for line in lines]
        found = epochs.get_data()[-len(LABELS) :]
        order = list(epochs.events[-len(LABELS) :])
        epochs.disconnect()
        events.disconnect()
        eeg.disconnect()
        session.stop()
        browser.close()
        server.close()
    assert session.snapshot().phase is Phase.STOPPED
    assert order == [event_id[label] for label in LABELS]
    assert found.shape[1:] == (len(CH_NAMES), 50) or found.shape[2] == len(CH_NAMES)
    # OSC: index, onset and label of each event, an embedding behind each.
    told = [values for address, values in heard if address == "/phosphene/event"]
    assert [values[2] for values in told] == list(LABELS)
    assert [values[1] for values in told] == onsets
    assert all(v == [0] for address, v in heard if address == "/phosphene/simulated")
    # The file that the script asked for holds the session's streams, ours told apart by session.
    ((recording, whole),) = control.finished
    assert whole
    assert recording.paths[0] == (tmp_path / "copies/take_002.xdf").resolve()
    copied, _ = pyxdf.load_xdf(recording.paths[0], synchronize_clocks=False)
    names = {stream["info"]["name"][0] for stream in copied}
    assert {"feeder", "stimuli", "mine-events", "mine-codes"} <= names
    summary = json.loads((session.out / "summary.json").read_text())
    assert {label: summary["marker_codes"][label] for label in event_id} == event_id
    # The session's own file says of its own streams what LSL says of every outlet.
    own, _ = pyxdf.load_xdf(session.out / "recording.xdf", synchronize_clocks=False)
    heads = {stream["info"]["type"][0]: stream["info"] for stream in own}
    for kind in ("Events", "Embedding", "Quality"):
        assert float(heads[kind]["created_at"][0]) > 0
        assert len(heads[kind]["uid"][0]) == 36
        assert heads[kind]["session_id"][0] == heads["EEG"]["session_id"][0] != ""
        assert heads[kind]["source_id"][0].endswith(session._token)
    assert token not in (session.out / "summary.json").read_text()
    assert not (session.out / "report.html").exists()
    if page is None:
        pytest.skip("no Chromium here: all of this holds but that the page was looked at in it")
    assert shown == lines[-1]["top"][0][0]


def read_events(feed: http.client.HTTPResponse, n_events: int) -> list[str]:
    lines: list[str] = []
    while len(lines) < n_events:
        line = feed.readline().decode()
        if line.startswith("data: "):
            lines.append(line.removeprefix("data: "))
    return lines
