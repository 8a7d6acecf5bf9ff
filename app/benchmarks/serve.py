"""One server, many virtual headsets: nothing lost or swapped, how late, and what breaks nothing.

Owns the load, the server's process and the judgement. The peers are this machine's own decoder on
the same epochs: by hash for the batch that a picture was drawn in, and for what one alone takes.
Real Ray, real HTTP on loopback, the shipped model; the epochs are noise, which costs as much.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import AppError
from app.runtime.decoder import Decoder
from app.runtime.encoders import Encoders, Steered
from app.runtime.messages import Answer, Job, epoch_of, job_of
from app.runtime.remote.client import RefusedByServerError, RemoteSession
from app.runtime.remote.ticket import Ticket, read_ticket, write_ticket
from app.runtime.remote.transport import GoneError, Transport
from app.runtime.remote.wire import Refusal, WireError, numbers_of, pack, request_of, unpack
from app.serving.tokens import Tokens
from configs import SessionConfig, load_preset
from models.sampling.batches import sample_as, sample_together
from models.systems import System, load_encoder, load_system, noise_epoch

EVERY = 2.0
"""From one headset's epoch to its next, s."""
START_TIMEOUT = 240.0
KILLED = 40.0
"""Length of the load in which the replica is killed, s."""
N_COMPARED, N_EPOCHS = 12, 4
"""Headsets of each load, and epochs of each, that are decoded again here."""
N_CLIENTS = 5
"""Sessions whose server is killed."""
IDLE_FOR, IDLE_SHARE = 4.0, 0.05
"""Their processes have loaded when they have used less of a core than that, for so many s."""
GONE = "gone: "
"""Of an epoch for which no server answers: a session decodes it on its own machine."""
GOAL_BATCH = 0.8
GOAL_LOCAL = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One epoch of one headset, its answer, and how long it took, s."""

    headset: int
    job: Job
    answer: Answer
    seconds: float

    @property
    def outcome(self) -> str:
        """What became of it."""
        if self.answer.overload:
            return "overload"
        if self.answer.error.startswith(GONE):
            return "decoded here"
        return "failed" if self.answer.error else "decoded"


class Headset:
    """A virtual person who sends noise."""

    def __init__(self, number: int, config: SessionConfig, template: Job) -> None:
        self.number = number
        self._config = config
        self._session: RemoteSession | None = RemoteSession(config)
        self._template = template
        self.asked: list[Asked] = []

    def ask(self, at: int) -> None:
        """Send one epoch, and keep what came of it."""
        job = epoch_number(self._template, self.number, at)
        began = time.monotonic()
        try:
            if self._session is None:
                self._session = RemoteSession(self._config)
            answer = self._session.decode(job)
        except (GoneError, RefusedByServerError) as error:
            self.close()
            answer = Answer(job.index, error=f"{GONE}{error}")
        self.asked.append(Asked(self.number, job, answer, time.monotonic() - began))

    def run(self, start: float, seconds: float, n: int) -> None:
        """Send an epoch every two seconds, out of step with the others."""
        first = start + EVERY * self.number / n
        for at, due in enumerate(np.arange(first, start + seconds, EVERY)):
            time.sleep(max(0.0, float(due) - time.monotonic()))
            self.ask(at)

    def close(self) -> None:
        """End the session."""
        if self._session is not None:
            self._session.close()
        self._session = None


def epoch_number(template: Job, headset: int, at: int) -> Job:
    """The noise that a headset sends as its `at`-th epoch."""
    rng = np.random.default_rng((headset, at))
    data = (10 * rng.standard_normal(template.data.shape)).astype(np.float32)
    return replace(template, index=at, data=data, seed=1000 * headset + at)


@contextmanager
def server(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start `phosphene serve` on a free port; its process and its address."""
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "phosphene", "serve", "--port", "0", "--json", *options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
            env={**os.environ, "PHOSPHENE_HOME": str(folder)},
        )
    timer = threading.Timer(START_TIMEOUT, process.kill)
    timer.start()
    try:
        text = ""
        for line in process.stdout or ():
            text += line
            if line.startswith("}"):
                break
        timer.cancel()
        if not text:
            raise AppError(f"the server did not start: see {folder / 'server.log'}.")
        yield process, str(json.loads(text)["url"])
    finally:
        timer.cancel()
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def run_serve_bench(minutes: float = 0.3, quick: bool = False) -> dict[str, Any]:
    """Load one replica with 1 to 64 headsets, kill it, kill the server, and be hostile.

    Parameters
    ----------
    minutes : float
        Of each load.
    quick : bool
        Two loads instead of four.
    """
    config = _local_config()
    system = load_system(config.decoder)
    template = job_of(noise_epoch(system.encoder.spec, oversampling=2), seed=0)
    rows = [_batch_row(system)]
    loads: dict[str, Any] = {}
    everything: dict[int, list[Asked]] = {}
    with tempfile.TemporaryDirectory(prefix="phosphene-serve-") as name:
        folder = Path(name)
        with server(folder) as (process, url):
            configs = _tickets(folder, url, config, 64)
            hostile = _hostile(configs, template)
            for n in (8, 64) if quick else (1, 8, 24, 64):
                everything[n] = _load(configs[:n], template, seconds=60 * minutes)
                loads[f"{n} headsets"] = _figures(everything[n])
            killed = _kill_replica(process.pid, configs[:8], template)
            gone, own = _kill_server(process, configs[:N_CLIENTS], template)
    compared = _compare(system, config, everything)
    single = next(iter(loads.values()))["p95_s"]
    rows += [
        _row("epochs lost of all loads", _n_lost(everything, seconds=60 * minutes), 0, goal="0"),
        _row("pictures that are not this machine's, by hash", compared["other"], 0, goal="0"),
        _row("vectors of another epoch", compared["swapped"], 0, goal="0"),
        _row(
            "largest difference to a picture drawn alone, levels of 255",
            compared["levels"],
            1,
            goal="at most 1",
        ),
        _row(
            f"s until the last of {N_CLIENTS} clients decodes here, server killed",
            max(gone),
            GOAL_LOCAL,
            goal="at most 3",
        ),
        _row("epochs without an outcome, replica killed", killed.pop("lost"), 0, goal="0"),
        _row("hostile requests that were not refused", _n_taken(hostile), 0, goal="0"),
    ]
    return {
        "loads": loads,
        "first_p95_s": single,
        "compared": compared,
        "replica_killed": killed,
        "server_killed": {"seconds": gone, "outcomes": own},
        "hostile": hostile,
        "rows": rows,
    }


def _local_config() -> SessionConfig:
    """As the server decodes: by eager in float32, one thread."""
    config = load_preset("default")
    update = {"backend": "eager", "dtype": "float32"}
    return config.model_copy(update={"decoder": config.decoder.model_copy(update=update)})


def _row(what: str, ours: float, most: float, *, goal: str) -> dict[str, Any]:
    return {
        "what": what,
        "ours": ours,
        "peer": None,
        "ratio": None,
        "goal": goal,
        "met": bool(ours <= most),
    }


def _batch_row(system: System) -> dict[str, Any]:
    """What eight pictures cost together, and one by one; interleaved."""
    embedding = system.encoder.encode(noise_epoch(system.encoder.spec))
    eight, seeds = [embedding] * 8, list(range(8))
    together, alone = [], []
    for _ in range(7):
        began = time.perf_counter()
        sample_together(system.sampler, eight, seeds=seeds)
        middle = time.perf_counter()
        for seed in seeds:
            system.sampler.sample(embedding, seed=seed)
        together.append(middle - began)
        alone.append(time.perf_counter() - middle)
    ours, peer = float(np.median(together)), float(np.median(alone))
    return {
        "what": "eight pictures together, s (median; peer: one by one)",
        "ours": round(ours, 3),
        "peer": round(peer, 3),
        "ratio": round(ours / peer, 3),
        "goal": f"at most {GOAL_BATCH:g} of it",
        "met": bool(ours / peer <= GOAL_BATCH),
    }


def _tickets(folder: Path, url: str, config: SessionConfig, n: int) -> list[SessionConfig]:
    """A client of its own for each headset."""
    tokens = Tokens(folder / "server")
    found = []
    for number in range(n):
        path = folder / "tickets" / f"{number}.json"
        write_ticket(Ticket(url, tokens.issue(f"headset-{number}")), path)
        update = {"remote": url, "ticket": str(path)}
        decoder = config.decoder.model_copy(update=update)
        found.append(config.model_copy(update={"subject": f"p{number}", "decoder": decoder}))
    return found


def _load(configs: Sequence[SessionConfig], template: Job, *, seconds: float) -> list[Asked]:
    headsets = [Headset(number, config, template) for number, config in enumerate(configs)]
    start = time.monotonic() + 0.5
    threads = [
        threading.Thread(target=each.run, args=(start, seconds, len(headsets))) for each in headsets
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in headsets:
        each.close()
    return [one for each in headsets for one in each.asked]


def _figures(asked: Sequence[Asked]) -> dict[str, Any]:
    decoded = [each for each in asked if each.outcome == "decoded"]
    seconds = [each.seconds for each in decoded] or [float("nan")]
    sizes = Counter(each.answer.batch[0] for each in decoded if each.answer.batch is not None)
    return {
        "epochs": len(asked),
        "outcomes": dict(Counter(each.outcome for each in asked)),
        "p50_s": round(float(np.percentile(seconds, 50)), 3),
        "p95_s": round(float(np.percentile(seconds, 95)), 3),
        "network_p50_ms": round(
            1000 * float(np.median([each.answer.network for each in decoded] or [0.0])), 1
        ),
        "mean_batch": round(float(np.mean(list(sizes.elements()) or [0])), 2),
    }


def _n_lost(everything: Mapping[int, Sequence[Asked]], *, seconds: float) -> int:
    """Epochs that were due and have no answer, or another epoch's."""
    n = 0
    for n_headsets, asked in everything.items():
        due = sum(
            len(np.arange(EVERY * number / n_headsets, seconds, EVERY))
            for number in range(n_headsets)
        )
        n += due - len({(each.headset, each.job.index) for each in asked})
        n += sum(each.answer.index != each.job.index for each in asked)
    return n


def _compare(
    system: System, config: SessionConfig, everything: Mapping[int, Sequence[Asked]]
) -> dict[str, int]:
    """Decode some headsets of every load again here: in their batch, and alone."""
    found = Counter(pictures=0, other=0, swapped=0, levels=0)
    for n, asked in everything.items():
        for headset in range(0, n, max(1, n // N_COMPARED)):
            own = [each for each in asked if each.headset == headset][:N_EPOCHS]
            _compare_one(system, config, own, found)
    return dict(found)


def _compare_one(
    system: System, config: SessionConfig, asked: Sequence[Asked], found: Counter[str]
) -> None:
    """Decode one headset's epochs again, from where its state began and as far as it is known."""
    steered: Steered | None = None
    for each in asked:
        answer = each.answer
        if each.outcome == "overload":
            continue  # nothing took it in
        if answer.vector is None or answer.pixels is None:
            steered = None  # whether it was taken in, nobody knows
            continue
        if answer.began:
            steered = Steered(Encoders(config, load_encoder(config.decoder)))
        if steered is None:
            continue
        epoch, seed, sampler = epoch_of(each.job), each.job.seed, system.sampler
        encoder = steered.take(each.job.steer)
        steered.observe(epoch)
        embedding = encoder.encode(epoch)
        same = sample_as(sampler, embedding, seed=seed, batch=answer.batch)
        alone = sample_as(sampler, embedding, seed=seed, batch=None).astype(int)
        found["pictures"] += 1
        found["swapped"] += _hash(embedding.vector) != _hash(answer.vector)
        found["other"] += _hash(same) != _hash(answer.pixels)
        levels = int(np.abs(alone - answer.pixels).max())
        found["levels"] = max(found["levels"], levels)


def _hash(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _replicas(leader: int) -> list[int]:
    """Processes of Ray's replicas that belong to a server's process."""
    import psutil

    children = psutil.Process(leader).children(recursive=True)
    return [each.pid for each in children if "ServeReplica" in " ".join(each.cmdline())]


def _kill_replica(leader: int, configs: Sequence[SessionConfig], template: Job) -> dict[str, Any]:
    """Kill the replica in the middle of a load, and see what every epoch came to."""
    found: list[Asked] = []
    loading = threading.Thread(
        target=lambda: found.extend(_load(configs, template, seconds=KILLED)), name="load"
    )
    loading.start()
    time.sleep(6.0)
    for pid in _replicas(leader):
        os.kill(pid, signal.SIGKILL)
    loading.join()
    figures = _figures(found)
    return {
        "outcomes": figures["outcomes"],
        "lost": _n_lost({len(configs): found}, seconds=KILLED),
        "decoded_after": sum(e.outcome == "decoded" and e.job.index > 8 for e in found),
    }


class _Client:
    """A session's own decoder, as `run` has it, and when each of its answers came."""

    def __init__(self, number: int, config: SessionConfig, template: Job) -> None:
        self.number, self._template, self._at = number, template, 0
        self.answers: list[tuple[Answer, float]] = []
        self.decoder = Decoder(config, on_answer=self._take)
        self.decoder.start()

    def _take(self, _job: Job, answer: Answer, _returned: float) -> None:
        self.answers.append((answer, time.monotonic()))

    def ask(self, n: int) -> None:
        for _ in range(n):
            job = epoch_number(self._template, self.number, self._at)
            self.decoder.submit(job, policy="wait")
            self._at += 1

    def here_after(self, killed: float) -> float:
        """From the server's end to the first picture of this machine, s."""
        here = [at for answer, at in self.answers if not answer.decoded_by and not answer.error]
        return round(min(here) - killed, 3) if here else float("inf")

    @property
    def words(self) -> Counter[str]:
        """Where its epochs were decoded."""
        return Counter(
            "failed" if a.error or a.overload else "there" if a.decoded_by else "here"
            for a, _ in self.answers
        )


def _kill_server(
    process: subprocess.Popen[str], configs: Sequence[SessionConfig], template: Job
) -> tuple[list[float], dict[str, int]]:
    """Kill the server under several sessions' own decoders: s until this machine decodes, each."""
    clients = [_Client(number, config, template) for number, config in enumerate(configs)]
    try:
        for each in clients:
            if not each.decoder.wait_ready(120):
                raise AppError(f"the session did not begin: {each.decoder.refusal}")
            each.ask(2)
        for each in clients:
            each.decoder.drain(120)
        _wait_idle(process.pid)  # the decoders here are loaded beside
        process.kill()
        process.wait(10)
        killed = time.monotonic()
        for each in clients:
            each.ask(2)
        for each in clients:
            each.decoder.drain(120)
    finally:
        for each in clients:
            each.decoder.close()
    words = sum((each.words for each in clients), Counter[str]())
    return [each.here_after(killed) for each in clients], dict(words)


def _wait_idle(other_than: int) -> None:
    """Wait until this process's children have loaded what they load, or for two minutes."""
    import psutil

    def used() -> float:
        times = [
            each.cpu_times()
            for each in psutil.Process().children(recursive=True)
            if other_than not in (each.pid, *(parent.pid for parent in each.parents()))
        ]
        return float(sum(each.user + each.system for each in times))

    before, until = -1.0, time.monotonic() + 120
    while (now := used()) - before > IDLE_SHARE * IDLE_FOR and time.monotonic() < until:
        before = now
        time.sleep(IDLE_FOR)


def _hostile(configs: Sequence[SessionConfig], template: Job) -> dict[str, str]:
    """What a server says to strangers, liars and repeaters; `taken` where it took it."""
    config = configs[0]
    url = config.decoder.remote or ""
    ticket = read_ticket(url, Path(config.decoder.ticket or ""))
    session = RemoteSession(config)
    session.decode(template)
    known = session.id
    plain = request_of(template, session=known, number=5)
    nan = numbers_of(np.full(template.data.shape, np.nan, np.float32))
    steer = plain.steer.model_copy(update={"sha256": "ab" * 32})
    cases: dict[str, tuple[Ticket, bytes]] = {
        "no token": (replace(ticket, token=""), pack(plain)),
        "a wrong token": (replace(ticket, token="x" * 43), pack(plain)),
        "another client's session": (
            read_ticket(url, Path(configs[1].decoder.ticket or "")),
            pack(plain),
        ),
        "NaN": (ticket, pack(plain.model_copy(update={"eeg": nan}))),
        "somebody else's adapter": (ticket, pack(plain.model_copy(update={"steer": steer}))),
        "a replayed request": (ticket, pack(plain.model_copy(update={"number": 0}))),
        "noise": (ticket, os.urandom(4000)),
    }
    found = {name: _said(url, each, body) for name, (each, body) in cases.items()}
    found["2 GB"] = _two_gigabytes(url, ticket)
    session.close()
    return found


def _said(url: str, ticket: Ticket, body: bytes) -> str:
    transport = Transport(url, ticket)
    try:
        status, answer = transport.ask("POST", "/v1/decode", body, timeout=20.0)
        return "taken" if status == 200 else unpack(Refusal, answer).refused
    except (GoneError, WireError) as error:
        return f"closed ({error})"
    finally:
        transport.close()


def _two_gigabytes(url: str, ticket: Ticket) -> str:
    """Say that 2 GB come, and send as much of them as is taken."""
    connection = http.client.HTTPConnection(url.partition("://")[2], timeout=20.0)
    n_sent, block = 0, bytes(1 << 20)
    try:
        connection.putrequest("POST", "/v1/decode")
        connection.putheader("Authorization", f"Bearer {ticket.token}")
        connection.putheader("Content-Length", str(2 << 30))
        connection.endheaders()
        while n_sent < 2 << 30:
            connection.send(block)
            n_sent += len(block)
        return "taken"
    except OSError:
        return f"size (closed after {n_sent >> 20} MB)"
    finally:
        connection.close()


def _n_taken(hostile: Mapping[str, str]) -> int:
    return sum(word == "taken" for word in hostile.values())
