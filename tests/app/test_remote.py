"""A session that a server decodes: there while it answers, here while it does not."""

from __future__ import annotations

import datetime
import hashlib
import http.server
import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.foreign import other_place
from app.runtime.closing import describe_run
from app.runtime.decoding import read_past
from app.runtime.messages import Answer, Job, Load, Loaded, Moved, Ready, StandsBy, Steer
from app.runtime.remote.client import RefusedByServerError, RemoteSession
from app.runtime.remote.process import Places
from app.runtime.remote.ticket import Ticket, TicketError, place_of, read_ticket, write_ticket
from app.runtime.remote.transport import GoneError, OtherServerError, Transport
from app.runtime.remote.wire import (
    DecodeRequest,
    OpenAnswer,
    Refusal,
    Served,
    answer_of,
    drawing_of,
    pack,
    ready_table,
    unpack,
)
from configs import ConfigError, DecoderConfig, SessionConfig
from configs.loading import read_config, validate
from models.api import EncoderSpec, InputSpec
from models.pace import Pace
from models.sampling.batches import sample_as, sample_together
from pipeline.errors import PhospheneError
from pipeline.gallery import load_gallery
from pipeline.values import Embedding, GeneratedImage
from tests.app.test_wire import job
from tests.waiting import wait_for

URL = "https://decoder.example:7447"
SPEC = EncoderSpec("toy", InputSpec(100.0), 0.0, 0.04, None, None, 4, sha256="e" * 64)
READY = Ready(
    SPEC,
    "f" * 64,
    "cpu",
    {"torch": "2"},
    pace=Pace(0.01, 1, 0.01, 0.0),
    settled=drawing_of(DecoderConfig(threads=3, blend=False)),
    machine="a CPU",
)
CONFIG = SessionConfig(decoder=DecoderConfig(remote=URL))


# -- the settings -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        *("http://decoder.example:7447", "https://x", "ftp://x:1", "https://a@b:1"),
        *("https://x:1/../y", "http://127.0.0.1:74470", "https://x:0", "127.0.0.1:7447", ""),
    ],
)
def test_an_address_without_encryption_leaves_the_machine_never(url: str) -> None:
    with pytest.raises(ConfigError, match=r"decoder\.remote.*expected https://HOST:PORT"):
        validate({"decoder": {"remote": url}}, where="test")
    for fits in (URL, "http://127.0.0.1:7447", "http://localhost:1", "https://[fe80::1]:7"):
        assert DecoderConfig(remote=fits).remote == fits
    for wrong in ("127.0.0.1", "127.0.0.1:70000", "::1:9000", "a:b"):
        with pytest.raises(ConfigError, match=r"outputs\.osc.*expected HOST:PORT"):
            validate({"outputs": {"osc": wrong}}, where="test")


def test_a_recorded_session_sends_nobody_s_eeg_anywhere(tmp_path: Path) -> None:
    written = tmp_path / "session.toml"
    written.write_text(f'[decoder]\nremote = "{URL}"\n[run]\nseed = 0\n')
    assert read_config(written).config.decoder.remote is None
    own = tmp_path / "own.toml"
    own.write_text(f'[decoder]\nremote = "{URL}"\n')
    assert read_config(own).config.decoder.remote == URL


# -- the ticket -------------------------------------------------------------------------------


def test_a_ticket_is_private_and_of_one_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOSPHENE_HOME", str(tmp_path))
    with pytest.raises(TicketError, match="--ticket NAME"):
        read_ticket(URL, None)
    ticket = Ticket(URL, "t" * 43, "a" * 64)
    write_ticket(ticket, place_of(URL))
    assert read_ticket(URL, None) == ticket
    assert "ttt" not in repr(ticket)
    path = tmp_path / "given.json"
    write_ticket(ticket, path)
    assert read_ticket(URL, path) == ticket
    with pytest.raises(TicketError, match="another server"):
        read_ticket("https://decoder.example:8000", path)
    if os.name != "nt":
        path.chmod(0o640)
        with pytest.raises(TicketError, match="may be read by others"):
            read_ticket(URL, path)
    path.write_text(json.dumps({"url": URL, "token": "short", "fingerprint": ""}))
    path.chmod(0o600)
    with pytest.raises(TicketError, match="no token"):
        read_ticket(URL, path)
    path.write_text("{")
    with pytest.raises(TicketError, match="cannot be read"):
        read_ticket(URL, path)


# -- one session there ------------------------------------------------------------------------


class Answering:
    """A transport whose other end is a function."""

    def __init__(self, *answers: tuple[int, bytes] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, bytes]] = []

    def ask(self, _method: str, path: str, body: bytes, *, timeout: float) -> tuple[int, bytes]:
        self.asked.append((path, body))
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        pass


def plain_job() -> Job:
    return replace(job(), steer=Steer())


OPENED = (200, pack(OpenAnswer(session="ab" * 16, ready=ready_table(READY))))


def refusal(code: Any, reason: str = "no") -> tuple[int, bytes]:
    return 503, pack(Refusal(refused=code, reason=reason))


def decoded(number: int, **times: float) -> tuple[int, bytes]:
    answer = Answer(number, np.ones(4, np.float32), np.zeros((2, 2, 3), np.uint8), batch=(8, 3))
    served = Served(replace(answer, observed=True), **times)  # type: ignore[arg-type]
    return 200, pack(answer_of(served, number))


def session(*answers: tuple[int, bytes] | Exception, clock: Any = None) -> RemoteSession:
    transport: Any = Answering(OPENED, *answers)
    options = {} if clock is None else {"clock": clock}
    return RemoteSession(CONFIG, transport=transport, **options)


def test_an_answer_s_times_are_lengths_and_the_rest_is_the_network() -> None:
    times = iter([100.0, 101.0])
    there = session(decoded(0, waited=0.2, encode=0.1, sample=0.4), clock=lambda: next(times))
    assert there.ready.server == URL
    answer = there.decode(plain_job())
    assert answer.index == 7
    assert (answer.decoded_by, answer.batch) == (URL, (8, 3))
    assert answer.network == pytest.approx(0.3)
    assert answer.started == pytest.approx(100.2)
    assert answer.encoded == pytest.approx(100.3)


def test_refusals_are_counted_failed_or_a_reason_to_go() -> None:
    sent = plain_job()
    told = refusal("overload"), refusal("failed"), refusal("session"), (502, b"proxy")
    there = session(*told, refusal("token"))
    assert "no room" in there.decode(sent).overload
    assert "refused it (failed)" in there.decode(sent).error
    with pytest.raises(GoneError, match="no"):
        there.decode(sent)
    with pytest.raises(GoneError, match="HTTP's 502"):
        there.decode(sent)
    with pytest.raises(GoneError, match="have a new one made"):
        there.decode(sent)


def test_an_answer_to_another_epoch_is_not_this_one_s() -> None:
    sent = plain_job()
    there = session(decoded(5), (200, b"noise"))
    assert "another epoch" in there.decode(sent).error
    assert "cannot be read" in there.decode(sent).error


def test_an_adapter_that_was_not_sent_decodes_nothing() -> None:
    there = session()
    assert "not sent" in there.decode(job()).error


def test_a_server_sets_nothing_but_how_it_draws() -> None:
    spying = replace(READY, settled={**READY.settled, "adapter": "/x", "weights": "/y"})
    answer = (200, pack(OpenAnswer(session="ab" * 16, ready=ready_table(spying))))
    transport: Any = Answering(answer)
    found = RemoteSession(CONFIG, transport=transport).ready.settled
    assert found == READY.settled
    odd = replace(READY, settled={"backend": "rm -rf"})
    transport = Answering((200, pack(OpenAnswer(session="ab" * 16, ready=ready_table(odd)))))
    with pytest.raises(PhospheneError, match="settings that are none"):
        RemoteSession(CONFIG, transport=transport)


def test_what_was_asked_rises_by_one_with_every_request() -> None:
    sent = plain_job()
    there = session(decoded(0), refusal("overload"), decoded(2))
    for _ in range(3):
        there.decode(sent)
    transport: Any = there._transport
    numbers = [unpack(DecodeRequest, body).number for _, body in transport.asked[1:]]
    assert numbers == [0, 1, 2]


# -- there and here ---------------------------------------------------------------------------


class Here:
    """The decoder of this machine."""

    ready = replace(READY, machine="here")

    def __init__(self, config: SessionConfig, *, tell: Any) -> None:
        self.jobs: list[int] = []
        self.n_forgotten = 0

    def settle(self) -> None:
        pass

    def forget(self) -> None:
        self.n_forgotten += 1

    def load(self, request: Load) -> Loaded:
        return Loaded(request.folder, "here", SPEC)

    def decode(self, job: Job) -> Answer:
        self.jobs.append(job.index)
        return Answer(job.index, observed=True)


class There:
    """A server that can go and come back."""

    def __init__(self) -> None:
        self.is_up = True
        self.is_slow = False
        self.n_opened = 0
        self.refuses = ""
        self.within: float | None = None
        self.closed_in: list[str] = []

    def open(self, config: SessionConfig) -> Any:
        if not self.is_up:
            raise GoneError("nobody listens there")
        if self.refuses:
            raise RefusedByServerError("settings", self.refuses)
        self.n_opened += 1
        return self

    ready = replace(READY, server=URL)

    def load(self, request: Load) -> Loaded:
        return Loaded(request.folder, "there", SPEC)

    def decode(self, job: Job, *, within: float | None = None) -> Answer:
        self.within = within
        if self.is_slow or not self.is_up:
            raise GoneError("no answer within 2 s" if self.is_up else "it closed the connection")
        return Answer(job.index, decoded_by=URL, observed=True, began=job.index == 0)

    def close(self) -> None:
        self.closed_in.append(threading.current_thread().name)


@pytest.fixture
def there() -> There:
    return There()


@pytest.fixture
def words() -> list[Any]:
    return []


@pytest.fixture
def places(there: There, words: list[Any]) -> Iterator[Places]:
    made: Any = Places(
        CONFIG,
        send=words.append,
        open_session=there.open,
        make_local=Here,  # type: ignore[arg-type]
        probe_every=0.01,
    )
    yield made
    made.close()
    for thread in threading.enumerate():
        if thread.name in ("probe", "local"):
            thread.join(10)


def test_epochs_go_there_then_here_then_there_again_each_with_a_word(
    places: Places, there: There, words: list[Any]
) -> None:
    places.start()
    places.announce()
    assert places.ready is not None
    assert places.ready.server == URL
    plain = replace(job(), index=0)
    assert places.decode(plain).began
    assert places.decode(replace(plain, index=1)).decoded_by == URL
    there.is_up = False
    first = places.decode(replace(plain, index=2))
    assert (first.decoded_by, first.began) == ("", True)  # the same epoch, decoded here
    assert not places.decode(replace(plain, index=3)).began
    there.is_up = True
    wait_for(lambda: places._found is not None)
    assert places.decode(replace(plain, index=4)).decoded_by == URL
    moves = [each for each in words if isinstance(each, Moved)]
    assert [each.place for each in moves] == [URL, "", URL]
    assert "leaves this machine" in moves[0].sentence
    assert "decoded here until it is back" in moves[1].sentence
    assert moves[2].server is not None
    here: Any = places._local.worker
    assert here.jobs == [2, 3]
    assert here.n_forgotten == 1


def test_until_the_decoder_here_stands_by_an_epoch_has_an_outcome_in_its_time(
    there: There, words: list[Any]
) -> None:
    loads = threading.Event()

    def slow(config: SessionConfig, *, tell: Any) -> Here:
        loads.wait(60.0)
        return Here(config, tell=tell)

    config = SessionConfig(decoder=DecoderConfig(remote=URL, max_wait=0.05))
    places: Any = Places(
        config,
        send=words.append,
        open_session=there.open,
        make_local=slow,  # type: ignore[arg-type]
        probe_every=60.0,
    )
    places.start()
    places.announce()
    there.is_up = False
    answer = places.decode(plain_job())
    assert "still loading" in answer.overload
    assert not any(isinstance(each, StandsBy) for each in words)
    loads.set()
    wait_for(lambda: isinstance(words[-1], StandsBy))
    assert "stands by" in words[-1].sentence
    assert not words[-1].reason
    assert places.decode(plain_job()).observed
    places.close()


def test_a_machine_that_could_not_take_over_says_so_before_it_must(
    there: There, words: list[Any]
) -> None:
    def missing(config: SessionConfig, *, tell: Any) -> Any:
        raise PhospheneError("the weights are missing.")

    places = Places(CONFIG, send=words.append, open_session=there.open, make_local=missing)
    places.start()
    places.announce()
    wait_for(lambda: isinstance(words[-1], StandsBy))
    assert "cannot take over" in words[-1].sentence
    assert words[-1].reason == "the weights are missing."
    places.close()


def test_a_server_that_is_not_there_at_first_is_used_when_it_comes(
    places: Places, there: There, words: list[Any]
) -> None:
    there.is_up = False
    places.start()
    places.announce()
    assert places.ready is not None
    assert not places.ready.server
    assert words[-1].place == ""
    assert places.decode(replace(job(), index=1)).decoded_by == ""
    there.is_up = True
    wait_for(lambda: places._found is not None)
    assert places.decode(replace(job(), index=2)).decoded_by == URL


def test_a_server_that_refuses_the_session_says_why(places: Places, there: There) -> None:
    there.refuses = "this server draws in 4 steps"
    places.start()
    assert "4 steps" in places._word.sentence


def test_neither_there_nor_here_is_one_refusal(there: There, words: list[Any]) -> None:
    def missing(config: SessionConfig, *, tell: Any) -> Any:
        raise PhospheneError("the weights are missing.")

    there.is_up = False
    places = Places(
        CONFIG, send=words.append, open_session=there.open, make_local=missing, probe_every=60.0
    )
    places.start()
    assert "nobody listens" in places.refusal
    assert "weights are missing" in places.refusal
    places.close()


def test_an_adapter_is_loaded_in_both_places_and_sent_again_on_return(
    places: Places, there: There
) -> None:
    places.start()
    wait_for(lambda: places._local.worker is not None)
    assert places.load(Load("/a/folder")).sha256 == "there"
    there.is_up = False
    places.decode(replace(job(), index=1))
    sent: list[str] = []
    there.load = lambda request: sent.append(request.folder) or Loaded("", "x", SPEC)  # type: ignore[method-assign, func-returns-value]
    there.is_up = True
    wait_for(lambda: places._found is not None)
    assert sent == ["/a/folder"]


class Pauses:
    """A prober's pauses, which take no time."""

    def __init__(self) -> None:
        self.lasted: list[float] = []

    def wait(self, pause: float) -> bool:
        self.lasted.append(pause)
        return False

    def set(self) -> None:
        pass


def test_a_server_that_lives_but_is_slow_is_tried_less_and_less(
    places: Places, there: There, words: list[Any]
) -> None:
    pauses: Any = Pauses()
    places._closing = pauses
    places._probe_every = places._pause = 1.0
    places.start()
    wait_for(lambda: places._local.worker is not None)
    there.is_slow = True
    for index in range(5):  # left, found again, left again
        assert places.decode(replace(job(), index=index)).decoded_by == ""
        wait_for(lambda: places._found is not None)
        wait_for(lambda: len(there.closed_in) == index + 1)  # noqa: B023
    assert pauses.lasted == [1.0, 2.0, 4.0, 8.0, 15.0]
    assert set(there.closed_in) == {"probe"}  # no epoch waited for that
    # What it can draw here itself, it waits for no longer: the default's 5 s less a picture.
    assert there.within == pytest.approx(5.0 - 1.5 * 0.02)
    there.is_slow = False
    for index in range(5, 20):
        assert places.decode(replace(job(), index=index)).decoded_by == URL
    there.is_slow = True
    places.decode(plain_job())
    wait_for(lambda: places._found is not None)
    assert pauses.lasted[-1] == 1.0
    assert sum("does not decode any more" in each.sentence for each in words) == 6


def test_why_a_server_is_not_used_again_is_said_once(
    places: Places, there: There, words: list[Any]
) -> None:
    places.start()
    there.is_up = False
    places.decode(plain_job())
    there.is_up, there.refuses = True, "this server draws in 4 steps"
    wait_for(lambda: "4 steps" in words[-1].sentence)
    n_opened, opened = len(words), there.open

    def other(config: SessionConfig) -> Any:
        raise OtherServerError("it shows another certificate")

    def broken(config: SessionConfig) -> Any:
        raise KeyError("a fault of ours")

    for odd, sentence in ((other, "another certificate"), (broken, "a fault of ours")):
        places._open = odd
        wait_for(lambda: sentence in words[-1].sentence)  # noqa: B023
    places._open, there.refuses = opened, ""
    wait_for(lambda: places._found is not None)
    assert places.decode(plain_job()).decoded_by == URL
    assert len(words) == n_opened + 3


def test_a_session_that_lacks_an_adapter_is_not_returned_to(places: Places, there: There) -> None:
    places.start()
    wait_for(lambda: places._local.worker is not None)
    there.is_up = False
    places.decode(plain_job())
    there.is_up = True
    wait_for(lambda: places._found is not None)
    places.load(Load("/a/folder"))  # here, after a session was opened there without it
    assert places.decode(plain_job()).decoded_by == ""
    wait_for(lambda: places._found is not None)
    assert places.decode(plain_job()).decoded_by == URL


# -- the connection ---------------------------------------------------------------------------


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        answer = self.headers["authorization"].encode() + b" " + body
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize("lost", ["key.pem", "certificate.pem"])
def test_a_certificate_without_its_key_is_not_made_anew_in_silence(
    lost: str, tmp_path: Path
) -> None:
    pytest.importorskip("cryptography", reason="certificates are made with phosphene[serve]")
    from app.serving.certificates import CertificateError, own_certificate

    made = own_certificate(tmp_path / "server")
    (tmp_path / "server" / lost).unlink()
    left = next(path for path in made if path.exists())
    before = left.read_bytes()
    with pytest.raises(CertificateError, match=f"is there without its {lost}: put that back"):
        own_certificate(tmp_path / "server")
    assert left.read_bytes() == before


def test_only_the_certificate_of_the_ticket_is_spoken_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cryptography", reason="certificates are made with phosphene[serve]")
    from app.serving import certificates
    from app.serving.certificates import fingerprint, out_of_date, own_certificate

    certificate, key = own_certificate(tmp_path / "server")
    if os.name != "nt":
        assert key.stat().st_mode & 0o077 == 0
    assert own_certificate(tmp_path / "server") == (certificate, key)
    assert not out_of_date(certificate)
    before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    assert "does not hold before 2" in out_of_date(certificate, now=before)
    monkeypatch.setattr(certificates, "_DAYS", 0)
    assert "has expired on 2" in out_of_date(own_certificate(tmp_path / "old")[0])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    url = f"https://127.0.0.1:{server.server_address[1]}"
    try:
        good = Transport(url, Ticket(url, "t" * 43, fingerprint(certificate)))
        for _ in range(2):
            assert good.ask("POST", "/x", b"epoch", timeout=20.0) == (
                200,
                b"Bearer " + b"t" * 43 + b" epoch",
            )
        good.close()
        wrong = hashlib.sha256(b"another").hexdigest()
        for mark in (wrong, ""):  # nor one that no authority knows
            bad = Transport(url, Ticket(url, "t" * 43, mark))
            with pytest.raises(GoneError, match="certificate"):
                bad.ask("POST", "/x", b"epoch", timeout=20.0)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
    with pytest.raises(GoneError, match="nobody listens"):
        good.ask("POST", "/x", b"epoch", timeout=1.0)


class Dripping:
    """A server whose connections each do one thing, in their order."""

    def __init__(self, *scripts: Callable[[socket.socket, bytes], None]) -> None:
        self.asked: list[bytes] = []
        self._scripts = scripts
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with self._listening:
            for script in self._scripts:
                with self._listening.accept()[0] as connection:
                    self.asked.append(connection.recv(1 << 16))
                    script(connection, self.asked[-1])


FINE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def test_a_connection_that_was_idle_too_long_costs_no_epoch() -> None:
    def once(connection: socket.socket, _asked: bytes) -> None:
        connection.sendall(FINE)

    server = Dripping(once, once)  # closed after an answer, as a server does after 75 s
    transport = Transport(server.url, Ticket(server.url, "t" * 43))
    assert transport.ask("POST", "/v1/open", b"x", timeout=20.0) == (200, b"ok")
    assert transport.ask("POST", "/v1/decode", b"epoch", timeout=20.0) == (200, b"ok")
    transport.close()
    server.thread.join(10)
    assert [each.partition(b" HTTP")[0] for each in server.asked] == [
        b"POST /v1/open",
        b"POST /v1/decode",
    ]


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\nx-a: b\r\n", FINE[:-2]])
def test_an_answer_that_comes_byte_by_byte_is_waited_for_no_longer(said: bytes) -> None:
    now, heard = [0.0], threading.Event()

    def drips(connection: socket.socket, _asked: bytes) -> None:
        connection.sendall(said)
        heard.wait(20)
        now[0] = 2.5  # each byte came well within the 2 s
        connection.sendall(b"k")
        connection.recv(1)

    server = Dripping(drips)

    def clock() -> float:
        if server.asked:
            heard.set()
        return now[0]

    transport = Transport(server.url, Ticket(server.url, "t" * 43), clock=clock)
    with pytest.raises(GoneError, match="no answer within 2 s"):
        transport.ask("POST", "/v1/decode", b"epoch", timeout=2.0)
    transport.close()
    server.thread.join(10)


# -- what a replay makes of it ----------------------------------------------------------------


class Together:
    """A sampler whose batches of another size have another last bit."""

    def sample(self, embedding: Embedding, *, seed: int) -> GeneratedImage:
        return GeneratedImage(self._draw([embedding], [seed])[0], seed, 0, 0.0)

    def sample_batch(self, embeddings: Sequence[Embedding], *, seeds: Sequence[int]) -> Any:
        return self._draw(embeddings, seeds)

    def _draw(self, embeddings: Sequence[Embedding], seeds: Sequence[int]) -> Any:
        n = len(embeddings)
        values = [n * 10 + at + seed for at, seed in enumerate(seeds)]
        return np.array([np.full((1, 1, 3), value, np.uint8) for value in values])

    @property
    def spec(self) -> Any:
        raise NotImplementedError


def test_a_picture_of_a_batch_is_repeated_alone_to_the_bit() -> None:
    embeddings = [Embedding(np.full(4, k, np.float32), k, 0.0) for k in range(3)]
    drawn = sample_together(Together(), embeddings, seeds=[5, 6, 7])
    assert [batch for _, batch in drawn] == [(3, 0), (3, 1), (3, 2)]
    for (pixels, batch), embedding, seed in zip(drawn, embeddings, [5, 6, 7], strict=True):
        assert (sample_as(Together(), embedding, seed=seed, batch=batch) == pixels).all()
    alone = sample_as(Together(), embeddings[2], seed=7, batch=None)
    assert not (alone == drawn[2][0]).all()


def test_a_recording_says_which_batch_and_nothing_absurd() -> None:
    events = [
        {"index": k, "outcome": "decoded", "batch": batch}
        for k, batch in enumerate([[8, 3], [1, 0], [3, 3], [10**9, 0], [True, 0], "x", [2, -1]])
    ]
    assert read_past(events).batches == {0: (8, 3), 1: (1, 0)}


def test_a_replay_says_whether_weights_and_back_end_are_the_server_s() -> None:
    drawn_by = {"encoder_sha256": "a", "sampler_sha256": "b", "backend": "eager", "machine": "x"}
    recorded = {"server": {"url": URL, **drawn_by}}
    assert "repeated to the bit" in other_place(recorded, {"drawn_by": drawn_by})
    other = other_place(recorded, {"drawn_by": drawn_by | {"backend": "openvino"}})
    assert "not repeated to the bit" in other
    assert "backend openvino (there: eager)" in other
    assert other_place({}, {"drawn_by": drawn_by}) == ""


def test_a_session_says_what_drew_there_and_here_in_the_same_words() -> None:
    here = replace(READY, settled={k: v for k, v in READY.settled.items() if k != "threads"})
    config = SessionConfig(decoder=DecoderConfig(threads=3))
    run = describe_run(
        config,
        ready=here,
        gallery=load_gallery(None),
        replay_of=None,
        server=replace(READY, server=URL),
    )
    assert run["server"]["url"] == URL
    assert "repeated to the bit" in other_place(run, {"drawn_by": run["drawn_by"]})
    assert "not repeated" in other_place(run, {"drawn_by": run["drawn_by"] | {"threads": "1"}})
