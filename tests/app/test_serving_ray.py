"""`phosphene serve` with Ray itself: one epoch, there and back. Half a minute, so only if asked."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
from pathlib import Path

import psutil
import pytest

from app.benchmarks.serve import server
from app.runtime.messages import job_of
from app.runtime.remote.client import RemoteSession
from configs import load_preset
from models.systems import noise_epoch

if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is not here: pip install 'phosphene[serve]'", allow_module_level=True)
if not os.environ.get("PHOSPHENE_RAY"):
    pytest.skip("starts Ray, half a minute: PHOSPHENE_RAY=1", allow_module_level=True)


def abroad(leader: int) -> set[str]:
    """Processes of a server that listen at another address than this machine's own."""
    found = set()
    parent = psutil.Process(leader)
    for each in [parent, *parent.children(recursive=True)]:
        for one in each.net_connections("tcp"):
            where = ipaddress.ip_address(one.laddr.ip.removeprefix("::ffff:"))
            if one.status == psutil.CONN_LISTEN and not where.is_loopback:
                found.add(each.cmdline()[0].partition(" ")[0])
    return found


def test_an_epoch_is_decoded_by_a_replica(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOSPHENE_HOME", str(tmp_path))
    with server(tmp_path) as (process, url):
        config = load_preset("default")
        decoder = config.decoder.model_copy(update={"remote": url})
        session = RemoteSession(config.model_copy(update={"decoder": decoder}))
        answer = session.decode(job_of(noise_epoch(session.ready.spec), seed=1))
        session.close()
        assert (answer.error, answer.overload) == ("", "")
        assert answer.pixels is not None
        assert answer.decoded_by == url
        assert abroad(process.pid) <= {"ray::ServeReplica:phosphene:Decoder"}
        process.terminate()
        assert process.wait(60) == 0
    assert "SIGTERM" not in (tmp_path / "server.log").read_text()  # Ray's word, before it aborts
    assert (tmp_path / "server" / "audit.jsonl").read_text().count("session") >= 1
