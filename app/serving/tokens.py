"""Who may ask: one token a client, made here, kept as a hash, replaced or revoked at any time.

Owns the file of them (its owner's only) and the tickets that clients get. Knows nothing of
requests. A token is 32 random bytes; of one that was given only its SHA-256 is kept.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.errors import AppError
from configs.guard import read_text
from configs.private import make_private, open_private

FILE = "tokens.json"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class TokenError(AppError):
    """A client's name or the file of tokens cannot be used."""


@dataclass(frozen=True, slots=True)
class Client:
    """Whose token it is, and since when."""

    name: str
    sha256: str
    since: str


class Tokens:
    """The clients of one server.

    Parameters
    ----------
    folder : Path
        Of the server's own files; made when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._read_at: tuple[int, int] | None = None
        self._clients: tuple[Client, ...] = ()

    @property
    def clients(self) -> tuple[Client, ...]:
        """Everyone who may ask, as the file says by now: a running server takes changes at once.

        Raises
        ------
        TokenError
            The file is damaged: then nobody may.
        """
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._clients, self._read_at = (), None
            return ()
        stamp = (found.st_mtime_ns, found.st_ino)
        if stamp != self._read_at:
            self._clients, self._read_at = self._read(), stamp
        return self._clients

    def _read(self) -> tuple[Client, ...]:
        try:
            rows = json.loads(read_text(self._path))
            return tuple(
                Client(_checked(row["name"]), str(row["sha256"]), str(row["since"])) for row in rows
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TokenError(
                f"{self._path} cannot be read ({type(error).__name__}), expected the clients of "
                "this server: restore it, or delete it and make new tickets."
            ) from None

    def issue(self, name: str) -> str:
        """Make a client's token; an older one of the name is worth nothing from now on."""
        token = secrets.token_urlsafe(32)
        made = Client(_checked(name), _hash(token), datetime.now(UTC).isoformat(timespec="seconds"))
        self._write((*(each for each in self.clients if each.name != name), made))
        return token

    def revoke(self, name: str) -> None:
        """Take a client's token away.

        Raises
        ------
        TokenError
            There is no such client.
        """
        if name not in [each.name for each in self.clients]:
            known = ", ".join(each.name for each in self.clients) or "none"
            raise TokenError(f"there is no client {_shown(name)}, expected one of: {known}.")
        self._write(tuple(each for each in self.clients if each.name != name))

    def find(self, token: str) -> Client | None:
        """Whose token it is; None: nobody's. Takes as long for any that is not."""
        given, found = _hash(token), None
        for each in self.clients:
            if hmac.compare_digest(each.sha256, given):
                found = each
        return found

    def _write(self, clients: tuple[Client, ...]) -> None:
        rows = [{"name": e.name, "sha256": e.sha256, "since": e.since} for e in clients]
        make_private(self._path.parent)
        part = self._path.with_suffix(".part")
        part.unlink(missing_ok=True)
        with open_private(part, "x") as stream:
            json.dump(rows, stream, indent=1)
        os.replace(part, self._path)  # noqa: PTH105 - replaces on every system


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _shown(name: str) -> str:
    return repr(name)[:80]


def _checked(name: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise TokenError(
            f"{_shown(name)} is no client's name, expected up to 64 letters, digits, _ or -."
        )
    return name
