"""Servers on the local network: found when asked, by loopback here, and with no way in."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.errors import AppError
from app.runtime.remote import finding
from app.runtime.remote.finding import FoundServer, find_servers
from app.runtime.remote.ticket import Ticket, write_ticket
from app.serving.announcing import announced
from app.view_models.settings.model import SettingsModel
from app.view_models.settings.servers import ServersModel
from configs import load_preset
from tests.waiting import wait_for

pytest.importorskip("zeroconf", reason="zeroconf is not here: pip install 'phosphene[serve]'")
URL = "https://192.0.2.7:7447"
FOUND = FoundServer("studio-7447", URL, "embedded")


def test_a_server_is_found_on_loopback() -> None:
    found: list[FoundServer] = []

    def is_found() -> bool:
        found[:] = [f for f in find_servers(2.0, interfaces=["127.0.0.1"]) if f.url.endswith(":7")]
        return bool(found)

    with announced("127.0.0.1", 7, system="embedded", tls=True):
        wait_for(is_found)
    assert [(each.url, each.system) for each in found] == [("https://127.0.0.1:7", "embedded")]


def test_what_ends_an_announced_server_is_not_called_the_announcement() -> None:
    with (
        pytest.raises(OSError, match="the disk is gone"),
        announced("127.0.0.1", 7, system="embedded", tls=True),
    ):
        raise OSError("the disk is gone")


def test_what_strangers_announce_is_no_more_than_words() -> None:
    def info(**more: object) -> SimpleNamespace:
        given = {"name": f"evil\x1b[2J.{finding.SERVICE}", "port": 9, "properties": {}}
        given |= {"parsed_addresses": lambda: ["192.0.2.7", "fe80::1%eth0", "127.0.0.1"]} | more
        return SimpleNamespace(**given)

    (own,) = finding._server(info())  # without TLS: this machine only
    assert own.url == "http://127.0.0.1:9"
    assert "\x1b" not in own.name
    secret = info(properties={b"tls": b"1", b"system": b"\xff" * 500, b"token": None})
    urls = [each.url for each in finding._server(secret)]
    assert urls == ["https://192.0.2.7:9", "https://127.0.0.1:9"]
    assert all(len(each.system) <= 60 for each in finding._server(secret))
    assert finding._server(info(port=0)) == []


def test_a_server_is_used_with_its_ticket_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOSPHENE_HOME", str(tmp_path))
    asked: list[str] = []

    def find() -> list[FoundServer]:
        asked.append("the network")
        return [FOUND]

    settings = SettingsModel(load_preset("default"))
    model = ServersModel(settings, find=find)
    assert asked == []
    assert not model.poll()
    model.search()
    wait_for(model.poll)
    assert (model.servers, model.said) == ([FOUND], "1 found.")
    assert not model.has_ticket(URL)
    assert not model.use(URL, None)
    assert "is missing, expected the ticket" in model.said
    assert settings.base.decoder.remote is None
    ticket = tmp_path / "mine.json"
    write_ticket(Ticket("https://studio.local:7447", "t" * 40, "a" * 64), ticket)
    assert model.use(URL, ticket)
    assert "EEG leaves this machine" in model.said
    assert (settings.base.decoder.remote, settings.base.decoder.ticket) == (URL, str(ticket))
    assert json.loads(ticket.read_text())["token"] not in settings.base.model_dump_json()
    model.decode_here()
    assert (model.remote, settings.base.decoder.ticket) == ("", None)


def test_a_network_that_cannot_be_asked_is_a_sentence() -> None:
    def find() -> list[FoundServer]:
        raise AppError("the local network cannot be asked (no route).")

    model = ServersModel(SettingsModel(load_preset("default")), find=find)
    model.search()
    wait_for(model.poll)
    assert model.said == "the local network cannot be asked (no route)."
