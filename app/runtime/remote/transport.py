"""The connection to a decoding server: the one place where Phosphene speaks beyond LSL.

Owns HTTP over TLS with the one certificate that the ticket names. Nothing is sent before the
certificate is seen; nothing is sent but to the address of `decoder.remote`. Knows nothing of what
the bytes are.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

from app.errors import AppError
from app.runtime.remote.ticket import Ticket

CONNECT_TIMEOUT = 1.5
"""Longest wait for a connection, s."""
_LONGEST_ANSWER = 64 << 20
_CLOSED = (
    *(ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected),
    *(ssl.SSLEOFError, ssl.SSLZeroReturnError),
)


class GoneError(AppError):
    """The server cannot be reached, or did not answer in time."""


class OtherServerError(GoneError):
    """Who answers there is not the server of the ticket: a person has to see to it."""


class _Timely(io.RawIOBase):
    """An answer's bytes, until a time: a socket's own timeout begins anew with every byte."""

    def __init__(self, sock: socket.socket, left: Callable[[float], float], until: float) -> None:
        self._sock, self._left, self._until = sock, left, until
        self._raw = sock.makefile("rb", buffering=0)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """As `http.client` asks a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what is there; raises `TimeoutError`."""
        self._sock.settimeout(self._left(self._until))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Let go of the socket, which is the connection's."""
        self._raw.close()
        super().close()


class Transport:
    """One connection that is kept; opened when it is needed. For one thread.

    Parameters
    ----------
    url : str
        As `decoder.remote`.
    ticket : Ticket
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self, url: str, ticket: Ticket, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ticket = ticket
        self._clock = clock
        self._parts = urlsplit(url)
        self._connection: http.client.HTTPConnection | None = None
        self._reading: _Timely | None = None

    def ask(
        self, method: str, path: str, body: bytes = b"", *, timeout: float
    ) -> tuple[int, bytes]:
        """Send a request; HTTP's status and the answer's body.

        Raises
        ------
        GoneError
            Nobody answers there, or not the server of the ticket, or not in time.
        """
        try:
            # A connection that was kept may have been closed meanwhile (by a server, once it was
            # idle for long): then the request never arrived, and a new one is opened once. Where
            # it did arrive, the server takes no second one: epochs are numbered.
            is_kept, until = self._connection is not None, self._clock() + timeout
            try:
                return self._ask(method, path, body, until)
            except _CLOSED:
                self.close()
                if not is_kept:
                    raise
                return self._ask(method, path, body, until)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise GoneError(_words(error, timeout)) from error
        except GoneError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
        if self._reading is not None:  # of an answer that failed, http.client lets the socket go
            self._reading.close()
        self._reading = self._connection = None

    def _ask(self, method: str, path: str, body: bytes, until: float) -> tuple[int, bytes]:
        connection = self._connection or self._connect()

        def answering(sock: socket.socket, **options: Any) -> http.client.HTTPResponse:
            self._reading = timely = _Timely(sock, self._left, until)
            return http.client.HTTPResponse(cast("Any", timely), **options)

        connection.response_class = cast("Any", answering)
        connection.sock.settimeout(self._left(until))
        connection.request(
            method,
            path,
            body=body or None,
            headers={
                "Authorization": f"Bearer {self._ticket.token}",
                "Content-Type": "application/msgpack",
            },
        )
        answer = connection.getresponse()
        content = answer.read(_LONGEST_ANSWER + 1)
        if len(content) > _LONGEST_ANSWER:
            raise GoneError("its answer is longer than any picture")
        if answer.will_close:
            self.close()
        return answer.status, content

    def _left(self, until: float) -> float:
        left = until - self._clock()
        if left <= 0:
            raise TimeoutError
        return left

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port or 0
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            if self._ticket.fingerprint:
                # Not whoever an authority vouches for: this very certificate, and checked below.
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=CONNECT_TIMEOUT, context=context
            )
        else:
            made = http.client.HTTPConnection(host, port, timeout=CONNECT_TIMEOUT)
        made.connect()
        self._connection = made
        if isinstance(made.sock, ssl.SSLSocket):
            self._check(made.sock)
        made.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _check(self, sock: ssl.SSLSocket) -> None:
        if not self._ticket.fingerprint:
            return
        found = hashlib.sha256(sock.getpeercert(binary_form=True) or b"").hexdigest()
        if not hmac.compare_digest(found, self._ticket.fingerprint):
            raise OtherServerError(
                "it shows another certificate than the ticket names: it is not that server, or "
                "its certificate was replaced and the ticket has to be, too"
            )


def _words(error: OSError | http.client.HTTPException, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:.2g} s"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, _CLOSED):
        return "it closed the connection"
    return " ".join(str(error).split())[:120] or type(error).__name__
