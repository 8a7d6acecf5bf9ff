"""A session on a decoding server: opened, asked epoch by epoch, closed.

Owns the requests' order and numbers, what an answer's times mean here, and which refusal means
what. Knows nothing of processes or of decoding.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from app.errors import AppError
from app.runtime.messages import Answer, Job, Load, Loaded, Overrides, Ready
from app.runtime.remote.adapters import AdapterFiles, read_adapter
from app.runtime.remote.ticket import read_ticket
from app.runtime.remote.transport import GoneError, Transport
from app.runtime.remote.wire import (
    DRAWING,
    AdapterAnswer,
    AdapterRequest,
    CloseRequest,
    DecodeAnswer,
    OpenAnswer,
    OpenRequest,
    Refusal,
    WireError,
    pack,
    ready_from,
    request_of,
    served_from,
    spec_from,
    unpack,
)
from app.runtime.stepping_down import overridden
from configs import DecoderConfig, SessionConfig
from configs.plain import plain

PATIENCE = 2.0
"""Longest wait for an answer beyond what pictures take there, s."""
PICTURES = 8.0
"""The same in pictures: a batch, and the one before it."""
LOADING = 60.0
"""Longest wait for a server to load an adapter, s."""


class RefusedByServerError(AppError):
    """The server refused; `code` is its word."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class RemoteSession:
    """One session on one server.

    Parameters
    ----------
    config : SessionConfig
        Its `decoder.remote` is the server.
    clock : callable
        Monotonic seconds.

    Raises
    ------
    GoneError
        The server cannot be reached.
    RefusedByServerError, TicketError, WireError
        It can, and does not take this session.
    """

    def __init__(
        self,
        config: SessionConfig,
        *,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        decoder = config.decoder
        self.url = decoder.remote or ""
        self._clock = clock
        if transport is None:
            where = None if decoder.ticket is None else Path(decoder.ticket)
            transport = Transport(self.url, read_ticket(self.url, where))
        self._transport = transport
        self._number = 0
        self._sent: dict[str, AdapterFiles] = {}
        request = OpenRequest(
            version=1,
            subject=config.subject,
            system=decoder.system,
            generator=decoder.generator or "",
            steps=decoder.num_inference_steps,
            guidance=decoder.guidance_scale,
            doubt_session=decoder.doubt_session,
            align=decoder.align,
            tmin=config.epochs.tmin,
            tmax=config.epochs.tmax,
            filter=config.filter.model_dump(),
            # What the server cannot do in the time that is waited here, it refuses at once.
            budget=min(decoder.max_wait or PATIENCE, PATIENCE),
        )
        body = self._ask("/v1/open", pack(request), timeout=PATIENCE + 1.0)
        answer = unpack(OpenAnswer, body)
        self._session = answer.session
        self.ready = _trusted(ready_from(answer.ready), decoder, url=self.url)

    @property
    def id(self) -> str:
        """What the server knows it by."""
        return self._session

    @property
    def patience(self) -> float:
        """How long an answer is waited for, s."""
        pace = self.ready.pace
        return PATIENCE + (0.0 if pace is None else PICTURES * pace.picture)

    def load(self, request: Load) -> Loaded:
        """Send an adapter and have it loaded; a refusal is a sentence of the answer's.

        Raises
        ------
        GoneError
            The server cannot be reached.
        """
        if not request.folder:
            return Loaded("", self.ready.spec.sha256, self.ready.spec)
        try:
            files = read_adapter(Path(request.folder))
            body = pack(
                AdapterRequest(
                    session=self._session,
                    manifest=files.manifest,
                    weights=files.weights,
                    ch_names=request.ch_names,
                )
            )
            answer = unpack(AdapterAnswer, self._ask("/v1/adapter", body, timeout=LOADING))
            spec = spec_from(answer.spec)
        except GoneError:
            raise
        except AppError as error:
            return Loaded(request.folder, reason=str(error))
        self._sent[request.folder] = files
        return Loaded(request.folder, files.sha256, spec)

    def decode(self, job: Job, *, within: float | None = None) -> Answer:
        """Have one epoch decoded, `within` seconds; None: `patience`.

        Raises
        ------
        GoneError
            The server is gone, ends, or does not know the session any more: decode elsewhere.
        """
        started = self._clock()
        key = job.steer.adapter
        if key.folder:
            files = self._sent.get(key.folder)
            if files is None or (key.sha256 and files.sha256 != key.sha256):
                return Answer(job.index, error="its adapter was not sent to the server")
            key = replace(key, sha256=files.sha256)
        else:
            key = replace(key, sha256="")
        number, self._number = self._number, self._number + 1
        sent = replace(job, steer=replace(job.steer, adapter=key))
        body = pack(request_of(sent, session=self._session, number=number))
        timeout = self.patience if within is None else min(within, self.patience)
        try:
            answer = unpack(DecodeAnswer, self._ask("/v1/decode", body, timeout=timeout))
            if answer.number != number:
                raise WireError("the server answered another epoch than was asked.")
            served = served_from(answer)
        except RefusedByServerError as error:
            return self._refused(job, error)
        except WireError as error:
            return Answer(job.index, error=f"the server's answer cannot be read: {error}")
        returned = self._clock()
        # Lengths only: two machines' clocks are never compared.
        there = served.waited + served.encode + served.sample
        network = max(0.0, returned - started - there)
        return replace(
            served.answer,
            index=job.index,
            started=started + served.waited,
            encoded=started + served.waited + served.encode,
            sampled=returned,
            decoded_by=self.url,
            began=served.began,
            network=network,
        )

    def close(self) -> None:
        """End the session there, as far as that can be reached."""
        try:
            self._ask("/v1/close", pack(CloseRequest(session=self._session)), timeout=0.5)
        except AppError:
            pass
        finally:
            self._transport.close()

    def _refused(self, job: Job, error: RefusedByServerError) -> Answer:
        if error.code == "overload":
            return Answer(job.index, overload=f"the server has no room: {error}")
        # Replayed: it came twice, since the connection broke between, and the answer is lost.
        if error.code in ("draining", "away", "session", "token", "replayed"):
            raise GoneError(str(error)) from error
        return Answer(job.index, error=f"the server refused it ({error.code}): {error}")

    def _ask(self, path: str, body: bytes, *, timeout: float) -> bytes:
        status, content = self._transport.ask("POST", path, body, timeout=timeout)
        if status == 200:
            return content
        try:
            refusal = unpack(Refusal, content)
        except WireError:
            raise GoneError(f"it answers with HTTP's {status}, and is no server of ours") from None
        reason = plain(refusal.reason, limit=500).rstrip(".")
        if refusal.refused == "token":  # the server tells strangers nothing
            reason = (
                "it does not take this ticket, which may have been replaced: have a new one made"
            )
        raise RefusedByServerError(refusal.refused, reason)


def _trusted(ready: Ready, decoder: DecoderConfig, *, url: str) -> Ready:
    """What a server says of itself, as far as a client may take it: settings of drawing only."""
    # A server of before has no galleries of its clients either, and does not say so.
    said: Overrides = {"own_pictures": False, **ready.settled}
    settled: Overrides = {name: said[name] for name in DRAWING if name in said}
    try:
        checked = overridden(decoder, settled)
    except ValidationError:
        raise WireError(f"the server at {url} draws by settings that are none.") from None
    return replace(
        ready,
        settled={name: checked.model_dump()[name] for name in settled},
        server=url,
    )
