"""Our outlets, read by ourselves and by MNE-LSL; MNE-LSL's player, read by us."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path

import mne
import numpy as np
import psutil
import pylsl
import pytest

from configs import MarkersConfig, SourceConfig
from devices.choosing import has_id
from devices.errors import OutletError
from devices.lsl.connection import Connection
from devices.lsl.discovery import Finder, wait_for_one
from devices.lsl.inlet import LslSource
from devices.lsl.metadata import eeg_info
from devices.lsl.outlet import (
    EegOutlet,
    EmbeddingOutlet,
    EventsOutlet,
    MarkerOutlet,
    Outlet,
    QualityOutlet,
)
from pipeline.values import StreamRole
from tests.devices.lsl_tools import has_markers, has_samples, packets, read_until
from tests.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.lsl


def test_a_worker_of_the_suite_has_a_session_of_its_own() -> None:
    outlet = pylsl.StreamOutlet(pylsl.StreamInfo("alone", "EEG", 1, 100.0, "float32", "alone"))
    settings = Path(os.environ["LSLAPICFG"]).read_text("utf-8")
    assert f"SessionID = {outlet.get_info().session_id()}\n" in settings


def connect(outlet: Outlet) -> Connection:
    with Finder() as finder:
        uid = outlet.info.uid
        _, native = wait_for_one(
            finder, lambda info: has_id(info, uid), timeout=PATIENCE, wanted=uid, settle=0
        )
        return Connection(native, max_buflen=10, timeout=PATIENCE)


def test_what_our_own_outlets_say_and_send():
    with (
        EventsOutlet() as events,
        EmbeddingOutlet(5) as embedding,
        QualityOutlet(("C3", "C4")) as quality,
        MarkerOutlet() as markers,
    ):
        outlets: list[Outlet] = [events, embedding, quality, markers]
        assert [o.info.type for o in outlets] == ["Events", "Embedding", "Quality", "Markers"]
        assert len({o.info.source_id for o in outlets}) == 4
        assert all(o.info.sfreq == 0 for o in outlets)
        inlet = connect(events)
        events.push({"index": 3, "label": "Gesicht ü", "top": [["face", 0.5]]}, 12.5)
        assert events.have_consumers()
        rows, stamps = _pull_text(inlet)
        assert json.loads(rows[0][0]) == {"index": 3, "label": "Gesicht ü", "top": [["face", 0.5]]}
        assert "\n" not in rows[0][0]
        assert stamps.tolist() == [12.5]
        inlet.close()
        assert quality.info.ch_names == ("C3", "C4")
        assert embedding.info.n_channels == 5


def _pull_text(inlet: Connection):
    deadline = pylsl.local_clock() + 5
    while pylsl.local_clock() < deadline:
        rows, stamps = inlet.pull_text(10)
        if rows:
            return rows, stamps
        threading.Event().wait(0.005)
    pytest.fail("nothing came")


def test_no_connection_is_open_when_liblsl_closes_an_outlet(monkeypatch: pytest.MonkeyPatch):
    # One that has only begun ends liblsl's walk through its table, and the process with it.
    outlet = MarkerOutlet()
    port = int(outlet._native.get_info().as_xml().split("<v4data_port>")[1].split("<")[0])
    started = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    wait_for(lambda: served(port) == len(started))
    destroy, still_open = pylsl.StreamOutlet.__del__, []

    def note(native: pylsl.StreamOutlet) -> None:
        still_open.append(served(port))
        destroy(native)

    monkeypatch.setattr(pylsl.StreamOutlet, "__del__", note)
    outlet.close()
    assert still_open == [0]
    assert [client.recv(1) for client in started] == [b""] * 3
    for client in started:
        client.close()


def served(port: int) -> int:
    """How many connections this process has at one of its own ports."""
    mine = psutil.Process().net_connections("tcp")
    return sum(bool(each.raddr) and each.laddr.port == port for each in mine)


def test_an_embedding_arrives_with_its_onset():
    with EmbeddingOutlet(3) as outlet:
        inlet = connect(outlet)
        outlet.push(np.array([0.5, -1.0, 2.0]), 7.25)
        dest = np.empty((4, 3), np.float32)
        stamps = inlet.pull(dest, timeout=PATIENCE, at_least_one=True)
        assert stamps.tolist() == [7.25]
        assert dest[0].tolist() == [0.5, -1.0, 2.0]
        inlet.close()


def test_what_does_not_fit_is_refused_in_one_line():
    info = eeg_info(name="eeg", source_id="refuse", ch_names=("C3", "C4"), sfreq=250)
    with EegOutlet(info) as eeg, EmbeddingOutlet(3) as embedding, EventsOutlet() as events:
        for call in (
            lambda: eeg.push(np.zeros((2, 10)), np.zeros(2)),
            lambda: eeg.push(np.zeros(2), 1.0),
            lambda: eeg.push(np.zeros((10, 2)), np.zeros(9)),
            lambda: embedding.push([1.0, 2.0], 0.0),
            lambda: events.push({"score": float("nan")}, 0.0),
            lambda: events.push({"array": np.zeros(3)}, 0.0),
        ):
            with pytest.raises(OutletError, match="expected") as caught:
                call()
            assert "\n" not in str(caught.value)
        eeg.push(np.zeros((0, 2)), np.zeros(0))
    with pytest.raises(OutletError, match="is closed"):
        eeg.push(np.zeros((1, 2)), 1.0)
    eeg.close()


def test_mne_lsl_reads_our_outlet_with_right_names_types_units_and_rate():
    stream = pytest.importorskip("mne_lsl.stream")
    ch_names, ch_types = ["C3", "Cz", "EOG1", "COUNTER"], ["eeg", "eeg", "eog", "misc"]
    info = eeg_info(
        name="peer",
        source_id="peer",
        ch_names=ch_names,
        ch_types=ch_types,
        ch_units=["microvolts", "microvolts", "microvolts", "none"],
        sfreq=500,
    )
    with EegOutlet(info) as outlet:
        reader = stream.StreamLSL(bufsize=2, name="peer", source_id="peer")
        reader.connect(acquisition_delay=None, processing_flags=None)
        assert reader.ch_names == ch_names
        assert reader.get_channel_types() == ch_types
        assert [ch["unit_mul"] for ch in reader.info["chs"]] == [-6, -6, -6, 0]
        assert reader.info["sfreq"] == 500
        sent = np.arange(80, dtype=np.float32).reshape(20, 4)
        outlet.push(sent, pylsl.local_clock())
        deadline = pylsl.local_clock() + 5
        while reader.n_new_samples < 20 and pylsl.local_clock() < deadline:
            reader.acquire()
        data, _ = reader.get_data(winsize=20 / 500)
        assert np.array_equal(data, sent.T)
        reader.disconnect()


def test_our_inlet_reads_mne_lsls_player():
    player = pytest.importorskip("mne_lsl.player")
    n_times = 2000
    volts = (np.arange(n_times) * 1e-9 * np.array([[1], [2], [-3]])).astype(np.float64)
    raw = mne.io.RawArray(volts, mne.create_info(["Fp1", "Cz", "Oz"], 500, "eeg"), verbose="error")
    raw.set_annotations(mne.Annotations([0.5, 1.0, 1.5, 2.0, 2.5], [0] * 5, ["a", "b"] * 2 + ["a"]))
    with (
        # The annotations have the source_id of the data; by type they are told apart.
        player.PlayerLSL(raw, chunk_size=10, name="player", source_id="player"),
        LslSource(SourceConfig(source_id="player"), MarkersConfig()) as source,
    ):
        items = read_until(
            source, lambda new: has_samples(100)(new) and has_markers(1)(new), timeout=8
        )
        info = source.streams[StreamRole.EEG]
        assert info.ch_names == ("Fp1", "Cz", "Oz")
        assert info.ch_units == ("volts",) * 3
        assert info.sfreq == 500
        assert source.streams[StreamRole.MARKERS].ch_names == ("a", "b")
    samples = np.concatenate([packet.samples for packet in packets(items)])
    (start,) = np.flatnonzero(np.isclose(volts[0], samples[0, 0], rtol=0, atol=1e-13))
    wanted = np.take(volts.T, start + np.arange(len(samples)), axis=0, mode="wrap")
    assert np.allclose(samples, wanted, rtol=0, atol=1e-12)
