"""OSC, the picture feed and LabRecorder's remote control, each with a foreign client."""

from __future__ import annotations

import http.client
import io
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import BlockingOSCUDPServer

from app.cli import main
from app.errors import OutputError
from app.outputs.feed import MAX_CLIENTS, PictureFeed, feed_token
from app.outputs.lab_recorder import LabRecorderOutput
from app.outputs.osc import MAX_VALUES, OscOutput
from app.outputs.port import Sent
from app.outputs.remote_control import RemoteControlServer
from app.outputs.remote_recording import RemoteRecording, file_name
from configs import OutputsConfig
from pipeline.signal_quality import ChannelQuality, Grade
from tests.waiting import wait_for

TOKEN = "a-token-of-twenty-characters"


def sent(index: int = 0, *, colour: int = 200, **more: Any) -> Sent:
    line = {
        "index": index,
        "t_onset": 12.5,
        "label": "apple",
        "outcome": "decoded",
        "top": [["pear", 0.5], ["apple", 0.25]],
        "chance": 0.125,
        "confidence": None,
        **more,
    }
    pixels = np.full((8, 8, 3), colour, np.uint8)
    return Sent(line, 12.5, np.arange(4, dtype=np.float32), pixels)


# -- OSC ------------------------------------------------------------------------------------------


@pytest.fixture
def osc() -> Iterator[tuple[str, list[tuple[str, list[Any]]], Callable[[], None]]]:
    """A foreign receiver: its address, what it heard, and how it takes one more message."""
    heard: list[tuple[str, list[Any]]] = []
    dispatcher = Dispatcher()
    dispatcher.set_default_handler(lambda address, *values: heard.append((address, list(values))))
    with BlockingOSCUDPServer(("127.0.0.1", 0), dispatcher) as server:
        server.timeout = 5.0
        yield f"127.0.0.1:{server.server_address[1]}", heard, server.handle_request


def test_osc_says_what_was_stated_and_nothing_else(osc: Any) -> None:
    address, heard, take = osc
    output = OscOutput(address, is_simulated=True)
    output.send(sent())
    for _ in range(4):
        take()
    output.send(sent(1, confidence=0.75, classes={"face": 0.2, "house": 0.8}))
    for _ in range(6):
        take()
    good = ChannelQuality("Oz", 20.0, 0.0, 0.1, 1.0, 1.0, 0, 3.0, grade=Grade.GOOD)
    output.send_quality([good], 1.0)
    take()
    output.close()
    output.close()
    first, second = dict(heard[:4]), dict(heard[4:10])
    assert first == {
        "/phosphene/event": [0, 12.5, "apple", "decoded"],
        "/phosphene/simulated": [1],
        "/phosphene/top": ["pear", 0.5, 0.125],
        "/phosphene/embedding": [0.0, 1.0, 2.0, 3.0],
    }
    assert second["/phosphene/confidence"] == [0.75]
    assert second["/phosphene/class"] == ["house", pytest.approx(0.8)]
    assert heard[10] == ("/phosphene/quality", ["Oz", 1.0])


def test_an_embedding_that_no_datagram_holds_is_said_once(osc: Any) -> None:
    output = OscOutput(osc[0], is_simulated=False)
    long = Sent(sent().line, 0.0, np.zeros(MAX_VALUES + 1, np.float32))
    with pytest.raises(OutputError, match="15001 numbers do not fit"):
        output.send(long)
    output.send(long)
    output.close()


@pytest.mark.parametrize("address", ["nowhere", "h:0", "h:70000", ":9000", "a b:1", "h:"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises((ValidationError, OutputError)):
        OscOutput(str(OutputsConfig(osc=address).osc), is_simulated=False)


# -- the picture feed -----------------------------------------------------------------------------


@pytest.fixture
def feed() -> Iterator[PictureFeed]:
    feed = PictureFeed(0, is_simulated=True, token=TOKEN)
    yield feed
    feed.close()


def get(feed: PictureFeed, path: str, **headers: str) -> tuple[http.client.HTTPResponse, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", feed.port, timeout=10.0)
    connection.request("GET", path, headers=headers)
    return connection.getresponse(), connection


def status(feed: PictureFeed, path: str, **headers: str) -> int:
    response, connection = get(feed, path, **headers)
    response.read()
    connection.close()
    return response.status


def test_who_has_no_token_or_comes_by_another_name_gets_nothing(feed: PictureFeed) -> None:
    for path in ("/", "/events", "/pictures.mjpeg", "/picture.jpg", "/other"):
        assert status(feed, path) == 401
        assert status(feed, f"{path}?token=another") == 401
        assert status(feed, f"{path}?token={TOKEN}", Host="evil.example:80") == 403
    assert status(feed, f"/other?token={TOKEN}") == 404
    assert status(feed, "/picture.jpg", Authorization=f"Bearer {TOKEN}") == 404, "none yet"
    assert status(feed, f"/?token={TOKEN}") == 200
    assert feed.url.endswith(f"/?token={TOKEN}")


def read_part(response: http.client.HTTPResponse) -> tuple[Mapping[str, str], bytes]:
    assert response.readline().startswith(b"--phosphene")
    head = {}
    while line := response.readline().decode().strip():
        key, _, value = line.partition(": ")
        head[key] = value
    body = response.read(int(head["Content-Length"]))
    assert response.readline() == b"\r\n"
    return head, body


def test_pictures_come_as_mjpeg_and_events_as_json(feed: PictureFeed) -> None:
    pictures, first = get(feed, f"/pictures.mjpeg?token={TOKEN}")
    events, second = get(feed, f"/events?token={TOKEN}")
    assert events.readline() == b": phosphene\n"
    wait_for(lambda: feed.n_clients == 2)
    for index, colour in enumerate((10, 240)):
        feed.send(sent(index, colour=colour))
        head, body = read_part(pictures)
        assert read_part(pictures) == (head, body), "Chromium shows a part when the next begins"
        assert head["X-Phosphene-Simulated"] == "1"
        with Image.open(io.BytesIO(body)) as image:
            assert abs(image.getpixel((4, 4))[0] - colour) < 4  # type: ignore[index]
        while not (line := events.readline()).startswith(b"data: "):
            pass
        event = json.loads(line.removeprefix(b"data: "))
        assert (event["index"], event["simulated"]) == (index, True)
    assert status(feed, f"/picture.jpg?token={TOKEN}") == 200
    feed.close()  # ends the readers
    assert pictures.read() == b""
    first.close()
    second.close()
    wait_for(lambda: feed.n_clients == 0)


def test_more_readers_than_it_takes_are_told(feed: PictureFeed) -> None:
    readers = [get(feed, f"/events?token={TOKEN}") for _ in range(MAX_CLIENTS)]
    wait_for(lambda: feed.n_clients == MAX_CLIENTS)
    assert status(feed, f"/events?token={TOKEN}") == 503
    for _, connection in readers:
        connection.close()


def test_a_port_that_is_taken_and_a_token_that_is_short_are_said(
    feed: PictureFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutputError, match=f"Port {feed.port} for the picture feed is not free"):
        PictureFeed(feed.port, is_simulated=False, token=TOKEN)
    feed_token.cache_clear()
    monkeypatch.setenv("PHOSPHENE_FEED_TOKEN", "short")
    with pytest.raises(OutputError, match="5 characters, expected 16"):
        feed_token()
    monkeypatch.setenv("PHOSPHENE_FEED_TOKEN", TOKEN)
    assert feed_token() == TOKEN
    feed_token.cache_clear()


# -- LabRecorder's remote control -----------------------------------------------------------------


class Told:
    """A recorder that notes what it is told."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.refuses = False

    def select(self, *, everything: bool) -> None:
        self.said.append(("select", everything))

    def update(self) -> None:
        self.said.append("update")

    def name_file(self, options: Mapping[str, str]) -> None:
        self.said.append(dict(options))

    def start(self) -> None:
        if self.refuses:
            raise OutputError("The disk is full.")
        self.said.append("start")

    def stop(self) -> None:
        self.said.append("stop")


@pytest.fixture
def remote() -> Iterator[tuple[Told, RemoteControlServer]]:
    told = Told()
    server = RemoteControlServer(told, port=0)
    yield told, server
    server.close()


def test_a_script_for_lab_recorder_is_followed(remote: tuple[Told, RemoteControlServer]) -> None:
    told, server = remote
    with socket.create_connection(("127.0.0.1", server.port), 5.0) as client:
        for line in (
            "select all",
            "filename {root:/data} {template:a_%p.xdf} {Participant:P3}",
            "start",
            "stop",
            "update",
            "select none",
        ):
            client.sendall(f"{line}\n".encode())
            assert client.recv(64) == b"OK", line
        client.sendall(b"filename no braces\nbeg")
        assert client.recv(300).startswith(b"ERROR 'filename no braces' is unknown")
        told.refuses = True
        client.sendall(b"in\x1b[2J\nstart\n")
        answers = b""
        while answers.count(b"\n") < 2:
            answers += client.recv(600)
    assert b"\x1b" not in answers
    assert b"ERROR The disk is full.\n" in answers
    assert told.said == [
        ("select", True),
        {"root": "/data", "template": "a_%p.xdf", "participant": "P3"},
        "start",
        "stop",
        "update",
        ("select", False),
    ]


def test_a_session_asks_lab_recorder_and_stops_it(
    remote: tuple[Told, RemoteControlServer],
) -> None:
    told, server = remote
    warnings: list[str] = []
    output = LabRecorderOutput(
        f"127.0.0.1:{server.port}", name="2026-A", subject="s1", warn=warnings.append,
        look_seconds=0.0,
    )  # fmt: skip
    wait_for(lambda: "start" in told.said)
    output.close()
    output.close()
    named = {"participant": "s1", "template": "2026-a.xdf"}
    assert told.said == ["update", ("select", True), named, "start", "stop"]
    assert warnings == []


def test_a_lab_recorder_that_refuses_or_is_gone_is_a_warning(
    remote: tuple[Told, RemoteControlServer],
) -> None:
    told, server = remote
    told.refuses = True
    warnings: list[str] = []
    address = f"127.0.0.1:{server.port}"
    output = LabRecorderOutput(
        address, name="a", subject="s", warn=warnings.append, look_seconds=0.0
    )
    wait_for(lambda: warnings)
    output.close()
    assert "answered 'ERROR The disk is full.' to 'start', expected OK" in warnings[0]
    assert "stop" not in told.said
    server.close()
    with pytest.raises(OutputError, match="does not answer at"):
        LabRecorderOutput(address, name="a", subject="s", warn=warnings.append)


def test_names_are_made_as_lab_recorder_makes_them() -> None:
    assert file_name({}, "take.xdf") == "take.xdf"
    assert file_name({"template": "x_%p_%n"}, "d") == "x_P001_001.xdf"
    given = {"participant": "P2", "session": "S3", "task": "rest", "run": "7"}
    assert file_name(given, "d") == "sub-P2/ses-S3/eeg/sub-P2_ses-S3_task-rest_run-007_eeg.xdf"
    assert "_acq-hi_run" in file_name({**given, "acquisition": "hi"}, "d")
    with pytest.raises(OutputError, match="run is 'x', expected a number"):
        file_name({"run": "x"}, "d")
    with pytest.raises(OutputError, match="colour given, expected one of"):
        file_name({"colour": "x"}, "d")


@pytest.mark.parametrize(
    "options",
    [{"root": "/elsewhere"}, {"template": "../out.xdf"}, {"root": "..", "template": "a"}],
)
def test_no_file_is_made_outside_of_the_folder(tmp_path: Path, options: dict[str, str]) -> None:
    control = RemoteRecording(tmp_path / "in", default="a.xdf")
    with pytest.raises(OutputError, match="lies outside of"):
        control.name_file(options)
    with pytest.raises(OutputError, match="No recording runs"):
        control.stop()
    control.select(everything=False)
    with pytest.raises(OutputError, match="No stream is selected"):
        control.start()
    assert list(tmp_path.iterdir()) == []
    control.name_file({"root": str(tmp_path / "in" / "below"), "template": "b.xdf"})


@pytest.mark.parametrize(
    "given", [("--osc", ":99999"), ("--osc", "host:0"), ("--lab-recorder", "x"), ("--feed", "-1")]
)
def test_an_address_that_is_none_is_wrong_usage(
    given: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--headless", f"{given[0]}={given[1]}"])
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {given[0]}" in said
    assert "expected" in said
