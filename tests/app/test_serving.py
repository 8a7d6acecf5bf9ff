"""A decoding server without Ray: batches, tokens, sessions, and the door in front of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import stat
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from app.runtime.messages import Answer, Ready
from app.runtime.remote.adapters import AdapterFiles
from app.runtime.remote.wire import (
    MAX_BODY,
    AdapterRequest,
    CloseRequest,
    DecodeAnswer,
    DecodeRequest,
    OpenAnswer,
    OpenRequest,
    Refusal,
    Served,
    numbers_of,
    pack,
    request_of,
    unpack,
)
from app.serving.batching import Batcher, OverloadError
from app.serving.replica import Work
from app.serving.service import Declined, ReplicaService
from app.serving.sessions import MAX_PER_CLIENT, MAX_SESSIONS, RefusedError, Sessions
from app.serving.tokens import TokenError, Tokens
from configs import SessionConfig
from models.api import EncoderSpec, InputSpec
from tests.app.test_wire import job

pytest.importorskip("prometheus_client", reason="a server counts with phosphene[serve]")
from app.serving.connection import impatient_protocol
from app.serving.counting import Audit, Figures
from app.serving.gate import KIND, Gate

SPEC = EncoderSpec("toy", InputSpec(100.0), 0.0, 0.04, None, None, 4)
READY = Ready(SPEC, "0" * 64, "cpu", {})
_T = TypeVar("_T")


def run(task: Coroutine[Any, Any, _T]) -> _T:
    return asyncio.run(asyncio.wait_for(task, 60))


# -- batches ----------------------------------------------------------------------------------


class Held:
    """Runs batches, the first only when it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.go.wait(60)
        return [10 * item for item in items]


THREADS: list[ThreadPoolExecutor] = []


@pytest.fixture(autouse=True)
def _threads_end() -> Iterator[None]:
    yield
    while THREADS:
        THREADS.pop().shutdown()


def batcher(run_items: Callable[[Sequence[int]], list[int]], **options: Any) -> Batcher[int, int]:
    settings = {"max_batch": 4, "max_wait": 0.0} | options
    THREADS.append(ThreadPoolExecutor(1))
    return Batcher(run_items, executor=THREADS[-1], **settings)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


def test_what_comes_while_a_batch_runs_shares_the_next_in_its_order() -> None:
    held = Held()

    async def scene() -> list[int]:
        made = batcher(held)
        first = asyncio.create_task(made.submit(0, budget=60))
        await until(lambda: held.batches)
        rest = [asyncio.create_task(made.submit(n, budget=60)) for n in range(1, 8)]
        await until(lambda: made.n_waiting == 7)
        held.go.set()
        found = [result for result, _ in await asyncio.gather(first, *rest)]
        await made.close()
        return found

    assert run(scene()) == [10 * n for n in range(8)]
    assert held.batches == [[0], [1, 2, 3, 4], [5, 6, 7]]


def test_an_idle_server_waits_for_company_only_as_long_as_the_hurried_can() -> None:
    held = Held()
    held.go.set()

    async def scene() -> None:
        # A minute for company; the second has a second in all, so a tenth of one.
        made = batcher(held, max_wait=60.0, clock=lambda: 0.0)
        patient = asyncio.create_task(made.submit(1, budget=1000.0))
        await until(lambda: made.n_waiting == 1)
        await asyncio.gather(patient, made.submit(2, budget=1.0))
        await made.close()

    run(scene())
    assert held.batches == [[1, 2]]


def test_a_request_that_would_come_too_late_is_refused_at_once() -> None:
    now = [0.0]
    held = Held()
    held.go.set()

    def takes_a_second(items: Sequence[int]) -> list[int]:
        now[0] += 1.0
        return held(items)

    async def scene() -> None:
        made = batcher(takes_a_second, clock=lambda: now[0], max_batch=1)
        await made.submit(0, budget=0.1)  # nothing is known yet
        assert made.expected_wait() == pytest.approx(1.0)
        # One at a time takes as long as it takes; nobody waits for two.
        held.go.clear()
        first = asyncio.create_task(made.submit(1, budget=0.5))
        await until(lambda: len(held.batches) == 2)
        now[0] -= 1.0  # it has only begun
        with pytest.raises(OverloadError, match=r"would come in 2 s"):
            await made.submit(2, budget=0.5)
        waits = asyncio.create_task(made.submit(3, budget=2.5))
        held.go.set()
        assert ((await first)[0], (await waits)[0]) == (10, 30)
        await made.close()

    run(scene())


def test_what_waited_too_long_is_never_run() -> None:
    now = [0.0]
    held = Held()

    async def scene() -> None:
        made = batcher(held, clock=lambda: now[0])
        first = asyncio.create_task(made.submit(0, budget=10))
        await until(lambda: held.batches)
        second = asyncio.create_task(made.submit(1, budget=5))
        await until(lambda: made.n_waiting == 1)
        now[0] = 6.0
        held.go.set()
        await first
        with pytest.raises(OverloadError, match="waited 6 s"):
            await second
        await made.close()

    run(scene())
    assert held.batches == [[0]]


def test_what_would_come_too_late_by_now_is_not_run_either() -> None:
    now = [0.0]
    held = Held()

    async def scene() -> None:
        made = batcher(held, clock=lambda: now[0], max_batch=1)
        first = asyncio.create_task(made.submit(0, budget=10))
        await until(lambda: held.batches)
        second = asyncio.create_task(made.submit(1, budget=7))
        await until(lambda: made.n_waiting == 1)
        now[0] = 4.0  # less than the 7 s, but a second picture would be there after 8
        held.go.set()
        await first
        with pytest.raises(OverloadError, match="later than the 7 s"):
            await second
        await made.close()

    run(scene())
    assert held.batches == [[0]]


def test_a_batch_that_fails_fails_its_own_and_the_next_is_run() -> None:
    def fails(items: Sequence[int]) -> list[int]:
        if 0 in items:
            raise RuntimeError("no")
        return list(items)

    async def scene() -> int:
        made = batcher(fails)
        with pytest.raises(RuntimeError, match="no"):
            await made.submit(0, budget=10)
        result, _ = await made.submit(1, budget=10)
        await made.close()
        return result

    assert run(scene()) == 1


# -- tokens -----------------------------------------------------------------------------------


def test_a_token_is_known_by_its_hash_replaced_and_revoked(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "server")
    old = tokens.issue("left")
    other = tokens.issue("right")
    path = tmp_path / "server" / "tokens.json"
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert old not in path.read_text()
    assert old != other
    running = Tokens(tmp_path / "server")  # a server that runs meanwhile
    found = running.find(old)
    assert found is not None
    assert found.name == "left"
    new = tokens.issue("left")
    assert running.find(old) is None
    assert running.find(new) is not None
    tokens.revoke("right")
    assert running.find(other) is None
    with pytest.raises(TokenError, match="no client 'right'"):
        tokens.revoke("right")
    for name in ("", "../x", "a b", "x" * 65):
        with pytest.raises(TokenError):
            tokens.issue(name)
    path.write_text("[{}]")
    with pytest.raises(TokenError, match="cannot be read"):
        running.find(new)


# -- the door ---------------------------------------------------------------------------------


class Fake:
    """Decodes by summing up; holds, dies or declines where it is told."""

    def __init__(self) -> None:
        self.works: list[Work] = []
        self.declines = ""
        self.dies = False
        self.needs: set[str] = set()
        self.go: asyncio.Event | None = None

    async def ready(self) -> Ready:
        if self.dies:
            raise RuntimeError("gone")
        return READY

    async def decode(self, work: Work, *, budget: float) -> Served | Declined:
        self.works.append(work)
        if self.go is not None:
            await self.go.wait()
        if self.dies:
            raise RuntimeError("gone")
        if self.declines:
            return Declined(self.declines, is_overload=True)
        sha256 = work.job.steer.adapter.sha256
        if sha256 and sha256 not in self.needs and work.adapter is None:
            self.needs.add(sha256)
            return Served(Answer(0), needs_adapter=True)
        vector = np.full(4, work.job.data.sum(), np.float32)
        answer = Answer(work.job.index, vector, np.zeros((2, 2, 3), np.uint8), batch=(1, 0))
        return Served(answer, state="one", n_observed=work.n_observed + 1)

    async def check_adapter(
        self, files: AdapterFiles, config: SessionConfig, ch_names: tuple[str, ...]
    ) -> EncoderSpec | Declined:
        return replace(SPEC, sha256=files.sha256)


class Door:
    """A gate, and a client that speaks to it."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.backend = Fake()
        self.tokens = Tokens(folder)
        self.token = self.tokens.issue("left")
        self.audit = folder / "audit.jsonl"
        self.gate = Gate(
            self.backend,
            config=SessionConfig(),
            tokens=self.tokens,
            figures=Figures(),
            audit=Audit(self.audit),
            **options,
        )
        self.n_read = 0
        self.closes = False

    async def ask(
        self,
        path: str,
        body: bytes = b"",
        *,
        method: str = "POST",
        token: str | None = None,
        length: int | None = None,
        kind: bytes = KIND,
    ) -> tuple[int, bytes]:
        given = self.token if token is None else token
        headers = [
            (b"content-type", kind),
            (b"content-length", str(len(body) if length is None else length).encode()),
        ]
        if given:
            headers.append((b"authorization", f"Bearer {given}".encode()))
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            self.n_read += 1
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": headers}
        await self.gate(scope, receive, send)
        self.closes = (b"connection", b"close") in sent[0]["headers"]
        return sent[0]["status"], sent[1]["body"]

    async def open(self, *, token: str | None = None, **update: Any) -> str:
        body = pack(OPEN.model_copy(update=update))
        status, answer = await self.ask("/v1/open", body, token=token)
        assert status == 200, unpack(Refusal, answer)
        return unpack(OpenAnswer, answer).session

    async def refused(self, path: str, body: bytes = b"", **options: Any) -> str:
        status, answer = await self.ask(path, body, **options)
        assert status >= 400
        refusal = unpack(Refusal, answer)
        assert "\n" not in refusal.reason
        return refusal.refused

    def counted(self, line: str) -> bool:
        return line in self.gate.figures.text().decode()


OPEN = OpenRequest(
    version=1,
    subject="ada-lovelace",
    system="embedded",
    generator="",
    steps=1,
    guidance=None,
    doubt_session=True,
    align=False,
    tmin=-0.2,
    tmax=0.8,
    filter={},
    budget=5.0,
)


@pytest.fixture
def door(tmp_path: Path) -> Door:
    made = Door(tmp_path / "server")
    run(made.gate.look())
    return made


def epoch(session: str, number: int, *, sha256: str = "", **update: Any) -> bytes:
    plain = request_of(job(), session=session, number=number)
    steer = plain.steer.model_copy(update={"sha256": sha256})
    return pack(plain.model_copy(update={"steer": steer, **update}))


def test_a_session_is_opened_decoded_and_audited(door: Door) -> None:
    async def scene() -> None:
        session = await door.open()
        for number in range(3):
            status, body = await door.ask("/v1/decode", epoch(session, number))
            assert status == 200
            answer = unpack(DecodeAnswer, body)
            assert answer.number == number
        assert [work.n_observed for work in door.backend.works] == [0, 1, 2]
        assert (await door.ask("/v1/close", pack(CloseRequest(session=session))))[0] == 200
        assert await door.refused("/v1/decode", epoch(session, 9)) == "session"

    run(scene())
    line = json.loads(door.audit.read_text())
    assert line["client"] == "left"
    assert line["outcomes"] == {"decoded": 3}
    assert "lovelace" not in door.audit.read_text()
    if os.name != "nt":
        assert stat.S_IMODE(door.audit.stat().st_mode) == 0o600
    assert door.counted('phosphene_epochs_total{outcome="decoded"} 3.0')


def test_a_full_disk_ends_no_session_and_is_said_once(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    def write(_event: str, **_facts: Any) -> None:
        raise OSError(28, "No space left on device")

    door.gate._audit.write = write  # type: ignore[method-assign]

    async def scene() -> None:
        for _ in range(3):
            session = await door.open()
            assert (await door.ask("/v1/close", pack(CloseRequest(session=session))))[0] == 200

    run(scene())
    said = [each.getMessage() for each in caplog.records]
    assert said == [
        "sessions end without their line in the audit (No space left on device): free the disk."
    ]


def test_strangers_are_refused_before_a_byte_is_read(door: Door) -> None:
    async def scene() -> None:
        session = await door.open()
        read = door.n_read
        for token in ("", "x" * 43, door.token[:-1]):
            for path in ("/v1/open", "/v1/decode", "/v1/adapter", "/metrics"):
                assert await door.refused(path, epoch(session, 0), token=token) == "token"
                assert door.closes
        assert await door.refused("/v1/spy", epoch(session, 0)) == "invalid"
        assert await door.refused("/v1/open", epoch(session, 0), kind=b"text/plain") == "invalid"
        assert door.closes
        assert (await door.ask("/healthz", b"much", method="GET"))[0] == 200
        assert door.closes
        assert (await door.ask("/healthz", method="GET"))[0] == 200
        assert not door.closes
        assert door.n_read == read
        assert await door.refused("/v1/decode", epoch(session, 0), length=2 << 30) == "size"
        assert door.n_read == read
        assert await door.refused("/v1/decode", bytes(MAX_BODY + 1), length=10) == "size"
        assert not door.backend.works

    run(scene())
    assert door.counted('phosphene_refusals_total{reason="token"} 12.0')
    assert door.counted('phosphene_refusals_total{reason="size"} 2.0')


def test_a_head_that_does_not_come_or_never_ends_is_closed(door: Door) -> None:
    pytest.importorskip("uvicorn", reason="uvicorn is not here: pip install 'phosphene[serve]'")
    from uvicorn import Config
    from uvicorn.server import ServerState

    config = Config(
        door.gate, lifespan="off", log_config=None, ws="none", h11_max_incomplete_event_size=4096
    )
    config.load()
    made = impatient_protocol(0.05)

    async def scene(sent: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        own = await loop.create_server(
            lambda: made(config, ServerState(), {}), host="127.0.0.1", port=0
        )
        async with own:
            reader, writer = await asyncio.open_connection(*own.sockets[0].getsockname())
            writer.write(sent)
            found = await reader.read()
            writer.close()
        return found

    whole = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    assert run(scene(b"GET /heal")) == b""
    # The next head is waited for no longer than the first, once it has begun.
    answer = run(scene(whole + b"POST /v1/dec"))
    assert b" 200 OK" in answer
    assert answer.endswith(b"ok\n")
    assert b" 400 " in run(scene(whole[:-2] + b"x: " + bytes(5000)))


def test_who_does_not_answer_the_end_of_tls_keeps_no_connection(door: Door, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="uvicorn is not here: pip install 'phosphene[serve]'")
    from uvicorn import Config
    from uvicorn.server import ServerState

    from app.serving.certificates import own_certificate

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*own_certificate(tmp_path / "tls"))
    config = Config(door.gate, lifespan="off", log_config=None, ws="none")
    config.load()
    made, state = impatient_protocol(0.05), ServerState()
    lost: list[Exception | None] = []

    class Watched(made):  # type: ignore[valid-type, misc]
        def connection_lost(self, exc: Exception | None) -> None:
            lost.append(exc)
            super().connection_lost(exc)

    def begins(address: tuple[str, int]) -> ssl.SSLSocket:
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        found = trusting.wrap_socket(socket.create_connection(address, timeout=20))
        found.sendall(b"GET /heal")  # and reads nothing, from then on
        return found

    async def scene() -> None:
        own = await asyncio.get_running_loop().create_server(
            lambda: Watched(config, state, {}), host="127.0.0.1", port=0, ssl=context
        )
        async with own:
            held = await asyncio.to_thread(begins, own.sockets[0].getsockname())
            await asyncio.wait_for(until(lambda: lost), 20)  # asyncio's own end takes 30 s
            held.close()

    run(scene())


def test_what_is_no_epoch_of_this_session_is_refused(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    nan = numbers_of(np.full((3, 5), np.nan, np.float32))

    async def scene() -> None:
        session = await door.open()
        other = door.tokens.issue("right")
        assert await door.refused("/v1/decode", epoch(session, 0, eeg=nan)) == "invalid"
        assert await door.refused("/v1/decode", b"noise") == "invalid"
        assert await door.refused("/v1/decode", epoch(session, 0), token=other) == "session"
        assert await door.refused("/v1/decode", epoch(session, 0, sha256="d" * 64)) == "adapter"
        assert (await door.ask("/v1/decode", epoch(session, 4)))[0] == 200
        assert await door.refused("/v1/decode", epoch(session, 4)) == "replayed"
        assert await door.refused("/v1/decode", epoch(session, 3)) == "replayed"
        assert await door.refused("/v1/spy") == "invalid"
        form = await door.refused("/v1/decode", epoch(session, 5), kind=b"text/plain")
        assert form == "invalid"
        assert len(door.backend.works) == 1

    run(scene())
    assert caplog.text == ""


def manifest(subject: str) -> bytes:
    folder = Path(__file__).parents[1] / "fixtures"
    found = sorted(folder.rglob("adapter.json"))
    if not found:
        pytest.skip("no adapter among the fixtures")
    table = json.loads(found[0].read_text())
    return json.dumps(table | {"subject": subject}).encode()


def test_an_adapter_is_its_person_s_and_its_session_s_only(door: Door) -> None:
    from app.runtime.remote.adapters import adapter_of

    def sent(session: str, subject: str) -> bytes:
        text = manifest(subject)
        return pack(AdapterRequest(session=session, manifest=text, weights=b"w", ch_names=("C0",)))

    async def scene() -> None:
        session = await door.open()
        known = adapter_of(manifest("ada-lovelace"), b"w").sha256
        assert await door.refused("/v1/adapter", sent(session, "bob")) == "adapter"
        assert await door.refused("/v1/adapter", sent(session, "..")) == "adapter"
        assert (await door.ask("/v1/adapter", sent(session, "ada-lovelace")))[0] == 200
        assert (await door.ask("/v1/decode", epoch(session, 0, sha256=known)))[0] == 200
        # The replica had not seen it, and was sent it once.
        assert [work.adapter is None for work in door.backend.works] == [True, False]
        # Another session, even of the same client, has not sent it.
        second = await door.open(subject="bob")
        assert await door.refused("/v1/decode", epoch(second, 0, sha256=known)) == "adapter"

    run(scene())


def test_no_room_is_overload_and_a_dead_replica_is_failed(door: Door) -> None:
    async def scene() -> None:
        session = await door.open()
        door.backend.declines = "3 epochs wait already"
        assert await door.refused("/v1/decode", epoch(session, 0)) == "overload"
        door.backend.declines, door.backend.dies = "", True
        assert await door.refused("/v1/decode", epoch(session, 1)) == "failed"
        await door.gate.look()
        assert (await door.ask("/readyz", method="GET", token=""))[0] == 503
        assert (await door.ask("/healthz", method="GET", token=""))[0] == 200
        assert await door.refused("/v1/open", pack(OPEN)) == "away"
        assert await door.refused("/v1/decode", epoch(session, 2)) == "away"
        door.backend.dies = False
        await door.gate.look()
        assert (await door.ask("/readyz", method="GET", token=""))[0] == 200
        assert (await door.ask("/v1/decode", epoch(session, 2)))[0] == 200

    run(scene())
    assert door.counted('phosphene_epochs_total{outcome="overload"} 1.0')
    assert door.counted('phosphene_epochs_total{outcome="failed"} 1.0')


def test_more_than_the_server_takes_is_overload(tmp_path: Path) -> None:
    door = Door(tmp_path, max_open=2)

    async def scene() -> None:
        await door.gate.look()
        door.backend.go = asyncio.Event()
        session = await door.open()
        tasks = [
            asyncio.create_task(door.ask("/v1/decode", epoch(session, number)))
            for number in range(2)
        ]
        await until(lambda: door.gate.n_open == 2)
        assert await door.refused("/v1/decode", epoch(session, 2)) == "overload"
        draining = asyncio.create_task(door.gate.drain(30))
        await until(lambda: door.gate.is_draining)
        assert await door.refused("/v1/decode", epoch(session, 3)) == "draining"
        assert not draining.done()
        door.backend.go.set()
        assert [status for status, _ in await asyncio.gather(*tasks)] == [200, 200]
        await draining
        assert len(door.gate.sessions) == 0

    run(scene())


def test_openings_whose_answers_came_too_late_lock_no_client_out() -> None:
    now, ended = [0.0], list[str]()
    sessions = Sessions(clock=lambda: now[0], on_end=lambda each: ended.append(each.id))

    def open_one(client: str = "left") -> str:
        return sessions.open(client=client, subject="x", config=SessionConfig(), budget=2.0).id

    asks, draws = open_one(), sessions.get(open_one(), client="left")
    draws.n_open = 1
    for _ in range(MAX_PER_CLIENT - 2):
        open_one()
    with pytest.raises(RefusedError, match=f"{MAX_PER_CLIENT} of them of this client"):
        open_one()  # so many at once are no client's that waited
    assert not ended
    for _ in range(3 * MAX_PER_CLIENT):
        now[0] += 2.0
        sessions.get(asks, client="left")
        with contextlib.suppress(RefusedError):
            open_one()
        assert len(sessions) == MAX_PER_CLIENT
    assert len(ended) > MAX_PER_CLIENT  # it was let in again and again
    assert not {asks, draws.id} & set(ended)
    for number in range(MAX_SESSIONS):
        open_one(f"client-{number}") if len(sessions) < MAX_SESSIONS else None
    now[0] += 11.0
    sessions.get(asks, client="left")
    open_one("another")
    assert len(sessions) == MAX_SESSIONS
    assert not {asks, draws.id} & set(ended)


def test_a_session_of_other_pictures_is_refused(door: Door) -> None:
    async def scene() -> None:
        for update in ({"system": "another"}, {"steps": 4}, {"guidance": 2.0}):
            body = pack(OPEN.model_copy(update=update))
            assert await door.refused("/v1/open", body) == "settings"
        for _ in range(32):
            await door.open()
        assert await door.refused("/v1/open", pack(OPEN)) == "overload"

    run(scene())


def test_a_service_batches_and_says_how_long_each_waited() -> None:
    class Summing:
        ready = READY

        def decode(self, works: Sequence[Work]) -> list[Served]:
            return [
                Served(Answer(work.job.index, batch=(len(works), at)), encode=0.5)
                for at, work in enumerate(works)
            ]

        def check_adapter(self, files: Any, config: Any, *, ch_names: Any) -> EncoderSpec:
            return SPEC

    async def scene() -> list[Served | Declined]:
        service = ReplicaService(Summing(), max_batch=3, max_wait=60.0)
        works = [Work("s", SessionConfig(), replace(job(), index=n)) for n in range(3)]
        found = await asyncio.gather(*(service.decode(work, budget=600.0) for work in works))
        await service.close()
        return list(found)

    found = run(scene())
    assert [each.answer.batch for each in found if isinstance(each, Served)] == [
        (3, 0),
        (3, 1),
        (3, 2),
    ]


def test_a_request_reads_back_as_it_was_sent() -> None:
    assert unpack(DecodeRequest, epoch("ab" * 16, 5)).number == 5
