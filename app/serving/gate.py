"""The door of a server: HTTP in, checked requests to whatever decodes, answers out.

Owns every refusal. Before a token is known nothing of a body is read; no body is read beyond its
bound; nothing that a client wrote is logged. An ASGI application, so that any server of the kind
can run it, and a test without one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from typing import Any

from app.runtime.messages import Ready
from app.runtime.remote.adapters import adapter_of
from app.runtime.remote.wire import (
    MAX_ADAPTER,
    MAX_BODY,
    AdapterAnswer,
    AdapterRequest,
    CloseRequest,
    DecodeRequest,
    OpenAnswer,
    OpenRequest,
    Refusal,
    RefusalCode,
    Served,
    WireError,
    answer_of,
    filter_of,
    job_from,
    pack,
    ready_table,
    spec_table,
    unpack,
)
from app.serving.counting import Audit, Figures
from app.serving.replica import Work
from app.serving.service import Backend, Declined
from app.serving.sessions import OpenSession, RefusedError, Sessions
from app.serving.tokens import Client, TokenError, Tokens
from configs import SessionConfig
from pipeline.errors import PhospheneError

_LOG = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_TIMEOUT = 15.0
"""Longest time for a body to come, s: who sends a byte a minute keeps nothing open."""
CHECK_EVERY = 1.0
"""How often it is asked whether anything decodes, s."""
KIND = b"application/msgpack"
"""Of every body, both ways."""
STATUS: dict[RefusalCode, int] = {
    "token": 401,
    "session": 410,
    "replayed": 409,
    "adapter": 403,
    "settings": 422,
    "invalid": 400,
    "size": 413,
    "overload": 503,
    "draining": 503,
    "away": 503,
    "failed": 502,
}
"""HTTP's word for each refusal."""


class Gate:
    """The ASGI application of a server.

    Parameters
    ----------
    backend : Backend
        What decodes.
    config : SessionConfig
        The server's settings.
    tokens : Tokens
    figures : Figures
    audit : Audit
    max_open : int
        Epochs under way beyond which every further one is `overload`.
    decode_timeout : float
        Longest wait for an answer beyond the session's own budget, s.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        config: SessionConfig,
        tokens: Tokens,
        figures: Figures,
        audit: Audit,
        max_open: int = 512,
        decode_timeout: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._config = config
        self._tokens = tokens
        self.figures = figures
        self._audit = audit
        self._max_open = max_open
        self._decode_timeout = decode_timeout
        self._clock = clock
        self._ready: Ready | None = None
        self._audits = True
        self.n_open = 0
        self.is_draining = False
        self.sessions = Sessions(clock=clock, on_end=self._ended)
        self._routes: dict[tuple[str, str], Callable[[Client, bytes], Awaitable[bytes]]] = {
            ("POST", "/v1/open"): self._open,
            ("POST", "/v1/adapter"): self._adapter,
            ("POST", "/v1/decode"): self._decode,
            ("POST", "/v1/close"): self._close,
            ("GET", "/metrics"): self._metrics,
        }

    @property
    def is_ready(self) -> bool:
        """Whether a request that came now would be decoded."""
        return self._ready is not None and not self.is_draining

    # -- what the server's own loop calls ---------------------------------------------------------

    async def watch(self) -> None:
        """Ask, again and again, whether anything decodes; and end sessions that went silent."""
        while True:
            await self.look()
            await asyncio.sleep(CHECK_EVERY)

    async def look(self) -> None:
        """Ask once."""
        try:
            self._ready = await asyncio.wait_for(self._backend.ready(), 2 * CHECK_EVERY)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing decodes now
            if self._ready is not None:
                _LOG.warning("no replica answers (%s)", type(error).__name__)
            self._ready = None
        self.figures.ready.set(self._ready is not None)
        self.sessions.sweep()
        self.figures.sessions.set(len(self.sessions))

    async def drain(self, timeout: float) -> None:
        """Take nothing new, wait for what is under way, end every session."""
        self.is_draining = True
        until = self._clock() + timeout
        while self.n_open and self._clock() < until:
            await asyncio.sleep(0.02)
        self.sessions.sweep(everything=True)

    # -- HTTP -------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        began = self._clock()
        method, path = str(scope["method"]), str(scope["path"])
        if (method, path) == ("GET", "/healthz"):
            await _send(send, 200, b"ok\n", kind=b"text/plain", close=_has_body(scope))
            return
        if (method, path) == ("GET", "/readyz"):
            words = b"ok\n" if self.is_ready else b"not ready\n"
            status, close = 200 if self.is_ready else 503, _has_body(scope)
            await _send(send, status, words, kind=b"text/plain", close=close)
            return
        body: bytes | None = None
        try:
            client = self._client(scope)
            route = self._routes.get((method, path))
            if route is None:
                raise RefusedError("invalid", "there is nothing at this address.")
            if method == "POST":
                _check_kind(scope)
            limit = MAX_ADAPTER if path == "/v1/adapter" else MAX_BODY
            body = await _body(scope, receive, limit=limit)
            answer = await route(client, body)
        except RefusedError as error:
            # What nobody has read is not read to its end either: the connection is closed.
            unread = body is None and _has_body(scope)
            await self._refuse(send, path, error.code, str(error), close=unread)
            return
        except WireError as error:
            await self._refuse(send, path, "invalid", str(error))
            return
        except Exception as error:  # noqa: BLE001 - the request's top: the server goes on
            _LOG.exception("a request failed")
            await self._refuse(send, path, "failed", f"the server failed ({type(error).__name__}).")
            return
        kind = b"text/plain; version=0.0.4" if path == "/metrics" else KIND
        await _send(send, 200, answer, kind=kind)
        if path == "/v1/decode":
            self.figures.seconds.observe(self._clock() - began)

    def _client(self, scope: Scope) -> Client:
        """Whose request it is; nobody's is refused before anything of it is read."""
        given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        kind, _, token = given.partition(" ")
        try:
            client = self._tokens.find(token) if kind.lower() == "bearer" else None
        except TokenError as error:
            _LOG.error("%s", error)
            client = None
        if client is None:
            raise RefusedError("token", "a ticket of this server is needed.")
        return client

    async def _refuse(
        self, send: Send, path: str, code: RefusalCode, reason: str, *, close: bool = False
    ) -> None:
        self.figures.refusals.labels(code).inc()
        if path == "/v1/decode":
            self.figures.epochs.labels(code).inc()
        body = pack(Refusal(refused=code, reason=reason[:2000]))
        await _send(send, STATUS[code], body, close=close)

    # -- requests ---------------------------------------------------------------------------------

    async def _metrics(self, _client: Client, _body: bytes) -> bytes:
        return self.figures.text()

    async def _open(self, client: Client, body: bytes) -> bytes:
        request = unpack(OpenRequest, body)
        if self.is_draining:
            raise RefusedError("draining", "the server is ending.")
        if self._ready is None:
            raise RefusedError("away", "no replica decodes yet.")
        config = self._fitting(request)
        session = self.sessions.open(
            client=client.name, subject=request.subject, config=config, budget=request.budget
        )
        self.figures.sessions.set(len(self.sessions))
        return pack(OpenAnswer(session=session.id, ready=ready_table(self._ready)))

    def _fitting(self, request: OpenRequest) -> SessionConfig:
        """The session's settings on this server; refused where its pictures would be others."""
        own = self._config.decoder
        steps, guidance = own.num_inference_steps, own.guidance_scale
        pairs = {
            "decoder.system": (request.system, own.system),
            "decoder.generator": (request.generator, own.generator or ""),
            "decoder.num_inference_steps": (request.steps, steps),
            "decoder.guidance_scale": (request.guidance, guidance),
        }
        for key, (theirs, ours) in pairs.items():
            if theirs != ours:
                raise RefusedError(
                    "settings",
                    f"this server has {key} = {ours!r}, and the session another: start it with the "
                    "session's settings, or set the session to the server's.",
                )
        return self._config.model_copy(
            update={
                "filter": filter_of(request),
                "epochs": self._config.epochs.model_copy(
                    update={"tmin": request.tmin, "tmax": request.tmax, "baseline": None}
                ),
                "decoder": own.model_copy(
                    update={
                        "align": request.align,
                        "doubt_session": request.doubt_session,
                        "adapter": None,
                    }
                ),
            }
        )

    async def _adapter(self, client: Client, body: bytes) -> bytes:
        request = unpack(AdapterRequest, body, limit=MAX_ADAPTER)
        session = self.sessions.get(request.session, client=client.name)
        files = adapter_of(request.manifest, request.weights)
        try:
            owner = files.described.subject
        except PhospheneError as error:
            raise RefusedError("adapter", str(error)) from None
        if owner != session.subject:
            raise RefusedError(
                "adapter",
                "the adapter is another person's than the session: one brain's adapter is never "
                "applied to another's.",
            )
        found = await self._backend.check_adapter(files, session.config, request.ch_names)
        if isinstance(found, Declined):
            raise RefusedError("adapter", found.reason)
        session.keep(files)
        return pack(AdapterAnswer(sha256=files.sha256, spec=spec_table(found)))

    async def _decode(self, client: Client, body: bytes) -> bytes:
        request = unpack(DecodeRequest, body)
        session = self.sessions.get(request.session, client=client.name)
        if self.is_draining:
            raise RefusedError("draining", "the server is ending.")
        if self._ready is None:
            raise RefusedError("away", "no replica decodes now.")
        if self.n_open >= self._max_open:
            raise RefusedError("overload", f"{self.n_open} epochs are under way already.")
        adapter = session.adapter(request.steer.sha256)
        job = job_from(request)
        session.take_number(request.number)
        work = Work(
            session.id,
            session.config,
            job,
            state=session.state,
            n_observed=session.n_observed,
        )
        served = await self._run(session, work)
        if served.needs_adapter:
            served = await self._run(session, replace(work, adapter=adapter))
        if served.state:
            session.state, session.n_observed = served.state, served.n_observed
        outcome = "failed" if served.answer.error else "decoded"
        self._count(session, outcome)
        self.figures.waited.observe(served.waited)
        if served.answer.batch is not None:
            self.figures.batches.observe(served.answer.batch[0])
        return pack(answer_of(served, request.number))

    async def _run(self, session: OpenSession, work: Work) -> Served:
        self.n_open += 1
        session.n_open += 1
        self.figures.open.set(self.n_open)
        try:
            found = await asyncio.wait_for(
                self._backend.decode(work, budget=session.budget),
                session.budget + self._decode_timeout,
            )
        except Exception as error:
            session.outcomes["failed"] += 1
            raise RefusedError(
                "failed", f"the replica that decoded it is gone ({type(error).__name__})."
            ) from error
        finally:
            self.n_open -= 1
            session.n_open -= 1
            self.figures.open.set(self.n_open)
        if isinstance(found, Declined):
            session.outcomes["overload"] += 1
            raise RefusedError("overload", found.reason)
        return found

    def _count(self, session: OpenSession, outcome: str) -> None:
        session.outcomes[outcome] += 1
        self.figures.epochs.labels(outcome).inc()

    async def _close(self, client: Client, body: bytes) -> bytes:
        request = unpack(CloseRequest, body)
        self.sessions.close(self.sessions.get(request.session, client=client.name))
        return b""

    def _ended(self, session: OpenSession) -> None:
        """The audit's line: who, how long, how many; nothing of what was decoded."""
        try:
            self._audit.write(
                "session",
                client=session.client,
                session=session.id[:8],
                seconds=round(self._clock() - session.opened, 1),
                outcomes=dict(session.outcomes),
                adapters=[sha256[:12] for sha256 in session.adapters],
            )
            self._audits = True
        except OSError as error:  # decoding goes on; said once until it can be written again
            if self._audits:
                _LOG.error(
                    "sessions end without their line in the audit (%s): free the disk.",
                    error.strerror or type(error).__name__,
                )
            self._audits = False


def _has_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


def _check_kind(scope: Scope) -> None:
    """Refuse what does not even say that it is msgpack, as a web page's form."""
    given = dict(scope["headers"]).get(b"content-type", b"").partition(b";")[0]
    if given.strip().lower() != KIND:
        raise RefusedError("invalid", f"the body's type is not {KIND.decode()}.")


async def _body(scope: Scope, receive: Receive, *, limit: int) -> bytes:
    """Read a request's body, at most `limit` bytes and `BODY_TIMEOUT` s of it."""
    said = dict(scope["headers"]).get(b"content-length", b"0")
    if not said.isdigit() or len(said) > 20 or int(said) > limit:
        raise RefusedError("size", f"the body is longer than the {limit} bytes that are taken.")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RefusedError("invalid", "the body ended early.")
                part = message.get("body", b"")
                size += len(part)
                if size > limit:
                    raise RefusedError(
                        "size", f"the body is longer than the {limit} bytes that are taken."
                    )
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise RefusedError("invalid", "the body came too slowly.") from None


async def _send(
    send: Send,
    status: int,
    body: bytes,
    *,
    kind: bytes = KIND,
    close: bool = False,
) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
