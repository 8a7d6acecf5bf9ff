"""The picture feed: pictures as MJPEG and events as JSON, for programs on this machine.

Owns a small HTTP server on loopback. Who has no token gets nothing, and neither does a web page
that sends its visitor's browser here: the `Host` must be loopback's and no other origin may read.
The standard library's server does, so that nothing has to be installed: MJPEG and server-sent
events are plain HTTP, which every browser, OBS, TouchDesigner and ffmpeg read.
"""

from __future__ import annotations

import hmac
import io
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from app.errors import OutputError
from app.outputs.addresses import LOOPBACK
from app.outputs.port import Sent
from pipeline.signal_quality import ChannelQuality
from pipeline.values import Uint8

MAX_CLIENTS = 16
_PATIENCE = 5.0
"""A reader that takes nothing for so long is let go, s."""
_HEARTBEAT = 2.0
"""Longest silence on a stream, s: who has gone is noticed by then."""
_BOUNDARY = "phosphene-picture"
_HOSTS = frozenset({LOOPBACK, "localhost", "[::1]"})


@cache
def feed_token() -> str:
    """The token of this process; `PHOSPHENE_FEED_TOKEN` sets one that stays (16 characters on).

    Raises
    ------
    OutputError
        It is shorter.
    """
    given = os.environ.get("PHOSPHENE_FEED_TOKEN")
    if given is None:
        return secrets.token_urlsafe(16)
    if len(given) < 16:
        raise OutputError(
            f"PHOSPHENE_FEED_TOKEN has {len(given)} characters, expected 16 or more: leave it out, "
            "and a token is made."
        )
    return given


class PictureFeed:
    """Serves the newest picture and every event until it is closed.

    `/` is a page that shows both; `/pictures.mjpeg` the pictures as they come; `/picture.jpg` the
    newest; `/events` each event's line as a server-sent event. All take `?token=` or
    `Authorization: Bearer`.

    Parameters
    ----------
    port : int
        0: a free one.
    is_simulated : bool
        Said beside every picture.
    token : str, optional

    Raises
    ------
    OutputError
        The port is taken.
    """

    def __init__(self, port: int, *, is_simulated: bool, token: str | None = None) -> None:
        self.token = feed_token() if token is None else token
        self.is_simulated = is_simulated
        self.changed = threading.Condition()
        self.is_closed = False
        self.n_pictures = self.n_events = self.n_clients = 0
        self._pixels: Uint8 | None = None
        self._jpeg: tuple[int, bytes] = (0, b"")
        self._events: dict[int, str] = {}
        try:
            self._server = _Server((LOOPBACK, port), _Handler)
        except OSError as error:
            raise OutputError(
                f"Port {port} for the picture feed is not free ({error.strerror}): give another, "
                "or 0 for any."
            ) from None
        self._server.feed = self
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="picture-feed", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """The page's address, token and all."""
        return f"http://{LOOPBACK}:{self.port}/?token={self.token}"

    @property
    def about(self) -> str:
        """Where pictures can be seen."""
        return f"Pictures at {self.url}"

    def send(self, sent: Sent) -> None:
        """Make an event, and its picture, the newest."""
        text = json.dumps({**sent.line, "simulated": self.is_simulated}, ensure_ascii=False)
        with self.changed:
            self.n_events += 1
            self._events[self.n_events] = text
            self._events.pop(self.n_events - 64, None)
            if sent.pixels is not None:
                self.n_pictures += 1
                self._pixels = sent.pixels
            self.changed.notify_all()

    def send_quality(self, newest: Sequence[ChannelQuality], at: float) -> None:
        """Pictures and events only: the channels' quality stands in each event."""

    def close(self) -> None:
        """End every reader and free the port; safe to call twice."""
        with self.changed:
            if self.is_closed:
                return
            self.is_closed = True
            self.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()  # waits for its readers' threads
        self._thread.join()

    def jpeg(self) -> tuple[int, bytes]:
        """Number and bytes of the newest picture; number 0 before the first."""
        with self.changed:
            number, pixels = self.n_pictures, self._pixels
            if pixels is None or self._jpeg[0] == number:
                return self._jpeg
        from PIL import Image

        packed = io.BytesIO()
        Image.fromarray(pixels).save(packed, "JPEG", quality=90)
        with self.changed:
            self._jpeg = max(self._jpeg, (number, packed.getvalue()))
            return self._jpeg

    def pictures(self) -> Iterator[bytes]:
        """Each picture's JPEG as it comes; the newest again after a silence."""
        seen = 0
        while self._wait(lambda: self.n_pictures, seen):
            seen, packed = self.jpeg()
            if seen:
                yield packed

    def events(self, seen: int) -> Iterator[str]:
        """Each event's JSON after the `seen`-th; an empty text after a silence."""
        while self._wait(lambda: self.n_events, seen):
            with self.changed:
                new = [text for number, text in self._events.items() if number > seen]
                seen = self.n_events
            yield from new or [""]

    def _wait(self, count: Callable[[], int], seen: int) -> bool:
        """Wait until more than `seen` is there, at most `_HEARTBEAT` s; False once it is closed."""
        with self.changed:
            self.changed.wait_for(lambda: self.is_closed or count() > seen, _HEARTBEAT)
            return not self.is_closed


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them
    allow_reuse_address = os.name != "nt"
    feed: PictureFeed

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that has gone is no news."""


class _Handler(BaseHTTPRequestHandler):
    """One reader; everything that it is sent is ours, and nothing that it sent comes back."""

    timeout = _PATIENCE
    server: _Server
    server_version, sys_version = "phosphene", ""

    def do_GET(self) -> None:
        """Answer one request."""
        feed, parts = self.server.feed, urlsplit(self.path)
        answers = {
            "/": self._page,
            "/picture.jpg": self._picture,
            "/pictures.mjpeg": self._pictures,
            "/events": self._events,
        }
        answer = answers.get(parts.path)
        if (self.headers.get("Host") or "").rpartition(":")[0] not in _HOSTS:
            self.send_error(HTTPStatus.FORBIDDEN, "Reached by another name than loopback's")
        elif not self._has_token(parts.query):
            self.send_error(HTTPStatus.UNAUTHORIZED, "The token is missing or another")
        elif answer is None:
            self.send_error(HTTPStatus.NOT_FOUND, "There is /, /picture.jpg, /pictures.mjpeg, "
                            "/events")  # fmt: skip
        else:
            with feed.changed:
                is_full = feed.n_clients >= MAX_CLIENTS
                feed.n_clients += not is_full
            if is_full:
                self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "Too many readers")
                return
            try:
                answer()
            finally:
                with feed.changed:
                    feed.n_clients -= 1

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: a request's line holds the token."""

    def _has_token(self, query: str) -> bool:
        given = parse_qs(query).get("token", [""])[0]
        words = (self.headers.get("Authorization") or "").split()
        if not given and len(words) == 2 and words[0].lower() == "bearer":
            given = words[1]
        return hmac.compare_digest(given.encode(), self.server.feed.token.encode())

    def _begin(self, kind: str, length: int | None = None) -> None:
        feed = self.server.feed
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")  # the address holds the token
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Phosphene-Simulated", str(int(feed.is_simulated)))
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _picture(self) -> None:
        number, packed = self.server.feed.jpeg()
        if not number:
            self.send_error(HTTPStatus.NOT_FOUND, "No picture yet")
            return
        self._begin("image/jpeg", len(packed))
        self.wfile.write(packed)

    def _pictures(self) -> None:
        self._begin(f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        for packed in self.server.feed.pictures():
            head = (
                f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(packed)}\r\n"
                f"X-Phosphene-Simulated: {int(self.server.feed.is_simulated)}\r\n\r\n"
            )
            # Twice: Chromium shows a part only when the next one begins, a picture too late.
            self.wfile.write(2 * (head.encode() + packed + b"\r\n"))

    def _events(self) -> None:
        seen = self.server.feed.n_events  # whoever reads our first line misses nothing after it
        self._begin("text/event-stream; charset=utf-8")
        self.wfile.write(b": phosphene\n\n")
        for text in self.server.feed.events(seen):
            self.wfile.write(f"data: {text}\n\n".encode() if text else b": still here\n\n")

    def _page(self) -> None:
        nonce = secrets.token_urlsafe(12)
        page = _PAGE.replace("NONCE", nonce)
        simulated = "simulated headset" if self.server.feed.is_simulated else ""
        body = page.replace("SIMULATED", simulated).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header(
            "Content-Security-Policy",
            f"default-src 'none'; img-src 'self'; connect-src 'self'; style-src 'nonce-{nonce}'; "
            f"script-src 'nonce-{nonce}'; frame-ancestors 'none'",
        )
        for key, value in (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
        ):
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Phosphene</title>
<style nonce="NONCE">
html, body { margin: 0; height: 100%; background: #0b0d12; color: #e8eaf0;
  font: 18px system-ui, sans-serif; }
body { display: flex; flex-direction: column; align-items: center; justify-content: center; }
img { max-width: 92vw; max-height: 80vh; min-height: 50vh; image-rendering: auto; }
p { margin: .6em; min-height: 1.2em; } #simulated { color: #ffc56b; }
</style>
<img id="picture" alt="the decoded picture"><p id="words"></p><p id="simulated">SIMULATED</p>
<script nonce="NONCE">
const search = location.search;
document.getElementById("picture").src = "pictures.mjpeg" + search;
new EventSource("events" + search).onmessage = (message) => {
  const event = JSON.parse(message.data), top = event.top[0];
  document.getElementById("words").textContent =
    event.outcome !== "decoded" || !top ? event.outcome : event.confidence === null ? top[0]
      : `${top[0]} (confidence ${Math.round(100 * event.confidence)} %)`;
};
</script></html>
"""
